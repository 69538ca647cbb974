// The line: the arithmetic of whatever is pointed at, selected, or being computed.

import { app, byId, on } from "./app.js";
import { attentionLine } from "./attention.js";
import { quantities } from "./highlight.js";
import { mapsLine } from "./maps.js";
import { has, knows, shownScene } from "./stage.js";
import { figure } from "./svg.js";
import { TEXT, t } from "./text.js";
import { timeLine } from "./unrolled.js";

let pointed = "";
let chosen = "";
/** What the line says now. */
let written = "";

/** The lines of a unit or weight, as far as the step has got. @param {string} name @returns {string[]} */
function linesOf(name) {
  const scene = shownScene();
  if (!scene) return [];
  const weight = scene.weights.find((w) => w.weight === name);
  if (weight) {
    const lines = [`${name} = ${weight.value_text}`];
    const unit = scene.layers.find((layer) => layer.name === weight.layer)?.units.find((one) => one.at === weight.to);
    if (unit?.delta_line && has("delta") && knows(weight.layer)) lines.push(`${t("of_unit", { unit: unit.unit })} ${unit.delta_line}`);
    if (has("gradient") && knows(weight.layer)) lines.push(weight.gradient_line ?? "");
    if (has("next")) lines.push(weight.next_line ?? "");
    return lines;
  }
  const input = scene.inputs.find((i) => i.unit === name);
  if (input) return [`${input.name} = ${input.value_text}`];
  for (const layer of scene.layers) {
    const unit = layer.units.find((u) => u.unit === name);
    if (!unit) continue;
    const lines = has("forward") ? [unit.z_line ?? ""] : [];
    if (has("forward") && unit.a_line) lines.push(unit.a_line);
    const last = layer.is_output;
    if (last && has("forward") && scene.output.prediction_line) lines.push(scene.output.prediction_line);
    if (last && has("loss") && scene.output.loss_line) lines.push(scene.output.loss_line);
    if (has("delta") && knows(layer.name)) lines.push(unit.delta_line ?? "");
    return lines;
  }
  return ofCell(scene, name);
}

/** What is known of a unit of a large network that is only a cell. @param {import("./types.js").Scene} scene @param {string} name */
function ofCell(scene, name) {
  const [layer, at] = name.replace("]", "").split("[");
  const strip = scene.strips.find((one) => one.name === layer);
  if (!strip) return name === "loss" && scene.output.loss_line ? [scene.output.loss_line] : [];
  if (layer === "input") return [scene.table[Number(at)]?.join(" = ") ?? `${name} = ${figure(strip.values[Number(at)])}`];
  if (!has("forward")) return [];
  const delta = has("delta") && knows(layer) && strip.deltas ? `,  δ = ${figure(strip.deltas[Number(at)])}` : "";
  return [`a = ${figure(strip.values[Number(at)])}${delta}`];
}

/** What the phase itself computes. @returns {[string, string[]]} */
function ofPhase() {
  const scene = shownScene();
  if (!scene) return ["", []];
  const telling = scene.convolution ?? scene.focus;
  const first = scene.weights.find((one) => one.weight === scene.convolution?.weight) ?? scene.weights[0];
  const unit = scene.layers.flatMap((layer) => layer.units).find((one) => one.unit === telling?.unit) ?? scene.layers[0].units[0];
  if (has("next")) return [TEXT.line_update, [first.next_line ?? ""]];
  const reached = scene.layers.filter((layer) => knows(layer.name));
  const weight = knows(first.layer) ? first : scene.weights.find((one) => one.layer === reached[0]?.name);
  if (has("gradient") && weight) return [scene.sample < 0 ? TEXT.line_gradient_own : weight === first && scene.convolution ? TEXT.line_gradient_kernel : TEXT.line_gradient, [`${weight.weight}: ${weight.gradient_line ?? ""}`]];
  if (has("delta")) return [TEXT.line_backward, reached.reverse().map((layer) => layer.units[0].delta_line ?? "").slice(0, 2)];
  if (has("loss")) return [TEXT.line_loss, [scene.output.loss_line ?? ""]];
  if (has("forward")) return [TEXT.line_forward, [unit.z_line ?? "", unit.a_line ?? ""]];
  if (has("weights")) return [scene.step ? t("line_weights_later", { count: scene.step.toLocaleString("en") }) : TEXT.line_weights, [`${first.weight} = ${first.value_text}`]];
  return [TEXT.line_sample, [scene.inputs.slice(0, 6).map((input) => `${input.name} = ${input.value_text}`).join(",  ")]];
}

function show() {
  const name = pointed || chosen;
  let [about, lines] = ofPhase();
  if (name && linesOf(name).length) [about, lines] = [name, linesOf(name)];
  [about, lines] = mapsLine() ?? attentionLine() ?? timeLine() ?? [about, lines];
  const text = lines.filter(Boolean).join("\n");
  byId("line-about").textContent = app.running && !text ? TEXT.line_running : about;
  if (text === written) return; // what is highlighted in it stays so
  written = text;
  byId("line-text").replaceChildren(...quantities(text));
}

export function startLine() {
  on("pointed", (name) => {
    pointed = name;
    show();
  });
  on("selected", (name) => {
    chosen = name;
    show();
  });
  on("built", () => {
    [pointed, chosen] = ["", ""];
  });
  on("explained", (header) => {
    chosen = header.weight ?? header.called;
    show();
  });
  on("stage", show);
}
