"""Pictures: which arrays hold them, and the mean and deviation of their channels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from chainrule.arrays import Array, Deferred
from chainrule.data.sequences import SIDE

PART = 1_000_000
"""The numbers of pictures that are read at a time, about."""


def are_pictures(x: Array | Deferred) -> bool:
    """Whether an array holds pictures: (samples, height, width), or with 1, 3 or 4 channels."""
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3, 4)):
        return False
    return x.dtype == np.uint8 or x.ndim == 4 or (min(x.shape[1:]) >= SIDE and x.min() >= 0)


def of_channels(x: Array | Deferred, rows: Array) -> tuple[Array, Array]:
    """The mean of each channel, and the root mean square of what is left; some rows at a time."""
    axes, count = (0, 1, 2), len(rows) * x.shape[1] * x.shape[2]
    parts = np.array_split(rows, max(1, math.prod(x.shape[1:]) * len(rows) // PART))
    if x.dtype == np.uint8:
        return of_bytes(map(x.__getitem__, parts), count)
    mean = np.array(sum(x[part].sum(axis=axes, dtype=np.float64) for part in parts)) / count
    squares = sum(np.sum(np.square(x[part] - mean), axis=axes) for part in parts)
    return mean, np.asarray(np.sqrt(np.mean(squares) / count) or 1.0)


def of_bytes(parts: Iterable[Array], count: int) -> tuple[Array, Array]:
    """The same of pictures of bytes, of so many pixels in all. Their sums are exact: so they are
    read once, in any order.
    """
    total, squares = 0, 0
    for part in parts:
        total = total + part.sum(axis=(0, 1, 2), dtype=np.int64)
        squares = squares + int(np.square(part, dtype=np.int64).sum())
    sums: list[int] = np.ravel(total).tolist()
    left = Fraction(squares) - sum(Fraction(one * one, count) for one in sums)
    return np.divide(total, count), np.asarray(math.sqrt(left / (count * len(sums))) or 1.0)
