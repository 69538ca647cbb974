// One sample on its way through a whole network: inputs on the left, then a column of units for each layer.

import { bars, edge, hiddenNumbers, inputBox, lineNumber, lossBox, number, outputNumbers, plot, touchable, weightBox, widthOf } from "./parts.js";
import { part } from "./svg.js";
import { TEXT } from "./text.js";

/** @typedef {import("./parts.js").View} View */
/** @typedef {import("./types.js").Scene} Scene */

/** The height of a unit that shows all its numbers, and the width of its bars. */
const [FULL, BARS] = [112, 150];
/** The least width of a unit with a plot of its activation. */
const PLOTTED = 100;
/** The sizes where there is room, and on a phone. */
const SIZES = {
  wide: { width: 740, ports: 134, full: 130, unit: 128, input: [72, 110, 150], port: 0 },
  narrow: { width: 458, ports: 84, full: 97, unit: 92, input: [58, 60, 60], port: 38 },
};

/** Where everything goes. @param {View} view */
function layout({ scene, narrow: little }) {
  const most = Math.max(scene.inputs.length, ...scene.layers.map((layer) => layer.units.length));
  const columns = scene.layers.length;
  const ports = columns <= 2 && most <= 3 && scene.inputs.length <= 3;
  const close = Math.max(34, Math.min(64, Math.floor(410 / most)));
  const besideRaw = !ports && close < 44 && scene.inputs.some((one) => one.raw !== null);
  const narrow = little && columns <= 3 && !scene.output.bars && !besideRaw;
  const size = SIZES[narrow ? "narrow" : "wide"];
  // Weights of a unit with others below it have no more room than the unit.
  const beside = scene.layers.map((layer, k) => (layer.units.length > 1 ? (k ? scene.layers[k - 1].units.length : scene.inputs.length) + 1 : 0));
  const row = ports ? Math.max(124, size.port * Math.max(...beside) + 8) : close;
  const input = widthOf(scene.inputs.map((one) => one.name), besideRaw ? 118 : size.input[0], size.input[ports ? 1 : 2]);
  const each = (size.width - input - (scene.output.bars ? BARS : 0) - 2) / columns;
  const unit = ports ? size.full : Math.min(row < 46 && !narrow ? 136 : size.unit, (columns > 6 ? 0.72 : 0.62) * each);
  const wide = unit + (ports ? size.ports : 0);
  const height = Math.max(most * row, ports && narrow ? 340 : 280) + 34 + (scene.output.bars ? 30 : 0);
  const inside = height - 30 - (scene.output.bars ? 30 : 0);
  /** @param {number} k @param {number} count */
  const y = (k, count) => 24 + (inside - count * row) / 2 + k * row + row / 2;
  const places = scene.layers.map((_, k) => 1 + input + (each - wide) * (k + 1) + wide * k);
  /** The height of each of so many weights' places beside a unit. @param {number} rows */
  const port = (rows) => size.port || FULL / rows;
  return { narrow, width: size.width, ports: ports ? size.ports : 0, port, row, height, input, unit, y, columns: places, gap: each - wide };
}

/** @typedef {ReturnType<typeof layout>} Places */

/** The weights that lead to a unit, its bias last. @param {Scene} scene @param {string} layer @param {number} unit */
function incoming(scene, layer, unit) {
  return scene.weights.filter((weight) => weight.layer === layer && weight.to === unit);
}

/** Where the lines to a column begin. @param {Places} places @param {number} k */
function start(places, k) {
  return k ? places.columns[k - 1] + places.unit + places.ports : 1 + places.input;
}

