"""Raw data: samples as they were read, before any preparation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Deferred, Shape
from chainrule.data.columns import KINDS, check_cells, check_usable, converted, kind_of, reread, shortened
from chainrule.data.picture_files import PictureFiles
from chainrule.data.series import Series
from chainrule.data.tables import AMBIGUOUS, LEADING_ZERO, MAYBE_NUMBER, first_texts, numbers
from chainrule.data.tokens import Tokens
from chainrule.errors import DataError, nearest, setting, unknown

if TYPE_CHECKING:
    import polars as pl

TASKS = ("classification", "ordinal", "regression", "multilabel")
OF_CLASSES = ("classification", "ordinal")
"""The tasks of which a prediction is one of some classes."""

LARGEST = float(np.finfo(np.float32).max)
"""Larger numbers can't be prepared: networks compute in float32 by default."""


@dataclass(frozen=True)
class Sample:
    """One sample as it was read, for display.

    Attributes:
        source: name of the file, folder or built-in data set
        row: row number in the source, counted from 1 (the header of a table is not counted)
        values: the cells by column name; None for an image
        picture: an image of shape (height, width), (height, width, 1) or (height, width, 3); None
            for other samples
        target_name: name of the target
        target: value of the target; None if the source has no targets
        name: its own name, such as its file in a folder; empty if it has none
    """

    source: str
    row: int
    values: dict[str, Any] | None
    picture: Array | None
    target_name: str
    target: Any
    name: str = ""


