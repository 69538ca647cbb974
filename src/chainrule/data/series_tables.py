"""Time series that packages ship: statsmodels and vega_datasets, of the extra `series`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chainrule.errors import require_package

if TYPE_CHECKING:
    import polars as pl


class SeriesTable(NamedTuple):
    """A table of time series, and what is forecast of them.

    Attributes:
        frame: the table
        time, target: the columns of times, and of what is forecast
        horizon: how many steps
        by: the column that tells series apart; None for a single one
    """

    frame: pl.DataFrame
    time: str
    target: str
    horizon: int
    by: str | None = None


def _frame(package: str, name: str, *path: str) -> pl.DataFrame:
    """A table in a CSV file of a package, which need not be imported."""
    import polars as pl

    require_package(package, "series", name)
    found = find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    file = Path(found.submodule_search_locations[0]).joinpath(*path)
    return pl.read_csv(file, infer_schema_length=None, try_parse_dates=False)


def _statsmodels(name: str, file: str) -> pl.DataFrame:
    return _frame("statsmodels", name, "datasets", file, f"{file}.csv")


def _vega(name: str) -> pl.DataFrame:
    return _frame("vega_datasets", name, "_data", f"{name}.csv")


def _co2() -> SeriesTable:
    import polars as pl

    weekly = _statsmodels("co2", "co2").with_columns(pl.col("date").cast(pl.String).str.to_date("%Y%m%d"))
    return SeriesTable(weekly, "date", "co2", 52)


def _sunspots() -> SeriesTable:
    return SeriesTable(_statsmodels("sunspots", "sunspots"), "YEAR", "SUNACTIVITY", 11)


def _elnino() -> SeriesTable:
    import polars as pl

    years = _statsmodels("elnino", "elnino")
    months = {name: k for k, name in enumerate(years.columns[1:], start=1)}
    long = years.unpivot(index="YEAR", variable_name="name", value_name="temperature")
    month = pl.date(pl.col("YEAR"), pl.col("name").replace_strict(months), 1).alias("month")
    return SeriesTable(long.select(month, "temperature").sort("month"), "month", "temperature", 12)


def _weather() -> SeriesTable:
    import polars as pl

    daily = _vega("seattle-weather").with_columns(pl.col("date").str.to_date("%Y/%m/%d"))
    return SeriesTable(daily, "date", "temp_max", 7)


def _stocks() -> SeriesTable:
    import polars as pl

    monthly = _vega("stocks").with_columns(pl.col("date").str.to_date("%b %d %Y"))
    return SeriesTable(monthly, "date", "price", 3, "symbol")


def _employment() -> SeriesTable:
    import polars as pl

    wide = _vega("us-employment").drop("nonfarm_change").with_columns(pl.col("month").str.to_date("%Y-%m-%d"))
    long = wide.unpivot(index="month", variable_name="industry", value_name="employed")
    return SeriesTable(long, "month", "employed", 12, "industry")


TABLES: dict[str, tuple[str, Callable[[], SeriesTable]]] = {
    "co2": ("a time series: CO2 in the air of Mauna Loa, 2,284 weeks, with gaps (needs statsmodels)", _co2),
    "sunspots": ("a time series: the activity of sunspots, 309 years (needs statsmodels)", _sunspots),
    "elnino": ("a time series: temperatures of the Pacific, 732 months (needs statsmodels)", _elnino),
    "seattle-weather": (
        "a time series: Seattle's highest temperature and other weather, 1,461 days (needs vega_datasets)",
        _weather,
    ),
    "stocks": ("5 time series: prices of shares, 560 months in all (needs vega_datasets)", _stocks),
    "us-employment": (
        "22 time series: employment in the USA by industry, 120 months each (needs vega_datasets)",
        _employment,
    ),
}
"""What each holds, and what reads it, by name."""
