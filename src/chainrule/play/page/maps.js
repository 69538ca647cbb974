// The lens on feature maps: what each channel of each layer makes of the sample, as pictures, with the kernels above them.
// Pointing at a position lights up what it reads, in the sample and in the maps between.

import { app, byId, colour, emit, on } from "./app.js";
import { openUnit, openWeight } from "./explanation.js";
import { isKernel, kernelGrid } from "./kernels.js";
import { canvasPainter, hideTip, parameter, shaded, svgPainter, tip } from "./painting.js";
import { every, fieldsOf, runs, spoken } from "./receptive.js";
import { figure } from "./svg.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./receptive.js").Field} Field */
/** @typedef {import("./matrix.js").Grid} Grid */
/**
 * One picture on the stage: of a channel of a row, the number of the channel among those that were sent, and a kernel above it.
 * @typedef {{row: number, at: number, channel: number, x: number, y: number, wide: number, high: number, kernel: Grid | null}} Tile
 * @typedef {{row: number, at: number, channel: number, x: number, y: number, wide: number, high: number}} Cell a unit without positions
 * @typedef {{tile?: Tile, cell?: Cell, place?: [number, number], kernel?: [number, number]}} Found what lies under a point
 */

/** The size of the sample's picture, the space between pictures, the height of a row's words, the size of a unit's cell, of a class's. */
const [PICTURE, GAP, WORDS, CELL, CLASS] = [124, 5, 16, 10, 54];
/** Below this width the rows stand under the picture, and have no ramps. */
const NARROW = 500;
/** How high the stage should be at most, and how much larger than needed pictures are drawn if there is room. */
const [HIGH, LARGER] = [430, [2, 1.7, 1.4, 1.2, 1]];

/** What the engine sent last. @type {{header: import("./types.js").MapsMessage, arrays: import("./types.js").Arrays} | null} */
let sent = null;
/** @type {Tile[]} */
let tiles = [];
/** @type {Cell[]} */
let cells = [];
/** @type {{x: number, y: number, text: string}[]} */
let labels = [];
/** Where each row begins. @type {number[]} */
let tops = [];
/** How much larger than needed pictures are. */
let larger = 1;
/** Over what is not read, and over the input that won a pooling. */
const [SHADE, WON] = ["rgba(128, 128, 128, 0.6)", "rgba(226, 182, 68, 0.45)"];
/** Over the sample, so that it does not outshine the pushes on a weight. */
const VEIL = "rgba(255, 255, 255, 0.55)";
/** The pushes on the weight that is open, if it belongs to a kernel: minus its products, by the input that it multiplies. @type {{row: string, channel: number, values: number[]} | null} */
let pushes = null;
let [width, height, left] = [690, 400, PICTURE + 2 * GAP];
/** What is pointed at. @type {Found} */
let pointed = {};

const canvas = () => /** @type {HTMLCanvasElement} */ (byId("maps"));
const rows = () => app.built?.maps ?? [];
const isMap = (/** @type {number} */ row) => rows()[row].shape.length === 3;
/** Whether pictures show derivatives. */
const derivatives = () => app.edges === "gradients";
/** Whether backpropagation has reached a row. @param {string} name */
const knows = (name) => sent?.header.reached.includes(name) ?? false;
const which = () => (derivatives() ? "slopes" : "values");

/** The numbers of a row that are shown; none for derivatives that backpropagation has not reached. @param {number} row */
function numbersOf(row) {
  return derivatives() && !knows(rows()[row].name) ? null : sent?.arrays[`${which()} ${row}`]?.data ?? null;
}

/** How many of a row's channels fit, and which: of those that were sent the strongest, ascending. @param {number} row @param {number} most */
function chosen(row, most) {
  const { channels } = /** @type {import("./types.js").MapChannels} */ (sent?.header.maps[row][which()]);
  return channels.slice(0, Math.max(1, most)).map((channel, at) => ({ channel, at })).sort((a, b) => a.channel - b.channel);
}

