// What a lesson gives to try: a few settings, each trained for some steps, with what came of them side by side.

import { app, colour, emit, make, on, shown } from "./app.js";
import { lineChart } from "./charts.js";
import { run } from "./loop.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./types.js").Lesson} Lesson @typedef {[number, number][]} Points */
/** What is kept of a try: its losses over the steps, the sizes of its gradients, the path of its first two weights. */
/** @typedef {{training: Points, test: Points, sizes: Points, path: Points, sizeNames: string[]}} Record */

/** @type {Lesson | null} */
let lesson = null;
/** @type {(name: string) => void} */
let tell = () => {};
/** @type {Map<string, Record>} */
let records = new Map();
/** The number of the try under way; -1 for none. */
let current = -1;
/** How far it has got: its settings are sent, its network is there, it trains. @type {"sent" | "built" | "running"} */
let stage = "sent";
/** The name of the try begun last. */
let latest = "";
/** Whether the settings that are sent are those of a try. */
let setting = false;

/** The buttons of a lesson's tries. @param {Lesson} of @param {(name: string) => void} call told of each that is complete */
export function triesOf(of, call) {
  [lesson, tell, records, current] = [of, call, new Map(), -1];
  const buttons = (of.tries ?? []).map((one, k) => make("button", { className: "try", "data-try": String(k), onclick: () => begin(k) }, one.name, make("small", {})));
  return make("div", { className: "choices" }, ...buttons);
}

/** Forget the tries: the lesson is over. */
export function endTries() {
  lesson = null;
  current = -1;
}

/** @param {number} number */
function begin(number) {
  if (!lesson?.tries) return;
  current = number;
  stage = "sent";
  latest = lesson.tries[number].name;
  records.set(latest, { training: [], test: [], sizes: [], path: [], sizeNames: [] });
  setting = true;
  emit("preset", { settings: { ...structuredClone(lesson.settings), ...structuredClone(lesson.tries[number].settings) } });
  setting = false;
}

/** Keep what a frame shows of the try under way; start it, and see when it is complete. */
function follow() {
  const one = lesson?.tries?.[current];
  const { frame } = app;
  if (!one || !frame || stage === "sent") return;
  const record = /** @type {Record} */ (records.get(one.name));
  const steps = one.steps ?? 0;
  keep(record, frame);
  describe(current, record);
  if (frame.step >= steps) {
    current = -1;
    tell(one.name);
  } else if (stage === "built") {
    stage = "running";
    run({ speed: one.speed ?? 0, until: steps });
  }
  draw();
}

/** @param {Record} record @param {import("./types.js").Frame} frame */
function keep(record, frame) {
  if (frame.loss !== null) record.training.push([frame.step, frame.loss]);
  if (frame.held?.loss) record.test.push([frame.step, frame.held.loss]);
  const weights = app.arrays.weights?.data;
  if (weights) record.path.push([weights[0], weights[1]]);
  const sizes = Object.entries(frame.gradient_sizes ?? {}).filter(([name]) => name.endsWith(".W"));
  record.sizes = sizes.map(([, size], k) => [k + 1, size]);
  record.sizeNames = sizes.map(([name]) => name);
}

/** Say on its button what came of a try. @param {number} number @param {Record} record */
function describe(number, record) {
  const place = document.querySelector(`[data-try="${number}"] small`);
  const [first, last] = [record.training[0], record.training[record.training.length - 1]];
  if (!place || !last) return;
  if (!lesson?.tries?.[number].steps) place.textContent = TEXT.drawn;
  else if (lesson.chart === "both") place.textContent = t("try_both", { training: shown(last[1]), test: shown(record.test[record.test.length - 1]?.[1]) });
  else if (lesson.chart === "sizes") place.textContent = record.sizes.length ? t("try_sizes", { first: shown(record.sizes[0][1]), last: shown(record.sizes[record.sizes.length - 1][1]) }) : "";
  else place.textContent = t("try_loss", { from: shown(first[1]), to: shown(last[1]) });
}

/** The chart of all tries so far. */
function draw() {
  const canvas = document.getElementById("lesson-chart");
  if (!lesson || !(canvas instanceof HTMLCanvasElement)) return;
  const series = Array.from(records, ([name, record]) => ({ name, record }));
  if (lesson.chart === "path") return drawPaths(canvas, series);
  if (lesson.chart === "sizes") lineChart(canvas, series.map(({ name, record }, k) => ({ name, points: record.sizes, colour: colour(COLOURS[k]) })));
  else if (lesson.chart === "loss") lineChart(canvas, series.map(({ name, record }, k) => ({ name, points: record.training, colour: colour(COLOURS[k]) })));
  else lineChart(canvas, series.flatMap(({ name, record }, k) => [
    { name, points: record.training, colour: colour(COLOURS[k]) }, { name: t("test_of", { name }), points: record.test, colour: colour(COLOURS[k]), dash: [5, 3] },
  ]));
}

/** The theme's colours that tell tries apart. */
const COLOURS = ["plus", "minus", "good"];

/**
 * The paths of the two weights, seen from above and turned by 45 degrees: the ravine lies along the diagonal.
 * @param {HTMLCanvasElement} canvas @param {{name: string, record: Record}[]} series
 */
function drawPaths(canvas, series) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.scale(scale, scale);
  const turned = series.map(({ record }) => record.path.map(([a, b]) => [a - b, a + b]));
  const [along, across] = [0, 1].map((k) => turned.flat().map((point) => point[k]));
  const range = (/** @type {number[]} */ values) => [Math.min(...values), Math.max(...values)];
  const [[left, right], [low, high]] = [range(along), range(across)];
  const x = (/** @type {number} */ v) => 20 + ((width - 28) * (v - left)) / (right - left || 1);
  const y = (/** @type {number} */ v) => 18 + (height - 36) * (1 - (v - low) / (high - low || 1));
  pen.fillStyle = colour("soft-ink");
  pen.font = "11px system-ui, sans-serif";
  pen.fillText(TEXT.along, 20, height - 4);
  pen.save();
  pen.rotate(-Math.PI / 2);
  pen.fillText(TEXT.across, 18 - height, 12);
  pen.restore();
  series.forEach(({ name }, k) => {
    const now = name === latest || series.length === 1;
    pen.globalAlpha = now ? 1 : 0.45;
    pen.strokeStyle = pen.fillStyle = colour(COLOURS[k]);
    pen.lineWidth = now ? 1.8 : 1.2;
    pen.beginPath();
    for (const [u, v] of turned[k]) pen.lineTo(x(u), y(v));
    pen.stroke();
    for (const [u, v] of turned[k]) pen.fillRect(x(u) - 1.5, y(v) - 1.5, 3, 3);
    pen.globalAlpha = 1;
    if (now) pen.fillText(name, 60, 11);
  });
  canvas.setAttribute("aria-label", series.map(({ name, record }) => `${name}: ${record.path.length}`).join(", "));
}

export function startTries() {
  on("built", () => (stage = "built"));
  on("draw", follow);
  on("redraw", draw);
  // Other settings end the try under way.
  on("settings", () => {
    if (!setting) current = -1;
  });
  on("error", () => (current = -1));
}
