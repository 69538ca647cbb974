// The connection to the engine: commands out, frames in, and never more than one frame that isn't drawn yet.

import { app, emit } from "./app.js";

/** @type {WebSocket | null} */
let socket = null;
/** @type {Record<string, any>[]} */
let waiting = [];
/** How many commands were sent that a frame answers. */
let asked = 0;

/** Connect; `upload` names a file that was dropped. @param {string} [upload] */
export function connect(upload = "") {
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
  socket.onmessage = (event) => receive(event.data);
  socket.onclose = (event) => emit("closed", event.reason);
}

/** Send a command. @param {Record<string, any>} message */
app.send = (message) => {
  if (!["shown", "open", "export"].includes(message.type)) {
    if (!["view", "settings"].includes(message.type)) emit("asked");
    message = { ...message, number: ++asked };
    document.body.dataset.asked = String(asked);
  }
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  else waiting.push(message);
};

/** @param {ArrayBuffer} content */
function receive(content) {
  const { header, arrays } = unpacked(content);
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

/**
 * A message's header and its arrays.
 * @param {ArrayBuffer} content @returns {{header: any, arrays: import("./types.js").Arrays}}
 */
function unpacked(content) {
  const length = new DataView(content).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, length)));
  /** @type {import("./types.js").Arrays} */
  const arrays = {};
  for (const { name, kind, shape, at } of header.arrays) {
    const count = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    const Kind = kind === "f4" ? Float32Array : Uint8Array;
    arrays[name] = { data: new Kind(content, 4 + length + at, count), shape };
  }
  return { header, arrays };
}
