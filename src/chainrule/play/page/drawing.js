// The lens on the whole plane: what each unit gives for every point, all on one scale, and lines for weights,
// gradients, updates or deltas. What is pointed at says its name and value, and a unit is enlarged; a click opens it.

import { app, byId, colour, on, shown } from "./app.js";
import { TEXT, t } from "./text.js";
import { openUnit, openWeight } from "./explanation.js";
import { curveShare, hideTip, LEGEND_LINE, legend, legendLines, linesShown, parameter, placeOf, shaded, svgPainter, tip } from "./painting.js";
import { follow, redraw, resize } from "./pointing.js";

const ROW = 45, TOP = 30, LEFT = 74, LARGE = 150;
/** The units of a column that are drawn. */
const MOST = 10;
const BOX = 36;

/**
 * A unit on the canvas: where it stands, its layers and its number.
 * @typedef {{x: number, y: number, dense: string, shown: string, unit: number}} Unit
 * @typedef {{x1: number, y1: number, x2: number, y2: number, array: string, start: number, from: number, to: number}} Line
 */

/** @type {Unit[]} */
let units = [];
/** @type {Line[]} */
let lines = [];
/** @type {{x: number, y: number, name: string}[]} */
let inputs = [];
/** @type {{x: number, y: number, text: string}[]} */
let labels = [];
/** The size of the picture, and how far down it goes without all but the first line of its legend. */
let [width, height, low] = [600, 300, 300];
/** @type {string[]} */
let legendWords = [];
/** @type {Unit | null} */
let hoveredUnit = null;
/** @type {Line | null} */
let hoveredLine = null;
let onBias = false;
/** Where the cursor is. @type {[number, number] | null} */
let cursor = null;

const canvas = () => /** @type {HTMLCanvasElement} */ (byId("drawing"));
const isShown = () => app.lens === "plane" && Boolean(app.built?.plane);

/** Columns of units: each Dense with what comes after it, up to the next one. */
function columns() {
  /** @type {{dense: import("./types.js").LayerInfo, shown: import("./types.js").LayerInfo}[]} */
  const found = [];
  for (const layer of app.built?.layers ?? []) {
    if (layer.symbol === "z") found.push({ dense: layer, shown: layer });
    else if (found.length && layer.symbol === "a") found[found.length - 1].shown = layer;
  }
  return found;
}

function arrange() {
  const { built } = app;
  if (!built || !isShown()) return;
  const every = columns();
  const counts = every.map(({ dense }) => Math.min(dense.units, MOST));
  const given = Math.min(built.inputs[0] ?? 1, MOST);
  width = canvas().parentElement?.clientWidth || 690;
  legendWords = legendLines(TEXT.tile_legend, width);
  const under = LEGEND_LINE * (legendWords.length - 1);
  low = TOP + Math.max(given, ...counts) * ROW + 34;
  height = low + under;
  const room = built.classes.length > 2 ? 30 : 0;
  const gap = (width - LEFT - BOX / 2 - 12 - room) / Math.max(every.length, 1);
  /** @param {number} k @param {number} count */
  const y = (k, count) => TOP + (k + (Math.max(given, ...counts) - count) / 2) * ROW;
  inputs = Array.from({ length: given }, (_, k) => ({ x: 8, y: y(k, given), name: built.input_names[k] ?? `x[${k}]` }));
  units = [];
  lines = [];
  labels = [{ x: 8, y: 14, text: TEXT.inputs }];
  every.forEach(({ dense, shown: last }, c) => {
    const x = LEFT + (c + 1) * gap - BOX / 2;
    labels.push({ x: x - 6, y: 12, text: dense.name });
    if (last !== dense) labels.push({ x: x - 6, y: 25, text: last.name });
    const weights = dense.parameters.find((p) => p.name.endsWith(".W"));
    for (let j = 0; j < counts[c]; j++) {
      units.push({ x, y: y(j, counts[c]), dense: dense.name, shown: last.name, unit: j });
      const before = c === 0 ? inputs : units.filter((u) => u.dense === every[c - 1].dense.name);
      if (weights) before.forEach((from, i) => lines.push({
        x1: c === 0 ? LEFT - 4 : from.x + BOX, y1: from.y + BOX / 2, x2: x, y2: y(j, counts[c]) + BOX / 2,
        array: weights.name, start: weights.start, from: i, to: j,
      }));
    }
    if (c === every.length - 1 && built.classes.length === dense.units) {
      for (let j = 0; j < counts[c]; j++) labels.push({ x: x + BOX + 4, y: y(j, counts[c]) + BOX / 2 + 4, text: built.classes[j].slice(0, 6) });
    }
    if (dense.units > counts[c]) labels.push({ x: x - 6, y: low - 22, text: t("more", { count: dense.units - counts[c] }) });
  });
  resize(canvas(), width, height);
  canvas().setAttribute("aria-label", t("drawing_label", { layers: every.map(({ dense }) => `${dense.name}: ${dense.units}`).join(", ") }));
}

