// The chain rule of a weight, or of a unit's delta: all its levels, live while the network learns.

import { app, byId, emit, make, on, shown } from "./app.js";
import { TEXT, t } from "./text.js";

/** Open a weight by its name. @param {string} weight */
export function openWeight(weight) {
  app.opened = { weight };
  app.paths = [];
  app.send({ type: "open", weight });
}

/** Open a unit's delta. @param {string} layer @param {number} unit */
export function openUnit(layer, unit) {
  app.opened = { layer, unit };
  app.paths = [];
  app.send({ type: "open", layer, unit });
}

/** Open again what the address or the network before had open, if this network has it too. */
export function openAgain() {
  if (!app.opened) return;
  if (isThere(app.opened)) app.send({ type: "open", ...app.opened });
  else {
    app.opened = null;
    emit("forget");
  }
}

/** Whether the network has a weight of this name, or such a unit. @param {Record<string, any>} opened */
function isThere({ weight, layer, unit }) {
  const layers = app.built?.layers ?? [];
  if (layer !== undefined) return layers.some((one) => one.name === layer && unit < one.units);
  const match = /^(.*)\[([\d, ]+)\]$/.exec(weight);
  const array = match && layers.flatMap((one) => one.parameters).find((p) => p.name === match[1]);
  return Boolean(match && array && match[2].split(",").every((k, d) => Number(k) < array.shape[d]));
}

/** Which of the levels, and of the links in them, are open. @param {HTMLElement} box */
function openParts(box) {
  return Array.from(box.querySelectorAll("details"), (part) => part.open);
}

/** Show what the engine sent. @param {any} header */
function show(header) {
  const box = byId("explained");
  const before = openParts(box);
  const same = box.dataset.of === (header.weight ?? header.unit);
  box.dataset.of = header.weight ?? header.unit;
  box.dataset.step = header.step;
  if (header.weight) {
    app.paths = header.paths;
    if (!same || !box.querySelector(".edit")) box.replaceChildren(...weightParts(header));
    /** @type {HTMLElement} */ (box.querySelector(".short")).replaceChildren(header.gradient_line, make("br"), make("b", {}, header.update_line));
    const value = /** @type {HTMLInputElement} */ (box.querySelector(".edit input"));
    if (document.activeElement !== value) value.value = String(Number(header.value.toPrecision(7)));
    /** @type {HTMLElement} */ (box.querySelector(".scheme")).innerHTML = header.scheme;
  } else {
    app.paths = [];
    box.replaceChildren(make("p", { className: "short" }, `δ ${header.unit} = ${shown(header.delta)}`), make("div", { className: "levels" }));
  }
  const levels = /** @type {HTMLElement} */ (box.querySelector(".levels"));
  levels.innerHTML = header.levels;
  if (same) levels.querySelectorAll("details").forEach((part, k) => (part.open = before[k] ?? part.open));
  emit("explained", header);
}

/** @param {any} header @returns {Node[]} */
function weightParts(header) {
  const value = make("input", { type: "number", step: "any", "aria-label": `${TEXT.value}: ${header.weight}` });
  const form = make("form", { className: "edit" }, make("label", {}, `${header.weight} = `, value), make("button", {}, TEXT.set_value), make("output", { className: "answer" }));
  form.onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (value.value !== "") app.send({ type: "set weight", weight: header.weight, value: Number(value.value) });
    app.running = false;
  };
  return [make("p", { className: "short" }), form, make("div", { className: "scheme" }), make("div", { className: "levels" })];
}

function form() {
  const names = app.built?.layers.flatMap((layer) => layer.parameters) ?? [];
  const select = make("select", { id: "choose-array" }, ...names.map((p) => make("option", { value: p.name }, `${p.name} [${p.shape.join(", ")}]`)));
  const index = make("input", { type: "text", id: "choose-index", value: "0, 0", size: 8, "aria-label": TEXT.index });
  const parts = make("div", { className: "edit" }, make("label", {}, `${TEXT.weight_of} `, select), index, make("button", {}, TEXT.open));
  byId("choose").replaceChildren(parts);
  byId("choose").onsubmit = (event) => {
    event.preventDefault();
    const shape = names.find((p) => p.name === select.value)?.shape ?? [1];
    const places = index.value.split(",").map((/** @type {string} */ part) => part.trim()).slice(0, shape.length);
    openWeight(`${select.value}[${places.join(", ")}]`);
  };
}

export function startExplanation() {
  const empty = () => byId("explained").replaceChildren(make("p", { className: "hint" }, TEXT.nothing_opened));
  empty();
  on("built", form);
  on("forget", () => {
    app.paths = [];
    byId("explained").dataset.of = "";
    empty();
  });
  on("explanation", ({ header }) => show(header));
  on("selected", (/** @type {string} */ name) => {
    const unit = /^(.*)\[(\d+)\]$/.exec(name);
    if (app.built?.layers.some((layer) => layer.name === unit?.[1])) openUnit(String(unit?.[1]), Number(unit?.[2]));
    else if (name) openWeight(name);
  });
  on("nudged", ({ header }) => {
    const answer = byId("explained").querySelector(".answer");
    if (answer) answer.textContent = t("answer", { before: shown(header.before), after: shown(header.after), predicted: shown(header.predicted) });
  });
}
