"""Data as it was read, before anything is learned from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import DataError, unknown

if TYPE_CHECKING:
    import polars as pl

TASKS = ("classification", "regression")


@dataclass(frozen=True)
class Sample:
    """One sample as it was read, for people to recognise.

    Attributes:
        source: the file, the folder or the built-in set
        row: its number there, counted from 1 (in a table, below the headings)
        values: its cells by column; None for a picture
        picture: (height, width) or (height, width, 3), or None
        target_name, target: what is to be predicted, and what it was
    """

    source: str
    row: int
    values: dict[str, Any] | None
    picture: Array | None
    target_name: str
    target: Any


@dataclass(frozen=True)
class Source:
    """Samples and what is to be predicted of them.

    Attributes:
        name: the file, the folder, or the built-in set
        features: a polars frame (a table), or an array of shape (samples, *sample_shape)
        target: (samples,) or (samples, columns); None if there is nothing to compare predictions with
        target_name: what the target is called
        task: "classification" or "regression", if it is known
        fingerprint: a hash of all of it
        weight: (samples,) how much each sample counts; None if all count alike
        columns: what the features of an array are called, if they have names
    """

    name: str
    features: Any
    target: Array | None
    target_name: str = "target"
    task: str | None = None
    fingerprint: str = ""
    weight: Array | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.target is not None and len(self.target) != len(self.features):
            raise DataError(
                f"{self.name}: there are {len(self.features)} samples but {len(self.target)} targets; there must be one"
                " for each"
            )
        if self.weight is not None and len(self.weight) != len(self.features):
            raise DataError(
                f"{self.name}: there are {len(self.features)} samples but {len(self.weight)} weights; there must be one"
                " for each"
            )
        if len(self.features) == 0:
            raise DataError(f"{self.name}: there are no samples in it")
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.features, self.target))

    @property
    def is_table(self) -> bool:
        """Whether the features are a table with columns of any kind, rather than an array of numbers."""
        return not isinstance(self.features, np.ndarray)

    def take(self, rows: Array) -> Source:
        """The same with these rows only."""
        features = self.features[rows] if isinstance(self.features, np.ndarray) else self.features[rows.tolist()]
        target, weight = (None if array is None else array[rows] for array in (self.target, self.weight))
        return replace(self, features=features, target=target, weight=weight)

    def sample(self, row: int) -> Sample:
        """The sample at this place, counted from 0."""
        # A list of a slice, not of an entry: entries of an object array are Python's already.
        target = None if self.target is None else self.target[row : row + 1].tolist()[0]
        values, picture = None, None
        if self.is_table:
            values = dict(self.features.row(row, named=True))
        elif self.features.ndim > 2:
            picture = self.features[row]
        else:
            numbers = self.features[row].ravel().tolist()
            names = self.columns or tuple(f"column {k}" for k in range(len(numbers)))
            values = dict(zip(names, numbers, strict=True))
        return Sample(self.name, row + 1, values, picture, self.target_name, target)

    def __len__(self) -> int:
        return len(self.features)


def fingerprint(*parts: Any) -> str:
    """A SHA-256 hash of bytes, arrays and frames."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            digest.update(part)
        elif isinstance(part, np.ndarray):
            digest.update(repr((part.shape, part.dtype.str)).encode())
            digest.update(
                np.ascontiguousarray(part).tobytes() if part.dtype != object else repr(part.tolist()).encode()
            )
        elif part is not None:
            digest.update(repr(part.schema).encode())
            digest.update(part.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def from_table(
    name: str,
    frame: pl.DataFrame,
    target: str | None,
    drop: Sequence[str] = (),
    task: str | None = None,
    fingerprint: str = "",
) -> Source:
    """A source from a table, one column of which is the target: the last, unless it is named."""
    for column in (*drop, *([target] if target is not None else [])):
        if column not in frame.columns:
            raise DataError(f"{name}: {unknown('column', column, frame.columns)}")
    frame = frame.drop(list(drop))
    if len(frame.columns) < 2:
        raise DataError(f"{name}: it needs two columns or more, one to predict and one to predict it from")
    chosen = frame.columns[-1] if target is None else target
    if chosen not in frame.columns:
        raise DataError(f"{name}: the column {chosen!r} can't be the target and be left out as well")
    features = frame.drop(chosen)
    check_finite(name, features)
    return Source(name, features, target_column(name, frame, chosen, task), chosen, task, fingerprint)


def check_finite(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError, with row and column, for infinity and NaN. (A missing value is an empty cell, and no error.)"""
    for column in frame.iter_columns():
        if column.dtype.is_float():
            for what, bad in (("infinity", column.is_infinite()), ("NaN", column.is_nan())):
                if bad.any():
                    row = int(bad.fill_null(False).arg_max() or 0) + 1
                    raise DataError(
                        f"{name}, row {row}, column {column.name!r}: {what} is no number to learn from; "
                        "correct the cell, or leave it empty if the value is missing"
                    )


def check_types(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError for a text among numbers, which would make names of them all."""
    import polars as pl

    for column in frame.iter_columns():
        if column.dtype == pl.String and _nearly_numeric(column):
            row = int((column.cast(pl.Float64, strict=False).is_null() & column.is_not_null()).arg_max() or 0)
            raise DataError(
                f"{name}, row {row + 1}, column {column.name!r}: {column[row]!r} is no number, but nearly all others"
                " are; correct the cell, leave it empty if the value is missing, or leave out the column (--drop"
                f" {column.name!r})"
            )


def _nearly_numeric(column: pl.Series) -> bool:
    """Whether a column of texts is one of numbers with a few mistakes in it."""
    import polars as pl

    there = column.drop_nulls()
    numbers = there.cast(pl.Float64, strict=False).drop_nulls()
    return numbers.n_unique() > 10 and len(numbers) >= 0.9 * len(there)


def check_constant(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError for a column that has the same value in every row."""
    for column in frame.iter_columns():
        if column.n_unique() == 1 and len(column) > 1:
            raise DataError(
                f"{name}, column {column.name!r}: every row has the same value, which tells nothing; "
                f"leave the column out (--drop {column.name!r})"
            )


def target_column(name: str, frame: pl.DataFrame, column: str, task: str | None) -> Array:
    """The target as an array, after checks that every row has one and that numbers are numbers."""
    import polars as pl

    values = frame[column]
    missing = values.is_null() | (values.is_nan() if values.dtype.is_float() else False)
    if missing.any():
        raise DataError(
            f"{name}, row {int(missing.arg_max() or 0) + 1}, column {column!r}: the target is missing or NaN; fill it"
            " in or remove the row"
        )
    if values.dtype == pl.String and task != "classification" and (task == "regression" or _nearly_numeric(values)):
        row = int(values.cast(pl.Float64, strict=False).is_null().arg_max() or 0)
        raise DataError(
            f"{name}, row {row + 1}, column {column!r}: {values[row]!r} is no number, but the target is numeric;"
            " correct the cell, or say --task classification if these are names"
        )
    if values.dtype.is_temporal():
        raise DataError(
            f"{name}, column {column!r}: the target is a date or time, which can't be predicted as it is; make it a"
            " number, such as days"
        )
    return values.cast(pl.String).to_numpy() if values.dtype in (pl.Categorical, pl.Enum) else values.to_numpy()
