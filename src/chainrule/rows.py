"""Samples that may be larger than memory: what they have in common with those in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from chainrule.arrays import Array, Deferred, Samples, Shape, row_bytes
from chainrule.errors import DataError

MOST_BYTES = 64_000_000
"""The bytes of samples on a disk that are read at once, except in blocks to train on: what would
look at more of them is refused, rather than that all are in memory.
"""


@runtime_checkable
class Rows(Protocol):
    """Prepared samples of a network and a loss, in memory (`Samples`) or on a disk.

    Rows are counted from 0 to len(x) - 1. `read` lets other threads run while it waits for a disk
    or decodes, and several threads may call any of these at the same time.

    Attributes:
        x: (samples, *input_shape) the inputs: an array, or what stands for one that is on a disk
        y: (samples, ...) the targets, the same
        weight: (samples,) the weight of each sample in the loss; None for equal weights
        shape: that of x
        on_disk: whether consecutive rows are read much faster than others, so that training takes
            them in blocks
    """

    @property
    def x(self) -> Any: ...

    @property
    def y(self) -> Any: ...

    @property
    def weight(self) -> Any: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def on_disk(self) -> bool: ...

    def take(self, rows: Array) -> Samples:
        """The samples in these rows, in this order, in memory."""

    def empty(self, rows: int) -> Samples:
        """Room for so many samples, into which `read` writes; of pictures, for their bytes."""

    def read(self, start: int, stop: int, out: Samples | None = None) -> Samples:
        """The samples in the rows from `start` up to `stop`, in memory; written into the arrays of
        `out`, if there are some. Raises DataError, with the file and what to do, for what can't be
        read or has changed.
        """

    def chunks(self) -> Iterator[Samples]:
        """All samples, some consecutive rows at a time."""

    def verify(self) -> None:
        """Raise DataError, with the file, if what the samples were read from has changed or is
        gone.
        """

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced, in memory."""


def in_memory(rows: Rows, most: int) -> Samples:
    """These samples if they are in memory; of those on a disk at most so many, evenly spaced."""
    return rows if isinstance(rows, Samples) else rows.thinned(most)


@dataclass(frozen=True, eq=False)
class Stored(Deferred):
    """One of the arrays of samples on a disk. An index reads the rows that it asks for; what asks
    for more than MOST_BYTES raises DataError.

    Attributes:
        rows: the samples
        part: which array: "x", "y" or "weight"
        shape: (samples, ...)
        dtype: the type of its numbers
        raw: that of the bytes that stand for them where they are read to be trained on; None for
            the numbers themselves
    """

    rows: Rows
    part: Literal["x", "y", "weight"]
    shape: Shape
    dtype: np.dtype[Any]
    raw: np.dtype[Any] | None = None
    on_disk = True

    @property
    def itemsize(self) -> int:
        """That of what is read to be trained on, which may be bytes that stand for numbers."""
        return (self.dtype if self.raw is None else self.raw).itemsize

    def between(self, start: int, stop: int) -> Array:
        """The samples in the rows from `start` up to `stop`."""
        self._check(stop - start)
        return np.asanyarray(getattr(self.rows.read(start, stop), self.part))

    def take(self, rows: Array, axis: int = 0) -> Array:
        """The samples in these rows."""
        assert axis == 0
        rows = np.asarray(rows, dtype=np.intp)
        self._check(len(rows))
        found = getattr(self.rows.take(np.where(rows < 0, rows + len(self), rows)), self.part)
        return np.asanyarray(found)

    def _check(self, count: int) -> None:
        """Raise DataError if so many rows are more than may be read at once."""
        needed = count * max(row_bytes(self.rows), math.prod(self.shape[1:]) * self.dtype.itemsize)
        if needed > MOST_BYTES:
            what = f"this looks at {count:,} samples at once, {needed / 1e9:.2g} GB"
            raise DataError(f"{what}, but they are on a disk because they don't fit into memory; pass fewer of them")
