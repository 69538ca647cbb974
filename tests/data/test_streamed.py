"""Tables that are streamed: fitted, prepared and divided as in memory, from files and the cache."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from threading import Event, Thread, current_thread

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import load
from chainrule.data.dataset import prepare
from chainrule.data.preparation import fit_preparation
from chainrule.data.source import from_table
from chainrule.data.streamed import cache, divisions, preparing, table_files
from chainrule.data.streamed.divisions import Division
from chainrule.data.streamed.statistics import Drawn, Moments
from chainrule.data.targets import fit_target
from chainrule.data.weights import weighted_by
from chainrule.errors import DataError, SettingError
from chainrule.rows import Rows
from waiting import WAIT

ROWS = 1200
SMALL = "1KB"


@pytest.fixture(autouse=True)
def small_blocks(tmp_path, monkeypatch):
    """Blocks of a few rows, so that small tables have several; and a cache of its own."""
    monkeypatch.setattr(table_files, "FEWEST_ROWS", 97)
    monkeypatch.setattr(table_files, "MOST_ROWS", 97)
    for room in (divisions, preparing):
        monkeypatch.setattr(room, "GROUP", 250)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


def frame(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """A table with columns of every kind, some with missing values."""
    random = np.random.default_rng(seed)
    day = datetime.date(2020, 1, 1)
    days = [day + datetime.timedelta(int(k)) for k in random.integers(0, 900, rows)]
    names = ["".join(random.choice(list("abcdefgh"), 7)) for _ in range(rows)]
    some = random.random(rows) < 0.1
    return pl.DataFrame({
        "id": np.arange(rows) * 0 + 3,
        "price": random.normal(50, 9, rows),
        "area": [None if lacks else float(k) for k, lacks in enumerate(some)],
        "new": random.random(rows) < 0.5,
        "city": pl.Series(np.array(["Bern", "Chur", "Genf"])[random.integers(0, 3, rows)]).set(pl.Series(some), None),
        "two": np.array(["yes", "no"])[random.integers(0, 2, rows)],
        "shop": [f"shop {k}" for k in random.integers(0, 60, rows)],
        "owner": names,
        "built": days,
        "sold": [None if lacks else datetime.datetime.combine(d, datetime.time(k % 24)) for k, (d, lacks)
                 in enumerate(zip(days, some, strict=True))],
        "written": [f"{d.day}.{d.month}.{d.year}" for d in days],
        "digits": [str(k) for k in random.integers(1, 900, rows)],
        "importance": random.integers(1, 4, rows).astype(float),
        "kind": np.array(["a", "b", "c"])[random.integers(0, 3, rows)],
        "up": random.integers(0, 2, rows), "down": random.integers(0, 2, rows),
        "y": random.normal(size=rows),
    })  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of three files, in which the table is."""
    (tmp_path / "sales").mkdir()
    for k, part in enumerate((frame()[:500], frame()[500:501], frame()[501:])):
        part.write_parquet(tmp_path / "sales" / f"part-{k}.parquet")
    return tmp_path / "sales"


TARGETS = [
    {"target": "y"},
    {"target": "y", "weight": "importance"},
    {"target": "y", "scale_target": False, "read": {"digits": "category"}},
    {"target": "kind"},
    {"target": "two", "drop": ["owner"]},
    {"target": "importance", "task": "ordinal"},
    {"target": ["up", "down"]},
    {"target": ["price", "y"], "text": "words"},
]


