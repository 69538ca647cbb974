// The lens on the weights: each layer's as a matrix of colours, one row for each input and one column for each unit;
// for pictures, the first layer's as one picture for each unit. All on one scale.

import { app, byId, colour, on, shown } from "./app.js";
import { openWeight } from "./explanation.js";
import { isKernel, kernelPictures } from "./kernels.js";
import { hideTip, LEGEND_LINE, legend, legendLines, linesShown, placeOf, shaded, svgPainter, tip } from "./painting.js";
import { follow, redraw, resize } from "./pointing.js";
import { figure } from "./svg.js";
import { TEXT, t } from "./text.js";

/** The size of a cell with its number in it, of one without, of one in a tall matrix; and the space between layers. */
const [WRITTEN, CELL, SMALL, BETWEEN] = [46, 18, 12, 26];

/**
 * A picture of weights: where it stands, its rows and columns, and the weight of each cell.
 * @typedef {{x: number, y: number, rows: number, across: number, cell: number, start: number, step: [number, number],
 *   name: (row: number, column: number) => string, caption: string}} Grid
 */
/** @type {Grid[]} */
let grids = [];
/** @type {{x: number, y: number, text: string}[]} */
let labels = [];
let [width, height, legendTop] = [690, 300, 290];
/** What is pointed at. @type {{grid: Grid, row: number, column: number} | null} */
let pointed = null;

const canvas = () => /** @type {HTMLCanvasElement} */ (byId("matrix"));

/** What the legend says, in lines. @param {string} what */
const legendWords = (what) => legendLines(t("weights_legend", { what: t(what) }), width);

/** The layers with weights. */
const layers = () => (app.built?.layers ?? []).filter((layer) => layer.parameters.some((p) => (p.name.endsWith(".W") && p.shape.length === 2) || isKernel(p)));

function arrange() {
  const { built } = app;
  if (!built || app.lens !== "weights") return;
  width = canvas().parentElement?.clientWidth || 690;
  [grids, labels] = [[], []];
  // From left to right, as many layers in a row as fit.
  let [x, y, low] = [0, 2, 2];
  layers().forEach((layer, k) => {
    const W = layer.parameters.find((p) => p.name.endsWith(".W"));
    if (!W) return;
    if (isKernel(W)) {
      const found = kernelPictures(W, x > 0 ? low : y, width);
      grids.push(...found.grids);
      labels.push(...found.labels);
      [x, y, low] = [0, found.low, found.low];
      return;
    }
    const picture = k === 0 && built.inputs.length === 2;
    const needs = picture ? width : matrixSize(W, k === 0).width;
    if (x > 0 && x + needs > width) [x, y] = [0, low];
    low = Math.max(low, picture ? pictures(W, y) : matrix(layer, W, x, y, k === 0));
    x += needs + BETWEEN;
  });
  legendTop = low + 14;
  height = legendTop + 4 + LEGEND_LINE * (legendWords("gradients").length - 1);
  resize(canvas(), width, height);
  canvas().setAttribute("aria-label", t("matrix_label", { layers: layers().map((layer) => `${layer.name}: ${layer.units}`).join(", ") }));
}

/** One picture for each unit. @param {import("./types.js").ParameterInfo} W @param {number} top */
function pictures(W, top) {
  const [rows, across] = app.built?.inputs ?? [1, 1];
  const units = W.shape[1];
  const cell = Math.max(1, Math.min(6, Math.floor(48 / across)));
  const [wide, high] = [across * cell + 6, rows * cell + 16];
  const inRow = Math.max(1, Math.floor(width / wide));
  labels.push({ x: 0, y: top + 10, text: t("pictures_of", { layer: W.name }) });
  for (let unit = 0; unit < units; unit++) {
    grids.push({
      x: 1 + (unit % inRow) * wide, y: top + 18 + Math.floor(unit / inRow) * high, rows, across, cell, start: W.start + unit, step: [across * units, units],
      name: (row, column) => `${W.name}[${row * across + column}, ${unit}]`, caption: String(unit),
    });
  }
  return top + 18 + Math.ceil(units / inRow) * high + BETWEEN - 10;
}

