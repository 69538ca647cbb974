// Why the network predicts what it does for the sample on the stage: asked for, and drawn as the engine sends it.

import { app, byId, make, on } from "./app.js";
import { shownStep } from "./stage.js";
import { TEXT, t } from "./text.js";

/** What is explained: a row of the training set, or the sample that is shown; null while the dialog is closed. @type {number | "shown" | null} */
let asked = null;

const box = () => /** @type {HTMLDialogElement} */ (byId("why"));

/** Ask about the sample on the stage; of a network that has no stage, about the first of the mini-batch. */
function ask() {
  const scene = shownStep();
  asked = (scene && (scene.chosen ?? scene.rows[scene.sample])) ?? "shown";
  app.send({ type: "why", row: asked });
  show({ of: "", done: 0, found: null, problem: "" });
  if (!box().open) box().showModal();
}

function close() {
  if (asked !== null) app.send({ type: "why" });
  asked = null;
}

/** @param {any} header the message */
function show({ of, step, done, found, problem }) {
  const button = make("button", { type: "button", id: "why-close", onclick: () => box().close() }, found || problem ? TEXT.close : TEXT.cancel);
  if (!found) {
    const words = problem || t(done ? "why_points" : "why_computing", { of: of || TEXT.why_sample, points: done.toLocaleString("en") });
    box().replaceChildren(make("h2", { id: "why-title" }, TEXT.why_title), make("p", { role: "status", className: problem ? "" : "busy" }, words), button);
    return;
  }
  const parts = make("div", { className: "why" });
  parts.innerHTML = found.html; // the engine has escaped every name in it
  const note = `${t("why_step", { step: step.toLocaleString("en") })} ${found.same_in_use ? "" : TEXT.why_in_use}`;
  box().replaceChildren(
    make("div", { className: "title" }, make("h2", { id: "why-title" }, found.title), button),
    make("p", {}, found.line), make("p", { className: "hint" }, note), parts,
  );
}

export function startWhy() {
  byId("why-ask").onclick = byId("why-first").onclick = ask;
  byId("why-ask").title = byId("why-first").title = TEXT.why_about;
  const offer = () => {
    byId("why-ask").hidden = app.saved;
    byId("why-panel").hidden = app.saved || shownStep() !== null;
  };
  for (const event of ["stage", "draw", "built"]) on(event, offer);
  on("why", ({ header }) => {
    if (asked === null || (asked !== "shown" && header.row !== asked)) return;
    show(header);
    if (header.found) box().scrollTop = 0;
  });
  on("error", ({ header }) => header.about === "why" && box().close());
  box().addEventListener("close", close);
}
