"""From a table of time series to a data set of windows, of which the end is held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data import series_windows, splits
from chainrule.data.builtin import BUILTIN
from chainrule.data.columns import check_read, reread, shortened, texts
from chainrule.data.dataframes import as_polars, is_frame
from chainrule.data.dataset import Dataset
from chainrule.data.patterns import names, read_table
from chainrule.data.preparation import Preparation, fit_table
from chainrule.data.prepared import prepared
from chainrule.data.series import DAY, Series
from chainrule.data.series_grid import Grid, on_grid
from chainrule.data.series_tables import SeriesTable
from chainrule.data.source import Source, check_finite, check_types, fingerprint
from chainrule.data.splits import Split
from chainrule.data.targets import Target
from chainrule.errors import DataError, at_least, require, setting, unknown

if TYPE_CHECKING:
    import polars as pl


class Found(NamedTuple):
    """A table of series, as it was read.

    Attributes:
        name: its name in messages
        frame: the table
        content_hash: SHA-256 hash of what was read
        files: the names of the files that a pattern matched
        zone: the time zone of the times, if the table lacks it
        builtin: what a built-in table holds; None for others
    """

    name: str
    frame: pl.DataFrame
    content_hash: str
    files: tuple[str, ...] = ()
    zone: str = ""
    builtin: SeriesTable | None = None


def is_series(what: Any) -> bool:
    """Whether this is the name of built-in series."""
    return isinstance(what, str) and what in BUILTIN and BUILTIN[what].series is not None


def find_table(what: Any, time: str | None, read: Mapping[str, str] | None = None) -> Found:
    """The table of series that this names, or is; raises DataError if it is none."""
    if is_series(what):
        load = BUILTIN[what].series
        assert load is not None
        table = load()
        return Found(what, table.frame, fingerprint(table.frame), builtin=table)
    if isinstance(what, str | Path):
        path, is_known = Path(what), str(what) in BUILTIN
        if is_known or path.is_dir() or path.suffix.lower() == ".npz":
            raise DataError(f"{what}: it is no table with a column of times, which a forecast takes")
        if not path.suffix and not path.exists():
            raise DataError(f"{unknown('data set', str(what), BUILTIN)} (there is no such file either)")
        check_read(read or {})
        frame, content_hash = read_table(path, texts(read or {}))
        return Found(str(path), frame, content_hash, names(path))
    if not is_frame(what):
        raise DataError(f"can't forecast {type(what).__name__}; pass a file or a data frame with a column of times")
    index = getattr(getattr(what, "index", None), "name", None)
    if time is not None and index is not None and str(index) == time and time not in map(str, what.columns):
        what = what.reset_index()
    frame = as_polars(what)
    return Found("table", frame, fingerprint(frame), zone=_zone(what, time))


def _zone(frame: Any, time: str | None) -> str:
    """The time zone of a column of pandas, which is lost where it becomes one of polars."""
    column = next((frame[name] for name in frame.columns if str(name) == time), None)
    return str(getattr(getattr(column, "dtype", None), "tz", None) or "")


def grid_of(found: Found, series: Series, reading: Mapping[str, str]) -> Grid:
    """The series in a table that is like that of the training data."""
    frame, time = reread(found.name, found.frame, _known(found.frame, reading)), series.time
    return on_grid(found.name, frame, time, series.target, series.by, series.frequency, found.zone)


def _known(frame: pl.DataFrame, reading: Mapping[str, str]) -> dict[str, str]:
    return {name: kind for name, kind in reading.items() if name in frame.columns}


def last_windows(preparation: Preparation, what: Any) -> tuple[Grid, Any]:
    """The series in new data, and the window at the end of each."""
    series = preparation.series
    assert series is not None
    found = find_table(what, series.time)
    grid = grid_of(found, series, preparation.texts)
    ends = series_windows.last_rows(found.name, grid, series)
    rows = rows_of(found.name, preparation, grid)
    return grid, series_windows.windows(rows, ends - series.length + 1, series.length)


def labelled_windows(preparation: Preparation, what: Any) -> Samples:
    """All windows of new data after which the target is known; raises DataError if there are
    none.
    """
    series = preparation.series
    assert series is not None
    found = find_table(what, series.time)
    grid = grid_of(found, series, preparation.texts)
    at = series_windows.origins(grid, series)
    samples = series_windows.samples(preparation, rows_of(found.name, preparation, grid), grid, at)
    if samples is None:
        taken = f"{series.length:,} steps, and the target of the {series.horizon:,} after them"
        raise DataError(f"{found.name}: no series has {taken}; pass more of what was before")
    return samples


def rows_of(name: str, preparation: Preparation, grid: Grid) -> Any:
    """(rows, columns) the prepared rows that windows are cut from."""
    series = preparation.series
    assert series is not None
    frame = series_windows.inputs(grid, series)
    missing = [column for column, _ in preparation.columns if column not in frame.columns]
    if missing:
        raise DataError(f"{name}: it has no column {missing[0]!r}, which the network was trained on")
    return prepared(preparation.encode(name, frame))


def load_series(
    what: Any,
    *,
    time: str | None = None,
    target: str | Sequence[str] | None = None,
    horizon: int | None = None,
    series: str | None = None,
    season: int | None = None,
    length: int | None = None,
    drop: Sequence[str] = (),
    read: Mapping[str, str] | None = None,
    validation: Any = 0.1,
    test: Any = 0.2,
    scale_target: bool = True,
    preparation: Preparation | None = None,
) -> tuple[Dataset, Series]:
    """The windows of series, of which the latest are held out, and how they were read; `load` says
    what the arguments are.
    """
    found = find_table(what, time, read)
    if preparation is None and found.builtin is not None:
        own = found.builtin
        time, target, series = time or own.time, target or own.target, series or own.by
        horizon = own.horizon if horizon is None else horizon
    frame, target = _read(found, time, target, drop, read or {})
    assert time is not None
    before = None if preparation is None else preparation.series
    frequency = None if before is None else before.frequency
    grid = on_grid(found.name, frame, time, target, series, frequency, found.zone)
    shares = [splits.checked_share(name, part) for name, part in (("validation", validation), ("test", test))]
    plan = before or _chosen(found.name, grid, (time, target, series), (horizon, season, length), shares)
    at = series_windows.cuts(found.name, grid, plan.horizon, shares[0], shares[1])
    if preparation is None:
        preparation = _fit(found.name, grid, plan, at.validation, scale_target)
    plan = preparation.series or plan
    every = series_windows.origins(grid, plan)
    parts = series_windows.of_parts(grid, plan, every, at)
    if not len(parts[0]):
        raise _no_windows(found.name, grid, plan)
    rows = rows_of(found.name, preparation, grid)
    training, held_out, tested = (series_windows.samples(preparation, rows, grid, part) for part in parts)
    assert training is not None
    source = Source(
        found.name, grid.frame, grid.target, target, "regression", found.content_hash, files=found.files,
        names=grid.times, series=plan,
    )  # fmt: skip
    used, of_validation, of_test = (part if len(part) else None for part in parts)
    data = Dataset(
        training, held_out, tested, preparation.target, preparation, found.name, found.content_hash, None, source,
        used, of_validation, of_test, split=Split("time", time), found=tuple(_notes(grid, plan, at, parts)),
    )  # fmt: skip
    return data, plan


def _read(
    found: Found, time: str | None, target: Any, drop: Sequence[str], read: Mapping[str, str]
) -> tuple[pl.DataFrame, str]:
    """The table with the columns that are used, as the user wants them read, and the target."""
    require(time is not None, f"{found.name}: name the column of times ({setting('time')})")
    if isinstance(target, list | tuple):
        require(len(target) == 1, f"{found.name}: a forecast has one target, not {len(target)}")
        target = target[0]
    for column in drop:
        if column not in found.frame.columns:
            raise DataError(f"{found.name}: {unknown('column', column, found.frame.columns)}")
    frame = reread(found.name, found.frame.drop(list(drop)), read)
    target = target or frame.columns[-1]
    require(target != time, f"{found.name}: {time!r} can't be both the time and the target; name the target")
    return frame, str(target)


def _chosen(
    name: str, grid: Grid, columns: tuple[str, str, str | None], chosen: tuple[Any, Any, Any], shares: list[float]
) -> Series:
    """How the series are forecast: what was chosen, and for the rest what suits them."""
    horizon, season, length = chosen
    step = f"it takes at least 1 step ({grid.frequency.words})"
    sizes = {"season": season, "length": length}
    for what, size in sizes.items():
        require(size is None or at_least(f"the {what} is {size!r}; {step}", size, 1) > 0, "")
    if horizon is not None:
        horizon = at_least(f"the horizon is {horizon!r}; {step}", horizon, 1)
    horizon = horizon or season or grid.frequency.season
    at = series_windows.cuts(name, grid, horizon, *shares)
    starts, ends = grid.times[grid.starts[:-1]], grid.times[grid.starts[1:] - 1] + 1
    longest = int((np.minimum(ends, at.validation) - starts).max())
    if season is None and not series_windows.has_season(grid, grid.frequency.season, horizon, at.validation):
        season = 1
    length, season = series_windows.lengths(name, grid.frequency, longest, horizon, length, season)
    cycles = grid.frequency.cycles
    if longest < 2 or (grid.frequency.times(np.array([at.validation])) - grid.frequency.times(
            grid.times.min(keepdims=True)))[0].astype(np.int64) < 365 * DAY:  # fmt: skip
        cycles = tuple(cycle for cycle in cycles if cycle != "day_of_year")  # nothing shows what a year does
    in_training = np.isnan(grid.target) & (grid.times < at.validation)
    by = columns[2]
    return Series(columns[0], columns[1], by, horizon, length, season, grid.frequency, cycles, bool(in_training.any()))


def _fit(name: str, grid: Grid, series: Series, end: int, scale_target: bool) -> Preparation:
    """Fit the preparation of rows to those before this time."""
    training = np.flatnonzero(grid.times < end)
    known = grid.target[training][~np.isnan(grid.target[training])]
    where = f"{name}, column {shortened(series.target)!r}"
    if not len(known) or known.min() == known.max():
        value = f"every row has the value {known[0]:g}" if len(known) else "every value is missing"
        raise DataError(f"{where}: in the part to train on {value}; there is nothing to learn")
    frame = series_windows.inputs(grid, series)
    check_types(name, frame)
    check_finite(name, frame)
    rows = Source(name, frame, None, content_hash="-")
    preparation = fit_table(rows, training, Target("regression", series.target))
    if preparation.columns[0][0] != series.target:
        raise DataError(f"{where}: its numbers differ too little to be scaled; use another unit")
    assert preparation.mean is not None
    assert preparation.deviation is not None
    scale = (preparation.mean[0], preparation.deviation[0]) if scale_target else (0.0, 1.0)
    if not scale_target:
        preparation.mean[0], preparation.deviation[0] = scale
    steps = range(1, series.horizon + 1)
    mean, deviation = ((float(part),) * series.horizon for part in scale)
    columns = tuple(f"{series.target}+{step}" for step in steps)
    target = Target("regression", series.target, (), mean, deviation, columns, season=series.season)
    shape = (series.length, *preparation.shape)
    return replace(preparation, kind="series", shape=shape, target=target, series=series, features=())


def _no_windows(name: str, grid: Grid, series: Series) -> DataError:
    """The error where no window has a target after it to train on."""
    counts = np.diff(grid.starts)
    taken = f"a window and its forecast take {series.length:,} + {series.horizon:,} steps"
    if counts.max() >= series.length + series.horizon and grid.missing:
        why = f"in each of them some of the {grid.missing:,} missing values of {series.target} would be forecast"
        return DataError(f"{name}: {taken}, and {why}; choose a shorter {setting('horizon')}, or fill them in")
    remedy = f"use more rows, or a shorter {setting('length')} or {setting('horizon')}"
    return DataError(f"{name}: {taken}, but the longest series has {int(counts.max()):,}; {remedy}")


def _notes(grid: Grid, series: Series, at: series_windows.Cuts, parts: tuple[Array, Array, Array]) -> list[str]:
    """How the series were read, and what was left out."""
    first, last = grid.frequency.written(np.array([grid.times.min(), grid.times.max()]))
    count = f"{len(grid.names):,} series by {series.by!r}: " if series.by else ""
    lines = [f"{count}{grid.frequency.words}, from {first} to {last}"]
    naive = f"a season of {series.season:,} steps" if series.season > 1 else "no season"
    if series.season == 1 < grid.frequency.season:
        naive += f": the last value forecasts as well as the one {grid.frequency.season:,} steps before"
    lines.append(f"windows of {series.length:,} steps, forecasts of {series.horizon:,}; {naive}")
    sets = [("validation", at.validation), ("test", at.test)]
    begun = [f"{name} from {grid.frequency.written(np.array([time]))[0]}"
             for (name, time), part in zip(sets, parts[1:], strict=True) if len(part)]  # fmt: skip
    lines += [", ".join(begun)] * bool(begun)
    if grid.missing:
        left_out = "a forecast of one is left out"
        lines.append(f"{grid.missing:,} of {len(grid.target):,} values of {series.target} are missing; {left_out}")
    if grid.dropped:
        lines.append(f"without a value: {_listed(grid.dropped)}")
    counts = np.diff(grid.starts)
    short = [name for name, steps in zip(grid.names, counts, strict=True) if steps < series.length + series.horizon]
    if short:
        lines.append(f"too short for a window: {_listed(short)}")
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5:,} more series" if len(names) > 5 else "")
