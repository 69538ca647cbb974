// The race: up to four settings from the same start, side by side on the same surface and curves.

import { app, byId, make, on, shown } from "./app.js";
import { chooser } from "./controls.js";
import { lineChart } from "./charts.js";
import { flat } from "./surface.js";
import { TEXT, t } from "./text.js";

const LINES = ["#d4002a", "#0072b2", "#009e73", "#cc79a7"];
const DASHES = [[], [7, 3], [2, 3], [8, 3, 2, 3]];

/** @type {{optimizer: string, learning_rate: number, weights: string}[]} */
let entrants = [
  { optimizer: "sgd", learning_rate: 0.1, weights: "" },
  { optimizer: "momentum", learning_rate: 0.02, weights: "" },
  { optimizer: "adam", learning_rate: 0.01, weights: "" },
];
/** @type {[number, number][][]} */
let losses = [];

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
    const parts = [make("legend", {}, `${TEXT.entrant} ${k + 1}`), optimizer];
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
  form();
  let racing = false;
  const button = byId("race-start");
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
    byId("race-result").hidden = false;
    app.send({ type: "race", entrants });
  };
  on("built", stop);
  on("error", stop);
  on("race", ({ header }) => {
    header.losses.forEach((/** @type {number | null} */ loss, /** @type {number} */ k) => {
      if (loss !== null && losses[k]) losses[k].push([header.step, loss]);
      if (losses[k]?.length > 1200) losses[k] = losses[k].filter((_, i) => i % 2 === 0);
    });
    lineChart(/** @type {any} */ (byId("race-curves")), header.names.map((/** @type {string} */ name, /** @type {number} */ k) => ({ name, points: losses[k] ?? [], colour: LINES[k], dash: DASHES[k] })));
    const order = header.names.map((/** @type {string} */ name, /** @type {number} */ k) => ({ name, loss: header.losses[k] ?? Infinity, failed: header.failed[k] })).sort((/** @type {any} */ a, /** @type {any} */ b) => a.loss - b.loss);
    const places = order.map((/** @type {any} */ o) => (o.failed ? `${o.name} ${t("out_of_race", { why: o.failed })}` : `${o.name} ${shown(o.loss)}`)).join("; ");
    byId("race-words").textContent = t("race_words", { step: header.step.toLocaleString("en"), places });
  });
  on("race surface", ({ header, arrays }) => {
    const paths = header.names.map((/** @type {string} */ name, /** @type {number} */ k) => ({ name, path: arrays[`path ${k}`] }));
    flat("race-surface", arrays, header.axes, paths);
  });
}
