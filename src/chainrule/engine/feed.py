"""Mini-batches in a form that the native engine reads: in place, or gathered some at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from chainrule.arrays import Array, Deferred
from chainrule.engine.base import Batches, Problem
from chainrule.threads import ahead

READABLE = tuple(np.dtype(kind) for kind in ("float32", "float64", "uint8", "int32", "int64"))
MOST_BATCHES, MOST_NUMBERS = 64, 4_000_000
"""How many mini-batches, and numbers of their inputs, are gathered at a time."""


@dataclass(frozen=True)
class Block:
    """Consecutive mini-batches.

    Attributes:
        step: the step of the first
        source: the mini-batches
        gathered: the same, augmented, in a form that the native engine reads
    """

    step: int
    source: Batches
    gathered: Batches = field(repr=False)


@dataclass
class Feed:
    """What the native engine reads: the samples in place if it can, else the next mini-batches,
    gathered and augmented. Those that it did not get to are kept for the next time. From a disk
    they are gathered in another thread while the engine is busy with those before them.
    """

    problem: Problem
    _block: Block | None = field(default=None, repr=False)
    _coming: tuple[int, Batches] | None = field(default=None, repr=False)
    _blocks: Iterator[Block] = field(default=iter(()), repr=False)

    def ready(self, step: int, batches: Batches) -> Batches:
        """The mini-batches from this step on, or only the first of them."""
        if not self.problem.augment and is_readable(batches.x) and is_readable(batches.y):
            weight = None if batches.weight is None else readable(batches.weight)
            order = np.ascontiguousarray(batches.order, dtype=np.int64)
            return Batches(batches.x, batches.y, weight, order, batches.size)
        block = self._block
        if block is None or not _begins(block.step, block.source, step, batches):
            block = self._block = self._next(step, batches)
        k = step - block.step
        return block.gathered.cut(k, min(k + len(batches), len(block.gathered)))

    def _next(self, step: int, batches: Batches) -> Block:
        """The block that begins with this step: the one that is coming, if it does."""
        after = None if self._block is None else self._block.step + len(self._block.source)
        if self._coming is None or step != after or not _begins(*self._coming, step, batches):
            self._coming, self._blocks = (step, batches), self._gathered(step, batches)
        coming, self._coming = self._coming, None  # if a file can't be read, nothing more is coming
        block, self._coming = next(self._blocks), coming
        return block

    def _gathered(self, step: int, batches: Batches) -> Iterator[Block]:
        """These mini-batches, some at a time."""
        row = math.prod(batches.x.shape[1:])
        most = max(1, min(MOST_BATCHES, MOST_NUMBERS // max(1, batches.size * row)))

        def gather(k: int) -> Block:
            source = batches.cut(k, k + most)
            return Block(step + k, source, self._gather(step + k, source))

        return (ahead if batches.on_disk else map)(gather, range(0, len(batches), most))

    def _gather(self, step: int, batches: Batches) -> Batches:
        """The samples of these mini-batches, in their order."""
        if self.problem.augment:  # each step has random numbers of its own
            each = [self.problem.gather(batches.data, batches.rows(k), step + k) for k in range(len(batches))]
        else:
            each = [batches.data.take(batches.order)]
        joined = (
            each[0]
            if len(each) == 1
            else [None if parts[0] is None else np.concatenate(parts) for parts in zip(*each, strict=True)]
        )
        x, y, weight = (None if part is None else readable(np.asarray(part)) for part in joined)
        assert x is not None
        assert y is not None
        return Batches(x, y, weight, np.arange(len(x)), batches.size)


def _begins(first: int, whole: Batches, step: int, batches: Batches) -> bool:
    """Whether some mini-batches, the first of which is of step `first`, have at `step` the first of
    these, and then no others.
    """
    k = step - first
    if not (0 <= k < len(whole) and whole.x is batches.x and whole.y is batches.y and whole.size == batches.size):
        return False
    rest = whole.order[k * whole.size :]
    count = min(len(rest), len(batches.order))
    return np.array_equal(rest[:count], batches.order[:count])


def is_readable(array: Array | Deferred) -> bool:
    """Whether the native engine can read an array in place."""
    if isinstance(array, Deferred) or array.dtype not in READABLE:
        return False
    return array.flags.c_contiguous or (array.strides[0] >= 0 and array[:1].flags.c_contiguous)


def readable(array: Array) -> Array:
    """The array, or a copy that the native engine can read."""
    if is_readable(array):
        return array
    return np.ascontiguousarray(array, dtype=np.float64 if array.dtype.kind == "f" else np.int64)