/** The channel in whose kernels are shown: of what is open or pointed at, else the strongest of the row before. @param {number} row */
function channelIn(row) {
  const before = rows()[row].reads[0].row;
  const opened = /\.W\[\d+, \d+, (\d+), /.exec(app.opened?.weight?.startsWith(`${rows()[row].owner}.W`) ? app.opened.weight : "");
  if (opened) return Number(opened[1]);
  if (app.opened?.layer === rows()[before].name) return app.opened?.unit ?? 0;
  return sent?.header.maps[before]?.values.channels[0] ?? 0;
}

/** The array of kernels of a row, if it has any. @param {number} row */
function kernelsOf(row) {
  const W = rows()[row].kernel && parameter(`${rows()[row].owner}.W`);
  return W && isKernel(W) ? W : null;
}

/** Whether a row's kernels read the three colours of the sample. @param {number} row */
const readsColours = (row) => kernelsOf(row)?.shape[2] === 3 && rows()[row].reads[0].row === 0;

function arrange() {
  if (!app.built || !sent || app.lens !== "maps" || sent.header.maps.length !== rows().length) return;
  width = canvas().parentElement?.clientWidth || 690;
  left = width < NARROW ? 0 : PICTURE + 3 * GAP;
  for (larger of LARGER) {
    place();
    if (height <= HIGH) break;
  }
  const scale = window.devicePixelRatio || 1;
  canvas().width = width * scale;
  canvas().height = height * scale;
  canvas().style.height = `${height}px`;
  canvas().setAttribute("aria-label", t("maps_label", { layers: rows().map((one) => `${one.name}: ${one.shape.join(" × ")}`).join(", ") }));
}

/** Place the rows, with pictures of the present size. */
function place() {
  [tiles, cells, labels, tops] = [[], [], [], []];
  let y = picture();
  for (let row = 1; row < rows().length; row++) {
    tops.push(y);
    y = isMap(row) ? mapsRow(row, y) : row === rows().length - 1 && sent?.header.output.bars ? classesRow(row, y) : cellsRow(row, y);
  }
  height = Math.max(y, left ? 2 * PICTURE + 90 : 0);
}

/** The sample, and where the rows begin below or beside it. */
function picture() {
  const [high, wide, channels] = rows()[0].shape;
  const size = PICTURE / Math.max(high, wide);
  tiles.push({ row: 0, at: 0, channel: 0, x: 0, y: WORDS, wide: wide * size, high: high * size, kernel: null });
  labels.push({ x: 0, y: 11, text: t("maps_sample", { shape: `${high} × ${wide}${channels > 1 ? ` × ${channels}` : ""}` }) });
  return left ? 0 : WORDS + PICTURE + 8;
}

/** How large a map is drawn: larger than needed only if that leaves no channel out. @param {number} row */
function sizeOf(row) {
  const [high, wide, channels] = rows()[row].shape;
  const across = Math.max(high, wide);
  const needed = (across >= 20 ? 46 : across >= 10 ? 38 : across >= 5 ? 32 : 26) * (rows().length > 9 ? 0.75 : 1);
  const size = Math.max(needed, Math.min(needed * larger, 64, (width - left + GAP - 2) / channels - GAP));
  return [(size * wide) / across, (size * high) / across];
}

/** @param {number} row @param {number} y */
function mapsRow(row, y) {
  const [wide, high] = sizeOf(row);
  const W = kernelsOf(row);
  const channel = W && !readsColours(row) ? channelIn(row) : 0;
  const cell = W ? Math.max(1, Math.min(10, Math.floor(Math.min(wide, 22 * larger) / Math.max(W.shape[0], W.shape[1])))) : 0;
  const pitch = Math.max(wide, W ? W.shape[1] * cell : 0) + GAP;
  const shown = chosen(row, Math.floor((width - left + GAP - 2) / pitch));
  const [, , channels] = rows()[row].shape;
  const above = W ? W.shape[0] * cell + 3 : 0;
  words(row, y, shown.length, channels, W && !readsColours(row) && W.shape[2] > 1 ? kernelsFrom(row, channel) : "");
  shown.forEach(({ channel: j, at }, k) => {
    const x = left + k * pitch;
    tiles.push({ row, at, channel: j, x, y: y + WORDS + above, wide, high, kernel: W && kernelGrid(W, ofGroup(W, channel), j, x, y + WORDS, cell) });
  });
  return y + WORDS + above + high + 7;
}

/** The number of a channel in its group. @param {import("./types.js").ParameterInfo} W @param {number} channel */
const ofGroup = (W, channel) => channel % W.shape[2];

/** What kernels read, in words. @param {number} row @param {number} channel */
const kernelsFrom = (row, channel) => (rows()[row].groups > 1 ? TEXT.maps_own_group : t("maps_kernels_from", { channel }));

/** The words above a row. @param {number} row @param {number} y @param {number} count of what is shown @param {number} all @param {string} [more] */
function words(row, y, count, all, more = "") {
  const { layers, shape } = rows()[row];
  const fewer = count < all ? t("maps_strongest", { count, more: all - count }) : "";
  labels.push({ x: left, y: y + 11, text: `${layers.join(" → ")}   ${shape.join(" × ")}${fewer}${more}` });
}

/** Units without positions, a cell for each. @param {number} row @param {number} y */
function cellsRow(row, y) {
  const shown = chosen(row, Infinity);
  const inLine = Math.floor((width - left) / CELL);
  words(row, y, shown.length, rows()[row].shape[0]);
  shown.forEach(({ channel, at }, k) => cells.push({ row, at, channel, x: left + (k % inLine) * CELL, y: y + WORDS + Math.floor(k / inLine) * CELL, wide: CELL - 1, high: CELL - 1 }));
  return y + WORDS + Math.ceil(shown.length / inLine) * CELL + 7;
}

/** The classes with their probabilities. @param {number} row @param {number} y */
function classesRow(row, y) {
  const { predictions, targets } = /** @type {import("./types.js").MapsMessage} */ (sent?.header).output;
  const fit = Math.floor((width - left) / CLASS);
  const order = predictions.map((_, k) => k).sort((a, b) => targets[b] - targets[a] || predictions[b] - predictions[a]);
  const shown = order.slice(0, fit).sort((a, b) => a - b);
  words(row, y, shown.length, predictions.length, t("maps_classes"));
  shown.forEach((channel, k) => cells.push({ row, at: channel, channel, x: left + k * CLASS, y: y + WORDS, wide: CLASS - 5, high: 34 }));
  return y + WORDS + 40;
}

// Painting

/** The largest number of a row's colours. @param {number} row */
const largest = (row) => sent?.header.maps[row][which()].largest || 1;

/** @param {import("./painting.js").Painter} painter */
function paint(painter) {
  if (!sent) return;
  const soft = colour("soft-ink");
  const lit = litFields();
  for (const tile of tiles) {
    if (tile.row === 0) paintSample(painter, tile);
    else paintTile(painter, tile);
    painter.box(tile.x - 0.5, tile.y - 0.5, tile.wide + 1, tile.high + 1, soft, 1);
    if (tile.kernel) paintKernel(painter, tile);
    paintPushes(painter, tile);
    paintField(painter, tile, lit);
  }
  for (const cell of cells) paintCell(painter, cell);
  for (const { x, y, text } of labels) painter.text(x, y, text, 11, soft);
  if (left) rows().slice(1).forEach((_, k) => ramp(painter, k + 1, tops[k]));
  underSample(painter);
}

/** The sample: with one channel as ink, with three in colour. @param {import("./painting.js").Painter} painter @param {Tile} tile */
function paintSample(painter, tile) {
  const { data, shape: [high, wide, channels] } = /** @type {import("./types.js").NamedArray} */ (sent?.arrays.picture);
  const pixels = new ImageData(wide, high);
  for (let k = 0; k < high * wide; k++) {
    const rgb = channels === 3 ? [data[3 * k], data[3 * k + 1], data[3 * k + 2]] : Array(3).fill(255 - data[k]);
    pixels.data.set([...rgb, 255], 4 * k);
  }
  painter.image(tile.x, tile.y, tile.wide, tile.high, pixels);
}

/** @param {import("./painting.js").Painter} painter @param {Tile} tile */
function paintTile(painter, tile) {
  const numbers = numbersOf(tile.row);
  if (!numbers) return;
  const [high, wide] = rows()[tile.row].shape;
  const own = numbers.subarray(tile.at * high * wide, (tile.at + 1) * high * wide);
  painter.image(tile.x, tile.y, tile.wide, tile.high, shaded(own, wide, high, (v) => v / largest(tile.row)));
}

/** Over what the open weight multiplies: where the sample pushed it up, and where down. @param {import("./painting.js").Painter} painter @param {Tile} tile */
function paintPushes(painter, tile) {
  if (!pushes || pushes.row !== rows()[tile.row].name || (tile.row && pushes.channel !== tile.channel)) return;
  const [high, wide] = rows()[tile.row].shape;
  const most = Math.max(...pushes.values.map(Math.abs), 1e-12);
  const own = shaded(pushes.values, wide, high, (v) => Math.sign(v));
  pushes.values.forEach((v, k) => (own.data[4 * k + 3] = (255 * Math.abs(v)) / most));
  if (tile.row === 0) painter.box(tile.x, tile.y, tile.wide, tile.high, "transparent", 0, VEIL);
  painter.image(tile.x, tile.y, tile.wide, tile.high, own);
}

/** The weights of kernels, or their derivatives. @param {number} row */
function kernelNumbers(row) {
  if (!derivatives()) return app.arrays.weights?.data ?? null;
  return knows(rows()[row].name) ? app.arrays.gradients?.data ?? null : null;
}

/** @param {Grid} grid @param {number} row @param {number} column */
const placeIn = (grid, row, column) => grid.start + row * grid.step[0] + column * grid.step[1];

/** @param {import("./painting.js").Painter} painter @param {Tile} tile */
function paintKernel(painter, { row, kernel }) {
  const [values, W] = [kernelNumbers(row), kernelsOf(row)];
  if (!kernel || !W) return;
  const { rows: high, across, cell, x, y } = kernel;
  if (values) {
    const count = W.shape.reduce((a, b) => a * b, 1);
    let most = 1e-12;
    for (let k = W.start; k < W.start + count; k++) most = Math.max(most, Math.abs(values[k]));
    const colours = readsColours(row);
    const own = Float32Array.from({ length: high * across }, (_, k) => values[placeIn(kernel, Math.floor(k / across), k % across)]);
    const pixels = colours ? inColour(values, kernel, W.shape[3], most) : shaded(own, across, high, (v) => v / most);
    painter.image(x, y, across * cell, high * cell, pixels);
  }
  painter.box(x - 0.5, y - 0.5, across * cell + 1, high * cell + 1, colour("line"), 1);
  for (let k = 0; k < high; k++) for (let j = 0; j < across; j++) {
    if (kernel.name(k, j) === app.opened?.weight) painter.box(x + j * cell, y + k * cell, cell, cell, colour("lit-line"), 2);
  }
}

/** A kernel over red, green and blue in colour: grey is 0. @param {ArrayLike<number>} values @param {Grid} grid @param {number} step from one colour to the next @param {number} most */
function inColour(values, grid, step, most) {
  const pixels = new ImageData(grid.across, grid.rows);
  for (let k = 0; k < grid.across * grid.rows; k++) {
    const at = placeIn(grid, Math.floor(k / grid.across), k % grid.across);
    pixels.data.set([...[0, 1, 2].map((c) => 127.5 * (1 + values[at + c * step] / most)), 255], 4 * k);
  }
  return pixels;
}

/** @param {import("./painting.js").Painter} painter @param {Cell} cell */
function paintCell(painter, cell) {
  const { row, at, channel, x, y, wide, high } = cell;
  const numbers = numbersOf(row);
  const own = app.opened?.layer === rows()[row].name && app.opened.unit === channel;
  const edge = own || pointed.cell === cell ? colour("lit-line") : colour("line");
  if (high > CELL) return paintClass(painter, cell, edge, own ? 2.5 : 1);
  if (numbers) painter.image(x, y, wide, high, shaded([numbers[at]], 1, 1, (v) => v / largest(row)));
  painter.box(x, y, wide, high, edge, own ? 2 : 1);
}

/** A class: its name, its probability, and a bar; the target is marked. @param {import("./painting.js").Painter} painter @param {Cell} cell @param {string} edge @param {number} line */
function paintClass(painter, { row, channel, x, y, wide, high }, edge, line) {
  const { output } = /** @type {import("./types.js").MapsMessage} */ (sent?.header);
  const [p, goal] = [output.predictions[channel], output.targets[channel]];
  painter.box(x, y, wide, high, goal ? colour("ink") : edge, goal ? 2 : line);
  painter.box(x, y + high - 5, Math.max(0.1, p * wide), 5, "transparent", 0, colour("plus"));
  painter.text(x + 4, y + 12, `${output.names[channel].replace(/^class /, "")}${goal ? ` ${TEXT.maps_target}` : ""}`.slice(0, 9), 10, colour("ink"));
  const numbers = derivatives() ? numbersOf(row) : null;
  const at = sent?.header.maps[row].slopes.channels.indexOf(channel) ?? -1;
  painter.text(x + 4, y + 25, derivatives() ? (numbers && at >= 0 ? `δ ${numbers[at].toFixed(3).replace("-", "−")}` : "") : `p ${p.toFixed(3)}`, 10, colour("soft-ink"));
}

/** What the colours of a row mean, at its right. @param {import("./painting.js").Painter} painter @param {number} row @param {number} y */
function ramp(painter, row, y) {
  if (!isMap(row) || !numbersOf(row)) return;
  const { text } = /** @type {import("./types.js").MapChannels} */ (sent?.header.maps[row][which()]);
  const [x, wide] = [width - 96, 40];
  painter.image(x, y + 3, wide, 8, shaded(Float32Array.from({ length: 41 }, (_, k) => k / 20 - 1), 41, 1, (v) => v));
  painter.box(x, y + 3, wide, 8, colour("line"), 1);
  painter.text(x + wide + 4, y + 11, `± ${text}`, 11, colour("soft-ink"));
}

/** Under the sample: what the pictures show and, of the derivatives, the sample's own. @param {import("./painting.js").Painter} painter */
function underSample(painter) {
  if (!left) return;
  let y = WORDS + tiles[0].high + 16;
  const [high, wide, channels] = rows()[0].shape;
  const numbers = derivatives() ? numbersOf(0) : null;
  const size = Math.min(PICTURE, (PICTURE - 2 * GAP) / channels);
  for (let c = 0; numbers && c < channels && c < 3; c++) {
    painter.image(c * (size + GAP), y, size, (size * high) / wide, shaded(numbers.subarray(c * high * wide, (c + 1) * high * wide), wide, high, (v) => v / largest(0)));
    painter.box(c * (size + GAP) - 0.5, y - 0.5, size + 1, (size * high) / wide + 1, colour("soft-ink"), 1);
  }
  if (numbers) y += (size * high) / wide + 14;
  const about = pushes ? "maps_about_pushes" : !derivatives() ? "maps_about" : numbers ? "maps_about_slopes_all" : "maps_about_slopes";
  for (const line of t(about, { row: pushes?.row === "input" ? TEXT.maps_of_sample : `${pushes?.row},\nchannel ${pushes?.channel},` }).split("\n")) {
    painter.text(0, y, line, 11, colour("soft-ink"));
    y += 14;
  }
}

// Receptive fields

/**
 * What is lit: of the position that is pointed at, or open, what it reads in every row; and of a pooling's, through the input that won.
 * @returns {{row: number, place: [number, number] | null, channel: number, field: Map<number, Field>, through: Map<number, Field>} | null}
 */
function litFields() {
  const { tile, place, cell } = pointed;
  if (tile && place) return litAt(tile.row, tile.channel, place);
  if (cell) return litAt(cell.row, cell.channel, null);
  const row = rows().findIndex((one) => one.name === app.opened?.layer);
  return row > 0 ? litAt(row, app.opened?.unit, isMap(row) ? app.opened?.position ?? null : null) : null;
}

/** @param {number} row @param {number} channel @param {[number, number] | null} place */
function litAt(row, channel, place) {
  if (isMap(row) && !place) return null;
  const from = { rows: place ? [place[0]] : [], columns: place ? [place[1]] : [], channel };
  const field = fieldsOf(rows(), row, from);
  const [won, before] = [place && winner(row, channel, place), rows()[row].reads[0]?.row];
  const through = won ? fieldsOf(rows(), before, { rows: [won[0]], columns: [won[1]], channel }) : new Map();
  return { row, place, channel, field, through };
}

/** The position of the input that won a pooling. @param {number} row @param {number} channel @param {[number, number]} place @returns {[number, number] | null} */
export function winner(row, channel, [down, across]) {
  const winners = sent?.arrays[`winners ${which()} ${row}`];
  const at = sent?.header.maps[row][which()].channels.indexOf(channel) ?? -1;
  if (!winners || at < 0) return null;
  const [, high, wide] = winners.shape;
  const flat = winners.data[at * high * wide + down * wide + across];
  const [, wideBefore] = rows()[rows()[row].reads[0].row].shape;
  return [Math.floor(flat / wideBefore), flat % wideBefore];
}

/** Light up what a tile has of what is read. @param {import("./painting.js").Painter} painter @param {Tile} tile @param {ReturnType<typeof litFields>} lit */
function paintField(painter, tile, lit) {
  const field = lit?.field.get(tile.row);
  if (!lit || !field || (field.channel !== null && field.channel !== tile.channel && tile.row !== 0)) return;
  const [high, wide] = rows()[tile.row].shape;
  const [tall, broad] = [tile.high / high, tile.wide / wide];
  const boxes = (/** @type {number[]} */ down, /** @type {number[]} */ across, /** @type {string} */ stroke, /** @type {number} */ line, /** @type {string} */ fill) => {
    for (const [r, rows] of runs(down)) for (const [c, columns] of runs(across)) painter.box(tile.x + c * broad, tile.y + r * tall, columns * broad, rows * tall, stroke, line, fill);
  };
  if (tile.row === 0) { // in the shade: what is not read
    boxes(every(high).filter((r) => !field.rows.includes(r)), every(wide), "transparent", 0, SHADE);
    boxes(field.rows, every(wide).filter((c) => !field.columns.includes(c)), "transparent", 0, SHADE);
  }
  boxes(field.rows, field.columns, colour("lit-line"), tile.row === lit.row || tile.row === 0 ? 2 : 1.2, "");
  const through = lit.through.get(tile.row);
  if (through) boxes(through.rows, through.columns, colour("lit-line"), 1.2, WON);
}

// Pointing

/** What lies under a point. @param {number} x @param {number} y @returns {Found} */
function under(x, y) {
  for (const tile of tiles) {
    const { kernel } = tile;
    if (kernel) {
      const [column, row] = [Math.floor((x - kernel.x) / kernel.cell), Math.floor((y - kernel.y) / kernel.cell)];
      if (row >= 0 && row < kernel.rows && column >= 0 && column < kernel.across) return { tile, kernel: [row, column] };
    }
    const [high, wide] = rows()[tile.row].shape;
    const [across, down] = [Math.floor(((x - tile.x) * wide) / tile.wide), Math.floor(((y - tile.y) * high) / tile.high)];
    if (across >= 0 && across < wide && down >= 0 && down < high) return { tile, place: [down, across] };
  }
  const cell = cells.find((one) => x >= one.x && x < one.x + one.wide && y >= one.y && y < one.y + one.high);
  return cell ? { cell } : {};
}

/** The weight at a place of a tile's kernel: over colours, the largest of the three. @param {Tile} tile @param {[number, number]} place */
function weightAt({ row, channel, kernel }, [down, across]) {
  const [W, values] = [kernelsOf(row), app.arrays.weights?.data];
  if (!kernel || !W || !values || !readsColours(row)) return kernel?.name(down, across) ?? "";
  const size = (/** @type {number} */ c) => Math.abs(values[placeIn(kernelGrid(W, c, channel, 0, 0, 1), down, across)]);
  const most = [0, 1, 2].reduce((best, c) => (size(c) > size(best) ? c : best), 0);
  return `${W.name}[${down}, ${across}, ${most}, ${channel}]`;
}

/** The number that is shown at a position. @param {number} row @param {number} at @param {[number, number]} place */
function numberAt(row, at, [down, across]) {
  const [high, wide] = rows()[row].shape;
  return numbersOf(row)?.[at * high * wide + down * wide + across] ?? null;
}

/** What is pointed at, in a few words. */
function named() {
  const { tile, cell, place, kernel } = pointed;
  if (tile && kernel) return weightAt(tile, kernel);
  const found = tile ?? cell;
  if (!found) return "";
  const { name } = rows()[found.row];
  return place ? `${name}[${place.join(", ")}, ${found.channel}]` : `${name}[${found.channel}]`;
}

/** The line about what is pointed at: its name, and what there is to say; null through other lenses. @returns {[string, string[]] | null} */
export function mapsLine() {
  if (app.lens !== "maps" || !sent) return null;
  const { tile, cell, place, kernel } = pointed;
  if (tile && kernel) return [t("maps_weight"), [weightLine(weightAt(tile, kernel), tile.row)]];
  if (tile && place && tile.row === 0) return [t("maps_pixel", { place: place.join(", ") }), []];
  if (tile && place) return [named(), [valueLine(tile.row, numberAt(tile.row, tile.at, place)), readsLine(tile, place)]];
  if (cell) return [named(), [valueLine(cell.row, numbersOf(cell.row)?.[cell.at] ?? null), t("maps_reads_all")]];
  return [t(derivatives() ? "maps_hint_slopes" : "maps_hint"), ofPhase()];
}

/** What the phase has computed. */
function ofPhase() {
  const { output, phase } = /** @type {import("./types.js").MapsMessage} */ (sent?.header);
  if (phase === "forward") return [output.prediction_line ?? ""];
  return phase === "weights" ? [] : [output.prediction_line ?? "", output.loss_line ?? ""];
}

/** @param {string} name @param {number} row */
function weightLine(name, row) {
  const W = kernelsOf(row);
  const index = name.slice(name.indexOf("[") + 1, -1).split(",").map(Number);
  const at = W ? W.start + index.reduce((sum, k, d) => sum * W.shape[d] + k, 0) : 0;
  const gradient = knows(rows()[row].name) ? app.arrays.gradients?.data[at] : undefined;
  return `${name} = ${figure(app.arrays.weights?.data[at] ?? 0)}${gradient === undefined ? "" : `,  ∂L/∂w = ${figure(gradient)}`}`;
}

/** @param {number} row @param {number | null} value */
const valueLine = (row, value) => (value === null ? t("maps_not_reached") : `${derivatives() ? "∂L/∂a" : "a"} = ${figure(value)}${rows()[row].layers.length > 1 ? `   (${rows()[row].layers.at(-1)})` : ""}`);

/** What a position reads, in words. @param {Tile} tile @param {[number, number]} place */
function readsLine(tile, place) {
  const lit = litAt(tile.row, tile.channel, place);
  const field = lit?.field.get(0);
  if (!lit || !field) return "";
  const seen = t("maps_reads", { rows: spoken(field.rows), columns: spoken(field.columns) });
  const won = winner(tile.row, tile.channel, place);
  const before = rows()[tile.row].reads[0];
  return won ? `${t("maps_won", { row: won[0], column: won[1], layer: rows()[before.row].layers.at(-1) ?? rows()[0].name })} ${seen}` : seen;
}

/** Say what is pointed at, at the cursor and in the line. @param {[number, number]} at */
function tell(at) {
  const { tile, cell, place, kernel } = pointed;
  const name = named();
  const value = tile && place && tile.row ? numberAt(tile.row, tile.at, place) : cell ? numbersOf(cell.row)?.[cell.at] ?? null : null;
  if (name) tip(canvas(), at, kernel && tile ? weightLine(name, tile.row) : value === null ? name : `${name}: ${figure(value)}`);
  else hideTip();
  draw();
  emit("pointed", name);
}

/** Open what is pointed at. */
function open() {
  const { tile, cell, place, kernel } = pointed;
  if (tile && kernel) openWeight(weightAt(tile, kernel));
  else if (tile && place && tile.row) openUnit(rows()[tile.row].name, tile.channel, place);
  else if (cell) openUnit(rows()[cell.row].name, cell.channel);
}

/** The places of a picture, or of a kernel, that the arrow keys walk over. @param {Found} from @param {number} down @param {number} across @returns {Found} */
function beside({ tile, cell, place, kernel }, down, across) {
  if (cell) return nearest(cell, down, across);
  if (!tile) return tiles[1] ? { tile: tiles[1], place: [0, 0] } : {};
  const [high, wide] = kernel && tile.kernel ? [tile.kernel.rows, tile.kernel.across] : rows()[tile.row].shape;
  const [r, c] = kernel ?? place ?? [0, 0];
  const next = /** @type {[number, number]} */ ([r + down, c + across]);
  if (next[0] >= 0 && next[0] < high && next[1] >= 0 && next[1] < wide) return kernel ? { tile, kernel: next } : { tile, place: next };
  if (place && tile.kernel && down < 0) return { tile, kernel: [tile.kernel.rows - 1, 0] };
  if (kernel && down > 0) return { tile, place: [0, 0] };
  return nearest(tile, down, across);
}

/** The next picture or cell in a direction. @param {Tile | Cell} from @param {number} down @param {number} across @returns {Found} */
function nearest(from, down, across) {
  const middle = (/** @type {Tile | Cell} */ one) => [one.x + one.wide / 2, one.y + one.high / 2];
  const [x, y] = middle(from);
  let [best, least] = [/** @type {Tile | Cell | null} */ (null), Infinity];
  for (const one of [...tiles, ...cells]) {
    const [dx, dy] = [middle(one)[0] - x, middle(one)[1] - y];
    const [ahead, aside] = [dx * across + dy * down, Math.abs(dx * down) + Math.abs(dy * across)];
    if (ahead > 2 && ahead + 2 * aside < least) [best, least] = [one, ahead + 2 * aside];
  }
  const found = best ?? from;
  const tile = tiles.find((one) => one === found);
  return tile ? { tile, place: [0, 0] } : { cell: found };
}

/** @param {KeyboardEvent} event */
function walk(event) {
  const steps = /** @type {Record<string, [number, number]>} */ ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] });
  if (event.key === "Enter") open();
  if (!steps[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  pointed = beside(pointed, ...steps[event.key]);
  const { tile, cell, place } = pointed;
  const found = tile ?? cell;
  const [high, wide] = tile ? rows()[tile.row].shape : [1, 1];
  if (found) tell([found.x + (((place?.[1] ?? 0) + 1) * found.wide) / wide, found.y + ((place?.[0] ?? 0) * found.high) / high]);
}

/** Where a position of a map, a kernel's weight or a unit is on the canvas, by its name. @param {string} name */
export function placeOnMaps(name) {
  const index = name.slice(name.indexOf("[") + 1, -1).split(",").map(Number);
  for (const tile of tiles) {
    const [high, wide] = rows()[tile.row].shape;
    const { kernel } = tile;
    if (kernel) for (let r = 0; r < kernel.rows; r++) for (let c = 0; c < kernel.across; c++) if (kernel.name(r, c) === name) return { x: kernel.x + (c + 0.5) * kernel.cell, y: kernel.y + (r + 0.5) * kernel.cell };
    if (index.length === 3 && name === `${rows()[tile.row].name}[${index[0]}, ${index[1]}, ${tile.channel}]`) return { x: tile.x + ((index[1] + 0.5) * tile.wide) / wide, y: tile.y + ((index[0] + 0.5) * tile.high) / high };
  }
  const cell = cells.find((one) => `${rows()[one.row].name}[${one.channel}]` === name);
  return cell ? { x: cell.x + cell.wide / 2, y: cell.y + cell.high / 2 } : null;
}

/** What is lit now, by the name of each row: for whoever checks it. */
export const shownFields = () => Object.fromEntries([...(litFields()?.field ?? [])].map(([row, field]) => [rows()[row].name, field]));

/** The lens's picture as an SVG. */
export const mapsSvg = () => svgPainter(width, height, paint);

function draw() {
  const pen = canvas().getContext("2d");
  if (!pen || !sent || app.lens !== "maps") return;
  const scale = window.devicePixelRatio || 1;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  paint(canvasPainter(pen));
}

/** Arrange and draw anew, with what was pointed at still pointed at. */
function anew() {
  const name = named();
  arrange();
  const at = name && placeOnMaps(name);
  pointed = at ? under(at.x, at.y) : {};
  draw();
}

export function startMaps() {
  canvas().onmousemove = (event) => {
    pointed = under(event.offsetX, event.offsetY);
    tell([event.offsetX, event.offsetY]);
  };
  const leave = () => {
    pointed = {};
    hideTip();
    draw();
    emit("pointed", "");
  };
  canvas().onmouseleave = leave;
  canvas().onblur = leave;
  canvas().onkeydown = walk;
  canvas().onclick = (event) => {
    pointed = under(event.offsetX, event.offsetY);
    open();
  };
  let fresh = false;
  let before = app.edges;
  on("maps", (message) => {
    // Backpropagation shows its derivatives, as long as it is at work.
    const [was, is] = [sent?.header.phase === "backward", message.header.phase === "backward"];
    if (is && !was && app.edges !== "gradients") [before, app.edges] = [app.edges, "gradients"];
    else if (was && !is) app.edges = before;
    if (app.lens === "maps") /** @type {HTMLSelectElement} */ (byId("edges")).value = app.edges;
    sent = message;
    fresh = true;
  });
  on("built", ({ header }) => {
    sent = null;
    pointed = {};
    document.body.dataset.maps = String(header.maps.length > 0);
  });
  on("draw", () => {
    if (!fresh) return;
    fresh = false;
    anew();
    emit("stage");
  });
  on("explained", (header) => {
    pushes = header.pushes ?? null;
    anew();
  });
  on("forget", () => (pushes = null));
  for (const event of ["lens", "forget", "redraw"]) on(event, anew);
  new ResizeObserver(anew).observe(/** @type {HTMLElement} */ (canvas().parentElement));
}
