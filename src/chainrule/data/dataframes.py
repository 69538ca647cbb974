"""Data frames and arrays, which stand for each other: frames of pandas and polars, samples given
apart from their targets, and a table's columns as those of an array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.barrier import guarded
from chainrule.data.columns import as_kind, check_cells, check_usable
from chainrule.data.files import checked_targets, source_from_arrays
from chainrule.data.picture_files import PictureFiles
from chainrule.data.source import Source, check_finite, from_table, joined, order_of, without
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

    from chainrule.data.targets import Target


def is_frame(what: Any) -> bool:
    """Whether this is a pandas or polars frame. Asking a LazyFrame itself would be slow."""
    return all(hasattr(type(what), name) for name in ("columns", "dtypes"))


def as_polars(frame: Any) -> pl.DataFrame:
    """A pandas or polars DataFrame as a polars one; NaN, which is missing, becomes null."""
    import polars as pl

    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pl.DataFrame):
        frame = frame.with_columns(map(_without_objects, frame.select(pl.col(pl.Object)).iter_columns()))
        return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))
    names = [str(name) for name in frame.columns]  # pandas allows any object
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"table: two columns are named {name!r}; rename one of them")
    columns = []
    for position, name in enumerate(names):
        series = frame.iloc[:, position]
        missing = series.isna().to_numpy()
        if series.dtype.kind in "Mm":
            if getattr(series.dtype, "tz", None) is not None:
                series = series.dt.tz_convert("UTC").dt.tz_localize(None)
            kind = {"M": "datetime64[us]", "m": "timedelta64[us]"}[series.dtype.kind]
            values = series.to_numpy().astype(kind)
        elif series.dtype.kind in "iufb" and not missing.any():
            values = series.to_numpy()
        else:
            values = [None if null else value for value, null in zip(series.tolist(), missing, strict=True)]
        with guarded(f"table, column {name!r}: its values can't be read"):
            columns.append(_without_objects(pl.Series(name, values, strict=False)))
    return pl.DataFrame(dict(zip(names, columns, strict=True)))  # from a list, the name "" would be lost


def _without_objects(column: pl.Series) -> pl.Series:
    """A column; without its values if they are Python objects, on which polars may panic."""
    import polars as pl

    return pl.Series(column.name, [None] * len(column), pl.Binary) if column.dtype == pl.Object else column


def samples_of(x: Any) -> Source:
    """Samples without targets, from a frame or an array."""
    table = _table(x)
    return source_from_arrays(x, None) if table is None else Source("table", table, None)


def _table(x: Any) -> pl.DataFrame | None:
    """Samples that are a table: a frame, or an array of texts, or of texts and numbers, whose
    columns have no names of their own. None for an array of numbers.
    """
    if is_frame(x):
        return as_polars(x)
    array = np.asarray(x) if not isinstance(x, tuple) else np.zeros(0)
    is_table = array.dtype.kind in "OU" and array.ndim in (1, 2) and array.size
    return _table_of(array.reshape(len(array), -1)) if is_table else None


def _unnamed(count: int) -> list[str]:
    """The names of an array's columns as a table, which are those of scikit-learn."""
    return [f"x{k}" for k in range(count)]


def _table_of(array: Array) -> pl.DataFrame:
    import polars as pl

    columns = {}
    for name, values in zip(_unnamed(array.shape[1]), array.T.tolist(), strict=True):
        known = [None if value is None or value != value else value for value in values]
        with guarded(f"arrays, column {name!r}: its values can't be read"):
            columns[name] = _without_objects(pl.Series(name, known, strict=False))
    return pl.DataFrame(columns)


def from_pair(
    x: Any, y: Any, task: str | None = None, drop: Sequence[str] = (), read: Mapping[str, str] | None = None
) -> Source:
    """Samples and their targets, each a frame or an array.

    Args:
        x: the samples
        y: (samples,) the targets, (samples, columns) for several, as an array, a series or a frame
        task: "classification", "regression" or "multilabel", if known
        drop: columns of a frame to leave out
        read: what to read a frame's columns as

    Raises DataError, with row and column, for what can't be used.
    """
    table = _table(x)
    name, columns = names_of_targets(y)
    if table is None:
        source = source_from_arrays(x, y, task=task)
        return replace(source, target_name=name, target_columns=columns, order=order_of(only_column(y)))
    check_usable("table", table)
    features = without("table", table, drop, read or {})
    if not features.columns:
        raise DataError("table: no column is left to learn from")
    targets = checked_targets("table", y)
    return Source("table", features, targets, name, task, target_columns=columns, order=order_of(only_column(y)))


