"""Samples in files of NPY, which are prepared where they are read: pictures of bytes stay bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from chainrule.arrays import CHUNK_BYTES, Array, Samples, Scaled, Shape, row_bytes
from chainrule.data.dataset import prepare
from chainrule.data.places import Place
from chainrule.data.preparation import Preparation
from chainrule.data.prepared import prepared
from chainrule.data.source import Source
from chainrule.data.streamed import divisions
from chainrule.data.streamed.array_files import ArrayFiles
from chainrule.data.streamed.divisions import Division
from chainrule.errors import DataError
from chainrule.rows import Stored

BYTES = 1 << 17
"""The bytes of a file that are read and prepared at a time, so that they stay in the processor's
cache.
"""


@dataclass(frozen=True, eq=False)
class ArraySamples:
    """One of the sets of samples in files.

    Attributes:
        files: the arrays
        preparation: what prepares them; None for numbers that are used as they are
        division: which set each row is in
        set: this set: 0 for training, 1 for validation, 2 for the test
    """

    files: ArrayFiles
    preparation: Preparation | None
    division: Division
    set: int

    on_disk = True

    def __len__(self) -> int:
        return self.division.sizes[self.set]

    @property
    def fingerprint(self) -> str:
        """A hash of what the samples, and their weights, are read from."""
        return self.files.fingerprint

    @property
    def shape(self) -> Shape:
        """(samples, *input_shape)."""
        return self.x.shape

    @cached_property
    def x(self) -> Stored:
        """(samples, *input_shape) the inputs."""
        return self._stored("x")

    @cached_property
    def y(self) -> Stored:
        """(samples, ...) the targets."""
        return self._stored("y")

    @cached_property
    def weight(self) -> Stored | None:
        """(samples,) the weights; None if all are equal."""
        return None if self.files.weight is None else self._stored("weight")

    def _stored(self, part: str) -> Stored:
        array = getattr(self._first, part)
        raw = array.raw.dtype if isinstance(array, Scaled) else None
        return Stored(self, part, (len(self), *array.shape[1:]), array.dtype, raw)  # type: ignore[arg-type]

    @cached_property
    def _first(self) -> Samples:
        """The first sample of all, of which the others have the shape and the types."""
        return self._prepared(0, *self._raw(0, 1))

    def empty(self, rows: int) -> Samples:
        """Room for so many samples."""
        return self._first.empty(rows)

    def read(self, start: int, stop: int, out: Samples | None = None) -> Samples:
        """Consecutive samples, written into `out`, if it is given; raises DataError if they can't
        be read or prepared.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        out = self.empty(max(stop - start, 0)) if out is None else out
        if start >= stop:
            return out
        done = 0
        for row, places in self._parts(start, stop):
            found = self._read(row, places)
            for to, part in zip(out.part(done, done + len(places)), found, strict=True):
                _copy(part, to)
            done += len(places)
        return out

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """These samples, some at a time: the first one's row in the files, and the places of all
        from there on, among which are rows of other sets.
        """
        starts = self.division.starts[:, self.set]
        while start < stop:
            group = int(np.searchsorted(starts, start, side="right")) - 1
            end = min(stop, int(starts[group + 1]), start + self._step)
            rows = _rows_of(self.division, self.set, group)[start - starts[group] : end - starts[group]]
            yield int(rows[0]) + group * divisions.GROUP, rows - rows[0]
            start = end

    def _read(self, first: int, places: Array) -> Samples:
        """The rows of the files in these places from this row on."""
        x, y, weight = self._raw(first, first + int(places[-1]) + 1)
        if len(places) == len(x):
            return self._samples(first, x, y, weight)
        try:
            each = (None if one is None else one.take(places, axis=0) for one in (x, y, weight))
            return self._samples(first, *each)  # type: ignore[arg-type]
        except DataError:
            self._samples(first, x, y, weight)  # whose message counts the rows as the file does
            raise

    def take(self, rows: Array) -> Samples:
        """The samples in these rows, in this order."""
        rows = self._rows[np.asarray(rows)]
        if not len(rows):
            return self.empty(0)
        x, y, weight = (None if one is None else one.take(rows) for one in self.files.arrays)
        assert x is not None
        assert y is not None
        return self._samples(0, x, y, weight)

    @cached_property
    def _step(self) -> int:
        """How many rows of the files are read at a time."""
        each = sum(one.nbytes // len(one) for one in self._raw(0, 1) if one is not None)
        return max(1, BYTES // max(1, each))

    @cached_property
    def _rows(self) -> Array:
        """The number in the files of each sample."""
        return self.division.row_numbers(self.set)  # type: ignore[return-value]

    def chunks(self) -> Iterator[Samples]:
        """All samples, some consecutive rows at a time."""
        step = max(1, CHUNK_BYTES // row_bytes(self))
        return (self.read(k, k + step) for k in range(0, len(self), step))

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced, in memory."""
        return self.take(np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.intp)))

    def verify(self) -> None:
        """Raise DataError if a file has changed, or is gone."""
        self.files.verify()

    def _raw(self, start: int, stop: int) -> tuple[Array, Array, Array | None]:
        """Some rows as they are in the files."""
        x, y, weight = self.files.arrays
        return x.read(start, stop), y.read(start, stop), None if weight is None else weight.read(start, stop)

    def _samples(self, first: int, x: Array, y: Array, weight: Array | None) -> Samples:
        """Rows of the files, from this one on, as the network and the loss take them."""
        of_bytes = self._first.x
        if self.preparation is None or not isinstance(of_bytes, Scaled) or x.shape[1:] != of_bytes.shape[1:]:
            return self._prepared(first, x, y, weight)
        targets = self.preparation.target.encode(y, Place(self.files.name, first))  # the pictures are as they are
        return Samples(replace(of_bytes, raw=prepared(x)), prepared(targets), _as_weights(weight))

    def _prepared(self, first: int, x: Array, y: Array, weight: Array | None) -> Samples:
        """The same, by the whole preparation."""
        weight = _as_weights(weight)
        if self.preparation is None:
            return Samples(x, y, weight)
        source = Source(Place(self.files.name, first), x, y, weight=weight, samples=self.files.samples)
        return prepare(self.preparation, source)


@lru_cache(maxsize=256)
def _rows_of(division: Division, part: int, group: int) -> Array:
    """The rows of a group that are of a set, from the group's first on."""
    first = group * divisions.GROUP
    own = division.sets(first, min(first + divisions.GROUP, division.rows)) == part
    return np.flatnonzero(own).astype(np.int32)


def _as_weights(weight: Array | None) -> Array | None:
    return None if weight is None else weight.astype(np.float64)


def _copy(part: Any, to: Any) -> None:
    """Write an array, or the bytes that stand for one, into the room for it."""
    if isinstance(part, Scaled):
        to.raw[:] = part.raw
    elif part is not None:
        to[:] = part
