"""Array types used throughout the code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ShapeError

Array = NDArray[Any]
"""An array of numbers; docstrings give its shape."""

Vector = NDArray[np.floating[Any]]
"""A flat vector: all of a network's parameters, their gradient, or a piece of optimizer state."""

Shape = tuple[int, ...]

Sizes = int | tuple[int, ...]
"""A size along each axis of positions: one number for all of them, or one for each."""

Params = Mapping[str, Any]
"""A layer's arrays by name; for a composite layer, its children's mappings by their names."""


class Deferred(np.lib.mixins.NDArrayOperatorsMixin):
    """What stands for an array, of which an index gives an ordinary array of the rows that it asks
    for. A computation on it reads all of it. A kind of its own needs `between` and `take`.
    """

    shape: Shape
    dtype: np.dtype[Any]
    on_disk: bool

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, tuple):
            first, *others = rows
            alone = np.ndim(first) == 0 and not isinstance(first, slice)
            return self[first][tuple(others) if alone else (slice(None), *others)]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self.between(start, max(start, stop))
            rows = np.arange(start, stop, step)
        if np.ndim(rows) == 0:
            row = int(rows) + (len(self) if rows < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {rows} of {len(self):,}")
            return self.between(row, row + 1)[0]
        rows = np.asarray(rows)
        return self.take(np.flatnonzero(rows) if rows.dtype == bool else rows)

    def between(self, start: int, stop: int) -> Array:
        """The samples in the rows from `start` up to `stop`."""
        raise NotImplementedError

    def take(self, rows: Array, axis: int = 0) -> Array:
        """The samples in these rows."""
        raise NotImplementedError

    @property
    def itemsize(self) -> int:
        """The bytes that a number takes where samples are read to be trained on."""
        return self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of numbers."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        """What else an array has, such as mean(), of the numbers."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self[:], name)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return function(*map(_as_numbers, arguments), **options)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*map(_as_numbers, inputs), **options)


def _as_numbers(what: Any) -> Any:
    """An argument of a function of NumPy, with ordinary arrays in place of what stands for them."""
    if isinstance(what, list | tuple):
        return [_as_numbers(part) for part in what] if isinstance(what, list) else tuple(map(_as_numbers, what))
    return what[:] if isinstance(what, Deferred) else what


@dataclass(frozen=True, eq=False)
class Scaled(Deferred):
    """An array of bytes that stands for numbers, raw * scale + offset, which are computed only
    where they are read: pictures take a quarter of the memory.

    An index, and every computation, gives an ordinary array of float32.

    Attributes:
        raw: (samples, ...) the bytes, an array or what stands for one that is on disk
        scale, offset: what a sample is multiplied by, and what is then added
    """

    raw: Any
    scale: Array
    offset: Array

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """(samples, ...)."""
        return self.raw.shape

    @property
    def on_disk(self) -> bool:  # type: ignore[override]
        """Whether the bytes are read from a disk, which takes time."""
        return not isinstance(self.raw, np.ndarray)

    @property
    def itemsize(self) -> int:
        """That of the bytes."""
        return self.raw.dtype.itemsize

    def between(self, start: int, stop: int) -> Array:
        """The samples in the rows from `start` up to `stop`."""
        return self._scaled(self.raw[start:stop])

    def take(self, rows: Array, axis: int = 0) -> Array:
        """The samples in these rows."""
        return self._scaled(self.raw.take(rows, axis=axis))

    def _scaled(self, raw: Array) -> Array:
        x = raw.astype(np.float32)
        values = x.view(np.ndarray)
        values *= self.scale
        values += self.offset
        return x  # marked as prepared, if the bytes are


def as_read(x: Any) -> Array | Deferred:
    """An array; what stands for one as it is."""
    return x if isinstance(x, Deferred) else np.asarray(x)


def row_bytes(samples: Any) -> int:
    """The bytes of one of these samples, with its target and its weight."""
    parts = [part for part in (samples.x, samples.y, samples.weight) if part is not None]
    return sum(math.prod(part.shape[1:]) * part.itemsize for part in parts)


CHUNK_BYTES = 16_000_000
"""The bytes that are read at a time where all samples are looked at."""


class Samples(NamedTuple):
    """Samples for a network and a loss, in memory, or pictures that are decoded where they are
    read. `Rows` says what samples on a disk have in common with them.

    Attributes:
        x: (samples, *input_shape) the inputs; of pictures, bytes that stand for them
        y: (samples, ...) the targets
        weight: (samples,) the weight of each sample in the loss; None for equal weights
    """

    x: Array | Deferred
    y: Array
    weight: Array | None = None

    def take(self, rows: Array) -> Samples:
        """The samples in these rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(self.x.take(rows, axis=0), self.y.take(rows, axis=0), weight)

    @property
    def shape(self) -> Shape:
        """(samples, *input_shape)."""
        return self.x.shape

    @property
    def on_disk(self) -> bool:
        """False: any order of the samples is as fast as theirs."""
        return False

    def read(self, start: int, stop: int, out: Samples | None = None) -> Samples:
        """The samples in the rows from `start` up to `stop`; written into `out`, if it is given."""
        found = Samples(
            self.x[start:stop], self.y[start:stop], None if self.weight is None else self.weight[start:stop]
        )
        if out is None:
            return found
        for to, part in zip(out, found, strict=True):
            if to is not None:
                to[:] = part
        return out

    def empty(self, rows: int) -> Samples:
        """Room for so many of them."""
        return Samples(*(None if part is None else _room(part, rows) for part in self))  # type: ignore[arg-type]

    def part(self, start: int, stop: int) -> Samples:
        """The samples in these rows, in the same memory, to write to them."""
        return Samples(*(None if part is None else _part(part, start, stop) for part in self))  # type: ignore[arg-type]

    def verify(self) -> None:
        """Nothing that is in memory can have changed."""

    def chunks(self) -> Iterator[Samples]:
        """All samples, some consecutive rows at a time."""
        size = max(1, CHUNK_BYTES // max(1, row_bytes(self)))
        return (self.read(k, k + size) for k in range(0, len(self.x), size))

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced."""
        count = len(self.x)
        return self.take(np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp)))


def _room(like: Any, rows: int) -> Any:
    """Room for so many rows of an array, or of the bytes that stand for one."""
    if isinstance(like, Scaled):
        return replace(like, raw=_room(like.raw, rows))
    room = np.empty((rows, *like.shape[1:]), like.dtype)
    return room.view(type(like)) if isinstance(like, np.ndarray) else room


def _part(of: Any, start: int, stop: int) -> Any:
    """Some rows of an array, or of the bytes that stand for one."""
    return replace(of, raw=of.raw[start:stop]) if isinstance(of, Scaled) else of[start:stop]


def pack(inputs: Sequence[Array]) -> Array:
    """The arrays of several inputs as one, of shape (samples, numbers): each sample's numbers of
    the first input, then those of the second, and so on.
    """
    arrays = [np.asarray(x) for x in inputs]
    if not arrays or any(x.ndim < 1 or len(x) != len(arrays[0]) for x in arrays):
        raise ShapeError("several inputs are a tuple of arrays, each with the same number of samples")
    return np.concatenate([x.reshape(len(x), -1) for x in arrays], axis=1)
