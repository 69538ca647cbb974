"""Splits by time, by group and in order: no leak between sets, and the same split in a run."""

import datetime
from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.cli import run
from chainrule.data import load
from chainrule.errors import DataError, SettingError
from chainrule.runs import Recorder, Run, train

DAY = datetime.date(2024, 1, 1)


def table(times=None, groups=None, rows=60):
    random = np.random.default_rng(0)
    columns = {"x": random.normal(size=rows)}
    if times is not None:
        columns["at"] = times
    if groups is not None:
        columns["patient"] = groups
    return pl.DataFrame({**columns, "y": random.normal(size=rows)})


def parts(data):
    return [[] if rows is None else rows.tolist() for rows in (data.rows, data.validation_rows, data.test_rows)]


def in_text(days, written):
    return [(DAY + datetime.timedelta(days=int(k))).strftime(written) for k in days]


SHARES = st.sampled_from([0, 0.1, 0.2, 0.4])
KINDS = st.sampled_from(["date", "number", "text"])


@given(st.lists(st.integers(0, 9), min_size=20, max_size=80), SHARES, SHARES, KINDS)
def test_the_latest_rows_are_held_out(days, validation, test, kind):
    forms = {
        "date": [DAY + datetime.timedelta(days=k) for k in days], "number": days, "text": in_text(days, "%d %b %Y")
    }  # fmt: skip
    frame = table(times=forms[kind], rows=len(days))
    if len(set(days)) < 1 + (validation > 0) + (test > 0):
        with pytest.raises(DataError, match=r"column 'at': (all rows have the same|there are 2) times?, but each"):
            load(frame, split="time:at", validation=validation, test=test)
        return
    try:
        data = load(frame, split="time:at", validation=validation, test=test)
    except DataError as error:
        assert "leave fewer than 2 to train on" in str(error)  # noqa: PT017
        return
    found, days = parts(data), np.array(days)
    assert sorted([row for rows in found for row in rows]) == list(range(len(days)))
    assert [bool(rows) for rows in found] == [True, validation > 0, test > 0]
    filled = [days[rows] for rows in found if rows]
    assert all(before.max() < after.min() for before, after in pairwise(filled))


def test_distinct_times_are_held_out_by_the_exact_share():
    times = np.random.default_rng(1).permutation(60)
    found = parts(load(table(times=times), split="time:at"))
    assert list(map(len, found)) == [42, 6, 12]
    assert sorted(times[found[2]]) == list(range(48, 60))


@given(st.lists(st.integers(0, 9), min_size=20, max_size=80), SHARES, SHARES, st.integers(0, 3), st.booleans())
def test_no_group_is_in_two_sets(groups, validation, test, seed, in_words):
    names = [f"p{k}" for k in groups] if in_words else groups
    frame = table(groups=names, rows=len(groups))
    try:
        data = load(frame, split="group:patient", validation=validation, test=test, seed=seed)
    except DataError as error:
        few = len(set(groups)) < 1 + (validation > 0) + (test > 0)
        assert ("each of the" in str(error)) == few  # noqa: PT017
        return
    found, groups = parts(data), np.array(groups)
    assert sorted([row for rows in found for row in rows]) == list(range(len(groups)))
    assert [bool(rows) for rows in found] == [True, validation > 0, test > 0]
    seen = [set(groups[rows].tolist()) for rows in found]
    assert not any(one & other for one, other in combinations(seen, 2))
    assert data.input_names == ["x"]


