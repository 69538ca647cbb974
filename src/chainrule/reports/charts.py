"""Charts of a report as SVG: they need neither a script nor a network, and take the colours of the
page, light or dark, and those of paper in print.

Colour is never the only sign: lines differ in their dashes, and have a legend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.axes import loss_scale, mark_text, round_marks
from chainrule.explain.html import Html
from chainrule.explain.svg import wide
from chainrule.reports.section import cut, text

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 30, 14, 12, 40
"""The room around the plot, for the marks and the names of the axes; on the left also for the
widest mark.
"""
DASHES = ("", "6 4", "2 3", "8 3 2 3")
COLOURS = 7
"""The number of colours of lines in the page's style, s0 to s6."""
MOST_BINS = 40
"""The most bins of a histogram."""
MOST_POINTS = 400
"""The most points of a line, and of a scatter."""
LONGEST, LONGEST_NAME, LONGEST_TITLE = 28, 40, 160
"""Longer labels of bars, longer names of axes and lines, and longer titles are cut."""


Points = Array | Sequence[float]


@dataclass(frozen=True)
class Axis:
    """An axis from its lowest to its highest value.

    Attributes:
        name: what it measures
        low, high: its ends
        marks: the values with a mark
        is_logarithmic: whether it is
    """

    name: str
    low: float
    high: float
    marks: tuple[float, ...]
    is_logarithmic: bool = False

    def at(self, value: Array | float) -> Array:
        """The share of the axis below each value."""
        low, high = self.low, self.high
        if self.is_logarithmic:
            return np.log(np.asarray(value, dtype=float) / low) / (math.log(high / low) or 1.0)
        return (np.asarray(value, dtype=float) - low) / ((high - low) or 1.0)


def linear(values: Points, name: str, margin: float = 0.04) -> Axis:
    """An axis that holds all finite values."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    low, high = low - margin * (high - low), high + margin * (high - low)
    return Axis(name, low, high, tuple(round_marks(low, high)))


def of_losses(values: Points, name: str) -> Axis:
    """An axis for losses, logarithmic if they span a factor of over 20."""
    values = np.asarray(values, dtype=float)
    scale = loss_scale(values)
    if not scale.is_logarithmic:
        return linear(values, name)
    finite = values[np.isfinite(values)]
    return Axis(name, float(finite.min()) / 1.1, float(finite.max()) * 1.1, scale.marks, True)


@dataclass(frozen=True)
class Plot:
    """The area of a chart between two axes.

    Attributes:
        x, y: the axes
        width, height: of the whole picture, in CSS pixels
    """

    x: Axis
    y: Axis
    width: int = WIDTH
    height: int = HEIGHT

    @cached_property
    def left(self) -> float:
        """Where the x axis begins: right of the name and the marks of the y axis."""
        return LEFT + max((wide(mark_text(mark), 12) for mark in self.y.marks), default=12.0)

    def place(self, x: Points, y: Points) -> tuple[Array, Array]:
        """Where points are in the picture."""
        across = self.left + self.x.at(np.asarray(x, dtype=float)) * (self.width - self.left - RIGHT)
        return across, TOP + (1 - self.y.at(np.asarray(y, dtype=float))) * (self.height - TOP - BOTTOM)

    def line(self, x: Points, y: Points, kind: int = 0) -> str:
        """A line through points; it is interrupted where a value can't be drawn."""
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        drawn = np.isfinite(y) & ((y > 0) | (not self.y.is_logarithmic))
        if drawn.sum() == 1:  # as of a single epoch
            return self.dots(x[drawn], y[drawn], kind)
        chosen = _thinned(len(x))
        across, down = self.place(x, np.where(drawn, y, self.y.high))
        parts, pen = [], "M"
        for k in chosen:
            if drawn[k]:
                parts.append(f"{pen}{across[k]:.1f} {down[k]:.1f}")
            pen = "L" if drawn[k] else "M"
        dash = DASHES[kind % len(DASHES)]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<path d="{"".join(parts)}" class="line s{kind % COLOURS}"{dashes}/>' if parts else ""

    def band(self, x: Array, low: Array, high: Array, kind: int = 0) -> str:
        """The area between two lines."""
        across, down = self.place(np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]]))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
        return f'<polygon points="{points}" class="band f{kind % COLOURS}"/>'

    def dots(self, x: Array, y: Array, kind: int = 0, radius: float = 2.4) -> str:
        """Points; of very many, some, evenly spaced in their order."""
        fits = np.isfinite(x) & np.isfinite(y)
        across, down = self.place(x[fits], y[fits])
        marks = "".join(f"M{across[k]:.1f} {down[k]:.1f}h0" for k in _thinned(len(across), 3 * MOST_POINTS))
        return f'<path d="{marks}" class="dots s{kind % COLOURS}" stroke-width="{2 * radius:g}"/>'

    def frame(self) -> str:
        """The axes with their marks and names."""
        left, right, bottom = self.left, self.width - RIGHT, self.height - BOTTOM
        parts = [f'<path d="M{left:.1f} {TOP}V{bottom}H{right}" class="axis"/>']
        for mark in self.y.marks:
            _, down = self.place([self.x.low], [mark])
            parts.append(f'<path d="M{left:.1f} {down[0]:.1f}H{right}" class="grid"/>')
            parts.append(_text(left - 6, down[0] + 4, mark_text(mark), "end"))
        for mark in self.x.marks:
            across, _ = self.place([mark], [self.y.low])
            parts.append(f'<path d="M{across[0]:.1f} {bottom}v4" class="axis"/>')
            parts.append(_text(across[0], bottom + 17, mark_text(mark), "middle"))
        parts.append(_text((left + right) / 2, self.height - 5, cut(self.x.name, LONGEST_NAME), "middle", "name"))
        middle = (TOP + bottom) / 2
        name = f'<text transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle" class="name">'
        return "".join(parts) + f"{name}{text(self.y.name, LONGEST_NAME)}</text>"


