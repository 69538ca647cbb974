// Small charts of our own: lines, bars and points on a canvas, quick enough to be drawn with every frame.

import { app, byId, colour, heldOut, make, on, shown } from "./app.js";
import { TEXT, t } from "./text.js";

/** The colours of paths and of the entrants of a race, wherever they are drawn; seen on light and dark. */
export const ENTRANTS = ["#d8394f", "#1f84d0", "#2a9158", "#b06ad4"];
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const MOST = 1200;

/** A series: a name, and points. @typedef {{name: string, points: [number, number][], dash?: number[], colour?: string, muted?: boolean}} Series */
/** Points by the name of their series. @typedef {Record<string, [number, number][]>} Lines */

/** @type {Lines} */
let curves = {};
/** @type {Lines} */
let sizes = {};
/** What a recorded run kept, which takes the place of what was seen since the page was opened. @type {{curves: Series[], sizes: Series[]} | null} */
let recorded = null;
/** The pinned run: its settings, and its lines. @type {{name: string, data: string, curves: Lines, sizes: Lines} | null} */
let pinned = null;

/**
 * A number at an axis, as Python's mark_text writes it: four significant figures, and a power of ten only below 1e-6 or from 1e6.
 * @param {number} value
 */
export function mark(value) {
  const size = Math.abs(value);
  if (!value || !Number.isFinite(value)) return String(value);
  let text = "";
  if (size >= 1e-6 && size < 1e6) text = Number(size.toPrecision(4)).toString();
  else {
    const [digits, power] = size.toExponential(3).split("e");
    text = `${Number(digits)}e${power}`;
  }
  return value < 0 ? `−${text}` : text;
}

/** @param {HTMLCanvasElement} canvas @returns {[CanvasRenderingContext2D, number, number]} */
export function pen(canvas) {
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

/**
 * Lines over steps. Their heights are on a logarithmic scale, without what is not above 0, unless `linear`.
 * @param {HTMLCanvasElement} canvas @param {Series[]} series
 * @param {{linear?: boolean, now?: number, level?: number, empty?: string}} [options] `now` marks a step, `level` a height; `empty` says what will be there
 */
export function lineChart(canvas, series, { linear = false, now, level, empty = "" } = {}) {
  const [draw, width, height] = pen(canvas);
  const fits = (/** @type {number} */ v) => Number.isFinite(v) && (linear || v > 0);
  const values = [...series.flatMap((s) => s.points.map((p) => p[1])), ...(level === undefined ? [] : [level])].filter(fits);
  canvas.setAttribute("aria-label", empty.replaceAll("\n", " "));
  if (!values.length) {
    draw.fillStyle = colour("soft-ink");
    empty.split("\n").forEach((line, k) => draw.fillText(line, 8, 24 + 16 * k));
    return;
  }
  canvas.setAttribute("aria-label", "");
  const last = Math.max(1, ...series.map((s) => s.points.at(-1)?.[0] ?? 0));
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high <= low) [low, high] = linear ? [low - 1, high + 1] : [low / 2, high * 2];
  const left = Math.max(40, ...[low, high].map((v) => draw.measureText(mark(v)).width + 9));
  const [top, bottom] = [6, 31];
  const shownSeries = series.filter((s) => !s.muted);
  // The legend under it: as many names in a row as fit.
  let [across, rows] = [4, 1];
  const most = Math.max(1, Math.floor((0.4 * height) / 13));
  const places = shownSeries.map((s) => {
    const wide = draw.measureText(s.name).width + 34;
    if (across > 4 && across + wide > width) [across, rows] = [4, rows + 1];
    across += wide;
    return { x: across - wide, row: rows };
  });
  const unnamed = places.filter(({ row }) => row > most).length;
  if (unnamed) rows = most + 1; // the last row says how many more there are
  const under = height - bottom - 13 * (rows - 1);
  const scale = linear ? (/** @type {number} */ v) => v : Math.log;
  const x = (/** @type {number} */ v) => left + ((width - left - 8) * v) / last;
  const y = (/** @type {number} */ v) => top + (under - top) * (1 - (scale(v) - scale(low)) / (scale(high) - scale(low)));
  draw.fillStyle = colour("soft-ink");
  draw.textAlign = "right";
  draw.fillText(mark(high), left - 5, top + 9);
  draw.fillText(mark(low), left - 5, under);
  draw.fillText(last.toLocaleString("en"), width - 8, under + 12);
  draw.textAlign = "left";
  draw.fillText(`${TEXT.step_count} 0`, left, under + 12);
  draw.strokeStyle = colour("line");
  draw.lineWidth = 1;
  draw.strokeRect(left, top, width - left - 8, under - top);
  const rule = (/** @type {number[]} */ [x1, y1, x2, y2], /** @type {string} */ style, /** @type {number[]} */ dash) => {
    draw.strokeStyle = style;
    draw.setLineDash(dash);
    draw.beginPath();
    draw.moveTo(x1, y1);
    draw.lineTo(x2, y2);
    draw.stroke();
    draw.setLineDash([]);
  };
  if (linear && low < 0 && high > 0) rule([left, y(0), width - 8, y(0)], colour("soft-ink"), [1, 3]);
  if (level !== undefined) rule([left, y(level), width - 8, y(level)], colour("ink"), [2, 3]);
  if (now !== undefined) rule([x(now), top, x(now), under], colour("lit-line"), []);
  const style = (/** @type {Series} */ s) => s.colour ?? COLOURS[shownSeries.indexOf(s) % COLOURS.length];
  for (const s of [...series].sort((a, b) => Number(b.muted ?? false) - Number(a.muted ?? false))) {
    draw.strokeStyle = style(s);
    draw.globalAlpha = s.muted ? 0.45 : 1;
    draw.setLineDash(s.dash ?? DASHES[Math.floor(Math.max(shownSeries.indexOf(s), 0) / COLOURS.length) % DASHES.length]);
    draw.lineWidth = 1.8;
    draw.beginPath();
    let open = false;
    if (s.points.length === 1 && fits(s.points[0][1])) draw.arc(x(s.points[0][0]), y(s.points[0][1]), 1.5, 0, 7); // a line needs two
    for (const [step, value] of s.points) {
      if (!fits(value)) {
        open = false;
        continue;
      }
      if (open) draw.lineTo(x(step), y(value));
      else draw.moveTo(x(step), y(value));
      open = true;
    }
    draw.stroke();
    draw.globalAlpha = 1;
    draw.setLineDash([]);
  }
  draw.fillStyle = colour("soft-ink");
  if (unnamed) draw.fillText(t("and_more", { count: unnamed }), 24, height - 5);
  shownSeries.forEach((s, k) => {
    if (places[k].row > most) return;
    const [cx, cy] = [places[k].x, height - 5 - 13 * (rows - places[k].row)];
    draw.strokeStyle = style(s);
    draw.setLineDash(s.dash ?? []);
    draw.beginPath();
    draw.moveTo(cx, cy - 4);
    draw.lineTo(cx + 16, cy - 4);
    draw.stroke();
    draw.setLineDash([]);
    draw.fillStyle = colour("ink");
    draw.fillText(s.name, cx + 20, cy);
  });
  canvas.setAttribute("aria-label", series.map((s) => `${s.muted ? TEXT.pinned_line : s.name}: ${shown(s.points.at(-1)?.[1])}`).join(", "));
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
  draw.fillText(`${names[0]} →   (${mark(low)} .. ${mark(high)})`, 44, height - 6);
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
  draw.fillText(mark(found.low), 2, height - 2);
  draw.textAlign = "right";
  draw.fillText(mark(found.high), width - 2, height - 2);
  draw.textAlign = "center";
  draw.fillText(name, width / 2, height - 2);
  draw.textAlign = "left";
  canvas.setAttribute("aria-label", `${name}: ${mark(found.low)} .. ${mark(found.high)}`);
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
  recorded = null;
}

