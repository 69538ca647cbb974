// A file that was dropped: how each of its columns was read, what becomes of it, and which one is predicted. Training starts after that.

import { app, byId, emit, make } from "./app.js";
import { connect } from "./connection.js";
import { TEXT, t } from "./text.js";

/**
 * The server's reading of a file.
 * @typedef {{upload: string, name: string, rows: number, targets: string[], target: number, problem: string, more: number, words: string,
 *   columns: {name: string, type: string, use: string, missing: number, values: string[]}[], read: Record<string, string>, kinds: Record<string, string>}} Preview
 */

/** What the server calls a file with its choice of a target and of kinds. @param {Preview} found */
const called = ({ upload, target, read }) => `${upload}.${target}.${Object.entries(read).map((pair) => pair.join("")).join("-")}`.replace(/\.$/, "");

/** @param {string} name @param {string} problem */
const fail = (name, problem) => emit("error", { header: { message: `${name}: ${problem}` } });

let asked = 0; // questions so far: only the last one's answer counts

/** Ask the server, and show its preview. @param {string} name @param {string} address @param {RequestInit} [options] */
async function ask(name, address, options) {
  const question = ++asked;
  try {
    const response = await fetch(address, options);
    const answer = await response.json();
    if (question !== asked) return;
    if (response.ok) show(answer);
    else fail(name, answer.error);
  } catch {
    if (question === asked) fail(name, TEXT.ended);
  }
}

/**
 * Ask for the preview with another choice. `found` takes the choice at once, so that one made before the answer builds on it.
 * @param {Preview} found @param {Partial<Preview>} choice
 */
function choose(found, choice) {
  Object.assign(found, choice);
  /** @type {HTMLButtonElement} */ (byId("train-on-file")).disabled = true; // what it would train on is not known yet
  ask(found.name, `preview?${new URLSearchParams({ upload: called(found) })}`);
}

/** Hand a file to the engine, which reads it. @param {File} file */
export function send(file) {
  const kind = file.name.toLowerCase().match(/[^.]*(\.(gz|zst))?$/)?.[0] ?? "";
  const query = new URLSearchParams({ kind, name: file.name });
  ask(file.name, `upload?${query}`, { method: "POST", body: file });
}

/** Show the preview of the file that is open now. */
export function previewAgain() {
  ask(app.built?.data ?? "", `preview?${new URLSearchParams({ upload: app.upload })}`);
}

/** @param {Preview} found */
function show(found) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("preview"));
  const target = make("select", { id: "target" }, ...found.targets.map((name, k) => make("option", { value: String(k) }, name)));
  target.value = String(found.target);
  target.onchange = () => choose(found, { target: Number(target.value) });
  const train = make("button", { className: "primary", id: "train-on-file", disabled: Boolean(found.problem) }, TEXT.train_on_file);
  train.onclick = () => {
    dialog.close();
    open(found);
  };
  dialog.replaceChildren(
    make("h2", {}, t("preview_title", { name: found.name })),
    make("label", {}, make("span", {}, `${TEXT.target_column} `), target),
    make("p", found.problem ? { className: "problem", role: "alert" } : {}, found.problem || found.words),
    make("div", { className: "choices" }, train, make("button", { onclick: () => dialog.close() }, TEXT.cancel)),
    table(found),
  );
  if (!dialog.open) dialog.showModal();
}

/** @param {Preview} found */
function table(found) {
  const names = [TEXT.column, TEXT.read_as, TEXT.used_as, TEXT.missing, TEXT.first_values];
  const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  const rows = found.columns.map((column, position) => {
    const isTarget = column.name === found.targets[found.target];
    const cells = [isTarget ? column.type : kinds(found, column, position), column.use, String(column.missing), column.values.join(", ")];
    const row = make("tr", {}, make("th", { scope: "row" }, column.name), ...cells.map((cell, k) => make("td", { "data-name": names[k + 1] }, cell)));
    row.classList.toggle("predicted", isTarget);
    return row;
  });
  const more = found.more ? [make("p", { className: "hint" }, t("more_columns", { count: found.more }))] : [];
  return make("div", { className: "columns" }, make("table", {}, head, make("tbody", {}, ...rows)), ...more);
}

/** A choice of what to read a column as. @param {Preview} found @param {Preview["columns"][0]} column @param {number} position */
function kinds(found, column, position) {
  const others = Object.entries(found.kinds).filter(([, words]) => words !== column.type).map(([kind, words]) => make("option", { value: kind }, words));
  const choice = make("select", { "aria-label": t("read_column_as", { name: column.name }) }, make("option", { value: "" }, column.type || TEXT.not_usable), ...others);
  choice.value = found.read[position] ?? "";
  choice.onchange = () => {
    const { [position]: _, ...rest } = found.read;
    choose(found, { read: choice.value ? { ...rest, [position]: choice.value } : rest });
  };
  return choice;
}

/** Train on a file. @param {Preview} found */
function open(found) {
  app.upload = called(found);
  app.settings.data = { ...app.choices.defaults.data, kind: "given", name: found.name.slice(0, 80) };
  app.settings.loss = "";
  connect(app.upload);
  emit("file opened");
}
