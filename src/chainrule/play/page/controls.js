// The forms: data, layers, and how they are trained. Each change makes a new network.

import { app, byId, emit, make, on } from "./app.js";
import { previewAgain, send } from "./preview.js";
import { TEXT, PRESETS, t } from "./text.js";

let drawnClass = 0;

/** The class that a click draws. */
export const classToDraw = () => drawnClass;

/**
 * Send the settings; the engine answers with a new network.
 * @param {number} [step] @param {[number, string, number][]} [edits] weights that were changed by hand on the way there
 */
export function apply(step = 0, edits = []) {
  app.running = false;
  app.send({ type: "settings", settings: app.settings, step, edits, run: Boolean(app.choices.run) });
  emit("settings");
}

/**
 * A field of a form: a label and its control.
 * @param {string} name @param {any} control
 */
function field(name, control) {
  return make("label", { className: "field" }, make("span", {}, t(name)), control);
}

/**
 * A control that chooses one of several.
 * @param {[string, string][]} options value and label @param {string} value @param {(value: string) => void} chosen
 */
export function chooser(options, value, chosen) {
  const select = make("select", {}, ...options.map(([v, label]) => make("option", { value: v }, label)));
  select.value = value;
  select.onchange = () => chosen(select.value);
  return select;
}

/**
 * A control for a number.
 * @param {number} value @param {(value: number) => void} chosen @param {Record<string, any>} limits
 */
function number(value, chosen, limits = {}) {
  const input = make("input", { type: "number", value: String(value), ...limits });
  input.onchange = () => {
    if (input.value !== "" && input.checkValidity()) chosen(Number(input.value));
    else input.value = String(value);
  };
  return input;
}

/** @param {string[]} names @returns {[string, string][]} */
const plain = (names) => names.map((name) => [name, name.replaceAll("_", " ")]);

/** Settings that suit sequences, before they are chosen; a network for them suits nothing else. @param {string} kind @param {string} name */
function suit(kind, name) {
  const sequences = kind === "sequence" ? app.choices.sequences[name].settings : app.built?.sequence ? { network: "" } : {};
  Object.assign(app.settings, structuredClone(sequences));
  if (kind === "sequence") app.settings.options = [];
}

function dataForm() {
  const { data } = app.settings;
  const box = byId("data");
  byId("training").hidden = Boolean(app.choices.run);
  if (app.choices.run) {
    box.replaceChildren(make("h2", {}, TEXT.data), make("p", { className: "hint", id: "run-words" }, t("recorded", { run: app.choices.run.name, data: app.built?.data, steps: app.choices.run.steps })));
    return;
  }
  /** @type {[string, string][]} */
  const sets = [
    ...Object.keys(app.choices.planes).map((name) => /** @type {[string, string]} */ ([`plane:${name}`, name])),
    ["drawn:", TEXT.own_points],
    ...Object.keys(app.choices.builtin).map((name) => /** @type {[string, string]} */ ([`builtin:${name}`, name])),
    ...Object.keys(app.choices.sequences).map((name) => /** @type {[string, string]} */ ([`sequence:${name}`, name])),
  ];
  if (app.choices.given || app.upload) sets.push(["given:", `${TEXT.given}: ${app.built?.data ?? app.choices.given?.name ?? ""}`]);
  const chosen = `${data.kind}:${["plane", "builtin", "sequence"].includes(data.kind) ? data.name : ""}`;
  const fields = make("div", { className: "fields" });
  const predicts = app.built && data.kind === "given" ? [make("p", { className: "hint", id: "data-words" }, t("data_words", { name: app.built.data, target: app.built.target, count: app.built.samples[0] + app.built.samples[1] }))] : [];
  fields.append(field("data", labelled("data-set", chooser(sets, chosen, (value) => {
    const [kind, name] = value.split(":");
    suit(kind, name);
    data.kind = kind;
    if (name) data.name = name;
    apply();
  }))));
  if (data.kind === "plane") {
    fields.append(
      field("samples", labelled("samples", number(data.samples, (v) => { data.samples = v; apply(); }, { min: "10", max: "2000" }))),
      field("noise", labelled("noise", number(data.noise, (v) => { data.noise = v; apply(); }, { min: "0", max: "1", step: "0.01" }))),
    );
  }
  if (data.kind === "plane" || data.kind === "drawn") fields.append(featureChecks());
  if (data.kind === "drawn") fields.append(pencil());
  box.replaceChildren(make("h2", {}, TEXT.data), fields, dropBox());
  const about = app.choices.planes[data.name] ?? app.choices.builtin[data.name] ?? app.choices.sequences[data.name]?.about;
  if (about && data.kind !== "drawn" && data.kind !== "given") fields.append(make("p", { className: "hint" }, about));
  fields.append(...predicts);
  if (app.built && data.kind === "given" && app.upload) fields.append(make("button", { type: "button", id: "columns", onclick: previewAgain }, TEXT.columns));
  if (app.built) fields.append(make("p", { className: "hint" }, `${app.built.samples[0]} + ${app.built.samples[1]}: ${TEXT.training.toLowerCase()}, test${app.built.measured < app.built.samples[0] ? t("measured_on", { count: app.built.measured }) : ""}`));
}

