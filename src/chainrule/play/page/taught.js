// Who taught a sample: the rows of the training set that lowered its loss most, and those that raised it most.

import { app, byId, make, on, shown } from "./app.js";
import { cellsOf, column, look, numberOf } from "./rows.js";
import { shownStep } from "./stage.js";
import { TEXT, t } from "./text.js";

/**
 * @typedef {import("./rows.js").Row} Row
 * @typedef {{first: number, loss_start: number, loss_end: number, sums: [string, number][], helpful: Row[], harmful: Row[], rest: [number, number][]}} Found
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

/** One of the rows, as a button that asks who taught it. @param {Row} row @param {(value: number) => string} written */
function line(row, written) {
  const cells = cellsOf(row);
  const words = make("span", {}, `row ${numberOf(row)}`, ...(row.target ? [": ", make("b", {}, row.target)] : []), ...(cells ? [make("small", {}, cells)] : []));
  const seen = look(row);
  return make("li", {}, make("button", {
    type: "button", className: seen.length ? "" : "cells", title: t("taught_ask", { row: numberOf(row) }),
    onclick: () => {
      if (asked !== null) before.push(asked);
      ask(row.row);
    },
  }, ...seen, words, make("span", { className: "effect" }, written(row.effect ?? 0))));
}

/** The rows with the largest effects of one sign, and what the others add. @param {string} title @param {Row[]} rows @param {number} others how many @param {number} rest */
function list(title, rows, others, rest) {
  if (!rows.length) return make("section", {}, make("h3", {}, title), make("p", { className: "hint" }, TEXT.taught_none));
  const written = column([...rows.map((row) => row.effect ?? 0), rest]);
  const more = others ? [make("li", { className: "rest" }, t("taught_rest", { count: others.toLocaleString("en") }), make("span", { className: "effect" }, written(rest)))] : [];
  return make("section", {}, make("h3", {}, title), make("ol", {}, ...rows.map((row) => line(row, written)), ...more));
}

/** @param {Found} found */
function result(found) {
  const values = found.sums.map(([, value]) => value);
  const written = column(values, values[values.length - 1]);
  const rows = found.sums.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, written(value))));
  return [
    ...(found.first ? [make("p", {}, t("taught_partial", { first: found.first }))] : []),
    make("div", { className: "two" }, list(TEXT.taught_helpful, found.helpful, ...found.rest[0]), list(TEXT.taught_harmful, found.harmful, ...found.rest[1])),
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
    make("div", { className: "asked" }, ...look(of), make("p", { role: "status", className: found || header.problem ? "" : "busy" }, about, ...(cellsOf(of) ? [make("br"), make("small", {}, cellsOf(of))] : []))),
    ...(found ? result(found) : []),
    make("p", {}, ...buttons.flatMap((button) => [button, " "])),
  );
}

export function startTaught() {
  const open = /** @type {HTMLButtonElement} */ (byId("taught-open"));
  open.onclick = () => {
    const scene = shownStep();
    const row = scene && (scene.chosen ?? scene.rows[scene.sample]);
    if (row !== undefined && row !== null) ask(row);
  };
  const offer = () => {
    const scene = shownStep();
    open.hidden = app.saved || !scene || (scene.sample < 0 && (scene.chosen ?? null) === null); // a saved page has no engine, and what the user drew no row
    open.disabled = !app.frame?.step && !app.choices.run; // all of a recorded run is known
  };
  for (const event of ["stage", "draw", "built"]) on(event, offer);
  on("taught", ({ header }) => show(header));
  on("error", ({ header }) => header.about === "teachers" && box().close());
  box().addEventListener("close", close);
}
