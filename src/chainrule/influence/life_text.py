"""The life of a weight as text for a terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from chainrule.arrays import Array
from chainrule.influence.draw import Draw
from chainrule.influence.lives import Life
from chainrule.summary import DOTS

WIDTH, HEIGHT = 64, 9
"""Characters of the chart of values."""
BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def lines(life: Life, most: int = 10, can_show: Callable[[str], bool] = bool) -> Iterator[str]:
    """The life in lines.

    Args:
        life: the life
        most: how many samples to list
        can_show: whether the terminal has these characters; without, ASCII stands for them
    """
    steps = len(life.updates)
    yield f"{life.weight}: {life.draw.value:.6g} -> {life.end:.6g}, {life.moved:+.6g} in {_steps(steps)}"
    if life.kept != life.end:
        yield f"{life.kept_of}: {life.kept:.6g}"
    yield ""
    yield life.draw.words
    yield from density_lines(life.draw, can_show)
    yield ""
    yield "value over the steps"
    yield from chart([*life.values.tolist(), life.end], can_show)
    strongest = int(np.argmax(np.abs(life.updates)))
    yield f"largest update: {life.updates[strongest]:+.4g} in step {strongest}; largest gradient: " + _largest(
        life.gradients
    )
    yield ""
    yield "what moved it"
    yield from columns([(name, f"{value:+.6g}") for name, value in {**life.parts, "sum": life.moved}.items()])
    yield ""
    yield "by epoch"
    yield from columns((f"epoch {n}", f"{e.update:+.6g}", f"to {e.value:.6g}") for n, e in life.epochs())
    if life.by_class:
        yield ""
        yield "by class"
        counted = ((str(one.name), f"{one.samples:,} samples", f"{one.share:+.6g}") for one in life.by_class)
        yield from columns(counted)
    if life.is_rounded:
        yield ""
        yield "Its gradients are 0 but for rounding, as those of a bias before a BatchNorm: no sample moved it."
        return
    shown, rest = life.strongest(most)
    yield ""
    yield "by sample, strongest first"
    rows = [
        (f"row {one.row:,}", "" if one.name is None else str(one.name), f"in {_steps(one.steps)}", f"{one.share:+.6g}")
        for one in shown
    ]
    left = len(life.samples) - len(shown)
    yield from columns([*rows, *([("rest", "", f"{left:,} samples", f"{rest:+.6g}")] if left else [])])


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"


def _largest(gradients: Array) -> str:
    place = int(np.argmax(np.abs(gradients)))
    return f"{gradients[place]:+.4g} in step {place}"


def columns(rows: Iterable[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Rows of cells as lines; numbers stand below each other."""
    cells = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        shown = (
            f"{cell:>{width}}" if cell[:1] in "+-" and k else f"{cell:<{width}}"
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield (indent + "  ".join(shown)).rstrip()


def density_lines(draw: Draw, can_show: Callable[[str], bool]) -> Iterator[str]:
    """The density as a row of bars, with the draw marked below it."""
    if len(draw.at) < 2:
        return
    at = np.linspace(draw.at[0], draw.at[-1], WIDTH)
    heights = np.interp(at, draw.at, draw.heights)
    most = heights.max() or 1.0
    blocks = BLOCKS if can_show(BLOCKS) else " ..--==##"
    yield "  " + "".join(blocks[round(8 * h / most)] for h in heights)
    place = round((WIDTH - 1) * (draw.value - at[0]) / (at[-1] - at[0]))
    yield "  " + " " * place + "^"
    low, high = f"{at[0]:.3g}", f"{at[-1]:.3g}"
    yield f"  {low}{high:>{WIDTH - len(low)}}"


def chart(values: Sequence[float], can_show: Callable[[str], bool]) -> Iterator[str]:
    """Values over the steps, on a linear scale, in braille characters."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    span, dots = high - low or 1.0, can_show(chr(0x2800))
    cells = [[0] * WIDTH for _ in range(HEIGHT)]
    edges = np.linspace(0, len(values), 2 * WIDTH + 1)
    for x, (first, last) in enumerate(itertools.pairwise(edges)):
        own = [v for v in values[int(first) : max(int(last), int(first) + 1)] if math.isfinite(v)]
        if not own:
            continue
        top, bottom = (round((1 - (v - low) / span) * (4 * HEIGHT - 1)) for v in (max(own), min(own)))
        for y in range(top, bottom + 1):
            cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]
    labels: Mapping[int, str] = {0: f"{high:.4g}", HEIGHT - 1: f"{low:.4g}"}
    for k, row in enumerate(cells):
        drawn = "".join(chr(0x2800 + cell) if dots else "*" if cell else " " for cell in row)
        yield f"{labels.get(k, ''):>10} {drawn}".rstrip()
    last = f"step {len(values) - 1:,}"
    yield f"{'':>10} 0{last:>{WIDTH - 1}}"
