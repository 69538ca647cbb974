"""The target, fitted block by block: as `targets.fit_target`, whose result it is up to the rounding
of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import shortened
from chainrule.data.source import OF_CLASSES, Source
from chainrule.data.streamed.statistics import Moments
from chainrule.data.targets import (
    FEW_NUMBERS,
    Target,
    as_classes,
    class_numbers,
    holds_labels,
    is_one_hot,
    most_classes,
    quantities,
    zeros_and_ones,
)
from chainrule.errors import DataError, setting

MOST_CLASSES = 10_000
"""More classes than these are not counted any further: they are refused."""


class TargetFit:
    """What is known of the target after some blocks."""

    def __init__(self) -> None:
        self._name, self._columns = "target", tuple[str, ...]()
        self._rows, self._kind = 0, ""
        self._labels: set[Any] = set()
        self._many = False
        self._is_whole = self._are_labels = self._is_one_hot = True
        self._moments: list[Moments] = []
        self._weight = 0.0
        self._first: Array | None = None
        self._is_constant = True
        self._order: tuple[Any, ...] = ()

    def add(self, source: Source, training: Array) -> None:
        """Take a block into account, of which these rows are for training."""
        y = source.target
        assert y is not None
        self._name, self._columns = source.target_name, source.target_columns
        self._order = self._order or source.order
        self._rows, self._kind = self._rows + len(y), self._kind or y.dtype.kind
        weight = None if source.weight is None else source.weight[training]
        if y.ndim > 1:
            self._are_labels = self._are_labels and holds_labels(y)
            self._is_one_hot = self._is_one_hot and is_one_hot(y)
        if y.dtype.kind not in "iuf" and y.ndim == 1:
            self._collect(y)
            return
        numbers = quantities(y, source.name, source.target_name) if y.dtype.kind in "iufb" else None
        assert numbers is not None
        self._first = numbers[0] if self._first is None else self._first
        self._is_constant = self._is_constant and bool((numbers == self._first).all())
        if y.ndim == 1:
            self._is_whole = self._is_whole and np.array_equal(y, np.round(y))
            if self._is_whole or source.task in OF_CLASSES:
                self._collect(y)
        self._moments = self._moments or [Moments() for _ in range(numbers.shape[1])]
        for moments, values in zip(self._moments, numbers[training].T, strict=True):
            moments.add(values, weight)
        self._weight += len(training) if weight is None else float(weight.sum())

    def _collect(self, y: Array) -> None:
        if not self._many:
            self._labels |= {*(np.unique(y) if y.dtype.kind in "iufb" else y).tolist()}
            self._many = len(self._labels) > MOST_CLASSES
            self._labels = set() if self._many else self._labels

    def task(self, chosen: str | None, likely: str | None) -> str:
        """What is predicted: as `targets.infer_task`, and the loss that suggests a task."""
        if chosen:
            return chosen
        is_number = self._kind in "iuf"
        several = len(self._columns) > 1
        ruled_out = not is_number if likely == "regression" else several and not self._is_one_hot
        if likely and not ruled_out:
            return likely
        if several:
            if self._is_one_hot:
                return "classification"
            return "multilabel" if self._are_labels else "regression"
        if not is_number:
            return "classification"
        few = not self._many and len(self._labels) <= min(FEW_NUMBERS, max(2, self._rows // 5))
        return "classification" if self._is_whole and few else "regression"

    def order_of_categories(self, task: str | None, likely: str | None) -> tuple[Any, ...]:
        """As `targets.inherent_order`."""
        if not self._order or (task or likely or "ordinal") != "ordinal":
            return ()
        found = {*map(str, self._labels)}
        order = tuple(label for label in self._order if str(label) in found)
        return order if len(order) > 2 or task == "ordinal" else ()

    def fitted(self, name: str, task: str, scale: bool, order: Sequence[Any] | None) -> Target:
        """The target; raises DataError if there is a single class or value, or too many classes."""
        where = f"{name}, column {self._name!r}"
        if task in OF_CLASSES:
            return self._of_classes(where, task, order)
        if task == "multilabel":
            if len(self._columns) < 2:
                one = f"there is one column, {self._name!r}; several labels take several columns of 0 and 1"
                raise DataError(f"{name}: {one}; for one alone, choose {setting('task', 'classification')}")
            if self._is_constant:
                raise DataError(f"{name}: every row has the same labels; there is nothing to learn")
            return Target(task, self._name, columns=self._columns)
        if self._kind not in "iufb":
            value = shortened(next(iter(self._labels), ""))
            raise DataError(f"{where}: {value!r} is not a number, which regression needs")
        assert self._first is not None
        if self._is_constant:
            raise DataError(f"{where}: every row has the value {self._first[0]:g}; there is nothing to learn")
        mean, deviation = [0.0] * len(self._moments), [1.0] * len(self._moments)
        if scale:
            mean = [moments.mean for moments in self._moments]
            deviation = [moments.deviation(self._weight) for moments in self._moments]
            for k, moments in enumerate(self._moments):
                if not deviation[k] and moments.low < moments.high:
                    raise DataError(
                        f"{where}, output {k}: its numbers differ too little to be scaled; use another unit"
                    )
        return Target(task, self._name, (), tuple(mean), tuple(one or 1.0 for one in deviation), self._columns)

    def _of_classes(self, where: str, task: str, order: Sequence[Any] | None) -> Target:
        if len(self._columns) > 1:
            found = [moments.high > 0 for moments in self._moments]
            self._labels = {column for column, occurs in zip(self._columns, found, strict=True) if occurs}
        if self._many:
            most = most_classes(self._rows)
            raise DataError(f"{where}: more than {min(most, MOST_CLASSES):,} classes are too many to learn; is it the "
                            f"right column, or numeric ({setting('task', 'regression')})?")  # fmt: skip
        classes = as_classes(where, self._labels, self._rows, task, order)
        return Target(task, self._name, classes, columns=self._columns)


def check_targets(task: str, source: Source) -> None:
    """Raise DataError, with the row, for a target that is not of the task that was chosen."""
    assert source.target is not None
    if task == "multilabel" and source.target.ndim > 1:
        zeros_and_ones(source.target, source.name, source.target_columns)
    if task in OF_CLASSES and source.target.ndim > 1:
        class_numbers(source.target, source.name)
