// A unit in the inspector: what it adds up, its delta, and what it gives over the training set.

import { breakable, emit, make } from "./app.js";
import { quantities, quantityOf } from "./highlight.js";
import { figure, svg } from "./svg.js";
import { TEXT, t } from "./text.js";

const [WIDTH, HEIGHT, BOTTOM] = [310, 96, 18];

/** The parts of a unit's view. @param {import("./types.js").UnitView} unit @returns {Node[]} */
export function unitParts(unit) {
  const blanks = { unit: unit.called, delta: figure(unit.delta), share: figure(unit.delta_in_mean), row: unit.row, number: unit.number.toLocaleString("en"), count: unit.samples };
  const delta = make("p", { className: "short" }, make("b", {}, t("unit_delta", blanks)), make("br"), t(unit.row < 0 ? "unit_own" : unit.samples > 1 ? "unit_in_mean" : "unit_alone", blanks));
  const levels = make("div", { className: "unit-levels" });
  levels.innerHTML = unit.levels;
  const patch = make("div", { className: "patch" });
  patch.innerHTML = unit.patch;
  const overTrainingSet = unit.outputs.layer ? [make("h3", {}, t("unit_outputs", { layer: unit.outputs.layer })), outputs(unit.outputs)] : [];
  return [...(unit.position.length || unit.label !== unit.called ? [make("h3", {}, ...breakable(unit.label))] : []), ...multiplied(unit), ...(unit.patch ? [patch] : []), ...(unit.inputs.length ? [inputs(unit)] : []), delta, make("h3", {}, TEXT.unit_chain), levels, ...overTrainingSet];
}

/** What attention multiplies at one of its weights, and the weights behind that or behind a gate. @param {import("./types.js").UnitView} unit */
function multiplied({ multiplied: found }) {
  if (!found) return [];
  const lines = found.lines.map((line) => make("p", {}, ...quantities(line)));
  const buttons = found.weights.map(({ name, weight }) => make("button", { type: "button", title: weight, onclick: () => emit("selected", weight) }, `${name}: ${weight.split(".").slice(-2).join(".")}`));
  return [
    ...(lines.length ? [make("div", { className: "multiplied" }, make("h3", {}, TEXT.multiplied), ...lines)] : []),
    ...(buttons.length ? [make("div", { className: "behind" }, make("span", {}, TEXT.weights_behind), ...buttons)] : []),
  ];
}

/** The products that add up to z. @param {import("./types.js").UnitView} unit */
function inputs(unit) {
  /** @param {string} name @param {(Node | string)[]} product @param {string} [className] */
  const row = (name, product, className = "") => make("tr", { className }, make("th", {}, name), make("td", {}, ...product));
  const rows = unit.inputs.map((one) => row(one.name, [quantityOf(one.of, "value", figure(one.weight)), ` × ${figure(one.input)} = ${figure(one.product)}`]));
  if (unit.others) rows.push(row(t("more", { count: unit.others }), [figure(unit.rest ?? 0)]));
  if (unit.bias !== null && unit.bias !== undefined) rows.push(row(TEXT.bias, [figure(unit.bias)]));
  return make("table", { className: "products" }, make("caption", {}, TEXT.unit_inputs), ...rows, row("z", [quantityOf(unit.unit, "z", figure(unit.z ?? 0))], "sum"));
}

/** The histogram of a unit's outputs, and where this sample's is. @param {import("./types.js").UnitView["outputs"]} given */
function outputs({ low, high, counts, here, zero }) {
  const most = Math.max(...counts, 1);
  const wide = WIDTH / counts.length;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": t("unit_outputs_label", { low: figure(low), high: figure(high), here: figure(here) }) });
  counts.forEach((count, k) => {
    const tall = ((HEIGHT - BOTTOM - 12) * count) / most;
    picture.append(svg("rect", { x: k * wide, y: HEIGHT - BOTTOM - tall, width: wide - 1, height: tall, class: "bar-of" }));
  });
  const x = (WIDTH * (Math.min(high, Math.max(low, here)) - low)) / (high - low);
  picture.append(
    svg("line", { x1: x, x2: x, y1: 12, y2: HEIGHT - BOTTOM, class: "here" }),
    svg("text", { x: Math.min(WIDTH - 62, Math.max(62, x)), y: 10, class: "tick middle" }, `${TEXT.this_sample} ${figure(here)}`),
    svg("text", { x: 0, y: HEIGHT - 4, class: "tick" }, figure(low)),
    svg("text", { x: WIDTH, y: HEIGHT - 4, class: "tick end" }, figure(high)));
  if (zero > 0.005) picture.append(svg("text", { x: WIDTH / 2, y: HEIGHT - 4, class: "tick middle" }, t("unit_zero", { share: Math.round(100 * zero) })));
  return picture;
}
