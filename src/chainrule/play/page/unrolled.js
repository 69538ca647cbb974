// The lens over time: a recurrent cell at each of its time steps, with what comes back to each of them. Its gates and states are
// rows of cells; under them stand, as bars, the length of δ at each step and what each step adds to the derivative of the open
// weight. A click on a cell or on a weight of U opens it.

import { app, byId, colour, emit, on } from "./app.js";
import { openUnit, openWeight } from "./explanation.js";
import { hideTip, legend, legendLines, placeOf, svgPainter, tip } from "./painting.js";
import { follow, redraw, resize } from "./pointing.js";
import { brief, centred, css, glyph, INK, ofPhase, place, positions, predictionLine, reached, sequence, tone, twoFigures, wide, WIDEST } from "./sequence.js";
import { figure } from "./svg.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./painting.js").Painter} Painter */
/** A number of a gate or a state, a time step, or a weight of U. @typedef {{scan: number, row?: number, time: number, unit?: number, weight?: [number, number]}} Found */
/** Where a row stands: of one gate or state, the steps, the bars, or U. @typedef {{scan: number, kind: "title" | "steps" | "row" | "back" | "parts" | "matrix", row: number, x: number, y: number, wide: number, high: number, unit: number}} Band */

const [NAMES, STEPS, GAP, TITLE] = [74, 22, 3, 18];
/** The height of the rows of a cell, and of bars: less if there are two kinds of bars. */
const [ROWS, BARS] = [[230, 150], [72, 50]];
/** The share of that height in a lesson, whose words take room. */
const IN_LESSON = 0.6;
/** The most scans that are drawn, and the most units of a state whose U is drawn. */
const [MOST, MOST_UNITS] = [3, 16];

let [width, height] = [690, 400];
/** @type {Band[]} */
let bands = [];
/** What is pointed at. @type {Found | null} */
let pointed = null;
/** What each number of steps back adds to the derivative of the open weight. @type {{back: number, product: number}[]} */
let parts = [];
let foot = 0;

const canvas = () => /** @type {HTMLCanvasElement} */ (byId("unrolled"));
const scans = () => (app.built?.sequence?.scans ?? []).slice(0, MOST);
const isShown = () => app.lens === "time" && Boolean(sequence()) && scans().length > 0;
const names = () => (width < 500 ? 46 : NAMES);
const steps = () => scans()[0].times.length;
const column = () => Math.min(WIDEST, (width - names() - 4) / steps());
/** Whether backpropagation has gone through a scan. @param {number} scan */
const known = (scan) => reached(scans()[scan].recurrent[0]) || reached(scans()[scan].recurrent[steps() - 1]);
/** The scan of the weight that is open, if it belongs to one. */
const openScan = () => scans().findIndex(({ name }) => app.opened?.weight?.startsWith(`${name}.`));
/** Whether there are two kinds of bars, as 0 or 1. */
const both = () => Number(parts.length > 0 && openScan() >= 0);
/** How much less room there is than usual. */
const less = () => (document.body.dataset.lesson ? IN_LESSON : 1);
/** Whether a time step is valid. @param {number} time */
const isValid = (time) => time < (sequence()?.header.valid ?? Infinity);

/** A number of a gate or a state. @param {number} scan @param {number} row @param {number} time @param {number} unit */
function numberAt(scan, row, time, unit) {
  const { data, shape } = sequence()?.arrays[`states ${scan}`] ?? { data: [], shape: [0, 0, 0] };
  return data[(row * shape[1] + time) * shape[2] + unit] ?? 0;
}

/** The length of δ at a time step. @param {number} scan @param {number} time */
const lengthAt = (scan, time) => sequence()?.arrays[`deltas ${scan}`]?.data[time] ?? 0;

// Where things stand

function arrange() {
  if (!isShown()) return;
  width = canvas().parentElement?.clientWidth || 690;
  bands = [];
  let y = 0;
  scans().forEach((scan, k) => (y = arrangeScan(scan, k, y)));
  const words = legendLines(TEXT.time_legend, width - 10);
  foot = y + 14;
  height = foot + 14 * (words.length - 1) + 6;
  resize(canvas(), width, height);
  canvas().setAttribute("aria-label", t("time_label", { layers: scans().map((one) => `${one.name}: ${one.rows.join(", ")}`).join("; "), steps: steps() }));
}

