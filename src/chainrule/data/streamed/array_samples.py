"""Samples in files of NPY, which are prepared where they are read: pictures of bytes stay bytes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from chainrule.arrays import CHUNK_BYTES, Array, Samples, Scaled, Shape, row_bytes
from chainrule.data.dataset import prepare
from chainrule.data.places import Place
from chainrule.data.preparation import Preparation
from chainrule.data.prepared import plain, prepared
from chainrule.data.source import LARGEST, Source
from chainrule.data.streamed import divisions
from chainrule.data.streamed.array_files import ArrayFiles
from chainrule.data.streamed.divisions import Division
from chainrule.errors import DataError
from chainrule.rows import Stored

BYTES = 1 << 19
"""The bytes of a file that are read at a time: enough for a piece of a block, few enough to stay in
the processor's cache until they are prepared.
"""

NUMBERS = 1 << 14
"""The numbers that are standardized at a time: as float64, with a mean and a deviation for each,
they stay in the cache of a core.
"""


@dataclass(frozen=True)
class Room:
    """Memory that is used again for each part that is read: the system clears the pages of new
    memory, which takes as long as all else.

    Attributes:
        raw: (rows, ...) for rows as they are in the file
        own: the same, for those of a set
        numbers: (rows, numbers) for float64 that are being standardized
    """

    raw: Array
    own: Array
    numbers: Array


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
        done, room = 0, self._room()
        for row, places in self._parts(start, stop):
            self._read(row, places, room, out.part(done, done + len(places)))
            done += len(places)
        self._rooms.append(room)
        return out

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """These samples, some at a time: the first one's row in the files, and the places of all
        from there on, among which are rows of other sets.
        """
        starts = self._starts
        while start < stop:
            group = bisect_right(starts, start) - 1
            end = min(stop, starts[group + 1], start + self._step)
            rows = _rows_of(self.division, self.set, group)[start - starts[group] : end - starts[group]]
            places = rows - rows[0]
            places = places[: places.searchsorted(self._step)]  # of a small set, a few of many rows
            yield int(rows[0]) + group * divisions.GROUP, places
            start += len(places)

    def _read(self, first: int, places: Array, room: Room, out: Samples) -> None:
        """Write the rows of the files in these places from this row on into `out`."""
        raw = x, y, weight = self._raw(first, first + int(places[-1]) + 1, room.raw)
        if len(places) < len(x):
            x = x.take(places, axis=0, out=room.own[: len(places)], mode="clip")  # which needs no copy of `out`
            y, weight = y.take(places, axis=0), None if weight is None else weight.take(places)
        try:
            found = self._samples(first, x, y, weight, out.x if self._standardize(x, room.numbers, out.x) else None)
        except DataError:
            self._samples(first, *raw)  # whose message counts the rows as the file does
            raise
        for to, part in zip(out, found, strict=True):
            _copy(part, to)

    def take(self, rows: Array) -> Samples:
        """The samples in these rows, in this order."""
        rows = self._rows[np.asarray(rows)]
        if not len(rows):
            return self.empty(0)
        x, y, weight = (None if one is None else one.take(rows) for one in self.files.arrays)
        assert x is not None
        assert y is not None
        return self._samples(0, x, y, weight)

    def _room(self) -> Room:
        """One that no thread uses now."""
        try:
            return self._rooms.pop()
        except IndexError:
            raw, own = (np.empty((self._step, *self.files.x.shape[1:]), self.files.x.dtype) for _ in range(2))
            return Room(raw, own, np.empty(0 if self._scale is None else self._scale[0].shape))

    @cached_property
    def _rooms(self) -> list[Room]:
        """Those that no thread uses now."""
        return []

    @cached_property
    def _starts(self) -> list[int]:
        """How many samples come before each group of rows, and in all."""
        return [int(count) for count in self.division.starts[:, self.set]]

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

    def _raw(self, start: int, stop: int, room: Array | None = None) -> tuple[Array, Array, Array | None]:
        """Some rows as they are in the files; the inputs in this room, if there is some."""
        x, y, weight = self.files.arrays
        inputs = x.read(start, stop, None if room is None else room[: stop - start])
        return inputs, y.read(start, stop), None if weight is None else weight.read(start, stop)

    def _samples(self, first: int, x: Array, y: Array, weight: Array | None, inputs: Any = None) -> Samples:
        """Rows of the files, from this one on, as the network and the loss take them; `inputs` are
        what becomes of x, if that is known.
        """
        if self.preparation is None:
            return self._prepared(first, x, y, weight)
        of_bytes = self._first.x
        if isinstance(of_bytes, Scaled) and x.shape[1:] == of_bytes.shape[1:]:
            inputs = replace(of_bytes, raw=prepared(x))  # the pictures are as they are
        if inputs is None:
            return self._prepared(first, x, y, weight)
        targets = self.preparation.target.encode(y, Place(self.files.name, first))
        return Samples(inputs, prepared(targets), _as_weights(weight))

    def _standardize(self, x: Array, room: Array, out: Any) -> bool:
        """Write numbers into `out`, less the mean and in deviations: to the bits of the
        preparation, but in few passes through a core's cache, since training waits for it.
        False if they are prepared in another way, or can't be, which the preparation explains.
        """
        if self._scale is None or not out.flags.c_contiguous:
            return False
        mean, deviation = self._scale
        x, out, rows = x.reshape(len(x), -1), plain(out).reshape(len(x), -1), len(mean)
        with np.errstate(over="ignore"):  # checked below
            for k in range(0, len(x), rows):
                part = x[k : k + rows]
                values = room[: len(part)]
                values[:] = part
                np.subtract(values, mean[: len(part)], out=values)
                np.divide(values, deviation[: len(part)], out=values)
                out[k : k + rows] = values
        return bool(out.min() >= -LARGEST and out.max() <= LARGEST)  # NaN is neither

    @cached_property
    def _scale(self) -> tuple[Array, Array] | None:
        """(rows, numbers) the mean and the deviation of each number, of as many rows as are
        standardized at a time: equal shapes are computed faster than one row for all. None if
        samples are prepared in another way.
        """
        preparation, shape = self.preparation, self.files.x.shape[1:]
        if preparation is None or preparation.kind not in ("numbers", "pictures", "sequences"):
            return None
        if preparation.shape != shape or preparation.sequence is not None or isinstance(self._first.x, Scaled):
            return None
        assert preparation.mean is not None
        assert preparation.deviation is not None
        rows = max(1, NUMBERS // math.prod(shape))
        return np.tile(preparation.mean.ravel(), (rows, 1)), np.tile(preparation.deviation.ravel(), (rows, 1))

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
    elif part is not None and part is not to:
        to[:] = part
