// Where the pictures of the lens on feature maps stand: the sample, and the rows of maps with their kernels above them.

import { app, byId } from "./app.js";
import { isKernel, kernelGrid } from "./kernels.js";
import { parameter } from "./painting.js";
import { resize } from "./pointing.js";
import { fieldsOf } from "./receptive.js";
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
/** How far from the stage's edge a picture stands, for its border. */
export const EDGE = 1;
/** Below this width the rows stand under the picture, and have no ramps. */
const NARROW = 500;
/** The height of the words under the sample and, of derivatives, a second picture: seven lines. */
const UNDER = 140;
/** How high the stage should be at most, and how much larger than needed pictures are drawn if there is room. */
const [HIGH, LARGER] = [430, [2, 1.7, 1.4, 1.2, 1]];

/** The width of the ramp and its numbers at the right of a row, and of a letter, at most. */
export const RAMP = 176;
const LETTER = 6;

/** @typedef {{header: import("./types.js").MapsMessage, arrays: import("./types.js").Arrays}} Sent */
/** What the engine sent last. @type {Sent | null} */
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
let [width, height, left] = [690, 400, PICTURE + 2 * GAP];

export { cells, GAP, height, labels, left, PICTURE, sent, tiles, tops, width, WORDS };

/** Take what the engine sent; null for another network. @param {Sent | null} message */
export function receive(message) {
  sent = message;
}

export const canvas = () => /** @type {HTMLCanvasElement} */ (byId("maps"));
export const rows = () => app.built?.maps ?? [];
export const isMap = (/** @type {number} */ row) => rows()[row].shape.length === 3;
/** Whether pictures show derivatives. */
export const derivatives = () => app.edges === "gradients";
/** Whether backpropagation has reached a row. @param {string} name */
export const knows = (name) => sent?.header.reached.includes(name) ?? false;
/** Whether a step has computed a row's derivatives for its mini-batch: none is taken with a sample that was drawn. @param {number} row */
export const knowsKernels = (row) => knows(rows()[row].name) && !isDrawn();
/** Whether the sample was drawn by hand. */
export const isDrawn = () => (sent?.header.sample ?? 0) < 0;
export const which = () => (derivatives() ? "slopes" : "values");

/** The numbers of a row that are shown; none for derivatives that backpropagation has not reached. @param {number} row */
export function numbersOf(row) {
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
  const opened = /\.W\[\d+, \d+, (\d+), /.exec(app.opened?.weight?.startsWith(`${rows()[row].kernels}[`) ? app.opened.weight : "");
  if (opened) return Number(opened[1]);
  if (app.opened?.layer === rows()[before].name) return app.opened?.unit ?? 0;
  return sent?.header.maps[before]?.values.channels[0] ?? 0;
}

/** The array of kernels of a row, if it has any. @param {number} row */
export function kernelsOf(row) {
  const W = parameter(rows()[row].kernels ?? "");
  return W && isKernel(W) ? W : null;
}

/** Whether a row's kernels read the three colours of the sample. @param {number} row */
export const readsColours = (row) => kernelsOf(row)?.shape[2] === 3 && rows()[row].reads[0].row === 0;

export function arrange() {
  if (!app.built || !sent || app.lens !== "maps" || sent.header.maps.length !== rows().length) return;
  width = canvas().parentElement?.clientWidth || 690;
  left = width < NARROW ? 0 : PICTURE + 3 * GAP;
  for (larger of LARGER) {
    place();
    if (height <= HIGH) break;
  }
  resize(canvas(), width, height);
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
  height = Math.max(y, left ? 2 * PICTURE + UNDER : 0);
}

/** The sample, and where the rows begin below or beside it. */
function picture() {
  const [high, wide, channels] = rows()[0].shape;
  const size = PICTURE / Math.max(high, wide);
  tiles.push({ row: 0, at: 0, channel: 0, x: EDGE, y: WORDS, wide: wide * size, high: high * size, kernel: null });
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
    const x = (left || EDGE) + k * pitch;
    tiles.push({ row, at, channel: j, x, y: y + WORDS + above, wide, high, kernel: W && kernelGrid(W, ofGroup(W, channel), j, x, y + WORDS, cell) });
  });
  return y + WORDS + above + high + 7;
}

/** The number of a channel in its group. @param {import("./types.js").ParameterInfo} W @param {number} channel */
const ofGroup = (W, channel) => channel % W.shape[2];

/** Whether a row's kernels read only a part of the channels before. @param {number} row */
const sharesGroups = (row) => kernelsOf(row)?.shape[2] !== rows()[rows()[row].reads[0].row].shape[2];

/** What kernels read, in words. @param {number} row @param {number} channel */
const kernelsFrom = (row, channel) => (sharesGroups(row) ? TEXT.maps_own_group : t("maps_kernels_from", { channel }));

/** The words above a row, as much of them as fits. @param {number} row @param {number} y @param {number} count of what is shown @param {number} all @param {string} [more] */
function words(row, y, count, all, more = "") {
  const { layers, shape } = rows()[row];
  const named = layers.map((name, k) => (k ? name.slice(name.lastIndexOf(".") + 1) : name)).join(" → ");
  const size = count < all ? [...shape.slice(0, -1), t("maps_strongest", { count, more: all - count })].join(isMap(row) ? " × " : "") : shape.join(" × ");
  const room = (width - left - (left && isMap(row) ? RAMP : 0)) / LETTER;
  const choices = [`${named}   ${size}${more}`, `${named}   ${size}`, `${layers[0].slice(layers[0].lastIndexOf(".") + 1)}   ${size}`, size];
  labels.push({ x: left, y: y + 11, text: choices.find((one) => one.length <= room) ?? size });
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
  const pitch = Math.max(CLASS, Math.min(100, (width - left) / predictions.length));
  const fit = Math.floor((width - left) / pitch);
  const order = predictions.map((_, k) => k).sort((a, b) => targets[b] - targets[a] || predictions[b] - predictions[a]);
  const shown = order.slice(0, fit).sort((a, b) => a - b);
  words(row, y, shown.length, predictions.length, t(derivatives() ? "maps_classes_slopes" : "maps_classes"));
  shown.forEach((channel, k) => cells.push({ row, at: channel, channel, x: left + k * pitch, y: y + WORDS, wide: pitch - 5, high: 34 }));
  return y + WORDS + 40;
}

// Receptive fields

/**
 * What a position reads in every row and, of a pooling's, what it reads through the input that won; null for a map without a position.
 * @param {number} row @param {number} channel @param {[number, number] | null} place
 */
export function litAt(row, channel, place) {
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
