// One sample in a small convolution: the picture, the kernel that lies on each of its patches, what it gives at every
// position, what pooling leaves of that, and the unit that adds it up. Every number stands at the place where it arises.

import { number, outputNumbers, plot, touchable } from "./parts.js";
import { figure, part } from "./svg.js";
import { TEXT, t } from "./text.js";

/** @typedef {import("./parts.js").View} View */
/** @typedef {import("./types.js").Convolution} Convolution */
/** @typedef {{x: number, y: number}} Point */
/** A point, and the width and height of a cell there. @typedef {Point & {cell: number[]}} Grid */
/** @typedef {{size: number[], input: Grid, kernel: Grid, bias: Point, plot: Point, map: Point, pool: Point, output: Point, weights: Grid}} Places */

/** Width and height of what the kernel gives at a position, of what is pooled, and of the output. */
const MAP = [55, 51];
const POOL = [64, 51];
const OUTPUT = [124, 118];
/** Where each part stands: side by side where there is room, one under another on a phone. */
/** @type {{wide: Places, narrow: Places}} */
const PLACES = {
  wide: {
    size: [740, 354], input: { x: 1, y: 18, cell: [34, 29] }, kernel: { x: 1, y: 218, cell: [68, 44] }, bias: { x: 236, y: 262 }, plot: { x: 340, y: 250 },
    map: { x: 236, y: 18 }, pool: { x: 482, y: 18 }, output: { x: 615, y: 18 }, weights: { x: 478, y: 186, cell: [129, 50] },
  },
  narrow: {
    size: [376, 616], input: { x: 1, y: 18, cell: [31, 29] }, kernel: { x: 195, y: 18, cell: [60, 44] }, bias: { x: 195, y: 158 }, plot: { x: 290, y: 154 },
    map: { x: 1, y: 238 }, pool: { x: 247, y: 289 }, output: { x: 251, y: 464 }, weights: { x: 1, y: 464, cell: [122, 50] },
  },
};

/** The name of a unit of a map. @param {string} layer @param {number} place @param {number[]} shape */
const named = (layer, place, [, across]) => `${layer}[${Math.floor(place / across)}, ${place % across}, 0]`;

/** The corner of a cell. @param {Point} at @param {number[]} cell @param {number[]} shape @param {number} place @returns {[number, number]} */
const corner = (at, [wide, high], [, across], place) => [at.x + (place % across) * wide, at.y + Math.floor(place / across) * high];

/**
 * What belongs to what is pointed at or selected, by the names of units and weights: a position's patch and window, the
 * positions of a weight and of an input.
 * @param {View} view @param {string} name
 */
function belongs({ scene, has, knows }, name) {
  const of = /** @type {Convolution} */ (scene.convolution);
  const position = (/** @type {number} */ place) => named(of.conv, place, of.map);
  const inputs = (/** @type {number[]} */ places) => places.filter((place) => place >= 0).map((place) => `input[${place}]`);
  const found = new Set(name ? [name] : []);
  const put = (/** @type {string[]} */ names) => names.forEach((one) => found.add(one));
  scene.layers[0].units.forEach((unit, place) => {
    if (unit.unit === name) put([...inputs(of.patches[place]), ...scene.weights.filter((one) => one.layer === of.conv).map((one) => one.weight)]);
    if (of.patches[place].some((input) => input >= 0 && `input[${input}]` === name)) found.add(unit.unit);
  });
  scene.layers[1].units.forEach((unit, cell) => {
    if (unit.unit === name) put(of.windows[cell].filter((place) => place >= 0).map(position));
    if (scene.layers[2].units[0].unit === name) found.add(unit.unit);
  });
  for (const weight of scene.weights) {
    if (weight.layer !== of.conv && weight.from !== null && weight.weight === name) put([scene.layers[1].units[weight.from].unit, scene.layers[2].units[0].unit]);
    if (weight.layer !== of.conv || weight.weight !== name) continue;
    // Once δ is known, only the positions that have one take part in the derivative.
    const parts = scene.layers[0].units.filter((unit) => !(has("delta") && knows(of.conv)) || unit.delta !== 0).map((unit) => unit.at);
    put(parts.map(position));
    if (weight.from !== null) put(inputs(parts.map((place) => of.patches[place][/** @type {number} */ (weight.from)])));
  }
  return found;
}

