// Small charts of our own: lines, bars and points on a canvas, quick enough to be drawn with every frame.

import { app, byId, colour, make, on, shown } from "./app.js";
import { TEXT, t } from "./text.js";

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const MOST = 1200;

/** A series: a name, and points. @typedef {{name: string, points: [number, number][], dash?: number[], colour?: string}} Series */

/** @type {Record<string, [number, number][]>} */
let curves = {};
/** @type {Record<string, [number, number][]>} */
let sizes = {};

/** @param {HTMLCanvasElement} canvas @returns {[CanvasRenderingContext2D, number, number]} */
function pen(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 300, canvas.clientHeight || 140];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const made = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  made.setTransform(scale, 0, 0, scale, 0, 0);
  made.clearRect(0, 0, width, height);
  made.font = "11px system-ui, sans-serif";
  return [made, width, height];
}

/** Lines over steps; the heights on a logarithmic scale if all are above 0. @param {HTMLCanvasElement} canvas @param {Series[]} series */
export function lineChart(canvas, series) {
  const [draw, width, height] = pen(canvas);
  const values = series.flatMap((s) => s.points.map((p) => p[1])).filter((v) => Number.isFinite(v) && v > 0);
  canvas.setAttribute("aria-label", "");
  if (!values.length) return;
  const last = Math.max(1, ...series.map((s) => s.points.at(-1)?.[0] ?? 0));
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high <= low) [low, high] = [low / 2, high * 2];
  const [left, top, bottom] = [58, 6, 18];
  // The legend under it: as many names in a row as fit.
  let [across, rows] = [4, 1];
  const places = series.map((s) => {
    const wide = draw.measureText(s.name).width + 34;
    if (across > 4 && across + wide > width) [across, rows] = [4, rows + 1];
    across += wide;
    return { x: across - wide, row: rows };
  });
  const under = height - bottom - 13 * (rows - 1);
  const x = (/** @type {number} */ v) => left + ((width - left - 8) * v) / last;
  const y = (/** @type {number} */ v) => top + (under - top) * (1 - (Math.log(v) - Math.log(low)) / (Math.log(high) - Math.log(low)));
  draw.fillStyle = colour("soft-ink");
  draw.textAlign = "right";
  draw.fillText(shown(high), left - 5, top + 9);
  draw.fillText(shown(low), left - 5, under);
  draw.strokeStyle = colour("line");
  draw.strokeRect(left, top, width - left - 8, under - top);
  draw.textAlign = "left";
  series.forEach((s, k) => {
    draw.strokeStyle = s.colour ?? COLOURS[k % COLOURS.length];
    draw.setLineDash(s.dash ?? DASHES[Math.floor(k / COLOURS.length) % DASHES.length]);
    draw.lineWidth = 1.8;
    draw.beginPath();
    let open = false;
    for (const [step, value] of s.points) {
      if (!(Number.isFinite(value) && value > 0)) {
        open = false;
        continue;
      }
      if (open) draw.lineTo(x(step), y(value));
      else draw.moveTo(x(step), y(value));
      open = true;
    }
    draw.stroke();
    const [cx, cy] = [places[k].x, height - 5 - 13 * (rows - places[k].row)];
    draw.beginPath();
    draw.moveTo(cx, cy - 4);
    draw.lineTo(cx + 16, cy - 4);
    draw.stroke();
    draw.setLineDash([]);
    draw.fillStyle = colour("ink");
    draw.fillText(s.name, cx + 20, cy);
  });
  canvas.setAttribute("aria-label", series.map((s) => `${s.name}: ${shown(s.points.at(-1)?.[1])}`).join(", "));
}

