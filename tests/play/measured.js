// What is written on the page, and where: for tests that nothing overlaps or is cut off, and that all of it can be read.
// Runs before the page's own scripts, to see what they write on canvases.

(() => {
  /** @type {WeakMap<HTMLCanvasElement, {words: string, box: number[], colour: string, alpha: number}[]>} */
  const written = new WeakMap();
  const context = CanvasRenderingContext2D.prototype;
  const forget = (canvas) => written.set(canvas, []);

  const { fillText, clearRect, fillRect } = context;
  context.fillText = function (words, x, y, ...rest) {
    fillText.call(this, words, x, y, ...rest);
    const size = this.measureText(words), turn = this.getTransform();
    const corners = [-size.actualBoundingBoxLeft, size.actualBoundingBoxRight].flatMap((dx) =>
      [-size.actualBoundingBoxAscent, size.actualBoundingBoxDescent].map((dy) => turn.transformPoint(new DOMPoint(x + dx, y + dy))));
    const [xs, ys] = [corners.map((p) => p.x), corners.map((p) => p.y)];
    const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    if (!written.has(this.canvas)) forget(this.canvas);
    written.get(this.canvas)?.push({ words: String(words), box, colour: String(this.fillStyle), alpha: this.globalAlpha });
  };
  const covers = (ctx, x, y, width, height) => {
    const a = ctx.getTransform().transformPoint(new DOMPoint(x, y));
    const b = ctx.getTransform().transformPoint(new DOMPoint(x + width, y + height));
    return a.x <= 0 && a.y <= 0 && b.x >= ctx.canvas.width && b.y >= ctx.canvas.height;
  };
  for (const [name, draw] of Object.entries({ clearRect, fillRect }))
    context[name] = function (...box) {
      if (covers(this, ...box)) forget(this.canvas);
      draw.apply(this, box);
    };
  for (const side of ["width", "height"]) {
    const property = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, side);
    Object.defineProperty(HTMLCanvasElement.prototype, side, { ...property, set(value) { forget(this); property.set.call(this, value); } });
  }

  /** Whether an element can be seen, apart from scrolling. */
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true });

  /** What lies over the rest of the page: texts in different layers may overlap. */
  const layer = (element) => {
    for (let at = element; at; at = at.parentElement) if (at.nodeName === "DIALOG" || ["fixed", "sticky"].includes(getComputedStyle(at).position)) return at;
    return null;
  };

  /**
   * The part of a box that can be seen without scrolling what it lies in, null if there is none; and the sides on which it is
   * cut off where one can't scroll.
   */
  const clipped = (element, box) => {
    let [left, top, right, bottom] = box;
    const sides = [];
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at), r = at.getBoundingClientRect(), whole = at.nodeName === "svg" || at.nodeName === "CANVAS";
      const [x, y] = whole ? ["hidden", "hidden"] : [style.overflowX, style.overflowY];
      const scrolls = [["auto", "scroll"].includes(x) && at.scrollWidth > at.clientWidth, ["auto", "scroll"].includes(y) && at.scrollHeight > at.clientHeight];
      const name = at.id || at.className?.baseVal || at.className || at.nodeName;
      if (x !== "visible" && !scrolls[0] && (left < r.left - 1 || right > r.right + 1)) sides.push(`${name} x`);
      if (y !== "visible" && !scrolls[1] && (top < r.top - 2 || bottom > r.bottom + 2)) sides.push(`${name} y`);
      if (scrolls[0]) [left, right] = [Math.max(left, r.left), Math.min(right, r.right)];
      if (scrolls[1]) [top, bottom] = [Math.max(top, r.top), Math.min(bottom, r.bottom)];
      if (left >= right || top >= bottom) return { seen: null, sides };
      if (style.position === "fixed") break;
    }
    if (left < -1 || right > innerWidth + 1) sides.push("window");
    return { seen: [left, top, right, bottom], sides };
  };

  const opacity = (element) => (element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1);

  /** Ask only once for each element. */
  const remembered = (ask) => {
    const known = new Map();
    return (element) => {
      if (!known.has(element)) known.set(element, ask(element));
      return known.get(element);
    };
  };

  /** The text that a control shows, if it is wider than the control. */
  const hides = (control) => {
    if (control.nodeName === "INPUT") return control.scrollWidth > control.clientWidth + 1;
    const style = getComputedStyle(control), pen = document.createElement("canvas").getContext("2d");
    pen.font = style.font;
    const room = control.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 14; // its arrow
    return pen.measureText(control.selectedOptions[0]?.textContent ?? "").width > room;
  };

  /** All texts in sight of one who scrolls; only those of a dialog, if one is open. */
  window.measured = () => {
    const root = document.querySelector("dialog[open]") ?? document.body;
    const texts = [];
    const [layerOf, opacityOf, seenOf] = [remembered(layer), remembered(opacity), remembered(isSeen)];
    const add = (element, words, box, colour, alpha = 1) => {
      const { seen, sides } = clipped(element, box);
      const within = element.closest("[id]")?.id ?? "";
      if (seen) texts.push({ words, box: seen, colour, alpha: alpha * opacityOf(element), layer: layerOf(element), cut: sides, within, drawn: Boolean(element.closest("svg")), element: element.closest("text") });
    };
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walker.nextNode()) {
      const node = walker.currentNode, element = node.parentElement;
      if (!node.data.trim() || !element || element.closest("script, style, select, title, math, .visually-hidden, .skip, .js-plotly-plot") || !seenOf(element)) continue;
      if (element.closest(":disabled")) continue; // what can't be used may be faint
      range.selectNodeContents(node);
      const style = getComputedStyle(element);
      for (const r of range.getClientRects()) if (r.width > 0.5) add(element, node.data.trim(), [r.left, r.top, r.right, r.bottom], element.closest("svg") ? style.fill : style.color);
    }
    for (const canvas of root.querySelectorAll("canvas")) {
      if (!isSeen(canvas) || canvas.closest(".js-plotly-plot")) continue;
      const r = canvas.getBoundingClientRect(), scale = r.width / canvas.width;
      for (const { words, box, colour, alpha } of written.get(canvas) ?? [])
        add(canvas, words, [r.left + box[0] * scale, r.top + box[1] * scale, r.left + box[2] * scale, r.top + box[3] * scale], colour, alpha);
    }
    // What a layer covers can be neither read nor in the way.
    const over = [...new Set(texts.map((one) => one.layer))].filter(Boolean).map((one) => one.getBoundingClientRect());
    const isCovered = ({ layer: own, box: [left, top, right, bottom] }) => !own && over.some((r) => left < r.right && right > r.left && top < r.bottom && bottom > r.top);
    texts.splice(0, Infinity, ...texts.filter((one) => !isCovered(one)));
    const overlaps = [];
    texts.forEach((a, k) => texts.slice(0, k).forEach((b) => {
      const [wide, high] = [Math.min(a.box[2], b.box[2]) - Math.max(a.box[0], b.box[0]), Math.min(a.box[3], b.box[3]) - Math.max(a.box[1], b.box[1])];
      // A line of text has some space above and below it; numbers side by side in a picture need some between them.
      if (a.layer === b.layer && wide > (a.drawn && b.drawn && a.element !== b.element ? -1.5 : 1.5) && high > 3) overlaps.push(`${a.within}: ${a.words} / ${b.words}`);
    }));
    const controls = [...root.querySelectorAll("select, input:not([type=checkbox], [type=range], [type=file])")].filter((one) => isSeen(one) && hides(one));
    return {
      texts: texts.map(({ words, box, colour, alpha, within }) => ({ words, box, colour, alpha, within })), overlaps, width: document.documentElement.scrollWidth,
      cut: texts.filter((one) => one.cut.length).map((one) => `${one.within}: ${one.words} (${one.cut.join(", ")})`),
      hidden: controls.map((one) => `${one.id || one.ariaLabel || one.closest("label")?.textContent.slice(0, 20)}: ${one.selectedOptions?.[0]?.textContent ?? one.value}`),
    };
  };
})();
