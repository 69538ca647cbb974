// What the doctor finds in this training: how many in the bar, and each with its place and its remedy in a panel.

import { app, byId, emit, make, on } from "./app.js";
import { apply } from "./controls.js";
import { TEXT, t } from "./text.js";

/**
 * @typedef {{kind: string, words: string, place: string, severity: "note" | "warning" | "serious", select: string, remedy: string,
 *   cause: string, set: Record<string, any> | null, set_words: string}} Finding
 * @typedef {{step: number, findings: Finding[], too_long: string[], checks: number}} Found
 */

/** What was found last; null before the first round of checks. @type {Found | null} */
let found = null;
/** Whether it looks at all of a recorded run. */
let ofRun = false;
/** The findings that the panel shows, as JSON: the same are not drawn again under the pointer. */
let drawn = "";

/** @param {Finding} one */
function part(one) {
  const buttons = [];
  if (one.select) buttons.push(make("button", { type: "button", onclick: () => see(one) }, t("doctor_show", { place: one.select })));
  if (one.set) buttons.push(make("button", { type: "button", onclick: () => follow(one) }, t("doctor_set", { words: one.set_words })));
  return make("article", { className: one.severity },
    make("h3", {}, `${t(`doctor_${one.severity}`)}: ${one.kind}, ${one.place}`),
    make("p", {}, one.words),
    make("p", { className: "hint" }, one.cause ? t("doctor_consequence", { cause: one.cause }) : t("doctor_remedy", { words: one.remedy })),
    make("div", { className: "bar" }, ...buttons));
}

/** Select a finding's place; the panel makes room for the inspector. @param {Finding} one */
function see(one) {
  open(false);
  emit("selected", one.select);
}

/** Set what the remedy sets; the engine begins again with it. @param {Finding} one */
function follow(one) {
  Object.assign(app.settings, structuredClone(one.set));
  open(false);
  apply();
}

/** @param {boolean} wanted */
function open(wanted) {
  byId("doctor-panel").hidden = !wanted;
  byId("doctor").setAttribute("aria-expanded", String(wanted));
  byId("doctor-panel").style.top = `${byId("doctor").getBoundingClientRect().bottom + scrollY + 6}px`;
}

function show() {
  const button = byId("doctor");
  const count = found?.findings.length ?? 0;
  button.hidden = app.saved;
  button.textContent = !found ? TEXT.doctor_waits : count === 0 ? TEXT.doctor_none : count === 1 ? TEXT.doctor_one : t("doctor_some", { count });
  button.dataset.severity = found?.findings[0]?.severity ?? "";
  byId("doctor-status").textContent = count ? button.textContent : "";
  const more = found?.too_long.length ? [make("p", { className: "hint" }, t("doctor_too_long", { names: found.too_long.join(", ") }))] : [];
  const about = !found ? `${TEXT.doctor_about} ${ofRun ? TEXT.doctor_about_run : TEXT.doctor_about_waits}` : count ? "" : `${TEXT.doctor_about} ${t("doctor_about_none", found)}`;
  const now = JSON.stringify([about, found?.findings, found?.too_long]);
  if (now === drawn) return;
  drawn = now;
  byId("doctor-panel").replaceChildren(...(about ? [make("p", {}, about)] : []), ...(found?.findings ?? []).map(part), ...more);
}

export function startDoctor() {
  byId("doctor").onclick = () => open(byId("doctor-panel").hidden);
  byId("doctor-panel").onkeydown = byId("doctor").onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    open(false);
    byId("doctor").focus();
  };
  addEventListener("pointerdown", (event) => {
    if (!(event.target instanceof Element) || !event.target.closest("#doctor, #doctor-panel")) open(false);
  });
  on("built", () => {
    found = null;
    ofRun = false;
    show();
  });
  on("doctor", ({ header }) => {
    found = header.begun ? header : null;
    ofRun = header.of_run;
    show();
  });
}
