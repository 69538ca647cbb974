// The lessons: each asks for a prediction, gives something to do, sees when it is done, and then says which answer was
// right, and why. What they say is in lessons.json, where tests read it too.

import { app, byId, emit, make, on } from "./app.js";
import { look } from "./charts.js";
import { drawnWeights } from "./draws.js";
import { pressed } from "./loop.js";
import { figure, has, isBackwardComplete, knows, select, shownScene, shownStep } from "./stage.js";
import { takesNext } from "./attention.js";
import { TEXT, t } from "./text.js";
import { endTries, startTries, triesOf } from "./tries.js";
import { comesBack } from "./unrolled.js";

/** @typedef {import("./types.js").Lesson} Lesson */

/** @type {Lesson | null} */
let lesson = null;
/** The answer that was chosen; -1 before. */
let answer = -1;
/** What was seen since the lesson began. */
let seen = fresh();

function fresh() {
  return { losses: /** @type {Map<number, number>} */ (new Map()), nudges: new Set(), weights: new Set(), selected: /** @type {Set<string>} */ (new Set()), tries: new Set(), back: /** @type {Set<string>} */ (new Set()), opened: /** @type {string[]} */ ([]), takesNext: false, delta: false, dead: false };
}

/** When each kind of goal is reached. @type {Record<string, (wanted: any) => boolean>} */
const GOALS = {
  phases: (/** @type {string[]} */ names) => names.every((name) => pressed.has(name)),
  samples: (/** @type {number} */ count) => seen.losses.size >= count,
  largest: () => {
    const scene = shownScene();
    if (!scene || !has("loss") || seen.losses.size < scene.rows.length) return false;
    return scene.output.loss === Math.max(...seen.losses.values());
  },
  nudged: (/** @type {string} */ way) => seen.nudges.has(way),
  delta: () => seen.delta,
  weights: ({ count, negative }) => {
    const chosen = shownScene()?.weights.filter((weight) => seen.weights.has(weight.weight)) ?? [];
    return chosen.filter((weight) => !negative || weight.gradient < 0).length >= count;
  },
  reached: () => shownStep()?.phase === "backward" && isBackwardComplete(),
  dead: () => seen.dead,
  selected: (/** @type {string} */ beginning) => Array.from(seen.selected).some((name) => name.startsWith(beginning)),
  opened: (/** @type {string} */ beginning) => seen.opened.some((name) => name.startsWith(beginning)),
  back: (/** @type {string} */ found) => seen.back.has(found),
  takes_next: () => seen.takesNext,
  tries: (/** @type {number} */ count) => seen.tries.size >= count,
};

/** Begin a lesson, or end it with -1. @param {number} number */
export function begin(number) {
  lesson = app.choices.lessons[number] ?? null;
  answer = -1;
  seen = fresh();
  pressed.clear();
  endTries();
  /** @type {HTMLSelectElement} */ (byId("lesson")).value = String(number);
  byId("lesson-box").hidden = byId("lesson-bar").hidden = lesson === null;
  // The first minute makes room for the lesson.
  document.body.dataset.lesson = lesson?.id ?? "";
  if (!lesson) return;
  app.sample = 0;
  look();
  emit("preset", { settings: structuredClone(lesson.settings), edits: lesson.edits });
  show();
}

/** Draw the lesson: its words, and beside them the question, then what to do, then the answer. */
function show() {
  if (!lesson) return;
  const number = app.choices.lessons.indexOf(lesson);
  const title = t("lesson_title", { number: number + 1, count: app.choices.lessons.length, name: lesson.name });
  const words = [make("h2", {}, title), make("p", {}, lesson.words)];
  const tasks = answer < 0 ? question(lesson) : toDo(lesson);
  // The answer comes where there is room for it.
  (lesson.tries || lesson.by_hand ? words : tasks).push(make("p", { id: "verdict", hidden: true }));
  const chart = answer >= 0 && lesson.chart ? [make(lesson.chart === "drawn" ? "div" : "canvas", { id: "lesson-chart", role: "img" })] : [];
  byId("lesson-box").replaceChildren(make("div", { className: "lesson" }, make("div", {}, ...words), make("div", {}, ...tasks), ...chart));
  byId("next-lesson").hidden = number + 1 === app.choices.lessons.length;
  byId("next-lesson").classList.remove("primary");
  showDrawn();
  if (answer >= 0) check();
}

/** The question, asked before anything is shown. @param {Lesson} of @returns {HTMLElement[]} */
function question(of) {
  const answers = of.answers.map((words, k) => make("button", { className: "answer", onclick: () => predict(k) }, words));
  return [make("p", {}, `${TEXT.predict} `, make("b", {}, of.question)), make("div", { className: "choices" }, ...answers)];
}

/** @param {number} chosen */
function predict(chosen) {
  answer = chosen;
  show();
  byId("lesson-box").querySelector("ol")?.focus({ preventScroll: true });
  if (lesson?.open) select(lesson.open);
}

