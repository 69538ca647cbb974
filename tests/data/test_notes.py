"""What is said about how data was read and split."""

import datetime
import json

import numpy as np
import polars as pl
import pytest

from chainrule import Run, load
from chainrule.cli import run
from chainrule.errors import DataError


def table(rows=100, **columns):
    random = np.random.default_rng(1)
    return pl.DataFrame({"x": random.normal(size=rows), **columns, "y": random.normal(size=rows)})


def notes(*what, **settings):
    return load(*what, **settings).notes


def test_which_files_a_pattern_matched_is_said_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for month in range(1, 4):
        table(40).write_csv(f"sales-{month:02d}.csv")
    said = "read 3 files as one table, in the order of their names: sales-01.csv to sales-03.csv"
    assert said in notes("sales-*.csv", target="y")
    assert "read one file: sales-01.csv" in notes("sales-*1.csv", target="y")
    assert not any("read" in note for note in notes("sales-01.csv", target="y"))

    assert run(["train", "sales-*.csv", "--epochs", "1", "--network", "2 tanh", "--output", "r"]) == 0
    assert said in capsys.readouterr().err
    assert run(["show", "r", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["data"]["files"]
    assert kept == ["sales-01.csv", "sales-02.csv", "sales-03.csv"]
    table(40).write_csv("sales-04.csv")
    with pytest.raises(
        DataError, match=r"it has changed .* \(new: sales-04.csv\): it has 160 rows, not 120; restore it"
    ):
        Run.open("r").load_data()
    for month in (3, 4):
        (tmp_path / f"sales-{month:02d}.csv").unlink()
    with pytest.raises(DataError, match=r"\(missing: sales-03.csv\)"):
        Run.open("r").load_data()


def test_texts_that_are_read_as_missing_are_noted():
    frame = table(60, garage=["none", "double", "single"] * 20, note=["-", "n/a", "a garden"] * 20)
    found = notes(frame, target="y")
    assert "read 20 cells 'none' as missing in column 'garage': rename what is a value of its own" in found
    assert any("20 cells '-'" in note and "20 cells 'n/a'" in note for note in found)
    assert not any("missing" in note for note in notes(table(60, garage=["no", "double", None] * 20), target="y"))


def test_classes_of_an_order_that_never_occur_are_noted():
    frame = table(40).with_columns(y=pl.Series(["low", "high"] * 20))
    said = "no row has 'hgih', which the order of the classes names: a typo?"
    assert said in notes(frame, order=["low", "hgih", "high"])
    assert not any("typo" in note for note in notes(frame, order=["low", "high"]))
    numbers = table(40).with_columns(y=pl.Series([1, 2] * 20))
    assert "no row has '3', which the order of the classes names: a typo?" in notes(numbers, order=["1", "2", "3"])
    with pytest.raises(DataError, match="high"):
        load(frame, order=["low", "hgih"])


def test_the_size_of_groups_is_said_where_they_make_another_share():
    even = notes(table(patient=[f"p{k // 5}" for k in range(100)]), target="y", split="group:patient")
    assert "groups of 'patient': 14 for training, 2 for validation, 4 for test" in even
    assert not any("stays whole" in note for note in even)
    halves = notes(table(patient=["a"] * 50 + ["b"] * 45 + ["c"] * 5), target="y", split="group:patient")
    said = "the test set has 5 % of the rows, not 20 %: each group stays whole, and the largest has 50 % of the rows"
    assert said in halves
    assert "the validation set has 45 % of the rows, not 10 %" in "\n".join(halves)


def test_where_the_sets_begin_is_said():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=k) for k in range(100)]
    said = "by 'at', the validation set begins at 2024-03-11, the test set begins at 2024-03-21"
    assert said in notes(table(at=days), target="y", split="time:at")
    texts = [day.strftime("%d.%m.%Y") for day in days]
    assert said in notes(table(at=texts), target="y", split="time:at")


def test_separate_data_without_the_column_can_not_be_compared():
    frame = table(at=np.arange(100.0))
    (note,) = [
        note for note in notes(frame, target="y", split="time:at", test=frame.tail(9), drop="at") if "table: " in note
    ]
    assert "can't be told by its 'at'" in note
