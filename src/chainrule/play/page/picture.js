// The stage's picture as a file: an SVG that needs no style sheet, or a PNG.

import { app, byId, colour } from "./app.js";
import { attentionSvg } from "./attention.js";
import { planeSvg } from "./drawing.js";
import { mapsSvg } from "./maps.js";
import { weightsSvg } from "./matrix.js";
import { timeSvg } from "./unrolled.js";

/** What a style sheet gives an element of the picture. */
const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight", "text-anchor"];

/** What the stage shows, as an SVG. */
export function asSvg() {
  if (app.lens === "plane") return planeSvg();
  if (app.lens === "maps") return mapsSvg();
  if (app.lens === "attention") return attentionSvg();
  if (app.lens === "time") return timeSvg();
  if (app.lens === "weights") return weightsSvg();
  const picture = byId("stage-picture").querySelector("svg");
  if (!picture) return "";
  const copy = /** @type {SVGSVGElement} */ (picture.cloneNode(true));
  const [from, to] = [picture, copy].map((one) => Array.from(one.querySelectorAll("*")));
  from.forEach((element, k) => {
    const style = getComputedStyle(element);
    for (const name of STYLED) to[k].setAttribute(name, style.getPropertyValue(name));
    to[k].removeAttribute("style");
  });
  const { width, height } = picture.viewBox.baseVal;
  for (const [name, value] of [["xmlns", "http://www.w3.org/2000/svg"], ["width", width], ["height", height], ["font-family", "system-ui, Helvetica, Arial, sans-serif"], ["style", `background: ${colour("panel")}`]]) copy.setAttribute(String(name), String(value));
  return `${copy.outerHTML}\n`;
}

/** What the stage shows, as a PNG. @returns {Promise<Blob | null>} */
export async function asPng() {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(asSvg())}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * image.naturalWidth, 2 * image.naturalHeight];
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.fillStyle = colour("panel");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