def from_frame(
    frame: Any, target: str | Sequence[str] | None, drop: Sequence[str], task: str | None, read: Mapping[str, str]
) -> Source:
    """A source from a pandas or polars frame; the arguments are those of `from_table`."""
    source = from_table("table", as_polars(frame), target, drop, task, read=read)
    if source.target_columns or not hasattr(frame, "iloc"):
        return source
    position = [str(name) for name in frame.columns].index(source.target_name)
    return replace(source, order=order_of(_column(frame, position)))


def only_column(y: Any) -> Any:
    """The column of a frame that has one; else what is given."""
    return _column(y, 0) if is_frame(y) and len(y.columns) == 1 else y


def _column(frame: Any, position: int) -> Any:
    return frame.iloc[:, position] if hasattr(frame, "iloc") else frame[frame.columns[position]]


def names_of_targets(y: Any) -> tuple[str, tuple[str, ...]]:
    """The name of a target that is passed apart, "y" if it has none, and those of its columns if it
    has several.
    """
    columns = tuple(map(str, y.columns)) if is_frame(y) else ()
    if len(columns) > 1:
        return joined(columns), columns
    return columns[0] if columns else str(getattr(y, "name", None) or "y"), ()


def as_table(source: Source, columns: Sequence[str], kinds: Mapping[str, str]) -> pl.DataFrame:
    """Samples as a table with these columns, of these kinds; an array has them in this order.

    Raises DataError if an array has other columns.
    """
    import polars as pl

    if source.is_table:
        names = source.features.columns
        is_unnamed = names == _unnamed(len(columns)) and not {*names} & {*columns}
        return source.features.rename(dict(zip(names, columns, strict=True))) if is_unnamed else source.features
    array = source.features
    if array.shape[1:] != (len(columns),):
        trained = f"the training data is a table with the columns {joined(columns)}"
        raise DataError(f"{source.name}: samples of shape {array.shape[1:]}, but {trained}; pass these {len(columns)}")
    table = {}
    for name, values in zip(columns, array.T, strict=True):
        is_text = kinds.get(name) in ("text", "category") and np.array_equal(values, np.round(values))
        table[name] = pl.Series(name, values.astype(np.int64) if is_text else values)  # 1, as it is written in a table
    return pl.DataFrame(table)


def without_target(source: Source, columns: Sequence[str], shape: Shape, target: Target) -> Source:
    """Samples of a table without the target's columns, for a network that knows its columns by
    their order alone, such as an imported one: those of the target's name, or a text of its
    classes. Other samples stay as they are.
    """
    if not source.is_table or columns or len(shape) != 1 or source.features.width <= shape[0]:
        return source
    import polars as pl

    frame = source.features
    own = [name for name in target.names if name in frame.columns]
    if not own and target.classes:
        classes = [*map(str, target.classes)]
        texts = (column for column in frame.iter_columns() if column.dtype == pl.String)
        own = [column.name for column in texts if column.drop_nulls().is_in(classes).all()]
    fits = frame.width - len(own) == shape[0]
    return replace(source, features=frame.drop(own)) if fits else source


def as_array(source: Source, columns: Sequence[str], shape: Shape) -> Array | PictureFiles:
    """Samples as an array of samples of this shape: a table's columns by these names, or in their
    order if the array had none.

    Raises DataError if a table has other columns, or values that are missing or no numbers.
    """
    if not source.is_table:
        return source.features if isinstance(source.features, PictureFiles) else np.asarray(source.features)
    frame, name = source.features, source.name
    if len(shape) != 1:
        raise DataError(f"{name}: it is a table, but the training data is an array")
    if columns and {*columns} <= {*frame.columns}:
        frame = frame.select(columns)
    if frame.width != shape[0]:
        missing = [f"; {column!r} is missing" for column in columns if column not in frame.columns][:1]
        unnamed = f"the network takes {shape[0]}, whose names it does not know; pass these alone, in their order"
        trained = f"the training data has {shape[0]}" + "".join(missing) if columns else unnamed
        raise DataError(f"{name}: it has {frame.width} columns, but {trained}")
    numbers = [as_kind(name, column, "number", "as in the training data") for column in frame.iter_columns()]
    for column in numbers:
        problem = "it is missing; the training data has numbers without gaps"
        check_cells(name, column, column.is_null(), problem)
        check_finite(name, column.to_frame())
    return np.column_stack([column.to_numpy() for column in numbers])
