// The chain rule of a weight, or of a unit's delta: all its levels, live while the network learns.

import { app, byId, emit, make, on, shown } from "./app.js";
import { look } from "./charts.js";
import { historyPanel } from "./history.js";
import { TABS, TEXT, t } from "./text.js";
import { unitParts } from "./unit.js";

/** Open a weight by its name. @param {string} weight */
export function openWeight(weight) {
  app.opened = { weight };
  app.paths = [];
  app.send({ type: "open", weight });
  showBusy();
}

/** Open a unit's delta, at a position if it has several. @param {string} layer @param {number} unit @param {number[]} [position] */
export function openUnit(layer, unit, position) {
  app.opened = position ? { layer, unit, position } : { layer, unit };
  app.paths = [];
  app.send({ type: "open", ...app.opened });
  showBusy();
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

/** The tab that is shown, kept from one weight to the next. */
let tab = "picture";

/** Show what the engine sent. @param {any} header */
function show(header) {
  const box = byId("explained");
  const name = header.weight ?? header.called;
  const same = box.dataset.of === name;
  const open = Array.from(box.querySelectorAll("details details, .unit-levels details"), (part) => /** @type {HTMLDetailsElement} */ (part).open);
  box.dataset.of = name;
  box.dataset.step = header.step;
  box.dataset.unit = header.unit ?? "";
  app.paths = header.paths ?? [];
  if (header.weight) showWeight(box, header, same);
  else box.replaceChildren(...unitParts(header));
  if (same) box.querySelectorAll("details details, .unit-levels details").forEach((part, k) => (/** @type {HTMLDetailsElement} */ (part).open = open[k] ?? true));
  emit("explained", header);
}

/** @param {HTMLElement} box @param {any} header @param {boolean} same whether its parts are there already */
function showWeight(box, header, same) {
  if (!same || !box.querySelector(".edit")) box.replaceChildren(...weightParts(header));
  /** @type {HTMLElement} */ (box.querySelector(".short")).replaceChildren(header.gradient_line, make("br"), make("b", {}, header.update_line));
  const value = /** @type {HTMLInputElement} */ (box.querySelector(".edit input"));
  if (document.activeElement !== value) value.value = String(Number(header.value.toPrecision(7)));
  /** @type {HTMLElement} */ (box.querySelector(".scheme")).innerHTML = header.scheme;
  /** @type {HTMLElement} */ (box.querySelector(".levels")).innerHTML = header.levels;
  choose(tab);
}

/** Show one tab's panel. @param {string} name */
function choose(name) {
  tab = name;
  for (const { id } of TABS) {
    const panel = byId(id === "picture" ? "scheme" : id);
    panel.hidden = id !== name;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${id}`);
    if (panel instanceof HTMLDetailsElement) panel.open = true;
    const button = byId(`tab-${id}`);
    button.setAttribute("aria-selected", String(id === name));
    button.tabIndex = id === name ? 0 : -1;
  }
  const history = name === "history";
  if (history !== app.history) {
    app.history = history; // costly, and so sent only while it is shown
    look();
  }
  emit("tab", name);
}

/** The tabs: the picture, and the levels of the explanation. */
function tabs() {
  const buttons = TABS.map(({ id, name, about }) => make("button", { id: `tab-${id}`, type: "button", role: "tab", title: about, "aria-controls": id === "picture" ? "scheme" : id, onclick: () => choose(id) }, name));
  const list = make("div", { className: "tabs", role: "tablist", "aria-label": TEXT.levels }, ...buttons);
  list.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = TABS.findIndex(({ id }) => id === tab);
    choose(TABS[(at + by + TABS.length) % TABS.length].id);
    byId(`tab-${tab}`).focus();
    event.preventDefault();
    event.stopPropagation();
  };
  return list;
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
  return [form, make("p", { className: "short" }), tabs(), make("div", { className: "scheme", id: "scheme" }), historyPanel(), make("div", { className: "levels" })];
}

function form() {
  const names = app.built?.layers.flatMap((layer) => layer.parameters) ?? [];
  const select = make("select", { id: "choose-array" }, ...names.map((p) => make("option", { value: p.name }, `${p.name} [${p.shape.join(", ")}]`)));
  const index = make("input", { type: "text", id: "choose-index", value: "0, 0", size: 8, "aria-label": TEXT.index });
  const parts = make("div", { className: "edit" }, make("label", {}, `${TEXT.weight_of} `, select), index, make("button", {}, TEXT.open));
  // One index for each axis, as this array has them.
  const zeros = () => (index.value = Array(names.find((p) => p.name === select.value)?.shape.length ?? 2).fill(0).join(", "));
  select.onchange = zeros;
  zeros();
  byId("choose").replaceChildren(parts);
  byId("choose").onsubmit = (event) => {
    event.preventDefault();
    const shape = names.find((p) => p.name === select.value)?.shape ?? [1];
    const places = index.value.split(",").map((/** @type {string} */ part) => part.trim()).slice(0, shape.length);
    openWeight(`${select.value}[${places.join(", ")}]`);
  };
}

/** What can be clicked through the lens: of the networks with feature maps only a convolution is seen sample by sample. */
const clickable = () => t(`nothing_opened_${app.lens === "sample" && app.built?.maps.length ? "convolution" : app.lens}`);

/** What is open, by the name that its explanation has. */
const openName = () => app.opened?.weight ?? (app.opened ? `${app.opened.layer}[${app.opened.unit}]` : "");

/** What could not be opened. */
let refused = "";

/** Say that an explanation is computed, if what is shown is of something else, or of another step. */
function showBusy() {
  const { of, step, unit } = byId("explained").dataset;
  const name = openName();
  const isDue = name && name !== refused && !app.saved && !app.running && app.frame && !((of === name || unit === name) && step === String(app.frame.step));
  const there = document.getElementById("explaining");
  if (!isDue) there?.remove();
  else if (!there) byId("explained").before(make("p", { id: "explaining", className: "busy hint", role: "status" }));
  if (isDue) byId("explaining").replaceChildren(t("explaining", { name }), " ", make("button", { type: "button", onclick: cancel }, TEXT.cancel));
}

/** Explain nothing any more. */
function cancel() {
  app.opened = null;
  app.send({ type: "open" });
  emit("forget");
  showBusy();
}

export function startExplanation() {
  const empty = () => byId("explained").replaceChildren(make("p", { className: "hint" }, t("nothing_opened", { what: clickable() })));
  empty();
  on("built", form);
  on("lens", () => {
    if (!byId("explained").dataset.of) empty();
  });
  on("forget", () => {
    app.paths = [];
    byId("explained").dataset.of = "";
    empty();
  });
  // One that was on its way when its weight was closed comes too late.
  on("explanation", ({ header }) => {
    if (app.opened) show(header);
    showBusy();
  });
  for (const event of ["draw", "built"]) on(event, showBusy);
  on("error", ({ header }) => {
    if (header.about !== "open") return;
    refused = openName();
    showBusy();
  });
  on("selected", (/** @type {string} */ name) => {
    const [, layer, places] = /^(.*)\[([\d, ]+)\]$/.exec(name) ?? [];
    const index = (places ?? "").split(",").map(Number); // positions come before the unit
    if (app.built?.layers.some((one) => one.name === layer)) openUnit(layer, index[index.length - 1], index.length > 1 ? index.slice(0, -1) : undefined);
    else if (/\.[A-Za-z]+\[/.test(name)) openWeight(name);
  });
  on("nudged", ({ header }) => {
    const answer = byId("explained").querySelector(".answer");
    if (answer) answer.textContent = t("answer", { before: shown(header.before), after: shown(header.after), predicted: shown(header.predicted) });
  });
}
