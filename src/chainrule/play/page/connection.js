// The connection to the engine: commands out, frames in, and never more than one frame that isn't drawn yet.

import { app, emit } from "./app.js";
import { unpacked } from "./messages.js";
import { answer, openRecording } from "./saved.js";

/** @type {WebSocket | null} */
let socket = null;
/** @type {Record<string, any>[]} */
let waiting = [];
/** How many commands were sent that a frame answers. */
let asked = 0;

/** The choices that the page offers: the engine's, or those of the recording in a saved page. @returns {Promise<import("./types.js").Choices>} */
export async function choices() {
  return (await openRecording(receive)) ?? (await fetch("config.json")).json();
}

/** Connect; `upload` names a file that was dropped. @param {string} [upload] */
export function connect(upload = "") {
  if (app.saved) return;
  if (socket) {
    socket.onclose = null;
    socket.close();
  }
  const address = new URL("socket", location.href);
  address.protocol = "ws:";
  address.hash = "";
  if (upload) address.searchParams.set("upload", upload);
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    for (const message of waiting) socket?.send(JSON.stringify(message));
    waiting = [];
  };
  socket.onmessage = (event) => receive(unpacked(event.data));
  socket.onclose = (event) => emit("closed", event.reason);
}

/** Send a command. @param {Record<string, any>} message */
app.send = (message) => {
  if (!["shown", "open", "export", "why", "teachers", "importance"].includes(message.type)) {
    if (!["view", "settings"].includes(message.type)) emit("asked");
    message = { ...message, number: ++asked };
    document.body.dataset.asked = String(asked);
  }
  if (app.saved) answer(message);
  else if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  else waiting.push(message);
};

/** @param {ReturnType<typeof unpacked>} message */
function receive({ header, arrays }) {
  emit(header.type, { header, arrays });
  if (["frame", "race", "too few points"].includes(header.type)) {
    requestAnimationFrame(() => {
      // The next one may come while this one is drawn; whatever is slow here holds up both.
      app.send({ type: "shown" });
      emit("draw");
      // The page shows the result of every command once this equals the number asked; tests wait for it.
      document.body.dataset.answered = String(header.answers);
    });
  }
}
