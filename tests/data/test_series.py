"""Time series: read onto a grid of times, and into windows of which the latest are held out."""

import datetime as dt
import importlib.util
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.arrays import Scaled
from chainrule.data import BUILTIN, load
from chainrule.data.series import DAY, HOUR, Frequency, frequency_of
from chainrule.data.series_windows import filled
from chainrule.errors import ChainruleError

FREQUENCIES = [
    Frequency("number", 10, 3), Frequency("time", 15 * 60 * 10**6, 5), Frequency("time", HOUR, zone="Europe/Berlin"),
    Frequency("time", DAY, is_date=True), Frequency("time", 7 * DAY, 2 * DAY), Frequency("day", week="1111100"),
    Frequency("day", week="1001011"), Frequency("month"), Frequency("month", 3, 1, 31), Frequency("month", 12, 6, 15),
]  # fmt: skip
START = dt.datetime(2024, 1, 1)


def daily(days=200, start=START, **columns):
    """A table of one daily series with a week's pattern, and other columns."""
    dates = [start + dt.timedelta(days=k) for k in range(days)]
    random = np.random.default_rng(0)
    y = [10.0 + k % 7 + random.normal() / 10 for k in range(days)]
    return pl.DataFrame({"date": pl.Series(dates).dt.date(), **columns, "y": y})


