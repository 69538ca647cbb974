// The loss surface with paths on it: from above on a canvas, and in three dimensions by Plotly, whose script is fetched when it is needed.

import { app, byId, colour, make, on } from "./app.js";
import { ENTRANTS, look, pen } from "./charts.js";
import { TEXT } from "./text.js";

/** Where something is on an axis, and what is written there. @typedef {{at: number, share: number, text: string}} Mark */
/**
 * A surface with paths on it.
 * @typedef {{axes: [string, string], marks: Record<"across" | "along" | "loss", Mark[]>, words: string,
 *   paths: {name: string, colour: number, muted: boolean}[]}} SurfaceHeader
 */

/** Cividis, which looks the same to the colour-blind, from low to high. */
const SHADES = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"].map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
const scratch = document.createElement("canvas");

/** The shade of a height from 0 to 255. @param {number} value */
function shade(value) {
  const place = (value / 255) * (SHADES.length - 1);
  const k = Math.min(Math.floor(place), SHADES.length - 2);
  return SHADES[k].map((part, c) => part + (SHADES[k + 1][c] - part) * (place - k));
}

/** The surface from above. @param {HTMLCanvasElement} canvas @param {SurfaceHeader} header @param {import("./types.js").Arrays} arrays */
export function drawFlat(canvas, header, arrays) {
  const [draw, width, height] = pen(canvas);
  const box = { left: 62, top: 8, wide: width - 62 - 78, high: height - 8 - 40 };
  const [x, y] = [(/** @type {number} */ share) => box.left + share * box.wide, (/** @type {number} */ share) => box.top + (1 - share) * box.high];
  const { data, shape } = arrays.picture;
  const pixels = new ImageData(shape[1], shape[0]);
  data.forEach((value, k) => pixels.data.set([...shade(value), 255], 4 * k));
  [scratch.width, scratch.height] = [shape[1], shape[0]];
  scratch.getContext("2d")?.putImageData(pixels, 0, 0);
  draw.drawImage(scratch, box.left, box.top, box.wide, box.high);
  const bar = width - 66;
  for (let k = 0; k < box.high; k++) {
    draw.fillStyle = `rgb(${shade(255 * (1 - k / box.high)).map(Math.round).join()})`;
    draw.fillRect(bar, box.top + k, 12, 1.5);
  }
  draw.fillStyle = colour("soft-ink");
  draw.textAlign = "left";
  for (const { share, text } of header.marks.loss) draw.fillText(text, bar + 16, y(share) + 4);
  draw.fillText(TEXT.loss, bar - 4, height - 24);
  draw.textAlign = "center";
  for (const { share, text } of header.marks.across) draw.fillText(text, x(share), height - 26);
  draw.fillText(header.axes[0], x(0.5), height - 8);
  draw.textAlign = "right";
  for (const { share, text } of header.marks.along) draw.fillText(text, box.left - 5, y(share) + 4);
  draw.save();
  draw.textAlign = "center";
  draw.translate(11, y(0.5));
  draw.rotate(-Math.PI / 2);
  draw.fillText(header.axes[1], 0, 0);
  draw.restore();
  header.paths.forEach((path, k) => drawPath(draw, path, arrays[`shares ${k}`], x, y));
  const names = header.paths.map((path) => path.name).join(", ");
  canvas.setAttribute("aria-label", `${TEXT.surface_label} ${names}. ${header.words}`);
}

/**
 * A path with its start, a ring, and its end, a disc; both edged in white, so that it is seen on any shade.
 * @param {CanvasRenderingContext2D} draw @param {{name: string, colour: number, muted: boolean}} path @param {import("./types.js").NamedArray} shares
 * @param {(share: number) => number} x @param {(share: number) => number} y
 */
