// The stage: the network with one sample going through it, every number at the place where it arises.
// The engine sends the numbers; this draws them, and shows those that the step has reached.

import { byId, emit, on } from "./app.js";
import { TEXT } from "./text.js";

/** @typedef {import("./types.js").Scene} Scene */

/** What a step has computed so far, in this order. */
const LEVELS = ["sample", "weights", "forward", "loss", "delta", "gradient", "next"];
/** Up to which of them each phase of the engine gets. @type {Record<string, string>} */
const REACHED = { weights: "weights", forward: "forward", loss: "loss", backward: "gradient", update: "next" };

const WIDTH = 740;
const FULL = 112;
const BOX = { unit: 130, ports: 134, input: 72 };
/** Milliseconds between two layers of a backward pass that is shown as a whole. */
const LAYER_PAUSE = 450;

/** @type {Scene | null} */
let scene = null;
/** What the first minute has explained so far; null outside of it. @type {string | null} */
let limit = null;
/** The layers whose deltas and gradients are shown. @type {Set<string>} */
let known = new Set();
/** What is selected: a unit or a weight. */
let selected = "";

/** The scene that is drawn. */
export const shownScene = () => scene;

/** Whether the backward pass has reached a layer, so that its derivatives are shown. @param {string} layer */
export const knows = (layer) => known.has(layer);

/** Show no more than this level, or everything that the step has computed. @param {string | null} level */
export function limitTo(level) {
  limit = level;
  if (scene) draw();
}

/** Whether a level is reached. @param {string} level */
export function has(level) {
  const reached = limit ?? REACHED[scene?.phase ?? "weights"];
  return LEVELS.indexOf(level) <= LEVELS.indexOf(reached);
}

/** A number for the stage; null stands for infinity and NaN, which JSON lacks. @param {number | null} value */
export function figure(value) {
  if (value === null) return "not finite";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1000) return String(value).replace("-", "−");
  const text = size >= 1000 ? value.toPrecision(4) : size >= 0.0005 || value === 0 ? value.toFixed(3) : value.toExponential(1);
  return text.replace("-", "−");
}

/**
 * An SVG element.
 * @param {string} kind @param {Record<string, any>} given @param {(Node | string)[]} children @returns {SVGElement}
 */