@dataclass(frozen=True)
class Source:
    """Raw samples with their targets.

    Attributes:
        name: name of the file, folder or built-in data set
        features: a table (a polars DataFrame), or an array of shape (samples, *sample_shape), which
            of many pictures is still in files
        target: (samples,) or (samples, outputs); None if there are no targets
        target_name: name of the target
        task: "classification", "ordinal", "regression" or "multilabel", if known
        content_hash: SHA-256 hash of the content, if it is known
        weight: (samples,) sample weights; None if all are equal
        columns: feature names of an array; empty if it has none
        classes: the classes, in order, if they are known; by default those that occur
        target_columns: names of the columns of a target that has several; empty if they have none
        order: the categories of an ordered categorical target, from the lowest; empty for others
        may_be_constant: whether all rows may have the same quantity
        files: the names of the files that a pattern matched; empty for a single one
        names: (samples,) the name of each sample, such as its file, or of series the number of its
            time; None if they have none
        is_sparse: whether the features were a sparse matrix
        sequence: (time, features) of samples that are sequences with lengths; see sequences.py
        tokens: the vocabulary, if the features are all windows of a text
        series: how a table is read as time series, of which each row is a step
        samples: what samples with two axes are, "sequences" or "pictures", if that is known

    Raises:
        DataError: there are no samples, or the lengths of features, targets and weights differ
    """

    name: str
    features: Any
    target: Array | None
    target_name: str = "target"
    task: str | None = None
    content_hash: str = ""
    weight: Array | None = None
    columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    order: tuple[Any, ...] = ()
    may_be_constant: bool = False
    files: tuple[str, ...] = ()
    names: Array | None = None
    is_sparse: bool = False
    sequence: Shape | None = None
    tokens: Tokens | None = None
    series: Series | None = None
    samples: str = ""

    def __post_init__(self) -> None:
        for what, values in (("targets", self.target), ("weights", self.weight)):
            if values is not None and len(values) != len(self):
                raise DataError(f"{self.name}: {len(self)} samples but {len(values)} {what}; each sample needs one")
        if len(self) == 0:
            raise DataError(f"{self.name}: there are no samples")

    @property
    def fingerprint(self) -> str:
        """SHA-256 hash of the content, computed if it is asked for, unless it is known."""
        return self.content_hash or fingerprint(self.features, self.target)

    @property
    def is_table(self) -> bool:
        """Whether the features are a table with columns of any type, not an array of numbers."""
        return not isinstance(self.features, np.ndarray | Deferred)

    def take(self, rows: Array) -> Source:
        """The source restricted to these rows."""
        is_on_disk = isinstance(self.features, PictureFiles)
        features = self.features.only(rows) if is_on_disk else self.features[rows]
        others = (self.target, self.weight, self.names)
        target, weight, names = (None if array is None else array[rows] for array in others)
        return replace(self, features=features, target=target, weight=weight, names=names)

    def sample(self, row: int) -> Sample:
        """The sample in this row, counted from 0."""
        # Of a slice, because entries of an object array have no tolist().
        target = None if self.target is None else self.target[row : row + 1].tolist()[0]
        values, picture = None, None
        if self.tokens is not None:
            return self._window(row, self.tokens)
        if self.series is not None:
            return self._series_window(row, self.series)
        if self.is_table:
            values = dict(self.features.row(row, named=True))
        elif self.samples != "sequences" and self.features.ndim > 2 and self.features.shape[3:] in ((), (1,), (3,)):
            picture = self.features[row]
        else:
            numbers = self.features[row].ravel().tolist()
            if self.sequence is not None:  # as many as are valid
                numbers = numbers[: int(numbers[-1]) * self.sequence[1]]
            names = self.columns or [f"column {k}" for k in range(len(numbers))]
            if self.samples == "sequences":
                names = [f"x[{', '.join(map(str, at))}]" for at in np.ndindex(self.features.shape[1:])]
            values = dict(zip(names, numbers, strict=self.sequence is None))
        name = "" if self.names is None else str(self.names[row])
        return Sample(self.name, row + 1, values, picture, self.target_name, target, name)

    def _window(self, row: int, tokens: Tokens) -> Sample:
        """The window of a text that begins with this token, counted from 0."""
        window = self.features[row]
        follows = self.features[min(row + 1, len(self) - 1)][-1]
        name = f"{tokens.word}s {row + 1:,} to {row + len(window):,}"
        values = {"text": repr(tokens.decode(window))}
        return Sample(self.name, row + 1, values, None, self.target_name, tokens.shown(follows), name)

    def window_times(self, row: int) -> list[str]:
        """The times of the steps of a window of series that ends with this row."""
        assert self.series is not None
        return self._times(row, self.series, range(1 - self.series.length, 1))

    def time_after(self, row: int, step: int) -> str:
        """The time so many steps after a row of series."""
        assert self.series is not None
        return self._times(row, self.series, range(step, step + 1))[0]

    def _times(self, row: int, series: Series, steps: range) -> list[str]:
        last = self.names[row] if self.names is not None else 0
        return series.frequency.written(last + np.arange(steps.start, steps.stop))

    def _series_window(self, row: int, series: Series) -> Sample:
        """The window of series that ends with this row, counted from 0."""
        assert self.target is not None
        first, last, after = (self._times(row, series, range(k, k + 1))[0] for k in (1 - series.length, 0, 1))
        of = "" if series.by is None else f" of {self.features[series.by][row]}"
        values = self.target[row - series.length + 1 : row + 1].tolist()
        shown = {"window": f"{first} to {last}{of}", series.target: _ends(values)}
        target = _ends(self.target[row + 1 : row + 1 + series.horizon].tolist())
        return Sample(self.name, row + 1, shown, None, series.target, target, f"the steps from {after}{of}")

    def __len__(self) -> int:
        return len(self.features)


def _ends(values: Sequence[float]) -> str:
    """Numbers as text; of many the first and the last."""
    texts = [f"{value:.4g}" for value in values]
    return ", ".join(texts) if len(texts) <= 4 else f"{texts[0]}, {texts[1]}, ..., {texts[-1]}"


