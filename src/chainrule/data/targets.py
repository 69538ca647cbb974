"""The target: the classes or numbers to predict, fitted on the training set, and its inverse."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import Any, Literal

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.columns import shortened
from chainrule.data.places import at_row
from chainrule.data.source import LARGEST, OF_CLASSES, Source
from chainrule.errors import DataError, require, setting

FEW_NUMBERS = 20
"""Whole numbers of which there are no more different ones are classes, unless they are few rows."""

Label = str | int | float | bool
"""The name of a class, as it was read."""


@dataclass(frozen=True)
class Target:
    """The quantity to predict: classes, numbers that are standardized for training, or labels, of
    which a sample may have any number.

    Attributes:
        task: "classification", "ordinal" (classes in order), "regression" or "multilabel"
        name: name of the target
        classes: the class labels, in the order of the network's outputs; none for regression
        mean: mean of each output in the training set; for regression
        deviation: standard deviation of each output in the training set; for regression
        columns: names of the columns of a target that has several, such as the labels; empty if
            it has one, or if they have no names
        positions: the number of positions along each axis, if a sample has a target at each
            position; empty if it has one target
        tokens: the kind of tokens that the classes are, if they are those of a text
        season: of the steps of a forecast, after how many of them the series usually repeats
            itself; 0 for other targets
    """

    task: str
    name: str = "target"
    classes: tuple[Label, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    columns: tuple[str, ...] = ()
    positions: Shape = ()
    tokens: Literal["", "characters", "bpe"] = ""
    season: int = 0

    @property
    def width(self) -> int:
        """The number of classes, of labels, or of numbers to predict."""
        return len(self.classes if self.is_class else self.columns if self.task == "multilabel" else self.mean)

    @property
    def is_class(self) -> bool:
        """Whether it is one of some classes."""
        return self.task in OF_CLASSES

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are predicted."""
        if self.is_class or (self.width == 1 and not self.columns):
            return (self.name,)
        return self.columns or numbered(self.name, self.width)

    def column(self, k: int) -> Target:
        """One of several quantities, as a target of its own."""
        return Target(self.task, self.names[k], mean=self.mean[k : k + 1], deviation=self.deviation[k : k + 1])

    @property
    def about(self) -> str:
        """The task, and how much there is to predict, in words."""
        if self.season:
            return f"forecast of {self.width:,} step{'s' * (self.width > 1)}"
        counted = "classes" if self.is_class else "labels" if self.task == "multilabel" else "numbers"
        counted = f"{self.tokens}" if self.tokens == "characters" else "tokens" if self.tokens else counted
        at = f" at each of {' x '.join(map(str, self.positions))} positions" if self.positions else ""
        return f"{self.task}{at}" if self.width == 1 else f"{self.task}{at}, {self.width:,} {counted}"

    @property
    def in_table(self) -> str | list[str]:
        """The target as `load` takes it, to find it in a table."""
        return list(self.columns) or self.name

    @property
    def described(self) -> str:
        """Its name and what it is, such as "price (regression)"."""
        return f"{self.name} ({self.about})"

    def as_json(self) -> dict[str, Any]:
        """The fields, with lists for tuples."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        later = ("positions", "tokens", "season")  # which earlier versions did not know
        return {name: value for name, value in fields.items() if value or name not in later}

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Target:
        """The inverse of `as_json`."""
        mean, deviation = (tuple(map(float, fields[name])) for name in ("mean", "deviation"))
        classes, columns = tuple(fields["classes"]), tuple(fields.get("columns", ()))
        positions = tuple(fields.get("positions", ()))
        of = fields["task"], fields["name"], classes, mean, deviation, columns, positions
        return Target(*of, fields.get("tokens", ""), fields.get("season", 0))

    def encode(self, values: Array, name: str) -> Array:
        """Class indices (samples,), standardized numbers (samples, outputs), or 0 and 1 for each
        label (samples, labels); of each position, if there are positions.

        `name` is used in error messages. Raises DataError for an unknown class, a value that isn't
        finite, or a different number of outputs or positions.
        """
        if self.positions:
            return self._at_positions(np.asarray(values), name)
        if not self.is_class:
            values = np.asarray(values).reshape(len(values), -1)
            if values.shape[1] != self.width:
                raise DataError(
                    f"{name}: the target has {values.shape[1]} columns; that of the training data has {self.width}"
                )
        if self.task == "multilabel":
            return zeros_and_ones(values, name, self.columns)
        if self.task == "regression":
            return (quantities(values, name, self.name) - self.mean) / self.deviation
        if values.ndim > 1:
            values = class_numbers(values, name)
            values = np.array(self.columns)[values] if self.columns else values
        if (known := self._known(values)) is not None:
            return known
        # By text as well, because one file may hold the number 1 where another holds the text "1".
        indices: dict[Label, int] = {str(label): k for k, label in enumerate(self.classes)}
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
            raise DataError(f"{at_row(name, row)}, column {self.name!r}: {problem}")
        return np.array(encoded, dtype=np.int64)

    def _known(self, values: Array) -> Array | None:
        """(samples,) the classes of whole numbers, if all are numbers of classes; without a Python
        object for each, which takes ten times as long.
        """
        classes = np.array(self.classes)
        if classes.dtype.kind != "i" or values.dtype.kind not in "iu" or values.dtype == np.uint64:
            return None
        order = np.argsort(classes)
        places = np.minimum(np.searchsorted(classes[order], values), len(classes) - 1)
        found = order[places]
        return found if np.array_equal(classes[found], values) else None

    def _at_positions(self, values: Array, name: str) -> Array:
        """The same for targets (samples, positions..., ...)."""
        axes = 1 + len(self.positions)
        if values.shape[1:axes] != self.positions:
            at = " x ".join(map(str, self.positions))
            problem = f"the targets have the shape {values.shape}; those of the training data are at {at} positions"
            raise DataError(f"{name}: {problem} of each sample")
        rows = values.reshape(-1, *values.shape[axes:])
        rows = rows.reshape(-1) if self.is_class and rows.shape[1:] == (1,) else rows
        encoded = replace(self, positions=()).encode(rows, name)
        return encoded.reshape(*values.shape[:axes], *encoded.shape[1:])

    def decode(self, numbers: Array) -> Array:
        """The inverse of `encode`: class labels, (samples, outputs) in the target's units, or
        (samples, labels) 0 and 1.
        """
        if self.task == "multilabel":
            return np.asarray(numbers).astype(np.int64)
        if self.task == "regression":
            return np.asarray(numbers, dtype=np.float64) * self.deviation + self.mean
        return np.array(self.classes)[numbers]


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Names for columns that have none: "y_0", "y_1" and so on."""
    return tuple(f"{name}_{k}" for k in range(count))