/** The place of a line's weight in the flat vector. @param {Line} line */
function place(line) {
  const shape = parameter(line.array)?.shape ?? [1, 1];
  return line.start + line.from * shape[1] + line.to;
}

/** @param {import("./painting.js").Painter} painter */
function paint(painter) {
  const [ink, soft, plus, minus, lit] = ["ink", "soft-ink", "plus", "minus", "lit-line"].map(colour);
  const values = linesShown();
  const onPath = litLines();
  let most = 1e-12;
  if (values) for (const line of lines) most = Math.max(most, Math.abs(values[place(line)] ?? 0));
  for (const line of lines) {
    const value = values ? values[place(line)] ?? 0 : 0;
    const bright = onPath.has(`${line.array}:${line.from}:${line.to}`);
    const wide = Math.max(0.4, 5 * Math.sqrt(Math.abs(value) / most));
    if (bright) painter.line(line.x1, line.y1, line.x2, line.y2, lit, wide + 6, false);
    painter.line(line.x1, line.y1, line.x2, line.y2, value >= 0 ? plus : minus, line === hoveredLine ? wide + 2 : wide, value < 0);
  }
  for (const input of inputs) {
    painter.box(input.x, input.y + 8, LEFT - 16, 28, soft, 1, colour("panel"));
    painter.text(input.x + 4, input.y + BOX / 2 + 4, input.name, 11, ink);
  }
  for (const unit of units) drawUnit(painter, unit, { ink, lit });
  for (const label of labels) painter.text(label.x, label.y, label.text, 11, soft);
  if (app.edges !== "deltas" && app.frame?.unit_scale) legend(painter, 8, low - 10, app.frame.unit_scale, legendWords);
  if (hoveredUnit && !onBias) enlarge(painter, hoveredUnit, ink);
}

/** @param {import("./painting.js").Painter} painter @param {Unit} unit @param {{ink: string, lit: string}} colours */
function drawUnit(painter, unit, { ink, lit }) {
  const chosen = app.opened?.layer && [unit.dense, unit.shown].includes(app.opened.layer) && app.opened.unit === unit.unit;
  painter.box(unit.x, unit.y, BOX, BOX, chosen ? lit : ink, chosen ? 3 : unit === hoveredUnit ? 2.5 : 1, colour("panel"));
  const pixels = app.edges === "deltas" ? null : tile(unit);
  if (pixels) painter.image(unit.x + 1.5, unit.y + 1.5, BOX - 3, BOX - 3, pixels);
  const value = app.edges === "deltas" ? app.frame?.deltas?.[unit.dense]?.[unit.unit] : undefined;
  const bias = biasPlace(unit);
  const biases = app.arrays.weights?.data;
  if (value !== undefined) painter.text(unit.x + 2, unit.y + BOX / 2 + 4, shown(value), 10, ink);
  if (bias !== null && biases) painter.box(unit.x - 4, unit.y + BOX - 6, 9, 9, ink, 1, biases[bias] >= 0 ? colour("plus") : colour("minus"));
}

/** A unit's tile, large, beside it. @param {import("./painting.js").Painter} painter @param {Unit} unit @param {string} ink */
function enlarge(painter, unit, ink) {
  const pixels = tile(unit);
  if (!pixels || app.edges === "deltas") return;
  const { x, y } = largePlace(unit);
  painter.box(x - 3, y - 3, LARGE + 6, LARGE + 6, ink, 1, colour("panel"));
  painter.image(x, y, LARGE, LARGE, pixels, true);
}

/** Where a unit's large tile goes: beside it, inside the canvas. @param {Unit} unit */
function largePlace(unit) {
  const x = unit.x + BOX + 8 + LARGE < width ? unit.x + BOX + 8 : unit.x - LARGE - 12;
  return { x, y: Math.max(4, Math.min(unit.y - LARGE / 2 + BOX / 2, low - LARGE - 34)) };
}

/** @param {Unit} unit */
function biasPlace(unit) {
  const found = parameter(`${unit.dense}.b`);
  return found ? found.start + unit.unit : null;
}

/** The lines on the strongest paths of the weight that is open. */
function litLines() {
  /** @type {Set<string>} */
  const found = new Set();
  const match = /^(.*\.W)\[(\d+), (\d+)\]$/.exec(app.opened?.weight ?? "");
  if (match) found.add(`${match[1]}:${match[2]}:${match[3]}`);
  for (const path of app.paths) {
    let before = -1;
    for (const [layer, unit] of path) {
      const dense = app.built?.layers.find((l) => l.name === layer)?.symbol === "z";
      if (dense && before >= 0) found.add(`${layer}.W:${before}:${unit}`);
      before = unit;
    }
  }
  return found;
}