/** The picture. @param {View} view */
export function wholeNetwork(view) {
  const { scene } = view;
  const places = layout(view);
  const headings = scene.layers.map((layer, k) => {
    const x = places.columns[k] + places.ports + places.unit / 2;
    const words = places.unit < PLOTTED ? layer.name : `${layer.is_output ? TEXT.output_of : TEXT.hidden_of} ${layer.name}`;
    return part("text", { x, y: 14, class: "heading" }, words);
  });
  const lines = view.has("weights") && scene.layers.map((_, k) => part("g", {}, lit(edges(view, places, k))));
  return part("svg", { viewBox: `0 0 ${places.width} ${places.height}`, class: places.narrow ? "narrow" : "", role: "img", "aria-label": TEXT.stage_label },
    part("text", { x: 1 + places.input / 2, y: 14, class: "heading" }, TEXT.inputs), part("g", {}, headings), part("g", {}, lines || []),
    part("g", {}, scene.inputs.map((input, k) => inputBox(view, input, { x: 1, y: places.y(k, scene.inputs.length), width: places.input, height: Math.min(46, places.row - 4) }))),
    part("g", {}, scene.layers.map((_, k) => column(view, places, k))),
    part("g", {}, scene.output.bars ? lossBox(view, places.width - BARS + 6, places.height - 16, BARS - 10) : null),
    part("g", {}, places.ports ? [] : labels(view, places)));
}

/** The lines to a column, those that are lit last. @param {View} view @param {Places} places @param {number} k */
function edges(view, places, k) {
  const { scene } = view;
  const layer = scene.layers[k];
  const before = k ? scene.layers[k - 1].units.length : scene.inputs.length;
  const largest = Math.max(...scene.weights.map((weight) => Math.abs(lineNumber(view, weight) ?? 0)), 1e-12);
  return scene.weights.filter((weight) => weight.layer === layer.name && weight.from !== null).map((weight) =>
    edge(view, weight, [start(places, k), places.y(weight.from ?? 0, before), places.columns[k], portY(scene, places, k, weight.to, weight.from ?? 0)], largest));
}

/** @param {import("./svg.js").Part[]} found */
function lit(found) {
  const bright = (/** @type {import("./svg.js").Part} */ one) => Number(/selected|pointed/.test(one.given.class));
  return found.sort((a, b) => bright(a) - bright(b));
}

/** @param {Scene} scene @param {Places} places @param {number} k @param {number} unit @param {number} source */
function portY(scene, places, k, unit, source) {
  const y = places.y(unit, scene.layers[k].units.length);
  if (!places.ports) return y;
  const rows = incoming(scene, scene.layers[k].name, unit).length;
  return y + (source - (rows - 1) / 2) * places.port(rows);
}

/** The units of a column, each with the places of its weights, or a square for its bias. @param {View} view @param {Places} places @param {number} k */
function column(view, places, k) {
  const { scene } = view;
  const layer = scene.layers[k];
  const units = layer.units.map((_, unit) => unitBox(view, places, k, unit));
  if (!view.has("weights")) return part("g", {}, units);
  const weights = layer.units.flatMap((_, unit) => incoming(scene, layer.name, unit).map((weight, row, all) => {
    if (!places.ports) return weight.from === null ? biasSquare(view, places, k, weight) : null;
    const box = { x: places.columns[k], y: portY(scene, places, k, unit, row), width: places.ports - 4, height: places.port(all.length) - 2 };
    return weightBox(view, weight, box, { stacked: places.narrow });
  }));
  return part("g", {}, units, weights);
}

/** @param {View} view @param {Places} places @param {number} k @param {import("./types.js").SceneWeight} bias */
function biasSquare(view, places, k, bias) {
  const y = places.y(bias.to, view.scene.layers[k].units.length);
  const value = lineNumber(view, bias) ?? 0;
  return part("g", { ...touchable(view, bias.weight, `bias ${value < 0 ? "minus" : "plus"}`), "data-edge": bias.weight },
    part("rect", { x: places.columns[k] - 4, y: y + (places.row - 6) / 2 - 9, width: 9, height: 9 }));
}

