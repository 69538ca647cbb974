// How the lens on feature maps paints its pictures, on one scale for each row, and what is lit in them.

import { app, colour } from "./app.js";
import { placeIn } from "./kernels.js";
import { shaded } from "./painting.js";
import { every, runs } from "./receptive.js";
import { TEXT, t } from "./text.js";
import { EDGE, cells, derivatives, GAP, isDrawn, isMap, kernelsOf, knowsKernels, labels, left, numbersOf, PICTURE, RAMP, readsColours, rows, sent, tiles, tops, which, width, WORDS } from "./tiles.js";

/** @typedef {import("./receptive.js").Field} Field */
/** @typedef {import("./matrix.js").Grid} Grid */
/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {import("./tiles.js").Cell} Cell */
/** @typedef {import("./painting.js").Painter} Painter */
/** The pushes on a weight of a kernel: minus its products, by the input of a row that it multiplies. @typedef {{row: string, channel: number, values: number[]}} Pushes */

/** What is lit. @typedef {ReturnType<typeof import("./tiles.js").litAt>} Lit */

/** The height from which a cell is a class, with its probability. */
const CLASS = 20;
/** Over what is not read, and over the input that won a pooling. */
const [SHADE, WON] = ["rgba(128, 128, 128, 0.6)", "rgba(226, 182, 68, 0.45)"];
/** Over the sample, so that it does not outshine the pushes on a weight. */
const VEIL = "rgba(255, 255, 255, 0.55)";

/** The largest number of a row's colours. @param {number} row */
const largest = (row) => sent?.header.maps[row][which()].largest || 1;

/**
 * All of it.
 * @param {Painter} painter @param {Lit} lit @param {Pushes | null} pushes @param {Cell | undefined} pointed
 */
export function paint(painter, lit, pushes, pointed) {
  if (!sent) return;
  const soft = colour("soft-ink");
  for (const tile of tiles) {
    if (tile.row === 0) paintSample(painter, tile);
    else paintTile(painter, tile);
    painter.box(tile.x - 0.5, tile.y - 0.5, tile.wide + 1, tile.high + 1, soft, 1);
    if (tile.kernel) paintKernel(painter, tile);
    paintPushes(painter, tile, pushes);
    paintField(painter, tile, lit);
  }
  for (const cell of cells) paintCell(painter, cell, cell === pointed);
  for (const { x, y, text } of labels) painter.text(x, y, text, 11, soft);
  if (left) rows().slice(1).forEach((_, k) => ramp(painter, k + 1, tops[k]));
  underSample(painter, pushes);
}

/** The sample: with one channel as ink, with three in colour. @param {Painter} painter @param {Tile} tile */
function paintSample(painter, tile) {
  const { data, shape: [high, wide, channels] } = /** @type {import("./types.js").NamedArray} */ (sent?.arrays.picture);
  const pixels = new ImageData(wide, high);
  for (let k = 0; k < high * wide; k++) {
    const rgb = channels === 3 ? [data[3 * k], data[3 * k + 1], data[3 * k + 2]] : Array(3).fill(255 - data[k]);
    pixels.data.set([...rgb, 255], 4 * k);
  }
  painter.image(tile.x, tile.y, tile.wide, tile.high, pixels);
}

/** @param {Painter} painter @param {Tile} tile */
function paintTile(painter, tile) {
  const numbers = numbersOf(tile.row);
  if (!numbers) return;
  const [high, wide] = rows()[tile.row].shape;
  const own = numbers.subarray(tile.at * high * wide, (tile.at + 1) * high * wide);
  painter.image(tile.x, tile.y, tile.wide, tile.high, shaded(own, wide, high, (v) => v / largest(tile.row)));
}

/** Over what the open weight multiplies: where the sample pushed it up, and where down. @param {Painter} painter @param {Tile} tile @param {Pushes | null} pushes */
function paintPushes(painter, tile, pushes) {
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
  return knowsKernels(row) ? app.arrays.gradients?.data ?? null : null;
}

/** The largest of a layer's kernels in magnitude, or of their derivatives; 0 if there are none. @param {number} row */
function largestOfKernels(row) {
  const [values, W] = [kernelNumbers(row), kernelsOf(row)];
  let most = 0;
  if (values && W) for (let k = W.start; k < W.start + W.shape.reduce((a, b) => a * b, 1); k++) most = Math.max(most, Math.abs(values[k]));
  return most;
}

