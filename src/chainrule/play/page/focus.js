// One sample seen from one unit of a network that is too large to be drawn whole: above, every unit as a cell; below,
// the unit, the strongest of what it reads and feeds, and the sum of the rest.

import { bars, edge, hiddenNumbers, inputBox, lineNumber, lossBox, number, outputNumbers, plot, touchable, weightBox } from "./parts.js";
import { figure, part } from "./svg.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./parts.js").View} View */

const WIDTH = 740;
/** The width of a box at the sides, of a weight's place, and of the unit in the middle; the height of a row. */
const [SIDE, PORT, MIDDLE, ROW] = [126, 142, 130, 41];
const GAP = (WIDTH - 2 * SIDE - 2 * PORT - MIDDLE) / 4;
/** Where the five columns begin. */
const LEFT = [1, SIDE + GAP, SIDE + PORT + 2 * GAP, SIDE + PORT + MIDDLE + 3 * GAP, SIDE + 2 * PORT + MIDDLE + 4 * GAP - 1];
/** The width of a layer's name, the most cells in a row, and the height of a sample's picture. */
const [NAME, IN_ROW, PICTURE] = [74, 64, 92];

/** The picture. @param {View} view */
export function oneUnit(view) {
  const { scene } = view;
  const cells = strips(view);
  const top = cells.height + 6;
  const layer = scene.layers.find((one) => one.units.some((unit) => unit.unit === scene.focus?.unit));
  const unit = layer?.units.find((one) => one.unit === scene.focus?.unit);
  const reads = scene.weights.filter((weight) => layer && weight.layer === layer.name && weight.to === unit?.at);
  const feeds = scene.weights.filter((weight) => !reads.includes(weight));
  const rows = Math.max(4, layer?.is_output && scene.output.bars ? 8 : 0, rowsOf(view, "reads", reads.length), rowsOf(view, "feeds", feeds.length));
  const height = top + 18 + rows * ROW + (layer?.is_output && scene.output.bars ? 16 : 0);
  const middle = top + 16 + (rows * ROW) / 2;
  return part("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": t("focus_label", { unit: scene.focus?.unit }) },
    part("g", {}, cells.parts),
    part("g", {}, headings(view, layer, top + 8)),
    part("g", {}, view.has("weights") && connections(view, reads, feeds, middle)),
    part("g", {}, sources(view, reads, middle), targets(view, layer, feeds, middle)),
    part("g", {}, theUnit(view, layer, unit, middle)),
    part("g", {}, layer?.is_output ? (scene.output.bars ? classes(view, layer, top + 18) : errorLine(view, middle)) : []));
}

/** @param {View} view @param {import("./types.js").SceneLayer | undefined} layer @param {number} y */
function headings({ scene }, layer, y) {
  const heading = (/** @type {number} */ x, /** @type {string} */ words) => part("text", { x, y, class: "heading" }, words);
  const found = [heading(LEFT[2] + MIDDLE / 2, scene.focus?.unit ?? "")];
  if (layer) found.push(heading(LEFT[0] + (SIDE + PORT) / 2, TEXT.strongest_reads));
  if (layer?.is_output) found.push(heading(LEFT[3] + (SIDE + PORT) / 2, scene.output.bars ? TEXT.all_classes : TEXT.prediction_and_target));
  else found.push(heading(LEFT[3] + (SIDE + PORT) / 2, TEXT.strongest_feeds));
  return found;
}

/** The middle of a row of a column of this many. @param {number} row @param {number} count @param {number} middle */
const rowY = (row, count, middle) => middle + (row - (count - 1) / 2) * ROW;

/** How many rows stand on a side: the weights, and what is left out. @param {View} view @param {"reads" | "feeds"} side @param {number} weights */
const rowsOf = ({ scene }, side, weights) => weights + Number(Boolean(scene.focus?.[side]));

