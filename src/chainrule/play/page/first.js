// The first minute: one step of learning in eight clicks, each of which explains one word.

import { app, byId, emit, make, on } from "./app.js";
import { run } from "./loop.js";
import { limitTo, revealBackwards, select, shownScene } from "./stage.js";
import { FIRST, TEXT } from "./text.js";

let at = -1;

/** What happens at each of the eight clicks, beside the words. @type {Record<string, () => void>} */
const ACTIONS = {
  sample: () => limitTo("sample"),
  weight: () => limitTo("weights"),
  forward: () => {
    phase("forward");
    limitTo("forward");
  },
  loss: () => {
    phase("loss");
    limitTo("loss");
  },
  derivative: () => select(steepest()),
  backpropagation: () => {
    const layers = app.built?.layers.filter((layer) => layer.symbol === "z").length ?? 0;
    revealBackwards();
    limitTo("delta");
    for (let k = 0; k < layers; k++) phase("backward");
  },
  gradient: () => limitTo("gradient"),
  descent: () => {
    phase("update");
    limitTo("next");
  },
};

/** @param {string} name */
function phase(name) {
  app.running = false;
  app.send({ type: "phase", phase: name });
}

/** The weight with the largest derivative: its step is the easiest to see. */
function steepest() {
  const weights = shownScene()?.weights.filter((weight) => weight.from !== null) ?? [];
  return weights.reduce((best, weight) => (Math.abs(weight.gradient) > Math.abs(best.gradient) ? weight : best), weights[0])?.weight ?? "";
}

function show() {
  const box = byId("first");
  const { word, words, adaptive } = FIRST[at];
  const said = adaptive && app.settings.optimizer !== "sgd" ? adaptive : words;
  const last = at === FIRST.length - 1;
  const next = last
    ? make("button", { id: "next", className: "primary", onclick: letItLearn }, TEXT.let_it_learn)
    : make("button", { id: "next", className: "primary", onclick: forward }, `${TEXT.next}: ${FIRST[at + 1].word}`);
  box.replaceChildren(make("b", {}, `${at + 1}/${FIRST.length} ${word}. `), make("span", {}, said), next, make("button", { id: "first-end", onclick: end }, TEXT.skip_first));
  next.focus({ preventScroll: true });
}

function forward() {
  at += 1;
  ACTIONS[FIRST[at].name]();
  emit("first", FIRST[at].name);
  show();
}

function begin() {
  at = -1;
  if (app.frame && app.frame.phase !== "weights") app.send({ type: "back" }); // to the beginning of a step
  forward();
}

function end() {
  at = -1;
  limitTo(null);
  invite();
}

function letItLearn() {
  end();
  run();
}

function invite() {
  byId("first").replaceChildren(make("span", {}, TEXT.first_sentence), make("button", { id: "first-minute", className: "primary", onclick: begin }, TEXT.first_minute));
}

export function startFirst() {
  invite();
  on("built", ({ header }) => {
    at = -1;
    const kernels = header.layers.some((/** @type {import("./types.js").LayerInfo} */ layer) => layer.parameters.some((one) => one.shape.length > 2));
    byId("first").hidden = !header.scene || kernels || header.last_step !== null; // its words are about units and their lines
    invite();
  });
}
