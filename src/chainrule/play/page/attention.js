// The lens on attention: which position takes how much from which, in each head, for the position that is pointed at and as
// maps of all. A click on a cell opens the chain rule of that attention weight.

import { app, byId, colour, emit, on } from "./app.js";
import { openUnit } from "./explanation.js";
import { hideTip, legend, legendLines, svgPainter, tip } from "./painting.js";
import { follow, redraw, resize } from "./pointing.js";
import { brief, centred, css, glyph, HIDDEN, INK, ofPhase, place, positions, predictionLine, reached, sequence, share, tone, wide, WIDEST } from "./sequence.js";
import { figure } from "./svg.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./painting.js").Painter} Painter */
/** A cell, in the rows about one position or in a map; without a key a position itself. @typedef {{layer: number, head: number, query: number, key: number | null}} Cell */
/** Where the rows or a map stand. @typedef {{layer: number, head: number, x: number, y: number, wide: number, high: number, kind: "tokens" | "row" | "next" | "map"}} Box */

/** The width of the names before rows, the heights of rows, the largest side of a map, in a lesson, and of its cells, the space around it. */
const [NAMES, TOKEN, ROW, NEXT, LARGEST, IN_LESSON, CELL, GAP, TITLE] = [62, 24, 21, 24, 222, 112, 22, 18, 17];

let [width, height] = [690, 400];
/** @type {Box[]} */
let boxes = [];
/** What is pointed at. @type {Cell | null} */
let pointed = null;
/** The position that was clicked. @type {number | null} */
let chosen = null;
/** Where the words of the legend stand. */
let foot = 0;

const canvas = () => /** @type {HTMLCanvasElement} */ (byId("attention"));
const layers = () => app.built?.sequence?.attention ?? [];
const isShown = () => app.lens === "attention" && Boolean(sequence()) && layers().length > 0;
const derivatives = () => app.edges === "gradients";
/** How many of the layers were sent. */
const count = () => sequence()?.header.maps ?? 0;

/** The number at a cell: the attention weight, or its derivative if that is shown and known. @param {string} kind @param {Cell} cell */
function numberAt(kind, { layer, head, query, key }) {
  const [, queries, keys] = layers()[layer].shape;
  return sequence()?.arrays[`${kind} ${layer}`]?.data[(head * queries + query) * keys + (key ?? 0)] ?? 0;
}

/** Whether a mask hides a key from a query, or the sequence is over. @param {Cell} cell */
function isHidden({ layer, query, key }) {
  const { causal, shape: [, queries, keys] } = layers()[layer];
  const valid = sequence()?.header.valid ?? keys;
  return (causal && (key ?? 0) > query) || (queries === keys && (key ?? 0) >= valid);
}

/** What is shown: what is pointed at, else the cell that is open, else a position in the second half. @returns {Cell} */
function active() {
  if (pointed) return pointed;
  const layer = layers().findIndex((one) => one.weights === app.opened?.layer);
  if (layer >= 0 && app.opened?.position) return { layer, head: app.opened.position[0], query: app.opened.position[1], key: app.opened.unit };
  const queries = layers()[0].shape[1];
  return { layer: 0, head: 0, query: Math.min(chosen ?? Math.floor(0.6 * queries), queries - 1), key: null };
}

/** The number by which colours are scaled: 1 for weights, the largest for derivatives. @param {number} layer */
function scale(layer) {
  if (!derivatives()) return 1;
  return Math.max(...(sequence()?.arrays[`slopes ${layer}`]?.data ?? []).map(Math.abs), 1e-30);
}

// Where things stand

/** The layer whose heads have rows. */
let rowsOf = 0;

