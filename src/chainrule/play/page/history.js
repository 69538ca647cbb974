// The life of the open weight: its draw, its value, gradient and update over the steps, and which samples moved it.

import { app, byId, colour, make, on, shown } from "./app.js";
import { lineChart, pen } from "./charts.js";
import { cellsOf, column, look, numberOf, signed } from "./rows.js";
import { TEXT, t } from "./text.js";

const LINES = { value: "#0072b2", gradient: "#d55e00", update: "#009e73" };

/**
 * @typedef {{words: string, density: number | null, quantile: number | null, at: number[], heights: number[]}} Drawn
 * @typedef {{start: number, end: number, moved: number, draw: Drawn, sums: [string, number][], epochs: [string, number][], classes: [string, number][], samples: import("./rows.js").Row[], rest: [number, number]}} Found
 */

/** @type {any} */
let history = null;
/** What is known of the life, in the engine's words. @type {{weight: string, done: number, steps: number, problem: string, found: Found | null} | null} */
let life = null;

/** The panel of the inspector's tab. */
export function historyPanel() {
  const charts = Object.keys(LINES).map((name) => make("canvas", { className: "chart", id: `history-${name}`, role: "img" }));
  return make("div", { id: "history", hidden: true }, make("div", { id: "life-draw" }), make("p", { className: "hint", id: "history-words" }), ...charts, make("div", { id: "life" }));
}

const isShown = () => document.getElementById("history") && !byId("history").hidden;

function draw() {
  if (!history || !isShown()) return;
  byId("history-words").textContent = history.words;
  for (const [name, colour] of Object.entries(LINES)) {
    const points = history[`${name}s`].map((/** @type {number} */ value, /** @type {number} */ k) => /** @type {[number, number]} */ ([history.steps[k], value]));
    lineChart(/** @type {any} */ (byId(`history-${name}`)), [{ name: t(name), points, colour }], { linear: true, now: app.frame?.step });
  }
}

/** The density with the draw in it. @param {Drawn} draw @param {number} value */
function density({ at, heights }, value) {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("life-density"));
  const [ink, width, height] = pen(canvas);
  const [low, high, most] = [at[0], at[at.length - 1], Math.max(...heights, 1e-12)];
  const x = (/** @type {number} */ v) => 8 + ((width - 16) * (v - low)) / (high - low || 1);
  const base = height - 18;
  ink.beginPath();
  ink.moveTo(x(low), base);
  at.forEach((v, k) => ink.lineTo(x(v), base - ((base - 14) * heights[k]) / most));
  ink.lineTo(x(high), base);
  ink.fillStyle = ink.strokeStyle = colour("plus");
  ink.globalAlpha = 0.2;
  ink.fill();
  ink.globalAlpha = 1;
  ink.stroke();
  ink.strokeStyle = ink.fillStyle = colour("minus");
  ink.lineWidth = 2;
  ink.beginPath();
  ink.moveTo(x(value), 12);
  ink.lineTo(x(value), base);
  ink.stroke();
  ink.textAlign = x(value) > width / 2 ? "right" : "left";
  ink.fillText(shown(value), x(value) + (x(value) > width / 2 ? -5 : 5), 10);
  ink.fillStyle = colour("soft-ink");
  ink.textAlign = "left";
  ink.fillText(shown(low), 8, height - 4);
  ink.textAlign = "right";
  ink.fillText(shown(high), width - 8, height - 4);
}

/** Named numbers, with bars from the middle. @param {string} title @param {[string, number][]} rows @param {boolean} [sums] whether the last is the sum of the others */
function bars(title, rows, sums = false) {
  const values = rows.map(([, value]) => value);
  const most = Math.max(...values.map(Math.abs), 1e-300);
  const written = column(values, sums ? values[values.length - 1] : values.reduce((sum, value) => sum + value, 0));
  const lines = rows.map(([name, value], k) => {
    const bar = make("i", {});
    bar.style.width = `${(50 * Math.abs(value)) / most}%`;
    bar.style.marginLeft = value < 0 ? `${50 - (50 * Math.abs(value)) / most}%` : "50%";
    bar.style.background = colour(value < 0 ? "minus" : "plus");
    return make("tr", { className: sums && k === rows.length - 1 ? "sum" : "" }, make("th", { scope: "row" }, name), make("td", { className: "meter", "aria-hidden": "true" }, bar), make("td", {}, written(value)));
  });
  return make("section", {}, make("h4", {}, title), make("table", {}, make("tbody", {}, ...lines)));
}

