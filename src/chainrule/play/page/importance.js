// Which columns the predictions depend on, over the held-out rows: asked for, and drawn as the engine sends it.

import { app, byId, make, on } from "./app.js";
import { TEXT, t } from "./text.js";

export function startImportance() {
  const [button, result] = [byId("importance-ask"), byId("importance-result")];
  let busy = false;
  /** @param {boolean} is */
  const set = (is) => {
    busy = is;
    button.textContent = is ? TEXT.importance_stop : TEXT.importance_ask;
  };
  button.onclick = () => {
    app.send({ type: "importance", stop: busy });
    if (busy) result.hidden = true;
    set(!busy);
  };
  on("built", () => {
    result.hidden = true;
    set(false);
  });
  on("error", ({ header }) => header.about === "importance" && set(false));
  on("importance", ({ header }) => {
    if (!busy) return;
    const { done, of, problem, line, html } = header;
    set(!html && !problem);
    const shown = make("div", { className: "why" });
    shown.innerHTML = html; // the engine has escaped every name in it
    const step = make("p", { className: "hint" }, t("importance_step", { step: header.step.toLocaleString("en") }));
    result.replaceChildren(...(html ? [step, make("p", {}, line), shown] : [make("p", {}, problem || t("importance_computing", { done, of: of || "…" }))]));
    result.hidden = false;
  });
  button.title = TEXT.importance_about;
}
