// The mini-batch: its samples as buttons and, for points of the plane, where they lie. One of them is on the stage.

import { app, byId, emit, make, on } from "./app.js";
import { look } from "./charts.js";
import { quantityOf } from "./highlight.js";
import { shade } from "./output.js";
import { glyph } from "./sequence.js";
import { figure, has, shownStep } from "./stage.js";
import { TEXT, t } from "./text.js";

const MOST_CHIPS = 12;

/** Whether a row of the training set is on the stage that was chosen elsewhere. @param {any} scene */
const isChosen = (scene) => scene && (scene.chosen ?? null) !== null;

/** Put a sample of the mini-batch on the stage. @param {number} sample */
function choose(sample) {
  if (app.chosen || isChosen(shownStep())) app.send({ type: "show row" });
  app.chosen = false;
  app.sample = sample;
  emit("sample");
  look();
}

/** The prediction, of several classes the likeliest. @param {Pick<import("./types.js").SceneOutput, "predictions" | "names" | "bars" | "decided">} output */
export function predicted({ predictions, names, bars, decided }) {
  if (decided !== undefined) return t("decided", { name: decided, p: figure(predictions[predictions.length - 1]) });
  if (!bars && predictions.length > 1) return predictions.slice(0, 3).map((value, k) => `${names[k]} ${figure(value)}`).join(", ") + (predictions.length > 3 ? ", …" : "");
  const most = predictions.indexOf(Math.max(...predictions));
  const { text, symbols } = app.built?.sequence ?? { text: false, symbols: [] };
  return bars ? t("likeliest", { name: text ? t("token", { token: glyph(symbols[most]) }) : names[most], p: figure(predictions[most]) }) : `prediction ${figure(predictions[0])}`;
}

/** Which sample is on the stage. @param {any} scene */
export function sampleWords(scene) {
  if (isChosen(scene)) return t("chosen_row", { row: scene.chosen_row.toLocaleString("en") });
  return scene.sample < 0 ? TEXT.own_sample : t("batch_words", { number: scene.sample + 1, count: scene.rows.length });
}

function show() {
  const scene = shownStep();
  if (!scene) return;
  const chips = scene.rows.slice(0, MOST_CHIPS).map((row, k) =>
    make("button", { className: k === scene.sample ? "chip chosen" : "chip", onclick: () => choose(k), title: t("sample_row", { row: scene.numbers[k].toLocaleString("en"), sample: row }), "aria-pressed": String(k === scene.sample) }, String(k + 1)));
  const more = scene.rows.length > MOST_CHIPS ? [make("span", { className: "hint" }, `+ ${scene.rows.length - MOST_CHIPS}`)] : [];
  byId("batch-chips").replaceChildren(...chips, ...more);
  const number = isChosen(scene) ? undefined : scene.numbers[scene.sample];
  byId("batch-words").textContent = number ? t("batch_row", { sample: sampleWords(scene), row: number.toLocaleString("en") }) : sampleWords(scene);
  const rows = scene.table.map(([name, value], k) => make("tr", {}, make("th", {}, name), make("td", {}, quantityOf(`input[${k}]`, "value", value))));
  const targets = scene.output.target_text ? [make("tr", {}, make("th", {}, TEXT.target), make("td", {}, scene.output.target_text))] : [];
  const { decided, decision_text } = scene.output;
  const decisions = decided !== undefined && has("forward") ? [make("tr", {}, make("th", {}, TEXT.predicted_class), make("td", {}, decided, make("br"), make("small", { className: "hint" }, decision_text ?? "")))] : [];
  byId("batch-sample").replaceChildren(...rows, ...targets, ...decisions);
  const { batch_loss, batch_loss_after } = scene.output;
  const known = has("loss") && scene.sample >= 0 ? t(has("next") ? "batch_loss_after" : "batch_loss", { loss: figure(batch_loss), after: figure(batch_loss_after) }) : "";
  byId("batch-loss").textContent = known;
  const { in_use } = scene.output;
  byId("batch-in-use").textContent = in_use && has("forward") ? t("in_use", { prediction: predicted(in_use) }) : "";
  drawPoints(scene);
  drawPicture(scene);
}

/** The sample itself, if it is a picture. @param {import("./types.js").Scene | import("./types.js").MapsMessage | import("./types.js").SequenceMessage} scene */
function drawPicture(scene) {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("batch-picture"));
  canvas.hidden = !scene.picture || (scene.sample < 0 && !isChosen(scene)); // what the user drew has a place of its own
  if (!scene.picture) return;
  const [rows, across] = scene.picture.shape;
  const pixels = new ImageData(across, rows);
  scene.picture.ink.forEach((ink, k) => pixels.data.set([255 * (1 - ink), 255 * (1 - ink), 255 * (1 - ink), 255], 4 * k));
  [canvas.width, canvas.height] = [across, rows];
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}

/** The points of the batch in the plane, the one on the stage ringed. @param {import("./types.js").Scene | import("./types.js").MapsMessage | import("./types.js").SequenceMessage} scene */
function drawPoints(scene) {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("batch-plane"));
  const { points, targets } = app.fixed;
  canvas.hidden = !points;
  if (!points || !app.built) return;
  const scale = window.devicePixelRatio || 1;
  const size = canvas.clientWidth || 180;
  canvas.width = canvas.height = Math.round(size * scale);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  shade(pen, size);
  const { extent } = app.built;
  const place = (/** @type {number} */ row) => [size * (points.data[2 * row] / extent + 1) / 2, size * (1 - points.data[2 * row + 1] / extent) / 2];
  for (let row = 0; row < targets.data.length; row++) {
    const [x, y] = place(row);
    const k = scene.rows.indexOf(row);
    pen.globalAlpha = k < 0 ? 0.45 : 1;
    pen.fillStyle = targets.data[row] > 0.5 ? "#004f86" : "#a33f00"; // seen on the colours of the plane, in either theme
    pen.beginPath();
    pen.arc(x, y, k < 0 ? 2 : 4, 0, 7);
    pen.fill();
    if (isChosen(scene) ? row !== scene.chosen : k < 0 || k !== scene.sample) continue;
    pen.strokeStyle = "#111";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, 7, 0, 7);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

export function startBatch() {
  for (const event of ["stage", "redraw"]) on(event, show);
  byId("batch-plane").onclick = (/** @type {MouseEvent} */ event) => {
    const scene = shownStep();
    const { points } = app.fixed;
    const extent = app.built?.extent ?? 1;
    if (!scene || !points) return;
    const box = byId("batch-plane").getBoundingClientRect();
    const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const away = (/** @type {number} */ row) => Math.hypot((points.data[2 * row] / extent + 1) / 2 - at[0], (1 - points.data[2 * row + 1] / extent) / 2 - at[1]);
    const nearest = scene.rows.reduce((best, row, k) => (away(row) < away(scene.rows[best]) ? k : best), 0);
    choose(nearest);
  };
}
