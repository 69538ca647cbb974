// What a language model writes: now, and at a few steps before, so that one sees it learn.

import { app, byId, make, on } from "./app.js";
import { TEXT, t } from "./text.js";

/** @typedef {{step: number, lines: [string, string][]}} Written */

/** The most texts that are kept: the first one, and the latest. */
const MOST = 4;

/** @type {Written[]} */
let kept = [];

/** Keep a text: those of steps that are still to come were taken back. @param {Written} one */
function keep(one) {
  kept = [...kept.filter(({ step }) => step < one.step), one];
  if (kept.length > MOST) kept.splice(1, kept.length - MOST);
}

function show() {
  if (!app.built?.sequence?.text) return;
  const lines = kept.some((one) => one.lines.length > 1);
  const texts = [...kept].reverse().map((one) => make("div", { className: "written" }, make("small", {}, t("written_step", { step: one.step.toLocaleString("en") })),
    make("pre", {}, ...one.lines.flatMap(([known, text], k) => [...(k ? ["\n"] : []), make("span", { className: "known" }, known), text.replace(/\n$/, "")]))));
  byId("others").replaceChildren(make("h3", {}, TEXT.written_title), ...texts, make("p", { className: "hint" }, TEXT[lines ? "written_lines" : "written_about"]));
}

export function startWritten() {
  on("built", () => (kept = []));
  on("written", ({ header }) => {
    keep(header);
    show();
  });
}
