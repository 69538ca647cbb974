"""The windows of time series as samples of a forecast.

A sample is a window of so many steps, and its target the next steps of the same series. A row of a
window has what is known at its time, and of the calendar what is known `horizon` steps later: so
the window holds the calendar of the steps to forecast, and nothing else of them. The end of the
time is held out. Windows are views of one array, the prepared rows of all series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from chainrule.arrays import Array, Samples, Scaled, Shape
from chainrule.data.encoders import missing
from chainrule.data.prepared import Prepared, prepared
from chainrule.data.series import Frequency, Series
from chainrule.data.series_grid import Grid
from chainrule.errors import DataError, setting

if TYPE_CHECKING:
    from chainrule.data.preparation import Preparation

PART = 1_000_000
"""The numbers that are compared at a time."""
DEFAULT_LENGTH = 24
"""The least steps of a window, unless the series is too short for that."""


@dataclass(frozen=True)
class Windows:
    """Windows of consecutive rows, which stand for an array (windows, length, columns).

    Attributes:
        rows: (rows, columns) the rows, in float32
        first: (windows,) the first row of each
        length: the number of rows of each
    """

    rows: Prepared
    first: Array
    length: int

    dtype, ndim = np.dtype(np.float32), 3

    @property
    def shape(self) -> Shape:
        """(windows, length, columns)."""
        return (len(self.first), self.length, self.rows.shape[1])

    @property
    def size(self) -> int:
        """The number of numbers."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, which: Any) -> Array:
        return _every(self.rows, self.length)[self.first[which]]

    def take(self, which: Array, axis: int = 0) -> Array:
        """These windows."""
        return self[which]


def _every(rows: Prepared, length: int) -> Array:
    """All windows of so many rows, as a view."""
    count = max(0, len(rows) - length + 1)
    across, along = rows.strides
    return as_strided(rows, (count, length, rows.shape[1]), (across, across, along), subok=True, writeable=False)


def windows(rows: Prepared, first: Array, length: int) -> Array | Scaled:
    """The windows that begin with these rows: a view if they begin one row after another."""
    if len(first) and first[-1] - first[0] + 1 == len(first):
        return _every(rows, length)[first[0] : first[-1] + 1]
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    return Scaled(Windows(rows, first, length), one, zero)


class Cuts(NamedTuple):
    """The times from which steps are forecast to validate, and to test, and the end of all."""

    validation: int
    test: int
    end: int


def cuts(name: str, grid: Grid, horizon: int, validation: float, test: float) -> Cuts:
    """Where the time is divided: each set has at least the steps of one forecast."""
    begin, end = int(grid.times.min()), int(grid.times.max()) + 1
    counts = [max(round(share * (end - begin)), horizon) if share else 0 for share in (validation, test)]
    found = Cuts(end - sum(counts), end - counts[1], end)
    if found.validation - begin < horizon + 2:
        kept = " and ".join(f"{count:,} to {use}" for count, use in zip(counts, ("validate", "test"), strict=True))
        problem = f"of {end - begin:,} steps, {kept} leave {max(0, found.validation - begin):,} to train on"
        remedy = f"use more rows, or a shorter {setting('horizon')} than {horizon:,}"
        raise DataError(f"{name}: {problem}, too few for forecasts of {horizon:,} steps; {remedy}")
    return found


