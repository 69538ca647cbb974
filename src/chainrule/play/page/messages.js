// The form of the engine's messages: the length of a JSON header, the header, and arrays.

/**
 * A message's header and its arrays.
 * @param {ArrayBuffer} content @returns {{header: any, arrays: import("./types.js").Arrays}}
 */
export function unpacked(content) {
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
