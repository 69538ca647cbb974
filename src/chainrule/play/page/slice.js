// The slice: the loss of the mini-batch as only the opened weight changes, with the tangent at its
// value and the step that gradient descent takes.

import { app, byId, on } from "./app.js";
import { figure, has, svg } from "./stage.js";
import { TEXT, t } from "./text.js";

const [WIDTH, HEIGHT, LEAST, TOP, BOTTOM] = [310, 150, 44, 8, 20];
/** The width of a character of its texts, at most. */
const CHARACTER = 7;

/** @type {import("./types.js").Slice | null} */
let slice = null;

function draw() {
  const box = byId("slice");
  box.hidden = slice === null;
  if (!slice) return;
  const losses = slice.losses.filter((loss) => loss !== null);
  const values = slice.values.filter((_, k) => slice?.losses[k] !== null);
  if (slice.loss === null || slice.next_loss === null || !losses.length) {
    byId("slice-picture").replaceChildren();
    byId("slice-words").textContent = slice.step_words;
    return;
  }
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const left = Math.max(LEAST, 6 + CHARACTER * Math.max(...[low, high].map((loss) => figure(loss).length)));
  const x = (/** @type {number} */ v) => left + ((WIDTH - left - 6) * (v - values[0])) / (values[values.length - 1] - values[0]);
  const y = (/** @type {number} */ v) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (v - low) / (high - low || 1));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": t("slice_label", { weight: slice.weight, value: figure(slice.value), slope: figure(slice.gradient) }) });
  picture.append(svg("clipPath", { id: "inside" }, svg("rect", { x: left, y: TOP, width: WIDTH - left - 6, height: HEIGHT - TOP - BOTTOM })));
  picture.append(svg("rect", { x: left, y: TOP, width: WIDTH - left - 6, height: HEIGHT - TOP - BOTTOM, class: "frame" }));
  for (const value of [low, high]) picture.append(svg("text", { x: left - 4, y: y(value) + (value === high ? 9 : 0), class: "tick end" }, figure(value)));
  for (const value of [values[0], values[values.length - 1]]) picture.append(svg("text", { x: x(value), y: HEIGHT - 6, class: value === values[0] ? "tick" : "tick end" }, figure(value)));
  picture.append(svg("text", { x: (left + WIDTH) / 2, y: HEIGHT - 6, class: "tick middle" }, slice.weight.length > 24 ? slice.weight.split(".").slice(-2).join(".") : slice.weight));
  picture.append(svg("polyline", { class: "curve", points: values.map((v, k) => `${x(v)},${y(losses[k])}`).join(" ") }));
  // The tangent, drawn as far as it stays inside.
  const reach = (values[values.length - 1] - values[0]) / 5;
  const ends = [slice.value - reach, slice.value + reach].map((v) => [x(v), y(slice ? slice.loss + slice.gradient * (v - slice.value) : 0)]);
  picture.append(svg("line", { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1], class: "tangent", "clip-path": "url(#inside)" }));
  const up = slice.gradient >= 0 ? ends[1] : ends[0];
  const half = Math.max(40, (CHARACTER / 2) * `${TEXT.slope} ${figure(slice.gradient)}`.length);
  picture.append(svg("text", { x: Math.min(WIDTH - half, Math.max(left + half, up[0])), y: Math.max(TOP + 11, up[1] - 6), class: "slope middle" }, `${TEXT.slope} `, svg("tspan", { "data-of": slice.weight, "data-shows": "gradient", "data-number": slice.gradient }, figure(slice.gradient))));
  if (has("gradient")) {
    const [from, to] = [x(slice.value), x(slice.next)];
    picture.append(svg("line", { x1: from, y1: HEIGHT - BOTTOM - 5, x2: to, y2: HEIGHT - BOTTOM - 5, class: "step" }));
    picture.append(svg("circle", { cx: to, cy: y(slice.next_loss), r: 5, class: "landing" }));
  }
  const focused = document.activeElement?.classList.contains("point");
  const point = svg("circle", { cx: x(slice.value), cy: y(slice.loss), r: 7, class: "point" });
  if (!app.saved) {
    const says = { tabindex: "0", role: "slider", "aria-label": slice.weight, "aria-valuemin": String(values[0]), "aria-valuemax": String(values[values.length - 1]), "aria-valuenow": String(slice.value) };
    for (const [name, value] of Object.entries(says)) point.setAttribute(name, value);
    point.append(svg("title", {}, TEXT.drag_point));
    push(point, (values[values.length - 1] - values[0]) / 40);
  }
  if (!app.saved) drag(point, picture, (across) => values[0] + ((across * WIDTH - left) / (WIDTH - left - 6)) * (values[values.length - 1] - values[0]));
  picture.append(point);
  byId("slice-picture").replaceChildren(picture);
  if (focused) point.focus();
  byId("slice-words").textContent = has("gradient") ? slice.step_words : `${slice.words} ${app.saved ? "" : TEXT.drag}`;
}

/**
 * Let the point be dragged: the weight takes the value where it is released.
 * @param {SVGElement} point @param {SVGElement} picture @param {(across: number) => number} value
 */
function drag(point, picture, value) {
  const across = (/** @type {PointerEvent} */ event) => {
    const box = picture.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  point.onpointerdown = (event) => point.setPointerCapture(event.pointerId);
  point.onpointermove = (event) => {
    if (point.hasPointerCapture(event.pointerId)) point.setAttribute("cx", String(across(event) * WIDTH));
  };
  point.onpointerup = (event) => {
    if (slice) app.send({ type: "set weight", weight: slice.weight, value: value(across(event)) });
  };
}

/** Let the arrow keys move the point. @param {SVGElement} point @param {number} by how far */
function push(point, by) {
  const ways = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 });
  point.onkeydown = (event) => {
    const way = ways[event.key];
    if (!way || !slice) return;
    event.preventDefault();
    event.stopPropagation();
    app.send({ type: "set weight", weight: slice.weight, value: slice.value + way * by });
  };
}

export function startSlice() {
  on("slice", ({ header }) => {
    slice = header;
    draw();
  });
  on("selected", (/** @type {string} */ name) => {
    if (slice && slice.weight !== name) slice = null;
    draw();
  });
  on("built", () => {
    slice = null;
    draw();
  });
  on("stage", () => slice && draw());
}
