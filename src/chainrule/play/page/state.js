// The state of the page in its address, so that a link shows the same thing.

import { app } from "./app.js";

/** What the address holds; fresh if it holds no settings. @typedef {{settings: any, upload?: string, step?: number, edits?: [number, string, number][], lens?: import("./lenses.js").Lens, edges?: string, open?: any, lesson?: number, fresh?: boolean}} Linked */

/** Settings, with what is the default left out. @param {any} value @param {any} usual @returns {any} */
function differences(value, usual) {
  if (Array.isArray(value) || typeof value !== "object" || value === null) return value;
  /** @type {Record<string, any>} */
  const found = {};
  for (const [key, item] of Object.entries(value)) {
    if (JSON.stringify(item) !== JSON.stringify(usual?.[key])) found[key] = differences(item, usual?.[key]);
  }
  return found;
}

/** What is left out filled in again. @param {any} value @param {any} usual @returns {any} */
function filled(value, usual) {
  if (Array.isArray(value) || typeof value !== "object" || value === null) return value ?? usual;
  /** @type {Record<string, any>} */
  const found = { ...usual };
  for (const key of Object.keys(usual)) if (key in value) found[key] = filled(value[key], usual[key]);
  return found;
}

/** The address's part after the #, for what the page shows now. */
export function linked() {
  /** @type {Linked} */
  const state = { settings: differences(app.settings, app.choices.defaults) };
  if (app.frame && app.frame.step > 0) state.step = app.frame.step;
  if (app.upload && app.settings.data.kind === "given") state.upload = app.upload;
  if (app.frame?.edits?.length) state.edits = app.frame.edits;
  if (app.lens !== "sample") state.lens = app.lens;
  if (app.edges !== "weights") state.edges = app.edges;
  if (app.opened) state.open = app.opened;
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** What the address says; the defaults where it says nothing, or nothing that can be read. @returns {Linked} */
export function fromAddress() {
  const usual = structuredClone(app.choices.defaults);
  try {
    const text = location.hash.slice(1).replaceAll("-", "+").replaceAll("_", "/");
    if (!text) return { settings: app.choices.given ? usual : structuredClone(app.choices.first), fresh: true };
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const state = JSON.parse(new TextDecoder().decode(bytes));
    return { ...state, settings: filled(state.settings ?? {}, usual), fresh: !state.settings };
  } catch {
    return { settings: usual, fresh: true };
  }
}

/** Write the state into the address, without a new entry in the browser's history; a frame within a report has none. */
export function remember() {
  if (location.protocol === "about:") return;
  history.replaceState(null, "", `#${linked()}`);
}
