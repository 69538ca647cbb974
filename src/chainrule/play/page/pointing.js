// What the lenses that draw on a canvas do alike: fit it to the screen's pixels, draw, and follow mouse and keyboard.

import { canvasPainter } from "./painting.js";

/** Where each arrow key leads, as steps down and across. @type {Record<string, [number, number]>} */
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Give a canvas its size, which also clears it. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function resize(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  canvas.style.height = `${height}px`;
}

/** Draw a picture anew. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height @param {(painter: import("./painting.js").Painter) => void} paint */
export function redraw(canvas, width, height, paint) {
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const scale = window.devicePixelRatio || 1;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  paint(canvasPainter(pen));
}

/**
 * Follow the mouse and the keyboard on a canvas: arrow keys walk over what it shows, Enter and a click open it. Places are
 * in the canvas's pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {{point: (x: number, y: number) => void, walk: (down: number, across: number) => void, open: () => void, leave: () => void, arrange: () => void}} lens
 *   `arrange` is called when the room for the canvas changes
 */
export function follow(canvas, { point, walk, open, leave, arrange }) {
  canvas.onmousemove = (event) => point(event.offsetX, event.offsetY);
  canvas.onmouseleave = leave;
  canvas.onblur = leave;
  canvas.onclick = (event) => {
    point(event.offsetX, event.offsetY);
    open();
  };
  canvas.onkeydown = (event) => {
    if (event.key === "Enter") open();
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    walk(...way);
  };
  new ResizeObserver(arrange).observe(/** @type {HTMLElement} */ (canvas.parentElement));
}
