// The stage: the network seen through one of three lenses. Here is the one with one sample going through the network,
// every number at the place where it arises: which of them the step has reached, what is selected and pointed at.

import { app, byId, emit, on } from "./app.js";
import { look } from "./charts.js";
import { convolution } from "./convolution.js";
import { oneUnit } from "./focus.js";
import { figure, render, svg } from "./svg.js";
import { wholeNetwork } from "./whole.js";

export { figure, svg };

/** @typedef {import("./types.js").Scene} Scene */

/** What a step has computed so far, in this order. */
const LEVELS = ["sample", "weights", "forward", "loss", "delta", "gradient", "next"];
/** Up to which of them each phase of the engine gets. @type {Record<string, string>} */
const REACHED = { weights: "weights", forward: "forward", loss: "loss", backward: "gradient", update: "next" };
/** Milliseconds between two layers of a backward pass that is shown as a whole. */
const LAYER_PAUSE = 450;

/** @type {Scene | null} */
let scene = null;
/** What the first minute has explained so far; null outside of it. @type {string | null} */
let limit = null;
/** The layers whose deltas and gradients are shown. @type {Set<string>} */
let known = new Set();
/** What is selected, and what is pointed at: a unit or a weight. */
let [selected, pointed] = ["", ""];

/** What is shown of a step, through whichever lens: its samples, and how far it has got. @type {Scene | import("./types.js").MapsMessage | import("./types.js").SequenceMessage | null} */
let step = null;

/** The step that is shown. */
export const shownStep = () => step;

/** The scene that is drawn. */
export const shownScene = () => scene;

/** Whether the backward pass has reached a layer, so that its derivatives are shown. @param {string} layer */
export const knows = (layer) => known.has(layer);

/** Whether the backward pass has reached the first layer with weights. */
export const isBackwardComplete = () => Boolean(step && ["input", app.built?.layers.find((layer) => layer.parameters.length)?.name].some((name) => step?.reached.includes(name ?? "")));

/** Show no more than this level, or everything that the step has computed. @param {string | null} level */
export function limitTo(level) {
  limit = level;
  if (scene) draw();
}

/** Whether a level is reached. @param {string} level */
export function has(level) {
  const reached = limit ?? REACHED[step?.phase ?? "weights"];
  return LEVELS.indexOf(level) <= LEVELS.indexOf(reached);
}

/** Draw, and tell those who show something of it. */
function draw() {
  if (!scene) return;
  picture();
  emit("stage");
}

function picture() {
  if (!scene || app.lens !== "sample") return;
  const place = byId("stage-picture");
  const view = { scene, has, knows, selected, pointed, lines: app.edges, narrow: place.clientWidth < 500 };
  render(place, scene.convolution ? convolution(view) : scene.focus ? oneUnit(view) : wholeNetwork(view));
}

/** The unit or weight at an element of the picture. @param {EventTarget | null} target */
function nameAt(target) {
  const found = target instanceof Element ? /** @type {SVGElement | null} */ (target.closest("[data-weight], [data-edge], [data-cell], [data-unit]")) : null;
  return found?.dataset.weight ?? found?.dataset.edge ?? found?.dataset.cell ?? found?.dataset.unit ?? "";
}

/** @param {string} name */
function point(name) {
  if (name === pointed) return;
  pointed = name;
  emit("pointed", name);
  picture();
}

/** Select a unit or a weight. @param {string} name */
export function select(name) {
  selected = name;
  if (!/\.[Wb]\[/.test(name) && name !== "loss" && scene?.focus && scene.focus.unit !== name) {
    app.unit = name;
    look();
  }
  draw();
  emit("selected", name);
}

/** The unit that lies so many places and layers from the one in focus. @param {number} along @param {number} layers */
function beside(along, layers) {
  const [name, at] = (scene?.focus?.unit ?? "").replace("]", "").split("[");
  const row = scene?.strips.findIndex((strip) => strip.name === name) ?? -1;
  const strip = scene?.strips[row + layers];
  if (!strip) return "";
  return `${strip.name}[${Math.max(0, Math.min(strip.values.length - 1, Number(at) + along))}]`;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const name = nameAt(event.target);
  const arrows = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });
  const inCells = event.target instanceof Element && event.target.closest(".cells");
  const next = inCells && arrows[event.key] ? beside(...arrows[event.key]) : ["Enter", " "].includes(event.key) ? name : "";
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  select(next);
}

/** Whether the next complete backward pass is shown layer by layer. */
let revealing = false;

/** When the backward pass is complete, show its derivatives one layer after another, last to first. */
export function revealBackwards() {
  revealing = true;
  known = new Set();
}

/** @param {string[]} waiting the layers still to come, last first */
function revealNext(waiting) {
  const name = waiting.shift();
  if (name === undefined) return;
  known.add(name);
  draw();
  if (waiting.length) setTimeout(revealNext, LAYER_PAUSE, waiting);
}

function pointing() {
  const place = byId("stage-picture");
  place.onpointerover = (event) => point(nameAt(event.target));
  place.onpointerleave = () => point("");
  place.addEventListener("focusin", (event) => point(nameAt(event.target)));
  place.addEventListener("focusout", () => point(""));
  place.onclick = (event) => {
    const name = nameAt(event.target);
    if (name) select(name);
  };
  place.onkeydown = onKey;
}

export function startStage() {
  pointing();
  /** Whether there is a scene that has not been drawn yet. */
  let fresh = false;
  on("scene", ({ header }) => {
    step = scene = /** @type {Scene} */ (header);
    if (!revealing && limit === null) known = new Set(scene.reached);
    fresh = true;
  });
  for (const kind of ["maps", "sequence"]) on(kind, ({ header }) => {
    if (!scene) step = header;
  });
  // Drawn together with the frame that follows it: each of the two would take the browser a picture of its own.
  on("draw", () => {
    if (!fresh || !scene) return;
    fresh = false;
    draw();
    if (!revealing || !isBackwardComplete() || scene.phase !== "backward") return;
    revealing = false;
    revealNext([...scene.reached]);
  });
  on("built", ({ header }) => {
    step = scene = null;
    [selected, pointed] = ["", ""];
    app.unit = app.opened?.layer ? `${app.opened.layer}[${app.opened.unit}]` : "";
    revealing = false;
    byId("stage-picture").replaceChildren();
    document.body.dataset.scene = String(header.scene);
  });
  on("explained", (header) => {
    const name = header.weight ?? header.called;
    if (selected === name) return;
    selected = name;
    draw();
  });
  for (const event of ["lens", "redraw"]) on(event, picture);
  on("settings", () => limitTo(null));
}
