"""A table of time series with a row for each step of each, in the order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import check_cells, kind_of, shortened
from chainrule.data.series import Frequency, Times, frequency_of, times_in
from chainrule.data.source import LARGEST
from chainrule.data.tables import NO_WORDS, numbers
from chainrule.errors import DataError, SettingError, nearest, setting

if TYPE_CHECKING:
    import polars as pl

MOST_FILLED, FEW = 20, 10_000
"""At most so many times as many rows as were read, or FEW more, are filled in."""


class Grid(NamedTuple):
    """Series on their grid of times, one after another.

    Attributes:
        frame: the table as it was read, with a row for each step; one that is missing is null
        target: (rows,) the target; NaN where it is missing
        times: (rows,) the number of each row's time
        starts: (series + 1,) the first row of each series, and the end of the last
        names: the names of the series; one that is empty if there is a single one
        frequency: how far apart the times are
        dropped: the series that have no target at all
    """

    frame: pl.DataFrame
    target: Array
    times: Array
    starts: Array
    names: tuple[str, ...]
    frequency: Frequency
    dropped: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """The number of missing targets."""
        return int(np.isnan(self.target).sum())


def on_grid(
    name: str,
    frame: pl.DataFrame,
    time: str,
    target: str,
    series: str | None = None,
    frequency: Frequency | None = None,
    zone: str = "",
) -> Grid:
    """The series in a table, whose rows may be in any order.

    A series begins with its first and ends with its last known target; steps in between that have
    no row get one.

    Args:
        name: used in error messages
        frame: the table
        time, target, series: the columns of times, of what is forecast, and of names of series
        frequency: that of the training data; inferred by default
        zone: the time zone of the times, if it is known

    Raises:
        DataError: with the row, for what is no time, no number, or there twice
    """
    for what, column in (("time", time), ("target", target), ("series", series)):
        check_column(name, frame, what, column)
    found = times_in(name, frame[time], zone)
    _check_zone(name, time, found, frequency)
    y, ids = _target(name, frame[target]), _ids(name, frame, series)
    groups, order = ids.unique(maintain_order=True), np.lexsort((found.values, _codes(ids)))
    known = np.flatnonzero(~np.isnan(y[order]))
    if not len(known):
        raise DataError(f"{name}, column {shortened(target)!r}: every value is missing; there is nothing to learn")
    codes = _codes(ids)[order]
    bounds = np.searchsorted(codes, np.arange(len(groups) + 1))
    spans, names = list[Array](), list[str]()
    for k, group in enumerate(groups.to_list()):
        own = known[(known >= bounds[k]) & (known < bounds[k + 1])]
        if len(own):
            spans.append(order[own[0] : own[-1] + 1])
            names.append(group)
    for span, group in zip(spans, names, strict=True):
        _check_once(name, frame, found, span, (time, series, group))
    of_each = [found.values[span] for span in spans]
    if frequency is None:
        frequency = frequency_of(f"{name}, column {shortened(time)!r}", of_each, found.zone, found.is_date)
    rows, numbered = zip(*(_filled(name, time, frequency, found, span) for span in spans), strict=True)
    index, starts = np.concatenate(rows), np.cumsum([0, *map(len, rows)])
    dropped = tuple(group for group in groups.to_list() if group not in names)
    values = np.where(index < 0, np.nan, y[index])
    return Grid(_taken(frame, index), values, np.concatenate(numbered), starts, tuple(names), frequency, dropped)


def check_column(name: str, frame: pl.DataFrame, what: str, column: str | None) -> None:
    """Raise DataError unless a table has this column, which was chosen for this."""
    if column is not None and column not in frame.columns:
        match = nearest(column, frame.columns)
        hint = f"did you mean {match!r}?" if match else f"its columns are {', '.join(frame.columns[:10])}"
        raise DataError(f"{name}: it has no column {column!r}, chosen as {setting(what)}; {hint}")


def _check_zone(name: str, time: str, found: Times, frequency: Frequency | None) -> None:
    """Raise DataError for times of another kind than those of the training data."""
    if frequency is None:
        return
    are_numbers = found.values.dtype.kind != "M"
    if are_numbers != (frequency.unit == "number") or bool(found.zone) != bool(frequency.zone):
        kinds = {True: "whole numbers", False: "dates"}
        here = "times with a time zone" if found.zone else kinds[are_numbers]
        there = f"times in {frequency.zone}" if frequency.zone else kinds[frequency.unit == "number"]
        raise DataError(f"{name}, column {shortened(time)!r}: it holds {here}, that of the training data {there}")


def _target(name: str, column: pl.Series) -> Array:
    """The target as numbers, NaN where it is missing."""
    import polars as pl

    if kind_of(column) == "text":
        texts = column.cast(pl.String)
        column = texts.set(texts.is_in(NO_WORDS), None)
        figures = numbers(column)
        problem = "{value!r} is not a number, which a forecast needs"
        check_cells(name, column, figures.is_null() & column.is_not_null(), problem)
        column = figures
    if kind_of(column) not in ("number", "boolean") and column.null_count() < len(column):
        where = f"{name}, column {shortened(column.name)!r}"
        raise DataError(f"{where}: it holds no numbers, but {column.dtype}; name another ({setting('target')})")
    figures = column.cast(pl.Float64).fill_nan(None)
    check_cells(name, figures, figures.abs() > LARGEST, "{value} is too large, or not finite; correct it")
    return figures.to_numpy().astype(np.float64)


def _ids(name: str, frame: pl.DataFrame, series: str | None) -> pl.Series:
    """The name of the series of each row."""
    import polars as pl

    if series is None:
        return pl.Series([""]).new_from_index(0, len(frame))
    column = frame[series]
    if kind_of(column) not in ("text", "category", "number", "boolean"):
        raise SettingError(f"{name}, column {series!r}: it holds {column.dtype}, which can't name series")
    check_cells(name, column, column.is_null(), "the name of the series is missing; fill it in")
    return column.cast(pl.String)


def _codes(ids: pl.Series) -> Array:
    """The series of each row as a number, in the order in which they first occur."""
    import polars as pl

    groups = ids.unique(maintain_order=True)
    return ids.replace_strict(groups, range(len(groups)), return_dtype=pl.Int64).to_numpy()


def _check_once(
    name: str, frame: pl.DataFrame, found: Times, span: Array, by: tuple[str, str | None, str]
) -> None:  # fmt: skip
    """Raise DataError if a series, whose rows these are in the order of time, has a time twice."""
    time, series, group = by
    twice = np.flatnonzero(found.values[span][1:] == found.values[span][:-1])
    if not len(twice):
        return
    first, second = sorted(span[twice[0] : twice[0] + 2].tolist())
    of_series = f" of {group!r}" if series is not None else ""
    problem = f"row {first + 1} has the same time ({_shown(frame[time][second])}){of_series}"
    remedy = "remove one of them"
    if series is None:
        remedy = f"name the column that tells series apart ({setting('series')}), or remove one"
        if found.values.dtype.kind == "M" and not found.is_date and not found.zone:
            remedy += "; where clocks were set back, write the offset from UTC, as in 2024-10-27T02:00+01:00"
    raise DataError(f"{name}, row {second + 1}, column {shortened(time)!r}: {problem}; {remedy}")


def _shown(time: object) -> str:
    return str(time).removesuffix(" 00:00:00")


def _filled(
    name: str, time: str, frequency: Frequency, found: Times, span: Array
) -> tuple[Array, Array]:  # fmt: skip
    """The rows of a series with -1 for each that is missing, and the numbers of their times."""
    times = frequency.numbers(found.values[span])
    off = np.flatnonzero(times == -(2**62))
    where = f"{name}, column {shortened(time)!r}"
    if len(off):
        one = str(found.values[span[off[0]]]).replace("T", " ").removesuffix(".000000")
        problem = f"row {int(span[off[0]]) + 1} has the time {one}, which is not on the grid of the training data"
        raise DataError(f"{where}: {problem} ({frequency.words}); correct it, or remove the row")
    count = int(times[-1] - times[0]) + 1
    if count > MOST_FILLED * len(span) + FEW:
        apart = int(np.argmax(np.diff(times)))
        last, after = frequency.written(times[apart : apart + 2])
        problem = f"between {last} and {after}, {int(np.diff(times).max()) - 1:,} rows are missing ({frequency.words})"
        raise DataError(f"{where}: {problem}; correct the times")
    rows = np.full(count, -1, dtype=np.int64)
    rows[times - times[0]] = span
    return rows, times[0] + np.arange(count)


def _taken(frame: pl.DataFrame, index: Array) -> pl.DataFrame:
    """These rows of a table; null for -1."""
    import polars as pl

    if (index < 0).any():
        picked = pl.Series(index)
        return frame.select(pl.all().gather(picked.set(picked < 0, None)))
    return frame[index]