function arrange() {
  if (!isShown()) return;
  width = canvas().parentElement?.clientWidth || 690;
  rowsOf = Math.min(active().layer, count() - 1);
  boxes = [];
  const [heads, , keys] = layers()[rowsOf].shape;
  const names = width < 500 ? 46 : NAMES;
  const cell = Math.min(WIDEST, (width - names - 4) / keys);
  let y = TITLE + 2;
  const row = (/** @type {Box["kind"]} */ kind, /** @type {number} */ head, /** @type {number} */ high) => {
    boxes.push({ layer: rowsOf, head, kind, x: names, y, wide: keys * cell, high });
    y += high + 2;
  };
  row("tokens", 0, TOKEN);
  for (let head = 0; head < heads; head++) row("row", head, ROW);
  if (positions()[0]?.p !== undefined) row("next", 0, NEXT);
  height = maps(y + 6);
  const words = legendLines(words_(), width - 10);
  foot = height + 12;
  height = foot + 14 * (words.length - 1) + 6;
  resize(canvas(), width, height);
  canvas().setAttribute("aria-label", t("attention_label", { layers: layers().map((one) => `${one.name}: ${one.shape.join(" × ")}`).join(", ") }));
}

/** Place the maps of all heads; returns where they end. @param {number} top */
function maps(top) {
  const all = layers().slice(0, count()).flatMap((one, layer) => Array.from({ length: one.shape[0] }, (_, head) => ({ layer, head, shape: one.shape })));
  const most = Math.min(document.body.dataset.lesson ? IN_LESSON : LARGEST, Math.max(width < 500 ? 150 : 120, (width - 4) / Math.min(all.length, width < 500 ? 2 : 4) - GAP - axis()));
  let [x, y, low] = [0, top, top];
  for (const { layer, head, shape: [, queries, keys] } of all) {
    const cell = Math.max(2, Math.min(CELL, Math.floor(most / Math.max(queries, keys))));
    const [across, down] = [keys * cell, queries * cell];
    if (x > 0 && x + axis() + across > width) [x, y] = [0, low + 6];
    boxes.push({ layer, head, kind: "map", x: x + axis(), y: y + TITLE + axis(), wide: across, high: down });
    low = Math.max(low, y + TITLE + axis() + down);
    x += Math.max(across, 104) + axis() + GAP;
  }
  return low + 4;
}

/** The room for the tokens beside a map. */
const axis = () => (app.built?.sequence?.text && positions().length <= 19 ? 13 : 0);

const words_ = () => t(derivatives() ? "attention_legend_slopes" : "attention_legend");

// Painting

/** @param {Painter} painter */
function paint(painter) {
  if (!isShown()) return;
  const at = active();
  const { name } = layers()[rowsOf];
  const title = [t("attention_title", { place: place(at.query), layer: name }), t("attention_title_short", { place: place(at.query) })];
  painter.text(0, 12, title.find((one) => wide(one, 12) < width) ?? title[1], 12, colour("ink"));
  for (const box of boxes) {
    if (box.kind === "tokens") paintTokens(painter, box, at);
    else if (box.kind === "row") paintRow(painter, box, at);
    else if (box.kind === "next") paintNext(painter, box, at);
    else paintMap(painter, box, at);
  }
  legend(painter, 0, foot, derivatives() ? scale(rowsOf) : 1, legendLines(words_(), width - 10), !derivatives());
}

/** The cell of a row for a key. @param {Box} box @param {number} key */
function cellOf(box, key) {
  const across = box.wide / layers()[box.layer].shape[2];
  return { x: box.x + key * across, y: box.y, wide: across, high: box.high };
}

/** @param {Painter} painter @param {Box} box @param {string} text */
const named = (painter, box, text) => painter.text(0, box.y + box.high / 2 + 4, text, 11, colour("soft-ink"));

/** What is read at each position; the one that takes is ringed. @param {Painter} painter @param {Box} box @param {Cell} at */
function paintTokens(painter, box, at) {
  named(painter, box, TEXT.attention_reads);
  for (let key = 0; key < layers()[box.layer].shape[2]; key++) {
    const cell = cellOf(box, key);
    const own = key === at.query;
    painter.box(cell.x + 0.5, cell.y + 0.5, cell.wide - 1, cell.high - 1, own ? colour("lit-line") : colour("line"), own ? 2.5 : 1, own ? colour("lit") : colour("panel"));
    const text = app.built?.sequence?.text ? glyph(positions()[key]?.name ?? "") : String(key);
    centred(painter, text, cell, cell.wide < 14 ? 10 : 13, colour("ink"));
  }
}