def fingerprint(*parts: Any) -> str:
    """SHA-256 hash of bytes, arrays and polars DataFrames; None is skipped."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            digest.update(part)
        elif isinstance(part, np.ndarray):
            digest.update(repr((part.shape, part.dtype.str)).encode())
            digest.update(repr(part.tolist()).encode() if part.dtype == object else part.tobytes())
        elif part is not None:
            digest.update(repr(part.schema).encode())
            digest.update(part.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def from_table(
    name: str,
    frame: pl.DataFrame,
    target: str | Sequence[str] | None,
    drop: Sequence[str] = (),
    task: str | None = None,
    fingerprint: str = "",
    read: Mapping[str, str] | None = None,
    as_they_are: Collection[str] = (),
) -> Source:
    """A source from a table.

    Args:
        name: used in error messages
        frame: the table
        target: the target column, or several; by default the last
        drop: columns to leave out
        task: "classification", "ordinal", "regression" or "multilabel", if known
        fingerprint: hash of the content; computed if empty
        read: what to read columns as, such as {"price": "number"}
        as_they_are: columns of text that are no numbers, even if all these values are

    Raises:
        DataError: with row and column, for a cell that can't be used, or for an unknown column
    """
    check_usable(name, frame)
    targets = [] if target is None else [target] if isinstance(target, str) else list(target)
    for column in drop:
        if column not in frame.columns:
            raise DataError(f"{name}: {unknown('column', column, frame.columns)}")
    for column in targets:
        if column not in frame.columns:
            match = nearest(column, frame.columns)
            columns = ", ".join(map(shortened, frame.columns[:10]))
            hint = f"did you mean {match!r}?" if match else f"its columns are {columns}"
            raise DataError(f"{name}: it has no column {column!r}, which is the target; {hint}")
        if column in drop:
            raise DataError(f"{name}: column {column!r} can't be both the target and dropped")
        if targets.count(column) > 1:
            raise DataError(f"{name}: column {column!r} is named twice as the target; name it once")
    read = read or {}
    frame = reread(name, frame.drop(list(drop)), read)
    targets = targets or frame.columns[-1:]
    if len(frame.columns) <= len(targets):
        least = "two columns" if len(targets) == 1 else f"{len(targets) + 1} columns"
        raise DataError(f"{name}: it takes {least} or more: the target, and at least one feature")
    features = _features(name, frame.drop(targets), {*read, *as_they_are})
    if len(targets) == 1:
        values = frame[targets[0]]
        y, order = target_column(name, values, task), order_of(values)
        return Source(name, features, y, targets[0], task, fingerprint, order=order)
    y, together = target_columns(name, frame.select(targets)), joined(targets)
    return Source(name, features, y, together, task, fingerprint, target_columns=tuple(targets))


def order_of(values: Any) -> tuple[Any, ...]:
    """The categories of an ordered categorical, from the lowest: of pandas, or an Enum of polars;
    empty for other values.
    """
    dtype = getattr(values, "dtype", None)
    if dtype is None or isinstance(dtype, np.dtype):
        return ()
    import polars as pl

    if isinstance(dtype, pl.Enum):
        return tuple(dtype.categories.to_list())
    return tuple(dtype.categories.tolist()) if getattr(dtype, "ordered", False) else ()


def check_finite(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError, with row and column, for infinity, NaN and numbers that are too large for
    a network; missing values are allowed.
    """
    problem = "{value} is not a finite number; correct the cell, or leave it empty if the value is missing"
    large = f"{{value}} is too large: at most {LARGEST:.2g} is supported; use another unit"
    for column in frame.iter_columns():
        if column.dtype.is_float() and not _are_usable(column):
            check_cells(name, column, ~column.is_finite(), problem)
            check_cells(name, column, column.abs() > LARGEST, large)


def _are_usable(column: pl.Series) -> bool:
    """Whether all numbers of a column are finite and not too large; much faster than looking for
    those that aren't.
    """
    low: Any = column.min()
    high: Any = column.max()
    return low is None or (math.isfinite(column.sum()) and low >= -LARGEST and high <= LARGEST)


def check_types(name: str, frame: pl.DataFrame, chosen: Collection[str] = ()) -> None:
    """Raise DataError for a text in a column of numbers, dates or times, which would make all of it
    categorical.

    The `chosen` columns are not checked: they are read as the user wants.
    """
    import polars as pl

    problem = (
        "{{value!r}} is not a {kind}, but nearly all other values are; correct the cell, leave it empty if the value is"
        " missing, drop the column ("
    )
    ambiguous = "{value!r} may be a number with decimals or with thousands; write all without commas, or "
    for column in frame.iter_columns():
        if column.dtype == pl.String and column.name not in chosen:
            column_name = shortened(column.name)
            as_category = f"read it as a category ({setting('read', {column_name: 'category'})})"
            for kind in ("number", "time", "clock"):
                if _nearly(kind, column):
                    words = "date" if kind == "time" else KINDS[kind]
                    remedy = f"{setting('drop', column_name)}), or {as_category}"
                    check_cells(name, column, _no(kind, column), problem.format(kind=words), remedy)
            if column.null_count() < len(column) and column.str.contains(AMBIGUOUS).all():
                check_cells(name, column, column.is_not_null(), ambiguous, as_category)