/** The lines and weights on both sides of the unit. @param {View} view @param {import("./types.js").SceneWeight[]} reads @param {import("./types.js").SceneWeight[]} feeds @param {number} middle */
function connections(view, reads, feeds, middle) {
  const largest = Math.max(...view.scene.weights.map((weight) => Math.abs(lineNumber(view, weight) ?? 0)), 1e-12);
  const box = (/** @type {number} */ x, /** @type {number} */ y) => ({ x, y, width: PORT, height: ROW - 3 });
  const before = reads.flatMap((weight, row) => {
    const y = rowY(row, rowsOf(view, "reads", reads.length), middle);
    const product = weight.from !== null && view.has("forward") ? { name: `w × ${view.scene.focus?.of_inputs ? "x" : "a"}`, value: weight.forward } : undefined;
    return [weight.from === null ? null : edge(view, weight, [LEFT[0] + SIDE, y, LEFT[1], y], largest),
      edge(view, weight, [LEFT[1] + PORT, y, LEFT[2], middle], largest), weightBox(view, weight, box(LEFT[1], y), { product })];
  });
  const after = feeds.flatMap((weight, row) => {
    const y = rowY(row, rowsOf(view, "feeds", feeds.length), middle);
    const product = view.has("delta") && view.knows(weight.layer) ? { name: "w × δ", value: weight.backward } : undefined;
    return [edge(view, weight, [LEFT[2] + MIDDLE, middle, LEFT[3], y], largest),
      edge(view, weight, [LEFT[3] + PORT, y, LEFT[4], y], largest), weightBox(view, weight, box(LEFT[3], y), { product })];
  });
  return [...before, ...after];
}

/** What the unit reads. @param {View} view @param {import("./types.js").SceneWeight[]} reads @param {number} middle */
function sources(view, reads, middle) {
  const { scene } = view;
  const count = rowsOf(view, "reads", reads.length);
  return reads.map((weight, row) => {
    const y = rowY(row, count, middle);
    if (weight.from === null) return part("text", { x: LEFT[0] + SIDE - 8, y: y + 4, class: "name end" }, TEXT.bias);
    const input = scene.inputs.find((one) => one.unit === `input[${weight.from}]`);
    if (scene.focus?.of_inputs && input) return inputBox(view, input, { x: LEFT[0], y, width: SIDE, height: ROW - 4 });
    return small(view, scene.layers[0], weight.from, LEFT[0], y);
  });
}

/** What the unit feeds. @param {View} view @param {import("./types.js").SceneLayer | undefined} layer @param {import("./types.js").SceneWeight[]} feeds @param {number} middle */
function targets(view, layer, feeds, middle) {
  const { scene } = view;
  const next = layer ? scene.layers[scene.layers.indexOf(layer) + 1] : scene.layers[0];
  return feeds.map((weight, row) => small(view, next, weight.to, LEFT[4], rowY(row, rowsOf(view, "feeds", feeds.length), middle)));
}

/** A unit at the side: its name, its value and its delta. @param {View} view @param {import("./types.js").SceneLayer} layer @param {number} at @param {number} x @param {number} y */
function small(view, layer, at, x, y) {
  const unit = layer.units.find((one) => one.at === at);
  if (!unit) return null;
  const size = ROW - 12;
  return part("g", { ...touchable(view, unit.unit, "unit"), "data-unit": unit.unit },
    part("rect", { x, y: y - (ROW - 4) / 2, width: SIDE, height: ROW - 4, rx: 7 }),
    layer.plot && plot(view, layer, unit, x + 4, y - size / 2, size),
    part("text", { x: x + size + 9, y: y - 7, class: "name", style: "font-size:10px" }, unit.unit),
    view.has("forward") && number(unit.a === undefined ? "z" : "a", unit.a === undefined ? "z" : "a", unit.a ?? unit.z, { x: x + size + 9, y: y + 4, style: "font-size:11px" }),
    view.has("delta") && view.knows(layer.name) && number("δ", "delta", unit.delta, { x: x + size + 9, y: y + 15, class: "strong", style: "font-size:11px" }));
}

/** The unit in the middle, and what is left out at its sides. @param {View} view @param {import("./types.js").SceneLayer | undefined} layer @param {import("./types.js").SceneUnit | undefined} unit @param {number} middle */
function theUnit(view, layer, unit, middle) {
  const { scene } = view;
  const [x, top] = [LEFT[2], middle - 56];
  if (!layer || !unit) {
    const input = scene.inputs.find((one) => one.unit === scene.focus?.unit);
    return input ? [inputBox(view, input, { x, y: middle, width: MIDDLE, height: 60 }), ...rests(view, middle)] : [];
  }
  const numbers = layer.is_output ? outputNumbers(view, layer, unit, x, top, false) : hiddenNumbers(view, layer, unit, x, top);
  return [part("g", { ...touchable(view, unit.unit, "unit"), "data-unit": unit.unit },
    part("rect", { x, y: top, width: MIDDLE, height: 114, rx: 7 }), numbers, rests(view, middle))];
}