def test_many_small_groups_are_divided_by_the_shares_and_the_seed():
    frame = table(groups=[k // 3 for k in range(300)], rows=300)
    first, again, other = (parts(load(frame, split="group:patient", seed=seed)) for seed in (0, 0, 1))
    assert list(map(len, first)) == [210, 30, 60]
    assert first == again != other


def test_rows_are_split_in_order_without_shuffling():
    found = parts(load(table(), shuffle=False))
    assert found == [list(range(42)), list(range(42, 48)), list(range(48, 60))]
    assert parts(load((np.arange(60.0), np.arange(60.0)), shuffle=False)) == found


def test_notes_say_how_rows_were_split():
    frame = table(times=range(60), groups=[k % 20 for k in range(60)])
    assert "split by time: the latest rows by 'at' are held out" in load(frame, split="time:at").notes
    assert "split by group: no 'patient' is in two sets; it is no input" in load(frame, split="group:patient").notes
    assert "split in order: the last rows are held out" in load(frame, shuffle=False).notes
    assert not any("split" in note for note in load(frame).notes)


def test_the_column_of_times_is_an_input_unless_it_is_dropped():
    frame = table(times=range(60))
    assert load(frame, split="time:at").input_names == ["x", "at"]
    data = load(frame, split="time:at", drop="at")
    assert data.input_names == ["x"]
    assert parts(data) == parts(load(frame, split="time:at"))


@pytest.mark.parametrize(
    ("choice", "error", "problem"),
    [
        ({"split": "time"}, SettingError, "the split 'time': write it as time:COLUMN or group:COLUMN"),
        ({"split": "group:"}, SettingError, "the split 'group:': write it as"),
        ({"split": 3}, SettingError, "the split 3: write it as"),
        ({"split": "tme:at"}, SettingError, "unknown way to split 'tme'; did you mean 'time'"),
        ({"split": "time:att"}, DataError, "table: unknown column 'att'; did you mean 'at'"),
        ({"split": "time:y"}, DataError, "table: 'y' is the target, by which rows can't be split; name another column"),
        ({"split": "time:word"}, DataError, "column 'word': its values are no dates, times or numbers, by which"),
        ({"split": "time:gap"}, DataError, "row 4, column 'gap': the time is missing, by which rows are split; fill"),
        ({"split": "group:gap"}, DataError, "row 4, column 'gap': the group is missing"),
        ({"split": "group:same"}, DataError, "column 'same': all rows have the same group, but each of the 3 sets"),
        ({"split": "time:same"}, DataError, "column 'same': all rows have the same time, but each of the 3 sets"),
        ({"split": "group:two"}, DataError, "column 'two': there are 2 groups, but each of the 3 sets needs one"),
        ({"split": "time:at", "shuffle": False}, SettingError, "the split 'time:at' can't be combined with shuffle"),
        ({"shuffle": "no"}, SettingError, "shuffle is 'no'; pass True or False"),
    ],
)  # fmt: skip
def test_what_cannot_split_is_refused(choice, error, problem):
    frame = pl.DataFrame({
        "x": np.arange(60.0), "at": range(60), "word": [f"w{k % 7}" for k in range(60)], "same": [1] * 60,
        "gap": [None if k == 3 else k for k in range(60)], "two": [k % 2 for k in range(60)], "y": np.arange(60.0) % 7,
    })  # fmt: skip
    with pytest.raises(error, match=problem) as raised:
        load(frame, **choice)
    assert "\n" not in str(raised.value)


def test_arrays_have_no_columns_to_split_by():
    with pytest.raises(DataError, match="arrays: it is not a table with columns to split by"):
        load((np.arange(60.0), np.arange(60.0)), split="time:at")


@pytest.mark.parametrize(
    "choice", [{"split": "time:at"}, {"split": "group:patient"}, {"shuffle": False}, {"split": "time:at", "drop": "at"}]
)
def test_a_run_is_split_the_same_again(choice, tmp_path):
    path = tmp_path / "t.csv"
    table(times=in_text(np.arange(60) % 37, "%Y-%m-%d"), groups=[f"p{k % 19}" for k in range(60)]).write_csv(path)
    drop = {"drop": choice["drop"]} if "drop" in choice else {}
    others = {key: value for key, value in choice.items() if key != "drop"}
    data = load(path, **choice)
    trained = train("4 relu", data, epochs=2, callbacks=[Recorder(tmp_path / "run")])
    opened = Run.open(tmp_path / "run")
    again = opened.load_data()
    assert parts(again) == parts(data)
    assert opened.own_data(data) is data
    np.testing.assert_array_equal(again.test.x, trained.data.test.x)
    assert opened.resume(epochs=3).progress.epoch == 3
    with pytest.raises(DataError, match=r"differs in .*the setting (split|shuffle)"):
        opened.own_data(load(path, **drop, **({"shuffle": False} if "split" in others else {})))


def test_train_and_the_command_take_splits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = table(times=in_text(np.arange(60) % 37, "%Y-%m-%d"), groups=[f"p{k % 19}" for k in range(60)])
    frame.write_csv("t.csv")
    assert run(["train", "t.csv", "--split", "time:at", "--epochs", "2"]) == 0
    assert "split by time: the latest rows by 'at' are held out" in capsys.readouterr().err
    assert run(["train", "t.csv", "--no-shuffle", "--epochs", "2"]) == 0
    assert run(["evaluate", "runs/t-1"]) == 0
    trained = train("4 relu", "t.csv", split="time:at", epochs=2)
    assert parts(Run.open("runs/t-1").load_data()) == parts(trained.data)
    in_order = parts(train("4 relu", "t.csv", shuffle=False, epochs=2).data)
    assert parts(Run.open("runs/t-2").load_data()) == in_order
    capsys.readouterr()
    assert run(["train", "t.csv", "--split", "date"]) == 2
    assert capsys.readouterr().err.strip().startswith("chainrule: the split 'date': write it as time:COLUMN")
    assert run(["train", "t.csv", "--split", "group:nobody"]) == 2
    assert "t.csv: unknown column 'nobody'; choose one of" in capsys.readouterr().err


def test_separate_data_of_the_same_groups_or_of_earlier_times_is_noted():
    frame = table(times=np.arange(60), groups=[k // 3 for k in range(60)])
    same = load(frame, target="y", split="group:patient", test=frame.head(9))
    assert any("rows are of groups trained on, by 'patient'" in note for note in same.notes)
    others = load(frame.head(30), target="y", split="group:patient", test=frame.tail(9))
    assert not any("trained on" in note for note in others.notes)

    early = load(frame.head(50), target="y", split="time:at", test=frame.head(9), validation=frame.tail(3))
    (note,) = [note for note in early.notes if "no later" in note]
    assert note == "table: all of its 9 rows are no later than the last training row (49), by 'at'"
