// The parts of the stage's pictures: numbers, names, a unit's activation, its weights.

import { figure, part } from "./svg.js";

/** @typedef {import("./svg.js").Part} Part */
/** @typedef {import("./types.js").SceneUnit} SceneUnit */
/** @typedef {import("./types.js").SceneLayer} SceneLayer */
/** @typedef {import("./types.js").SceneWeight} SceneWeight */
/**
 * What a picture is drawn from: the scene, whether the step has computed something, whether the backward pass has
 * reached a layer, what is selected and pointed at, what the lines show, and whether there is little room, as on a phone.
 * @typedef {{scene: import("./types.js").Scene, has: (level: string) => boolean, knows: (layer: string) => boolean,
 *   selected: string, pointed: string, lines: string, narrow: boolean}} View
 */

/** How wide a character of the stage's text is, at most, as a share of its size. */
const LETTER = 0.56;

/**
 * A name and its number.
 * @param {string} name @param {string} shows @param {number | null} value @param {Record<string, any>} given
 */
export function number(name, shows, value, given = {}) {
  const digits = part("tspan", { "data-shows": shows, "data-number": value }, figure(value));
  return part("text", { ...given, class: `${shows} ${given.class ?? ""}` }, name ? `${name} ` : "", digits);
}

/** How wide a text is, about. @param {string} text @param {number} size */
export const wide = (text, size) => text.length * size * LETTER;

/** How wide inputs must be for their names. @param {string[]} names @param {number} least @param {number} most */
export function widthOf(names, least, most) {
  return Math.min(most, Math.max(least, ...names.map((name) => Math.ceil(wide(name, 12)) + 14)));
}

/**
 * A name in the room that it has: smaller, then on two lines, and cut only if it is longer than that.
 * @param {string} name @param {number} x its middle @param {number} y @param {number} room
 */
export function named(name, x, y, room) {
  for (const size of [12, 11, 10]) if (wide(name, size) <= room) return part("text", { x, y, class: "name middle", style: `font-size:${size}px` }, name);
  const fits = Math.floor(room / (9.5 * LETTER));
  const breaks = [...name.slice(0, fits).matchAll(/[\s_,.-]/g)].map((found) => (found.index ?? 0) + 1);
  const at = breaks.at(-1) ?? fits;
  const rest = name.slice(at);
  const second = rest.length > fits ? `${rest.slice(0, fits - 1)}…` : rest;
  return part("text", { x, y, class: "name middle", style: "font-size:9.5px" },
    part("tspan", { x, dy: -3 }, name.slice(0, at)), part("tspan", { x, dy: 9.5 }, second));
}

/** Something on the stage that can be pointed at, selected, and reached by keyboard. @param {View} view @param {string} name @param {string} kind */
export function touchable(view, name, kind) {
  const lit = view.selected === name ? "selected" : view.pointed === name ? "pointed" : "";
  return { class: `${kind} ${lit}`, tabindex: 0, role: "button", "aria-label": name };
}

/**
 * An input: its name, its value, and what it was before it was scaled.
 * @param {View} view @param {import("./types.js").SceneInput} input @param {{x: number, y: number, width: number, height: number}} box
 */
export function inputBox(view, input, { x, y, width, height }) {
  const [middle, low] = [x + width / 2, height < 40];
  const raw = input.raw === null ? [] : [part("tspan", { class: "name", style: "font-size:10px", ...(low ? {} : { x: middle, dy: 13 }) }, low ? "  raw " : "raw ", part("tspan", { "data-shows": "raw", "data-number": input.raw }, figure(input.raw)))];
  const value = part("tspan", { class: "value strong", "data-shows": "value", "data-number": input.value }, figure(input.value));
  return part("g", { ...touchable(view, input.unit, "unit"), "aria-label": input.name, "data-unit": input.unit },
    part("rect", { x, y: y - height / 2, width, height, rx: 7 }),
    part("title", {}, input.name),
    named(input.name, middle, low ? y - height / 2 + 12 : y - (raw.length ? 9 : 6), width - 8),
    part("text", { x: middle, y: low ? y + height / 2 - 5 : y + (raw.length ? 6 : 12), class: "middle", style: low ? "font-size:11px" : "" }, value, raw));
}

/**
 * The graph of the activation, with the point z -> a and, once a derivative has come by, its tangent.
 * @param {View} view @param {SceneLayer} layer @param {SceneUnit} unit @param {number} x @param {number} y @param {number} size
 */
