// The loss surface with the path so far, in two and three dimensions, by Plotly; its script is fetched when it is needed.

import { app, byId, make, on } from "./app.js";
import { look } from "./charts.js";
import { TEXT, t } from "./text.js";

const COLOURS = ["#e4002b", "#ffffff", "#f0e442", "#ff9ff3"];

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

/**
 * The surface from above, with paths on it.
 * @param {string} id @param {import("./types.js").Arrays} arrays @param {string[]} axes
 * @param {{name: string, path: import("./types.js").NamedArray}[]} paths
 */
export async function flat(id, arrays, axes, paths) {
  if (!app.choices.surface) {
    byId(id).textContent = TEXT.needs_plotly;
    return;
  }
  const library = await plotly();
  const { across, along, heights, marks } = grid(arrays);
  const lines = paths.map(({ name, path }, k) => {
    const [x, y] = columns(path);
    return { type: "scatter", mode: "lines+markers", name, x, y, line: { color: COLOURS[k], width: 2.5 }, marker: { size: 4, color: COLOURS[k], line: { width: 1, color: "#222" } } };
  });
  const ends = paths.map(({ path }, k) => {
    const [x, y] = columns(path);
    return { type: "scatter", mode: "markers", showlegend: false, hoverinfo: "skip", x: [x.at(-1)], y: [y.at(-1)], marker: { symbol: "star", size: 14, color: COLOURS[k], line: { width: 1.5, color: "#000" } } };
  });
  await library.react(id, [{ type: "contour", x: across, y: along, z: heights, ncontours: 20, colorscale: "Cividis", line: { width: 0.4 }, colorbar: { title: { text: TEXT.loss }, thickness: 12, ...marks }, hoverinfo: "skip" }, ...lines, ...ends],
    { margin: { l: 50, r: 10, t: 10, b: 45 }, xaxis: { title: { text: axes[0] } }, yaxis: { title: { text: axes[1] } }, legend: { orientation: "h", y: 1.12 }, showlegend: paths.length > 1, height: 352 }, { responsive: true, displaylogo: false });
}

/** @param {string} id @param {import("./types.js").Arrays} arrays @param {string[]} axes @param {import("./types.js").NamedArray} path */
async function space(id, arrays, axes, path) {
  if (!app.choices.surface) return;
  const library = await plotly();
  const { across, along, heights, marks } = grid(arrays);
  const [x, y] = columns(path);
  const z = x.map((a, k) => interpolated(across, along, heights, a, y[k]));
  await library.react(id, [
    { type: "surface", x: across, y: along, z: heights, colorscale: "Cividis", showscale: false, opacity: 0.92, hoverinfo: "skip" },
    { type: "scatter3d", mode: "lines", x, y, z, line: { color: COLOURS[0], width: 7 }, hoverinfo: "skip" },
  ], { margin: { l: 0, r: 0, t: 0, b: 0 }, height: 352, showlegend: false, uirevision: "same", scene: { xaxis: { title: { text: axes[0] } }, yaxis: { title: { text: axes[1] } }, zaxis: { title: { text: TEXT.loss }, ...marks }, camera: { eye: { x: 1.5, y: -1.6, z: 1 } } } }, { responsive: true, displaylogo: false });
}

/** @param {import("./types.js").NamedArray} path @returns {[number[], number[]]} */
function columns(path) {
  const all = Array.from(path.data);
  return [all.filter((_, k) => k % 2 === 0), all.filter((_, k) => k % 2 === 1)];
}

/** The grid; heights are logarithms where losses span more than a factor of 20. @param {import("./types.js").Arrays} arrays */
function grid(arrays) {
  const [across, along] = [Array.from(arrays.across.data), Array.from(arrays.along.data)];
  const losses = Array.from(arrays.loss.data);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const logarithmic = low > 0 && high > 20 * low;
  const values = logarithmic ? losses.map(Math.log10) : losses;
  const heights = along.map((_, k) => values.slice(k * across.length, (k + 1) * across.length));
  /** @type {Record<string, any>} */
  let marks = {};
  if (logarithmic) {
    const tickvals = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) tickvals.push(power);
    marks = { tickvals, ticktext: tickvals.map((power) => String(Number((10 ** power).toPrecision(3)))) };
  }
  return { across, along, heights, marks };
}

/** @param {number[]} across @param {number[]} along @param {number[][]} heights @param {number} x @param {number} y */
function interpolated(across, along, heights, x, y) {
  const place = (/** @type {number[]} */ line, /** @type {number} */ v) => Math.min(line.length - 1.000001, Math.max(0, ((v - line[0]) / (line[line.length - 1] - line[0])) * (line.length - 1)));
  const [u, v] = [place(across, x), place(along, y)];
  const [i, j] = [Math.floor(u), Math.floor(v)];
  const mix = (/** @type {number} */ a, /** @type {number} */ b, /** @type {number} */ share) => a + (b - a) * share;
  return mix(mix(heights[j][i], heights[j][i + 1], u - i), mix(heights[j + 1][i], heights[j + 1][i + 1], u - i), v - j);
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
  on("surface", async ({ header, arrays }) => {
    if (byId("surface").hidden) return;
    byId("surface-words").textContent = header.variance === null ? "" : t("variance", { share: `${(100 * header.variance).toFixed(1)} %` });
    await flat("surface-flat", arrays, header.axes, [{ name: app.settings.optimizer, path: arrays.path }]);
    await space("surface-space", arrays, header.axes, arrays.path);
  });
}