/** @param {import("./types.js").ScanInfo} scan @param {number} k @param {number} y */
function arrangeScan(scan, k, y) {
  const shown = sequence()?.header.scans[k]?.units.length ?? 1;
  const high = Math.max(3, Math.min(20, less() * ROWS[both()] / (scans().length * shown * scan.rows.length) - GAP / shown));
  /** @param {Band["kind"]} kind @param {number} tall @param {Partial<Band>} [more] */
  const band = (kind, tall, more = {}) => {
    bands.push({ scan: k, kind, row: 0, x: names(), y, wide: steps() * column(), high: tall, unit: high, ...more });
    y += tall + GAP;
  };
  band("title", TITLE, { x: 0, wide: width });
  band("steps", STEPS);
  scan.rows.forEach((_, row) => band("row", shown * high, { row }));
  band("back", TITLE + Math.max(46, less() * BARS[both()]));
  if (parts.length && openScan() === k) band("parts", TITLE + Math.max(46, less() * BARS[both()]));
  if (scan.units <= MOST_UNITS) {
    const cell = scan.units === 1 ? 40 : Math.max(6, Math.min(30, (width - names() - 4) / (scan.units * scan.gates)));
    const tall = scan.units === 1 ? 18 : Math.max(5, Math.min(14, 44 / scan.units));
    y += 4;
    band("matrix", scan.units * tall, { wide: scan.units * scan.gates * cell, unit: tall });
  }
  return y + 6;
}

// Painting

/** @param {Painter} painter */
function paint(painter) {
  if (!isShown()) return;
  for (const band of bands) {
    if (band.kind === "title") painter.text(1, band.y + 13, fitting(titles(band.scan)), 12, colour("ink"));
    else if (band.kind === "steps") paintSteps(painter, band);
    else if (band.kind === "row") paintRow(painter, band);
    else if (band.kind === "matrix") paintMatrix(painter, band);
    else paintBars(painter, band);
  }
  legend(painter, 0, foot, 1, legendLines(TEXT.time_legend, width - 10));
  if (pointed && pointed.weight === undefined) painter.box(names() + pointed.time * column(), bands[1].y, column(), foot - bands[1].y - 16, colour("lit-line"), 1);
}

/** The longest of some texts that fits. @param {string[]} texts */
const fitting = (texts) => texts.find((one) => wide(one, 12) < width) ?? texts[texts.length - 1];

/** The words above a scan. @param {number} k */
function titles(k) {
  const { name, cell, units } = scans()[k];
  const shown = sequence()?.header.scans[k];
  const more = shown?.others ? t("time_others", { shown: shown.units.length, units }) : "";
  return [t("time_title", { name, cell, steps: steps(), units }) + more, t("time_title_short", { name, steps: steps() })];
}

/** The name of a row. @param {Painter} painter @param {Band} band @param {string} text @param {number} [down] */
const named = (painter, band, text, down = band.high / 2 + 4) => painter.text(0, band.y + down, text, 11, colour("soft-ink"));

/** @param {Band} band @param {number} time */
const cellOf = (band, time) => ({ x: band.x + time * column(), y: band.y, wide: column(), high: band.high });

/** What is read at each step. @param {Painter} painter @param {Band} band */
function paintSteps(painter, band) {
  named(painter, band, TEXT.time_reads);
  for (let time = 0; time < steps(); time++) {
    const cell = cellOf(band, time);
    painter.box(cell.x + 0.5, cell.y + 0.5, cell.wide - 1, cell.high - 1, colour("line"), 1, isValid(time) ? colour("panel") : colour("back"));
    const one = positions()[time];
    if (!one || !isValid(time)) continue;
    const text = one.value === null ? glyph(one.name) : brief(one.value);
    centred(painter, wide(text, 11) < cell.wide - 1 ? text : String(time), cell, cell.wide < 14 ? 9 : 11, colour("ink"));
  }
}

