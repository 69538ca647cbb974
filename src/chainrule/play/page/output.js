// What the network gives: the plane coloured by its prediction, with the points; for other data a confusion matrix, or
// predicted beside true. In the plane one draws points of one's own.

import { app, byId, heldOut, make, on, shown } from "./app.js";
import { apply, classToDraw } from "./controls.js";
import { TEXT, t } from "./text.js";
import { scatter } from "./charts.js";

const scratch = document.createElement("canvas");

/** Colour the plane by the prediction. @param {CanvasRenderingContext2D} pen @param {number} size */
export function shade(pen, size) {
  const prediction = app.arrays.prediction;
  if (!app.built?.plane || !prediction) return;
  const side = Math.round(Math.sqrt(prediction.data.length));
  const pixels = new ImageData(side, side);
  prediction.data.forEach((value, k) => {
    const v = value / 127.5 - 1;
    const [r, g, b] = v >= 0 ? [0, 114, 178] : [224, 108, 20];
    const share = Math.abs(v) * 0.75;
    pixels.data.set([255 + (r - 255) * share, 255 + (g - 255) * share, 255 + (b - 255) * share, 255], 4 * k);
  });
  scratch.width = scratch.height = side;
  scratch.getContext("2d")?.putImageData(pixels, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(scratch, 0, 0, size, size);
}

function drawPlane() {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("plane"));
  const pen = canvas.getContext("2d");
  if (pen && isDrawing()) drawOwn(pen);
  if (!pen || !app.built?.plane || !app.arrays.prediction) return;
  shade(pen, canvas.width);
  points(pen, app.fixed.points, app.fixed.targets, false);
  points(pen, app.fixed.held, app.fixed.held_targets, true);
}

/** Whether too few points are drawn for a network. */
const isDrawing = () => document.body.dataset.points === "few";

/** Whether there is only the plane to draw in, and nothing to train. @param {boolean} drawing */
function setDrawing(drawing) {
  document.body.dataset.points = drawing ? "few" : "";
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("#run, #step, #epoch, #back, #reset, #take"))) button.disabled = drawing;
}

/** The points drawn so far, while there is no network yet. @param {CanvasRenderingContext2D} pen */
function drawOwn(pen) {
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
  for (const [x1, x2, label] of app.settings.data.points) point(pen, x1, x2, label > 0.5, false);
}

/**
 * @param {CanvasRenderingContext2D} pen @param {import("./types.js").NamedArray | undefined} places
 * @param {import("./types.js").NamedArray | undefined} targets @param {boolean} ringed
 */
function points(pen, places, targets, ringed) {
  if (!places || !targets || !app.built) return;
  const middle = app.built.task === "classification" ? 0.5 : 0;
  for (let k = 0; k < places.shape[0]; k++) point(pen, places.data[2 * k], places.data[2 * k + 1], targets.data[k] > middle, ringed);
}

/** One point. @param {CanvasRenderingContext2D} pen @param {number} x1 @param {number} x2 @param {boolean} high @param {boolean} ringed */
function point(pen, x1, x2, high, ringed) {
  const { extent } = app.choices;
  const size = pen.canvas.width;
  const [x, y] = [((x1 + extent) / (2 * extent)) * size, ((extent - x2) / (2 * extent)) * size];
  pen.beginPath();
  // What colour says, shape says too: one class is round, the other square.
  if (high) pen.arc(x, y, 4, 0, 7);
  else pen.rect(x - 3.5, y - 3.5, 7, 7);
  pen.fillStyle = high ? "#004f86" : "#a33f00";
  pen.fill();
  pen.lineWidth = ringed ? 2 : 1;
  pen.strokeStyle = ringed ? "#111" : "#fff";
  pen.stroke();
}

function drawOthers() {
  const box = byId("others");
  const { built, arrays } = app;
  if (!built || built.plane) {
    box.replaceChildren(make("p", { className: "hint" }, `${TEXT.training_point}, ${TEXT.test_point}`));
    return;
  }
  if (arrays.confusion) box.replaceChildren(confusion(built.classes, arrays.confusion.data));
  else if (arrays.true && arrays.predicted) {
    let canvas = /** @type {HTMLCanvasElement | null} */ (box.querySelector("canvas"));
    if (!canvas) {
      canvas = make("canvas", { className: "chart tall", role: "img", "aria-label": `${TEXT.predicted_value} / ${TEXT.true_value}` });
      box.replaceChildren(/** @type {any} */ (canvas));
    }
    const each = app.frame?.held_targets ?? [];
    const of = each.length ? ` ${each[0].name}` : "";
    scatter(/** @type {any} */ (canvas), arrays.true.data, arrays.predicted.data, [TEXT.true_value + of, TEXT.predicted_value + of]);
    box.querySelector("table")?.remove();
    if (each.length) box.append(targets(each));
  }
}

