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
    yield f"{_largest('update', life.updates)}; {_largest('gradient', life.gradients)}"
    yield ""
    yield "what moved it"
    yield from addends([((name,), value) for name, value in life.parts.items()], life.moved)
    yield ""
    yield "by epoch"
    yield from addends([((f"epoch {n}", f"to {e.value:.6g}"), e.update) for n, e in life.epochs()], life.moved)
    if life.by_class:
        yield ""
        yield "by class"
        counted = [((str(one.name), _counted(one.samples, "sample")), one.share) for one in life.by_class]
        yield from addends(counted, life.of_samples)
    if life.is_rounded:
        yield ""
        yield "Its gradients are 0 but for rounding, as those of a bias before a BatchNorm: no sample moved it."
        return
    shown, rest = life.strongest(most)
    yield ""
    yield "by sample, strongest first"
    rows = [
        ((f"row {one.row:,}", "" if one.name is None else str(one.name), f"in {_steps(one.steps)}"), one.share)
        for one in shown
    ]
    if left := len(life.samples) - len(shown):
        rows.append((("rest", "", _counted(left, "sample")), rest))
    yield from addends(rows, life.of_samples)


def _steps(count: int) -> str:
    return _counted(count, "step")


def _largest(what: str, values: Array) -> str:
    step = int(np.argmax(np.abs(values)))
    return f"largest {what}: {values[step]:+.4g} in step {step:,}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def addends(rows: Sequence[tuple[Sequence[str], float]], total: float) -> Iterator[str]:
    """Rows whose last cells are numbers, and their sum."""
    *shown, of_all = written([value for _, value in rows], total)
    cells = [(*own, number) for (own, _), number in zip(rows, shown, strict=True)]
    yield from columns([*cells, ("sum", *[""] * (len(cells[0]) - 2), of_all)])


def written(numbers: Sequence[float], total: float, digits: int = 6) -> list[str]:
    """Numbers and then their sum, with the same decimals, so that what is written adds up; what is
    too small for them is written as a power of ten.

    Examples:
        >>> written([1.00004, -0.33333, 2e-9], 0.66671, digits=4)
        ['+1.000', '-0.333', '+2.0e-09', '+0.667']
    """
    largest = max((abs(value) for value in (*numbers, total) if math.isfinite(value)), default=0.0)
    decimals = min(max(digits - 1 - math.floor(math.log10(largest)), 0), 12) if largest else 0
    unit = 10.0**-decimals
    are_shown = [value == 0 or unit / 2 <= abs(value) < math.inf for value in numbers]
    counts = [value / unit for value, is_shown in zip(numbers, are_shown, strict=True) if is_shown]
    rounded = iter(rounded_together(counts, total / unit) if math.isfinite(math.fsum(numbers)) else counts)
    return [
        *(
            f"{next(rounded) * unit:+.{decimals}f}" if is_shown else f"{value:+.1e}"
            for value, is_shown in zip(numbers, are_shown, strict=True)
        ),
        f"{total:+.{decimals}f}",
    ]


def rounded_together(numbers: Sequence[float], total: float) -> list[int]:
    """Numbers rounded to whole ones that add up to their rounded total: where rounding each on its
    own would not, those that are nearest to the next one are rounded the other way.

    Examples:
        >>> rounded_together([1.4, 2.4, -0.3], 3.5)
        [2, 2, 0]
    """
    found = [round(x) for x in numbers]
    left = round(total) - sum(found)
    way = 1 if left > 0 else -1
    by_distance = sorted(range(len(found)), key=lambda k: way * (found[k] - numbers[k]))
    for k in by_distance[: abs(left)]:
        found[k] += way
    return found


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
    before = None  # the row of the column before: a curve has no gaps between steps
    for x, (first, last) in enumerate(itertools.pairwise(edges)):
        own = values[int(first) : max(int(last), int(first) + 1)]
        rows = [round((1 - (v - low) / span) * (4 * HEIGHT - 1)) for v in own if math.isfinite(v)]
        if not rows:
            before = None
            continue
        reached = rows if before is None else [before, *rows]
        for y in range(min(reached), max(reached) + 1):
            cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]
        before = rows[-1]
    labels: Mapping[int, str] = {0: f"{high:.4g}", HEIGHT - 1: f"{low:.4g}"}
    for k, row in enumerate(cells):
        drawn = "".join(chr(0x2800 + cell) if dots else "*" if cell else " " for cell in row)
        yield f"{labels.get(k, ''):>10} {drawn}".rstrip()
    last = f"step {len(values) - 1:,}"
    yield f"{'':>10} 0{last:>{WIDTH - 1}}"
