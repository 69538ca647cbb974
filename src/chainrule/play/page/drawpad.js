// A digit drawn by hand: where it is drawn, what the learner says it is, and what the network says. The engine makes a
// picture of it like those of the data set, which takes the place of the mini-batch's sample on the stage.

import { app, byId, colour, make, on } from "./app.js";
import { pen } from "./charts.js";
import { quantities } from "./highlight.js";
import { TEXT } from "./text.js";

/** @typedef {import("./types.js").OwnView} OwnView */
/** The width of the line while one draws, and how far an arrow key moves, as shares of the pad's side. */
const [LINE, STEP] = [0.07, 0.05];

/** The lines that were drawn, each a list of points from 0 to 1. @type {[number, number][][]} */
let strokes = [];
/** The class that the learner says it is; null before. @type {number | null} */
let label = null;
/** Whether it is the sample on the stage. */
let shown = false;
/** Where the keyboard's pen is, and whether it draws. @type {{at: [number, number], down: boolean} | null} */
let keys = null;
/** What the network says. @type {OwnView | null} */
let said = null;

const pad = () => /** @type {HTMLCanvasElement} */ (byId("pad"));

/** Put it on the stage, or the mini-batch's sample again. @param {boolean} wanted */
function show(wanted) {
  if (!wanted && !shown) return;
  shown = wanted && strokes.length > 0;
  if (!shown) said = null;
  app.send({ type: "draw", strokes: shown ? strokes : [], label });
  draw();
}

/** What is drawn, the pen of the keyboard, and the words. */
function draw() {
  if (byId("drawpad").hidden) return;
  const [ink, side] = pen(pad());
  ink.strokeStyle = ink.fillStyle = colour("ink");
  ink.lineWidth = LINE * side;
  ink.lineCap = ink.lineJoin = "round";
  for (const line of strokes) {
    ink.beginPath();
    line.forEach(([x, y], k) => (k ? ink.lineTo(x * side, y * side) : ink.moveTo(x * side, y * side)));
    if (line.length === 1) ink.lineTo(line[0][0] * side + 0.1, line[0][1] * side);
    ink.stroke();
  }
  if (keys) {
    ink.beginPath();
    ink.arc(keys.at[0] * side, keys.at[1] * side, LINE * side, 0, 7);
    ink.lineWidth = 2;
    ink.strokeStyle = colour(keys.down ? "minus" : "accent");
    ink.stroke();
  }
  pad().classList.toggle("shown", shown);
  byId("pad-hint").hidden = strokes.length > 0;
  /** @type {HTMLButtonElement} */ (byId("pad-clear")).disabled = !strokes.length;
  byId("pad-show").hidden = shown || !strokes.length;
  byId("pad-says").hidden = !said || !shown;
  if (said && shown) says(said);
}

/** The prediction in words and as bars; with a label, the loss, and how it depends on the pixels. @param {OwnView} own */
function says(own) {
  const p = own.predictions[own.classes.indexOf(own.predicted)];
  const percent = p === undefined ? "" : ` (${(100 * p).toFixed(p > 0.9995 ? 0 : 1)} %)`;
  byId("pad-words").replaceChildren(TEXT.pad_predicted, make("b", {}, own.predicted), percent);
  byId("pad-bars").replaceChildren(...own.predictions.map((share, k) => {
    const bar = make("i", {});
    bar.style.height = `${Math.max(1, 100 * share)}%`;
    const right = own.classes[k] === own.label;
    return make("span", { className: right ? "right" : "", title: `${own.classes[k]}: ${(100 * share).toFixed(1)} %` }, make("span", {}, bar), own.classes[k]);
  }));
  byId("pad-loss").replaceChildren(...(own.loss_line ? quantities(own.loss_line) : [TEXT.pad_say]));
  const about = own.slopes ? TEXT.pad_slopes : TEXT.pad_picture;
  byId("pad-about").textContent = about;
  byId("pad-picture").setAttribute("aria-label", about);
  picture(own);
}