/** The scores of each of several targets, in its own unit. @param {NonNullable<import("./types.js").Frame["held_targets"]>} each */
function targets(each) {
  const head = make("tr", {}, ...[TEXT.target, "R2", "MAE", "RMSE"].map((name) => make("th", { scope: "col" }, name)));
  const rows = each.map((one) => make("tr", {}, make("th", { scope: "row" }, one.name), ...["r2", "mae", "rmse"].map((metric) => make("td", {}, shown(one[metric])))));
  return make("table", { className: "confusion" }, make("caption", { className: "hint" }, t("each_target", { set: heldOut() })), head, ...rows);
}

/** @param {string[]} classes @param {import("./types.js").Numbers} counts */
function confusion(classes, counts) {
  const n = classes.length;
  const most = Math.max(...counts, 1);
  const head = make("tr", {}, make("th", { title: TEXT.true_class }, "↓ →"), ...classes.map((name) => make("th", { scope: "col" }, name.slice(0, 10))));
  const rows = classes.map((name, i) => make("tr", {}, make("th", { scope: "row" }, name.slice(0, 10)), ...classes.map((_, j) => {
    const count = counts[i * n + j];
    const cell = make("td", { title: `${TEXT.true_class} ${name}, ${TEXT.predicted_class} ${classes[j]}` }, count ? String(count) : "");
    const share = Math.round((100 * count) / most);
    cell.style.background = count ? `color-mix(in srgb, var(--${i === j ? "plus" : "minus"}) ${Math.max(10, 0.45 * share)}%, transparent)` : "";
    return cell;
  })));
  return make("table", { className: "confusion" }, make("caption", { className: "hint" }, `${TEXT.true_class} ↓, ${TEXT.predicted_class} →`, ...decidedBy(classes)), head, ...rows);
}

/** How classes are decided between, where the run has a threshold. @param {string[]} classes */
function decidedBy(classes) {
  const threshold = app.built?.threshold ?? null;
  return threshold === null ? [] : [make("br"), t("decided_by", { name: classes[1], threshold: shown(threshold) })];
}

export function startOutput() {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("plane"));
  on("too few points", ({ header }) => {
    setDrawing(true);
    byId("drawing-words").textContent = header.words;
    byId("drawing-words").hidden = canvas.hidden = false;
    canvas.classList.add("pencil");
    canvas.setAttribute("aria-label", header.words);
    byId("others").replaceChildren();
  });
  on("built", () => {
    setDrawing(false);
    byId("drawing-words").hidden = true;
    canvas.hidden = !app.built?.plane;
    canvas.classList.toggle("pencil", app.settings.data.kind === "drawn");
    canvas.setAttribute("aria-label", `${TEXT.output}: ${app.built?.data}`);
    byId("others").replaceChildren();
  });
  for (const event of ["draw", "redraw"]) on(event, () => {
    drawPlane();
    if (app.frame?.held) drawOthers();
  });
  /** @param {MouseEvent} event @returns {[number, number]} */
  const there = (event) => {
    const box = canvas.getBoundingClientRect();
    const { extent } = app.choices;
    const [a, b] = [((event.clientX - box.left) / box.width) * 2 * extent - extent, extent - ((event.clientY - box.top) / box.height) * 2 * extent];
    return [Number(a.toFixed(3)), Number(b.toFixed(3))];
  };
  canvas.onmousemove = (event) => {
    const [a, b] = there(event);
    const prediction = app.arrays.prediction;
    if (!prediction || !app.built) return;
    const side = Math.round(Math.sqrt(prediction.data.length));
    const at = Math.min(side - 1, Math.floor(((app.built.extent - b) / (2 * app.built.extent)) * side)) * side + Math.min(side - 1, Math.floor(((a + app.built.extent) / (2 * app.built.extent)) * side));
    const said = app.built.task === "classification" ? `P(${app.built.classes[1]}) = ${shown(prediction.data[at] / 255)}` : `${TEXT.predicted_value} ${shown(4 * (prediction.data[at] / 255 - 0.5))}`;
    canvas.title = `x1 = ${a}, x2 = ${b}: ${said}`;
  };
  canvas.onclick = (event) => {
    if (app.settings.data.kind !== "drawn") return;
    const kind = event.shiftKey ? 1 : classToDraw();
    app.settings.data.points.push([...there(event), kind]);
    apply();
  };
}
