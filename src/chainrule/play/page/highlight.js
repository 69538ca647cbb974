// One quantity, one highlight: where a number is pointed at, the same quantity lights up wherever it stands, and its symbol in
// the formula of the chain rule.

import { app, make } from "./app.js";

/** A number that says which quantity it is. @param {string} of its unit or weight @param {string} shows @param {string} digits */
export const quantityOf = (of, shows, digits) => make("span", { "data-of": of, "data-shows": shows }, digits);

/**
 * A line of arithmetic: its text, and its numbers as elements that say which quantity they are.
 * @param {string} line @returns {(Node | string)[]}
 */
export function quantities(line) {
  return line.split(/(‹[^›]*›)/).map((text) => {
    const [, of, shows, digits] = /^‹([^|]*)\|([^|]*)\|(.*)›$/.exec(text) ?? [];
    return of ? quantityOf(of, shows, digits) : text;
  });
}

/** Which quantity an element shows. @param {Element} element */
function quantity(element) {
  const owner = element.getAttribute("data-of") ?? element.closest("[data-weight]")?.getAttribute("data-weight") ?? element.closest("[data-unit]")?.getAttribute("data-unit");
  return owner ? `${owner} ${element.getAttribute("data-shows")}` : "";
}

/** What belongs to the output of a unit's activation; the rest of its quantities belong to its weighted sum. */
const OF_ACTIVATION = ["a", "upstream"];

/** The name of a unit as the scheme has it: that of the layer whose output the quantity is. @param {string} of @param {string} shows */
function nameInScheme(of, shows) {
  const layers = app.built?.layers ?? [];
  const [layer, index] = of.split("[");
  const after = layers[layers.findIndex((one) => one.name === layer) + 1];
  return OF_ACTIVATION.includes(shows) && after?.symbol === "a" ? `${after.name}[${index}` : of;
}

/** The quantity that a box of the scheme stands for. @param {string} name */
function quantityInScheme(name) {
  const layers = app.built?.layers ?? [];
  const [layer, index] = name.split("[");
  const at = layers.findIndex((one) => one.name === layer);
  if (at < 0) return `${name} value`;
  return layers[at].symbol === "a" && at > 0 ? `${layers[at - 1].name}[${index} a` : `${name} z`;
}

/** The boxes of the scheme, and the fractions of its formula, that have a quantity's symbol. @param {string} wanted */
function symbols(wanted) {
  const [, of, shows] = /^(.*) (\S+)$/.exec(wanted) ?? [];
  const name = nameInScheme(of, shows);
  const boxes = Array.from(document.querySelectorAll("#scheme .card")).filter((one) => one.getAttribute("data-name") === name);
  const symbol = shows === "loss" ? "L" : boxes[0]?.getAttribute("data-symbol");
  const fractions = Array.from(document.querySelectorAll("#scheme .factor"));
  return [...boxes, ...fractions.filter((one) => one.getAttribute("data-symbol")?.split("/").includes(`∂${symbol}`))];
}

/** Light up all that show this quantity, and nothing else. @param {string} wanted */
function light(wanted) {
  for (const one of document.querySelectorAll(".same")) one.classList.remove("same");
  if (!wanted) return;
  for (const one of document.querySelectorAll("[data-shows]")) if (quantity(one) === wanted) one.classList.add("same");
  for (const one of symbols(wanted)) one.classList.add("same");
}

export function startHighlight() {
  document.addEventListener("pointerover", (event) => {
    const target = /** @type {Element} */ (event.target).closest("[data-shows], #scheme .card");
    light(target?.matches(".card") ? quantityInScheme(target.getAttribute("data-name") ?? "") : target ? quantity(target) : "");
  });
}
