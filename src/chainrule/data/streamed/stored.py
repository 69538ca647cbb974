"""Prepared samples in a file of the cache, which stand for `Samples` in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from chainrule.arrays import CHUNK_BYTES, Array, Samples, Shape, row_bytes
from chainrule.data.streamed.array_files import OpenFile
from chainrule.data.streamed.cache import Held
from chainrule.data.streamed.records import Layout
from chainrule.data.streamed.table_files import TableFiles
from chainrule.errors import DataError
from chainrule.rows import Stored

BYTES = 1 << 18
"""The bytes of records that are read at a time."""

_OWN = local()


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

    def __repr__(self) -> str:
        return f"<{self.rows:,} samples on a disk, from {self.files.name}>"

    def __len__(self) -> int:
        return self.rows

    @property
    def shape(self) -> Shape:
        """(samples, *input_shape)."""
        return (self.rows, *self.layout.preparation.shape)

    @cached_property
    def x(self) -> Stored:
        """(samples, *input_shape) the inputs."""
        return Stored(self, "x", self.shape, np.dtype(np.float32))

    @cached_property
    def y(self) -> Stored:
        """(samples, ...) the targets."""
        return Stored(self, "y", (self.rows, *self.layout.dtype["y"].shape), self.layout.of_targets)

    @cached_property
    def weight(self) -> Stored | None:
        """(samples,) the weights; None if all are equal."""
        return Stored(self, "weight", (self.rows,), np.dtype(np.float64)) if self.layout.weighted else None

    def empty(self, rows: int) -> Samples:
        """Room for so many samples."""
        return self.layout.empty(rows)

    def read(self, start: int, stop: int, out: Samples | None = None) -> Samples:
        """Consecutive samples, written into `out`, if it is given; raises DataError if they can't
        be read.
        """
        start, stop, _ = slice(start, stop).indices(self.rows)
        count = max(stop - start, 0)
        out = self.layout.empty(count) if out is None else out
        buffer = self._buffer
        for row in range(0, count, len(buffer)):
            piece = buffer[: min(len(buffer), count - row)]
            self._into(piece, start + row)
            self.layout.expand(piece, out, row)
        return out

    def take(self, rows: Any) -> Samples:
        """The samples in these rows, in this order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + self.rows, rows)
        if rows.size and not (rows.min() >= 0 and rows.max() < self.rows):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self.rows:,} samples")
        found, back = np.unique(rows, return_inverse=True)
        records = np.empty(len(found), self.layout.dtype)
        apart = np.flatnonzero(np.diff(found) != 1) + 1
        for part in np.split(np.arange(len(found)), apart):
            if len(part):
                self._into(records[part[0] : part[-1] + 1], int(found[part[0]]))
        return self.layout.samples(records[back.reshape(-1)])

    def chunks(self) -> Iterator[Samples]:
        """All samples, some consecutive rows at a time."""
        step = max(1, CHUNK_BYTES // row_bytes(self))
        return (self.read(k, k + step) for k in range(0, self.rows, step))

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced, in memory."""
        return self.take(np.unique(np.linspace(0, self.rows - 1, min(self.rows, most)).astype(np.intp)))

    def verify(self) -> None:
        """Raise DataError if what the samples were prepared from has changed since."""
        self.files.verify()

    @property
    def _buffer(self) -> Array:
        """Room for some records, which each thread has once: what is allocated anew each time costs
        more than reading.
        """
        size = max(1, BYTES // self.layout.dtype.itemsize)
        found: dict[Any, Array] = _OWN.__dict__.setdefault("buffers", {})
        if self.layout.dtype not in found:
            found.clear()
            found[self.layout.dtype] = np.empty(size, self.layout.dtype)
        return found[self.layout.dtype]

    def _into(self, records: Array, row: int) -> None:
        """Read records from this row on."""
        try:
            is_whole = self._file.fill(records, self.offset + row * records.itemsize)
        except OSError as error:
            raise DataError(f"{self.path}: the cache can't be read ({error.strerror}); {AGAIN}") from None
        if not is_whole:
            raise DataError(f"{self.path}: the cache ends too soon; {AGAIN}")

    @cached_property
    def _file(self) -> OpenFile:
        try:
            return OpenFile(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: the cache can't be read ({error.strerror}); {AGAIN}") from None


AGAIN = "start again, and what is missing is prepared again"
