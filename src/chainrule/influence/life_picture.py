"""The life of a weight as a picture: its draw in the density, its value, gradient and update over
the steps, and who moved it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from chainrule.arrays import Array
from chainrule.explain import svg
from chainrule.explain.axes import mark_text, round_marks
from chainrule.influence.draw import Draw
from chainrule.influence.life_text import written
from chainrule.influence.lives import Life

WIDTH = 960
LEFT, RIGHT = 72, 16
"""Room for the numbers beside a curve."""
POINTS = 400
"""The points of a curve; of more steps the smallest and the largest of each stretch are drawn."""
BARS = 12
"""The bars of a part, at most."""


def draw(life: Life) -> str:
    """The picture as SVG, as light or dark as the page it is in."""
    parts = [svg.text(16, 28, life.weight, 17, bold=True)]
    about = f"{life.draw.value:.6g} \u2192 {life.end:.6g}: moved by {life.moved:+.6g} in {len(life.updates):,} steps"
    parts += [svg.text(16, 48, about, 12, colour="soft")]
    y = 66.0
    if life.kept != life.end:
        parts.append(svg.text(16, y, f"{life.kept_of}: {life.kept:.6g}", 12, colour="soft"))
        y += 18
    y = _density(parts, life.draw, y)
    values = np.append(life.values, life.end)
    y = _curve(parts, "value", values, y, 150, "ink")
    y = _curve(parts, "gradient", life.gradients, y, 90, "plus", 0.0)
    y = _curve(parts, "update", life.updates, y, 90, "descent", 0.0)
    rows = [
        ("what moved it", [*life.parts.items()], life.moved),
        ("by epoch", [(f"epoch {name}", epoch.update) for name, epoch in life.epochs()], life.moved),
    ]
    if life.by_class:
        rows.append(("by class", [(str(one.name), one.share) for one in life.by_class], life.of_samples))
    shown, rest = life.strongest(BARS - 1)
    samples = [(f"row {s.row:,}" + ("" if s.name is None else f" ({s.name})"), s.share) for s in shown]
    if shown:
        rows.append(("by sample", [*samples, (f"rest: {len(life.samples) - len(shown):,}", rest)], life.of_samples))
    half = (WIDTH - 48) / 2
    for first in range(0, len(rows), 2):
        ends = [
            _bars(parts, title, bars, total, 16 + k * (half + 16), y, half)
            for k, (title, bars, total) in enumerate(rows[first : first + 2])
        ]
        y = max(ends)
    return svg.document(f"The life of {life.weight}", WIDTH, y + 8, parts)


def _density(parts: list[str], drawn: Draw, y: float) -> float:
    """The density with the draw in it."""
    for line in svg.wrapped(drawn.words[0].upper() + drawn.words[1:], WIDTH - 32, 12):
        parts.append(svg.text(16, y + 12, line, 12))
        y += svg.LINE
    if len(drawn.at) < 2:
        return y + 14
    height, left, wide = 80, LEFT, WIDTH - LEFT - RIGHT
    low, high, most = drawn.at[0], drawn.at[-1], float(drawn.heights.max()) or 1.0

    def place(x: float, h: float) -> str:
        return f"{left + wide * (x - low) / (high - low):.1f},{y + 10 + height * (1 - h / most):.1f}"

    points = " ".join(place(x, h) for x, h in zip(drawn.at, drawn.heights, strict=True))
    parts.append(f'<polygon points="{place(low, 0)} {points} {place(high, 0)}" class="f-back s-plus"/>')
    x = left + wide * (drawn.value - low) / (high - low)
    parts.append(f'<path d="M{x:.1f} {y + 6:.1f}V{y + 10 + height:.1f}" class="s-minus" stroke-width="2" fill="none"/>')
    side, gap = ("end", -5) if x > WIDTH / 2 else ("start", 5)
    parts.append(svg.text(x + gap, y + 22, f"drawn: {drawn.value:.4g}", colour="minus", anchor=side))
    for mark in round_marks(float(low), float(high)):
        if low <= mark <= high:
            at = left + wide * (mark - low) / (high - low)
            parts.append(svg.text(at, y + height + 24, mark_text(mark), 10, colour="soft", anchor="middle"))
    return y + height + 42


def _curve(
    parts: list[str], name: str, values: Array, y: float, height: float, colour: str, base: float | None = None
) -> float:
    """A curve over the steps."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return y
    low, high = float(finite.min()), float(finite.max())
    if base is not None:
        low, high = min(low, base), max(high, base)
    if low == high:
        low, high = low - 0.5, high + 0.5
    wide = WIDTH - LEFT - RIGHT
    parts.append(svg.text(16, y + 12, name, 12, bold=True))
    y += 18

    def place(k: float, value: float) -> str:
        return f"{LEFT + wide * k / max(1, len(values) - 1):.1f},{y + height * (high - value) / (high - low):.1f}"

    for mark in round_marks(low, high, 5):
        if low <= mark <= high:
            at = y + height * (high - mark) / (high - low)
            width = ' stroke-width="1"' if mark == base else ' stroke-width="0.5" opacity="0.5"'
            parts.append(f'<path d="M{LEFT} {at:.1f}h{wide}" class="s-soft"{width} fill="none"/>')
            parts.append(svg.text(LEFT - 6, at + 4, mark_text(mark), 10, colour="soft", anchor="end"))
    points = " ".join(place(k, values[k]) for k in _thinned(values))
    parts.append(f'<polyline points="{points}" fill="none" class="s-{colour}" stroke-width="1.4"/>')
    last = len(values) - 1
    for step in (0, last // 2, last):
        anchor = "start" if step == 0 else "end" if step == last else "middle"
        x = LEFT + wide * step / max(1, last)
        parts.append(
            svg.text(x, y + height + 14, f"step {step:,}" if step else "step 0", 10, colour="soft", anchor=anchor)
        )
    return y + height + 28


def _thinned(values: Array) -> Iterator[int]:
    """The places of the smallest and the largest value of each stretch, and both ends."""
    edges = np.unique(np.linspace(0, len(values), min(len(values), POINTS // 2) + 1).astype(int))
    kept = {0, len(values) - 1}
    for a, b in itertools.pairwise(edges):
        part = values[a:b]
        if np.isfinite(part).any():
            kept |= {int(a + np.nanargmin(part)), int(a + np.nanargmax(part))}
    yield from (k for k in sorted(kept) if math.isfinite(values[k]))


def _bars(
    parts: list[str], title: str, bars: Sequence[tuple[str, float]], total: float, x: float, y: float, wide: float
) -> float:  # fmt: skip
    """Numbers with their names as bars to the right (up) and to the left (down) of a line, and
    their sum.
    """
    parts.append(svg.text(x, y + 14, title, 12, bold=True))
    y += 22
    room, number = 150.0, 86.0
    most = max((abs(value) for _, value in bars if math.isfinite(value)), default=0.0) or 1.0
    half = (wide - room - number) / 2
    middle = x + room + half
    *numbers, of_all = written([value for _, value in bars], total, 5)
    for (name, value), own in zip(bars, numbers, strict=True):
        shown = svg.wrapped(name[:200], room - 6)[0]  # a name may have 10,000 characters, of which few have room
        parts.append(svg.text(x, y + 11, shown if shown == name else f"{shown}\u2026"))
        length = half * abs(value) / most if math.isfinite(value) else 0.0
        colour = "plus" if value > 0 else "minus"
        parts.append(svg.box(middle if value > 0 else middle - length, y + 2, length, 10, colour, radius=1))
        parts.append(svg.text(x + wide, y + 11, own, anchor="end"))
        y += 17
    parts.append(f'<path d="M{middle:.1f} {y - 17 * len(bars):.1f}V{y:.1f}" class="s-soft" fill="none"/>')
    parts.append(f'<path d="M{x + wide - number:.1f} {y + 1:.1f}h{number:.1f}" class="s-soft" fill="none"/>')
    parts += [svg.text(x, y + 14, "sum", bold=True), svg.text(x + wide, y + 14, of_all, bold=True, anchor="end")]
    return y + 32
