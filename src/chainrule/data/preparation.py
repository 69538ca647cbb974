"""Preprocessing, fitted on the training set only, and its inverse for targets.

Tables: skrub's TableVectorizer encodes numbers, categories, dates and text as numbers. Missing
values are imputed with the mean and marked by an indicator column. Every column is standardized to
mean 0 and standard deviation 1. Arrays: every feature is standardized. Images: every pixel is
centred, and all are divided by one common deviation, so that nearly constant pixels aren't
amplified.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data import pipelines
from chainrule.data.barrier import guarded
from chainrule.data.columns import ColumnUse, check_cells, conform, describe, kind_of, left_out, shortened
from chainrule.data.prepared import Prepared, prepared
from chainrule.data.source import LARGEST, Source, check_finite
from chainrule.data.tables import MISSING
from chainrule.errors import DataError, RunError

if TYPE_CHECKING:
    import polars as pl

PART = 1_000_000
"""The numbers of arrays that are prepared at a time."""


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
        classes, mean, deviation = (tuple(fields[name]) for name in ("classes", "mean", "deviation"))
        return Target(fields["task"], fields["name"], classes, mean, deviation)

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
            indices |= {str(label).lower(): k for k, label in enumerate(self.classes)}
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
        remedy = (
            "to predict them as numbers, choose regression (--task regression); to predict classes, pass one column"
        )
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
            raise DataError(f"{where}: {many}; is it the right column, or numeric (--task regression)?")
        return Target(task, name, tuple(classes))
    numbers = quantities(target, source.name, name)
    if (numbers == numbers[0]).all():
        raise DataError(f"{where}: every row has the value {numbers[0, 0]:g}; there is nothing to learn")
    if not scale:
        return Target(task, name, mean=(0.0,) * numbers.shape[1], deviation=(1.0,) * numbers.shape[1])
    mean, deviation = _mean_and_deviation(numbers[training_rows], f"{where}, output")
    return Target(task, name, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))


def _mean_and_deviation(x: Array, where: str) -> tuple[Array, Array]:
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


@dataclass(frozen=True)
class Preparation:
    """How raw samples become a network's inputs, fitted on the training set.

    Attributes:
        kind: "table", "numbers" or "pictures"
        shape: shape of a prepared sample
        target: the fitted target
        columns: a table's columns, each with its kind
        pipeline: a table's fitted scikit-learn pipeline
        mean: an array of the sample's shape; None for a table
        deviation: an array of the sample's shape; None for a table
        left_out: a table's columns that nothing can be learned from, each with the reason
    """

    kind: str
    shape: Shape
    target: Target
    columns: tuple[tuple[str, str], ...] = ()
    pipeline: Any = None
    mean: Array | None = None
    deviation: Array | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """A table's columns of text and categories: in other files, too, they are not numbers."""
        return {column: "category" for column, kind in self.columns if kind in ("text", "category")}

    @property
    def uses(self) -> list[ColumnUse]:
        """How each column of a table was read and what becomes of it; empty for arrays."""
        if self.pipeline is None:
            return []
        with guarded("the run's preparation can't be read"):
            return self._uses()

    def _uses(self) -> list[ColumnUse]:
        vectorizer = self.pipeline.steps[0][1]
        encoders = {column: (kind, list(vectorizer.input_to_outputs_.get(column, ())))
                    for column, kind in vectorizer.column_to_kind_.items()}  # fmt: skip
        return describe(self.columns, self.left_out, encoders, self.names)

    @property
    def names(self) -> list[str]:
        """A table's feature names once encoded, such as "rooms", "city_Bern"; empty for arrays."""
        return [] if self.pipeline is None else [str(name) for name in self.pipeline.get_feature_names_out()]

    def apply(self, source: Source) -> Prepared:
        """(samples, *shape) in float32.

        Raises DataError unless columns, types and shape match and every result is finite.
        """
        if self.kind == "table":
            if not source.is_table:
                raise DataError(f"{source.name}: it is an array, but the run was trained on a table")
            frame = conform(source.name, source.features, self.columns)
            check_finite(source.name, frame)
            with guarded(f"{source.name}: the table can't be prepared"):
                self._check_texts(source.name, frame)
                x = _transform(self.pipeline, frame)
        else:
            x = self._scaled(_as_array(source), source.name)
        if x.shape[1:] != self.shape:
            raise DataError(f"{source.name}: the run's preparation gives the shape {x.shape[1:]}, not {self.shape}")
        self._check_finite(source, x)
        return prepared(x)

    def _check_texts(self, name: str, frame: pl.DataFrame) -> None:
        """Raise DataError for a text that would count as missing where the vectorizer itself
        recognized dates or numbers.
        """
        steps_of = self.pipeline.steps[0][1].all_processing_steps_
        for column, kind in self.columns:
            values = frame[column]
            for step in steps_of.get(column, ()) if kind == "text" else ():
                if type(step).__name__ in ("ToDatetime", "ToFloat"):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # about what is checked here
                        lost = step.transform(values).is_null()
                    problem = "{value!r} is not written like the dates or numbers that the run was trained on"
                    check_cells(name, values, lost & values.is_not_null() & ~values.is_in(MISSING), problem)

    def _scaled(self, raw: Array, name: str) -> Array:
        """An array's samples, centred and scaled; some at a time, since float64 takes memory."""
        if raw.shape[1:] != self.shape:
            raise DataError(f"{name}: {_sizes(raw.shape[1:], self.shape)}")
        assert self.mean is not None
        assert self.deviation is not None
        x = np.empty(raw.shape, dtype=np.float32)
        step = max(1, PART // max(1, math.prod(self.shape)))
        with np.errstate(over="ignore"):  # checked next
            for k in range(0, len(raw), step):
                x[k : k + step] = (raw[k : k + step].astype(np.float64) - self.mean) / self.deviation
        return x

    def _check_finite(self, source: Source, x: Array) -> None:
        # NaN is neither; minimum and maximum take no memory, unlike a mask.
        if x.size == 0 or (x.min() >= -LARGEST and x.max() <= LARGEST):
            return
        row, *index = np.argwhere(~np.isfinite(x))[0].tolist()
        names = self.names or list(source.columns)
        column = repr(names[index[0]]) if names else ", ".join(str(k) for k in index)
        problem = "the number is too far from those of the training set for float32; correct it"
        raise DataError(f"{source.name}, row {row + 1}, column {column}: {problem}")

    def contents(self) -> dict[str, bytes]:
        """The preparation as files: contents by file name."""
        about = {name: getattr(self, name) for name in ("kind", "shape", "columns", "left_out")} | {
            "target": self.target.as_json()
        }
        files = {"preparation.json": (json.dumps(about, indent=1) + "\n").encode()}
        if self.kind == "table":
            return files | {"preparation.skops": pipelines.to_bytes(self.pipeline)}
        from safetensors.numpy import save

        assert self.mean is not None
        assert self.deviation is not None
        return files | {"preparation.safetensors": save({"mean": self.mean, "deviation": self.deviation})}

    @staticmethod
    def from_contents(contents: Mapping[str, bytes]) -> Preparation:
        """The inverse of `contents`.

        Raises RunError for a pipeline with untrusted classes, and for what can't prepare a sample.
        """
        about = json.loads(contents["preparation.json"])
        columns, shape = tuple((name, kind) for name, kind in about["columns"]), tuple(about["shape"])
        preparation = Preparation(about["kind"], shape, Target.from_json(about["target"]), columns)
        if about["kind"] == "table":
            pipeline = pipelines.from_bytes(contents["preparation.skops"], shape)
            left_out = tuple((name, why) for name, why in about.get("left_out", ()))
            preparation = replace(preparation, pipeline=pipeline, left_out=left_out)
            blank = conform("a blank row", _blank(columns), columns)
            one = _transform(preparation.pipeline, blank)
            if one.shape != (1, *shape) or not np.isfinite(one).all() or len(preparation.names) != shape[0]:
                raise RunError("its pipeline does not prepare samples of the run's shape; it was altered")
            return preparation
        from safetensors.numpy import load

        arrays = load(contents["preparation.safetensors"])
        if arrays.keys() != {"mean", "deviation"}:
            raise RunError("it must hold mean and deviation; it was altered")
        for name, array in arrays.items():
            numbers = array.dtype == np.float64 and array.shape == shape and np.isfinite(array).all()
            if not numbers or (name == "deviation" and (array <= 0).any()):
                raise RunError(f"the array {name} does not fit samples of shape {shape}; it was altered")
        return replace(preparation, mean=arrays["mean"], deviation=arrays["deviation"])


def _sizes(shape: Shape, trained: Shape) -> str:
    """How the shape of samples differs from that of a run's; pictures as width x height."""
    if len(shape) < 2 or len(trained) < 2:
        return f"samples of shape {shape}, but the run was trained on {trained}"
    (width, height, *colours), (its_width, its_height, *its_colours) = (
        (shape[1], shape[0], *shape[2:]) for shape in (shape, trained)
    )
    if (width, height) == (its_width, its_height):
        kinds = "in colour" if colours else "in grey", "in colour" if its_colours else "in grey"
        return f"pictures {kinds[0]}, but the run was trained on pictures {kinds[1]}"
    return f"{width} x {height} pixels, but the run was trained on {its_width} x {its_height}; resize the pictures"


def _blank(columns: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    """A row in which every value is missing."""
    import polars as pl

    return pl.DataFrame({name: [None] for name, _ in columns})


def fit_preparation(source: Source, training_rows: Array, target: Target) -> Preparation:
    """Fit a preparation to the training rows; raises DataError if a table can't be encoded."""
    training = source.take(training_rows)
    if source.is_table:
        reasons = tuple((column.name, why) for column in source.features.iter_columns() if (why := left_out(column)))
        unused = dict(reasons)
        used = [column for column in training.features.iter_columns() if column.name not in unused]
        columns = tuple((column.name, str(kind_of(column))) for column in used)
        if not columns:
            why = "; ".join(f"{column!r}: {why}" for column, why in reasons)
            raise DataError(f"{source.name}: no column is left to learn from ({why})")
        frame = conform(source.name, training.features, columns)
        _check_differences(source.name, frame)
        with guarded(f"{source.name}: the table can't be prepared"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about columns that skrub handles anyway
            pipeline = pipelines.blank().fit(frame)
        shape = _transform(pipeline, frame[:1]).shape[1:]
        if not shape[0]:
            raise DataError(f"{source.name}: no column is left to learn from: none differs within the training set")
        return Preparation("table", shape, target, columns, pipeline, left_out=reasons)
    x = _as_array(training).astype(np.float64)
    if x.ndim > 2:
        mean = x.mean(axis=0)
        x -= mean
        x *= x
        deviation = np.full_like(mean, float(np.sqrt(np.mean(x))) or 1.0)
        return Preparation("pictures", x.shape[1:], target, mean=mean, deviation=deviation)
    mean, deviation = _mean_and_deviation(x, f"{source.name}, column")
    return Preparation("numbers", x.shape[1:], target, mean=mean, deviation=deviation)


def _check_differences(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError for a column whose numbers are the same in float32, but not in float64."""
    import polars as pl

    for column in frame.select(pl.col(pl.Float64)).iter_columns():
        rounded = column.cast(pl.Float32)
        if rounded.min() == rounded.max() and column.min() != column.max():
            problem = "its numbers differ too little for float32; subtract their mean, or use another unit"
            raise DataError(f"{name}, column {column.name!r}: {problem}")


def _as_array(source: Source) -> Array:
    if source.is_table:
        raise DataError(f"{source.name}: it is a table, but the run was trained on arrays")
    return np.asarray(source.features)


def _transform(pipeline: Any, frame: pl.DataFrame) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about unseen categories, which are encoded as zeros
        return np.asarray(pipeline.transform(frame), dtype=np.float32)
