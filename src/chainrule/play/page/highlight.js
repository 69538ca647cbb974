// One quantity, one highlight: where a number is pointed at, the same quantity lights up wherever it stands.

import { make } from "./app.js";

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

/** Light up all that show this quantity, and nothing else. @param {string} wanted */
function light(wanted) {
  for (const one of document.querySelectorAll(".same")) one.classList.remove("same");
  if (!wanted) return;
  for (const one of document.querySelectorAll("[data-shows]")) if (quantity(one) === wanted) one.classList.add("same");
}

export function startHighlight() {
  document.addEventListener("pointerover", (event) => {
    const target = /** @type {Element} */ (event.target).closest("[data-shows]");
    light(target ? quantity(target) : "");
  });
}
