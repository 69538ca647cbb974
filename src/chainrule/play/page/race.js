// The race: up to four settings from the same start, on the same surface and curves, until one reaches the target loss.
// An entrant has one colour: on its card, in the curves, on the surface and in the words.

import { app, byId, make, on, shown } from "./app.js";
import { chooser } from "./controls.js";
import { ENTRANTS, lineChart } from "./charts.js";
import { drawFlat } from "./surface.js";
import { TEXT, t } from "./text.js";

const DASHES = [[], [7, 3], [2, 3], [8, 3, 2, 3]];

/** @type {{optimizer: string, learning_rate: number, weights: string}[]} */
let entrants = [
  { optimizer: "sgd", learning_rate: 0.1, weights: "" },
  { optimizer: "momentum", learning_rate: 0.02, weights: "" },
  { optimizer: "adam", learning_rate: 0.01, weights: "" },
];
/** @type {[number, number][][]} */
let losses = [];

/** The colour of an entrant. @param {number} k */
function swatch(k) {
  const box = make("span", { className: "swatch", "aria-hidden": "true" });
  box.style.background = ENTRANTS[k];
  return box;
}

/** How the entrants stand, the best first. @param {any} header */
function showStanding(header) {
  const entrants = header.order.map((/** @type {number} */ k) => {
    const how = header.failed[k] ? t("out_of_race", { why: header.failed[k] }) : shown(header.losses[k]);
    return make("span", { className: "entrant", "data-entrant": String(k) }, swatch(k), `${header.names[k]} ${how}`);
  });
  const words = make(header.ended ? "strong" : "span", { id: "race-end" }, header.words);
  byId("race-words").replaceChildren(words, make("span", { className: "standing" }, t("race_words", { step: header.step.toLocaleString("en") }), ...entrants));
}

function form() {
  const cards = Array.from({ length: 4 }, (_, k) => {
    const entrant = entrants[k];
    const optimizers = [["", TEXT.none], ...Object.keys(app.choices.optimizers).map((name) => [name, name])];
    const optimizer = chooser(/** @type {any} */ (optimizers), entrant?.optimizer ?? "", (value) => {
      if (!value) entrants.splice(k, 1);
      else entrants[Math.min(k, entrants.length)] = { ...(entrant ?? { learning_rate: 0.01, weights: "" }), optimizer: value };
      form();
    });
    optimizer.setAttribute("aria-label", `${TEXT.optimizer} ${k + 1}`);
    const parts = [make("legend", {}, swatch(k), `${TEXT.entrant} ${k + 1}`), optimizer];
    if (entrant) {
      const rate = make("input", { type: "number", min: "0", step: "any", value: String(entrant.learning_rate), "aria-label": `${TEXT.learning_rate} ${k + 1}` });
      rate.onchange = () => (entrant.learning_rate = Number(rate.value));
      const weights = chooser([["", TEXT.suits], ...app.choices.distributions.map((name) => /** @type {[string, string]} */ ([name, name.replaceAll("_", " ")]))], entrant.weights, (value) => (entrant.weights = value));
      weights.setAttribute("aria-label", `${TEXT.distribution} ${k + 1}`);
      parts.push(rate, weights);
    }
    return make("fieldset", {}, ...parts);
  });
  byId("entrants").replaceChildren(...cards);
}

export function startRace() {
  byId("race").hidden = Boolean(app.choices.run); // it would put trainings of its own in the run's place
  form();
  let racing = false;
  /** The last message of the race. @type {any} */
  let latest = null;
  let drawSurface = () => {};
  const drawCurves = () => {
    const series = latest.names.map((/** @type {string} */ name, /** @type {number} */ k) => ({ name, points: losses[k] ?? [], colour: ENTRANTS[k], dash: DASHES[k] }));
    lineChart(/** @type {any} */ (byId("race-curves")), series, { level: latest.target });
  };
  const button = byId("race-start");
  const target = /** @type {HTMLInputElement} */ (byId("race-target"));
  const stop = () => {
    racing = false;
    button.textContent = TEXT.race_start;
  };
  button.onclick = () => {
    if (racing) {
      app.send({ type: "pause" });
      stop();
      return;
    }
    racing = true;
    button.textContent = TEXT.pause;
    app.running = false;
    losses = entrants.map(() => []);
    latest = null;
    byId("race-result").hidden = false;
    app.send({ type: "race", entrants, target: Number(target.value) / 100 });
  };
  on("built", stop);
  on("error", stop);
  on("race", ({ header }) => {
    latest = header;
    header.losses.forEach((/** @type {number | null} */ loss, /** @type {number} */ k) => {
      if (!losses[k]) return;
      if (!losses[k].length) losses[k].push([0, header.starts[k]]);
      if (loss !== null && !header.failed[k]) losses[k].push([header.step, loss]);
      if (losses[k].length > 1200) losses[k] = losses[k].filter((_, i) => i % 2 === 0);
    });
    drawCurves();
    showStanding(header);
    if (header.ended) stop();
  });
  on("race surface", ({ header, arrays }) => {
    drawSurface = () => drawFlat(/** @type {any} */ (byId("race-surface")), header, arrays);
    drawSurface();
  });
  on("redraw", () => {
    if (!latest) return;
    drawCurves();
    drawSurface();
  });
}