def lengths(
    name: str, frequency: Frequency, longest: int, horizon: int, length: int | None, season: int | None
) -> tuple[int, int]:
    """The steps of a window, and of a season; raises DataError if there is no room for them.

    Args:
        name: used in messages
        frequency: from which the season follows
        longest: the steps to train on of the longest series
        horizon: the steps to forecast
        length, season: what was chosen; None for what suits
    """
    room = longest - horizon
    if season is None:
        season = frequency.season if frequency.season <= max(room // 2, 1) else 1
    if length is None:
        seasons = 7 if season == 24 else 4 if season <= 7 else 2
        length = max(season, min(max(seasons * season, 2 * horizon, DEFAULT_LENGTH), room // 2))
    if length < season:
        problem = f"a window of {length:,} steps is shorter than a season of {season:,}, which the naive forecast takes"
        raise DataError(f"{name}: {problem}; choose a longer {setting('length')}, or a shorter {setting('season')}")
    if length > room:
        taken = f"a window and its forecast take {length:,} + {horizon:,} steps"
        remedy = f"use more rows, or a shorter {setting('length')} or {setting('horizon')}"
        raise DataError(f"{name}: {taken}, but there are {longest:,} to train on; {remedy}")
    return length, season


def has_season(grid: Grid, season: int, horizon: int, end: int) -> bool:
    """Whether repeating the last season forecasts better than repeating the last value, on average
    over so many steps, up to this time; without enough steps to tell, it is taken to.
    """
    errors, ahead = np.zeros((2, 0)), np.arange(1, horizon + 1)
    for start, stop in zip(grid.starts[:-1], grid.starts[1:], strict=True):
        y = grid.target[start : start + max(0, int(end - grid.times[start]))][: stop - start]
        last = np.arange(season - 1, len(y) - horizon)
        for rows in np.array_split(last, 1 + len(last) * horizon // PART):  # some at a time
            truth = y[rows[:, None] + ahead]
            naive = y[rows[:, None] + 1 - season + (ahead - 1) % season], y[rows][:, None]
            found = np.array([np.abs(truth - each).ravel() for each in naive])
            known = ~np.isnan(found).any(axis=0)
            errors = np.concatenate([errors, [[found[0, known].sum()], [found[1, known].sum()]]], axis=1)
    return bool(season > 1 and errors[0].sum() <= errors[1].sum())


def origins(grid: Grid, series: Series) -> Array:
    """The rows from which a forecast is possible and can be compared: the last ones of a window,
    after which the target is known for the whole horizon.
    """
    known = ~np.isnan(grid.target)
    found = [np.zeros(0, dtype=np.int64)]
    for start, stop in zip(grid.starts[:-1], grid.starts[1:], strict=True):
        if stop - start >= series.length + series.horizon:
            whole = sliding_window_view(known[start + series.length : stop], series.horizon).all(axis=1)
            found.append(start + series.length - 1 + np.flatnonzero(whole))
    return np.concatenate(found)


def of_parts(grid: Grid, series: Series, rows: Array, at: Cuts) -> tuple[Array, Array, Array]:
    """The rows whose forecasts are all for training, all for validation, or all for the test."""
    first, last = grid.times[rows] + 1, grid.times[rows] + series.horizon
    training, test = last < at.validation, first >= at.test
    return rows[training], rows[(first >= at.validation) & (last < at.test)], rows[test]


def filled(target: Array, season: int) -> Array:
    """A series in which missing values are those of a season before, or else the last known."""
    size = -(-len(target) // season) * season
    known = np.full(size, False)
    known[: len(target)] = ~np.isnan(target)
    rows = np.where(known, np.arange(size), -1).reshape(-1, season)
    source = np.maximum.accumulate(rows, axis=0).ravel()[: len(target)]
    before = np.maximum.accumulate(np.where(known, np.arange(size), -1))[: len(target)]
    return target[np.where(source >= 0, source, before)]


def inputs(grid: Grid, series: Series) -> Any:
    """The table that windows are cut from: the target, the calendar `horizon` steps later, and the
    other columns.
    """
    import polars as pl

    spans = [slice(start, stop) for start, stop in zip(grid.starts[:-1], grid.starts[1:], strict=True)]
    columns = {series.target: np.concatenate([filled(grid.target[span], series.season) for span in spans])}
    if series.marks_missing:
        columns[missing(series.target)] = np.isnan(grid.target).astype(np.float64)
    found = series.frequency.calendar(grid.times + series.horizon, series.cycles)
    columns |= {f"{series.later}_{part}": values for part, values in found.items()}
    used = [name for name in (series.time, series.target, series.by) if name is not None]
    return pl.DataFrame(columns).hstack(grid.frame.drop(used))


def samples(preparation: Preparation, rows: Prepared, grid: Grid, at: Array) -> Samples | None:
    """The windows that end with these rows, each with the next steps; None if there are none."""
    series = preparation.series
    assert series is not None
    if not len(at):
        return None
    x = windows(rows, at - series.length + 1, series.length)
    target = preparation.target
    scaled = (grid.target - target.mean[0]) / target.deviation[0]
    y = sliding_window_view(scaled, series.horizon)[at + 1]
    return Samples(x, prepared(np.ascontiguousarray(y)))


def last_rows(name: str, grid: Grid, series: Series) -> Array:
    """The last row of each series, with which the window ends that a forecast takes.

    Raises DataError for a series that is too short.
    """
    for group, count in zip(grid.names, np.diff(grid.starts).tolist(), strict=True):
        if count < series.length:
            whose = f"the series {group!r} has {count:,} steps" if series.by else f"there are {count:,} steps"
            problem = f"{whose}, but a forecast takes the last {series.length:,}"
            raise DataError(f"{name}: {problem}; pass more of what was before")
    return grid.starts[1:] - 1
