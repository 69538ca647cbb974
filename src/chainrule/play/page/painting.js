// What the lenses that draw on a canvas share: painters, colours, the legend, the name beside the cursor.

import { app, byId, colour, shown } from "./app.js";

/**
 * Something that draws: a canvas, or an SVG in the making.
 * @typedef {{line: (x1: number, y1: number, x2: number, y2: number, colour: string, width: number, dash: boolean) => void,
 *   image: (x: number, y: number, width: number, height: number, pixels: ImageData, smooth?: boolean) => void,
 *   box: (x: number, y: number, width: number, height: number, colour: string, line: number, fill?: string) => void,
 *   text: (x: number, y: number, text: string, size: number, colour: string) => void}} Painter
 */

/** An array of weights by its name. @param {string} name */
export function parameter(name) {
  for (const layer of app.built?.layers ?? []) for (const p of layer.parameters) if (p.name === name) return p;
  return null;
}

/** A weight's place in the flat vector, by its name. @param {string} name */
export function placeOf(name) {
  const match = /^(.*)\[([\d, ]+)\]$/.exec(name);
  const found = match && parameter(match[1]);
  if (!match || !found) return null;
  const index = match[2].split(",").map(Number);
  return found.start + index.reduce((sum, k, d) => sum * found.shape[d] + k, 0);
}

/** The numbers of all weights that lines and cells show. */
export function linesShown() {
  if (app.edges === "gradients" || app.edges === "deltas") return app.arrays.gradients?.data ?? null;
  if (app.edges === "updates") return app.arrays.updates?.data ?? null;
  return app.arrays.weights?.data ?? null;
}

/**
 * Numbers from -1 to 1 as colours, blue above 0 and orange below.
 * @param {ArrayLike<number>} values @param {number} across @param {number} rows @param {(v: number) => number} scaled
 */
export function shaded(values, across, rows, scaled) {
  const pixels = new ImageData(across, rows);
  for (let k = 0; k < across * rows; k++) {
    const v = Math.max(-1, Math.min(1, scaled(values[k])));
    const [r, g, b] = v >= 0 ? [0, 114, 178] : [224, 108, 20];
    const share = Math.abs(v);
    pixels.data.set([255 + (r - 255) * share, 255 + (g - 255) * share, 255 + (b - 255) * share, 255], 4 * k);
  }
  return pixels;
}

/** How wide a character of a canvas's text is, at most, as a share of its size. */
const LETTER = 0.56;

/**
 * The lines of a legend's words: the first begins beside its scale.
 * @param {string} words @param {number} width of the picture
 */
export function legendLines(words, width) {
  const fits = (/** @type {number} */ room) => Math.floor(room / (11 * LETTER));
  const lines = [""];
  for (const word of words.split(" ")) {
    const room = fits(width - (lines.length === 1 ? 195 : 16));
    if (lines[lines.length - 1].length + word.length < room) lines.push(`${lines.pop()}${word} `);
    else lines.push(`${word} `);
  }
  return lines;
}

/** The height of one line of a legend. */
export const LEGEND_LINE = 14;

/**
 * What colours mean: from -largest to largest, or from 0, and in words.
 * @param {Painter} painter @param {number} x @param {number} y @param {number} largest @param {string[]} lines @param {boolean} [fromZero]
 */
export function legend(painter, x, y, largest, lines, fromZero = false) {
  const ramp = shaded(Array.from({ length: 61 }, (_, k) => (fromZero ? k / 60 : k / 30 - 1)), 61, 1, (v) => v);
  const low = fromZero ? "0" : shown(-largest).replace("-", "−");
  const left = x + 8 + 6.5 * low.length;
  painter.text(x, y, low, 11, colour("soft-ink"));
  painter.image(left, y - 9, 90, 10, ramp);
  painter.box(left, y - 9, 90, 10, colour("soft-ink"), 1);
  painter.text(left + 96, y, `${shown(largest)}   ${lines[0]}`, 11, colour("soft-ink"));
  lines.slice(1).forEach((line, k) => painter.text(x, y + LEGEND_LINE * (k + 1), line, 11, colour("soft-ink")));
}

/** Where along a curve its x is this share of the way, as the share of its height. @param {number} share */
export function curveShare(share) {
  let [low, high] = [0, 1];
  for (let k = 0; k < 20; k++) {
    const s = (low + high) / 2;
    if (3 * s * (1 - s) * (1 - s) * 0.5 + 3 * s * s * (1 - s) * 0.5 + s * s * s < share) low = s;
    else high = s;
  }
  const s = (low + high) / 2;
  return s * s * (3 - 2 * s);
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
export function canvasPainter(pen) {
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
    image(x, y, width, height, pixels, smooth = false) {
      pen.imageSmoothingEnabled = smooth;
      pen.drawImage(toCanvas(pixels), x, y, width, height);
    },
    box(x, y, width, height, stroke, wide, fill) {
      pen.setLineDash([]);
      pen.lineWidth = wide;
      pen.strokeStyle = stroke;
      if (fill) {
        pen.fillStyle = fill;
        pen.fillRect(x, y, width, height);
      }
      pen.strokeRect(x, y, width, height);
    },
    text(x, y, text, size, fill) {
      pen.fillStyle = fill;
      pen.font = `${size}px system-ui, sans-serif`;
      pen.fillText(text, x, y);
    },
  };
}

/** A picture as an SVG. @param {number} width @param {number} height @param {(painter: Painter) => void} paint */
export function svgPainter(width, height, paint) {
  /** @type {string[]} */
  const parts = [];
  const safe = (/** @type {string} */ text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  paint({
    line: (x1, y1, x2, y2, stroke, wide, dash) => parts.push(`<path d="M${x1.toFixed(1)} ${y1.toFixed(1)}C${((x1 + x2) / 2).toFixed(1)} ${y1.toFixed(1)} ${((x1 + x2) / 2).toFixed(1)} ${y2.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}" fill="none" stroke="${stroke}" stroke-width="${wide.toFixed(2)}"${dash ? ' stroke-dasharray="5 3"' : ""}/>`),
    image: (x, y, wide, tall, pixels, smooth = false) => parts.push(`<image x="${x}" y="${y}" width="${wide}" height="${tall}" preserveAspectRatio="none" style="image-rendering:${smooth ? "auto" : "pixelated"}" href="${toCanvas(pixels).toDataURL()}"/>`),
    box: (x, y, wide, tall, stroke, line, fill) => parts.push(`<rect x="${x}" y="${y}" width="${wide}" height="${tall}" stroke="${stroke}" stroke-width="${line}" fill="${fill ?? "none"}"/>`),
    text: (x, y, text, size, fill) => parts.push(`<text x="${x}" y="${y}" font-size="${size}" fill="${fill}">${safe(text)}</text>`),
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="${colour("panel")}"/>${parts.join("\n")}</svg>\n`;
}

/** Say what is at a point of a canvas. @param {HTMLCanvasElement} canvas @param {[number, number]} at @param {string} text */
export function tip(canvas, [x, y], text) {
  const box = byId("tip");
  const place = /** @type {HTMLElement} */ (canvas.parentElement);
  box.hidden = !text;
  box.textContent = text;
  box.style.left = `${place.offsetLeft + Math.max(0, Math.min(x + 12, place.clientWidth - box.offsetWidth - 4))}px`;
  box.style.top = `${place.offsetTop + y + 16}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
}
