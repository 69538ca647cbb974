// Who taught a sample: the rows of the training set that lowered its loss most, and those that raised it most.

import { app, byId, make, on, shown } from "./app.js";
import { shownStep } from "./stage.js";
import { TEXT, t } from "./text.js";

/**
 * A row of the training set, and what it is.
 * @typedef {{row: number, read: number | null, target?: string, effect?: number, point?: number[], picture?: {shape: number[], ink: number[]}, cells?: string[][]}} Row
 * @typedef {{first: number, loss_start: number, loss_end: number, sums: [string, number][], helpful: Row[], harmful: Row[]}} Found
 */

/** The rows that were asked about before, to go back to. @type {number[]} */
let before = [];
/** The row that is asked about; null while the dialog is closed. @type {number | null} */
let asked = null;

const box = () => /** @type {HTMLDialogElement} */ (byId("taught"));

/** @param {number} row */
function ask(row) {
  asked = row;
  app.send({ type: "teachers", row });
  if (!box().open) box().showModal();
}

function close() {
  if (asked !== null) app.send({ type: "teachers" });
  asked = null;
  before = [];
}

/** A number with its sign. @param {number} value */
const signed = (value) => `${value < 0 ? "\u2212" : "+"}${shown(Math.abs(value))}`;

/** The row's number in the data as it was read, which the user knows; else in the training set. @param {Row} row */
const numberOf = (row) => row.read ?? row.row + 1;

/** What a row looks like: a picture, or its place in the plane. @param {Row} row */
function look(row) {
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
const cellsOf = (row) => (row.cells ?? []).map(([name, value]) => `${name} ${value}`).join(", ");

/** One of the rows, as a button that asks who taught it. @param {Row} row */
function line(row) {
  const cells = cellsOf(row);
  const words = make("span", {}, `${numberOf(row)}`, ...(row.target ? [": ", make("b", {}, row.target)] : []), ...(cells ? [make("small", {}, cells)] : []));
  const seen = look(row);
  return make("li", {}, make("button", {
    type: "button", className: seen.length ? "" : "cells", title: t("taught_ask", { row: numberOf(row) }),
    onclick: () => {
      if (asked !== null) before.push(asked);
      ask(row.row);
    },
  }, ...seen, words, make("span", { className: "effect" }, signed(row.effect ?? 0))));
}

/** @param {string} title @param {Row[]} rows */
const list = (title, rows) => make("section", {}, make("h3", {}, title), rows.length ? make("ol", {}, ...rows.map(line)) : make("p", { className: "hint" }, TEXT.taught_none));

/** @param {Found} found */
function result(found) {
  const rows = found.sums.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, signed(value))));
  return [
    ...(found.first ? [make("p", {}, t("taught_partial", { first: found.first }))] : []),
    make("div", { className: "two" }, list(TEXT.taught_helpful, found.helpful), list(TEXT.taught_harmful, found.harmful)),
    make("details", {}, make("summary", {}, TEXT.taught_sum), make("table", {}, make("tbody", {}, ...rows))),
  ];
}

/** @param {any} header the message */
function show(header) {
  if (header.row !== asked) return;
  /** @type {Found | null} */
  const found = header.found;
  /** @type {Row} */
  const of = header.of;
  const about = header.problem || (found
    ? t("taught_about", { start: shown(found.loss_start), end: shown(found.loss_end), steps: header.steps - found.first })
    : t("taught_computing", { done: header.done, steps: header.steps }));
  const buttons = [
    ...(before.length ? [make("button", { type: "button", id: "taught-back", onclick: () => ask(/** @type {number} */ (before.pop())) }, TEXT.taught_back)] : []),
    ...(found || header.problem ? [] : [make("button", { type: "button", id: "taught-stop", onclick: () => app.send({ type: "teachers" }) }, TEXT.taught_stop)]),
    make("button", { type: "button", id: "taught-close", onclick: () => box().close() }, TEXT.close),
  ];
  box().replaceChildren(
    make("h2", { id: "taught-title" }, t(of.target ? "taught_title_target" : "taught_title", { row: numberOf(of), target: of.target })),
    make("div", { className: "asked" }, ...look(of), make("p", { role: "status" }, about, ...(cellsOf(of) ? [make("br"), make("small", {}, cellsOf(of))] : []))),
    ...(found ? result(found) : []),
    make("p", {}, ...buttons.flatMap((button) => [button, " "])),
  );
}

export function startTaught() {
  const open = /** @type {HTMLButtonElement} */ (byId("taught-open"));
  open.onclick = () => {
    const scene = shownStep();
    if (scene && scene.sample >= 0) ask(scene.rows[scene.sample]);
  };
  const offer = () => {
    const scene = shownStep();
    open.hidden = app.saved || !scene || scene.sample < 0; // a saved page has no engine, and what the user drew no row
    open.disabled = !app.frame?.step && !app.choices.run; // all of a recorded run is known
  };
  for (const event of ["stage", "draw", "built"]) on(event, offer);
  on("taught", ({ header }) => show(header));
  on("error", ({ header }) => header.about === "teachers" && box().close());
  box().addEventListener("close", close);
}