/** @param {string} id @param {any} control */
function labelled(id, control) {
  control.id = id;
  return control;
}

function featureChecks() {
  const { data } = app.settings;
  const boxes = app.choices.features.map((feature) => {
    const check = make("input", { type: "checkbox", checked: data.features.includes(feature) });
    check.onchange = () => {
      const wanted = app.choices.features.filter((name) => (name === feature ? check.checked : data.features.includes(name)));
      if (wanted.length) data.features = wanted;
      apply();
    };
    return make("label", {}, check, ` ${feature}`);
  });
  return make("fieldset", {}, make("legend", {}, TEXT.features), make("div", { className: "checks" }, ...boxes));
}

function pencil() {
  const clear = make("button", { type: "button" }, TEXT.clear_points);
  clear.onclick = () => {
    app.settings.data.points = [];
    apply();
  };
  const classes = chooser([["0", TEXT.class_0], ["1", TEXT.class_1]], String(drawnClass), (value) => (drawnClass = Number(value)));
  return make("div", { className: "fields" }, field("draw_class", labelled("draw-class", classes)), clear);
}

function dropBox() {
  const input = make("input", { type: "file", accept: ".csv,.tsv,.gz,.zst,.parquet,.arrow,.feather,.xlsx", "aria-label": TEXT.choose_file, id: "file" });
  input.onchange = () => {
    if (input.files?.[0]) send(input.files[0]);
    input.value = ""; // or the same file could not be chosen again
  };
  const box = make("div", { className: "drop", id: "drop" }, make("p", { className: "hint" }, TEXT.drop), input);
  box.ondragover = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    box.classList.add("over");
  };
  box.ondragleave = () => box.classList.remove("over");
  box.ondrop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    box.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) send(file);
  };
  return box;
}

function trainingForm() {
  const s = app.settings;
  const task = app.built?.task ?? "classification";
  const losses = Object.entries(app.choices.losses).filter(([, tasks]) => tasks.includes(task)).map(([name]) => name);
  /** @param {keyof import("./types.js").Settings} name @param {Record<string, any>} limits */
  const numeric = (name, limits) => field(String(name), labelled(`set-${String(name)}`, number(/** @type {number} */ (s[name]), (value) => {
    /** @type {any} */ (s)[name] = value;
    apply();
  }, limits)));
  /** @param {"loss" | "optimizer" | "schedule"} name @param {[string, string][]} options */
  const choice = (name, options) => field(name, labelled(`set-${name}`, chooser(options, s[name], (value) => {
    s[name] = value;
    if (name === "optimizer") s.options = [];
    apply();
  })));
  const presets = chooser([["", TEXT.choose_preset], ...PRESETS.map((p, k) => /** @type {[string, string]} */ ([String(k), p.name]))], "", (value) => {
    if (value) emit("preset", PRESETS[Number(value)]);
  });
  const bar = [choice("optimizer", plain(Object.keys(app.choices.optimizers))), numeric("learning_rate", { min: "0", max: "1000", step: "any" })];
  byId("bar-settings").replaceChildren(...(app.choices.run ? [] : bar));
  byId("training").replaceChildren(
    make("h2", {}, TEXT.training),
    make("div", { className: "fields" },
      field("presets", labelled("preset", presets)),
      choice("loss", [["", TEXT.by_data], ...plain(losses)]),
      ...options(),
      choice("schedule", plain(app.choices.schedules)),
      numeric("clip", { min: "0", max: "1000000", step: "any" }),
      numeric("batch_size", { min: "1", max: "4096" }),
      numeric("epochs", { min: "1", max: "100000" }),
      numeric("l1", { min: "0", max: "10", step: "any" }),
      numeric("l2", { min: "0", max: "10", step: "any" }),
      numeric("seed", { min: "0", max: "1000000" }),
      make("p", { className: "hint", id: "preset-words" }),
    ),
  );
}

/** A field for each setting of the optimizer. */
function options() {
  const s = app.settings;
  return Object.entries(app.choices.optimizers[s.optimizer] ?? {}).map(([name, usual]) => {
    const now = s.options.find(([key]) => key === name)?.[1] ?? usual;
    return make("label", { className: "field" }, make("span", {}, name.replaceAll("_", " ")), labelled(`option-${name}`, number(now, (value) => {
      s.options = s.options.filter(([key]) => key !== name);
      if (value !== usual) s.options.push([name, value]);
      apply();
    }, { step: "any" })));
  });
}