/** The size of a matrix's cells, and of all of it. @param {import("./types.js").ParameterInfo} W @param {boolean} first */
function matrixSize(W, first) {
  const [rows, across] = W.shape;
  const names = first ? app.built?.input_names ?? [] : [];
  const left = Math.max(34, ...names.map((name) => 6.2 * name.length + 10));
  const room = Math.floor((width - left - 1) / across);
  const cell = room >= WRITTEN && rows <= 4 ? WRITTEN : Math.max(2, Math.min(rows > 20 ? SMALL : CELL, room));
  return { cell, left, names, width: Math.max(left + across * cell + 1, 130) };
}

/** A matrix with its biases as the last row. @param {import("./types.js").LayerInfo} layer @param {import("./types.js").ParameterInfo} W @param {number} x @param {number} top @param {boolean} first */
function matrix(layer, W, x, top, first) {
  const b = layer.parameters.find((p) => p.name.endsWith(".b"));
  const [rows, across] = W.shape;
  const { cell, left, names } = matrixSize(W, first);
  const y = top + 18;
  labels.push({ x, y: top + 10, text: t("matrix_of", { layer: W.name, rows, across }) });
  grids.push({ x: x + left, y, rows, across, cell, start: W.start, step: [across, 1], name: (row, column) => `${W.name}[${row}, ${column}]`, caption: "" });
  if (b) grids.push({ x: x + left, y: y + rows * cell + 3, rows: 1, across, cell, start: b.start, step: [0, 1], name: (_, column) => `${b.name}[${column}]`, caption: "" });
  const every = Math.ceil(11 / cell);
  for (let row = 0; row < rows; row += every) labels.push({ x, y: y + (row + 0.5) * cell + 4, text: names[row] ?? String(row) });
  if (b) labels.push({ x, y: Math.max(y + (rows + 0.5) * cell + 7, y + rows * cell + 11), text: TEXT.bias });
  return y + (rows + Number(Boolean(b))) * cell + BETWEEN;
}

/** The number in a cell. @param {ArrayLike<number> | null} values @param {Grid} grid @param {number} row @param {number} column */
const at = (values, grid, row, column) => values?.[grid.start + row * grid.step[0] + column * grid.step[1]] ?? 0;

/** @param {import("./painting.js").Painter} painter */
function paint(painter) {
  const values = linesShown();
  let most = 1e-12;
  for (const grid of grids) for (let row = 0; row < grid.rows; row++) for (let column = 0; column < grid.across; column++) most = Math.max(most, Math.abs(at(values, grid, row, column)));
  const [soft, lit] = [colour("soft-ink"), colour("lit-line")];
  for (const grid of grids) {
    const own = Float32Array.from({ length: grid.rows * grid.across }, (_, k) => at(values, grid, Math.floor(k / grid.across), k % grid.across));
    painter.image(grid.x, grid.y, grid.across * grid.cell, grid.rows * grid.cell, shaded(own, grid.across, grid.rows, (v) => v / most));
    painter.box(grid.x - 0.5, grid.y - 0.5, grid.across * grid.cell + 1, grid.rows * grid.cell + 1, soft, 1);
    if (grid.cell === WRITTEN) own.forEach((v, k) => painter.text(grid.x + (k % grid.across) * WRITTEN + 3, grid.y + Math.floor(k / grid.across) * WRITTEN + 26, figure(v), 11, Math.abs(v) > 0.55 * most ? "#fff" : "#1c1d1f"));
    if (grid.caption) painter.text(grid.x, grid.y + grid.rows * grid.cell + 10, grid.caption, 9, soft);
    for (const [name, line] of [[app.opened?.weight, 2.5], [pointed?.grid === grid && grid.name(pointed.row, pointed.column), 1.5]]) outline(painter, grid, name, Number(line), lit);
  }
  for (const label of labels) painter.text(label.x, label.y, label.text, 11, soft);
  legend(painter, 0, legendTop, most, legendWords(app.edges));
}

