// The network, drawn: what each unit responds to, and lines for weights, gradients, updates or deltas. Everything under
// the cursor says its name and value; a click opens its chain rule.

import { app, byId, colour, make, on, shown } from "./app.js";
import { TEXT, t } from "./text.js";
import { openUnit, openWeight } from "./explanation.js";

const BOX = 38, ROW = 48, TOP = 34, LEFT = 74;

/**
 * A unit on the canvas: where it stands, its layers, its number, and (in the first layer of a picture) its weights.
 * @typedef {{x: number, y: number, dense: string, shown: string, unit: number}} Unit
 * @typedef {{x1: number, y1: number, x2: number, y2: number, array: string, start: number, from: number, to: number,
 *   layer: number}} Line
 */

/** @type {Unit[]} */
let units = [];
/** @type {Line[]} */
let lines = [];
/** @type {{x: number, y: number, name: string}[]} */
let inputs = [];
/** @type {{x: number, y: number, text: string}[]} */
let labels = [];
let [width, height] = [600, 300];
/** @type {Unit | null} */
let hoveredUnit = null;
/** @type {Line | null} */
let hoveredLine = null;

/** Columns of units: each Dense with what comes after it, up to the next one. */
function columns() {
  /** @type {{dense: import("./types.js").LayerInfo, shown: import("./types.js").LayerInfo}[]} */
  const found = [];
  for (const layer of app.built?.layers ?? []) {
    if (layer.symbol === "z") found.push({ dense: layer, shown: layer });
    else if (found.length) found[found.length - 1].shown = layer;
  }
  return found;
}

function arrange() {
  const { built } = app;
  if (!built) return;
  const canvas = /** @type {HTMLCanvasElement} */ (byId("drawing"));
  const every = columns();
  const most = app.built?.plane ? 10 : 12;
  const counts = every.map(({ dense }) => Math.min(dense.units, most));
  const picture = built.inputs.length > 1;
  const given = picture ? 1 : Math.min(built.inputs[0] ?? 1, most);
  width = canvas.parentElement?.clientWidth ?? 600;
  height = TOP + Math.max(given, ...counts) * ROW + 18;
  const room = built.classes.length > 2 ? 30 : 0;
  const gap = (width - LEFT - BOX / 2 - 12 - room) / Math.max(every.length, 1);
  /** @param {number} k @param {number} count */
  const y = (k, count) => TOP + (k + (Math.max(given, ...counts) - count) / 2) * ROW;
  inputs = Array.from({ length: given }, (_, k) => ({ x: 8, y: y(k, given), name: picture ? built.inputs.join(" × ") : built.input_names[k] ?? `x[${k}]` }));
  units = [];
  lines = [];
  labels = [{ x: 8, y: 14, text: TEXT.inputs }];
  every.forEach(({ dense, shown: last }, c) => {
    const x = LEFT + (c + 1) * gap - BOX / 2;
    labels.push({ x: x - 6, y: 14, text: dense.name });
    if (last !== dense) labels.push({ x: x - 6, y: 27, text: last.name });
    const parameter = dense.parameters.find((p) => p.name.endsWith(".W"));
    for (let j = 0; j < counts[c]; j++) {
      units.push({ x, y: y(j, counts[c]), dense: dense.name, shown: last.name, unit: j });
      const before = c === 0 ? inputs : units.filter((u) => u.dense === every[c - 1].dense.name);
      if (parameter) before.forEach((from, i) => lines.push({
        x1: c === 0 ? LEFT - 4 : from.x + BOX, y1: from.y + BOX / 2, x2: x, y2: y(j, counts[c]) + BOX / 2,
        array: parameter.name, start: parameter.start, from: i, to: j, layer: c,
      }));
    }
    if (c === every.length - 1 && built.classes.length === dense.units) {
      for (let j = 0; j < counts[c]; j++) labels.push({ x: x + BOX + 4, y: y(j, counts[c]) + BOX / 2 + 4, text: built.classes[j].slice(0, 6) });
    }
    if (dense.units > counts[c]) labels.push({ x: x - 6, y: height - 4, text: t("more", { count: dense.units - counts[c] }) });
  });
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.style.height = `${height}px`;
  canvas.setAttribute("aria-label", t("drawing_label", { layers: every.map(({ dense }) => `${dense.name}: ${dense.units}`).join(", ") }));
}