function drawPath(draw, path, shares, x, y) {
  const places = Array.from({ length: shares.shape[0] }, (_, k) => [x(shares.data[2 * k]), y(shares.data[2 * k + 1])]);
  draw.globalAlpha = path.muted ? 0.6 : 1;
  draw.lineJoin = "round";
  for (const [style, wide] of /** @type {[string, number][]} */ ([["#fff", path.muted ? 3 : 5], [ENTRANTS[path.colour], path.muted ? 1.4 : 2.4]])) {
    draw.strokeStyle = style;
    draw.lineWidth = wide;
    draw.beginPath();
    for (const [px, py] of places) draw.lineTo(px, py);
    draw.stroke();
  }
  const ends = places.length > 1 ? [[places[0], "#fff", ENTRANTS[path.colour]], [places[places.length - 1], ENTRANTS[path.colour], "#fff"]] : [[places[0], ENTRANTS[path.colour], "#fff"]];
  for (const [[px, py], inside, edge] of /** @type {[number[], string, string][]} */ (ends)) {
    draw.beginPath();
    draw.arc(px, py, 5, 0, 7);
    draw.fillStyle = inside;
    draw.fill();
    draw.strokeStyle = edge;
    draw.lineWidth = 1.8;
    draw.stroke();
  }
  draw.globalAlpha = 1;
}

/** @type {Promise<any> | null} */
let loading = null;

/** Plotly, once. @returns {Promise<any>} */
function plotly() {
  loading ??= new Promise((done, failed) => {
    const script = make("script", { src: "plotly.js" });
    script.onload = () => done(/** @type {any} */ (window).Plotly);
    script.onerror = failed;
    document.head.append(script);
  });
  return loading;
}

/** @param {SurfaceHeader} header @param {import("./types.js").Arrays} arrays */
async function drawSpace(header, arrays) {
  if (!app.choices.surface) {
    byId("surface-space").textContent = TEXT.needs_plotly;
    return;
  }
  const library = await plotly();
  const columns = arrays.across.data.length;
  const heights = Array.from(arrays.along.data, (_, k) => Array.from(arrays.heights.data.slice(k * columns, (k + 1) * columns)));
  const paths = header.paths.map((path, k) => {
    const { data, shape } = arrays[`path ${k}`];
    const part = (/** @type {number} */ c) => Array.from({ length: shape[0] }, (_, i) => data[2 * i + c]);
    const line = { color: ENTRANTS[path.colour], width: path.muted ? 3 : 7 };
    const size = shape[0] > 1 ? 0 : 6;
    return { type: "scatter3d", mode: size ? "markers" : "lines", x: part(0), y: part(1), z: Array.from(arrays[`heights ${k}`].data), opacity: path.muted ? 0.6 : 1, line, marker: { size, color: line.color }, hoverinfo: "skip" };
  });
  const axis = (/** @type {string} */ title, /** @type {Mark[]} */ marks) => ({ title: { text: title, font: { size: 12 } }, tickfont: { size: 10 }, tickvals: marks.map((mark) => mark.at), ticktext: marks.map((mark) => mark.text) });
  await library.react("surface-space", [
    { type: "surface", x: Array.from(arrays.across.data), y: Array.from(arrays.along.data), z: heights, colorscale: "Cividis", showscale: false, opacity: 0.92, hoverinfo: "skip" },
    ...paths,
  ], {
    margin: { l: 0, r: 0, t: 0, b: 0 }, height: 352, showlegend: false, uirevision: "same",
    // Far enough away that no title of an axis is cut off.
    scene: { xaxis: axis(header.axes[0], header.marks.across), yaxis: axis(header.axes[1], header.marks.along), zaxis: axis(TEXT.loss, header.marks.loss), camera: { eye: { x: 1.6, y: -1.75, z: 1.1 }, center: { x: 0, y: 0, z: -0.15 } } },
  }, { responsive: true, displaylogo: false });
}

export function startSurface() {
  const button = byId("surface-toggle");
  button.onclick = () => {
    const open = byId("surface").hidden;
    byId("surface").hidden = !open;
    button.textContent = open ? TEXT.hide : TEXT.show;
    button.setAttribute("aria-expanded", String(open));
    look();
  };
  /** @type {(() => void) | null} */
  let again = null;
  on("surface", async ({ header, arrays }) => {
    if (byId("surface").hidden) return;
    again = () => drawFlat(/** @type {any} */ (byId("surface-flat")), header, arrays);
    again();
    byId("surface-words").textContent = header.words;
    await drawSpace(header, arrays);
  });
  on("redraw", () => again?.());
}
