"""Streamed tables divided by time and by group: the same rows are held out as in memory."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import load
from chainrule.data.splits import begins
from chainrule.data.streamed import by_values, cache, divisions, intervals, preparing, table_files
from chainrule.data.streamed.intervals import counted, in_time

ROWS = 700


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of two files, and the cache."""
    place = tmp_path_factory.mktemp("splits")
    random = np.random.default_rng(3)
    day = datetime.date(2021, 1, 1)
    days = [day + datetime.timedelta(int(k)) for k in random.integers(0, 300, ROWS)]
    table = pl.DataFrame({
        "day": days,
        "at": [datetime.datetime.combine(d, datetime.time(k % 24)) for k, d in enumerate(days)],
        "number": random.permutation(ROWS) * 3,
        "share": random.normal(size=ROWS).round(2),
        "written": [f"{d.day}/{d.month}/{d.year}" for d in days],
        "digits": [str(k) for k in random.integers(1, 900, ROWS)],
        "shop": [f"shop {k}" for k in (random.random(ROWS) ** 2 * 80).astype(int)],
        "customer": random.integers(0, 400, ROWS),
        "one": random.integers(0, 3, ROWS),
        "x": random.normal(size=ROWS),
        "y": random.normal(size=ROWS),
    }).with_columns(shop=pl.col("shop").set_sorted().cast(pl.Categorical))  # fmt: skip
    (place / "data").mkdir()
    table[:300].write_parquet(place / "data" / "0.parquet")
    table[300:].write_parquet(place / "data" / "1.parquet")
    return place


@pytest.fixture(autouse=True)
def small_blocks(place, monkeypatch):
    monkeypatch.setattr(table_files, "FEWEST_ROWS", 97)
    monkeypatch.setattr(table_files, "MOST_ROWS", 97)
    for room in (divisions, preparing):
        monkeypatch.setattr(room, "GROUP", 250)
    monkeypatch.setenv(cache.VARIABLE, str(place / "cache"))


@pytest.mark.parametrize("settings", [
    {"split": "time:day"},
    {"split": "time:at", "drop": ["at", "x"]},
    {"split": "time:number", "validation": 0},
    {"split": "time:share", "test": 0},
    {"split": "time:written", "weight": "customer"},
    {"split": "time:digits", "read": {"one": "category"}},
    {"split": "time:one", "validation": 0.01, "test": 0.01},
    {"split": "group:shop"},
    {"split": "group:customer", "seed": 4},
    {"split": "group:day", "test": 0},
    {"split": "group:one", "validation": 0},
], ids=str)  # fmt: skip
def test_the_same_rows_are_held_out_as_in_memory(place, settings, monkeypatch):
    monkeypatch.setattr(intervals, "MOST", 20)
    monkeypatch.setattr(intervals, "BUFFER", 150)
    monkeypatch.setattr(by_values, "RECENT", 13)
    whole = load(place / "data", target="y", **settings)
    data = load(place / "data", target="y", **settings, memory="1KB")
    assert data.on_disk
    assert not whole.on_disk
    for name in ("rows", "validation_rows", "test_rows"):
        found, expected = getattr(data, name), getattr(whole, name)
        assert (found is None) == (expected is None)
        if expected is not None:
            np.testing.assert_array_equal(np.asarray(found), expected)
    assert data.preparation.features == whole.preparation.features
    np.testing.assert_allclose(data.training.read(0, 2000).x, whole.training.x, atol=1e-5)
    lines = [line for line in whole.found if "group" in line or "by '" in line]
    assert lines
    assert [line for line in data.found if line in lines] == lines
    assert data.split == whole.split


def test_it_is_found_once_and_kept(place, monkeypatch):
    settings = {"target": "y", "split": "time:day", "seed": 8, "memory": "1KB"}
    first = load(place / "data", **settings)
    monkeypatch.setattr(by_values._Column, "times", None)
    second = load(place / "data", **settings)
    assert first.training.path == second.training.path
    assert first.found == second.found


@given(st.lists(st.lists(st.integers(-20, 300), min_size=1), min_size=1, max_size=8),
       st.floats(0, 0.45), st.floats(0, 0.45), st.integers(16, 40))  # fmt: skip
def test_beginnings_are_exact_in_a_bounded_memory(parts, validation, test, most):
    """Whatever intervals are kept: as of all values sorted."""
    parts = [np.array(part) for part in parts]
    values, sizes = np.unique(np.concatenate(parts), return_counts=True)
    total = int(sizes.sum())
    counts = [max(round(share * total), 1) if share else 0 for share in (validation, test)]
    found, first = in_time(lambda: parts, counts, most)
    assert found.count.sum() == total
    if len(values) <= sum(count > 0 for count in counts):
        assert first == []
        return
    expected = [values[k] if k < len(values) else None for k in begins(sizes, counts)]
    assert [found.low[k] if k < len(found) else None for k in first] == expected


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=400), st.integers(16, 60))
def test_intervals_count_exactly_and_stay_few(values, most):
    found = counted([np.array(values[:100]), np.array(values[100:])], most=most)
    assert len(found) <= most
    assert (found.low <= found.high).all()
    assert (found.high[:-1] < found.low[1:]).all()
    assert {*found.low, *found.high} <= {*values}
    expected = [sum(low <= value <= high for value in values) for low, high in zip(found.low, found.high, strict=True)]
    assert found.count.tolist() == expected


@given(st.lists(st.lists(st.integers(0, 200), min_size=1), min_size=1, max_size=8), st.integers(1, 20))
def test_groups_are_counted_in_the_order_in_which_they_occur(blocks, recent):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_values, "RECENT", recent)
        groups = by_values.Groups()
        for block in blocks:
            groups.add(*by_values._hashed(pl.Series(block)))
        whole = pl.Series([value for block in blocks for value in block])
        expected = whole.unique(maintain_order=True)
        assert groups.sizes.tolist() == [int((whole == value).sum()) for value in expected.to_list()]
        numbers = groups.numbers(by_values._hashed(expected)[0])
        assert numbers.tolist() == list(range(len(expected)))


def test_too_many_groups_are_put_together_and_still_stay_whole(place, monkeypatch):
    monkeypatch.setattr(by_values, "MOST_GROUPS", 50)
    data = load(place / "data", target="y", split="group:customer", memory="1KB", seed=9)
    customers = pl.read_parquet(place / "data")["customer"].to_numpy()
    sets = [{*customers[np.asarray(rows)]} for rows in (data.rows, data.validation_rows, data.test_rows)]
    assert sum(map(len, sets)) == len({*customers})
    assert abs(len(data.test_rows) / ROWS - 0.2) < 0.05
