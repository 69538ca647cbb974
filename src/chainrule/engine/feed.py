"""Mini-batches in a form that the native engine reads: in place, or gathered some at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from chainrule.arrays import Array, Scaled
from chainrule.engine.base import Batches, Problem

READABLE = tuple(np.dtype(kind) for kind in ("float32", "float64", "uint8", "int32", "int64"))
MOST_BATCHES, MOST_NUMBERS = 64, 4_000_000
"""How many mini-batches, and numbers of their inputs, are gathered at a time."""


@dataclass
class Feed:
    """What the native engine reads: the samples in place if it can, else the next mini-batches,
    gathered and augmented. Those that it did not get to are kept for the next time.
    """

    problem: Problem
    _step: int = 0
    _source: Batches | None = None
    _gathered: Batches | None = field(default=None, repr=False)

    def ready(self, step: int, batches: Batches) -> Batches:
        """The mini-batches from this step on, or only the first of them."""
        if not self.problem.augment and is_readable(batches.x) and is_readable(batches.y):
            weight = None if batches.weight is None else readable(batches.weight)
            order = np.ascontiguousarray(batches.order, dtype=np.int64)
            return Batches(batches.x, batches.y, weight, order, batches.size)
        kept = self._kept(step, batches)
        if kept is None:
            row = math.prod(batches.x.shape[1:])
            most = max(1, min(MOST_BATCHES, MOST_NUMBERS // max(1, batches.size * row)))
            self._step, self._source = step, batches.cut(0, most)
            kept = self._gathered = self._gather(step, self._source)
        return kept.cut(0, len(batches))

    def _kept(self, step: int, batches: Batches) -> Batches | None:
        """What was gathered already."""
        source, gathered, k = self._source, self._gathered, step - self._step
        if source is None or gathered is None or not 0 <= k < len(source):
            return None
        rest = source.cut(k, len(source)).order[: len(batches.order)]
        is_same = source.x is batches.x and source.y is batches.y and source.size == batches.size
        return gathered.cut(k, len(source)) if is_same and np.array_equal(rest, batches.order[: len(rest)]) else None

    def _gather(self, step: int, batches: Batches) -> Batches:
        """The samples of these mini-batches, in their order."""
        if self.problem.augment:  # each step has random numbers of its own
            each = [self.problem.gather(batches.data, batches.rows(k), step + k) for k in range(len(batches))]
        else:
            each = [batches.data.take(batches.order)]
        x, y, weight = (
            None if parts[0] is None else readable(np.concatenate(parts)) for parts in zip(*each, strict=True)
        )
        assert x is not None
        assert y is not None
        return Batches(x, y, weight, np.arange(len(x)), batches.size)


def is_readable(array: Array | Scaled) -> bool:
    """Whether the native engine can read an array in place."""
    if isinstance(array, Scaled):
        return False
    contiguous = array[:1].flags.c_contiguous
    return array.dtype in READABLE and array.dtype.isnative and contiguous and array.strides[0] >= 0


def readable(array: Array) -> Array:
    """The array, or a copy that the native engine can read."""
    if is_readable(array):
        return array
    return np.ascontiguousarray(array, dtype=np.float64 if array.dtype.kind == "f" else np.int64)