export function svg(kind, given = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * A name and its number.
 * @param {string} name @param {string} shows @param {number} value @param {Record<string, any>} given
 */
function number(name, shows, value, given = {}) {
  const digits = svg("tspan", { "data-shows": shows, "data-number": value }, figure(value));
  return svg("text", { ...given, class: `${shows} ${given.class ?? ""}` }, name ? `${name} ` : "", digits);
}

/** Where everything goes. @param {Scene} from */
function layout(from) {
  const most = Math.max(from.inputs.length, ...from.layers.map((layer) => layer.units.length));
  const ports = from.layers.every((layer) => incoming(from, layer.name, 0).length <= 4) && most <= 3;
  const row = ports ? 124 : Math.max(34, Math.min(64, Math.floor(440 / most)));
  const height = Math.max(most * row, 300) + 34;
  const wide = BOX.unit + (ports ? BOX.ports : 0);
  const gap = (WIDTH - BOX.input - wide * from.layers.length) / from.layers.length;
  /** @param {number} k @param {number} count */
  const y = (k, count) => 26 + (height - 30 - count * row) / 2 + k * row + row / 2;
  const columns = from.layers.map((_, k) => BOX.input + gap * (k + 1) + wide * k);
  return { ports, row, height, y, columns, gap };
}

/** The weights that lead to a unit, its bias last. @param {Scene} from @param {string} layer @param {number} unit */
function incoming(from, layer, unit) {
  return from.weights.filter((weight) => weight.layer === layer && weight.to === unit);
}

/** @param {Scene} from @param {ReturnType<typeof layout>} places @param {number} k @param {number} unit @param {number} source */
function portY(from, places, k, unit, source) {
  const layer = from.layers[k];
  const y = places.y(unit, layer.units.length);
  if (!places.ports) return y;
  const rows = incoming(from, layer.name, unit);
  return y + (source - (rows.length - 1) / 2) * (FULL / rows.length);
}

function draw() {
  if (!scene) return;
  const from = scene;
  const places = layout(from);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${places.height}`, role: "img", "aria-label": TEXT.stage_label });
  picture.append(svg("text", { x: 38, y: 14, class: "heading" }, TEXT.inputs));
  from.layers.forEach((layer, k) => {
    const name = k === from.layers.length - 1 ? TEXT.output_of : TEXT.hidden_of;
    picture.append(svg("text", { x: places.columns[k] + (places.ports ? BOX.ports : 0) + BOX.unit / 2, y: 14, class: "heading" }, `${name} ${layer.name}`));
  });
  if (has("weights")) from.layers.forEach((_, k) => drawEdges(picture, from, places, k));
  from.inputs.forEach((input, k) => picture.append(inputBox(input, places.y(k, from.inputs.length))));
  from.layers.forEach((layer, k) => layer.units.forEach((_, unit) => picture.append(unitBox(from, places, k, unit))));
  byId("stage-picture").replaceChildren(picture);
  emit("stage");
}

/** @param {SVGElement} picture @param {Scene} from @param {ReturnType<typeof layout>} places @param {number} k */
function drawEdges(picture, from, places, k) {
  const layer = from.layers[k];
  const before = k ? from.layers[k - 1].units.length : from.inputs.length;
  const start = k ? places.columns[k - 1] + BOX.unit + (places.ports ? BOX.ports : 0) : BOX.input;
  const largest = Math.max(...from.weights.map((weight) => Math.abs(weight.value)), 1e-9);
  for (const weight of from.weights.filter((w) => w.layer === layer.name && w.from !== null)) {
    const [y1, y2] = [places.y(weight.from ?? 0, before), portY(from, places, k, weight.to, weight.from ?? 0)];
    const [x1, x2] = [start, places.columns[k]];
    const middle = (x1 + x2) / 2;
    const path = `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
    const width = 0.8 + (3 * Math.abs(weight.value)) / largest;
    const edge = svg("g", { class: `edge ${weight.value < 0 ? "minus" : "plus"} ${selected === weight.weight ? "selected" : ""}`, "data-edge": weight.weight },
      svg("path", { d: path, class: "touch" }), svg("path", { d: path, "stroke-width": width }));
    watch(edge, weight.weight);
    picture.append(edge);
  }
  if (places.ports) {
    layer.units.forEach((_, unit) => incoming(from, layer.name, unit).forEach((weight, row) => picture.append(port(from, places, k, weight, row))));
  }
}

/**
 * A weight's place at its unit: its value, then its derivative, then its next value.
 * @param {Scene} from @param {ReturnType<typeof layout>} places @param {number} k @param {import("./types.js").SceneWeight} weight @param {number} row
 */
function port(from, places, k, weight, row) {
  const rows = incoming(from, weight.layer, weight.to).length;
  const high = FULL / rows - 2;
  const [x, y] = [places.columns[k], portY(from, places, k, weight.to, row)];
  const box = svg("g", { class: `port ${selected === weight.weight ? "selected" : ""}`, "data-weight": weight.weight, tabindex: 0, role: "button", "aria-label": weight.weight },
    svg("rect", { x, y: y - high / 2, width: BOX.ports - 4, height: high, rx: 4 }));
  const name = weight.from === null ? "b" : "w";
  const gradient = has("gradient") && known.has(weight.layer);
  const first = gradient ? y - 3 : y + 4;
  box.append(number(name, "value", weight.value, { x: x + 5, y: first }));
  if (gradient) box.append(number(`∂L/∂${name}`, "gradient", weight.gradient, { x: x + 5, y: y + 9 }));
  if (has("next")) {
    const next = svg("text", { x: x + 66, y: first, class: "next" }, "→ ", svg("tspan", { "data-shows": "next", "data-number": weight.next }, figure(weight.next)));
    box.append(next);
  }
  watch(box, weight.weight);
  return box;
}