/** How much a head takes from each position. @param {Painter} painter @param {Box} box @param {Cell} at */
function paintRow(painter, box, at) {
  named(painter, box, t("attention_head", { head: box.head }));
  const keys = layers()[box.layer].shape[2];
  for (let key = 0; key < keys; key++) {
    const cell = { layer: box.layer, head: box.head, query: at.query, key };
    paintCell(painter, cellOf(box, key), cell, at.head === box.head && at.key === key && at.layer === box.layer);
  }
}

/** A number on its colour. @param {Painter} painter @param {{x: number, y: number, wide: number, high: number}} where @param {Cell} cell @param {boolean} lit */
function paintCell(painter, where, cell, lit) {
  const hidden = isHidden(cell);
  const value = known(cell.layer) ? numberAt(derivatives() ? "slopes" : "attention", cell) : null;
  const fill = hidden ? HIDDEN : value === null ? colour("panel") : css(tone(value / scale(cell.layer)));
  painter.box(where.x + 0.5, where.y + 0.5, where.wide - 1, where.high - 1, lit ? colour("lit-line") : colour("line"), lit ? 2.5 : 1, fill);
  if (!hidden && value !== null) centred(painter, derivatives() ? brief(value) : share(value), where, where.wide < 27 ? 9.5 : 11, INK);
}

/** Whether what is shown of a layer is known: derivatives only once backpropagation has come by. @param {number} layer */
const known = (layer) => !derivatives() || reached(layers()[layer].weights);

/** What comes next at each position, and how likely it was. @param {Painter} painter @param {Box} box @param {Cell} at */
function paintNext(painter, box, at) {
  named(painter, box, TEXT.attention_next);
  positions().forEach((one, key) => {
    const cell = cellOf(box, key);
    const counts = one.counts !== false;
    const own = key === at.query;
    painter.box(cell.x + 0.5, cell.y + 0.5, cell.wide - 1, cell.high - 1, own ? colour("lit-line") : colour("line"), own ? 2.5 : 1, counts ? css(tone(one.p ?? 0)) : colour("back"));
    if (!counts) return;
    const [token, number] = [glyph(one.target ?? ""), share(one.p ?? 0).replace(/^0/, "")];
    const both = `${token} ${number}`;
    centred(painter, wide(both, 10.5) < cell.wide - 1 ? both : token, cell, 10.5, INK);
  });
}

/** @param {Painter} painter @param {Box} box @param {Cell} at */
function paintMap(painter, box, at) {
  const { shape: [, queries, keys], name } = layers()[box.layer];
  const block = name.split(".").find((part) => part.startsWith("block_")) ?? name.split(".").at(-1) ?? name;
  const title = layers().length > 1 ? t("attention_map", { layer: block, head: box.head }) : t("attention_head", { head: box.head });
  painter.text(box.x, box.y - axis() - 5, title, 11, colour("soft-ink"));
  const pixels = new ImageData(keys, queries);
  const most = scale(box.layer);
  for (let query = 0; query < queries; query++) for (let key = 0; key < keys; key++) {
    const cell = { layer: box.layer, head: box.head, query, key };
    const rgb = isHidden(cell) ? [160, 162, 168] : known(box.layer) ? tone(numberAt(derivatives() ? "slopes" : "attention", cell) / most) : [255, 255, 255];
    pixels.data.set([...rgb, 255], 4 * (query * keys + key));
  }
  painter.image(box.x, box.y, box.wide, box.high, pixels);
  painter.box(box.x - 0.5, box.y - 0.5, box.wide + 1, box.high + 1, colour("soft-ink"), 1);
  const [across, down] = [box.wide / keys, box.high / queries];
  if (axis()) positions().forEach((one, k) => {
    const text = glyph(one.name);
    centred(painter, text, { x: box.x + k * across, y: box.y - axis(), wide: across + 4, high: axis() }, 9.5, colour("soft-ink"));
    centred(painter, text, { x: box.x - axis(), y: box.y + k * down, wide: axis(), high: down }, 9.5, colour("soft-ink"));
  });
  if (box.layer !== rowsOf) return;
  painter.box(box.x, box.y + at.query * down, box.wide, down, colour("lit-line"), 1.5);
  if (at.key !== null && at.head === box.head) painter.box(box.x + at.key * across, box.y + at.query * down, across, down, colour("lit-line"), 3);
}