@pytest.mark.parametrize("reading", TARGETS, ids=str)
def test_a_streamed_table_is_fitted_and_prepared_as_in_memory(folder, reading):
    """The same encoders; means and deviations up to the rounding of sums; samples bit for bit."""
    data = load(folder, **reading, memory=SMALL)
    assert isinstance(data.training, Rows)
    assert data.training.on_disk
    source = from_table("table", frame(), reading["target"], reading.get("drop", ()), reading.get("task"),
                        read=reading.get("read"))  # fmt: skip
    source = weighted_by(source, reading["weight"]) if "weight" in reading else source
    rows = np.asarray(data.rows)
    target = fit_target(source, rows, reading.get("scale_target", True))
    fitted, found = fit_preparation(source, rows, target), data.preparation
    assert found.columns == fitted.columns
    assert found.left_out == fitted.left_out
    assert found.features == fitted.features
    assert [one.as_json() for one in found.encoders] == [one.as_json() for one in fitted.encoders]
    np.testing.assert_allclose(found.mean, fitted.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.deviation, fitted.deviation, rtol=1e-12)
    assert found.target.as_json().keys() == target.as_json().keys()
    assert (found.target.task, found.target.classes, found.target.columns) == (
        target.task,
        target.classes,
        target.columns,
    )
    np.testing.assert_allclose(found.target.mean, target.mean, rtol=1e-12, atol=1e-12)
    parts = [(data.training, data.rows), (data.validation, data.validation_rows), (data.test, data.test_rows)]
    assert sorted(np.concatenate([np.asarray(numbers) for _, numbers in parts])) == list(range(ROWS))
    for samples, numbers in parts:
        expected = prepare(found, source.take(np.asarray(numbers)))
        whole = samples.read(0, len(samples))
        np.testing.assert_array_equal(whole.x, expected.x)
        np.testing.assert_array_equal(whole.y, expected.y)
        assert whole.y.dtype == expected.y.dtype
        np.testing.assert_array_equal(whole.weight, expected.weight)
        some = np.array([5, 2, 2, -1, 40])
        np.testing.assert_array_equal(samples.take(some).x, expected.x[some])
        np.testing.assert_array_equal(np.concatenate([part.x for part in samples.chunks()]), expected.x)
    of_one = data.source.take(np.asarray(data.rows)[[3, 900 - 200]])
    np.testing.assert_array_equal(prepare(found, of_one).x, data.training.take(np.array([3, 700])).x)
    assert data.sample(3).values.keys() == source.sample(0).values.keys()


@given(st.integers(10, 3000), st.floats(0, 0.4), st.floats(0, 0.4), st.one_of(st.none(), st.integers(0, 9)))
def test_every_row_is_in_one_set_and_sets_have_the_wanted_sizes(rows, validation, test, seed):
    division = Division(rows, validation, test, seed)
    sets = division.sets(0, rows)
    assert np.bincount(sets, minlength=3).tolist() == list(division.sizes)
    assert division.sizes[2] == (max(round(test * rows), 1) if test else 0)
    assert (division.sets(rows // 3, rows // 2) == sets[rows // 3 : rows // 2]).all()
    for part in range(3):
        numbers, expected = division.row_numbers(part), np.flatnonzero(sets == part)
        np.testing.assert_array_equal(numbers, expected)
        if len(expected):
            assert numbers[len(expected) - 1] == expected[-1]
            np.testing.assert_array_equal(numbers[[0, -1]], expected[[0, -1]])


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1), min_size=1), st.booleans())
def test_moments_of_blocks_are_those_of_all_numbers(blocks, are_weighted):
    moments, whole = Moments(), np.concatenate(blocks)
    weight = np.arange(1.0, len(whole) + 1) if are_weighted else np.ones(len(whole))
    start = 0
    for block in map(np.array, blocks):
        moments.add(block, weight[start : start + len(block)] if are_weighted else None)
        start += len(block)
    mean = np.average(whole, weights=weight)
    deviation = np.sqrt(np.average((whole - mean) ** 2, weights=weight))
    np.testing.assert_allclose(moments.mean, mean, atol=1e-8)
    np.testing.assert_allclose(moments.deviation(weight.sum()), deviation, atol=1e-8)
    assert (moments.low, moments.high) == (whole.min(), whole.max())