/** The place of a line's weight in the flat vector. @param {Line} line */
function place(line) {
  const shape = parameter(line.array)?.shape ?? [1, 1];
  return line.start + line.from * shape[1] + line.to;
}

/** @param {string} name */
function parameter(name) {
  for (const layer of app.built?.layers ?? []) for (const p of layer.parameters) if (p.name === name) return p;
  return null;
}

/** The numbers that the lines show. */
function numbers() {
  if (app.edges === "gradients" || app.edges === "deltas") return app.arrays.gradients?.data ?? null;
  if (app.edges === "updates") return app.arrays.updates?.data ?? null;
  return app.arrays.weights?.data ?? null;
}

/**
 * Something that draws: a canvas, or an SVG in the making.
 * @typedef {{line: (x1: number, y1: number, x2: number, y2: number, colour: string, width: number, dash: boolean) => void,
 *   image: (x: number, y: number, size: number, pixels: ImageData) => void,
 *   box: (x: number, y: number, size: number, colour: string, width: number, fill?: string) => void,
 *   text: (x: number, y: number, text: string, size: number, colour: string) => void}} Painter
 */

/** @param {Painter} painter */
function paint(painter) {
  const [ink, soft, plus, minus, lit] = ["ink", "soft-ink", "plus", "minus", "lit-line"].map(colour);
  const values = numbers();
  const picture = (app.built?.inputs.length ?? 1) > 1;
  const onPath = litLines();
  let most = 1e-12;
  if (values) for (const line of lines) most = Math.max(most, Math.abs(values[place(line)] ?? 0));
  for (const line of lines) {
    const value = values && !(picture && line.layer === 0) ? values[place(line)] ?? 0 : 0;
    const bright = onPath.has(`${line.array}:${line.from}:${line.to}`);
    const wide = Math.max(0.4, 5 * Math.sqrt(Math.abs(value) / most));
    if (bright) painter.line(line.x1, line.y1, line.x2, line.y2, lit, wide + 6, false);
    painter.line(line.x1, line.y1, line.x2, line.y2, value >= 0 ? plus : minus, line === hoveredLine ? wide + 2 : wide, value < 0);
  }
  for (const input of inputs) {
    painter.box(input.x, input.y + 8, LEFT - 16, soft, 1, colour("panel"));
    painter.text(input.x + 4, input.y + BOX / 2 + 4, input.name.slice(0, 9), 11, ink);
  }
  for (const unit of units) drawUnit(painter, unit, { ink, lit });
  for (const label of labels) painter.text(label.x, label.y, label.text, 11, soft);
}

/** @param {Painter} painter @param {Unit} unit @param {{ink: string, lit: string}} colours */
function drawUnit(painter, unit, { ink, lit }) {
  const chosen = app.opened?.layer && [unit.dense, unit.shown].includes(app.opened.layer) && app.opened.unit === unit.unit;
  painter.box(unit.x, unit.y, BOX, chosen ? lit : ink, chosen ? 3 : unit === hoveredUnit ? 2.5 : 1, colour("panel"));
  const pixels = app.edges === "deltas" ? null : thumbnail(unit);
  if (pixels) painter.image(unit.x + 1.5, unit.y + 1.5, BOX - 3, pixels);
  const value = app.edges === "deltas" ? app.frame?.deltas?.[unit.dense]?.[unit.unit] : app.frame?.values?.[unit.shown]?.[unit.unit];
  const bias = biasPlace(unit);
  const biases = app.arrays.weights?.data;
  if (value !== undefined) painter.text(unit.x + 2, unit.y + BOX + 11, (app.edges === "deltas" ? "|δ| " : "a ") + shown(value), 10, ink);
  if (bias !== null && biases) painter.box(unit.x - 4, unit.y + BOX - 6, 9, ink, 1, biases[bias] >= 0 ? colour("plus") : colour("minus"));
}