/** A gate or a state: a cell for each step and unit. @param {Painter} painter @param {Band} band */
function paintRow(painter, band) {
  const scan = scans()[band.scan];
  const row = scan.rows[band.row];
  const label = TEXT[`time_row_${row}_${scan.gates}`] ?? TEXT[`time_row_${row}`] ?? row;
  named(painter, band, width < 500 ? row : label);
  const units = sequence()?.header.scans[band.scan].units ?? [];
  const most = Math.max(sequence()?.header.scans[band.scan].largest[band.row] ?? 1, 1);
  for (let time = 0; time < steps(); time++) units.forEach((unit, u) => {
    const cell = { x: band.x + time * column(), y: band.y + u * band.unit, wide: column(), high: band.unit };
    const value = numberAt(band.scan, band.row, time, u);
    const open = app.opened?.layer === scan.nodes[row][time] && app.opened?.unit === unit;
    const lit = open || (pointed?.scan === band.scan && pointed.row === band.row && pointed.time === time && pointed.unit === u);
    const fill = isValid(time) ? css(tone(value / most)) : colour("back");
    painter.box(cell.x + 0.5, cell.y + 0.25, cell.wide - 1, cell.high - 0.5, lit ? colour("lit-line") : colour("line"), lit ? 2.5 : 0.5, fill);
    if (band.unit >= 12 && isValid(time)) centred(painter, brief(value), cell, 10.5, INK);
  });
}

/** The weights from the state to the gates. @param {Painter} painter @param {Band} band */
function paintMatrix(painter, band) {
  const scan = scans()[band.scan];
  const values = app.arrays.weights?.data;
  const at = placeOf(`${scan.state}.U[0, 0]`);
  named(painter, band, "U", Math.min(band.high / 2 + 4, 14));
  if (!values || at === null) return;
  const columns = scan.units * scan.gates;
  const cell = band.wide / columns;
  const own = Array.from({ length: scan.units * columns }, (_, k) => values[at + k]);
  const most = Math.max(...own.map(Math.abs), 1e-12);
  own.forEach((value, k) => {
    const [i, j] = [Math.floor(k / columns), k % columns];
    const name = `${scan.state}.U[${i}, ${j}]`;
    const lit = app.opened?.weight === name || (pointed?.scan === band.scan && pointed.weight?.[0] === i && pointed.weight[1] === j);
    const where = { x: band.x + j * cell, y: band.y + i * band.unit, wide: cell, high: band.unit };
    painter.box(where.x + 0.5, where.y + 0.5, cell - 1, band.unit - 1, lit ? colour("lit-line") : colour("line"), lit ? 2.5 : 0.5, css(tone(value / most)));
    if (band.unit >= 12) centred(painter, brief(value), where, 10.5, INK);
  });
  if (band.wide + wide(TEXT.time_matrix, 11) + 12 < width - names()) painter.text(band.x + band.wide + 10, band.y + Math.min(band.high / 2 + 4, 14), TEXT.time_matrix, 11, colour("soft-ink"));
}

/** Bars over the steps: the lengths of δ, or what each step adds to a derivative. @param {Painter} painter @param {Band} band */
function paintBars(painter, band) {
  const back = band.kind === "back";
  const isKnown = known(band.scan);
  const title = back ? [backTitle(band.scan, isKnown), t("time_back_short")] : [partsTitle(), TEXT.time_parts_short];
  painter.text(1, band.y + 12, fitting(title), 12, colour("ink"));
  named(painter, band, back ? (width < 500 ? "|δ|" : TEXT.time_delta) : TEXT.time_product, TITLE + (band.high - TITLE) / 2 + 4);
  const room = band.high - TITLE;
  const base = band.y + TITLE + (back ? room : room / 2);
  const values = back ? Array.from({ length: steps() }, (_, time) => lengthAt(band.scan, time)) : partsByStep();
  painter.line(band.x, base, band.x + band.wide, base, colour("soft-ink"), 1, false);
  if (back && !isKnown) return;
  const most = Math.max(...values.map(Math.abs), 1e-30);
  const tall = back ? room - 14 : room / 2 - 12;
  values.forEach((value, time) => {
    if (!isValid(time)) return;
    const high = (tall * Math.abs(value)) / most;
    const [x, wideBar] = [band.x + time * column() + column() * 0.2, column() * 0.6];
    if (value) painter.box(x, value > 0 ? base - high : base, wideBar, high, "transparent", 0, colour(value > 0 ? "plus" : "minus"));
    const where = { x: band.x + time * column(), y: value >= 0 ? base - high - 13 : base + high + 1, wide: column(), high: 12 };
    centred(painter, twoFigures(value), where, 9.5, colour("ink"));
  });
}

