// The lens on feature maps: what each channel of each layer makes of the sample, as pictures, with the kernels above them.
// Pointing at a position lights up what it reads, in the sample and in the maps between; a click opens it.

import { app, byId, emit, on } from "./app.js";
import { openUnit, openWeight } from "./explanation.js";
import { kernelGrid, placeIn } from "./kernels.js";
import { hideTip, svgPainter, tip } from "./painting.js";
import { follow, redraw } from "./pointing.js";
import { spoken } from "./receptive.js";
import { figure } from "./svg.js";
import { t } from "./text.js";
import { paint } from "./tilepaint.js";
import { arrange, canvas, cells, derivatives, height, isDrawn, isMap, kernelsOf, knowsKernels, litAt, numbersOf, readsColours, receive, rows, sent, tiles, width, winner } from "./tiles.js";

/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {import("./tiles.js").Cell} Cell */
/** @typedef {import("./tiles.js").Found} Found */

/** What is pointed at. @type {Found} */
let pointed = {};
/** The pushes on the weight that is open, if it belongs to a kernel. @type {import("./tilepaint.js").Pushes | null} */
let pushes = null;

/** The pushes to paint: those of the mini-batch's sample, and so none over a drawing, which pushes no weight. */
const pushesShown = () => (isDrawn() ? null : pushes);

/** What is lit: what is pointed at, or open. */
function lit() {
  const { tile, place, cell } = pointed;
  if (tile && place) return litAt(tile.row, tile.channel, place);
  if (cell) return litAt(cell.row, cell.channel, null);
  const row = rows().findIndex((one) => one.name === app.opened?.layer);
  return row > 0 ? litAt(row, app.opened?.unit, isMap(row) ? app.opened?.position ?? null : null) : null;
}

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
  return [t(!derivatives() ? "maps_hint" : isDrawn() ? "maps_hint_slopes_own" : "maps_hint_slopes"), ofPhase()];
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
  const gradient = knowsKernels(row) ? app.arrays.gradients?.data[at] : undefined;
  return `${name} = ${figure(app.arrays.weights?.data[at] ?? 0)}${gradient === undefined ? "" : `,  ∂L/∂w = ${figure(gradient)}`}`;
}

/** @param {number} row @param {number | null} value */
const valueLine = (row, value) => (value === null ? t("maps_not_reached") : `${derivatives() ? "∂L/∂a" : "a"} = ${figure(value)}${rows()[row].layers.length > 1 ? `   (${rows()[row].layers.at(-1)})` : ""}`);

/** What a position reads, in words. @param {Tile} tile @param {[number, number]} place */
function readsLine(tile, place) {
  const field = litAt(tile.row, tile.channel, place)?.field.get(0);
  if (!field) return "";
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

/** @param {number} down @param {number} across */
function walk(down, across) {
  pointed = beside(pointed, down, across);
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
export const shownFields = () => Object.fromEntries([...(lit()?.field ?? [])].map(([row, field]) => [rows()[row].name, field]));

/** The lens's picture as an SVG. */
export const mapsSvg = () => svgPainter(width, height, picture);

/** @param {import("./painting.js").Painter} painter */
const picture = (painter) => paint(painter, lit(), pushesShown(), pointed.cell);

function draw() {
  if (sent && app.lens === "maps") redraw(canvas(), width, height, picture);
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
  const point = (/** @type {number} */ x, /** @type {number} */ y) => {
    pointed = under(x, y);
    tell([x, y]);
  };
  const leave = () => {
    pointed = {};
    hideTip();
    draw();
    emit("pointed", "");
  };
  follow(canvas(), { point, walk, open, leave, arrange: anew });
  let fresh = false;
  let before = app.edges;
  on("maps", (message) => {
    // Backpropagation shows its derivatives, as long as it is at work.
    const [was, is] = [sent?.header.phase === "backward", message.header.phase === "backward"];
    if (is && !was && app.edges !== "gradients") [before, app.edges] = [app.edges, "gradients"];
    else if (was && !is) app.edges = before;
    if (app.lens === "maps") /** @type {HTMLSelectElement} */ (byId("edges")).value = app.edges;
    receive(message);
    fresh = true;
  });
  on("built", ({ header }) => {
    receive(null);
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
}