/** @param {Unit} unit */
function biasPlace(unit) {
  const found = parameter(`${unit.dense}.b`);
  return found ? found.start + unit.unit : null;
}

/** The lines on the strongest paths of the weight that is open. */
function litLines() {
  /** @type {Set<string>} */
  const found = new Set();
  const match = /^(.*\.W)\[(\d+), (\d+)\]$/.exec(app.opened?.weight ?? "");
  if (match) found.add(`${match[1]}:${match[2]}:${match[3]}`);
  for (const path of app.paths) {
    let before = -1;
    for (const [layer, unit] of path) {
      const dense = app.built?.layers.find((l) => l.name === layer)?.symbol === "z";
      if (dense && before >= 0) found.add(`${layer}.W:${before}:${unit}`);
      before = unit;
    }
  }
  return found;
}

/** What a unit responds to: its output over the plane, or its weights: as the picture that they look for, or row by row. @param {Unit} unit */
function thumbnail(unit) {
  const { built } = app;
  const output = app.arrays[`unit ${unit.shown}`] ?? app.arrays[`unit ${unit.dense}`];
  if (output && unit.unit < output.shape[0]) {
    const side = Math.round(Math.sqrt(output.shape[1]));
    return shaded(output.data.subarray(unit.unit * side * side, (unit.unit + 1) * side * side), side, side, (v) => v / 127.5 - 1);
  }
  const weights = app.arrays.weights?.data;
  const first = columns()[0]?.dense.name === unit.dense;
  const found = parameter(`${unit.dense}.W`);
  if (!built || built.plane || !weights || !found) return null;
  const count = found.shape[0];
  const square = Math.ceil(Math.sqrt(count));
  const [rows, across] = built.inputs.length > 1 && first ? built.inputs : [Math.ceil(count / square), square];
  const own = new Float32Array(rows * across);
  for (let k = 0; k < count; k++) own[k] = weights[found.start + k * found.shape[1] + unit.unit];
  const most = own.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  return shaded(own, across, rows, (v) => v / most);
}

/**
 * Numbers from -1 to 1 as colours.
 * @param {ArrayLike<number>} values @param {number} across @param {number} rows @param {(v: number) => number} scaled
 */
function shaded(values, across, rows, scaled) {
  const pixels = new ImageData(across, rows);
  for (let k = 0; k < across * rows; k++) {
    const v = Math.max(-1, Math.min(1, scaled(values[k])));
    const [r, g, b] = v >= 0 ? [0, 114, 178] : [224, 108, 20];
    const share = Math.abs(v);
    pixels.data.set([255 + (r - 255) * share, 255 + (g - 255) * share, 255 + (b - 255) * share, 255], 4 * k);
  }
  return pixels;
}

const scratch = document.createElement("canvas");
/** @param {ImageData} pixels */
function toCanvas(pixels) {
  scratch.width = pixels.width;
  scratch.height = pixels.height;
  scratch.getContext("2d")?.putImageData(pixels, 0, 0);
  return scratch;
}

/** @param {CanvasRenderingContext2D} pen @returns {Painter} */
function canvasPainter(pen) {
  pen.imageSmoothingEnabled = false;
  return {
    line(x1, y1, x2, y2, stroke, wide, dash) {
      pen.strokeStyle = stroke;
      pen.lineWidth = wide;
      pen.setLineDash(dash ? [5, 3] : []);
      pen.beginPath();
      pen.moveTo(x1, y1);
      const middle = (x1 + x2) / 2;
      pen.bezierCurveTo(middle, y1, middle, y2, x2, y2);
      pen.stroke();
    },
    image(x, y, size, pixels) {
      pen.drawImage(toCanvas(pixels), x, y, size, size);
    },
    box(x, y, size, stroke, wide, fill) {
      pen.setLineDash([]);
      pen.lineWidth = wide;
      pen.strokeStyle = stroke;
      const tall = size === LEFT - 16 ? 28 : size;
      if (fill) {
        pen.fillStyle = fill;
        pen.fillRect(x, y, size, tall);
      }
      pen.strokeRect(x, y, size, tall);
    },
    text(x, y, text, size, fill) {
      pen.fillStyle = fill;
      pen.font = `${size}px system-ui, sans-serif`;
      pen.fillText(text, x, y);
    },
  };
}