/** @param {Painter} painter @param {Tile} tile */
function paintKernel(painter, { row, kernel }) {
  const [values, W] = [kernelNumbers(row), kernelsOf(row)];
  if (!kernel || !W) return;
  const { rows: high, across, cell, x, y } = kernel;
  if (values) {
    const most = largestOfKernels(row) || 1;
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

/** @param {Painter} painter @param {Cell} cell @param {boolean} isPointed */
function paintCell(painter, cell, isPointed) {
  const { row, at, channel, x, y, wide, high } = cell;
  const numbers = numbersOf(row);
  const own = app.opened?.layer === rows()[row].name && app.opened.unit === channel;
  const edge = own || isPointed ? colour("lit-line") : colour("line");
  if (high > CLASS) return paintClass(painter, cell, edge, own ? 2.5 : 1);
  if (numbers) painter.image(x, y, wide, high, shaded([numbers[at]], 1, 1, (v) => v / largest(row)));
  painter.box(x, y, wide, high, edge, own ? 2 : 1);
}

/** A class: its name, its probability or its derivative, and a bar of it; the target is marked. @param {Painter} painter @param {Cell} cell @param {string} edge @param {number} line */
function paintClass(painter, { row, channel, x, y, wide, high }, edge, line) {
  const { output } = /** @type {import("./types.js").MapsMessage} */ (sent?.header);
  const [p, goal] = [output.predictions[channel], output.targets[channel]];
  painter.box(x, y, wide, high, goal ? colour("ink") : edge, goal ? 2 : line);
  const at = sent?.header.maps[row].slopes.channels.indexOf(channel) ?? -1;
  const number = !derivatives() ? p : at >= 0 ? numbersOf(row)?.[at] : undefined;
  painter.text(x + 4, y + 12, `${output.names[channel].replace(/^class /, "")}${goal ? ` ${TEXT.maps_target}` : ""}`.slice(0, Math.floor(wide / 5.5)), 10, colour("ink"));
  if (number === undefined) return;
  const share = Math.abs(number) / (derivatives() ? largest(row) : 1);
  painter.box(x, y + high - 5, Math.max(0.1, share * wide), 5, "transparent", 0, colour(number < 0 ? "minus" : "plus"));
  painter.text(x + 4, y + 25, `${derivatives() ? "" : "p "}${number.toFixed(3).replace("-", "−")}`, 10, colour("soft-ink"));
}

/** What the colours of a row mean, at its right. @param {Painter} painter @param {number} row @param {number} y */
function ramp(painter, row, y) {
  if (!isMap(row) || !numbersOf(row)) return;
  const { text } = /** @type {import("./types.js").MapChannels} */ (sent?.header.maps[row][which()]);
  const most = largestOfKernels(row);
  const [x, wide] = [width - (most ? RAMP : 96), 40];
  painter.image(x, y + 3, wide, 8, shaded(Float32Array.from({ length: 41 }, (_, k) => k / 20 - 1), 41, 1, (v) => v));
  painter.box(x, y + 3, wide, 8, colour("line"), 1);
  painter.text(x + wide + 4, y + 11, `± ${text}${most ? t("maps_kernel_scale", { most: Number(most.toPrecision(2)) }) : ""}`, 11, colour("soft-ink"));
}

/** Under the sample: what the pictures show and, of the derivatives, the sample's own. @param {Painter} painter @param {Pushes | null} pushes */
function underSample(painter, pushes) {
  if (!left) return;
  let y = WORDS + tiles[0].high + 16;
  const [high, wide, channels] = rows()[0].shape;
  const numbers = derivatives() ? numbersOf(0) : null;
  const size = Math.min(PICTURE, (PICTURE - 2 * GAP) / channels);
  for (let c = 0; numbers && c < channels && c < 3; c++) {
    const x = EDGE + c * (size + GAP);
    painter.image(x, y, size, (size * high) / wide, shaded(numbers.subarray(c * high * wide, (c + 1) * high * wide), wide, high, (v) => v / largest(0)));
    painter.box(x - 0.5, y - 0.5, size + 1, (size * high) / wide + 1, colour("soft-ink"), 1);
  }
  if (numbers) y += (size * high) / wide + 14;
  const about = pushes ? "maps_about_pushes" : !derivatives() ? "maps_about" : !numbers ? "maps_about_slopes" : isDrawn() ? "maps_about_slopes_own" : "maps_about_slopes_all";
  const above = pushes && numbers ? `${TEXT.maps_about_above}\n` : "";
  for (const line of (above + t(about, { row: pushes?.row === "input" ? TEXT.maps_of_sample : `${pushes?.row},\nchannel ${pushes?.channel},` })).split("\n")) {
    painter.text(0, y, line, 11, colour("soft-ink"));
    y += 14;
  }
}

/** Light up what a tile has of what is read. @param {Painter} painter @param {Tile} tile @param {Lit} lit */
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
  if (through) boxes(through.rows, through.columns, colour("lit-line"), 1.2, through.channel === null ? "" : WON);
}
