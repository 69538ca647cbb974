// The open weight through the steps so far: its value, its gradient and its update.

import { app, byId, make, on } from "./app.js";
import { lineChart } from "./charts.js";
import { t } from "./text.js";

const LINES = { value: "#0072b2", gradient: "#d55e00", update: "#009e73" };

/** @type {any} */
let history = null;

/** The panel of the inspector's tab. */
export function historyPanel() {
  const charts = Object.keys(LINES).map((name) => make("canvas", { className: "chart", id: `history-${name}`, role: "img" }));
  return make("div", { id: "history", hidden: true }, make("p", { className: "hint", id: "history-words" }), ...charts);
}

function draw() {
  if (!history || !document.getElementById("history") || byId("history").hidden) return;
  byId("history-words").textContent = history.words;
  for (const [name, colour] of Object.entries(LINES)) {
    const points = history[`${name}s`].map((/** @type {number} */ value, /** @type {number} */ k) => /** @type {[number, number]} */ ([history.steps[k], value]));
    lineChart(/** @type {any} */ (byId(`history-${name}`)), [{ name: t(name), points, colour }], { linear: true, now: app.frame?.step });
  }
}

export function startHistory() {
  on("weight history", ({ header }) => {
    history = header;
    draw();
  });
  on("built", () => (history = null));
  on("tab", draw);
  for (const event of ["draw", "redraw"]) on(event, draw);
}
