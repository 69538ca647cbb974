"""Columns in the names of folders: `year=2026/month=3/part.parquet`."""

from __future__ import annotations

import datetime
import re

import numpy as np
import polars as pl
import pytest

from chainrule.data import load
from chainrule.data.partitions import partitions
from chainrule.data.patterns import read_table
from chainrule.data.streamed import cache
from chainrule.data.streamed.choosing import files_of
from chainrule.data.streamed.loading import table_of
from chainrule.errors import DataError

FOLDERS = [f"year={year}/month={month:02}/city={city}" for year in (2025, 2026)
           for month, city in ((3, "New%20York"), (11, "__HIVE_DEFAULT_PARTITION__"), (12, "Bern"))]  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


@pytest.fixture(params=["parquet", "csv"])
def folder(request, tmp_path):
    """A folder with partitions of a table."""
    for k, name in enumerate(FOLDERS):
        place = tmp_path / "sales" / name
        place.mkdir(parents=True)
        random = np.random.default_rng(k)
        table = pl.DataFrame({"x": random.normal(size=30), "y": random.normal(size=30) + k})
        getattr(table, f"write_{request.param}")(place / f"part.{request.param}")
    return tmp_path / "sales"


def test_they_are_columns_in_memory_and_when_streamed(folder):
    whole, streamed = load(folder, target="y"), load(folder, target="y", memory="1KB")
    assert streamed.on_disk
    assert not whole.on_disk
    table, _ = read_table(folder)
    assert table.columns == ["year", "month", "city", "x", "y"]
    assert table["year"].to_list() == [2025] * 90 + [2026] * 90
    assert table["month"].unique().sort().to_list() == [3, 11, 12]
    assert table["city"].unique().sort().to_list() == [None, "Bern", "New York"]
    files = table_of(str(folder), files_of(folder))
    assert files[:].equals(table)
    assert files[np.array([170, 3, 31])].equals(table[[170, 3, 31]])
    assert next(files.blocks(["month"]))[2].equals(table[:30].select("month"))
    assert streamed.preparation.features == whole.preparation.features
    rows = np.asarray(streamed.rows)
    expected = streamed.preparation.apply(whole.source.take(rows))
    np.testing.assert_array_equal(streamed.training.read(0, len(rows)).x, np.asarray(expected))
    by_year = {"target": "y", "split": "time:year", "validation": 0}
    latest = [np.asarray(load(folder, **by_year, memory=memory).test_rows) for memory in (None, "1KB")]
    assert latest[0].tolist() == latest[1].tolist() == list(range(90, 180))


def test_a_pattern_names_the_folders_after_its_beginning(folder):
    kind = files_of(folder)[0].suffix
    assert read_table(folder / "year=2025" / "*" / "*" / f"*{kind}")[0].columns == ["month", "city", "x", "y"]
    assert read_table(files_of(folder)[0])[0].columns == ["x", "y"]


def test_those_of_a_file_itself_count(folder):
    for path in files_of(folder):
        if path.suffix == ".parquet":
            pl.read_parquet(path).with_columns(year=7).write_parquet(path)
        else:
            pl.read_csv(path).with_columns(year=7).write_csv(path)
    assert read_table(folder)[0]["year"].unique().to_list() == [7]
    assert table_of(str(folder), files_of(folder))[:].equals(read_table(folder)[0])


@pytest.mark.parametrize("memory", [None, "1KB"])
def test_folders_that_name_other_columns_are_refused_in_a_line(folder, memory):
    first = files_of(folder)[0]
    (folder / "year=2026" / "months=1").mkdir()
    other = folder / "year=2026" / "months=1" / first.name
    other.write_bytes(first.read_bytes())
    problem = "its folders name the columns 'year', 'months', but those of"
    with pytest.raises(DataError, match=re.escape(f"{other}: {problem} {first} the columns 'year', 'month', 'city'")):
        load(folder, target="y", memory=memory)
    other.rename(folder / f"z{first.suffix}")
    with pytest.raises(DataError, match="its folders name no columns, but those of"):
        load(folder, target="y", memory=memory)


@pytest.mark.parametrize(("values", "expected"), [
    (["1", "02"], [1, 2]), (["1", "2.5"], ["1", "2.5"]), (["0.5", "2.5"], [0.5, 2.5]), (["", "4"], [None, 4]),
    (["2026-02-01", "2026-02-03"], [datetime.date(2026, 2, 1), datetime.date(2026, 2, 3)]),
    (["2026-02-31", "2026-02-03"], ["2026-02-31", "2026-02-03"]), (["a=b", "c"], ["a=b", "c"]),
])  # fmt: skip
def test_kinds(tmp_path, values, expected):
    paths = [tmp_path / f"k={value}" / "a.csv" for value in values]
    assert partitions(paths, tmp_path)["k"].to_list() == expected
