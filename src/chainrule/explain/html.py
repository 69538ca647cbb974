"""What the HTML pages have in common: a document that stands alone, tables, formulas and small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

import numpy as np

from chainrule.arrays import Array


class Html(str):
    """A text that is HTML already, and is not escaped."""


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
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; background: #fff; margin: .8rem 0; }
.wide svg { display: block; max-width: none; min-width: 56rem; width: 100%; height: auto; }
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
  .wide, .table { overflow: visible; }
  .wide svg { min-width: 0; }
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
"""What is closed on the screen is printed all the same."""


def document(title: str, body: str, style: str = "", script: str = "") -> str:
    """A page in one file, which needs nothing else."""
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
    """A table of texts, or of `Html`. `total` is a last row, under a line."""
    head = list(head)

    def row(cells: Iterable[str], kind: str = "") -> str:
        made = (cell if isinstance(cell, Html) else escape(cell) for cell in cells)
        # A narrow screen shows each cell in a line of its own, under the head that it has here.
        named = (f' data-head="{escape(name)}"' if name else "" for name in head)
        return f"<tr{kind}>" + "".join(f"<td{n}>{cell}</td>" for n, cell in zip(named, made, strict=True)) + "</tr>"

    top = '<tr class="head">' + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"
    last = row(total, ' class="sum"') if total else ""
    return f'<div class="table"><table>{top}{"".join(map(row, rows))}{last}</table></div>'


def formula(latex: str) -> str:
    """A formula as MathML, which the browser sets by itself."""
    from latex2mathml.converter import convert

    return str(convert(latex))


def picture(pixels: Array, what: str, size: int = 56) -> str:
    """A picture of shape (height, width) or (height, width, 3), its brightest pixel white, as an image in the page."""
    from PIL import Image

    shown = np.asarray(pixels, dtype=np.float64)
    shown = shown[..., 0] if shown.ndim == 3 and shown.shape[-1] == 1 else shown
    largest = float(shown.max()) or 1.0
    content = io.BytesIO()
    Image.fromarray((255 * np.clip(shown / largest, 0, 1)).astype(np.uint8)).save(content, "PNG")
    coded = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(what)}" width="{size}" height="{size}" src="data:image/png;base64,{coded}">'
