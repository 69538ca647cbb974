// The lenses of the stage, and what its lines show.

import { app, byId, emit, make, on } from "./app.js";
import { look } from "./charts.js";
import { TEXT, t } from "./text.js";

/** @typedef {"sample" | "plane" | "maps" | "attention" | "time" | "weights"} Lens */
/** Where each lens draws. @type {Record<Lens, string>} */
const PLACES = { sample: "stage-picture", plane: "plane-lens", maps: "maps-lens", attention: "attention-lens", time: "time-lens", weights: "weights-lens" };
const LENSES = /** @type {Lens[]} */ (Object.keys(PLACES));
/** What lines can show, through each lens. @type {Record<Lens, string[]>} */
const LINES = { sample: ["weights", "gradients", "updates", "deltas"], plane: ["weights", "gradients", "updates", "deltas"], maps: ["weights", "gradients"], attention: ["weights", "gradients"], time: ["weights"], weights: ["weights", "gradients", "updates"] };

/** Whether this network can be seen through a lens. @param {Lens} lens */
function isPossible(lens) {
  const { built } = app;
  return lens === "weights" || Boolean({ sample: built?.scene, plane: built?.plane, maps: built?.maps.length, attention: built?.sequence?.attention.length, time: built?.sequence?.scans.length }[lens]);
}

/** Look through a lens; through the next best one if this network can't be seen through it. @param {Lens} wanted */
export function lookThrough(wanted) {
  app.lens = [wanted, ...LENSES].find((lens) => isPossible(lens) && (lens === wanted || lens !== "plane")) ?? "weights";
  for (const lens of LENSES) {
    const button = /** @type {HTMLButtonElement} */ (byId(`lens-${lens}`));
    button.setAttribute("aria-checked", String(lens === app.lens));
    button.disabled = !isPossible(lens);
    // Those for sequences are there for sequences, and no others.
    button.hidden = button.disabled && (Boolean(app.built?.sequence) || lens === "attention" || lens === "time");
    button.title = isPossible(lens) ? t(`lens_${lens}_about`) : t(`lens_${lens}_why_not`);
    byId(PLACES[lens]).hidden = lens !== app.lens;
  }
  lines();
  emit("lens");
}

/** The choice of what the lines show. */
function lines() {
  const select = /** @type {HTMLSelectElement} */ (byId("edges"));
  const choices = LINES[app.lens];
  const own = app.lens === "maps" || app.lens === "attention" ? `${app.lens}_` : "";
  select.replaceChildren(...choices.map((value) => make("option", { value }, t(own + value))));
  if (select.parentElement) select.parentElement.hidden = choices.length < 2;
  if (!choices.includes(app.edges)) app.edges = "weights";
  select.value = app.edges;
  byId("edges-name").textContent = app.lens === "weights" ? TEXT.cells_show : app.lens === "maps" ? TEXT.maps_show : app.lens === "attention" ? TEXT.attention_show : TEXT.lines_show;
}

export function startLenses() {
  const edges = /** @type {HTMLSelectElement} */ (byId("edges"));
  byId("lenses").prepend(...LENSES.map((lens) => make("button", { id: `lens-${lens}`, type: "button", role: "radio", "aria-checked": "false", className: "lens" }, t(`lens_${lens}`))));
  for (const lens of LENSES) {
    byId(`lens-${lens}`).onclick = () => {
      lookThrough(lens);
      look();
    };
  }
  byId("lenses").onkeydown = (event) => {
    const way = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1 })[event.key];
    if (!way || event.target === edges) return;
    event.preventDefault();
    event.stopPropagation();
    const possible = LENSES.filter(isPossible);
    lookThrough(possible[(possible.indexOf(app.lens) + way + possible.length) % possible.length]);
    byId(`lens-${app.lens}`).focus();
    look();
  };
  edges.onchange = () => {
    app.edges = edges.value;
    emit("lens");
  };
  on("built", () => lookThrough(app.lens));
}