/** The picture of the stage. @param {View} view */
export function convolution(view) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  const places = PLACES[view.narrow ? "narrow" : "wide"];
  // With nothing chosen: the weight whose derivative the line computes.
  const told = view.has("gradient") && view.knows(of.conv) ? of.weight : "";
  const chosen = view.pointed || view.selected || told;
  if (chosen === told) view = { ...view, selected: told };
  const lit = belongs(view, chosen);
  const [first, pooled, output] = view.scene.layers;
  const position = Math.max(0, first.units.findIndex((unit) => unit.unit === (lit.has(chosen) && chosen.startsWith(`${of.conv}[`) ? chosen : of.unit)));
  return part("svg", { viewBox: `0 0 ${places.size[0]} ${places.size[1]}`, class: `convolution ${view.narrow ? "narrow" : ""}`, role: "img", "aria-label": TEXT.stage_label },
    part("g", {}, headings(view, places)),
    part("g", {}, inputs(view, places, lit)),
    part("g", {}, view.has("weights") && kernel(view, places, lit)),
    part("g", {}, view.has("forward") && [...leads(view, places, position), ...pooling(view, places)]),
    part("g", {}, map(view, places, first, lit), view.has("forward") && windows(view, places)),
    part("g", {}, pools(view, places, pooled, lit)),
    part("g", {}, view.has("weights") && weights(view, places, lit)),
    part("g", {}, last(view, places, output, lit)),
    part("g", {}, plotted(view, places, first, position)));
}

/** @param {View} view @param {Places} places */
function headings({ scene, has, knows }, places) {
  const of = /** @type {Convolution} */ (scene.convolution);
  const heading = (/** @type {Point} */ at, /** @type {string} */ words) => part("text", { x: at.x, y: at.y - 5, class: "name" }, words);
  const shape = (/** @type {number[]} */ [rows, across]) => `${rows} × ${across}`;
  const back = has("delta") && knows(of.conv);
  return [
    heading(places.input, t("convolution_input", { shape: shape(of.picture) })),
    has("weights") && heading(places.kernel, t("convolution_kernel", { numbers: numbersOf({ has, knows }, of.conv) })),
    heading(places.map, t(back ? "convolution_map_back" : "convolution_map", { count: scene.layers[0].units.length })),
    heading(places.pool, `${TEXT.convolution_pool}${back ? ", ∂L/∂y" : ""}`),
    part("text", { x: places.pool.x, y: places.pool.y + of.pooled[0] * POOL[1] + 31, class: "name" }, TEXT[of.pooling === "max" ? "convolution_max" : "convolution_mean"]),
    heading(places.output, TEXT.output_of),
    has("weights") && heading(places.weights, t("convolution_weights", { name: scene.layers[2].name })),
  ];
}

/** What stands in the cells of the kernel. @param {Pick<View, "has" | "knows">} view @param {string} layer */
function numbersOf({ has, knows }, layer) {
  return ["w", ...(has("gradient") && knows(layer) ? ["∂L/∂w"] : []), ...(has("next") ? [TEXT.next_weight] : [])].join(", ");
}

/** How a cell stands out. @param {View} view @param {string} name @param {Set<string>} lit */
function state(view, name, lit) {
  if (view.pointed === name) return "pointed";
  if (view.selected === name) return "selected";
  return lit.has(name) ? "belongs" : "";
}

/** How strongly a number colours its cell. @param {number | null} value @param {number} largest @param {number} most */
const tint = (value, largest, most) => Math.min(most, (most * Math.abs(value ?? 0)) / (largest || 1)).toFixed(2);

/** @param {(number | null)[]} values */
const largestOf = (values) => Math.max(...values.map((value) => Math.abs(value ?? 0)));

/** @param {View} view @param {Places} places @param {Set<string>} lit */
function inputs(view, places, lit) {
  const { scene } = view;
  const of = /** @type {Convolution} */ (scene.convolution);
  return scene.inputs.map((input, place) => {
    const [x, y] = corner(places.input, places.input.cell, of.picture, place);
    const ink = scene.picture?.ink[place] ?? 0;
    return part("g", { ...touchable(view, input.unit, `grid ${state(view, input.unit, lit)}`), "aria-label": input.name, "data-unit": input.unit },
      part("rect", { x, y, width: places.input.cell[0], height: places.input.cell[1] }),
      part("rect", { x: x + 1, y: y + 1, width: places.input.cell[0] - 2, height: places.input.cell[1] - 2, class: "ink", "fill-opacity": (0.3 * ink).toFixed(2) }),
      part("title", {}, `${input.name} = ${input.value_text}`),
      part("text", { x: x + places.input.cell[0] / 2, y: y + 18, class: "middle", style: `font-size:${view.narrow ? 8.5 : 9.5}px` }, part("tspan", { "data-shows": "value", "data-number": input.value }, hundredths(input.value))));
  });
}

/** A number in a narrow cell. @param {number | null} value */
const hundredths = (value) => (value === null ? "?" : value.toFixed(2).replace("-", "−"));