def test_of_long_texts_fewer_are_drawn():
    drawn, random = Drawn(50, bytes=330), np.random.default_rng(0)
    for size in (20, 40, 1000):
        drawn.add(random, pl.Series(["é" * (size // 2), None] * 30), np.ones(60))
        assert sum(len((text or "").encode()) for text in drawn.values) <= 330
        assert len(drawn.values) == len(drawn.keys) == len(drawn.weights) == len(drawn.lengths) == drawn.most
    assert 0 < drawn.most < 30


def test_a_cell_of_no_use_is_found_with_its_file_and_row(folder):
    last = folder / "part-2.parquet"
    table = pl.read_parquet(last)
    for column, value, problem in (
        ("digits", "many", "'many' is not a number, as those before it are; correct the cell"),
        ("written", "31.31.2020", "'31.31.2020' is not written like the dates before it"),
        ("price", float("inf"), "inf is not a finite number"),
        ("y", None, "the target is missing or NaN"),
    ):
        cells = table[column].to_list()
        cells[600] = value
        table.with_columns(pl.Series(column, cells, table[column].dtype)).write_parquet(last)
        with pytest.raises(DataError, match=re.escape(f"{last}, row 601, column {column!r}: {problem}")):
            load(folder, target="y", memory=SMALL)


def test_an_interrupted_preparation_goes_on_and_gives_the_same_bytes(folder, tmp_path, monkeypatch):
    whole = load(folder, target="y", memory=SMALL).training.path.read_bytes()
    cache.clear()
    monkeypatch.setattr(preparing, "SAVED_EVERY", 20_000)
    synced, calls = preparing._synced, []

    def full(files):
        calls.append(files)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        synced(files)

    monkeypatch.setattr(preparing, "_synced", full)
    with pytest.raises(DataError, match="the disk is full, so that the cache can't be written; free some space"):
        load(folder, target="y", memory=SMALL)
    assert [entry.is_whole for entry in cache.entries() if not entry.path.suffix] == [True]  # what was fitted
    started = []
    sources = preparing.Reading.sources
    monkeypatch.setattr(
        preparing.Reading, "sources", lambda self, start=0: started.append(start) or sources(self, start)
    )
    assert load(folder, target="y", memory=SMALL).training.path.read_bytes() == whole
    assert started[-1] > 300
    started.clear()
    load(folder, target="y", memory=SMALL)
    assert not started  # all is in the cache


def test_files_that_change_are_found(folder):
    data = load(folder, target="y", memory=SMALL)
    data.training.verify()
    second = folder / "part-1.parquet"
    content = second.read_bytes()
    frame()[:2].write_parquet(second)
    with pytest.raises(DataError, match=r"part-1\.parquet: it has changed since it was first read"):
        data.training.verify()
    assert load(folder, target="y", memory=SMALL).fingerprint != data.fingerprint
    second.unlink()
    with pytest.raises(DataError, match=r"part-1\.parquet: it is missing; put it back"):
        data.training.verify()
    second.write_bytes(content)
    frame().rename({"city": "town"})[:5].write_parquet(second)
    with pytest.raises(DataError, match=r"part-1\.parquet: it has no column 'city', unlike .*part-0\.parquet"):
        load(folder, target="y", memory=SMALL)


def test_what_two_processes_prepare_at_the_same_time_is_built_once_and_used_by_both(monkeypatch):
    began, asked, lock = Event(), Event(), cache._lock
    built, used = [], []

    def build(folder, progress):
        built.append(folder)
        began.set()
        asked.wait(WAIT)
        return {}

    def noted(file, exclusive, wait):
        if current_thread() is second:
            asked.set()
        return lock(file, exclusive, wait)

    def use():
        used.append(cache.kept("key", 100, None, build))  # and keep it

    first, second = Thread(target=use, daemon=True), Thread(target=use, daemon=True)
    monkeypatch.setattr(cache, "_lock", noted)
    first.start()
    assert began.wait(WAIT)
    second.start()
    for thread in (first, second):
        thread.join(WAIT)
        assert not thread.is_alive()
    assert len(built) == 1
    assert len(used) == 2


def test_the_cache_is_bounded_and_what_is_not_used_makes_room(folder):
    with pytest.raises(DataError, match=r'which may take 1e-05 GB; allow more \(cache="1GB"\)'):
        load(folder, target="y", memory=SMALL, cache=10_000)
    with pytest.raises(
        SettingError, match="the cache is 'much'; it is a number of bytes, or a text such as cache=\"2GB\""
    ):
        load(folder, target="y", memory=SMALL, cache="much")
    first = load(folder, target="y", memory=SMALL, cache="1MB", seed=1)
    size = sum(entry.bytes for entry in cache.entries())
    with pytest.raises(DataError, match="allow more"):  # the first is in use
        load(folder, target="y", memory=SMALL, cache=size + 1000, seed=2)
    path = first.training.path
    del first
    second = load(folder, target="y", memory=SMALL, cache=size + 1000, seed=2)
    assert not path.exists()
    cache.clear()
    assert second.training.path.exists()  # in use


def test_what_lacks_a_byte_is_prepared_again(folder):
    path = load(folder, target="y", memory=SMALL).training.path
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert load(folder, target="y", memory=SMALL).training.path.read_bytes() == content


def test_csv_files_are_converted_once_with_the_kinds_of_all_rows(tmp_path, monkeypatch):
    from chainrule.data.streamed import conversion

    monkeypatch.setattr(conversion, "PIECE", 3000)
    table = frame().select("price", "area", "city", "digits", "built", "y").with_columns(
        pl.Series("code", [*range(ROWS // 2), *(f"A{k}" for k in range(ROWS // 2))], strict=False, dtype=pl.String),
        pl.Series("note", ['say "a,\nb"' if k % 7 == 0 else "plain" for k in range(ROWS)]),
    )  # fmt: skip
    path = tmp_path / "sales.csv"
    table.write_csv(path)
    data, whole = load(path, target="y", memory=SMALL), load(path, target="y")
    assert list(data.preparation.columns) == list(whole.preparation.columns)
    rows = np.asarray(data.rows)
    np.testing.assert_array_equal(data.training.read(0, 840).x, prepare(data.preparation, whole.source.take(rows)).x)
    lines = path.read_text().splitlines(keepends=True)
    lines.insert(1300, "1,2\n")
    path.write_text("".join(lines))
    with pytest.raises(DataError, match=r"sales\.csv, line 1301: 2 fields, but the header has 8"):
        load(path, target="y", memory=SMALL)


@pytest.mark.parametrize("place", [3, 700, 1190])
def test_a_text_among_the_numbers_of_a_csv_file_is_an_error_as_in_memory(tmp_path, monkeypatch, place):
    from chainrule.data.streamed import conversion

    monkeypatch.setattr(conversion, "PIECE", 12_000)  # so that there are two pieces
    path = tmp_path / "sales.csv"
    frame().select("price", "y").with_columns(pl.Series("few", np.arange(ROWS) % 5)).write_csv(path)
    lines = path.read_text().splitlines(keepends=True)
    assert conversion.PIECE < path.stat().st_size < 4 * conversion.PIECE
    lines[place] = "abc," + lines[place].partition(",")[2]
    path.write_text("".join(lines))
    for memory in ("1GB", SMALL):
        with pytest.raises(DataError, match=rf"sales\.csv, row {place}, column 'price': 'abc' is not a number"):
            load(path, target="y", memory=memory)
    lines[place] = lines[place].replace("abc", "1.5").rpartition(",")[0] + ",x\n"  # few values: these are categories
    path.write_text("".join(lines))
    for memory in ("1GB", SMALL):
        uses = {use.name: use.role for use in load(path, target="y", memory=memory).columns}
        assert uses["few"] == "category"


def test_of_rows_with_long_texts_fewer_are_read_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "TEXT", 5000)
    path = tmp_path / "notes.parquet"
    table = pl.DataFrame({"note": ["n" * (100 if k < 300 else 2) for k in range(900)], "y": np.arange(900.0)})
    table.write_parquet(path)
    files = table_files.TableFiles.of(str(path), [path])
    for start in (0, 37, 650):
        blocks = [*files.blocks(start=start)]
        assert pl.concat([block for *_, block in blocks]).equals(table[start:])
        assert [row for row, *_ in blocks] == [start + sum(len(b) for *_, b in blocks[:k]) for k in range(len(blocks))]
        assert {len(block) for row, _, block in blocks if row < 300} <= {50}
        assert max(len(block) for *_, block in blocks) == 97
    assert {len(block) for *_, block in files.blocks(["y"])} == {97, 900 % 97}


def test_a_category_of_many_values_stays_one_in_any_number_of_rows(folder, monkeypatch):
    from chainrule.data import columns

    monkeypatch.setattr(columns, "NUMBERS", 40 * ROWS)  # as in a table of a million rows
    data = load(folder, target="y", memory=SMALL)
    assert {use.name: use.role for use in data.columns}["shop"] == "category"
    shop = next(k for k, name in enumerate(data.input_names) if name.startswith("shop"))
    assert len(np.unique(data.training.x[:][:, shop])) == 2
    assert len(repr(data.training.x)) < 200


def test_what_fits_into_memory_is_read_into_it(folder):
    data = load(folder, target="y", memory="1GB")
    assert not data.training.on_disk
    assert data.source.files == ("part-0.parquet", "part-1.parquet", "part-2.parquet")
    assert not cache.entries()


@pytest.mark.parametrize(("settings", "problem"), [
    ({"split": "time:owner"}, "column 'owner': its values are no dates, times or numbers, by which rows could be"),
    ({"split": "time:sold"}, r"part-0.parquet, row \d+, column 'sold': the time is missing, by which rows are split"),
    ({"split": "group:citi"}, "unknown column 'citi'; did you mean 'city'"),
    ({"split": "group:id"}, "all rows have the same group, but each of the 3 sets needs one"),
    ({"split": "time:y"}, "'y' is the target, by which rows can't be split"),
    ({"image_size": (8, 8)}, "it is a table that is streamed, with a row for each sample; leave image_size out"),
    ({"target": "owner"}, "too many to learn"),
    ({"target": "id"}, "every row has the class 3; at least two classes are needed"),
    ({"target": "kind", "task": "regression"}, "'[abc]' is not a number"),
    ({"target": "none"}, "it has no column 'none', which is the target"),
    ({"drop": ["none"]}, "unknown column 'none'"),
    ({"weight": "city"}, "its values are no numbers, and so no weights"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_line(folder, settings, problem):
    with pytest.raises((DataError, SettingError), match=problem):
        load(folder, **{"target": "y", **settings}, memory=SMALL)


def test_separate_data_for_the_test_is_streamed_as_well(folder, tmp_path):
    frame(300, seed=5).write_parquet(tmp_path / "later.parquet")
    data = load(folder, target="y", memory=SMALL, test=tmp_path / "later.parquet")
    assert data.sizes == {"training": 1080, "validation": 120, "test": 300}
    source = from_table("table", frame(300, seed=5), "y")
    np.testing.assert_array_equal(data.test.read(0, 300).x, prepare(data.preparation, source).x)


def test_rows_in_order(folder):
    data = load(folder, target="y", memory=SMALL, shuffle=False)
    assert np.asarray(data.test_rows).tolist() == list(range(960, 1200))
    assert np.asarray(data.validation_rows).tolist() == list(range(840, 960))


def test_a_run_on_a_streamed_table_is_used_and_resumed_on_the_command_line(folder, tmp_path, monkeypatch, capsys):
    from chainrule import cli
    from chainrule.data.streamed import choosing

    monkeypatch.chdir(tmp_path)
    options = ("--target", "y", "--drop", "owner", "--memory", "400KB", "--network", "4 relu", "--batch-size", "100")
    assert cli.run(["train", "sales", *options, "--epochs", "1", "-o", "run"]) == 0
    assert "streamed: 1,200 rows of 17 columns would take about 0.5 MB of memory" in capsys.readouterr().err
    assert cli.run(["predict", "run", "sales", "-o", "whole.csv"]) == 0
    assert cli.run(["evaluate", "run", "sales", "--json"]) == 0
    whole = capsys.readouterr()
    monkeypatch.setattr(choosing, "most_memory", lambda memory: 1000)
    assert cli.run(["predict", "run", "sales", "-o", "blocks.csv"]) == 0
    assert cli.run(["predict", "run", "sales", "-o", "blocks.json"]) == 0
    assert "1,200 predictions written" in capsys.readouterr().err
    assert (tmp_path / "blocks.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert len(json.loads((tmp_path / "blocks.json").read_text())) == ROWS
    assert cli.run(["evaluate", "run", "sales", "--json"]) == 0
    found, expected = json.loads(capsys.readouterr().out), json.loads(whole.out)
    assert found["metrics"]["r2"] == pytest.approx(expected["metrics"]["r2"], rel=1e-6)
    assert cli.run(["cache", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert {entry["what"] for entry in entries} == {"prepared samples", "a preparation"}
    assert cli.run(["cache"]) == 0
    assert str(folder) in capsys.readouterr().out
    assert cli.run(["train", "--resume", "run", "--epochs", "2"]) == 0
    frame()[:3].write_parquet(folder / "part-1.parquet")
    capsys.readouterr()
    assert cli.run(["train", "--resume", "run", "--epochs", "3"]) == 2
    assert "the file part-1.parquet has another size, or was written at another time" in capsys.readouterr().err
    assert cli.run(["play", "run"]) == 2  # before any data is read
    assert "its samples are on a disk, and the page takes a run's in memory" in capsys.readouterr().err
    assert cli.run(["cache", "--clear"]) == 0


def test_files_with_other_types_and_orders_of_columns(tmp_path, monkeypatch):
    """Whole numbers in one file and fractions in another are fractions, as in memory."""
    (tmp_path / "sales").mkdir()
    table = frame(300).select("price", "up", "new", "y")
    table[:100].with_columns(pl.col("price").cast(pl.Int32)).write_parquet(tmp_path / "sales" / "0.parquet")
    table[:0].write_parquet(tmp_path / "sales" / "1.parquet")
    table[100:].select("y", "new", "up", "price").write_parquet(tmp_path / "sales" / "2.parquet")
    data = load(tmp_path / "sales", target="y", memory=SMALL)
    assert data.source.features[[0, 250]]["price"].to_list() == [int(table["price"][0]), table["price"][250]]
    with pytest.raises(DataError, match=r"1\.parquet: there is a header but no rows"):
        load(tmp_path / "sales", target="y")
    table.with_columns(pl.col("price").cast(pl.String)).write_parquet(tmp_path / "sales" / "1.parquet")
    problem = "1.parquet, column 'price': its values are String, but Int32 in"
    with pytest.raises(DataError, match=re.escape(problem)):
        load(tmp_path / "sales", target="y", memory=SMALL)
    for content in (b"", b"PAR1 but no more", (tmp_path / "sales" / "0.parquet").read_bytes()[:-700]):
        (tmp_path / "sales" / "1.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"1\.parquet: .*Parquet"):
            load(tmp_path / "sales", target="y", memory=SMALL)
