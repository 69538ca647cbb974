"""What follows on the end of time series, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.series import Frequency, Series
from chainrule.data.series_grid import Grid
from chainrule.losses import Loss
from chainrule.runs.predictions import Meaning, ends
from chainrule.summary import Shown, Summary, Table

if TYPE_CHECKING:
    import polars as pl

SHOWN = 10
"""The rows of a forecast that are shown in a notebook."""


@dataclass(frozen=True, repr=False)
class Forecast(Shown):
    """The forecast of the next steps of one time series, or of several.

    Attributes:
        names: (series,) their names; one that is empty if there is a single one
        times: (series, horizon) the times of the steps: whole numbers, or datetime64, of a series
            with a time zone in UTC
        values: what is forecast, each of shape (series, horizon): first the target, then its
            bounds, quantiles or deviation, by the names of their columns
        by: the column that names the series; None for a single one
        time: the column of times
    """

    names: tuple[str, ...]
    times: Array
    values: Mapping[str, Array]
    by: str | None
    time: str
    _written: tuple[tuple[str, ...], ...] = field(repr=False, compare=False)
    _frequency: Frequency = field(repr=False, compare=False)

    @property
    def point(self) -> Array:
        """(series, horizon) the point forecasts."""
        return next(iter(self.values.values()))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each step of each series, with its time as text."""
        found: list[dict[str, Any]] = []
        for k, name in enumerate(self.names):
            series = {} if self.by is None else {self.by: name}
            for step, time in enumerate(self._written[k]):
                values = {column: float(numbers[k, step]) for column, numbers in self.values.items()}
                found.append({**series, self.time: time, **values})
        return found

    @property
    def frame(self) -> pl.DataFrame:
        """The same as a polars DataFrame, with its times as dates, times or whole numbers."""
        import polars as pl

        times = pl.Series(self.times.ravel())
        if self._frequency.zone:
            times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(self._frequency.zone)
        elif self._frequency.is_date:
            times = times.dt.date()
        columns: dict[str, Any] = {} if self.by is None else {self.by: np.repeat(self.names, self.times.shape[1])}
        columns |= {self.time: times} | {name: values.ravel() for name, values in self.values.items()}
        return pl.DataFrame(columns)

    def summary(self) -> Summary:
        """Its first rows."""
        rows = self.rows
        count = f"{len(self.names):,} series, " if self.by else ""
        shown = [[f"{one:.6g}" if isinstance(one, float) else one for one in row.values()] for row in rows[:SHOWN]]
        align = "".join("r" if isinstance(one, float) else "l" for one in rows[0].values())
        table = Table(f"the first {len(shown)} rows", tuple(rows[0]), shown, align)
        return Summary("Forecast", f"{count}{self.times.shape[1]:,} steps each", {}, table)


def forecast_of(series: Series, grid: Grid, meaning: Meaning, raw: Array, interval: float | None) -> Forecast:
    """The forecast that outputs stand for, with an interval of this share if one is asked for."""
    names, target = series.frequency, series.target
    numbers = grid.times[grid.starts[1:] - 1][:, None] + np.arange(1, series.horizon + 1)
    values = {target: np.asarray(meaning.decoded(raw)).reshape(len(raw), -1)}
    for name, found in distribution(meaning, raw, interval).items():
        values[f"{target}_{name}"] = found.reshape(len(raw), -1)
    written = tuple(tuple(names.written(row)) for row in numbers)
    times = names.times(numbers.ravel()).reshape(numbers.shape)
    return Forecast(grid.names, times, values, series.by, series.time, written, names)


def distribution(meaning: Meaning, raw: Array, interval: float | None) -> dict[str, Array]:
    """The ends of an interval, or all quantiles, and the deviation, as far as the loss predicts
    them, by name.
    """
    loss: Loss = meaning.loss
    found: dict[str, Array] = {}
    levels = ends(interval) if interval is not None else getattr(loss, "levels", ())
    of_levels = ("lower", "upper") if interval is not None else [f"quantile_{level:g}" for level in levels]
    if len(levels) > 1:  # a single quantile is the point prediction
        found |= zip(of_levels, meaning.quantiles(raw, levels).swapaxes(0, 1), strict=True)
    if loss.deviation(raw) is not None:
        found["deviation"] = meaning.deviations(raw)
    return found
