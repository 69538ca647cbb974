"""The target: the classes or numbers to predict, fitted on the training set, and its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import shortened
from chainrule.data.source import LARGEST, Source
from chainrule.errors import DataError, setting


@dataclass(frozen=True)
class Target:
    """The quantity to predict: classes, or numbers that are standardized for training.

    Attributes:
        task: "classification" or "regression"
        name: name of the target
        classes: the class labels, in the order of the network's outputs; for classification
        mean: mean of each output in the training set; for regression
        deviation: standard deviation of each output in the training set; for regression
    """

    task: str
    name: str = "target"
    classes: tuple[Any, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)

    @property
    def width(self) -> int:
        """The number of classes, or of numbers to predict."""
        return len(self.classes) if self.task == "classification" else len(self.mean)

    def as_json(self) -> dict[str, Any]:
        """The fields, with lists for tuples."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Target:
        """The inverse of `as_json`."""
        mean, deviation = (tuple(map(float, fields[name])) for name in ("mean", "deviation"))
        return Target(fields["task"], fields["name"], tuple(fields["classes"]), mean, deviation)

    def encode(self, values: Array, name: str) -> Array:
        """Class indices (samples,), or standardized numbers (samples, outputs).

        `name` is used in error messages. Raises DataError for an unknown class, a value that isn't
        finite, or a different number of outputs.
        """
        if self.task == "regression":
            numbers = quantities(values, name, self.name)
            if numbers.shape[1] != self.width:
                raise DataError(
                    f"{name}: the target has {numbers.shape[1]} columns; the run was trained on {self.width}"
                )
            return (numbers - self.mean) / self.deviation
        if values.ndim > 1:
            values = class_numbers(values, name)
        # By text as well, because one file may hold the number 1 where another holds the text "1".
        indices = {str(label): k for k, label in enumerate(self.classes)}
        if all(isinstance(label, bool) for label in self.classes):  # as they are written in tables
            written = (
                (k, text) for k, label in enumerate(self.classes) for text in (str(label).lower(), str(int(label)))
            )
            indices |= {text: k for k, text in written}
        indices |= {label: k for k, label in enumerate(self.classes)}
        labels = values.tolist()
        encoded = [indices.get(label, indices.get(str(label))) for label in labels]
        if None in encoded:
            row = encoded.index(None)
            problem = f"{shortened(labels[row])!r} is not one of the classes {_shortened(self.classes)}"
            raise DataError(f"{name}, row {row + 1}, column {self.name!r}: {problem}")
        return np.array(encoded, dtype=np.int64)

    def decode(self, numbers: Array) -> Array:
        """The inverse of `encode`: class labels, or (samples, outputs) in the target's units."""
        if self.task == "regression":
            return np.asarray(numbers, dtype=np.float64) * self.deviation + self.mean
        return np.array(self.classes)[numbers]


def quantities(values: Array, name: str, column: str) -> Array:
    """(samples, outputs) a numeric target; raises DataError, with the row, if not finite."""
    if values.dtype.kind not in "iufb":
        raise DataError(f"{name}, column {column!r}: {shortened(values[0])!r} is not a number, which regression needs")
    numbers = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    unusable = ~(np.abs(numbers) <= LARGEST)
    if unusable.any():
        row, output = np.argwhere(unusable)[0].tolist()
        large = (
            f"the target {numbers[row, output]:g} is too large: at most {LARGEST:.2g} is supported; use another unit"
        )
        problem = (
            large if np.isfinite(numbers[row, output]) else "the target is not finite; correct it or remove the row"
        )
        raise DataError(f"{name}, row {row + 1}, column {column!r}: {problem}")
    return numbers


def _shortened(items: Any, limit: int = 10) -> str:
    shown = ", ".join(str(shortened(item)) for item in items[:limit])
    return shown + (f" and {len(items) - limit} more" if len(items) > limit else "")


def class_numbers(values: Array, name: str) -> Array:
    """(samples,) the class that each row of a one-hot target marks, counted from 0; raises
    DataError for any other target of several columns.
    """
    if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
        problem = f"the target has {values.shape[1]} columns, which are not one-hot: one 1 in each row"
        as_numbers = f"to predict them as numbers, choose regression ({setting('task', 'regression')})"
        remedy = f"{as_numbers}; to predict classes, pass one column"
        raise DataError(f"{name}: {problem}; {remedy}")
    return np.asarray(values).argmax(axis=1)


def infer_task(source: Source, target: Array) -> str:
    """The source's task if known; classification for text, booleans and few distinct integers."""
    if source.task:
        return source.task
    if target.dtype.kind in "OUSb":
        return "classification"
    if target.ndim > 1 and target.shape[1] > 1:
        return "regression"
    few = len(np.unique(target)) <= min(20, max(2, len(target) // 5))
    return "classification" if few and np.array_equal(target, np.round(target)) else "regression"


def fit_target(source: Source, training_rows: Array, scale: bool) -> Target:
    """Fit the target: its classes, from all rows, or its mean and deviation in the training set.

    Args:
        source: the raw data
        training_rows: row numbers of the training set
        scale: whether to standardize a numeric target; otherwise mean 0 and deviation 1 are used

    Raises:
        DataError: there is a single class or value, or there are too many classes for the rows
    """
    target, name = source.target, source.target_name
    assert target is not None
    where = f"{source.name}, column {name!r}"
    task = infer_task(source, target)
    if task == "classification":
        classes = sorted(set(target.tolist()), key=lambda label: (str(type(label)), label))
        if len(classes) < 2:
            raise DataError(
                f"{where}: every row has the class {shortened(classes[0])!r}; at least two classes are needed"
            )
        if len(classes) > min(len(target) // 2, max(20, len(target) // 5)):
            many = f"{len(classes)} classes in {len(target)} rows are too many to learn"
            raise DataError(f"{where}: {many}; is it the right column, or numeric ({setting('task', 'regression')})?")
        return Target(task, name, tuple(classes))
    numbers = quantities(target, source.name, name)
    if (numbers == numbers[0]).all():
        raise DataError(f"{where}: every row has the value {numbers[0, 0]:g}; there is nothing to learn")
    if not scale:
        return Target(task, name, mean=(0.0,) * numbers.shape[1], deviation=(1.0,) * numbers.shape[1])
    mean, deviation = mean_and_deviation(numbers[training_rows], f"{where}, output")
    return Target(task, name, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))


def mean_and_deviation(x: Array, where: str) -> tuple[Array, Array]:
    """Mean and standard deviation of each column; 1 for a constant column, to divide by.

    Raises DataError for a column whose deviation underflows.
    """
    deviation = x.std(axis=0)
    if not deviation.all():
        for column in np.flatnonzero(deviation == 0).tolist():
            values = x.reshape(len(x), -1)[:, column]
            if values.min() < values.max():
                raise DataError(f"{where} {column}: its numbers differ too little to be scaled; use another unit")
    return x.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