/** Whether the stage can show any row, and not only those of the mini-batch. */
const canShow = () => !app.built?.sequence;

/** One of the samples; it can be put on the stage. @param {import("./rows.js").Row} row @param {(value: number) => string} written */
function line(row, written) {
  const seen = look(row);
  const cells = cellsOf(row);
  const words = make("span", {}, `row ${numberOf(row)}`, ...(row.target ? [": ", make("b", {}, row.target)] : []), ...(cells ? [make("small", {}, cells)] : []));
  const parts = [...seen, words, make("span", { className: "effect" }, written(row.effect ?? 0))];
  const className = seen.length ? "" : "plain";
  if (!canShow()) return make("li", {}, make("div", { className }, ...parts));
  return make("li", {}, make("button", { type: "button", className, title: t("life_show", { row: numberOf(row), steps: row.steps }), onclick: () => {
      app.chosen = true; // and so it is taken back even before the stage shows it
      app.send({ type: "show row", row: row.row });
    } }, ...parts));
}

/** @param {Found} found @param {number} steps */
function parts({ start, end, moved, sums, epochs, classes, samples, rest }, steps) {
  const effects = [...samples.map((row) => row.effect ?? 0), ...(rest[0] ? [rest[1]] : [])];
  const written = column(effects, effects.reduce((sum, effect) => sum + effect, 0));
  const others = rest[0] ? [make("li", {}, make("div", { className: "plain" }, t("life_rest", { count: rest[0].toLocaleString("en") }), make("span", { className: "effect" }, written(rest[1]))))] : [];
  return [
    make("p", {}, t("life_moved", { start: shown(start), end: shown(end), moved: signed(moved), steps: steps.toLocaleString("en") })),
    bars(TEXT.life_sum, sums, true),
    ...(samples.length ? [make("section", {}, make("h4", {}, TEXT.life_samples), make("ol", {}, ...samples.map((row) => line(row, written)), ...others))] : []),
    ...(classes.length ? [bars(TEXT.life_classes, classes)] : []),
    bars(TEXT.life_epochs, epochs),
  ];
}

/** Show what is known of the life. */
function show() {
  if (!document.getElementById("life") || byId("history").hidden) return;
  const own = life && life.weight === app.opened?.weight ? life : null;
  const hint = (/** @type {string} */ words, busy = false) => [make("p", { className: busy ? "hint busy" : "hint", role: "status" }, words)];
  byId("life").classList.toggle("past", app.running);
  if (app.saved) return;
  if (!own?.found) {
    byId("life-draw").replaceChildren();
    byId("life").replaceChildren(...hint(app.running || !own ? TEXT.life_running : own.problem || (own.steps ? t("life_computing", { done: own.done, steps: own.steps }) : TEXT.life_none), Boolean(!app.running && own && !own.problem && own.steps)));
    return;
  }
  const { draw, start } = own.found;
  const drawing = draw.at.length > 1 ? [make("canvas", { className: "density", id: "life-density", role: "img", "aria-label": t("life_density", { value: shown(start) }) })] : [];
  byId("life-draw").replaceChildren(make("p", {}, draw.words[0].toUpperCase() + draw.words.slice(1)), ...drawing);
  if (drawing.length) density(draw, start);
  byId("life").replaceChildren(...(app.running ? hint(TEXT.life_running) : []), ...parts(own.found, own.steps));
}

export function startHistory() {
  on("weight history", ({ header }) => {
    history = header;
    draw();
  });
  on("life", ({ header }) => {
    if (header.weight !== app.opened?.weight) return;
    // While a longer life is computed, the one before stays.
    if (header.found || header.problem || life?.weight !== header.weight || !life?.found) life = header;
    show();
  });
  on("built", () => {
    history = life = null;
    app.chosen = false;
  });
  on("tab", () => {
    draw();
    if (!byId("life").childElementCount) show();
  });
  on("draw", draw);
  on("redraw", () => {
    draw();
    show();
  });
}