def drawn(title: str, plot: Plot, parts: Sequence[str], legend: Mapping[str, int] | None = None) -> Html:
    """A chart with its title for those who can't see it, and a legend of lines by their kind."""
    picture = _svg(title, plot.width, plot.height, [plot.frame(), *parts])
    return Html(f"<figure>{picture}{legend_of(legend or {})}</figure>")


def legend_of(kinds: Mapping[str, int]) -> str:
    """What each kind of line is."""
    items = []
    for name, kind in kinds.items():
        dash = DASHES[kind % len(DASHES)]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        sample = f'<svg width="30" height="10" aria-hidden="true"><path d="M1 5h28" class="line s{kind % COLOURS}"'
        items.append(f"<span>{sample}{dashes}/></svg> {text(name, LONGEST_NAME)}</span>")
    return f'<figcaption class="legend">{" ".join(items)}</figcaption>' if items else ""


def lines(title: str, x: Axis, y: Axis, curves: Mapping[str, tuple[Points, Points]]) -> Html:
    """Curves by name, each as (x, y), with a legend."""
    plot = Plot(x, y)
    parts = [plot.line(*points, kind) for kind, points in enumerate(curves.values())]
    return drawn(title, plot, parts, {name: kind for kind, name in enumerate(curves)} if len(curves) > 1 else {})


def histogram(title: str, values: Array, name: str, width: int = WIDTH, height: int = HEIGHT) -> Html:
    """How many samples have values where; the number of bins is that of Freedman and Diaconis
    (1981) or of Sturges (1926), whichever is larger.
    """
    finite = np.asarray(values, dtype=float).ravel()
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return Html("")
    counts, edges = np.histogram(finite, bins=min(MOST_BINS, len(np.histogram_bin_edges(finite, "auto")) - 1))
    plot = Plot(linear(edges, name, 0.0), linear([0, 1.05 * counts.max()], "samples", 0.0), width, height)
    across, down = plot.place(edges[:-1], counts)
    end, _ = plot.place(edges[1:], counts)
    bottom = height - BOTTOM
    parts = [
        f'<rect x="{a + 0.5:.1f}" y="{d:.1f}" width="{max(e - a - 1, 0.5):.1f}" height="{bottom - d:.1f}" class="f0"/>'
        for a, e, d in zip(across, end, down, strict=True)
    ]
    return drawn(title, plot, parts)


def bars(
    title: str, values: Mapping[str, float], written: Mapping[str, str] | None = None,
    deviations: Mapping[str, float] | None = None,
) -> Html:  # fmt: skip
    """Horizontal bars by name, each with its value; with a whisker of one deviation to both sides.

    Args:
        title: what they show
        values: their lengths; negative ones go to the left
        written: how each value is written; by default with four significant figures
        deviations: the standard deviation of each
    """
    names = {name: cut(name, LONGEST) for name in values}
    left = min(240.0, 14 + max((wide(shown, 12) for shown in names.values()), default=0))
    spread = {name: (deviations or {}).get(name, 0.0) for name in values}
    low = min(0.0, *(value - spread[name] for name, value in values.items()))
    high = max(0.0, *(value + spread[name] for name, value in values.items()))
    scale = (WIDTH - left - 96) / ((high - low) or 1.0)
    zero, row, parts = left - low * scale, 22, []
    for k, (name, value) in enumerate(values.items()):
        y, x = 4 + k * row, left + (min(value, 0) - low) * scale
        kind = "f0" if value >= 0 else "f1"
        parts.append(_text(left - 8, y + 13, names[name], "end"))
        parts.append(f'<rect x="{x:.1f}" y="{y + 2}" width="{abs(value) * scale:.1f}" height="14" class="{kind}"/>')
        end = left + (max(value, 0.0) - low) * scale
        if spread[name]:
            from_, to = (left + (value + s * spread[name] - low) * scale for s in (-1, 1))
            parts.append(f'<path d="M{from_:.1f} {y + 9}H{to:.1f}" class="whisker"/>')
            end = max(end, to)
        parts.append(_text(end + 6, y + 13, (written or {}).get(name, mark_text(value))))
    height = 8 + row * len(values)
    parts.append(f'<path d="M{zero:.1f} 2V{height - 4}" class="axis"/>')
    return Html(f"<figure>{_svg(title, WIDTH, height, parts)}</figure>")


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">'
        f"<title>{text(title, LONGEST_TITLE)}</title>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "mark") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{text(words)}</text>'


def _thinned(count: int, most: int = MOST_POINTS) -> list[int]:
    """The numbers of at most so many of `count` points, evenly spaced, with the first and last."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, most))}) if count else []