// Pointing, walking and opening

/** What lies under a point. @param {number} x @param {number} y @returns {Cell | null} */
function under(x, y) {
  const box = boxes.find((one) => x >= one.x && x < one.x + one.wide && y >= one.y && y < one.y + one.high);
  if (!box) return null;
  const [, queries, keys] = layers()[box.layer].shape;
  const key = Math.floor(((x - box.x) * keys) / box.wide);
  const { layer, head, kind } = box;
  if (kind === "map") return { layer, head, query: Math.floor(((y - box.y) * queries) / box.high), key };
  return kind === "row" ? { layer, head, query: active().query, key } : { layer, head, query: key, key: null };
}

/** Where a cell is: in its map, or a position among the tokens. @param {Cell} cell @returns {{x: number, y: number} | null} */
function middle(cell) {
  const box = boxes.find((one) => (cell.key === null ? one.kind === "tokens" : one.kind === "map" && one.layer === cell.layer && one.head === cell.head));
  if (!box) return null;
  const [, queries, keys] = layers()[box.layer].shape;
  if (cell.key === null) return { x: box.x + ((cell.query + 0.5) * box.wide) / keys, y: box.y + box.high / 2 };
  return { x: box.x + ((cell.key + 0.5) * box.wide) / keys, y: box.y + ((cell.query + 0.5) * box.high) / queries };
}

/** Where a cell is on the canvas, for whoever checks it. @param {number} layer @param {number} head @param {number} query @param {number | null} key */
export const placeOfAttention = (layer, head, query, key) => middle({ layer, head, query, key });

/** What is pointed at, in a few words. @param {Cell} cell */
function inWords(cell) {
  if (cell.key === null) return t("attention_position", { place: place(cell.query) });
  if (isHidden(cell)) return t("attention_hidden", { query: place(cell.query), key: place(cell.key) });
  const slope = reached(layers()[cell.layer].weights) ? `, ∂L/∂a = ${figure(numberAt("slopes", cell))}` : "";
  return t("attention_cell", { head: cell.head, query: place(cell.query), key: place(cell.key), value: figure(numberAt("attention", cell)), slope });
}

/** The strongest of what a head takes. @param {Cell} of @param {number} head */
function strongest({ layer, query }, head) {
  const keys = layers()[layer].shape[2];
  const found = Array.from({ length: keys }, (_, key) => ({ key, value: numberAt("attention", { layer, head, query, key }) }));
  const best = found.sort((a, b) => b.value - a.value).slice(0, 3).filter((one) => one.value >= 0.005);
  return t("attention_takes", { head, list: best.map((one) => `${share(one.value)} of ${place(one.key)}`).join(",  ") });
}

/** The line about what is pointed at; null through other lenses. @returns {[string, string[]] | null} */
export function attentionLine() {
  if (!isShown()) return null;
  const at = active();
  const heads = layers()[at.layer].shape[0];
  if (at.key === null) {
    const rows = Array.from({ length: Math.min(heads, 3) }, (_, head) => strongest(at, head));
    return [t(pointed ? "attention_position" : "attention_hint", { place: place(at.query) }), [...rows, predictionLine(at.query), ...(pointed ? [] : ofPhase().slice(-1))]];
  }
  if (isHidden(at)) return [inWords(at), [TEXT.attention_masked]];
  const blanks = { query: at.query, key: at.key, width: layers()[at.layer].width, score: figure(numberAt("scores", at)), value: figure(numberAt("attention", at)) };
  return [inWords(at), [t("attention_line", blanks), t("attention_line_value", blanks)]];
}