def zeros_and_ones(values: Array, name: str, columns: tuple[str, ...]) -> Array:
    """(samples, labels) the labels as numbers; raises DataError for what is neither 0 nor 1."""
    wrong = ~np.isin(values, (0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        problem = f"{shortened(values[row, column].item())!r} is neither 0 nor 1, as every label must be"
        raise DataError(f"{at_row(name, row)}, column {columns[column]!r}: {problem}")
    return values.astype(np.float64)


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
        raise DataError(f"{at_row(name, row)}, column {column!r}: {problem}")
    return numbers


def _shortened(items: Any, limit: int = 10) -> str:
    shown = ", ".join(str(shortened(item)) for item in items[:limit])
    return shown + (f" and {len(items) - limit} more" if len(items) > limit else "")


def class_numbers(values: Array, name: str) -> Array:
    """(samples,) the class that each row of a one-hot target marks, counted from 0; raises
    DataError for any other target of several columns.
    """
    if not is_one_hot(values):
        problem = f"the target has {values.shape[1]} columns, which are not one-hot: one 1 in each row"
        as_numbers = f"to predict them as numbers, choose regression ({setting('task', 'regression')})"
        as_labels = f"to predict each as a label, choose {setting('task', 'multilabel')}"
        remedy = f"{as_numbers}; {as_labels}; to predict classes, pass one column"
        raise DataError(f"{name}: {problem}; {remedy}")
    return np.asarray(values).argmax(axis=1)


def is_one_hot(values: Array) -> bool:
    """Whether each row of a target of several columns has one 1, and 0 otherwise."""
    return values.ndim > 1 and holds_labels(values) and bool((values.sum(axis=1) == 1).all())


def holds_labels(values: Array) -> bool:
    """Whether a target of several columns consists of 0 and 1."""
    return values.dtype.kind in "buif" and bool(np.isin(values, (0, 1)).all())


def positions_of(target: Array, task: str | None, features: Any) -> Shape:
    """The positions at which samples have a target each: of targets (samples, positions, columns),
    and of classes (samples, positions); empty for one target each. Columns of 0 and 1 mark a class,
    or are labels, unless the features have as many positions: whole numbers, or several axes.
    """
    if target.ndim == 3:
        return target.shape[1:2]
    if target.ndim != 2 or task != "classification" or target.shape[1] == 1 or is_one_hot(target):
        return ()
    shape = getattr(features, "shape", ())
    alike = shape[1:2] == target.shape[1:] and (len(shape) > 2 or getattr(features, "dtype", target.dtype).kind in "iu")
    by_position = alike or not holds_labels(target)
    return target.shape[1:] if by_position else ()


def infer_task(source: Source, target: Array) -> str:
    """The source's task if known; classification for text, booleans and few distinct integers,
    multilabel for several columns of 0 and 1.
    """
    if source.task:
        return source.task
    if target.ndim == 3:
        target = target.reshape(-1) if target.shape[2] == 1 else target.reshape(-1, target.shape[2])
        return "classification" if is_one_hot(target) else infer_task(source, target)
    if target.ndim > 1 and target.shape[1] > 1:
        return "multilabel" if holds_labels(target) else "regression"
    if target.dtype.kind in "OUSb":
        return "classification"
    if not np.array_equal(target, np.round(target)):
        return "regression"
    few = len(np.unique(target)) <= min(FEW_NUMBERS, max(2, len(target) // 5))
    return "classification" if few else "regression"


def fit_target(source: Source, training_rows: Array, scale: bool, order: Sequence[Any] | None = None) -> Target:
    """Fit the target: its classes, from all rows, or its mean and deviation in the training set.

    Args:
        source: the raw data
        training_rows: row numbers of the training set
        scale: whether to standardize a numeric target; otherwise mean 0 and deviation 1 are used
        order: the classes of an ordinal target, from the lowest; by default numbers in ascending
            order

    Raises:
        DataError: there is a single class or value, there are too many classes for the rows, or
            the order of the classes is not known
    """
    target, name = source.target, source.target_name
    assert target is not None
    if positions := positions_of(target, source.task, source.features):
        return _fit_at(source, training_rows, scale, positions)
    where = f"{source.name}, column {name!r}"
    task = infer_task(source, target)
    if task in OF_CLASSES:
        known = source.classes
        in_order = as_classes(where, known or set(target.tolist()), 0 if known else len(target), task, order)
        return Target(task, name, in_order, columns=source.target_columns)
    if task == "multilabel":
        return _fit_labels(source, target)
    numbers = quantities(target, source.name, name)
    is_constant = bool((numbers == numbers[0]).all())
    if is_constant and not source.may_be_constant:
        raise DataError(f"{where}: every row has the value {numbers[0, 0]:g}; there is nothing to learn")
    if is_constant and scale:
        mean, deviation = numbers[0], np.ones(numbers.shape[1])
    elif not scale:
        mean, deviation = np.zeros(numbers.shape[1]), np.ones(numbers.shape[1])
    else:
        weight = None if source.weight is None else source.weight[training_rows]
        mean, deviation = mean_and_deviation(numbers[training_rows], f"{where}, output", weight)
    return Target(task, name, (), tuple(mean.tolist()), tuple(deviation.tolist()), source.target_columns)


def as_classes(
    where: str, labels: Collection[Any], rows: int, task: str, order: Sequence[Any] | None
) -> tuple[Any, ...]:
    """The classes that occur, in their order.

    Args:
        where: what a message begins with
        labels: the classes, in order, or a set of them
        rows: how many there are; 0 if the classes are known
        task: "classification" or "ordinal"
        order: those of an ordinal target, from the lowest

    Raises DataError for a single one, or too many.
    """
    classes = sorted(labels, key=lambda label: (str(type(label)), label)) if isinstance(labels, set) else list(labels)
    if len(classes) < 2:
        raise DataError(f"{where}: every row has the class {shortened(classes[0])!r}; at least two classes are needed")
    if rows and len(classes) > most_classes(rows):
        many = f"{len(classes)} classes in {rows} rows are too many to learn"
        raise DataError(f"{where}: {many}; is it the right column, or numeric ({setting('task', 'regression')})?")
    return _ordered(classes, order, where) if task == "ordinal" else tuple(classes)


def most_classes(rows: int) -> int:
    """How many classes can be learned from so many rows."""
    return min(rows // 2, max(20, rows // 5))


def _fit_at(source: Source, training_rows: Array, scale: bool, positions: Shape) -> Target:
    """Fit the target of samples that have one at each position."""
    assert source.target is not None
    task = infer_task(source, source.target)
    problem = f"the target at positions can be classes or numbers, not {task}"
    require(task in ("classification", "regression"), f"{source.name}: {problem}")
    rows = source.target.reshape(-1, *source.target.shape[2:])
    rows = rows.reshape(-1) if task == "classification" and rows.shape[1:] == (1,) else rows
    if task == "classification" and rows.ndim > 1:
        rows = class_numbers(rows, source.name)
    length, weight = math.prod(positions), source.weight
    if weight is not None:
        weight = np.repeat(weight, length) if weight.ndim == 1 else weight.ravel()
    of_rows = Source(source.name, rows[:, None], rows, source.target_name, task, "-", weight)
    training = (training_rows[:, None] * length + np.arange(length)).ravel()
    return replace(fit_target(of_rows, training, scale), positions=positions)


def _fit_labels(source: Source, target: Array) -> Target:
    """The labels; raises DataError unless there are several, and one that differs."""
    name = source.target_name
    if target.ndim < 2 or target.shape[1] < 2:
        one = f"there is one column, {name!r}; several labels take several columns of 0 and 1"
        raise DataError(f"{source.name}: {one}; for one alone, choose {setting('task', 'classification')}")
    columns = source.target_columns or numbered(name, target.shape[1])
    labels = zeros_and_ones(target, source.name, columns)
    if (labels == labels[0]).all():
        raise DataError(f"{source.name}: every row has the same labels; there is nothing to learn")
    return Target("multilabel", name, columns=columns)


def inherent_order(source: Source, task: str | None, likely_task: str | None) -> tuple[Any, ...]:
    """The classes of an ordered categorical target, from the lowest, as far as they occur; empty
    for other targets, for two classes, and if classes without an order are asked for.
    """
    if not source.order or source.target is None or (task or likely_task or "ordinal") != "ordinal":
        return ()
    found = {str(label) for label in source.target.tolist()}
    order = tuple(label for label in source.order if str(label) in found)
    return order if len(order) > 2 or task == "ordinal" else ()


def checked_order(order: Any) -> tuple[Any, ...]:
    """The classes of an ordinal target, in order; raises SettingError for what can't be that."""
    rule = "list each class once, from the lowest to the highest, such as ['low', 'medium', 'high']"
    listed = isinstance(order, Iterable) and not isinstance(order, str | bytes | Mapping | set)
    labels = [label.item() if isinstance(label, np.generic) else label for label in order] if listed else []
    plain = all(isinstance(label, str | int | float | bool) for label in labels)
    fits = plain and len(labels) > 1 and len({str(label) for label in labels}) == len(labels)
    require(fits, f"the order of the classes is {brief(order)}; {rule}")
    return tuple(labels)


def _ordered(classes: list[Any], order: Sequence[Any] | None, where: str) -> tuple[Any, ...]:
    """The classes from the lowest to the highest; raises DataError if their order is not known."""
    if order is None:
        if any(isinstance(label, str) for label in classes):
            problem = f"the order of the classes {_shortened(classes)} is not known"
            example = setting("order", [str(shortened(label)) for label in classes])
            raise DataError(f"{where}: {problem}; list them from the lowest ({example})")
        return tuple(classes)
    known = {str(label): label for label in classes}  # by text, because an order may be given as text
    missing = [label for label in classes if str(label) not in map(str, order)]
    if missing:
        problem = f"the order {_shortened(order)} lacks {shortened(missing[0])!r}"
        raise DataError(f"{where}: {problem}; list every class, from the lowest")
    return tuple(known.get(str(label), label) for label in order)


def mean_and_deviation(x: Array, where: str, weight: Array | None = None) -> tuple[Array, Array]:
    """Mean and standard deviation of each column; 1 for a constant column, to divide by. A row of
    weight 2 counts as two rows.

    Raises DataError for a column whose deviation underflows.
    """
    mean = x.mean(axis=0) if weight is None else np.average(x, axis=0, weights=weight)
    deviation = x.std(axis=0) if weight is None else np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    if not deviation.all():
        for column in np.flatnonzero(deviation == 0).tolist():
            values = x.reshape(len(x), -1)[:, column]
            if values.min() < values.max():
                raise DataError(f"{where} {column}: its numbers differ too little to be scaled; use another unit")
    return mean, np.where(deviation > 0, deviation, 1.0)