/** The kernel: each weight with its derivative and, after the step, its next value. @param {View} view @param {Places} places @param {Set<string>} lit */
function kernel(view, places, lit) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  const own = view.scene.weights.filter((weight) => weight.layer === of.conv);
  const largest = largestOf(own.filter((weight) => weight.from !== null).map((weight) => weight.value));
  return own.map((weight) => {
    if (weight.from === null) return bias(view, places, weight, lit);
    const [x, y] = corner(places.kernel, places.kernel.cell, of.kernel, weight.from);
    return part("g", { ...touchable(view, weight.weight, `grid ${state(view, weight.weight, lit)}`), "data-weight": weight.weight },
      part("rect", { x, y, width: places.kernel.cell[0], height: places.kernel.cell[1] }),
      part("rect", { x: x + 1, y: y + 1, width: places.kernel.cell[0] - 2, height: 14, class: `tint ${(weight.value ?? 0) < 0 ? "minus" : "plus"}`, "fill-opacity": tint(weight.value, largest, 0.45) }),
      weightNumbers(view, weight, x + places.kernel.cell[0] / 2, y));
  });
}

/** The numbers of a weight of the kernel, one under another. @param {View} view @param {import("./types.js").SceneWeight} weight @param {number} x their middle @param {number} y */
function weightNumbers(view, weight, x, y) {
  const style = "font-size:11px";
  const known = view.has("gradient") && view.knows(weight.layer);
  return [
    number(weight.from === null ? "b" : "", "value", weight.value, { x, y: y + 12, class: "middle strong", style }),
    known && number(weight.from === null ? "∂L/∂b" : "", "gradient", weight.gradient, { x, y: y + 26, class: "middle", style }),
    view.has("next") && part("text", { x, y: y + 40, class: "next middle", style }, "→ ", part("tspan", { "data-shows": "next", "data-number": weight.next }, figure(weight.next))),
  ];
}

/** @param {View} view @param {Places} places @param {import("./types.js").SceneWeight} weight @param {Set<string>} lit */
function bias(view, { bias: { x, y } }, weight, lit) {
  return part("g", { ...touchable(view, weight.weight, `grid ${state(view, weight.weight, lit)}`), "data-weight": weight.weight },
    part("rect", { x, y, width: 80, height: 44, rx: 4 }), weightNumbers(view, weight, x + 40, y));
}

/** The patch of a position, and the lines from it through the kernel to the position. @param {View} view @param {Places} places @param {number} position */
function leads(view, places, position) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  const patch = of.patches[position].filter((place) => place >= 0);
  if (!patch.length) return [];
  const [x, y] = corner(places.input, places.input.cell, of.picture, patch[0]);
  const [right, low] = corner(places.input, places.input.cell, of.picture, patch[patch.length - 1]).map((at, k) => at + places.input.cell[k]);
  const [mx, my] = corner(places.map, MAP, of.map, position);
  const line = (/** @type {number[]} */ [x1, y1, x2, y2]) => part("line", { x1, y1, x2, y2, class: "lead" });
  const lines = view.narrow ? [[x, low, mx, my], [right, low, mx + MAP[0], my]] : [[right, y, mx, my], [right, low, mx, my + MAP[1]]];
  return [...lines.map(line), part("rect", { x, y, width: right - x, height: low - y, class: "lies" })];
}

/** From the winner of each window, or from the whole window, to what is pooled. @param {View} view @param {Places} places */
function pooling(view, places) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  return of.windows.map((window, cell) => {
    const [px, py] = corner(places.pool, POOL, of.pooled, cell);
    const from = of.winners ? [of.winners[cell]] : window.filter((place) => place >= 0);
    return from.map((place) => {
      const [x, y] = corner(places.map, MAP, of.map, place);
      return part("line", { x1: x + MAP[0] - 4, y1: y + MAP[1] / 2, x2: px, y2: py + POOL[1] / 2, class: "lead pooling" });
    });
  }).flat();
}

/** What the kernel gives at every position. @param {View} view @param {Places} places @param {import("./types.js").SceneLayer} layer @param {Set<string>} lit */
function map(view, places, layer, lit) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  const largest = largestOf(layer.units.map((unit) => unit.a ?? unit.z));
  const style = "font-size:11px";
  return layer.units.map((unit) => {
    const [x, y] = corner(places.map, MAP, of.map, unit.at);
    const wins = view.has("forward") && of.winners?.includes(unit.at);
    const back = view.has("delta") && view.knows(layer.name);
    return part("g", { ...touchable(view, unit.unit, `grid ${wins ? "winner" : ""} ${state(view, unit.unit, lit)}`), "data-unit": unit.unit },
      part("rect", { x: x + 1, y: y + 1, width: MAP[0] - 2, height: MAP[1] - 2, rx: 3 }),
      view.has("forward") && [
        part("rect", { x: x + 3, y: y + 18, width: MAP[0] - 6, height: 14, class: `tint ${(unit.a ?? 0) < 0 ? "minus" : "plus"}`, "fill-opacity": tint(unit.a ?? unit.z, largest, 0.35) }),
        number("z", "z", unit.z, { x: x + MAP[0] / 2, y: y + 14, class: "middle", style }),
        number("a", "a", unit.a ?? unit.z, { x: x + MAP[0] / 2, y: y + 29, class: "middle strong", style }),
      ],
      back && number("δ", "delta", unit.delta, { x: x + MAP[0] / 2, y: y + 44, class: `middle ${unit.delta ? "strong" : ""}`, style: "font-size:10px" }));
  });
}

