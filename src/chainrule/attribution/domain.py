"""What the numbers of a sample may be changed to: what the training set has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array, as_read
from chainrule.attribution.subject import Subject
from chainrule.data import Dataset, Preparation
from chainrule.data.picture_files import PictureFiles

MOST_ON_DISK = 20_000
"""Of a training set on a disk, the samples whose numbers are looked at."""
LARGEST = 200_000_000
"""From training sets of more numbers no range is taken."""


@dataclass(frozen=True)
class Domain:
    """The range of each number in the training set, and which are whole there.

    Attributes:
        low, high: (entries,) in the network's units; infinite where it is unknown
        mean, unit: (entries,) what a number is in the user's own unit: unit * x + mean
        whole: (entries,) whether all are integers there
    """

    low: Array
    high: Array
    mean: Array
    unit: Array
    whole: Array

    def rounded(self, x: Array, moved: Array) -> Array:
        """(..., entries) the moved numbers, those that are to be whole rounded in the user's unit,
        if they moved at all.
        """
        if not self.whole.any():
            return moved
        nearest = (np.round(moved * self.unit + self.mean) - self.mean) / self.unit
        return np.where(self.whole & (moved != x), nearest, moved)

    def clipped(self, x: Array, moved: Array) -> Array:
        """The moved numbers within the range; a sample that is out of it itself may stay."""
        return np.clip(moved, np.minimum(self.low, x), np.maximum(self.high, x))

    def of(self, entry: int) -> tuple[float, float] | None:
        """The range of an entry in the user's unit; None if it is unknown."""
        ends = np.array([self.low[entry], self.high[entry]]) * self.unit[entry] + self.mean[entry]
        if not np.isfinite(ends).all():
            return None
        low, high = (float(round(end)) if self.whole[entry] else float(f"{end:.6g}") for end in ends)  # of float32
        return low, high

    def has(self, entry: int, value: float) -> bool:
        """Whether a value, in the user's unit, is within the range, to rounding."""
        if (ends := self.of(entry)) is None:
            return True
        slack = 1e-5 * (ends[1] - ends[0]) + 1e-6 * max(map(abs, ends))
        return ends[0] - slack <= value <= ends[1] + slack


def domain_of(preparation: Preparation | None, sample: Subject, own: Dataset | None) -> Domain:
    """What a sample's numbers may be.

    Args:
        preparation: what prepares samples
        sample: the sample
        own: what the network was trained on, if it is there
    """
    if own is not None and own.on_disk:
        own = _some(own)
    size, shape = sample.x.size, sample.x.shape
    fitted = preparation is not None and preparation.mean is not None and preparation.deviation is not None
    mean = np.broadcast_to(preparation.mean, shape).ravel() if fitted else np.zeros(size)  # type: ignore[union-attr, arg-type]
    unit = np.broadcast_to(preparation.deviation, shape).ravel() if fitted else np.ones(size)  # type: ignore[union-attr, arg-type]
    low, high = _range(sample, own)
    whole = np.zeros(size, bool)
    if own is not None and sample.kind in ("table", "numbers", "arrays"):
        for part in sample.parts:
            if part.number is not None and part.unit:
                whole[part.entries[0]] = _is_whole(own, part.name, int(part.entries[0]))
    return Domain(low, high, mean, unit, whole)


def _some(own: Dataset) -> Dataset:
    """Some evenly spaced samples of a data set on a disk, with what they were read from."""
    some = own.thinned(MOST_ON_DISK)
    if own.source is None or some.rows is None:
        return some
    return replace(some, source=own.source.take(some.rows), rows=np.arange(len(some.rows)))


def _range(sample: Subject, own: Dataset | None) -> tuple[Array, Array]:
    """(entries,) each, of the training set; of a picture one for all pixels."""
    size = sample.x.size
    unknown = np.full(size, -np.inf), np.full(size, np.inf)
    if own is None or sample.kind not in ("table", "numbers", "arrays", "pictures"):
        return unknown
    source = own.source
    if source is not None and isinstance(source.features, PictureFiles):
        return unknown  # their bytes have limits
    if len(own.training.x) * size > LARGEST or own.training.x.shape[1:] != sample.x.shape:
        return unknown
    every = np.asarray(as_read(own.training.x)).reshape(-1, 1 if sample.kind == "pictures" else size)
    ends = every.min(axis=0).astype(np.float64), every.max(axis=0).astype(np.float64)
    return np.broadcast_to(ends[0], size), np.broadcast_to(ends[1], size)


def _is_whole(own: Dataset, name: str, entry: int) -> bool:
    """Whether all values of a column, or of a feature by its place, are integers or missing."""
    source = own.source
    if source is None:
        values = np.asarray(as_read(own.training.x)).reshape(len(own.training.x), -1)[:, entry]
        return bool((values == np.round(values)).all())
    if not source.is_table:
        values = np.asarray(source.features).reshape(len(source.features), -1)[:, entry]
        return bool((values == np.round(values)).all())
    if name not in source.features.columns:
        return False
    column = source.features[name]
    if not column.dtype.is_numeric() or column.dtype.is_integer():
        return True  # true and false are 0 and 1
    known = column.drop_nulls()
    return bool((known == known.round()).all())