export function plot(view, layer, unit, x, y, size) {
  const frame = part("rect", { x, y, width: size, height: size, rx: 3 });
  if (!layer.plot) return part("g", { class: "plot" }, frame);
  const { z, a } = layer.plot;
  const [low, high, left, right] = [Math.min(...a), Math.max(...a), z[0], z[z.length - 1]];
  const px = (/** @type {number} */ v) => x + 2 + ((size - 4) * (v - left)) / (right - left);
  const py = (/** @type {number} */ v) => y + size - 2 - ((size - 4) * (v - low)) / (high - low || 1);
  const curve = part("polyline", { points: z.map((v, k) => `${px(v).toFixed(1)},${py(a[k]).toFixed(1)}`).join(" ") });
  if (!view.has("forward") || unit.a === undefined || unit.a === null || unit.z === null) return part("g", { class: "plot" }, frame, curve);
  const point = part("circle", { cx: px(unit.z), cy: py(unit.a), r: size > 30 ? 3.5 : 2.5 });
  if (!(view.has("delta") && view.knows(layer.name) && unit.slope !== undefined)) return part("g", { class: "plot" }, frame, curve, point);
  const [dx, dy] = [px(1) - px(0), unit.slope * (py(1) - py(0))];
  const by = Math.min(12, size / 3) / (Math.hypot(dx, dy) || 1);
  const tangent = part("line", { x1: px(unit.z) - by * dx, y1: py(unit.a) - by * dy, x2: px(unit.z) + by * dx, y2: py(unit.a) + by * dy, class: "tangent" });
  return part("g", { class: "plot" }, frame, curve, tangent, point);
}

/**
 * A unit with all its numbers.
 * @param {View} view @param {SceneLayer} layer @param {SceneUnit} unit @param {number} x @param {number} top @param {boolean} narrow
 */
export function hiddenNumbers(view, layer, unit, x, top, narrow = false) {
  const [size, beside, style] = narrow ? [32, x + 39, "font-size:11px"] : [50, x + 63, ""];
  const found = [part("text", { x: x + 8, y: top + 15, class: "name", style }, unit.unit), plot(view, layer, unit, x + 6, top + 22, size)];
  if (view.has("forward")) {
    found.push(number("z", "z", unit.z, { x: beside, y: top + 34, style }));
    found.push(number("a", "a", unit.a ?? unit.z, { x: beside, y: top + 52, class: "strong", style }));
  }
  if (view.has("delta") && view.knows(layer.name) && unit.slope !== undefined && unit.upstream !== undefined) {
    found.push(number("f′", "slope", unit.slope, { x: beside, y: top + 70, style }));
    found.push(number("∂L/∂a", "upstream", unit.upstream, { x: x + 8, y: top + 87, style }));
    found.push(number("δ", "delta", unit.delta, { x: x + 8, y: top + 104, class: "strong", style }));
  }
  return found;
}

/**
 * An output unit with all its numbers. The output's activation is none, or what the loss makes of it (a sigmoid, a softmax).
 * @param {View} view @param {SceneLayer} layer @param {SceneUnit} unit @param {number} x @param {number} top @param {boolean} narrow
 */
export function outputNumbers(view, layer, unit, x, top, narrow) {
  const { output } = view.scene;
  const of = (/** @type {number[]} */ values) => values[unit.at] ?? values[0];
  const names = narrow ? [output.prediction_line ? "p" : "y", "t", "error", "L"] : ["prediction", "target", "error", "loss"];
  const found = narrow ? [] : [part("text", { x: x + 8, y: top + 15, class: "name" }, unit.unit)];
  const at = narrow ? 5 : 8;
  const alone = layer.units.length === 1 && !output.bars;
  const style = narrow ? "font-size:10.5px" : "";
  if (view.has("forward")) {
    found.push(number("z", "z", unit.z, { x: x + at, y: top + 32, style }));
    const long = wide(`${names[0]} ${figure(of(output.predictions))}`, 13) > (narrow ? 60 : 118);
    found.push(number(names[0], "prediction", of(output.predictions), { x: x + at, y: top + 48, class: "strong", style: long && !narrow ? "font-size:11px" : style }));
  }
  if (view.has("loss")) {
    found.push(number(names[1], "target", of(output.targets), { x: x + at, y: top + 63, style }));
    found.push(number(names[2], "error", of(output.errors), { x: x + at, y: top + 78, style }));
    if (alone) found.push(number(names[3], "loss", output.loss, { x: x + at, y: top + 93, class: "strong", style }));
  }
  if (view.has("delta") && view.knows(layer.name)) found.push(number("δ", "delta", unit.delta, { x: x + at, y: top + (alone ? 108 : 95), class: "strong", style }));
  return found;
}