/** Whether the cell that is open takes more than half from an earlier position, and that is what comes next. */
export function takesNext() {
  const layer = layers().findIndex((one) => one.weights === app.opened?.layer);
  if (layer < 0 || !app.opened?.position || !sequence()) return false;
  const cell = { layer, head: app.opened.position[0], query: app.opened.position[1], key: app.opened.unit };
  return numberAt("attention", cell) > 0.5 && positions()[cell.key]?.name === positions()[cell.query]?.target;
}

/** @param {[number, number]} cursor */
function tell(cursor) {
  if (pointed) tip(canvas(), cursor, inWords(pointed));
  else hideTip();
  if (pointed && pointed.layer !== rowsOf) arrange();
  draw();
  emit("pointed", pointed ? inWords(pointed) : "");
}

function open() {
  if (!pointed) return;
  if (pointed.key === null) chosen = pointed.query;
  else openUnit(layers()[pointed.layer].weights, pointed.key, [pointed.head, pointed.query]);
  draw();
}

/** The cell beside this one: over the edge of a map lies the next one. @param {Cell} from @param {number} down @param {number} across @returns {Cell} */
function beside(from, down, across) {
  const { layer, head, query, key } = from;
  const [heads, queries, keys] = layers()[layer].shape;
  if (key === null) {
    if (down > 0) return { layer, head: 0, query, key: Math.min(query, keys - 1) };
    return { ...from, query: Math.max(0, Math.min(queries - 1, query + across)) };
  }
  const [q, k] = [query + down, key + across];
  if (q < 0) return { layer, head, query, key: null };
  if (k >= 0 && k < keys) return { layer, head, query: Math.min(queries - 1, q), key: k };
  const next = layers().slice(0, count()).flatMap((one, l) => Array.from({ length: one.shape[0] }, (_, h) => ({ layer: l, head: h })));
  const to = next[next.findIndex((one) => one.layer === layer && one.head === head) + across];
  return to && heads ? { ...to, query, key: across > 0 ? 0 : layers()[to.layer].shape[2] - 1 } : from;
}

/** @param {number} down @param {number} across */
function walk(down, across) {
  if (!isShown()) return;
  pointed = beside(pointed ?? { ...active(), key: null }, down, across);
  const at = middle(pointed);
  if (at) tell([at.x, at.y]);
}

/** The lens's picture as an SVG. */
export const attentionSvg = () => svgPainter(width, height, paint);

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

/** Backpropagation shows its derivatives, as long as it is at work. */
function followPhase() {
  let [was, before] = [false, "weights"];
  on("sequence", ({ header }) => {
    const is = header.phase === "backward";
    if (is && !was && app.lens === "attention" && app.edges !== "gradients") [before, app.edges] = [app.edges, "gradients"];
    else if (was && !is && app.lens === "attention") app.edges = before;
    was = is;
    if (app.lens === "attention") /** @type {HTMLSelectElement} */ (byId("edges")).value = app.edges;
  });
}

export function startAttention() {
  followPhase();
  const point = (/** @type {number} */ x, /** @type {number} */ y) => {
    pointed = under(x, y);
    tell([x, y]);
  };
  follow(canvas(), { point, walk, open, leave, arrange: anew });
  let fresh = false;
  on("sequence", () => (fresh = true));
  on("built", () => {
    [pointed, chosen, boxes, rowsOf] = [null, null, [], 0];
  });
  on("draw", () => {
    if (!fresh) return;
    fresh = false;
    anew();
    emit("stage");
  });
  for (const event of ["lens", "explained", "forget", "redraw"]) on(event, anew);
}