/** @param {import("./types.js").SceneInput} input @param {number} y */
function inputBox(input, y) {
  const box = svg("g", { class: "unit", "data-unit": input.unit },
    svg("rect", { x: 1, y: y - 22, width: BOX.input - 2, height: 44, rx: 7 }),
    svg("text", { x: BOX.input / 2, y: y - 6, class: "name middle" }, input.name.length > 10 ? `${input.name.slice(0, 9)}…` : input.name),
    number("", "value", input.value, { x: BOX.input / 2, y: y + 12, class: "middle strong" }));
  box.append(svg("title", {}, input.name));
  return box;
}

/** @param {Scene} from @param {ReturnType<typeof layout>} places @param {number} k @param {number} at */
function unitBox(from, places, k, at) {
  const layer = from.layers[k];
  const unit = layer.units[at];
  const last = k === from.layers.length - 1;
  const high = places.ports ? FULL : places.row - 6;
  const x = places.columns[k] + (places.ports ? BOX.ports : 0);
  const y = places.y(at, layer.units.length);
  const box = svg("g", { class: `unit ${selected === unit.unit ? "selected" : ""}`, "data-unit": unit.unit, tabindex: 0, role: "button", "aria-label": unit.unit },
    svg("rect", { x, y: y - high / 2, width: BOX.unit, height: high, rx: 7 }));
  const top = y - high / 2;
  if (places.ports) last ? fillOutput(box, from, unit, at, x, top) : fillHidden(box, layer, unit, x, top);
  else if (last) fillCompactOutput(box, from, unit, at, x, y);
  else fillCompact(box, layer, unit, x, y);
  watch(box, unit.unit);
  return box;
}

/** @param {SVGElement} box @param {import("./types.js").SceneLayer} layer @param {import("./types.js").SceneUnit} unit @param {number} x @param {number} top */
function fillHidden(box, layer, unit, x, top) {
  box.append(svg("text", { x: x + 8, y: top + 15, class: "name" }, unit.unit), plot(layer, unit, x + 7, top + 22, 50));
  if (has("forward")) {
    box.append(number("z", "z", unit.z, { x: x + 63, y: top + 34 }));
    box.append(number("a", "a", unit.a ?? unit.z, { x: x + 63, y: top + 52, class: "strong" }));
  }
  if (has("delta") && known.has(layer.name) && unit.slope !== undefined && unit.upstream !== undefined) {
    box.append(number("f′", "slope", unit.slope, { x: x + 63, y: top + 70 }));
    box.append(number("∂L/∂a", "upstream", unit.upstream, { x: x + 8, y: top + 87 }));
    box.append(number("δ", "delta", unit.delta, { x: x + 8, y: top + 104, class: "strong" }));
  }
}

/** @param {SVGElement} box @param {Scene} from @param {import("./types.js").SceneUnit} unit @param {number} at @param {number} x @param {number} top */
function fillOutput(box, from, unit, at, x, top) {
  const { output } = from;
  box.append(svg("text", { x: x + 8, y: top + 15, class: "name" }, unit.unit));
  if (has("forward")) {
    box.append(number("z", "z", unit.z, { x: x + 8, y: top + 32 }));
    // The output's activation: none, or what the loss makes of it (a sigmoid, a softmax).
    const p = output.predictions[at] ?? output.predictions[0];
    box.append(number("prediction", "prediction", p, { x: x + 8, y: top + 48, class: "strong" }));
    if (has("loss")) {
      box.append(number("target", "target", output.targets[at] ?? output.targets[0], { x: x + 8, y: top + 63 }));
      box.append(number("error", "error", output.errors[at] ?? output.errors[0], { x: x + 8, y: top + 78 }));
      if (at === 0) box.append(number("loss", "loss", output.loss, { x: x + 8, y: top + 93, class: "strong" }));
    }
  }
  if (has("delta") && known.has(unit.unit.split("[")[0])) box.append(number("δ", "delta", unit.delta, { x: x + 8, y: top + 108, class: "strong" }));
}

/** @param {SVGElement} box @param {import("./types.js").SceneLayer} layer @param {import("./types.js").SceneUnit} unit @param {number} x @param {number} y */
function fillCompact(box, layer, unit, x, y) {
  box.append(plot(layer, unit, x + 4, y - 12, 24));
  if (has("forward")) box.append(unit.a === undefined ? number("z", "z", unit.z, { x: x + 33, y: y - 2 }) : number("a", "a", unit.a, { x: x + 33, y: y - 2 }));
  if (has("delta") && known.has(layer.name)) box.append(number("δ", "delta", unit.delta, { x: x + 33, y: y + 12, class: "strong" }));
}