/** The sums of what is not shown. @param {View} view @param {number} middle */
function rests(view, middle) {
  const { scene } = view;
  const [reads, feeds] = [scene.focus?.reads, scene.focus?.feeds];
  const known = scene.layers.find((layer) => layer.name === scene.weights.at(-1)?.layer);
  const inside = scene.weights.filter((weight) => `${weight.layer}[${weight.to}]` === scene.focus?.unit).length;
  const rest = (/** @type {number} */ x, /** @type {number} */ rows, /** @type {{count: number, sum: number}} */ { count, sum }, /** @type {string} */ name, /** @type {boolean} */ there) => {
    const y = rowY(rows, rows + 1, middle);
    return part("g", { class: "rest" },
      part("rect", { x, y: y - (ROW - 8) / 2, width: SIDE + PORT + GAP, height: ROW - 8, rx: 7 }),
      part("text", { x: x + 8, y: y + 4, class: "name" }, t("left_out", { count, product: name }), there ? " " : "",
        there && part("tspan", { "data-shows": "sum", "data-number": sum, class: "value" }, figure(sum))));
  };
  return [
    reads && rest(LEFT[0], inside, reads, `w × ${scene.focus?.of_inputs ? "x" : "a"}`, view.has("forward")),
    feeds && rest(LEFT[3], scene.weights.length - inside, feeds, "w × δ", view.has("delta") && Boolean(known && view.knows(known.name))),
  ];
}

/** The classes' probabilities beside the target's, and the loss. @param {View} view @param {import("./types.js").SceneLayer} layer @param {number} top */
function classes(view, layer, top) {
  const { output } = view.scene;
  const most = Math.floor((7.4 * ROW) / 27);
  const shown = output.predictions.slice(0, most);
  const row = Math.min(34, (7.4 * ROW) / shown.length);
  const x = LEFT[3] + 6;
  const found = shown.map((_, at) => {
    const unit = `${layer.name}[${at}]`;
    const y = top + 14 + at * row;
    return part("g", { ...touchable(view, unit, "class-row"), "data-cell": unit },
      part("rect", { x, y: y - 16, width: SIDE + PORT + GAP - 6, height: row - 1, rx: 5 }),
      part("text", { x: x + 4, y: y - 3, class: "name", style: "font-size:11px" }, output.names[at]), bars(view, at, x + 96, y, 160));
  });
  const more = output.predictions.length > most && part("text", { x: x + 4, y: top + 14 + most * row, class: "name" }, t("more", { count: output.predictions.length - most }));
  return [...found, more, lossBox(view, x + 100, top + 14 + shown.length * row + 4, 130)];
}

/** Prediction and target of a single output on one line, and the error between them. @param {View} view @param {number} middle */
function errorLine(view, middle) {
  const { output } = view.scene;
  const [p, goal] = [output.predictions[0], output.targets[0]];
  if (!view.has("forward") || p === null) return [];
  const bounds = output.prediction_line ? [0, 1] : [Math.min(p, goal, -1), Math.max(p, goal, 1)];
  const [left, right] = [LEFT[3] + 20, WIDTH - 34];
  const x = (/** @type {number} */ v) => left + ((right - left) * (v - bounds[0])) / (bounds[1] - bounds[0]);
  const [y, name] = [middle + 6, output.prediction_line ? "p" : "y"];
  const aim = view.has("loss") ? [
    part("line", { x1: x(p), x2: x(goal), y1: y, y2: y, class: "error-line" }),
    part("circle", { cx: x(goal), cy: y, r: 7, class: "aim" }),
    part("text", { x: x(goal), y: y + 24, class: "middle" }, `t ${figure(goal)}`),
  ] : [];
  return [
    part("line", { x1: left, x2: right, y1: y, y2: y, class: "number-line" }),
    ...bounds.map((v) => part("text", { x: x(v), y: y + 42, class: "name middle", style: "font-size:10px" }, figure(v))),
    ...aim, part("circle", { cx: x(p), cy: y, r: 5, class: "dot" }), part("text", { x: x(p), y: y - 14, class: "middle strong" }, `${name} ${figure(p)}`),
  ];
}