/** What is said above the lengths of δ. @param {number} scan @param {boolean} isKnown */
function backTitle(scan, isKnown) {
  const factor = sequence()?.header.scans[scan]?.factor ?? null;
  if (!isKnown) return TEXT.time_back_unknown;
  return factor === null ? TEXT.time_back_short : t("time_back", { factor: figure(factor), how: TEXT[factor < 0.98 ? "time_vanishes" : factor > 1.02 ? "time_explodes" : "time_stays"] });
}

/** What is said above the parts of the derivative of the open weight. */
function partsTitle() {
  const sum = parts.reduce((total, { product }) => total + product, 0);
  return t("time_parts", { weight: app.opened?.weight?.split(".").at(-1), sum: figure(sum) });
}

/** What each step adds, the last one first in what was sent. */
function partsByStep() {
  const reversed = scans()[openScan()]?.times[0] > 0;
  return Array.from({ length: steps() }, (_, time) => parts.find(({ back }) => back === (reversed ? time : steps() - 1 - time))?.product ?? 0);
}

// Pointing, walking and opening

/** What lies under a point. @param {number} x @param {number} y @returns {Found | null} */
function under(x, y) {
  const band = bands.find((one) => x >= one.x && x < one.x + one.wide && y >= one.y && y < one.y + one.high);
  if (!band || band.kind === "title") return null;
  if (band.kind === "matrix") {
    const cell = band.wide / (scans()[band.scan].units * scans()[band.scan].gates);
    return { scan: band.scan, time: 0, weight: [Math.floor((y - band.y) / band.unit), Math.floor((x - band.x) / cell)] };
  }
  const time = Math.floor((x - band.x) / column());
  return band.kind === "row" ? { scan: band.scan, row: band.row, time, unit: Math.floor((y - band.y) / band.unit) } : { scan: band.scan, time };
}

/** The middle of what is pointed at. @param {Found} found @returns {{x: number, y: number} | null} */
function middle({ scan, row, time, unit, weight }) {
  const band = bands.find((one) => one.scan === scan && (weight ? one.kind === "matrix" : row === undefined ? one.kind === "steps" : one.kind === "row" && one.row === row));
  if (!band) return null;
  const cell = band.wide / (scans()[scan].units * scans()[scan].gates);
  if (weight) return { x: band.x + (weight[1] + 0.5) * cell, y: band.y + (weight[0] + 0.5) * band.unit };
  return { x: band.x + (time + 0.5) * column(), y: band.y + (row === undefined ? band.high / 2 : ((unit ?? 0) + 0.5) * band.unit) };
}

/** Where a number is on the canvas, for whoever checks it. @param {Found} found */
export const placeOverTime = (found) => middle(found);

/** What is pointed at, in a few words. @param {Found} found */
function inWords({ scan, row, time, unit, weight }) {
  const { name, rows, state } = scans()[scan];
  if (weight) {
    const full = `${state}.U[${weight.join(", ")}]`;
    const at = placeOf(full);
    const gradient = known(scan) && at !== null ? app.arrays.gradients?.data[at] : undefined;
    return `${full} = ${figure(app.arrays.weights?.data[at ?? 0] ?? 0)}${gradient === undefined ? "" : `,  ∂L/∂w = ${figure(gradient)}`}`;
  }
  const where = place(time);
  if (row === undefined || unit === undefined) return t("time_step", { step: where, name }) + (known(scan) ? `, |δ| = ${figure(lengthAt(scan, time))}` : "");
  const number = sequence()?.header.scans[scan].units[unit];
  return t("time_number", { row: rows[row], unit: number, step: where, value: figure(numberAt(scan, row, time, unit)) });
}

/** The line about what is pointed at; null through other lenses. @returns {[string, string[]] | null} */
export function timeLine() {
  if (!isShown()) return null;
  if (!pointed) return [TEXT[known(0) ? "time_hint_back" : "time_hint"], known(0) ? [lastBack(), ...ofPhase().slice(-1)] : ofPhase()];
  const { scan, row, time, unit, weight } = pointed;
  if (weight) return [t("time_weight"), [inWords(pointed)]];
  const { lines, back_lines } = /** @type {import("./types.js").ScanNumbers} */ (sequence()?.header.scans[scan]);
  const back = known(scan) ? [back_lines[time] ?? ""] : [];
  if (!isValid(time)) return [inWords(pointed), [TEXT.time_over]];
  const own = row === undefined || unit === undefined ? [predictionLine(time)] : (lines[row]?.[time]?.[unit] ?? "").split("\n");
  return [inWords(pointed), [...own, ...back].filter(Boolean)];
}