/** Mark the cell of a weight. @param {import("./painting.js").Painter} painter @param {Grid} grid @param {any} name @param {number} line @param {string} stroke */
function outline(painter, grid, name, line, stroke) {
  const place = name ? placeOf(name) : null;
  if (place === null) return;
  for (let row = 0; row < grid.rows; row++) for (let column = 0; column < grid.across; column++) {
    if (grid.start + row * grid.step[0] + column * grid.step[1] === place) painter.box(grid.x + column * grid.cell, grid.y + row * grid.cell, grid.cell, grid.cell, stroke, line);
  }
}

function draw() {
  if (app.built && app.lens === "weights") redraw(canvas(), width, height, paint);
}

/** Where the cell of a weight is on the canvas. @param {string} weight */
export function cellPlace(weight) {
  for (const grid of grids) for (let row = 0; row < grid.rows; row++) for (let column = 0; column < grid.across; column++) {
    if (grid.name(row, column) === weight) return { x: grid.x + (column + 0.5) * grid.cell, y: grid.y + (row + 0.5) * grid.cell };
  }
  return null;
}

/** The lens's picture as an SVG. */
export const weightsSvg = () => svgPainter(width, height, paint);

/** The cell under a point. @param {number} x @param {number} y */
function under(x, y) {
  for (const grid of grids) {
    const [column, row] = [Math.floor((x - grid.x) / grid.cell), Math.floor((y - grid.y) / grid.cell)];
    if (row >= 0 && row < grid.rows && column >= 0 && column < grid.across) return { grid, row, column };
  }
  return null;
}

/** Say the name and the number of what is pointed at. */
function tell() {
  if (!pointed) {
    hideTip();
    return;
  }
  const { grid, row, column } = pointed;
  const number = app.edges === "weights" ? "" : `, ${t(app.edges)} ${shown(at(linesShown(), grid, row, column))}`;
  tip(canvas(), [grid.x + (column + 1) * grid.cell, grid.y + row * grid.cell], `${grid.name(row, column)} = ${shown(at(app.arrays.weights?.data ?? null, grid, row, column))}${number}`);
}

/** Walk from cell to cell, and over the edge of a matrix to the next one. @param {number} down @param {number} across */
function walk(down, across) {
  if (!grids.length) return;
  if (!pointed) pointed = { grid: grids[0], row: 0, column: 0 };
  else {
    const { grid } = pointed;
    const [row, column] = [pointed.row + down, pointed.column + across];
    const over = row >= grid.rows || column >= grid.across ? 1 : row < 0 || column < 0 ? -1 : 0;
    const next = grids[grids.indexOf(grid) + over] ?? grid;
    pointed = over ? { grid: next, row: over > 0 ? 0 : next.rows - 1, column: Math.max(0, Math.min(next.across - 1, down ? column : over > 0 ? 0 : next.across - 1)) } : { grid, row, column };
  }
  tell();
  draw();
}

function open() {
  if (pointed) openWeight(pointed.grid.name(pointed.row, pointed.column));
}

function leave() {
  pointed = null;
  hideTip();
  draw();
}

export function startMatrix() {
  const point = (/** @type {number} */ x, /** @type {number} */ y) => {
    pointed = under(x, y);
    tell();
    if (!app.running) draw();
  };
  const anew = () => {
    pointed = null;
    arrange();
    draw();
  };
  on("built", anew);
  on("lens", anew);
  on("draw", () => {
    if (app.lens !== "weights") return;
    draw();
    if (pointed) tell();
  });
  on("explained", draw);
  on("redraw", draw);
  follow(canvas(), { point, walk, open, leave, arrange: anew });
}
