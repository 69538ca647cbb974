"""Building blocks of the HTML pages: a self-contained document, tables, formulas and small
images.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterable
from html import escape

import numpy as np

from chainrule.arrays import Array


class Html(str):
    """Text that is already HTML, and is not escaped."""


STYLE = """
:root { color-scheme: light dark; --line: #c8c8c4; --soft: #f4f4f2; --ink: #1b1b1b; --back: #fff; --descent: #2b6e43; }
@media (prefers-color-scheme: dark) {
  :root { --line: #4a4a48; --soft: #262624; --ink: #ececea; --back: #191918; --descent: #7cc498; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; }
body { color: var(--ink); background: var(--back); overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: .2rem 0; }
h2 { font-size: 1.15rem; margin: 1.4rem 0 .4rem; }
.table { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .9rem .15rem 0; text-align: right; white-space: nowrap; vertical-align: top; }
td:last-child, th:last-child { text-align: left; white-space: normal; min-width: 11rem; }
tr.sum { border-top: 2px solid var(--ink); font-weight: 600; }
math { display: block; overflow-x: auto; padding: .4rem 0; text-align: left; }
img { image-rendering: pixelated; vertical-align: middle; }
@media screen and (max-width: 640px) {
  table, tbody, tr, td { display: block; width: 100%; }
  tr { border-bottom: 1px solid var(--line); padding: .35rem 0; }
  tr.head, td:empty { display: none; }
  td, td:last-child { text-align: left; white-space: normal; padding: 0; }
  td[data-head]::before { content: attr(data-head) ": "; opacity: .75; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11pt; }
  .table { overflow: visible; }
  tr, svg, math { break-inside: avoid; }
}
"""

PRINT_ALL = """
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) { part.dataset.open = part.open; part.open = true; }
});
addEventListener("afterprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = part.dataset.open === "true";
});
"""
"""A script that opens every closed part for printing."""


def document(title: str, body: str, style: str = "", script: str = "") -> str:
    """A self-contained HTML page."""
    scripts = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{STYLE}{style}</style>'
        f"</head><body>{body}{scripts}</body></html>\n"
    )


def paragraph(words: str) -> str:
    """A paragraph of text."""
    return f"<p>{escape(words)}</p>"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], total: Iterable[str] | None = None) -> str:
    """A table of plain text or `Html` cells; `total` is a last row, below a rule."""
    head = list(head)

    def row(cells: Iterable[str], kind: str = "") -> str:
        cells = (cell if isinstance(cell, Html) else escape(cell) for cell in cells)
        # On a narrow screen each cell is a line of its own, prefixed by its `data-head`.
        named = (f' data-head="{escape(name)}"' if name else "" for name in head)
        return f"<tr{kind}>" + "".join(f"<td{n}>{cell}</td>" for n, cell in zip(named, cells, strict=True)) + "</tr>"

    top = '<tr class="head">' + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"
    last = row(total, ' class="sum"') if total else ""
    return f'<div class="table"><table>{top}{"".join(map(row, rows))}{last}</table></div>'


@functools.lru_cache(512)  # the live page shows the same ones after every step
def formula(latex: str) -> str:
    """A LaTeX formula as MathML, which browsers typeset natively."""
    from latex2mathml.converter import convert

    return str(convert(latex))


def picture(pixels: Array, what: str, size: int = 56) -> str:
    """An inline image of pixels of shape (height, width), (height, width, 1) or (height, width,
    3), scaled so that the brightest is white.

    Args:
        pixels: the pixels
        what: the alternative text
        size: width and height on the page, in CSS pixels
    """
    from PIL import Image

    image = np.asarray(pixels, dtype=np.float64)
    image = image[..., 0] if image.shape[2:] == (1,) else image
    scaled = 255 * np.clip(image / (float(image.max()) or 1.0), 0, 1)
    content = io.BytesIO()
    Image.fromarray(scaled.astype(np.uint8)).save(content, "PNG")
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(what)}" width="{size}" height="{size}" src="data:image/png;base64,{encoded}">'