/**
 * What a chart shows: the pinned run's lines, muted, and this run's, each in the colour of its name.
 * @param {Lines} lines @param {Lines} before those of the pinned run @param {number[]} dash of every second line
 * @returns {Series[]}
 */
function withPinned(lines, before, dash) {
  const names = [...new Set([...Object.keys(lines), ...Object.keys(before)])];
  const line = (/** @type {Lines} */ from, /** @type {boolean} */ muted) => (/** @type {string} */ name) => {
    const k = names.indexOf(name);
    return { name, points: from[name], muted, colour: COLOURS[k % COLOURS.length], dash: k % 2 ? dash : [] };
  };
  return [...Object.keys(before).map(line(before, true)), ...Object.keys(lines).map(line(lines, false))];
}

/** A run is pinned: its lines stay, below those of the next one. @param {string} name its settings */
function pin(name) {
  pinned = { name, data: app.built?.data ?? "", curves: structuredClone(curves), sizes: structuredClone(sizes) };
  showPinned();
}

function showPinned() {
  byId("pinned").hidden = !pinned;
  byId("pinned-name").textContent = pinned ? t("pinned", { name: pinned.name }) : "";
  byId("pin").hidden = Boolean(app.choices.run);
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
    if (frame.held) add(curves, t(`${heldOut()}_loss`), frame.step, frame.held.loss);
    for (const [name, size] of Object.entries(frame.gradient_sizes ?? {})) if (name.endsWith(".W")) add(sizes, name, frame.step, size);
  });
  on("recorded", ({ header }) => (recorded = header));
  on("built", showPinned);
  on("pinned", ({ header }) => pin(header.name));
  byId("pin").onclick = () => app.send({ type: "pin" });
  byId("unpin").onclick = () => {
    pinned = null;
    showPinned();
    app.send({ type: "unpin" });
  };
  for (const event of ["draw", "redraw"]) on(event, draw);
  byId("histogram-layer").onchange = look;
}

/** Draw the curves, the sizes of gradients and the histograms. */
function draw() {
  if (!app.built) return;
  const before = pinned?.data === app.built.data ? pinned : null; // losses on other data can't be compared
  const now = recorded ? app.frame?.step : undefined;
  lineChart(/** @type {any} */ (byId("curves")), recorded?.curves.length ? recorded.curves : withPinned(curves, before?.curves ?? {}, [5, 3]), { now });
  lineChart(/** @type {any} */ (byId("sizes")), recorded?.sizes.length ? recorded.sizes : withPinned(sizes, before?.sizes ?? {}, []), { now, empty: TEXT.gradient_sizes_empty });
  const found = app.frame?.histogram;
  if (found) for (const name of ["weights", "activations", "gradients"]) {
    const canvas = /** @type {HTMLCanvasElement} */ (byId(`histogram-${name}`));
    canvas.hidden = !found[name];
    if (found[name]) bars(canvas, found[name], t(name));
  }
}

/** Which of the slower things the page wants to see. */
export function look() {
  const layer = /** @type {HTMLSelectElement} */ (byId("histogram-layer")).value;
  app.send({ type: "view", view: { histogram: layer, surface: !byId("surface").hidden, sample: app.sample, unit: app.unit, lens: app.lens, history: app.history } });
}