@given(st.sampled_from(FREQUENCIES), st.integers(-5000, 5000), st.lists(st.integers(1, 3), min_size=30, max_size=60))
@settings(max_examples=60)
def test_times_on_a_grid_are_consecutive_numbers_whose_frequency_is_found(frequency, first, gaps):
    numbers = first + np.cumsum([1] * 40 + gaps)  # some rows are missing
    times = frequency.times(numbers)
    assert (np.diff(times.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(frequency.numbers(times), numbers)
    assert (frequency.numbers(times + 1) == -(2**62)).all() or frequency.unit == "number"
    found = frequency_of("table", [times], frequency.zone, frequency.is_date)
    np.testing.assert_array_equal(np.diff(found.numbers(times)), np.diff(numbers))
    assert found.words == frequency.words


@pytest.mark.parametrize(
    ("frequency", "words", "season", "cycles"),
    [
        (Frequency("time", HOUR), "every hour", 24, ("hour", "day_of_week", "day_of_year")),
        (Frequency("time", 15 * 60 * 10**6), "every 15 minutes", 96, ("hour", "day_of_week", "day_of_year")),
        (Frequency("time", DAY), "every day", 7, ("day_of_week", "day_of_year")),
        (Frequency("day", week="1111100"), "Monday to Friday", 5, ("day_of_week", "day_of_year")),
        (Frequency("day", week="1010000"), "Monday, Wednesday", 2, ("day_of_week", "day_of_year")),
        (Frequency("time", 7 * DAY), "every week", 52, ("day_of_year",)),
        (Frequency("month"), "every month", 12, ("day_of_year",)),
        (Frequency("month", 3), "every 3 months", 4, ("day_of_year",)),
        (Frequency("month", 12), "every year", 1, ()),
        (Frequency("number", 1), "every step", 1, ()),
    ],
)
def test_season_and_calendar_follow_from_the_frequency(frequency, words, season, cycles):
    assert (frequency.words, frequency.season, frequency.cycles) == (words, season, cycles)
    for values in frequency.calendar(np.arange(100), cycles).values():
        assert (np.abs(values) <= 1).all()


@given(length=st.integers(7, 12), horizon=st.integers(1, 9), missing=st.sets(st.integers(1, 118), max_size=4))
@settings(max_examples=25)
def test_windows_are_followed_by_their_targets_and_no_target_is_in_two_sets(length, horizon, missing):
    table = daily(120).with_row_index().with_columns(
        y=pl.when(pl.col("index").is_in([*missing])).then(None).otherwise("y")
    ).drop("index")  # fmt: skip
    try:
        data = load(table, time="date", horizon=horizon, length=length)
    except ChainruleError as error:
        assert "a window and its forecast take" in str(error)  # noqa: PT017
        return
    y, target = table["y"].to_numpy(), data.target
    parts = (data.training, data.rows), (data.validation, data.validation_rows), (data.test, data.test_rows)
    seen = []
    for samples, rows in parts:
        if samples is None:
            seen.append(set())
            continue
        for k, row in enumerate(rows):
            truth = y[row + 1 : row + 1 + horizon]
            np.testing.assert_allclose(target.decode(np.asarray(samples.y[k : k + 1]))[0], truth)
            window = target.decode(np.asarray(samples.x)[k, :, :1].T.repeat(horizon, 0).T[-1:])[0]
            assert np.isnan(y[row]) or np.isclose(window[0], y[row], atol=1e-5)
        seen.append({step for row in rows.tolist() for step in range(row + 1, row + 1 + horizon)})
        assert not seen[-1] & missing
    for earlier, later in itertools.combinations([steps for steps in seen if steps], 2):
        assert max(earlier) < min(later)


def test_windows_are_views_of_the_rows_unless_some_are_left_out():
    data = load(daily(), time="date", horizon=7)
    assert np.shares_memory(data.training.x, data.test.x)
    two = pl.concat([daily(**{"shop": ["a"] * 200}), daily(**{"shop": ["b"] * 200})])
    both = load(two, time="date", series="shop", horizon=7)
    assert isinstance(both.training.x, Scaled)
    one = np.asarray(data.training.x)
    np.testing.assert_allclose(np.asarray(both.training.x), np.concatenate([one, one]), atol=1e-6)


def test_unsorted_rows_give_the_same_and_rows_without_a_target_at_the_end_are_the_future():
    table = daily(**{"price": np.arange(200.0) % 13})
    data = load(table, time="date", horizon=7)
    mixed = load(table.sample(fraction=1, shuffle=True, seed=3), time="date", horizon=7)
    np.testing.assert_array_equal(np.asarray(data.training.x), np.asarray(mixed.training.x))
    future = table.tail(5).with_columns(pl.col("date") + pl.duration(days=5), y=pl.lit(None, pl.Float64))
    longer = load(pl.concat([table, future]), time="date", horizon=7)
    np.testing.assert_array_equal(np.asarray(data.test.x), np.asarray(longer.test.x))
    assert data.preparation.names[:2] == ["y", "date+7_day_of_week_sin"]
    assert data.preparation.names[-1] == "price"


def test_what_is_scaled_is_learned_from_the_training_part_alone():
    table = daily()
    data = load(table, time="date", horizon=7)
    end = data.rows.max() + 8
    assert data.target.mean[0] == pytest.approx(table["y"][:end].mean())
    other = table.with_columns(y=pl.when(pl.int_range(pl.len()) >= end).then(99.0).otherwise("y"))
    np.testing.assert_array_equal(
        np.asarray(load(other, time="date", horizon=7).training.x), np.asarray(data.training.x)
    )


def test_missing_values_become_those_of_a_season_before():
    nan = np.nan
    np.testing.assert_array_equal(
        filled(np.array([1, 2, 3, nan, 5, nan, nan, nan, nan]), 3), [1, 2, 3, 1, 5, 3, 1, 5, 3]
    )
    np.testing.assert_array_equal(filled(np.array([1, nan, 3, nan]), 3), [1, 1, 3, 1])
    gap = daily().filter(~pl.int_range(pl.len()).is_between(50, 53))
    data = load(gap, time="date", horizon=7)
    assert "4 of 200 values of y are missing; a forecast of one is left out" in data.notes
    assert "y (missing)" in data.preparation.names


def test_a_time_zone_has_its_own_hours_and_clocks_that_are_set_back():
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2024-09-01", periods=24 * 80, freq="h", tz="Europe/Berlin")
    hours = pandas.DataFrame({"at": times, "y": np.sin(times.hour.to_numpy() / 24 * 6.28)})
    data = load(hours, time="at", horizon=24)
    series = data.preparation.series
    assert (series.frequency.zone, series.frequency.words) == ("Europe/Berlin", "every hour")
    row = int(np.flatnonzero(times == pandas.Timestamp("2024-10-27T02:00+01:00"))[0])
    assert data.source.window_times(row)[-2:] == ["2024-10-27 02:00+02:00", "2024-10-27 02:00+01:00"]
    np.testing.assert_array_equal(series.frequency.local(data.preparation.series.frequency.times(
        data.source.names)).astype("datetime64[h]").astype(int) % 24, times.hour)  # fmt: skip
    naive = hours.assign(at=times.tz_localize(None))
    with pytest.raises(ChainruleError, match=r"has the same time .* where clocks were set back, write the offset"):
        load(naive, time="at", horizon=24)


def written(**changed):
    """A daily table as text, with some cells changed: column=(row, text)."""
    table = daily().with_columns(pl.all().cast(pl.String))
    for column, (row, text) in changed.items():
        table = table.with_columns(
            pl.when(pl.int_range(pl.len()) == row).then(pl.lit(text)).otherwise(column).alias(column)
        )
    return table


@pytest.mark.parametrize(
    ("table", "options", "problem"),
    [
        (daily(), {"horizon": 0}, "the horizon is 0; it takes at least 1 step"),
        (daily(), {"horizon": 300}, "of 200 steps, 300 to validate and 300 to test leave 0 to train on"),
        (daily(), {"horizon": 7, "length": 500}, "take 500 [+] 7 steps, but there are 140 to train on"),
        (daily(), {"length": 3}, "a window of 3 steps is shorter than a season of 7"),
        (daily(), {"season": 0}, "the season is 0; it takes at least 1 step"),
        (daily(), {"time": "data"}, "it has no column 'data', chosen as time; did you mean 'date'?"),
        (daily(), {"time": "y"}, "'y' can't be both the time and the target"),
        (daily(), {"series": "shop"}, "it has no column 'shop', chosen as series"),
        (daily(), {"split": "time:date", "weight": "y"}, "it is read as time series; leave split and weight out"),
        (daily(), {"validation": "other.csv"}, "the validation data is no share"),
        (daily(1), {}, "a frequency takes two times of a series or more"),
        (daily(9), {}, "too few for forecasts of 7 steps; use more rows, or a shorter horizon"),
        (daily().with_columns(y=3.0), {}, "column 'y': in the part to train on every row has the value 3"),
        (daily().with_columns(y=None), {}, "column 'y': every value is missing"),
        (
            pl.concat([daily(), daily()[7:8]]),
            {},
            "row 201, column 'date': row 8 has the same time .2024-01-08.; name the",
        ),
        (written(y=(7, "many")), {}, "row 8, column 'y': 'many' is not a number, which a forecast needs"),
        (written(date=(7, "soon")), {}, "row 8, column 'date': 'soon' is no date, unlike others"),
        (written(date=(7, None)), {}, "row 8, column 'date': the time is missing"),
        (written(date=(7, "2024-01-08 03:00")), {}, "2024-01-08 03:00:00 is between two of them; correct the times"),
        (written(date=(199, "2924-01-01")), {}, "between 2024-07-17 and 2924-01-01, 328,5.. rows are missing"),
    ],
)
def test_what_cannot_be_forecast_is_refused_in_a_line(table, options, problem):
    with pytest.raises(ChainruleError, match=problem) as caught:
        load(table, **{"time": "date", "target": "y", **options})
    assert "\n" not in str(caught.value)


def test_offsets_from_utc_that_differ_are_read_as_what_they_are(tmp_path):
    hours = [START.replace(tzinfo=dt.UTC) + dt.timedelta(hours=k) for k in range(400)]
    zones = [dt.timezone(dt.timedelta(hours=1 + k // 200)) for k in range(400)]
    rows = "\n".join(f"{at.astimezone(zone).isoformat()},{at.hour}" for at, zone in zip(hours, zones, strict=True))
    path = tmp_path / "offsets.csv"
    path.write_text(f"at,y\n{rows}\n")
    data = load(path, time="at", horizon=24)
    assert "every hour, from 2024-01-01 00:00+00:00 to 2024-01-17 15:00+00:00" in data.notes


def test_series_of_which_some_are_short_or_empty():
    table = pl.concat([
        daily(**{"s": ["a"] * 200}), daily(20, **{"s": ["b"] * 20}).with_columns(y=pl.lit(4.0)),
        daily(3, **{"s": ["c"] * 3}).with_columns(y=pl.lit(None, pl.Float64)),
    ])  # fmt: skip
    data = load(table, time="date", series="s", horizon=7)
    assert {"without a value: 'c'", "too short for a window: 'b'"} <= {*data.notes}


@pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="needs the extra 'series'")
@pytest.mark.skipif(importlib.util.find_spec("vega_datasets") is None, reason="needs the extra 'series'")
@pytest.mark.parametrize("name", [name for name, builtin in BUILTIN.items() if builtin.series is not None])
def test_series_that_packages_ship_are_read(name):
    data = load(name)
    assert min(data.sizes.values()) > 0
    assert data.settings["what"] == name
