// A recording in place of the engine: it answers the page's commands with the messages that a session answered.

import { app, byId, make } from "./app.js";
import { unpacked } from "./messages.js";
import { TEXT, t } from "./text.js";

/**
 * A state that the page can be in: where each command leads from it, and the numbers of the messages to send, by sample,
 * by the layer of the histogram, and by what is open (a unit's by sample, too).
 * @typedef {{step: number, phase: string, after: Record<string, number | null>, samples: number[][],
 *   histograms: Record<string, number[]>, opened: Record<string, number[][]>}} State
 * @typedef {{choices: import("./types.js").Choices, steps: number[], built: number, states: State[],
 *   places: [number, number][]}} Recording
 */

/** Milliseconds between two steps at full speed: few steps are saved, and each is to be seen. */
const PAUSE = 250;

/** @type {Recording} */
let recording;
/** @type {import("./types.js").Numbers} */
let contents;
/** @type {(message: ReturnType<typeof unpacked>) => void} */
let deliver;

let state = 0;
let [sample, histogram, opened] = [0, "", ""];
let running = false;
let changed = false;
/** @type {Record<string, any>[]} */
let waiting = [];
let answers = 0;

/**
 * The choices of the recording in this document, if there is one; from then on its messages are delivered.
 * @param {(message: ReturnType<typeof unpacked>) => void} receive
 */
export async function openRecording(receive) {
  const element = document.getElementById("saved");
  if (!element) return null;
  const bytes = Uint8Array.from(atob(element.textContent ?? ""), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { header, arrays } = unpacked(await new Response(stream).arrayBuffer());
  [recording, contents, deliver] = [header, arrays.messages.data, receive];
  app.saved = true;
  document.body.dataset.saved = "";
  byId("theme").before(make("span", { id: "saved-words", className: "hint", title: TEXT.saved_about }, t("saved_words", { steps: listed(recording.steps) })));
  return recording.choices;
}

/** Steps as text, those in a row as a range. @param {number[]} steps */
function listed(steps) {
  const starts = steps.filter((step) => !steps.includes(step - 1));
  return starts.map((start) => {
    let end = start;
    while (steps.includes(end + 1)) end++;
    return end === start ? String(start) : `${start} to ${end}`;
  }).join(", ");
}

/** Take a command; all that come at once are answered together, as by the engine. @param {Record<string, any>} message */
export function answer(message) {
  waiting.push(message);
  if (waiting.length === 1) setTimeout(work);
}

function work() {
  const messages = waiting;
  waiting = [];
  for (const message of messages) {
    answers = message.number ?? answers;
    obey(message);
  }
  if (changed) show();
}

/** @param {Record<string, any>} message */
function obey(message) {
  const { type } = message;
  if (type === "shown") return;
  if (type === "settings") begin(message);
  else if (type === "view") {
    const asked = message.view.sample;
    if (asked >= now().samples.length) refuse(TEXT.saved_sample, type);
    [sample, histogram, changed] = [asked, message.view.histogram, true];
  }
  else if (type === "open") {
    opened = message.weight ?? `${message.layer}[${message.unit}]`;
    send(ofSample(now().opened[opened] ?? [[]]));
  } else if (type === "run") run(message.speed);
  else if (type === "pause") [running, changed] = [false, true];
  else if (type === "step" || type === "back" || type === "reset" || type === "phase") move(type === "phase" ? `phase ${message.phase}` : type);
  else refuse(TEXT.saved_refused, type);
}

const now = () => recording.states[state];

/** The saved network, at its start or at the step of a link; there is no other. @param {Record<string, any>} message */
function begin(message) {
  const other = JSON.stringify(message.settings) !== JSON.stringify(recording.choices.first);
  if (other && !app.built) return refuse(TEXT.saved_refused, "settings");
  app.settings = structuredClone(recording.choices.first);
  state = Math.max(0, recording.states.findIndex(({ step, phase }) => step === message.step && phase === "weights"));
  [running, opened, changed] = [false, "", true];
  send([recording.built]);
  if (other) refuse(TEXT.saved_refused, "settings");
}

/** @param {string} command */
function move(command) {
  running = false;
  const next = now().after[command];
  if (next !== null) state = next;
  else refuse(t(now().after.step === null ? "saved_end" : "saved_gap", { step: now().step }), command);
  changed = true;
}

/** Go through the saved steps; from the last, begin again. @param {number} speed steps a second, 0 for full speed */
function run(speed) {
  if (now().after.step === null) state = 0;
  running = true;
  const tick = () => {
    const next = now().after.step;
    if (!running || next === null) return;
    state = next;
    running = app.running = now().after.step !== null;
    show();
    setTimeout(tick, Math.max(PAUSE, speed && 1000 / speed));
  };
  tick();
}

/** Send what is shown of this state, in the engine's order: what is open comes last. */
function show() {
  changed = false;
  const { samples, histograms, opened: openings } = now();
  send(ofSample(samples));
  send(histograms[histogram] ?? Object.values(histograms)[0]);
  send(ofSample(openings[opened] ?? [[]]));
}

/** The messages for the sample on the stage, or the last there are. @param {number[][]} all */
const ofSample = (all) => all[Math.min(sample, all.length - 1)];

/** @param {number[]} numbers */
function send(numbers) {
  for (const number of numbers) {
    const [start, end] = recording.places[number];
    const { header, arrays } = unpacked(/** @type {ArrayBuffer} */ (contents.slice(start, end).buffer));
    deliver({ header: { ...header, answers }, arrays });
  }
}

/** @param {string} message @param {string} about */
function refuse(message, about) {
  changed = true;
  deliver({ header: { type: "error", message, about, answers }, arrays: {} });
}
