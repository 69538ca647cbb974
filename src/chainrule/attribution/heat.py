"""Attributions as pictures: over the pixels of a picture, or over the time steps of a sequence."""

from __future__ import annotations

from html import escape

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.svg import PALETTE

SIDE = 264
"""The width of a picture, in CSS pixels."""
MORE, LESS = (f"light-dark({', '.join(PALETTE[name])})" for name in ("plus", "minus"))
"""The colours of what adds to an output, and of what takes away."""


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape is drawn as a picture."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def heat_map(attributions: Array, ink: Array, what: str, unit: str = "") -> str:
    """A picture in SVG whose pixels are coloured by their attributions: blue for what adds to the
    output, orange for what takes away, the stronger the more.

    Args:
        attributions: (height, width) or (height, width, channels), of which the channels are added
        ink: the sample in the same shape, drawn in grey below
        what: the alternative text
        unit: of the attributions, in the legend of each pixel
    """
    own = attributions.sum(axis=-1) if attributions.ndim == 3 else attributions
    grey = ink.mean(axis=-1) if ink.ndim == 3 else ink
    low, high = float(grey.min()), float(grey.max())
    grey = (grey - low) / ((high - low) or 1.0)
    largest = float(np.abs(own).max()) or 1.0
    height, width = own.shape
    size = SIDE / max(width, 1)
    cells = []
    for (r, c), value in np.ndenumerate(own):
        at = f'x="{c * size:.2f}" y="{r * size:.2f}" width="{size + 0.05:.2f}" height="{size + 0.05:.2f}"'
        if grey[r, c] > 0.02:
            cells.append(f'<rect {at} fill="currentColor" fill-opacity="{0.28 * grey[r, c]:.2f}"/>')
        share = abs(float(value)) / largest
        if share > 0.005:
            colour = MORE if value > 0 else LESS
            name = escape(f"row {r}, column {c}: {value:+.4g}{unit}")
            cells.append(f'<rect {at} style="fill:{colour}" fill-opacity="{share:.2f}"><title>{name}</title></rect>')
    outline = (
        f'<rect width="{SIDE}" height="{height * size:.1f}" fill="none" stroke="currentColor" stroke-opacity=".3"/>'
    )
    return (
        f'<svg class="heat" viewBox="0 0 {SIDE} {height * size:.1f}" width="{SIDE}" role="img"'
        f' style="max-width:100%;height:auto"><title>{escape(what)}</title>{"".join(cells)}{outline}</svg>'
    )


def bar(value: float, largest: float) -> str:
    """A bar to the right for what adds, to the left for what takes away."""
    share = 50 * abs(value) / largest if largest else 0.0
    left = 50 - share if value < 0 else 50
    colour = MORE if value > 0 else LESS
    return (
        '<svg class="bar" viewBox="0 0 100 10" width="140" height="14" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect x="{left:.2f}" y="1" width="{share:.2f}" height="8" style="fill:{colour}"/>'
        '<line x1="50" y1="0" x2="50" y2="10" stroke="currentColor" stroke-width=".6"/></svg>'
    )
