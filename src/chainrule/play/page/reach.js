// Reaching everything: arrow keys on the stage, a mode for the projector, and the inspector as a sheet on a phone.

import { app, byId, on } from "./app.js";
import { isBackwardComplete } from "./stage.js";

/** Which way each arrow key points. @type {Record<string, [number, number]>} */
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The middle of an element. @param {Element} element @returns {[number, number]} */
function middle(element) {
  const box = element.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

/** The unit or weight that is next to this one, if there is any. @param {Element} from @param {[number, number]} way */
function neighbour(from, [dx, dy]) {
  const [x, y] = middle(from);
  let [best, nearest] = [/** @type {HTMLElement | null} */ (null), Infinity];
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (byId("stage").querySelectorAll("[tabindex='0']"))) {
    const [along, aside] = [(middle(one)[0] - x) * dx + (middle(one)[1] - y) * dy, Math.abs((middle(one)[0] - x) * dy + (middle(one)[1] - y) * dx)];
    const distance = along + 2 * aside;
    if (along > 2 && distance < nearest) [best, nearest] = [one, distance];
  }
  return best;
}

/** The next phase of the step, or of the first minute. */
function next() {
  const first = document.getElementById("next");
  if (first) return first.click();
  const phases = ["forward", "loss", "backward", "update"];
  const at = phases.indexOf(app.frame?.phase ?? "");
  const again = app.frame?.phase === "backward" && !isBackwardComplete();
  byId(`phase-${phases[again ? at : (at + 1) % phases.length]}`).click();
}

/** @param {KeyboardEvent} event */
function arrow(event) {
  const way = WAYS[event.key];
  const target = /** @type {Element | null} */ (event.target);
  if (!way || target?.closest("input, select, textarea, dialog, [role=tablist]")) return;
  const on_stage = target?.closest("#stage [tabindex='0']");
  if (on_stage) neighbour(on_stage, way)?.focus();
  else if (document.body.dataset.projector !== "true" || way[1]) return;
  else if (way[0] > 0) next();
  else byId("back").click();
  event.preventDefault();
}

/** Keep the focus on its unit or weight when the stage is drawn again. */
function keepFocus() {
  let focused = "";
  const name = (/** @type {Element | null | undefined} */ element) => element?.getAttribute("data-weight") ?? element?.getAttribute("data-unit") ?? "";
  document.addEventListener("focusin", (event) => (focused = name(/** @type {Element} */ (event.target).closest("#stage [tabindex='0']"))));
  document.addEventListener("pointerdown", () => (focused = ""));
  on("stage", () => {
    if (!focused || document.activeElement !== document.body) return;
    for (const one of /** @type {NodeListOf<HTMLElement>} */ (byId("stage").querySelectorAll("[tabindex='0']"))) if (name(one) === focused) one.focus({ preventScroll: true });
  });
}

export function startReach() {
  document.addEventListener("keydown", arrow);
  keepFocus();
  byId("projector").onclick = () => {
    const wanted = document.body.dataset.projector !== "true";
    document.body.dataset.projector = String(wanted);
    byId("projector").setAttribute("aria-pressed", String(wanted));
  };
  const open = (/** @type {boolean} */ wanted) => (document.body.dataset.open = String(wanted));
  byId("close-inspector").onclick = () => open(false);
  on("selected", (name) => open(Boolean(name)));
  on("first", (name) => open(name === "derivative")); // on a phone, the sheet would cover what the other clicks explain
  on("explained", () => document.body.dataset.open ?? open(true));
  on("forget", () => open(false));
}
