// SVG: single elements, and pictures that are described anew for every frame, of which only what changed is touched.

const SPACE = "http://www.w3.org/2000/svg";

/**
 * An SVG element.
 * @param {string} kind @param {Record<string, any>} given @param {(Node | string)[]} children @returns {SVGElement}
 */
export function svg(kind, given = {}, ...children) {
  const element = document.createElementNS(SPACE, kind);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** The description of an element. @typedef {{kind: string, given: Record<string, any>, children: (Part | string)[]}} Part */
/** What may stand among the children of one. @typedef {Part | string | null | undefined | false | (Part | string | null | undefined | false)[]} Child */

/**
 * Describe an element; nothing is drawn yet.
 * @param {string} kind @param {Record<string, any>} given @param {Child[]} children @returns {Part}
 */
export function part(kind, given = {}, ...children) {
  return { kind, given, children: /** @type {(Part | string)[]} */ (children.flat().filter((child) => child)) };
}

/** What each element was drawn from. @type {WeakMap<Node, Part>} */
const drawn = new WeakMap();

/** @param {Part | string} described @returns {Node} */
function made(described) {
  if (typeof described === "string") return document.createTextNode(described);
  const element = svg(described.kind, described.given, ...described.children.map(made).map((node) => /** @type {any} */ (node)));
  drawn.set(element, described);
  return element;
}

/** @param {Element} element @param {Part} described */
function update(element, described) {
  const before = /** @type {Part} */ (drawn.get(element));
  for (const [name, value] of Object.entries(described.given)) if (before.given[name] !== value) element.setAttribute(name, String(value));
  for (const name of Object.keys(before.given)) if (!(name in described.given)) element.removeAttribute(name);
  described.children.forEach((child, k) => {
    const there = element.childNodes[k];
    if (!there) element.append(made(child));
    else if (typeof child === "string" && there instanceof Text) {
      if (there.data !== child) there.data = child;
    } else if (typeof child !== "string" && drawn.get(there)?.kind === child.kind) update(/** @type {Element} */ (there), child);
    else there.replaceWith(made(child));
  });
  while (element.childNodes.length > described.children.length) element.lastChild?.remove();
  drawn.set(element, described);
}

/** Draw a picture in a place, or bring the one that is there up to date. @param {HTMLElement} place @param {Part} described */
export function render(place, described) {
  const there = place.firstElementChild;
  if (there && drawn.get(there)?.kind === described.kind) update(there, described);
  else place.replaceChildren(made(described));
}

/** A number for the stage; null stands for infinity and NaN, which JSON lacks. @param {number | null} value */
export function figure(value) {
  if (value === null) return "not finite";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1000) return String(value).replace("-", "−");
  const text = size >= 1000 ? value.toPrecision(4) : size >= 0.0005 || value === 0 ? value.toFixed(3) : value.toExponential(1);
  return text.replace("-", "−");
}