/** @param {SVGElement} box @param {Scene} from @param {import("./types.js").SceneUnit} unit @param {number} at @param {number} x @param {number} y */
function fillCompactOutput(box, from, unit, at, x, y) {
  const { output } = from;
  const p = output.predictions[at] ?? output.predictions[0];
  if (has("forward")) box.append(number("prediction", "prediction", p, { x: x + 6, y: y - 2 }));
  if (has("delta") && known.has(unit.unit.split("[")[0])) box.append(number("δ", "delta", unit.delta, { x: x + 6, y: y + 12, class: "strong" }));
  if (has("loss")) box.append(number("t", "target", output.targets[at] ?? output.targets[0], { x: x + BOX.unit - 30, y: y + 12 }));
}

/**
 * The graph of the activation, with the point z -> a and, once a derivative has come by, its tangent.
 * @param {import("./types.js").SceneLayer} layer @param {import("./types.js").SceneUnit} unit @param {number} x @param {number} y @param {number} size
 */
function plot(layer, unit, x, y, size) {
  const box = svg("g", { class: "plot" }, svg("rect", { x, y, width: size, height: size, rx: 3 }));
  if (!layer.plot) return box;
  const { z, a } = layer.plot;
  const [low, high, left, right] = [Math.min(...a), Math.max(...a), z[0], z[z.length - 1]];
  const px = (/** @type {number} */ v) => x + 2 + ((size - 4) * (v - left)) / (right - left);
  const py = (/** @type {number} */ v) => y + size - 2 - ((size - 4) * (v - low)) / (high - low || 1);
  box.append(svg("polyline", { points: z.map((v, k) => `${px(v)},${py(a[k])}`).join(" ") }));
  if (!has("forward") || unit.a === undefined) return box;
  if (has("delta") && known.has(layer.name) && unit.slope !== undefined) {
    const [dx, dy] = [px(1) - px(0), unit.slope * (py(1) - py(0))];
    const by = 12 / (Math.hypot(dx, dy) || 1);
    box.append(svg("line", { x1: px(unit.z) - by * dx, y1: py(unit.a) - by * dy, x2: px(unit.z) + by * dx, y2: py(unit.a) + by * dy, class: "tangent" }));
  }
  box.append(svg("circle", { cx: px(unit.z), cy: py(unit.a), r: size > 30 ? 3.5 : 2.5 }));
  return box;
}

/** Tell when it is pointed at or selected. @param {SVGElement} element @param {string} name */
function watch(element, name) {
  element.addEventListener("pointerenter", () => emit("pointed", name));
  element.addEventListener("pointerleave", () => emit("pointed", ""));
  element.addEventListener("focus", () => emit("pointed", name));
  element.addEventListener("click", () => select(name));
  element.addEventListener("keydown", (event) => {
    const key = /** @type {KeyboardEvent} */ (event).key;
    if (key === "Enter" || key === " ") {
      event.preventDefault();
      event.stopPropagation();
      select(name);
    }
  });
}

/** Select a unit or a weight. @param {string} name */
export function select(name) {
  selected = name;
  draw();
  emit("selected", name);
}

/** The layers, from the last one on, that the backward pass has reached. @param {Scene} from */
function reachedLayers(from) {
  return from.layers.map((layer) => layer.name).filter((_, k) => k >= from.reached);
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

export function startStage() {
  on("scene", ({ header }) => {
    scene = /** @type {Scene} */ (header);
    if (!revealing && limit === null) known = new Set(reachedLayers(scene));
    draw();
    if (!revealing || scene.reached > 0 || scene.phase !== "backward") return;
    revealing = false;
    revealNext(reachedLayers(scene).reverse());
  });
  on("built", ({ header }) => {
    scene = null;
    selected = "";
    revealing = false;
    byId("stage").hidden = !header.scene;
    document.body.dataset.scene = String(header.scene);
  });
  on("theme", () => scene && draw());
  on("settings", () => limitTo(null));
}