/** What a unit gives over the plane. @param {Unit} unit */
function tile(unit) {
  const output = app.arrays[`unit ${unit.shown}`] ?? app.arrays[`unit ${unit.dense}`];
  if (!output || unit.unit >= output.shape[0]) return null;
  const side = Math.round(Math.sqrt(output.shape[1]));
  return shaded(output.data.subarray(unit.unit * side * side, (unit.unit + 1) * side * side), side, side, (v) => v / 127.5 - 1);
}

function draw() {
  if (app.built && isShown()) redraw(canvas(), width, height, paint);
}

/** Where the units of each column stand on the canvas. */
export const unitPlaces = () => columns().map(({ dense }) => units.filter((unit) => unit.dense === dense.name).map(({ x, y }) => ({ x, y })));

/** The lens's picture as an SVG. */
export const planeSvg = () => svgPainter(width, height, paint);

/** What lies under a point: a unit, a bias, or a line. @param {number} x @param {number} y */
function under(x, y) {
  for (const unit of units) {
    if (Math.abs(x - unit.x) < 7 && Math.abs(y - (unit.y + BOX - 2)) < 8) return { unit, bias: true, line: null };
    if (x >= unit.x && x <= unit.x + BOX && y >= unit.y && y <= unit.y + BOX) return { unit, bias: false, line: null };
  }
  /** @type {Line | null} */
  let nearest = null;
  let least = 7;
  for (const line of lines) {
    if (x < line.x1 || x > line.x2) continue;
    const away = Math.abs(line.y1 + (line.y2 - line.y1) * curveShare((x - line.x1) / (line.x2 - line.x1)) - y);
    if (away < least) [nearest, least] = [line, away];
  }
  return { unit: null, bias: false, line: nearest };
}

/** The name of what lies there, for a weight. @param {ReturnType<typeof under>} found */
function weightName(found) {
  if (found.line) return `${found.line.array}[${found.line.from}, ${found.line.to}]`;
  return found.unit && found.bias ? `${found.unit.dense}.b[${found.unit.unit}]` : null;
}

/** @param {ReturnType<typeof under>} found */
function described(found) {
  const name = weightName(found);
  if (name) {
    const at = placeOf(name);
    const more = app.edges === "weights" || at === null ? "" : `, ${app.edges} ${shown(linesShown()?.[at])}`;
    return `${name} = ${shown(at === null ? null : app.arrays.weights?.data[at])}${more}`;
  }
  if (!found.unit) return "";
  const { dense, unit } = found.unit;
  const [value, delta] = [app.frame?.values?.[found.unit.shown]?.[unit], app.frame?.deltas?.[dense]?.[unit]];
  return `${dense}[${unit}]${value === undefined ? "" : `, ${TEXT.mean_a} = ${shown(value)}`}${delta === undefined ? "" : `, ${TEXT.mean_delta} = ${shown(delta)}`}`;
}

/** Open what lies under a point. @param {ReturnType<typeof under>} found */
function openFound(found) {
  const name = weightName(found);
  if (name) openWeight(name);
  else if (found.unit) openUnit(found.unit.dense, found.unit.unit);
}

/** Say what is under the cursor, with the value that it has now. */
function tell() {
  if (!cursor) return;
  const found = under(...cursor);
  [hoveredUnit, hoveredLine, onBias] = [found.unit, found.line, found.bias];
  // The words stand under the large tile, not on it.
  const large = found.unit && !found.bias && app.edges !== "deltas" ? largePlace(found.unit) : null;
  tip(canvas(), large ? [large.x - 14, large.y + LARGE - 10] : cursor, described(found));
}

/** Walk from unit to unit. @param {number} down @param {number} across */
function walk(down, across) {
  const names = columns().map(({ dense }) => dense.name);
  const column = Math.max(0, Math.min(names.length - 1, names.indexOf(hoveredUnit?.dense ?? "") + across));
  const there = units.filter((unit) => unit.dense === names[column]);
  const next = there[Math.max(0, Math.min(there.length - 1, (hoveredUnit?.unit ?? -down) + down))];
  cursor = [next.x + BOX / 2, next.y + BOX / 2];
  tell();
  draw();
}

/** Open what is pointed at. */
function open() {
  if (cursor) openFound(under(...cursor));
}

function leave() {
  cursor = null;
  hideTip();
  [hoveredUnit, hoveredLine] = [null, null];
  draw();
}

export function startDrawing() {
  const point = (/** @type {number} */ x, /** @type {number} */ y) => {
    cursor = [x, y];
    tell();
    if (!app.running) draw();
  };
  const anew = () => {
    arrange();
    draw();
  };
  on("built", anew);
  on("lens", anew);
  on("draw", () => {
    if (!isShown()) return;
    draw();
    tell();
  });
  on("explained", draw);
  on("redraw", draw);
  follow(canvas(), { point, walk, open, leave, arrange: anew });
}