/** The picture as the network gets it and, with a label, over it how the loss depends on each pixel. @param {OwnView} own */
function picture({ picture, slopes }) {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("pad-picture"));
  [canvas.height, canvas.width] = picture.shape;
  const at = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  picture.ink.forEach((ink, k) => {
    const [x, y] = [k % canvas.width, Math.floor(k / canvas.width)];
    const grey = 255 - Math.round((slopes ? 110 : 255) * ink);
    at.globalAlpha = 1;
    at.fillStyle = `rgb(${grey},${grey},${grey})`;
    at.fillRect(x, y, 1, 1);
    if (!slopes) return;
    at.globalAlpha = Math.abs(slopes[k]);
    at.fillStyle = slopes[k] > 0 ? "#006ca8" : "#bd4e00"; // as everywhere: blue above 0
    at.fillRect(x, y, 1, 1);
  });
}

/** Where on the pad a pointer is. @param {PointerEvent} event @returns {[number, number]} */
function place(event) {
  const box = pad().getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function pointers() {
  let drawing = false;
  pad().onpointerdown = (event) => {
    drawing = true;
    keys = null;
    pad().setPointerCapture(event.pointerId);
    strokes.push([place(event)]);
    draw();
  };
  pad().onpointermove = (event) => {
    if (!drawing) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) strokes[strokes.length - 1].push(place(one));
    draw();
  };
  pad().onpointerup = pad().onpointercancel = () => {
    if (drawing) show(true);
    drawing = false;
  };
}

/** Draw by the arrow keys, with the pen put down or lifted by the space bar. @param {KeyboardEvent} event */
function onKey(event) {
  const way = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] })[event.key];
  if (!way && event.key !== " ") return;
  event.preventDefault();
  event.stopPropagation();
  keys ??= { at: [0.5, 0.2], down: false };
  if (way) keys.at = [Math.min(1, Math.max(0, keys.at[0] + way[0])), Math.min(1, Math.max(0, keys.at[1] + way[1]))];
  else keys.down = !keys.down;
  if (keys.down && !way) strokes.push([keys.at]);
  else if (keys.down) strokes[strokes.length - 1].push(keys.at);
  if (strokes.length && (keys.down || !way)) show(true);
  draw();
}

function build() {
  const canvas = make("canvas", { id: "pad", tabIndex: 0, role: "img", "aria-label": TEXT.pad_label, onkeydown: onKey, onblur: () => { keys = null; draw(); } });
  const options = [make("option", { value: "" }, "?"), ...(app.built?.classes ?? []).map((name, k) => make("option", { value: String(k) }, name))];
  const choose = make("select", { id: "pad-label", onchange: () => { label = choose.value === "" ? null : Number(choose.value); show(true); } }, ...options);
  choose.value = label === null ? "" : String(label);
  const clear = make("button", { id: "pad-clear", type: "button", onclick: () => { strokes = []; label = null; choose.value = ""; show(false); draw(); } }, TEXT.pad_clear);
  const again = make("button", { id: "pad-show", type: "button", onclick: () => show(true) }, TEXT.pad_show);
  byId("drawpad").replaceChildren(
    make("h3", {}, TEXT.pad_title), make("div", { className: "pad" }, canvas, make("span", { id: "pad-hint", className: "hint" }, TEXT.pad_hint)),
    make("div", { className: "edit" }, make("label", {}, `${TEXT.pad_is} `, choose), clear, again),
    make("div", { id: "pad-says", role: "status" }, make("p", { id: "pad-words" }), make("div", { id: "pad-bars", "aria-hidden": "true" }), make("p", { id: "pad-loss", className: "hint" }),
      make("div", { id: "pad-input" }, make("canvas", { id: "pad-picture", role: "img" }), make("p", { className: "hint", id: "pad-about" }))));
  pointers();
}

export function startDrawpad() {
  on("built", ({ header }) => {
    byId("drawpad").hidden = !header.drawable || app.saved;
    document.body.dataset.drawable = String(header.drawable);
    said = null;
    if (!header.drawable) return;
    build();
    if (shown) show(true); // the same drawing, seen by another network
    draw();
  });
  on("own", ({ header }) => (said = header));
  on("draw", draw);
  on("redraw", draw);
  for (const event of ["sample", "first"]) on(event, () => show(false));
}
