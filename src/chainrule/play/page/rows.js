// Rows of the training set, as they are shown: a picture or a place in the plane, a few cells, a number.

import { app, make, shown } from "./app.js";

/**
 * A row of the training set, and what it is.
 * @typedef {{row: number, read: number | null, target?: string, steps?: number, effect?: number, point?: number[], picture?: {shape: number[], ink: number[]}, cells?: string[][]}} Row
 */

/** A number with its sign. @param {number} value */
export const signed = (value) => `${value < 0 ? "\u2212" : "+"}${shown(Math.abs(value))}`;

/**
 * How to write the numbers of a column so that a reader can add them up: all with the same decimals, enough for the sum to
 * have four figures where large parts cancel. What is too small for them stands as a power of ten.
 * @param {number[]} values all of them @param {number} [sum] what they add up to; by default the largest
 */
export function column(values, sum) {
  const most = Math.max(...values.map(Math.abs), 1e-300);
  const places = (/** @type {number} */ size) => 3 - Math.floor(Math.log10(size));
  const wanted = sum ? places(Math.min(Math.abs(sum), most)) : places(most);
  const decimals = Math.max(0, Math.min(20, wanted, places(most) + 4));
  return (/** @type {number} */ value) => {
    const text = Math.abs(value).toFixed(decimals);
    return `${value < 0 ? "\u2212" : "+"}${value && !Number(text) ? Math.abs(value).toExponential(1) : text}`;
  };
}

/** The row's number in the data as it was read, which the user knows; else in the training set. @param {Row} row */
export const numberOf = (row) => row.read ?? row.row + 1;

/** What a row looks like: a picture, or its place in the plane. @param {Row} row */
export function look(row) {
  if (!row.picture && !row.point) return [];
  const canvas = make("canvas", { "aria-hidden": "true" });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  if (row.picture) {
    const [rows, across] = row.picture.shape;
    const pixels = new ImageData(across, rows);
    row.picture.ink.forEach((ink, k) => pixels.data.set([255 * (1 - ink), 255 * (1 - ink), 255 * (1 - ink), 255], 4 * k));
    [canvas.width, canvas.height] = [across, rows];
    pen.putImageData(pixels, 0, 0);
    return [canvas];
  }
  canvas.width = canvas.height = 80;
  drawPlane(pen, /** @type {number[]} */ (row.point));
  return [canvas];
}

/** The samples in the plane, faint, and one of them. @param {CanvasRenderingContext2D} pen @param {number[]} point */
function drawPlane(pen, point) {
  const { points, targets } = app.fixed;
  const extent = app.built?.extent ?? 1;
  const dot = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ size) => {
    pen.beginPath();
    pen.arc(40 * (x / extent + 1), 40 * (1 - y / extent), size, 0, 7);
    pen.fill();
  };
  pen.globalAlpha = 0.35;
  for (let k = 0; points && k < targets.data.length; k += 2) {
    pen.fillStyle = targets.data[k] > 0.5 ? "#004f86" : "#a33f00";
    dot(points.data[2 * k], points.data[2 * k + 1], 1.5);
  }
  pen.globalAlpha = 1;
  pen.fillStyle = "#111";
  dot(point[0], point[1], 7);
}

/** The cells of a row of a table, in a line. @param {Row} row */
export const cellsOf = (row) => (row.cells ?? []).map(([name, value]) => `${name} ${value}`).join(", ");