/** What to do. @param {Lesson} of @returns {HTMLElement[]} */
function toDo(of) {
  const items = of.todo.map(({ words }) => make("li", {}, words.replace("{tolerance}", String(of.by_hand?.tolerance))));
  return [
    make("p", { className: "hint", id: "predicted" }, t("predicted", { answer: of.answers[answer] })),
    make("ol", { id: "todo", tabIndex: -1 }, ...items),
    ...(of.tries ? [triesOf(of, (name) => seen.tries.add(name) && check())] : []),
    ...(of.by_hand ? [byHand(of.by_hand)] : []),
  ];
}

/** The weights of the first layer as they were drawn, where the lesson has a place for them. */
function showDrawn() {
  if (lesson?.chart === "drawn" && app.built) document.getElementById("lesson-chart")?.replaceChildren(drawnWeights(app.built.draws[0]));
}

/** The place for a δ computed by hand. @param {{unit: string, tolerance: number}} of */
function byHand({ unit, tolerance }) {
  const entry = make("input", { id: "by-hand", type: "text", inputMode: "decimal", size: 8, autocomplete: "off", "aria-label": t("by_hand", { unit }) });
  const said = make("output", { id: "by-hand-answer" });
  const form = make("form", { className: "edit" }, make("label", {}, `δ of ${unit} = `, entry), make("button", {}, TEXT.check), said);
  form.onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const entered = entry.value.trim().replace("−", "-").replace(",", ".");
    const delta = shownScene()?.layers.flatMap((layer) => layer.units).find((one) => one.unit === unit)?.delta;
    if (entered === "" || delta === undefined || !lesson) return;
    const right = Math.abs(Number(entered) - delta) <= tolerance;
    said.textContent = right ? t("correct", { unit, delta: figure(delta) }) : (lesson.hint ?? "").replace("{entered}", entered);
    said.className = right ? "done" : "wrong";
    seen.delta ||= right;
    check();
  };
  return form;
}

/** Tick what is done; after all of it, say which answer was right. */
function check() {
  if (!lesson || answer < 0) return;
  const items = byId("todo").children;
  const done = lesson.todo.map(({ goal }) => Object.entries(goal).every(([kind, wanted]) => GOALS[kind](wanted)));
  // What was done once stays done.
  done.forEach((reached, k) => reached && items[k].classList.add("done"));
  const verdict = byId("verdict");
  if (!verdict.hidden || Array.from(items).some((item) => !item.classList.contains("done"))) return;
  const right = answer === lesson.right;
  byId("predicted").hidden = true;
  verdict.hidden = false;
  verdict.className = right ? "done" : "wrong";
  verdict.replaceChildren(make("b", {}, t(right ? "right" : "wrong", { answer: lesson.answers[lesson.right] })), ` ${lesson.why}`);
  byId("next-lesson").classList.add("primary");
}

/** Keep what the page shows, as far as goals ask for it. */
function watch() {
  const scene = shownScene();
  if (!lesson || !scene) return;
  if (has("forward")) seen.losses.set(scene.sample, scene.output.loss);
  check();
}

/** Which way δ goes on its way back through time. */
function watchBack() {
  for (const found of comesBack()) seen.back.add(found);
  check();
}

export function startLessons() {
  const chooser = /** @type {HTMLSelectElement} */ (byId("lesson"));
  const names = app.choices.lessons.map((one, k) => make("option", { value: String(k) }, `${k + 1}. ${one.name}`));
  chooser.replaceChildren(make("option", { value: "-1" }, TEXT.choose_lesson), ...names);
  // A recorded run is there to be looked at: a lesson would put a training of its own in its place.
  if (chooser.parentElement) chooser.parentElement.hidden = Boolean(app.choices.run);
  chooser.onchange = () => begin(Number(chooser.value));
  byId("next-lesson").onclick = () => lesson && begin(app.choices.lessons.indexOf(lesson) + 1);
  byId("end-lesson").onclick = () => begin(-1);
  startTries();
  on("built", showDrawn);
  on("redraw", showDrawn);
  on("stage", watch);
  on("draw", check);
  on("selected", (name) => {
    if (has("next")) seen.weights.add(name);
    const [, layer] = /^(.*)\.[Wb]\[/.exec(name) ?? [];
    if (layer ? has("gradient") && knows(layer) : has("forward")) seen.selected.add(name);
    check();
  });
  on("nudged", ({ header }) => {
    seen.nudges.add(header.after < header.before ? "lower" : "higher");
    check();
  });
  on("stage", watchBack);
  on("explained", (header) => {
    if (header.called) seen.opened.push(header.called);
    seen.takesNext ||= takesNext();
    seen.dead ||= header.outputs?.zero === 1; // the share of the training set for which the unit gives 0
    check();
  });
}
