// The sample of a network for sequences: what was sent of it, and how its positions are called and coloured.

import { app, on } from "./app.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./types.js").SequenceMessage} SequenceMessage @typedef {import("./types.js").SequencePosition} Position */
/** @typedef {{header: SequenceMessage, arrays: import("./types.js").Arrays}} Sent */

/** What the engine sent last. @type {Sent | null} */
let sent = null;

export const sequence = () => sent;
export const positions = () => sent?.header.positions ?? [];
/** Whether backpropagation has reached a layer. @param {string} name */
export const reached = (name) => sent?.header.reached.includes(name) ?? false;

/** Characters that are not seen by themselves. @type {Record<string, string>} */
const UNSEEN = { " ": "␣", "\\n": "⏎", "\\t": "⇥", "": "␣" };

/** A token as it is shown in a cell. @param {string} name as Python writes it, in quotes */
export function glyph(name) {
  const inner = /^'(.*)'$/s.exec(name)?.[1] ?? /^"(.*)"$/s.exec(name)?.[1] ?? name;
  return UNSEEN[inner] ?? inner.replaceAll("\\n", "⏎").replaceAll("\\'", "'").replaceAll("\\\\", "\\");
}

/** A position in words: its number and what is read there. @param {number} at */
export function place(at) {
  const one = positions()[at];
  return one && app.built?.sequence?.text ? `${at} ‘${glyph(one.name)}’` : String(at);
}

/** How strong the strongest colour is: dark text is read on all of them. */
const STRONGEST = 0.72;

/** The colours of a share from -1 to 1: blue above 0, orange below. @param {number} share @returns {[number, number, number]} */
export function tone(share) {
  const s = STRONGEST * Math.max(-1, Math.min(1, share));
  const [r, g, b] = s >= 0 ? [0, 114, 178] : [224, 108, 20];
  const mixed = (/** @type {number} */ v) => Math.round(255 + (v - 255) * Math.abs(s));
  return [mixed(r), mixed(g), mixed(b)];
}

/** What is written on a coloured cell, in either theme; what is hidden by a mask or after the end. */
export const [INK, HIDDEN] = ["#1c1d1f", "#a0a2a8"];
export const css = (/** @type {[number, number, number]} */ [r, g, b]) => `rgb(${r}, ${g}, ${b})`;

/** A number in a narrow cell. @param {number} value */
export function brief(value) {
  const size = Math.abs(value);
  const text = size >= 99.5 ? value.toPrecision(2) : size >= 9.95 ? value.toFixed(0) : size >= 0.995 ? value.toFixed(1) : size >= 0.005 || !value ? value.toFixed(2) : value.toExponential(0);
  return text.replace("-", "−").replace(/^(−?)0\./, "$1.").replace("e−0", "e−");
}

/** A share, such as an attention weight, with two decimals. @param {number} value */
export const share = (value) => value.toFixed(2).replace("-", "−");

/** A number with two figures, however small. @param {number} value */
export function twoFigures(value) {
  const size = Math.abs(value);
  return size >= 0.001 && size < 100 ? String(Number(value.toPrecision(2))).replace("-", "−").replace(/^(−?)0\./, "$1.") : brief(value);
}

/** The widest cell of a row. */
export const WIDEST = 60;

/** How wide a text is, about, in pixels of a canvas. @param {string} text @param {number} size */
export const wide = (text, size) => text.length * size * 0.56;

/**
 * A text in the middle of a cell, as far as it fits.
 * @param {import("./painting.js").Painter} painter @param {string} text @param {{x: number, y: number, wide: number, high: number}} cell @param {number} size @param {string} colour
 */
export function centred(painter, text, cell, size, colour) {
  if (wide(text, size) > cell.wide - 1) return;
  painter.text(cell.x + (cell.wide - wide(text, size) * 0.96) / 2, cell.y + cell.high / 2 + 0.36 * size, text, size, colour);
}

/** What the phase has computed of the sample: its prediction and its loss. */
export function ofPhase() {
  if (!sent) return [];
  const { output, phase } = sent.header;
  const predicted = [output.prediction_line ?? ""].filter(Boolean);
  return phase === "weights" ? [] : phase === "forward" ? predicted : [...predicted, output.loss_line ?? ""];
}

/** The prediction at a position, in words. @param {number} at */
export function predictionLine(at) {
  const one = positions()[at];
  if (one?.p === undefined) return "";
  const blanks = { target: glyph(one.target ?? ""), p: share(one.p), likeliest: glyph(one.likeliest ?? ""), most: share(one.likeliest_p ?? 0) };
  return one.counts === false ? TEXT.sequence_uncounted : t(one.target === one.likeliest ? "sequence_right" : "sequence_wrong", blanks);
}

export function startSequence() {
  on("sequence", (message) => (sent = message));
  on("built", ({ header }) => {
    sent = null;
    document.body.dataset.sequence = String(Boolean(header.sequence));
  });
}
