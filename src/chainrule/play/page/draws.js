// The weights as they were drawn, as bars, over the density of their distribution.

import { app, byId, colour, make, on, shown } from "./app.js";
import { t } from "./text.js";

const [WIDTH, HEIGHT] = [240, 64];

/** The weights of one layer. @param {import("./types.js").Draw} draw */
export function drawnWeights(draw) {
  const scale = window.devicePixelRatio || 1;
  const canvas = make("canvas", { className: "draw", role: "img", width: WIDTH * scale, height: HEIGHT * scale, "aria-label": t("draw_label", { layer: draw.layer, distribution: draw.distribution, widest: shown(draw.widest) }) });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.scale(scale, scale);
  const most = Math.max(...draw.drawn, ...draw.density, 1e-9);
  const wide = WIDTH / draw.drawn.length;
  pen.fillStyle = colour("plus");
  draw.drawn.forEach((share, k) => pen.fillRect(k * wide, HEIGHT - (share / most) * HEIGHT, wide - 1, (share / most) * HEIGHT));
  pen.strokeStyle = colour("minus");
  pen.lineWidth = 2;
  pen.beginPath();
  draw.density.forEach((share, k) => pen.lineTo((k + 0.5) * wide, HEIGHT - 2 - (share / most) * (HEIGHT - 4)));
  pen.stroke();
  const axis = [`−${shown(draw.widest)}`, "0", shown(draw.widest)].map((text) => make("span", {}, text));
  return make("figure", {}, make("figcaption", {}, make("b", {}, `${draw.layer}.W`), ` ~ ${draw.distribution}`), canvas, make("div", { className: "axis" }, ...axis));
}

function draw() {
  byId("draws").replaceChildren(make("p", { className: "hint" }, t("draws_words")), ...(app.built?.draws ?? []).map(drawnWeights));
}

export function startDraws() {
  on("built", draw);
  on("redraw", draw);
}
