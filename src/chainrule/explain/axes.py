"""Axes: the marks at them, and one format for their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array

D3_FORMAT = ".4~g"
"""The format as Plotly takes it, for axes that can be zoomed."""


def mark_text(value: float) -> str:
    """A number at an axis: four significant figures, and a power of ten only below 1e-6 or from
    1e6.

    Examples:
        >>> mark_text(-0.0002), mark_text(0.00034261), mark_text(1250000)
        ('−0.0002', '0.0003426', '1.25e+6')
    """
    size = abs(value)
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if 1e-6 <= size < 1e6:
        text = np.format_float_positional(float(f"{size:.4g}"), trim="-")
    else:
        digits, power = f"{size:.3e}".split("e")
        text = f"{digits.rstrip('0').rstrip('.')}e{int(power):+d}"
    return ("−" if value < 0 else "") + text


def round_marks(low: float, high: float, most: int = 6) -> list[float]:
    """At most this many round numbers within a range."""
    if not low < high:
        return [low]
    power = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if (high - low) / (factor * power) <= most - 1)
    return [float(k * step) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


@dataclass(frozen=True)
class Scale:
    """The scale of an axis for losses: logarithmic if they span a factor of over 20.

    Attributes:
        is_logarithmic: whether it is
        marks: the losses at its marks
    """

    is_logarithmic: bool
    marks: tuple[float, ...]

    @property
    def place(self) -> Callable[[Any], Array]:
        """Where on the axis a loss is."""
        return np.log10 if self.is_logarithmic else np.asarray


def loss_scale(losses: Array) -> Scale:
    """The scale that suits these losses."""
    finite = losses[np.isfinite(losses)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if not (low > 0 and high > 20 * low):
        return Scale(False, tuple(round_marks(low, high)))
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    factors = (1, 3) if high < 1e4 * low else (1,)
    marks = [factor * 10.0**power for power in powers for factor in factors]
    return Scale(True, tuple(mark for mark in marks if low <= mark <= high))
