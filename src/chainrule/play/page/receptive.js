// Receptive fields: which positions of earlier layers a position reads, through strides, padding, dilation and pooling.

/** @typedef {import("./types.js").MapRow} MapRow */
/** Some positions of a row: its rows, its columns, and its channel; null for all channels. @typedef {{rows: number[], columns: number[], channel: number | null}} Field */

/** Every whole number below this one. @param {number} count */
export const every = (count) => Array.from({ length: count }, (_, k) => k);

/** Ascending, each once. @param {number[]} places */
const ascending = (places) => [...new Set(places)].sort((a, b) => a - b);

/** What these places read along one axis. @param {number[][]} axis @param {number[]} places */
const along = (axis, places) => ascending(places.flatMap((place) => axis[place]));

/**
 * What some positions of a row read of every row before it, by the number of the row; of a row on several ways, both fields together.
 * @param {MapRow[]} rows @param {number} last the number of the row @param {Field} from @returns {Map<number, Field>}
 */
export function fieldsOf(rows, last, from) {
  const found = new Map([[last, from]]);
  for (let k = last; k > 0; k--) {
    const field = found.get(k);
    for (const { row, axes, alone } of field ? rows[k].reads : []) {
      const [high, wide] = rows[row].shape.length === 3 ? rows[row].shape : [0, 0];
      const [down, across] = axes ? [along(axes[0], field?.rows ?? []), along(axes[1], field?.columns ?? [])] : [every(high), every(wide)];
      const channel = alone ? field?.channel ?? null : null;
      const known = found.get(row);
      found.set(row, known ? { rows: ascending([...known.rows, ...down]), columns: ascending([...known.columns, ...across]), channel: known.channel === channel ? channel : null } : { rows: down, columns: across, channel });
    }
  }
  return found;
}

/** Ascending places as runs without gaps, each with its first place and its length. @param {number[]} places @returns {[number, number][]} */
export function runs(places) {
  /** @type {[number, number][]} */
  const found = [];
  for (const place of places) {
    const run = found.at(-1);
    if (run && place === run[0] + run[1]) run[1]++;
    else found.push([place, 1]);
  }
  return found;
}

/** Places in words: "3–5", or "3, 5, 7". @param {number[]} places */
export const spoken = (places) => runs(places).map(([first, count]) => (count > 1 ? `${first}–${first + count - 1}` : String(first))).join(", ");
