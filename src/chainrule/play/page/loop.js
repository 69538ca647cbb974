// The loop of learning as a diagram: lit at the phase that is running, and each phase a button.

import { app, breakable, byId, emit, heldOut, make, on, shown } from "./app.js";
import { predicted, sampleWords } from "./batch.js";
import { figure, has, shownStep } from "./stage.js";
import { PHASES, TEXT, t } from "./text.js";

const SPEEDS = [["0", "full_speed"], ["100", "slow_100"], ["10", "slow_10"], ["1", "slow_1"]];

/** Which phases were pressed by hand, for the lessons. @type {Set<string>} */
export const pressed = new Set();

export function startLoop() {
  const parts = PHASES.flatMap(({ phase, name, about, button }, k) => {
    const box = make(button ? "button" : "div", { id: `phase-${phase}` }, make("b", {}, name), make("small", {}, about));
    if (button) {
      box.onclick = () => {
        pressed.add(phase);
        app.running = false;
        emit("sample"); // a step is that of the mini-batch
        app.send({ type: "phase", phase });
      };
    }
    return k ? [make("span", { className: "arrow", "aria-hidden": "true" }, "→"), box] : [box];
  });
  byId("loop").replaceChildren(...parts);
  byId("loop").setAttribute("aria-label", TEXT.loop);
  const speed = /** @type {HTMLSelectElement} */ (byId("speed"));
  speed.replaceChildren(...SPEEDS.map(([value, name]) => make("option", { value }, t(name))));
  speed.onchange = () => app.running && run();
  // What the button says is what a click does, whatever has happened meanwhile.
  byId("run").onclick = () => (byId("run").textContent === TEXT.pause ? pause() : run());
  /** @param {string} id @param {string} type */
  const command = (id, type) => {
    byId(id).onclick = () => {
      app.running = false;
      app.send({ type });
      light();
    };
  };
  command("step", "step");
  command("epoch", "epoch");
  command("back", "back");
  command("reset", "reset");
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLElement && event.target.closest("input, select, textarea, button, summary, dialog");
    if (event.key === " " && !typing) {
      event.preventDefault();
      byId("run").click();
    }
  });
  const slider = /** @type {HTMLInputElement} */ (byId("slider"));
  slider.oninput = () => app.send({ type: "go to", step: Number(slider.value) });
  on("built", () => {
    byId("replay").hidden = app.built?.last_step === null;
    slider.max = String(app.built?.last_step ?? 0);
    for (const { phase, button } of PHASES) if (button) /** @type {HTMLButtonElement} */ (byId(`phase-${phase}`)).disabled = app.built?.last_step !== null && phase === "update";
    byId("phase-update").title = app.built?.last_step !== null ? TEXT.recorded_update : "";
  });
  for (const name of ["error", "stopped"])
    on(name, () => {  // the button says so at once: a click on it must not mean the opposite
      app.running = false;
      light();
    });
  on("settings", light);
  on("draw", light);
  on("stage", light);
}

/** The step at which the run stops by itself; none unless a lesson says so. @type {number | undefined} */
let until;

/** Run at the speed that is chosen, or as a lesson has it. @param {{speed: number, until?: number}} [how] */
export function run(how = { speed: Number(/** @type {HTMLSelectElement} */ (byId("speed")).value) }) {
  app.running = true;
  until = how.until;
  app.send({ type: "run", ...how });
  light();
}

export function pause() {
  app.running = false;
  app.send({ type: "pause" });
  light();
}

/** Show the phase and the numbers. */
function light() {
  const { frame } = app;
  if (until !== undefined && frame && frame.step >= until) app.running = false;
  byId("run").textContent = app.running ? TEXT.pause : TEXT.run;
  if (!frame) return;
  // At slow speeds the light wanders; at full speed the whole loop runs.
  const lit = app.running && frame.phase === "weights" ? PHASES.map((p) => p.phase) : [frame.phase];
  for (const { phase, about } of PHASES) {
    const box = byId(`phase-${phase}`);
    if (lit.length === 1 && lit[0] === phase && !box.classList.contains("lit")) into(box);
    box.classList.toggle("lit", lit.includes(phase));
    const small = /** @type {HTMLElement} */ (box.querySelector("small"));
    small.replaceChildren(...breakable(said(phase) ?? about));
  }
  byId("now-step").textContent = frame.step.toLocaleString("en");
  byId("now-epoch").textContent = frame.epoch.toFixed(1);
  if (frame.loss !== null) put("now-loss", frame.loss);
  byId("now-held-name").textContent = t(`${heldOut()}_loss`);
  if (frame.held) {
    put("now-held", frame.held.loss ?? null);
    const [name, value] = Object.entries(frame.held).find(([key]) => key !== "loss") ?? ["", null];
    const several = frame.held_targets?.length;
    byId("now-metric-name").textContent = name ? t(`${heldOut()}_metric`, { name: name.replaceAll("_", " ") }) + (several ? ` (mean of ${several})` : "") : "";
    byId("now-metric").textContent = name === "accuracy" && value !== null ? `${(100 * value).toFixed(1)} %` : shown(value);
  }
  if (app.built?.last_step !== null) {
    /** @type {HTMLInputElement} */ (byId("slider")).value = String(frame.step);
    byId("slider-step").textContent = String(frame.step);
    if (frame.step === app.built?.last_step) app.running = false;
  }
}

/** Scroll the loop, which on a phone is wider than the screen, to a phase. @param {HTMLElement} box */
function into(box) {
  const loop = byId("loop");
  loop.scrollLeft += box.getBoundingClientRect().left - loop.getBoundingClientRect().left - (loop.clientWidth - box.offsetWidth) / 2;
}

/** Put a number where it is shown, and its full precision beside it. @param {string} id @param {number | null} value */
function put(id, value) {
  byId(id).textContent = shown(value);
  byId(id).dataset.number = String(value);
}

/** What a phase says while a step is under way. @param {string} phase */
function said(phase) {
  const { frame } = app;
  const scene = shownStep();
  if (!frame || (app.running && frame.phase === "weights")) return null;
  if (phase === "data" && scene) return sampleWords(scene);
  if (phase === "weights" && frame.step) return frame.step === 1 ? TEXT.weights_changed_once : t("weights_changed", { count: frame.step.toLocaleString("en") });
  if (phase === "forward" && scene && has("forward")) return predicted(scene.output);
  if (phase === "loss" && scene && has("loss")) return `L = ${figure(scene.output.loss)}`;
  if (phase === "loss" && ["loss", "backward"].includes(frame.phase)) return `L = ${shown(frame.batch_loss)}`;
  if (phase === "backward" && frame.phase === "backward") return t("delta_of", { unit: frame.layer });
  return null;
}