function draw() {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("drawing"));
  const pen = canvas.getContext("2d");
  if (!pen || !app.built) return;
  const scale = window.devicePixelRatio || 1;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  paint(canvasPainter(pen));
}

/** Where the units of each column stand on the canvas. */
export const unitPlaces = () => columns().map(({ dense }) => units.filter((unit) => unit.dense === dense.name).map(({ x, y }) => ({ x, y })));

/** The drawing as an SVG. */
export function asSvg() {
  /** @type {string[]} */
  const parts = [];
  const safe = (/** @type {string} */ text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  paint({
    line: (x1, y1, x2, y2, stroke, wide, dash) => parts.push(`<path d="M${x1.toFixed(1)} ${y1.toFixed(1)}C${((x1 + x2) / 2).toFixed(1)} ${y1.toFixed(1)} ${((x1 + x2) / 2).toFixed(1)} ${y2.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}" fill="none" stroke="${stroke}" stroke-width="${wide.toFixed(2)}"${dash ? ' stroke-dasharray="5 3"' : ""}/>`),
    image: (x, y, size, pixels) => parts.push(`<image x="${x}" y="${y}" width="${size}" height="${size}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${toCanvas(pixels).toDataURL()}"/>`),
    box: (x, y, size, stroke, wide, fill) => parts.push(`<rect x="${x}" y="${y}" width="${size}" height="${size === LEFT - 16 ? 28 : size}" stroke="${stroke}" stroke-width="${wide}" fill="${fill ?? "none"}"/>`),
    text: (x, y, text, size, fill) => parts.push(`<text x="${x}" y="${y}" font-size="${size}" fill="${fill}">${safe(text)}</text>`),
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="${colour("panel")}"/>${parts.join("\n")}</svg>\n`;
}

/** The drawing as a PNG. @returns {Promise<Blob | null>} */
export const asPng = () => new Promise((done) => /** @type {HTMLCanvasElement} */ (byId("drawing")).toBlob(done, "image/png"));

/** What lies under a point: a unit (and the pixel of its picture), a bias, or a line. @param {number} x @param {number} y */
function under(x, y) {
  for (const unit of units) {
    if (Math.abs(x - unit.x) < 7 && Math.abs(y - (unit.y + BOX - 2)) < 8) return { unit, bias: true, line: null, pixel: -1 };
    if (x >= unit.x && x <= unit.x + BOX && y >= unit.y && y <= unit.y + BOX) {
      let pixel = -1;
      const { inputs: sizes = [] } = app.built ?? {};
      if (sizes.length > 1 && columns()[0]?.dense.name === unit.dense) {
        const column = Math.min(sizes[1] - 1, Math.floor(((x - unit.x) / BOX) * sizes[1]));
        pixel = Math.min(sizes[0] - 1, Math.floor(((y - unit.y) / BOX) * sizes[0])) * sizes[1] + column;
      }
      return { unit, bias: false, line: null, pixel };
    }
  }
  /** @type {Line | null} */
  let nearest = null;
  let least = 7;
  const picture = (app.built?.inputs.length ?? 1) > 1;
  for (const line of lines) {
    if (x < line.x1 || x > line.x2 || (picture && line.layer === 0)) continue;
    const s = solved((x - line.x1) / (line.x2 - line.x1));
    const away = Math.abs(line.y1 + (line.y2 - line.y1) * s * s * (3 - 2 * s) - y);
    if (away < least) [nearest, least] = [line, away];
  }
  return { unit: null, bias: false, line: nearest, pixel: -1 };
}

/** Where along the curve its x is this share of the way: x(s) = 1.5 s (1-s) + s^3 + ... for handles in the middle. @param {number} share */
function solved(share) {
  let [low, high] = [0, 1];
  for (let k = 0; k < 20; k++) {
    const s = (low + high) / 2;
    const at = 3 * s * (1 - s) * (1 - s) * 0.5 + 3 * s * s * (1 - s) * 0.5 + s * s * s;
    if (at < share) low = s;
    else high = s;
  }
  return (low + high) / 2;
}

/** The name of what lies there, for a weight. @param {ReturnType<typeof under>} found */
function weightName(found) {
  if (found.line) return `${found.line.array}[${found.line.from}, ${found.line.to}]`;
  if (found.unit && found.bias) return `${found.unit.dense}.b[${found.unit.unit}]`;
  if (found.unit && found.pixel >= 0) return `${found.unit.dense}.W[${found.pixel}, ${found.unit.unit}]`;
  return null;
}

/** A weight's place in the flat vector, by its name. @param {string} name */
function placeOf(name) {
  const match = /^(.*)\[([\d, ]+)\]$/.exec(name);
  const found = match && parameter(match[1]);
  if (!match || !found) return null;
  const index = match[2].split(",").map(Number);
  return found.start + index.reduce((sum, k, d) => sum * found.shape[d] + k, 0);
}

/** @param {ReturnType<typeof under>} found */
function described(found) {
  const name = weightName(found);
  if (name) {
    const at = placeOf(name);
    const values = app.edges === "weights" ? app.arrays.weights?.data : numbers();
    return `${name} = ${shown(at === null ? null : app.arrays.weights?.data[at])}${app.edges === "weights" || at === null ? "" : `, ${app.edges} ${shown(values?.[at])}`}`;
  }
  if (!found.unit) return null;
  const { dense, unit } = found.unit;
  const [value, delta] = [app.frame?.values?.[found.unit.shown]?.[unit], app.frame?.deltas?.[dense]?.[unit]];
  return `${dense}[${unit}]${value === undefined ? "" : `, a = ${shown(value)}`}${delta === undefined ? "" : `, |δ| = ${shown(delta)}`}`;
}

/** @param {MouseEvent} event @returns {[number, number]} */
function position(event) {
  const box = byId("drawing").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** Open what lies under a point. @param {ReturnType<typeof under>} found */
function openFound(found) {
  const name = weightName(found);
  if (name) openWeight(name);
  else if (found.unit) openUnit(found.unit.dense, found.unit.unit);
}

export function startDrawing() {
  const canvas = byId("drawing");
  const tip = byId("tip");
  const edges = /** @type {HTMLSelectElement} */ (byId("edges"));
  edges.replaceChildren(...["weights", "gradients", "updates", "deltas"].map((value) => make("option", { value }, t(value))));
  edges.value = app.edges;
  edges.onchange = () => {
    app.edges = edges.value;
    draw();
  };
  /** Where the cursor is. @type {[number, number] | null} */
  let cursor = null;
  /** Say what is under the cursor, with the value that it has now. */
  const tell = () => {
    if (!cursor) return;
    const [x, y] = cursor;
    const found = under(x, y);
    [hoveredUnit, hoveredLine] = [found.unit, found.line];
    const text = described(found);
    tip.hidden = text === null;
    tip.textContent = text ?? "";
    tip.style.left = `${Math.max(0, Math.min(x + 12, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 16}px`;
  };
  canvas.onmousemove = (event) => {
    cursor = position(event);
    tell();
    if (!app.running) draw();
  };
  canvas.onmouseleave = () => {
    cursor = null;
    tip.hidden = true;
    [hoveredUnit, hoveredLine] = [null, null];
    draw();
  };
  canvas.onclick = (event) => openFound(under(...position(event)));
  on("built", () => {
    edges.value = app.edges;
    arrange();
    draw();
  });
  on("draw", () => {
    draw();
    tell();
  });
  on("explained", draw);
  on("theme", draw);
  new ResizeObserver(() => {
    arrange();
    draw();
  }).observe(/** @type {HTMLElement} */ (canvas.parentElement));
}
