// The page: what is there is asked for, the parts are started, and the first network is made.

import { app, byId, emit, on } from "./app.js";
import { startAttention } from "./attention.js";
import { startBatch } from "./batch.js";
import { startCharts } from "./charts.js";
import { startCompare } from "./compare.js";
import { choices, connect } from "./connection.js";
import { apply, startControls } from "./controls.js";
import { startDoctor } from "./doctor.js";
import { startDrawing } from "./drawing.js";
import { startDrawpad } from "./drawpad.js";
import { startDraws } from "./draws.js";
import { openAgain, startExplanation } from "./explanation.js";
import { startFirst } from "./first.js";
import { startHighlight } from "./highlight.js";
import { startHistory } from "./history.js";
import { startLessons } from "./lessons.js";
import { startLine } from "./line.js";
import { startLoop } from "./loop.js";
import { startOutput } from "./output.js";
import { startRace } from "./race.js";
import { startReach } from "./reach.js";
import { startLenses } from "./lenses.js";
import { startMaps } from "./maps.js";
import { startMatrix } from "./matrix.js";
import { fromAddress, remember } from "./state.js";
import { startSequence } from "./sequence.js";
import { startSlice } from "./slice.js";
import { startStage } from "./stage.js";
import { startSurface } from "./surface.js";
import { startTakeAway } from "./takeaway.js";
import { startTaught } from "./taught.js";
import { TEXT, t } from "./text.js";
import { startWhy } from "./why.js";
import { startImportance } from "./importance.js";
import { startUnrolled } from "./unrolled.js";
import { startWritten } from "./written.js";

/** Put the texts where the page has a place for them. */
function fillTexts() {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) element.textContent = t(element.dataset.text ?? "");
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]"))) element.setAttribute("aria-label", t(element.dataset.label ?? ""));
}

function themes() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (/** @type {boolean} */ wanted) => {
    document.documentElement.dataset.theme = wanted ? "dark" : "light";
    emit("redraw"); // canvases have no style sheet
  };
  set(dark.matches);
  dark.onchange = () => set(dark.matches);
  addEventListener("resize", () => emit("redraw"));
  byId("theme").onclick = () => set(document.documentElement.dataset.theme !== "dark");
}

function messages() {
  const box = byId("message");
  let refused = "";
  const say = (/** @type {string} */ text) => {
    box.textContent = text;
    box.hidden = !text;
  };
  on("error", ({ header }) => {
    say(header.message);
    // Without a network there is nothing to go on with: open with the one that is always there.
    if (header.about !== "settings" || app.built || refused) return;
    app.settings = structuredClone(app.choices.first);
    refused = header.message;
    apply();
  });
  on("built", () => {
    say(refused);
    refused = "";
  });
  let closed = false;
  on("asked", () => closed || say(""));
  const notice = byId("notice");
  const tell = (/** @type {string} */ text) => {
    notice.textContent = text;
    notice.hidden = !text;
  };
  on("stopped", ({ header }) => {
    app.running = false;
    tell(header.words);
  });
  for (const name of ["asked", "built", "error"]) on(name, () => tell(""));
  on("closed", (reason) => {
    closed = true; // and stays so: the page must be reloaded
    say(t("disconnected", { reason: reason || TEXT.ended }));
  });
}

async function start() {
  fillTexts();
  themes();
  app.choices = await choices();
  const linked = fromAddress();
  app.settings = linked.settings;
  if (app.choices.given && linked.fresh) app.settings.data.kind = "given";
  app.lens = ["plane", "maps", "attention", "time", "weights"].includes(linked.lens ?? "") ? /** @type {any} */ (linked.lens) : "sample";
  app.edges = linked.edges ?? "weights";
  app.opened = linked.open ?? null;
  on("built", ({ header, arrays }) => {
    app.built = header;
    app.fixed = arrays;
    app.frame = null;
    app.arrays = {};
  });
  on("too few points", () => {
    app.built = app.frame = null;
    app.arrays = {};
  });
  on("frame", ({ header, arrays }) => {
    app.frame = header;
    // What a frame leaves out is still as it was.
    app.arrays = header.phase === "forward" || header.phase === "loss" ? { ...app.arrays, gradients: undefined, ...arrays } : { ...app.arrays, ...arrays };
  });
  messages();
  for (const part of [startSequence, startControls, startLoop, startLenses, startStage, startMaps, startAttention, startUnrolled, startLine, startBatch, startTaught, startDrawpad, startSlice, startFirst, startDrawing, startMatrix, startOutput, startWritten, startDraws, startCharts, startSurface, startCompare, startWhy, startImportance, startExplanation, startHistory, startRace, startLessons, startTakeAway, startDoctor, startReach, startHighlight]) part();
  on("built", openAgain);
  on("draw", () => {
    if (!app.running) remember();
  });
  on("explained", remember);
  app.upload = linked.upload ?? "";
  connect(app.upload);
  apply(linked.step ?? 0, linked.edits ?? []);
}

start();
