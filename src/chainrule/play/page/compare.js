// One gradient through several optimizers, side by side: what each remembers, and what it makes of the same weight.

import { app, byId, make, on, shown } from "./app.js";
import { TEXT } from "./text.js";

/**
 * What an optimizer made of the weight.
 * @typedef {{name: string, state: {name: string, before: number, after: number}[], update: number, share: number, next: number, lines: string[]}} Row
 */

/** Which are compared beside the usual ones. @type {string[]} */
let others = [];

/** A number, in full behind it. @param {number} value @param {string} name @param {string} column */
const cell = (value, name, column) => make("td", { "data-name": column, "data-shows": name, "data-number": String(value) }, shown(value));

/** How far the weight moves, to the left or to the right. @param {number} share from -1 to 1 */
function move(share) {
  const bar = make("i");
  bar.style.left = `${50 + 50 * Math.min(share, 0)}%`;
  bar.style.width = `${50 * Math.abs(share)}%`;
  return make("td", { "data-name": TEXT.moves_column }, make("span", { className: "move", "aria-hidden": "true" }, bar));
}

/** @param {Row} row @param {number} gradient */
function rowOf(row, gradient) {
  const state = row.state.map((one) => make("div", {}, `${one.name}: ${shown(one.before)} → ${shown(one.after)}`));
  return make("tbody", {},
    make("tr", {}, make("th", { scope: "row" }, row.name), cell(gradient, "gradient", "g"), make("td", { "data-name": TEXT.memory_column }, ...(state.length ? state : [TEXT.nothing_remembered])), cell(row.update, "update", "u"), move(row.share), cell(row.next, "next", TEXT.next_column)),
    make("tr", { className: "worked" }, make("td", { colSpan: 6 }, ...row.lines.map((line) => make("p", {}, line)))));
}

/** @param {any} header */
function show(header) {
  byId("optimizers-words").replaceChildren(make("b", {}, `${header.weight} = ${shown(header.value)}. `), header.words);
  const names = [TEXT.optimizer_column, "g", TEXT.memory_column, "u", TEXT.moves_column, TEXT.next_column];
  const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  byId("optimizers-table").replaceChildren(make("table", { className: "optimizers" }, head, ...header.rows.map((/** @type {Row} */ row) => rowOf(row, header.gradient))));
}

export function startCompare() {
  const [button, result] = [byId("optimizers-toggle"), byId("optimizers-result")];
  const add = /** @type {HTMLSelectElement} */ (byId("optimizers-add"));
  add.replaceChildren(make("option", { value: "" }, "..."), ...app.choices.compared.others.map((name) => make("option", { value: name }, name)));
  const ask = () => app.send({ type: "compare", optimizers: result.hidden ? [] : [...app.choices.compared.usual, ...others] });
  button.onclick = () => {
    result.hidden = !result.hidden;
    button.textContent = result.hidden ? TEXT.show : TEXT.hide;
    button.setAttribute("aria-expanded", String(!result.hidden));
    ask();
  };
  add.onchange = () => {
    if (add.value && !others.includes(add.value)) others = [...others, add.value].slice(-4);
    add.value = "";
    ask();
  };
  on("built", () => result.hidden || ask());
  on("optimizers", ({ header }) => show(header));
}