/** The windows of the pooling, around their positions. @param {View} view @param {Places} places */
function windows(view, places) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  return of.windows.map((window) => {
    const corners = window.filter((place) => place >= 0).map((place) => corner(places.map, MAP, of.map, place));
    const [x, y] = [Math.min(...corners.map(([left]) => left)), Math.min(...corners.map(([, top]) => top))];
    const [right, low] = [Math.max(...corners.map(([left]) => left)) + MAP[0], Math.max(...corners.map(([, top]) => top)) + MAP[1]];
    return part("rect", { x, y, width: right - x, height: low - y, class: "window" });
  });
}

/** What is left of each window. @param {View} view @param {Places} places @param {import("./types.js").SceneLayer} layer @param {Set<string>} lit */
function pools(view, places, layer, lit) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  const style = "font-size:11px";
  return layer.units.map((unit) => {
    const [x, y] = corner(places.pool, POOL, of.pooled, unit.at);
    return part("g", { ...touchable(view, unit.unit, `grid ${state(view, unit.unit, lit)}`), "data-unit": unit.unit },
      part("rect", { x: x + 1, y: y + 1, width: POOL[0] - 2, height: POOL[1] - 2, rx: 3 }),
      view.has("forward") && number("y", "a", unit.a ?? unit.z, { x: x + POOL[0] / 2, y: y + 18, class: "middle strong", style }),
      view.has("delta") && view.knows(layer.name) && number("", "delta", unit.delta, { x: x + POOL[0] / 2, y: y + 36, class: "middle", style }));
  });
}

/** The weights of the output, each where its input stands in the pooled map; its bias under them. @param {View} view @param {Places} places @param {Set<string>} lit */
function weights(view, places, lit) {
  const of = /** @type {Convolution} */ (view.scene.convolution);
  const own = view.scene.weights.filter((weight) => weight.layer === view.scene.layers[2].name);
  return own.map((weight) => {
    const [x, y] = weight.from === null ? [places.weights.x, places.weights.y + of.pooled[0] * places.weights.cell[1]] : corner(places.weights, places.weights.cell, of.pooled, weight.from);
    const [wide, high] = places.weights.cell;
    const style = `font-size:${view.narrow ? 10.5 : 11}px`;
    const name = weight.from === null ? "b" : "w";
    const known = view.has("gradient") && view.knows(weight.layer);
    return part("g", { ...touchable(view, weight.weight, "port"), class: `port ${state(view, weight.weight, lit)}`, "data-weight": weight.weight },
      part("rect", { x: x + 1, y: y + 1, width: wide - 2, height: high - 2, rx: 4 }),
      number(name, "value", weight.value, { x: x + 7, y: y + 15, style }),
      view.has("next") && part("text", { x: x + wide - 5, y: y + 15, class: "next end", style }, "→ ", part("tspan", { "data-shows": "next", "data-number": weight.next }, figure(weight.next))),
      weight.from !== null && view.has("forward") && number("w × y", "product", weight.forward, { x: x + 7, y: y + 29, style }),
      known && number(`∂L/∂${name}`, "gradient", weight.gradient, { x: x + 7, y: y + 43, style }));
  });
}

/** The output with its loss. @param {View} view @param {Places} places @param {import("./types.js").SceneLayer} layer @param {Set<string>} lit */
function last(view, places, layer, lit) {
  const [unit] = layer.units;
  const { x, y } = places.output;
  return part("g", { ...touchable(view, unit.unit, `unit ${state(view, unit.unit, lit)}`), "data-unit": unit.unit },
    part("rect", { x, y, width: OUTPUT[0], height: OUTPUT[1], rx: 7 }), outputNumbers(view, layer, unit, x, y, false));
}

/** The activation with the point of the position that is shown. @param {View} view @param {Places} places @param {import("./types.js").SceneLayer} layer @param {number} position */
function plotted(view, places, layer, position) {
  if (!layer.plot) return [];
  const { x, y } = places.plot;
  return [plot(view, layer, layer.units[position], x, y, 56), part("text", { x: x + 28, y: y + 70, class: "name middle" }, `a = ${layer.activation}(z)`)];
}
