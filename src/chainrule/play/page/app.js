// What the parts of the page share: who listens to what, and the state of things.

/** @typedef {import("./types.js").Settings} Settings */

/** @type {Map<string, ((value: any) => void)[]>} */
const listeners = new Map();

/** Call a function whenever something of this name happens. @param {string} name @param {(value: any) => void} call */
export function on(name, call) {
  const there = listeners.get(name) ?? [];
  listeners.set(name, [...there, call]);
}

/** Tell everyone who listens. @param {string} name @param {any} [value] */
export function emit(name, value) {
  for (const call of listeners.get(name) ?? []) call(value);
}

/**
 * What is there now.
 * @type {{settings: Settings, choices: import("./types.js").Choices, built: import("./types.js").Built | null,
 *   fixed: import("./types.js").Arrays, frame: import("./types.js").Frame | null, arrays: import("./types.js").Arrays,
 *   running: boolean, lens: import("./lenses.js").Lens, edges: string, unit: string, opened: Record<string, any> | null, paths: [string, number][][], sample: number, history: boolean, chosen: boolean, upload: string, saved: boolean,
 *   send: (message: Record<string, any>) => void}}
 */
export const app = {
  settings: /** @type {any} */ (null),
  choices: /** @type {any} */ (null),
  built: null,
  fixed: {},
  frame: null,
  arrays: {},
  running: false,
  lens: "sample",
  edges: "weights",
  unit: "",
  opened: null,
  paths: [],
  sample: 0,
  history: false,
  chosen: false,
  upload: "",
  saved: false,
  send: () => {},
};

/** What the samples are that training leaves out: of a recorded run its validation set, which may have chosen when to stop. */
export const heldOut = () => (app.choices.run ? "validation" : "test");

/** An element that must be there. @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`#${id} is missing`);
  return /** @type {T} */ (found);
}

/**
 * A new element.
 * @param {string} kind @param {Record<string, any>} [given] properties, and attributes whose names have a dash
 * @param {(Node | string)[]} children @returns {any}
 */
export function make(kind, given = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(given)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else /** @type {any} */ (made)[name] = value;
  }
  made.append(...children);
  return made;
}

/** A text that may go on in the next line after each dot of a name. @param {string} text @returns {(string | HTMLElement)[]} */
export const breakable = (text) => text.split(/(?<=\w\.)(?=[a-z])/).flatMap((part, k) => (k ? [document.createElement("wbr"), part] : [part]));

/** A number for people: four significant figures. @param {number | null | undefined} value */
export function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-4 ? value.toExponential(2) : Number(value.toPrecision(4)).toString();
}

/** A colour of the theme. @param {string} name */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