/** Every unit of every layer as a cell, and the sample's picture if it is one. @param {View} view */
function strips(view) {
  const { scene } = view;
  const deltas = view.lines === "deltas" || (scene.phase === "backward" && view.has("delta"));
  const largest = (deltas ? scene.largest?.deltas : scene.largest?.values) || 1;
  /** @type {import("./svg.js").Part[]} */
  const parts = [];
  let y = 2;
  let left = 0;
  if (scene.picture) {
    const { shape: [rows, across], ink } = scene.picture;
    const size = PICTURE / Math.max(rows, across);
    ink.forEach((dark, k) => parts.push(pixel(view, `input[${k}]`, dark, (k % across) * size, y + Math.floor(k / across) * size, size)));
    left = PICTURE + 14;
  }
  for (const strip of scene.strips.slice(scene.picture ? 1 : 0)) {
    const values = deltas ? strip.deltas : strip.values;
    const pitch = strip.values.length > 32 || scene.picture ? 9 : 14;
    const across = scene.picture ? 58 : IN_ROW;
    parts.push(part("text", { x: left, y: y + 9, class: "name", style: "font-size:11px" }, strip.name === "input" ? TEXT.inputs : strip.name));
    strip.values.forEach((_, k) => {
      const shown = values && view.has(deltas ? "delta" : strip.name === "input" ? "sample" : "forward") && (!deltas || view.knows(strip.name));
      parts.push(cell(view, `${strip.name}[${k}]`, shown ? values[k] : null, largest, left + NAME + (k % across) * pitch, y + Math.floor(k / across) * pitch, pitch));
    });
    y += Math.ceil(strip.values.length / across) * pitch + 5;
  }
  parts.push(legend(left, y, deltas ? "δ" : TEXT.value_or_a, largest));
  return { parts: [part("g", { class: "cells", tabindex: 0, role: "group", "aria-label": TEXT.cells_label }, parts)], height: Math.max(y + 16, scene.picture ? PICTURE : 0) };
}

/** How a cell stands out. @param {View} view @param {string} unit */
function state(view, unit) {
  const { focus, weights } = view.scene;
  if (unit === focus?.unit) return "focus";
  if (view.pointed === unit) return "pointed";
  return focus?.of_inputs && weights.some((weight) => unit === `input[${weight.from}]` && `${weight.layer}[${weight.to}]` === focus.unit) ? "read" : "";
}

/** @param {View} view @param {string} unit @param {number | null} value @param {number} largest @param {number} x @param {number} y @param {number} size */
function cell(view, unit, value, largest, x, y, size) {
  return part("rect", {
    x, y, width: size - 1, height: size - 1, class: `cell ${(value ?? 0) < 0 ? "minus" : "plus"} ${state(view, unit)}`, "data-cell": unit,
    "fill-opacity": value === null ? 0 : Math.min(1, Math.abs(value) / largest).toFixed(2),
  });
}

/** A pixel of the sample. @param {View} view @param {string} unit @param {number} dark @param {number} x @param {number} y @param {number} size */
function pixel(view, unit, dark, x, y, size) {
  const shade = Math.round(255 * (1 - dark));
  return part("rect", { x, y, width: size, height: size, class: `pixel ${state(view, unit)}`, "data-cell": unit, fill: `rgb(${shade},${shade},${shade})` });
}

/** What the cells' colours mean. @param {number} x @param {number} y @param {string} what @param {number} largest */
function legend(x, y, what, largest) {
  const steps = [-1, -0.5, 0, 0.5, 1].map((share, k) => part("rect", { x: x + NAME + 46 + 14 * k, y: y + 1, width: 14, height: 9, class: `cell ${share < 0 ? "minus" : "plus"}`, "fill-opacity": Math.abs(share) }));
  return part("g", { class: "legend" }, part("text", { x: x + NAME + 42, y: y + 9, class: "name end", style: "font-size:10px" }, figure(-largest)), steps,
    part("text", { x: x + NAME + 120, y: y + 9, class: "name", style: "font-size:10px" }, `${figure(largest)}   ${what}. ${TEXT.choose_cell}`));
}
