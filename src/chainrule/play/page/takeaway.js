// What one takes away: a link to exactly this, code, weights, the explanation, the drawing.

import { app, byId, make, on } from "./app.js";
import { asPng, asSvg } from "./picture.js";
import { remember } from "./state.js";
import { TEXT } from "./text.js";

/** @type {Record<string, string>} */
const FILES = { chainrule: "network.py", torch: "network_torch.py", json: "weights.json", safetensors: "weights.safetensors", explanation: "explanation.html" };

/** Hand a file to the browser. @param {Blob} content @param {string} name */
function download(content, name) {
  const link = make("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Have the report on the recorded run made, which takes a while. @param {HTMLButtonElement} button */
async function writeReport(button) {
  button.disabled = true;
  byId("taken").replaceChildren(make("p", { role: "status" }, TEXT.report_made));
  try {
    const response = await fetch("report", { method: "POST" });
    if (response.ok) download(await response.blob(), "report.html");
    byId("taken").replaceChildren(...(response.ok ? [] : [make("p", { className: "problem" }, (await response.json()).error)]));
  } catch {
    byId("taken").replaceChildren(make("p", { className: "problem" }, TEXT.report_failed));
  }
  button.disabled = false;
}

function dialog() {
  const box = /** @type {HTMLDialogElement} */ (byId("take-dialog"));
  /** @param {string} text @param {() => void} act @param {string} id */
  const button = (text, act, id) => make("button", { type: "button", onclick: act, id }, text);
  /** @param {string} kind */
  const ask = (kind) => app.send({ type: "export", kind, ...(kind === "explanation" ? { weight: app.opened?.weight ?? "" } : {}) });
  const copy = button(TEXT.copy_link, async () => {
    remember();
    try {
      await navigator.clipboard.writeText(location.href);
      copy.textContent = `${TEXT.copy_link}: ${TEXT.copied}`;
    } catch {
      byId("taken").replaceChildren(make("pre", {}, location.href));
    }
  }, "copy-link");
  const explanation = button(TEXT.explanation_html, () => ask("explanation"), "take-explanation");
  explanation.disabled = !app.opened?.weight;
  const report = button(TEXT.report_html, () => writeReport(report), "take-report");
  report.hidden = !app.choices.run;
  box.replaceChildren(
    make("h2", {}, TEXT.take_away),
    make("div", { className: "choices" },
      copy,
      button(TEXT.code_chainrule, () => ask("chainrule"), "take-chainrule"),
      button(TEXT.code_torch, () => ask("torch"), "take-torch"),
      button(TEXT.weights_json, () => ask("json"), "take-json"),
      button(TEXT.weights_safetensors, () => ask("safetensors"), "take-safetensors"),
      explanation,
      report,
      button(TEXT.drawing_svg, () => download(new Blob([asSvg()], { type: "image/svg+xml" }), "network.svg"), "take-svg"),
      button(TEXT.drawing_png, async () => {
        const content = await asPng();
        if (content) download(content, "network.png");
      }, "take-png"),
    ),
    make("div", { id: "taken" }),
    button(TEXT.close, () => box.close(), "take-close"),
  );
  box.showModal();
}

export function startTakeAway() {
  byId("take").onclick = dialog;
  on("export", ({ header, arrays }) => {
    const content = arrays.content ? new Blob([/** @type {any} */ (arrays.content.data)]) : new Blob([header.text], { type: "text/plain" });
    const name = FILES[header.kind];
    if (header.kind !== "chainrule" && header.kind !== "torch") {
      download(content, name);
      return;
    }
    byId("taken").replaceChildren(make("pre", { tabIndex: 0, id: "code" }, header.text), make("button", { type: "button", id: "download-code", onclick: () => download(content, name) }, `${TEXT.download} ${name}`));
  });
}