/** Of each scan that backpropagation has gone through: whether δ is shorter or longer at the first step that it reaches than at the last. */
export function comesBack() {
  if (!sequence() || sequence()?.header.phase !== "backward") return [];
  return (app.built?.sequence?.scans ?? []).flatMap(({ name, times, recurrent }, scan) => {
    const deltas = Array.from(sequence()?.arrays[`deltas ${scan}`]?.data ?? []);
    const lasting = deltas[deltas.length - 1];
    return reached(recurrent[times[0]]) && lasting ? [`${name} ${deltas[0] < lasting ? "shorter" : "longer"}`] : [];
  });
}

/** How δ changes from the last step to the first, in numbers. */
function lastBack() {
  const at = Array.from({ length: steps() }, (_, time) => time).filter((time) => lengthAt(0, time) > 0);
  if (at.length < 2) return TEXT.time_back_none;
  const [first, last] = [at[0], at[at.length - 1]];
  return t("time_share", { first, last, steps: last - first, from: figure(lengthAt(0, last)), to: figure(lengthAt(0, first)), share: figure(lengthAt(0, first) / lengthAt(0, last)) });
}

/** @param {[number, number]} cursor */
function tell(cursor) {
  if (pointed) tip(canvas(), cursor, inWords(pointed));
  else hideTip();
  draw();
  emit("pointed", pointed ? inWords(pointed) : "");
}

function open() {
  if (!pointed) return;
  const { scan, row, time, unit, weight } = pointed;
  const { rows, nodes, state } = scans()[scan];
  if (weight) openWeight(`${state}.U[${weight.join(", ")}]`);
  else if (row !== undefined && unit !== undefined) openUnit(nodes[rows[row]][time], sequence()?.header.scans[scan].units[unit] ?? 0);
}

/** What lies beside this: steps across; down through the rows to U. @param {Found} from @param {number} down @param {number} across @returns {Found} */
function beside(from, down, across) {
  const { scan, row, time, unit, weight } = from;
  const { units, gates, rows } = scans()[scan];
  const shown = sequence()?.header.scans[scan].units.length ?? 1;
  if (weight) {
    const [i, j] = [weight[0] + down, Math.max(0, Math.min(units * gates - 1, weight[1] + across))];
    if (i < 0) return { scan, time, row: rows.length - 1, unit: shown - 1 };
    return i < units ? { scan, time, weight: [i, j] } : scan + 1 < scans().length ? { scan: scan + 1, time } : from;
  }
  const next = Math.max(0, Math.min(steps() - 1, time + across));
  if (row === undefined) return down > 0 ? { scan, time, row: 0, unit: 0 } : { scan: down < 0 ? Math.max(0, scan - 1) : scan, time: next };
  const at = row * shown + (unit ?? 0) + down;
  if (at < 0) return { scan, time: next };
  if (at >= rows.length * shown) return units <= MOST_UNITS ? { scan, time, weight: [0, 0] } : from;
  return { scan, time: next, row: Math.floor(at / shown), unit: at % shown };
}

/** @param {number} down @param {number} across */
function walk(down, across) {
  if (!isShown()) return;
  pointed = pointed ? beside(pointed, down, across) : { scan: 0, time: 0 };
  const at = middle(pointed);
  if (at) tell([at.x, at.y]);
}

/** The lens's picture as an SVG. */
export const timeSvg = () => svgPainter(width, height, paint);

function draw() {
  if (isShown()) redraw(canvas(), width, height, paint);
}

function anew() {
  arrange();
  draw();
}

function leave() {
  pointed = null;
  hideTip();
  draw();
  emit("pointed", "");
}

export function startUnrolled() {
  const point = (/** @type {number} */ x, /** @type {number} */ y) => {
    pointed = under(x, y);
    tell([x, y]);
  };
  follow(canvas(), { point, walk, open, leave, arrange: anew });
  on("built", () => {
    [pointed, parts, bands] = [null, [], []];
  });
  on("forget", () => (parts = []));
  on("explained", (header) => (parts = header.steps ?? []));
  for (const event of ["draw", "lens", "explained", "forget", "redraw"]) on(event, anew);
}