/**
 * The probability of a class as a bar over that of the target, and their difference.
 * @param {View} view @param {number} at the class @param {number} x @param {number} y @param {number} width
 */
export function bars(view, at, x, y, width) {
  const { output } = view.scene;
  const long = (/** @type {number} */ share) => (Math.max(0, Math.min(1, share)) * (width - 4)).toFixed(1);
  const style = "font-size:11px";
  const found = [];
  if (view.has("forward")) {
    found.push(number("p", "prediction", output.predictions[at], { x, y: y - 5, class: "strong", style }));
    found.push(part("rect", { x, y: y - 1, width: long(output.predictions[at]), height: 5, class: "share" }));
  }
  if (view.has("loss")) {
    found.push(number("t", "target", output.targets[at], { x: x + 68, y: y - 5, style }));
    found.push(part("rect", { x, y: y + 5, width: long(output.targets[at]), height: 5, class: "share target-share" }));
    found.push(number("p−t", "error", output.errors[at], { x: x + 94, y: y - 5, style }));
  }
  return found;
}

/** The loss, where it belongs to no single output. @param {View} view @param {number} x @param {number} y @param {number} width */
export function lossBox(view, x, y, width) {
  if (!view.has("loss")) return null;
  return part("g", { ...touchable(view, "loss", "unit"), "data-unit": "loss" },
    part("rect", { x, y: y - 14, width, height: 28, rx: 7 }),
    number("loss", "loss", view.scene.output.loss, { x: x + width / 2, y: y + 4, class: "strong middle" }));
}

/** The number that a line shows. @param {View} view @param {SceneWeight} weight */
export function lineNumber(view, weight) {
  if (view.lines === "gradients" || view.lines === "deltas") return weight.gradient;
  return view.lines === "updates" ? weight.next - weight.value : weight.value;
}

/**
 * A line from one place to another, as wide as its number.
 * @param {View} view @param {SceneWeight} weight @param {[number, number, number, number]} ends @param {number} largest
 */
export function edge(view, weight, [x1, y1, x2, y2], largest) {
  const middle = (x1 + x2) / 2;
  const path = `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
  const value = lineNumber(view, weight) ?? 0;
  const lit = view.selected === weight.weight ? "selected" : view.pointed === weight.weight ? "pointed" : "";
  return part("g", { class: `edge ${value < 0 ? "minus" : "plus"} ${lit}`, "data-edge": weight.weight },
    part("path", { d: path, class: "touch" }), part("path", { d: path, "stroke-width": (0.8 + (3 * Math.abs(value)) / largest).toFixed(2) }));
}

/**
 * A weight's place: its value, its next value, what it contributes, and its derivative.
 * @param {View} view @param {SceneWeight} weight @param {{x: number, y: number, width: number, height: number}} box
 * @param {{product?: {name: string, value: number | null}, stacked?: boolean}} [more] stacked: the next value stands on its own line
 */
export function weightBox(view, weight, { x, y, width, height }, { product, stacked = false } = {}) {
  const name = weight.from === null ? "b" : "w";
  const gradient = view.has("gradient") && view.knows(weight.layer);
  const next = view.has("next");
  const rows = 1 + Number(gradient) + Number(Boolean(product)) + Number(next && stacked);
  const line = (/** @type {number} */ row) => y + 4 + (row - (rows - 1) / 2) * Math.min(13, (height - 2) / rows);
  const size = stacked ? 11 : 12;
  const style = `font-size:${size}px`;
  const across = stacked ? 0 : wide(`${name} ${figure(weight.value)} `, size) + 3;
  return part("g", { ...touchable(view, weight.weight, "port"), "data-weight": weight.weight },
    part("rect", { x, y: y - height / 2, width, height, rx: 4 }),
    number(name, "value", weight.value, { x: x + 5, y: line(0), style }),
    next && part("text", { x: x + 5 + across, y: line(stacked ? 1 : 0), class: "next", style }, "→ ", part("tspan", { "data-shows": "next", "data-number": weight.next }, figure(weight.next))),
    product && number(product.name, "product", product.value, { x: x + 5, y: line(1), style }),
    gradient && number(`∂L/∂${name}`, "gradient", weight.gradient, { x: x + 5, y: line(rows - 1), style }));
}
