"""The preparation of arrays in files, fitted some rows at a time: as `fit_preparation`, whose
result it is up to the rounding of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import sequences
from chainrule.data.channels import PART, are_pictures, of_bytes
from chainrule.data.files import check_numbers
from chainrule.data.places import Place
from chainrule.data.preparation import Preparation
from chainrule.data.source import OF_CLASSES, Source
from chainrule.data.streamed.array_files import ArrayFiles, ClassNumbers
from chainrule.data.streamed.divisions import TRAINING, Division
from chainrule.data.streamed.fit import Wanted, Watch
from chainrule.data.streamed.target_fit import TargetFit, check_targets
from chainrule.data.targets import Target, is_one_hot, numbered
from chainrule.data.weights import check_weights
from chainrule.errors import DataError


@dataclass
class ColumnMoments:
    """The means of columns, and the sums of squares around them, of parts merged by the formula of
    Chan, Golub and LeVeque (1983), as in `statistics.Moments`.

    Examples:
        >>> moments = ColumnMoments()
        >>> for part in ([[1.0], [2.0]], [[6.0]]):
        ...     moments.add(np.array(part))
        >>> moments.mean.tolist(), moments.squares.tolist()
        ([3.0], [14.0])
    """

    weight: float = 0.0
    mean: Any = 0.0
    squares: Any = 0.0
    low: Any = np.inf
    high: Any = -np.inf

    def add(self, values: Array, weight: Array | None = None) -> None:
        """Take (rows, columns) numbers into account, of which each row has a weight."""
        if not len(values):
            return
        self.low, self.high = np.minimum(self.low, values.min(axis=0)), np.maximum(self.high, values.max(axis=0))
        total = float(len(values)) if weight is None else float(weight.sum())
        if not total:
            return
        mean = values.mean(axis=0) if weight is None else weight @ values / total
        apart = values - mean
        apart *= apart
        squares = apart.sum(axis=0) if weight is None else weight @ apart
        distance, together = mean - self.mean, self.weight + total
        self.squares = self.squares + squares + distance**2 * (self.weight * total / together)
        self.mean = self.mean + distance * (total / together)
        self.weight = together


def check(files: ArrayFiles) -> None:
    """Raise DataError, with the row, for numbers and weights that can't be used."""
    for which, array in files.parts.items():
        if which == "weight":
            anything = [check_weights(part, f"{files.name}, weight", first) for first, part in array.parts()]
            if not any(anything):
                raise DataError(f"{files.name}: the sample weights are all 0, so that no sample counts; leave them out")
        elif array.dtype.kind == "f":
            for first, part in array.parts():
                check_numbers(files.name, which, part, first)


def fit_target(files: ArrayFiles, division: Division, wanted: Wanted) -> Target:
    """The fitted target; of one-hot targets their classes."""
    width = 1 if files.y.ndim == 1 else files.y.shape[1]
    may_be = width > 1 and wanted.task in (None, *OF_CLASSES)
    one_hot = may_be and all(is_one_hot(part) for _, part in files.y.parts())
    columns = numbered("y", width) if width > 1 and not one_hot else ()
    files = replace(files, y=ClassNumbers(files.y)) if one_hot else files
    chosen = wanted.task or ("classification" if one_hot else None)
    found = TargetFit()
    for first, y in files.y.parts():
        name, weight = Place(files.name, first), None
        if files.weight is not None:
            weight = files.weight.read(first, first + len(y)).astype(np.float64)
        source = Source(name, np.zeros((len(y), 1), np.uint8), y, "y", chosen, "-", weight, target_columns=columns)
        found.add(source, np.flatnonzero(division.sets(first, first + len(y)) == TRAINING))
        if chosen:
            check_targets(chosen, source)
    task = "ordinal" if wanted.order else found.task(chosen, wanted.likely_task)
    target = found.fitted(files.name, task, wanted.scale_target, wanted.order)
    return target if task == "multilabel" else replace(target, columns=())


def fit(files: ArrayFiles, division: Division, target: Target, watch: Watch | None = None) -> Preparation:
    """Fit a preparation to the training rows."""

    def parts() -> Iterator[tuple[Array, Array | None]]:
        for first, x in files.x.parts():
            own = division.sets(first, first + len(x)) == TRAINING
            weight = None if files.weight is None else files.weight.read(first, first + len(x))[own].astype(np.float64)
            yield x[own], weight
            if watch is not None:
                watch(first + len(x))

    x, shape = files.x, files.x.shape[1:]
    if files.samples != sequences.SEQUENCES and are_pictures(x) and x.dtype == np.uint8:
        pixels = division.sizes[TRAINING] * shape[0] * shape[1]
        mean, deviation = of_bytes(_smaller(part for part, _ in parts()), pixels)
        mean, deviation = (np.broadcast_to(one, shape).copy() for one in (mean, deviation))
        return Preparation("pictures", shape, target, mean, deviation)
    return _of_numbers(files, parts(), target)


def _smaller(parts: Iterable[Array]) -> Iterator[Array]:
    """The same rows, fewer at a time: sums of bytes take eight times their memory."""
    for part in parts:
        step = max(1, PART // max(1, part[:1].size))
        yield from (part[k : k + step] for k in range(0, len(part), step))


def _of_numbers(files: ArrayFiles, parts: Iterable[tuple[Array, Array | None]], target: Target) -> Preparation:
    """Fit to numbers: each is a feature, or one of a sequence at each time step; of pictures of
    some channels each channel has a mean, and all numbers have one deviation.
    """
    shape, kind = files.x.shape[1:], "numbers" if files.x.ndim == 2 else files.samples or "pictures"
    columns = math.prod(shape)
    if kind == sequences.SEQUENCES:
        columns = shape[-1]
    elif are_pictures(files.x):
        columns = shape[2] if len(shape) == 3 else 1
    moments = ColumnMoments()
    for part, weight in parts:
        moments.add(part.reshape(-1, columns).astype(np.float64), weight if kind == "numbers" else None)
    variance = moments.squares / moments.weight
    if kind == "pictures":
        variance = np.full(columns, variance.mean())
    deviation = np.sqrt(variance)
    tiny = np.flatnonzero((deviation == 0) & (moments.low < moments.high))
    if len(tiny) and kind == "numbers":
        problem = "its numbers differ too little to be scaled; use another unit"
        raise DataError(f"{files.name}, column {tiny[0]}: {problem}")
    deviation[deviation == 0] = 1.0
    mean, deviation = (np.tile(one, math.prod(shape) // columns).reshape(shape) for one in (moments.mean, deviation))
    return Preparation(kind, shape, target, mean, deviation)


def as_given(files: ArrayFiles, task: str | None) -> Target:
    """The target of arrays that are used as they are: class indices, labels or numbers."""
    width = 1 if files.y.ndim == 1 else files.y.shape[1]
    if task is None and width > 1:
        task = "regression"
    whole = Division(len(files), 0.0, 0.0, None)
    task = task or fit_target(files, whole, Wanted(scale_target=False)).task
    if task in OF_CLASSES:
        most = max(int(part.max()) for _, part in files.y.parts())
        return Target(task, "y", classes=tuple(range(max(most + 1, 2))))
    if task == "multilabel":
        return fit_target(files, whole, Wanted(task, scale_target=False))
    return Target("regression", mean=(0.0,) * width, deviation=(1.0,) * width)