/** @returns {[string, string][]} */
const distributions = () => [["", TEXT.suits], ...plain(app.choices.distributions), ["normal 0 1", "normal 0 1"], ["uniform -1 1", "uniform -1 1"]];

function layersForm() {
  const { layers } = app.settings;
  const cards = layers.map((layer, k) => {
    /** @param {string} label @param {string} text @param {() => void} act */
    const button = (label, text, act) => make("button", { type: "button", "aria-label": `${label} (${k + 1})`, title: label, onclick: act }, text);
    const units = number(layer.units, (v) => { layer.units = v; apply(); }, { min: "1", max: "256", "aria-label": `${TEXT.units} ${k + 1}` });
    return make("div", { className: "layer", "data-layer": String(k) },
      make("div", { className: "units" },
        button(TEXT.fewer_units, "−", () => { layer.units = Math.max(1, layer.units - 1); apply(); }), units,
        button(TEXT.more_units, "+", () => { layer.units = Math.min(256, layer.units + 1); apply(); }),
        button(TEXT.remove_layer, "×", () => { layers.splice(k, 1); apply(); })),
      named(TEXT.activation, k, chooser(plain(app.choices.activations), layer.activation, (v) => { layer.activation = v; apply(); })),
      named(TEXT.distribution, k, chooser(distributions(), layer.weights, (v) => { layer.weights = v; apply(); })),
      named(TEXT.dropout, k, chooser([0, 0.1, 0.2, 0.3, 0.5].map((v) => [String(v), `${TEXT.dropout} ${v}`]), String(layer.dropout), (v) => { layer.dropout = Number(v); apply(); })));
  });
  const last = make("div", { className: "layer" }, make("b", {}, TEXT.output_layer),
    named(TEXT.distribution, layers.length, chooser(distributions(), app.settings.output_weights, (v) => { app.settings.output_weights = v; apply(); })));
  byId("layers").replaceChildren(...cards, last);
  const text = /** @type {HTMLInputElement} */ (byId("set-network"));
  text.value = app.settings.network || (app.built?.network ?? "");
  text.placeholder = TEXT.network_text_example;
  text.title = TEXT.network_text_about;
  text.onchange = () => {
    app.settings.network = text.value.trim();
    apply();
  };
  byId("network-text").hidden = Boolean(app.choices.run);
  for (const id of ["layers", "add-layer"]) byId(id).hidden = Boolean(app.choices.run || text.value);
}

/** @param {string} label @param {number} k @param {any} control */
function named(label, k, control) {
  control.setAttribute("aria-label", `${label} (${k + 1})`);
  control.title = label;
  return control;
}

/** What the settings are, in the line that opens them. */
function summary() {
  const { built, settings } = app;
  if (!built) return;
  const outermost = [...new Set(built.layers.map((layer) => layer.name.split(".")[0]))].join(" – ");
  const layers = built.sequence ? built.network || outermost : [built.inputs.join(" × "), ...built.layers.filter((layer) => layer.symbol === "z").map((layer) => layer.units)].join(" – ");
  const words = built.last_step === null ? "settings_words" : "settings_words_recorded";
  byId("settings-words").textContent = t(words, { data: built.data, layers, optimizer: settings.optimizer, rate: settings.learning_rate, batch: settings.batch_size });
}

/** Build the forms now and whenever the network is another. */
export function startControls() {
  on("built", () => {
    dataForm();
    trainingForm();
    layersForm();
    summary();
  });
  on("file opened", () => apply());
  on("too few points", () => {
    dataForm();
    /** @type {HTMLDetailsElement} */ (byId("settings")).open = true;
  });
  byId("open-settings").onclick = () => {
    const box = /** @type {HTMLDetailsElement} */ (byId("settings"));
    box.open = !box.open;
    if (box.open) box.scrollIntoView({ block: "end" });
  };
  on("preset", (preset) => {
    const usual = structuredClone(app.choices.defaults);
    const { data = {}, layers = usual.layers, ...others } = preset.settings;
    const defaults = { units: 4, activation: "tanh", weights: "", dropout: 0 };
    app.settings = { ...usual, ...others, data: { ...usual.data, ...data }, layers: layers.map((/** @type {any} */ layer) => ({ ...defaults, ...layer })) };
    app.opened = null;
    emit("forget");
    apply(0, preset.edits ?? []);
    const words = preset.about;
    if (words) on_once_built(() => (byId("preset-words").textContent = words));
  });
  byId("add-layer").onclick = () => {
    if (app.settings.layers.length < 8) app.settings.layers.push({ units: 4, activation: "tanh", weights: "", dropout: 0 });
    apply();
  };
}

/** @type {(() => void) | null} */
let pendingWords = null;
/** @param {() => void} call */
function on_once_built(call) {
  pendingWords = call;
}
on("frame", () => {
  pendingWords?.();
  pendingWords = null;
});
