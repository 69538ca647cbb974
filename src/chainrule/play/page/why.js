// Why the network predicts what it does for the sample on the stage: asked for, and drawn as the engine sends it.

import { app, byId, make, on } from "./app.js";
import { TEXT, t } from "./text.js";

export function startWhy() {
  const [button, result] = [byId("why-ask"), byId("why-result")];
  const hide = () => (result.hidden = true);
  button.onclick = () => app.send({ type: "why", sample: app.sample });
  on("built", hide);
  on("why", ({ header }) => {
    const parts = make("div", { className: "why" });
    parts.innerHTML = header.html; // the engine has escaped every name in it
    const step = make("p", { className: "hint" }, t("why_step", { step: header.step.toLocaleString("en") }));
    result.replaceChildren(make("h3", {}, header.title), step, make("p", {}, header.line), parts);
    result.hidden = false;
  });
  on("frame", ({ header }) => {
    const note = result.querySelector(".hint");
    if (note && !result.hidden && !note.textContent?.includes(`${header.step.toLocaleString("en")}.`)) note.classList.add("past");
  });
  on("sample", () => result.querySelector(".hint")?.classList.add("past"));
  button.title = TEXT.why_about;
}
