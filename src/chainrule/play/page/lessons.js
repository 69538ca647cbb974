// The lessons: each a state of the page, some sentences, and something to do; the page sees when it is done.

import { app, byId, emit, make, on } from "./app.js";
import { pressed } from "./loop.js";
import { lineUp } from "./race.js";
import { LESSONS, TEXT } from "./text.js";

let current = -1;
/** What was done since the lesson began. */
let seen = { rates: new Set(), distributions: new Set(), activations: new Set(), steps: 0, unit: false, weight: false, raced: false, before: /** @type {any} */ (null) };

/** Begin a lesson, or end it with -1. @param {number} number */
export function begin(number) {
  current = number;
  const box = byId("lesson-box");
  /** @type {HTMLSelectElement} */ (byId("lesson")).value = String(number);
  box.hidden = number < 0;
  if (number < 0) return;
  const lesson = LESSONS[number];
  pressed.clear();
  seen = { rates: new Set(), distributions: new Set(), activations: new Set(), steps: 0, unit: false, weight: false, raced: false, before: null };
  const next = number + 1 < LESSONS.length ? [make("button", { id: "next-lesson", onclick: () => begin(number + 1) }, TEXT.next_lesson)] : [];
  box.replaceChildren(
    make("h2", {}, lesson.name),
    ...lesson.words.map((words) => make("p", {}, words)),
    make("p", { className: "task", id: "task" }, `${TEXT.to_do} ${lesson.task}`),
    make("div", { className: "choices" }, ...next, make("button", { onclick: () => begin(-1) }, TEXT.end_lesson)),
  );
  emit("preset", { settings: structuredClone(lesson.settings) });
  seen.before = structuredClone(app.settings);
  if (lesson.race) lineUp(lesson.race);
}

/** Whether what the lesson asks for is done. */
function done() {
  const goal = /** @type {any} */ (LESSONS[current].goal);
  const changed = (/** @type {string[]} */ names) => names.some((name) => {
    const value = (/** @type {any} */ s) => (name === "samples" ? s.data.samples : name === "dropout" ? s.layers.map((/** @type {any} */ l) => l.dropout).join() : s[name]);
    return value(app.settings) !== value(seen.before);
  });
  return (
    seen.steps >= (goal.steps ?? 0) &&
    (!goal.opened || seen.weight) &&
    (!goal.opened_unit || seen.unit) &&
    (!goal.phased || ["forward", "loss", "backward", "update"].every((phase) => pressed.has(phase))) &&
    seen.rates.size >= (goal.rates ?? 0) &&
    seen.distributions.size >= (goal.distributions ?? 0) &&
    seen.activations.size >= (goal.activations ?? 0) &&
    (!goal.raced || seen.raced) &&
    (!goal.changed || changed(goal.changed))
  );
}

function check() {
  if (current < 0 || !app.frame) return;
  seen.steps = Math.max(seen.steps, app.frame.step);
  if (app.frame.step >= 20) {
    seen.rates.add(app.settings.learning_rate);
    seen.distributions.add(app.settings.layers.map((layer) => layer.weights).join());
    seen.activations.add(app.settings.layers.map((layer) => layer.activation).join());
  }
  const task = byId("task");
  if (done() && !task.classList.contains("done")) {
    task.classList.add("done");
    task.textContent = `${TEXT.done} ${LESSONS[current].task}`;
  }
}

export function startLessons() {
  const select = /** @type {HTMLSelectElement} */ (byId("lesson"));
  select.replaceChildren(make("option", { value: "-1" }, TEXT.choose_lesson), ...LESSONS.map((lesson, k) => make("option", { value: String(k) }, lesson.name)));
  // A recorded run is there to be looked at: a lesson would put a training of its own in its place.
  if (select.parentElement) select.parentElement.hidden = Boolean(app.choices.run);
  select.onchange = () => begin(Number(select.value));
  on("draw", check);
  on("explained", (header) => {
    if (header.weight) seen.weight = true;
    else seen.unit = true;
    check();
  });
  on("race", () => {
    seen.raced = true;
    check();
  });
}