/** @param {View} view @param {Places} places @param {number} k @param {number} at */
function unitBox(view, places, k, at) {
  const layer = view.scene.layers[k];
  const unit = layer.units[at];
  const full = places.ports || (layer.is_output && layer.units.length === 1);
  const height = full ? FULL + (places.ports ? 0 : 4) : places.row - 6;
  const x = places.columns[k] + places.ports;
  const y = places.y(at, layer.units.length);
  const narrow = places.unit < PLOTTED;
  const numbers = layer.is_output
    ? view.scene.output.bars ? classNumbers(view, layer, unit, x, y, places) : outputNumbers(view, layer, unit, x, y - height / 2 - (narrow ? 12 : 0), narrow)
    : places.ports ? hiddenNumbers(view, layer, unit, x, y - height / 2, places.narrow) : compact(view, layer, unit, x, y, places);
  return part("g", { ...touchable(view, unit.unit, "unit"), "data-unit": unit.unit },
    part("rect", { x, y: y - height / 2, width: places.unit, height, rx: 7 }), numbers);
}

/**
 * The numbers of a unit with little room: z and a, then delta; its slope is in the line of arithmetic.
 * @param {View} view @param {import("./types.js").SceneLayer} layer @param {import("./types.js").SceneUnit} unit @param {number} x @param {number} y @param {Places} places
 */
function compact(view, layer, unit, x, y, places) {
  const high = places.row - 6;
  const plotted = places.unit >= PLOTTED;
  const rows = high >= 40;
  const size = rows ? Math.min(42, high - 8) : 20;
  const left = plotted ? x + size + (rows ? 12 : 9) : x + 5;
  const style = rows ? (places.unit < 70 ? "font-size:10.5px" : "") : "font-size:10px";
  const found = plotted ? [plot(view, layer, unit, x + 6, y - size / 2, size)] : [];
  if (view.has("forward")) {
    found.push(number("z", "z", unit.z, { x: left, y: rows ? y - 10 : y - 3, style }));
    if (unit.a !== undefined) found.push(number("a", "a", unit.a, { x: rows ? left : left + 50, y: rows ? y + 4 : y - 3, class: "strong", style }));
  }
  if (view.has("delta") && view.knows(layer.name)) found.push(number("δ", "delta", unit.delta, { x: left, y: rows ? y + 18 : y + 11, class: "strong", style }));
  return found;
}

/**
 * The numbers of one of several classes, beside its bars.
 * @param {View} view @param {import("./types.js").SceneLayer} layer @param {import("./types.js").SceneUnit} unit @param {number} x @param {number} y @param {Places} places
 */
function classNumbers(view, layer, unit, x, y, places) {
  const { output } = view.scene;
  const style = places.unit < 60 ? "font-size:10.5px" : "";
  const found = [part("text", { x: x + places.unit + 8, y: y + 21, class: "name", style: "font-size:10px" }, places.row >= 44 ? output.names[unit.at] ?? "" : "")];
  if (view.has("forward")) found.push(number("z", "z", unit.z, { x: x + 6, y: y - 3, style }));
  if (view.has("delta") && view.knows(layer.name)) found.push(number("δ", "delta", unit.delta, { x: x + 6, y: y + 11, class: "strong", style }));
  return [...found, ...bars(view, unit.at, x + places.unit + 8, y, BARS - 10)];
}

/** The numbers of the weights that are pointed at or selected, each beside what it comes from. @param {View} view @param {Places} places */
function labels(view, places) {
  const { scene } = view;
  if (!view.has("weights")) return [];
  const unit = /\.[Wb]\[/.test(view.pointed) || !view.pointed ? view.selected : view.pointed;
  const shown = scene.weights.filter((weight) => [view.selected, view.pointed].includes(weight.weight)
    || (places.gap >= 76 && weight.from !== null && unit === `${weight.layer}[${weight.to}]`));
  return shown.map((weight) => {
    const k = scene.layers.findIndex((layer) => layer.name === weight.layer);
    const [mine, others] = [scene.layers[k].units.length, k ? scene.layers[k - 1].units.length : scene.inputs.length];
    const stacked = places.row >= 40;
    const box = { width: stacked ? 88 : 110, height: Math.min(stacked ? 42 : 30, places.row - 2) };
    if (weight.from !== null) return weightBox(view, weight, { ...box, x: start(places, k) + 2, y: places.y(weight.from, others) }, { stacked });
    return weightBox(view, weight, { ...box, x: places.columns[k] - box.width - 6, y: places.y(weight.to, mine) + 4 }, { stacked });
  });
}