def _no(kind: str, column: pl.Series) -> pl.Series:
    """Which cells of a text column hold a value that is not of this kind."""
    return converted(column, kind).is_null() & column.is_not_null()


def _nearly(kind: str, column: pl.Series) -> bool:
    """Whether a text column consists of values of this kind with a few mistakes."""
    values = column.drop_nulls()
    if converted(values[:100], kind).null_count() > 50:  # most texts are told by their first values
        return False
    found = converted(values, kind).drop_nulls()
    return found.n_unique() > 10 and len(found) >= 0.9 * len(values)


def _typed(column: pl.Series) -> pl.Series:
    """A column with a type that is computed with: numbers for text of which all are numbers, and
    none a code, as in a CSV file, and for decimals and integers of 128 bits, which NumPy doesn't
    have.
    """
    import polars as pl

    if column.dtype == pl.String:
        may_be = first_texts(column).str.contains(MAYBE_NUMBER).all()
        if not may_be or column.str.contains(LEADING_ZERO).any():
            return column
        found = numbers(column)
        return found if found.null_count() == column.null_count() < len(column) else column
    is_wide = column.dtype.is_integer() and str(column.dtype).endswith("128")
    return column.cast(pl.Float64) if is_wide or column.dtype.is_decimal() else column


def without(name: str, frame: pl.DataFrame, drop: Sequence[str], read: Mapping[str, str]) -> pl.DataFrame:
    """A table of features alone, without these columns, and with others read as these kinds.

    Raises DataError, with row and column, for a cell that can't be used, or for an unknown column.
    """
    for column in drop:
        if column not in frame.columns:
            raise DataError(f"{name}: {unknown('column', column, frame.columns)}")
    return _features(name, reread(name, frame.drop(list(drop)), read), read)


def _features(name: str, frame: pl.DataFrame, read: Collection[str]) -> pl.DataFrame:
    """A table's features with the types that are computed with, all finite."""
    frame = frame.with_columns(_typed(column) for column in frame.iter_columns() if column.name not in read)
    check_finite(name, frame)
    return frame


def joined(columns: Sequence[str], most: int = 3) -> str:
    """The name of a target of several columns."""
    more = len(columns) - most
    return ", ".join(columns[:most]) + (f" and {more} more" if more > 0 else "")


def target_columns(name: str, frame: pl.DataFrame) -> Array:
    """(samples, columns) a target of several columns; raises DataError unless they are numbers, or
    true and false.
    """
    columns = [target_column(name, column, None) for column in frame.iter_columns()]
    for column, values in zip(frame.columns, columns, strict=True):
        if values.dtype.kind not in "buif":
            problem = f"{shortened(values[0])!r} is not a number; where there are several, targets must be numbers"
            raise DataError(f"{name}, column {column!r}: {problem}, or 0 and 1")
    return np.column_stack(columns)


def target_column(name: str, values: pl.Series, task: str | None) -> Array:
    """(samples,) the target; raises DataError for missing values, text among numbers and dates."""
    import polars as pl

    if kind_of(values) is None:
        raise DataError(f"{name}, column {values.name!r}: its values can't be predicted: they are {values.dtype}")
    missing = values.is_null() | (values.is_nan() if values.dtype.is_float() else False)
    check_cells(name, values, missing, "the target is missing or NaN; fill it in or remove the row")
    if values.dtype == pl.String and task not in OF_CLASSES and (task == "regression" or _nearly("number", values)):
        problem = "{value!r} is not a number, but the target is numeric; correct the cell, or pass "
        check_cells(name, values, _no("number", values), problem, setting("task", "classification"))
        values = numbers(values)
    if values.dtype.is_temporal():
        problem = "a date or time can't be the target; convert it to a number, such as days"
        raise DataError(f"{name}, column {values.name!r}: {problem}")
    values = values if values.dtype == pl.String else _typed(values)
    return values.cast(pl.String).to_numpy() if values.dtype in (pl.Categorical, pl.Enum) else values.to_numpy()
