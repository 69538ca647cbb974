"""Prepared samples in a file of the cache, which stand for `Samples` in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples, Shape
from chainrule.data.streamed.cache import Held
from chainrule.data.streamed.records import Layout
from chainrule.data.streamed.table_files import TableFiles
from chainrule.errors import DataError

BYTES = 1 << 20
"""The bytes of records that are read at a time."""

CHUNK = 1 << 24
"""The numbers of a chunk, about: 64 MB of float32."""


@dataclass(frozen=True, eq=False)
class StoredSamples:
    """Prepared samples on disk, in the order in which they were read.

    Rows are read by their offset alone, from any thread. What is read is exactly what a preparation
    gives in memory.

    Attributes:
        path: the file, an NPY file of records
        layout: what a record consists of
        rows: how many there are
        offset: where the first begins
        files: what they were prepared from
        memory: the most bytes that may be in memory where all of them are asked for at once
        fingerprint: a hash of what was prepared
        held: what keeps the file in the cache
    """

    path: Path
    layout: Layout
    rows: int
    offset: int
    files: TableFiles
    memory: int
    fingerprint: str
    held: Held

    on_disk = True

    def __len__(self) -> int:
        return self.rows

    @property
    def shape(self) -> Shape:
        """(samples, *input_shape)."""
        return (self.rows, *self.layout.preparation.shape)

    @cached_property
    def x(self) -> StoredArray:
        """(samples, *input_shape) the inputs."""
        return StoredArray(self, 0, self.shape, np.dtype(np.float32))

    @cached_property
    def y(self) -> StoredArray:
        """(samples, ...) the targets."""
        dtype = np.dtype(np.int64 if self.layout.preparation.target.is_class else np.float64)
        return StoredArray(self, 1, (self.rows, *self.layout.dtype["y"].shape), dtype)

    @cached_property
    def weight(self) -> StoredArray | None:
        """(samples,) the weights; None if all are equal."""
        return StoredArray(self, 2, (self.rows,), np.dtype(np.float64)) if self.layout.weighted else None

    def read(self, start: int, stop: int, out: Samples | None = None) -> Samples:
        """Consecutive samples; raises DataError if they can't be read."""
        start, stop, _ = slice(start, stop).indices(self.rows)
        stop = max(start, stop)
        found = self.layout.joined(self._pieces(start, stop), stop - start)
        return found if out is None else found.read(0, stop - start, out)

    def take(self, rows: Any) -> Samples:
        """The samples in these rows, in this order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + self.rows, rows)
        if rows.size and not (0 <= rows.min() and rows.max() < self.rows):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self.rows:,} samples")
        found, back = np.unique(rows, return_inverse=True)
        records = np.empty(len(found), self.layout.dtype)
        apart = np.flatnonzero(np.diff(found) != 1) + 1
        for part in np.split(np.arange(len(found)), apart):
            if len(part):
                self._into(records[part[0] : part[-1] + 1], int(found[part[0]]))
        return self.layout.samples(records[back.reshape(-1)])

    def chunks(self, rows: int | None = None) -> Iterator[Samples]:
        """All samples, so many at a time."""
        step = rows or max(1, CHUNK // math.prod(self.shape[1:]))
        return (self.read(k, min(k + step, self.rows)) for k in range(0, self.rows, step))

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced, in memory."""
        return self.take(np.unique(np.linspace(0, self.rows - 1, min(self.rows, most)).astype(np.intp)))

    def verify(self) -> None:
        """Raise DataError if what the samples were prepared from has changed since."""
        self.files.verify()

    def _pieces(self, start: int, stop: int) -> Iterator[Array]:
        size = self.layout.dtype.itemsize
        buffer = np.empty(min(max(1, BYTES // size), max(stop - start, 0)), self.layout.dtype)
        for row in range(start, stop, max(1, len(buffer))):
            piece = buffer[: min(len(buffer), stop - row)]
            self._into(piece, row)
            yield piece

    def _into(self, records: Array, row: int) -> None:
        """Read records from this row on."""
        view = memoryview(records.view(np.uint8).reshape(-1))
        at, done = self.offset + row * records.itemsize, 0
        while done < len(view):
            try:
                count = self._file.read_into(view[done:], at + done)
            except OSError as error:
                raise DataError(f"{self.path}: the cache can't be read ({error.strerror}); {AGAIN}") from None
            if not count:
                raise DataError(f"{self.path}: the cache ends too soon; {AGAIN}")
            done += count

    @cached_property
    def _file(self) -> _File:
        try:
            return _File(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: the cache can't be read ({error.strerror}); {AGAIN}") from None


AGAIN = "start again, and what is missing is prepared again"


class _File:
    """A file that is read at offsets, from any thread; closed when nobody uses it any more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = Lock()

    def read_into(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [view], offset)
        with self._lock:  # where there is no reading at an offset
            self._file.seek(offset)
            return self._file.readinto(view) or 0


@dataclass(frozen=True, eq=False)
class StoredArray:
    """The inputs, targets or weights of stored samples, which stand for an array: an index reads
    from the disk.

    Attributes:
        samples: the samples
        field: 0 for inputs, 1 for targets, 2 for weights
        shape: (samples, ...)
        dtype: what an index gives
    """

    samples: StoredSamples
    field: int
    shape: Shape
    dtype: np.dtype[Any]

    on_disk = True

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes all numbers take in memory."""
        return self.size * self.dtype.itemsize

    @property
    def fingerprint(self) -> str:
        """A hash of what was prepared."""
        return f"{self.samples.fingerprint}/{self.field}"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        rows, others = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            self._check(len(range(start, stop, step)))
            is_run = step == 1
            found = self.samples.read(start, stop) if is_run else self.samples.take(np.arange(start, stop, step))
        elif np.ndim(rows):
            found = self.samples.take(rows)
        else:
            found = self.samples.take([rows])
            return found[self.field][(0, *others)] if others else found[self.field][0]
        return found[self.field][(slice(None), *others)] if others else found[self.field]

    def take(self, rows: Array, axis: int = 0) -> Array:
        """What is in these rows."""
        assert axis == 0
        return self[np.asarray(rows)]

    def min(self) -> float:
        """The least of all numbers, which are read for that."""
        return min(float(part[self.field].min()) for part in self.samples.chunks())  # type: ignore[union-attr]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        found: Array = self[:]
        return found if dtype is None else found.astype(dtype)

    def _check(self, rows: int) -> None:
        """Raise DataError if so many rows take more memory than is allowed."""
        most, size = self.samples.memory, rows * self.nbytes // max(1, len(self))
        if size > most:
            what = f"{rows:,} samples take {size / 1e9:.1f} GB of memory, more than the {most / 1e9:g} GB allowed"
            raise DataError(f"{self.samples.files.name}: {what}; this works on data that fits into memory")
