// A file that was dropped: how each of its columns was read, what becomes of it, and which one is predicted. Training starts after that.

import { app, byId, emit, make } from "./app.js";
import { connect } from "./connection.js";
import { TEXT, t } from "./text.js";

/**
 * The server's reading of a file.
 * @typedef {{upload: string, name: string, rows: number, targets: string[], target: number, problem: string, more: number, words: string,
 *   columns: {name: string, type: string, use: string, missing: number, values: string[]}[]}} Preview
 */

/** @param {string} name @param {string} problem */
const fail = (name, problem) => emit("error", { header: { message: `${name}: ${problem}` } });

/** Ask the server, and show its preview. @param {string} name @param {string} address @param {RequestInit} [options] */
async function ask(name, address, options) {
  try {
    const response = await fetch(address, options);
    const answer = await response.json();
    if (response.ok) show(answer);
    else fail(name, answer.error);
  } catch {
    fail(name, TEXT.ended);
  }
}

/** Hand a file to the engine, which reads it. @param {File} file */
export function send(file) {
  const kind = file.name.split(".").pop()?.toLowerCase() ?? "";
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
  target.onchange = () => ask(found.name, `preview?${new URLSearchParams({ upload: `${found.upload}.${target.value}` })}`);
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
  const rows = found.columns.map((column) => {
    const cells = [column.type, column.use, String(column.missing), column.values.join(", ")];
    const row = make("tr", {}, make("th", { scope: "row" }, column.name), ...cells.map((text, k) => make("td", { "data-name": names[k + 1] }, text)));
    row.classList.toggle("predicted", column.name === found.targets[found.target]);
    return row;
  });
  const more = found.more ? [make("p", { className: "hint" }, t("more_columns", { count: found.more }))] : [];
  return make("div", { className: "columns" }, make("table", {}, head, make("tbody", {}, ...rows)), ...more);
}

/** Train on a file. @param {Preview} found */
function open(found) {
  app.upload = `${found.upload}.${found.target}`;
  app.settings.data = { ...app.choices.defaults.data, kind: "given", name: found.name.slice(0, 80) };
  app.settings.loss = "";
  connect(app.upload);
  emit("file opened");
}
