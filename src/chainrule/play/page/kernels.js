// Kernels as pictures: the weights from one channel in to one channel out, a cell for each place of the kernel.

import { app } from "./app.js";
import { t } from "./text.js";

/** @typedef {import("./matrix.js").Grid} Grid */
/** @typedef {import("./types.js").ParameterInfo} ParameterInfo */

/** The most channels in whose kernels are shown; of more, those with the largest weights. */
const MOST_INPUTS = 6;
/** The names of a picture's channels. */
const COLOURS = ["red", "green", "blue"];

/** Whether an array holds kernels over pictures. @param {ParameterInfo} p */
export const isKernel = (p) => p.name.endsWith(".W") && p.shape.length === 4;

/**
 * The kernel from a channel in (of its group) to a channel out.
 * @param {ParameterInfo} W @param {number} i @param {number} j @param {number} x @param {number} y @param {number} cell @returns {Grid}
 */
export function kernelGrid(W, i, j, x, y, cell) {
  const [rows, across, inputs, outputs] = W.shape;
  return { x, y, rows, across, cell, start: W.start + i * outputs + j, step: [across * inputs * outputs, inputs * outputs], name: (row, column) => `${W.name}[${row}, ${column}, ${i}, ${j}]`, caption: "" };
}

/** Where the weight of a cell is in the flat vector. @param {Grid} grid @param {number} row @param {number} column */
export const placeIn = (grid, row, column) => grid.start + row * grid.step[0] + column * grid.step[1];

/** The channels with the largest weights, ascending. @param {ParameterInfo} W @param {2 | 3} axis in or out @param {number} most */
function strongest(W, axis, most) {
  const values = app.arrays.weights?.data;
  const [, , inputs, outputs] = W.shape;
  const sizes = new Float64Array(W.shape[axis]);
  const count = W.shape.reduce((a, b) => a * b, 1);
  for (let k = 0; k < count && values; k++) sizes[axis === 3 ? k % outputs : Math.floor(k / outputs) % inputs] += Math.abs(values[W.start + k]);
  const order = Array.from(sizes, (_, k) => k).sort((a, b) => sizes[b] - sizes[a]);
  return order.slice(0, most).sort((a, b) => a - b);
}

/**
 * The kernels of a layer: a column for each channel out, a row for each channel in. What is too much is counted.
 * @param {ParameterInfo} W @param {number} top @param {number} width
 * @returns {{grids: Grid[], labels: {x: number, y: number, text: string}[], low: number}}
 */
export function kernelPictures(W, top, width) {
  const [rows, across, inputs, outputs] = W.shape;
  const left = 40;
  const cell = Math.max(3, Math.min(outputs <= 16 ? 10 : 7, Math.floor(40 / Math.max(rows, across))));
  const [wide, high] = [across * cell + 5, rows * cell + 5];
  const shown = strongest(W, 3, Math.max(1, Math.floor((width - left) / wide)));
  const from = strongest(W, 2, MOST_INPUTS);
  const left_out = [[outputs - shown.length, "out"], [inputs - from.length, "in"]].filter(([count]) => count).map(([count, way]) => t("kernels_more", { count, way }));
  const words = t(inputs > 1 ? "kernels_of" : "kernels_of_one", { layer: W.name, rows, across, inputs, outputs });
  const labels = [{ x: 0, y: top + 10, text: [words, ...left_out].join("; ") }];
  const coloured = inputs === 3 && app.built?.inputs.length === 3 && app.built.maps.some((row) => row.kernels === W.name && row.reads.every((read) => read.row === 0));
  /** @type {Grid[]} */
  const grids = [];
  shown.forEach((j, column) => {
    const x = left + column * wide;
    if (wide >= 17 || column % 2 === 0) labels.push({ x, y: top + 25, text: String(j) });
    from.forEach((i, row) => grids.push(kernelGrid(W, i, j, x, top + 29 + row * high, cell)));
  });
  if (inputs > 1) from.forEach((i, row) => labels.push({ x: 0, y: top + 29 + (row + 0.5) * high, text: coloured ? t(COLOURS[i]) : t("kernel_from", { channel: i }) }));
  return { grids, labels, low: top + 29 + from.length * high + 14 };
}