/** Points, with the line on which they should lie. @param {HTMLCanvasElement} canvas @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {[string, string]} names */
export function scatter(canvas, xs, ys, names) {
  const [draw, width, height] = pen(canvas);
  const all = [...Array.from(xs), ...Array.from(ys)].filter(Number.isFinite);
  if (!all.length) return;
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const place = (/** @type {number} */ v, /** @type {number} */ from, /** @type {number} */ to) => from + ((to - from) * (v - low)) / (high - low || 1);
  draw.strokeStyle = colour("soft-ink");
  draw.beginPath();
  draw.moveTo(place(low, 40, width - 8), place(low, height - 24, 8));
  draw.lineTo(place(high, 40, width - 8), place(high, height - 24, 8));
  draw.stroke();
  draw.fillStyle = colour("plus");
  for (let k = 0; k < xs.length; k++) draw.fillRect(place(xs[k], 40, width - 8) - 1.5, place(ys[k], height - 24, 8) - 1.5, 3, 3);
  draw.fillStyle = colour("soft-ink");
  draw.fillText(`${names[0]} →   (${shown(low)} .. ${shown(high)})`, 44, height - 6);
  draw.fillText(`${names[1]} ↑`, 4, 14);
}

/** @param {HTMLCanvasElement} canvas @param {import("./types.js").Histogram} found @param {string} name */
function bars(canvas, found, name) {
  const [draw, width, height] = pen(canvas);
  const most = Math.max(...found.counts, 1);
  const wide = width / found.counts.length;
  draw.fillStyle = colour("plus");
  found.counts.forEach((count, k) => draw.fillRect(k * wide, (height - 14) * (1 - count / most), wide - 1, ((height - 14) * count) / most));
  draw.fillStyle = colour("soft-ink");
  draw.fillText(shown(found.low), 2, height - 2);
  draw.textAlign = "right";
  draw.fillText(shown(found.high), width - 2, height - 2);
  draw.textAlign = "center";
  draw.fillText(name, width / 2, height - 2);
  draw.textAlign = "left";
  canvas.setAttribute("aria-label", `${name}: ${shown(found.low)} .. ${shown(found.high)}`);
}

/** Add a point; where there are too many, every other one goes. @param {Record<string, [number, number][]>} all @param {string} name @param {number} step @param {number | null | undefined} value */
function add(all, name, step, value) {
  if (value === null || value === undefined) return;
  const points = (all[name] ??= []);
  while (points.length && points[points.length - 1][0] >= step) points.pop();
  points.push([step, value]);
  if (points.length > MOST) all[name] = points.filter((_, k) => k % 2 === 0);
}

/** Forget what was before: another network. */
function clear() {
  curves = {};
  sizes = {};
}

export function startCharts() {
  on("built", () => {
    clear();
    const select = /** @type {HTMLSelectElement} */ (byId("histogram-layer"));
    const before = select.value;
    const names = app.built?.layers.map((layer) => layer.name) ?? [];
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    select.value = names.includes(before) ? before : names[0] ?? "";
    byId("histograms").replaceChildren(...["weights", "activations", "gradients"].map((name) => make("canvas", { className: "chart", id: `histogram-${name}`, role: "img" })));
    look();
  });
  on("frame", () => {
    const { frame } = app;
    if (!frame) return;
    for (const all of [curves, sizes]) for (const points of Object.values(all)) while (points.length && points[points.length - 1][0] > frame.step) points.pop();
    add(curves, TEXT.training_loss, frame.step, frame.loss);
    if (frame.held) add(curves, TEXT.test_loss, frame.step, frame.held.loss);
    for (const [name, size] of Object.entries(frame.gradient_sizes ?? {})) if (name.endsWith(".W")) add(sizes, name, frame.step, size);
  });
  on("draw", () => {
    const line = (/** @type {[string, [number, number][]]} */ [name, points], /** @type {number} */ k) => ({ name, points, dash: k % 2 ? [5, 3] : [] });
    lineChart(/** @type {any} */ (byId("curves")), Object.entries(curves).map(line));
    lineChart(/** @type {any} */ (byId("sizes")), Object.entries(sizes).map(([name, points]) => ({ name, points })));
    const found = app.frame?.histogram;
    if (found) for (const name of ["weights", "activations", "gradients"]) {
      const canvas = /** @type {HTMLCanvasElement} */ (byId(`histogram-${name}`));
      canvas.hidden = !found[name];
      if (found[name]) bars(canvas, found[name], t(name));
    }
  });
  byId("histogram-layer").onchange = look;
}

/** Which of the slower things the page wants to see. */
export function look() {
  const layer = /** @type {HTMLSelectElement} */ (byId("histogram-layer")).value;
  app.send({ type: "view", view: { histogram: layer, surface: !byId("surface").hidden, sample: app.sample } });
}
