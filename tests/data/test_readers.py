"""Files and frames of every kind are read correctly, or refused in a line that says where and why."""

import contextlib
import datetime
import io
import os
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from chainrule.cli import run
from chainrule.data import find, find_samples, load
from chainrule.data.barrier import Limits, guarded, read_in_child
from chainrule.errors import ChainruleError, DataError, SettingError
from chainrule.runs import Recorder, Run, train

ROWS = 60
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=ROWS)
WHEN = datetime.datetime(2024, 1, 1)


def frame(**columns):
    """A table with a feature of numbers, these columns, and a numeric target."""
    return pl.DataFrame({"size": NUMBERS, **columns, "price": 2 * NUMBERS + 1})


def parquet(table):
    content = io.BytesIO()
    table.write_parquet(content)
    return content.getvalue()


def notes(data):
    """The notes of a data set other than the first, which says how its columns were read."""
    return data.notes[1:]


# What takes a process down


@pytest.mark.parametrize("in_child", [False, True])
def test_a_damaged_byte_of_a_parquet_file_ends_no_process(in_child, tmp_path):
    content = parquet(frame(kind=["a", "b"] * (ROWS // 2)))
    for position in range(4, len(content) - 4, max(1, len(content) // 12)):
        path = tmp_path / "damaged.parquet"
        path.write_bytes(content[:position] + b"\x13" + content[position + 1 :])
        with contextlib.suppress(DataError):
            find(path) if not in_child else read_in_child(
                path, "parquet", path.read_bytes(), Limits(1000, 2_000_000_000)
            )


def test_a_small_parquet_file_with_billions_of_cells_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "large.parquet"
    rows = 5_000_000
    constants = {f"c{k}": pl.Series([0], dtype=pl.Int8).new_from_index(0, rows) for k in range(41)}
    pl.DataFrame(constants).write_parquet(path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"large.parquet: 5,000,000 x 41 is more than 200,000,000 numbers; use fewer"):
        find(path)


def test_decoding_takes_a_limited_amount_of_memory(tmp_path):
    content = parquet(pl.DataFrame({"a": np.zeros(50_000_000)}))
    with pytest.raises(DataError, match=r"takes more than 0.3 GB of memory|can't be decoded"):
        read_in_child(tmp_path / "a.parquet", "parquet", content, Limits(100_000_000, 300_000_000))


def test_whatever_a_library_raises_becomes_a_data_error():
    class PanicException(BaseException):
        """As of pyo3."""

    for error in (PanicException("a panic\nand more"), RecursionError(), ValueError(), SystemError("x"), MemoryError()):
        with (
            pytest.raises(DataError, match=r"^a\.csv: (bad \(|it takes more memory)"),
            guarded("a.csv: it takes more memory" if isinstance(error, MemoryError) else "a.csv: bad"),
        ):
            raise error
    for error in (KeyboardInterrupt(), SettingError("as it is")):
        with pytest.raises(type(error)), guarded("a.csv"):
            raise error


def test_a_named_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "dogs").mkdir()
    for k in range(20):
        Image.new("L", (4, 4), k).save(tmp_path / ("cats" if k % 2 else "dogs") / f"{k}.png")
    os.mkfifo(tmp_path / "cats" / "pipe.png")
    os.mkfifo(tmp_path / "pipe.csv")
    assert len(find(tmp_path)) == 20
    assert len(find_samples(tmp_path)) == 20
    for path in (tmp_path / "pipe.csv", tmp_path / "cats" / "pipe.png"):
        with pytest.raises(DataError, match=r"pipe.*: (it is not a regular file|not a readable image)"):
            find_samples(path)


def test_pictures_beyond_the_budget_are_refused_before_they_are_decoded(tmp_path):
    for k in range(2):
        (tmp_path / str(k)).mkdir()
        Image.new("1", (15_000, 15_000)).save(tmp_path / str(k) / "large.png")
    with pytest.raises(DataError, match=r"large.png: .*(15,000 x 15,000 is more than|exceeds limit)"):
        find(tmp_path)


# Wrong without a word


@pytest.mark.parametrize(
    ("texts", "separator", "expected"),
    [
        (["1,5", "2,25", "-3"], ";", [1.5, 2.25, -3]),
        (["1.234,5", "2.000.000", "7"], ";", [1234.5, 2_000_000, 7]),
        (["1,234", "2,5", "3"], ";", [1.234, 2.5, 3]),
        (['"1,5"', '"22,25"', "3"], ",", [1.5, 22.25, 3]),
        (['"1,234.5"', '"2,000,000"', "3"], ",", [1234.5, 2_000_000, 3]),
        (["1,5e3", "2,5", "3"], "\t", [1500, 2.5, 3]),
        (["$1.5", "-$2.25", " $ 3"], ",", [1.5, -2.25, 3]),
        (["1.234,5 €", "2 €", "7€"], ";", [1234.5, 2, 7]),
        (["12.5%", "100 %", "-3%"], ",", [0.125, 1, -0.03]),
        (["1.5", "n/a", "3"], ",", [1.5, None, 3]),
        (["none", "$2", "-"], ",", [None, 2, None]),
    ],
)
def test_numbers_with_commas_signs_and_gaps(texts, separator, expected, tmp_path):
    path = tmp_path / ("data.tsv" if separator == "\t" else "data.csv")
    rows = [f"{texts[k % 3]}{separator}{k}" for k in range(ROWS)]
    path.write_text("\n".join([f"size{separator}price", *rows]))
    assert find(path).features["size"].to_list() == pytest.approx(expected * (ROWS // 3))


@pytest.mark.parametrize("quote", ["", '"'])
def test_codes_with_leading_zeros_are_no_numbers(quote, tmp_path):
    codes = ["01234", "90210", "8001", "00501"]
    rows = [f"{quote}{codes[k % 4]}{quote},{k % 7},0.{k},{k}" for k in range(ROWS)]
    (tmp_path / "data.csv").write_text("\n".join(["zip,count,share,price", *rows]))
    frame = find(tmp_path / "data.csv").features
    assert frame["zip"].to_list() == [codes[k % 4] for k in range(ROWS)]
    assert [str(kind) for kind in frame.dtypes[1:]] == ["Int64", "Float64"]
    trained = train("3 tanh", load(tmp_path / "data.csv"), epochs=1)
    assert trained.preparation.names[:4] == ["zip_00501", "zip_01234", "zip_8001", "zip_90210"]
    assert len(trained.predict(tmp_path / "data.csv")) == ROWS
    numbers = load(tmp_path / "data.csv", read={"zip": "number"})
    assert numbers.columns[0].role == "number"


@pytest.mark.parametrize("texts", [["$1", "2", "$3"], ["$1", "€2", "$3"], ["1$5", "2$5", "3$5"], ["$1%", "$2%", "$3%"]])
def test_other_signs_make_a_text(texts, tmp_path):
    (tmp_path / "data.csv").write_text("\n".join(["size,price", *(f"{texts[k % 3]},{k}" for k in range(ROWS))]))
    assert load(tmp_path / "data.csv").columns[0].role == "category"


@pytest.mark.parametrize(
    ("days", "is_guessed"),
    [
        (["03/04/2024", "01/02/2024", "05/04/2024"], True),
        (["03/04/2024", "13/02/2024", "05/04/2024"], False),
        (["03/13/2024", "01/02/2024", "05/04/2024"], False),
        (["03-04-2024 10:30", "01-02-2024 08:00", "05-04-2024 09:00"], True),
        (["3/4/24", "1/2/24", "5/4/24"], True),
        (["3/4/24", "13/2/24", "5/4/24"], False),
        (["03/03/2024", "01/01/2024", "05/05/2024"], False),
        (["03.04.2024", "01.02.2024", "05.04.2024"], False),
        (["2024-04-03", "2024-02-01", "2024-05-05"], False),
    ],
)
def test_a_guess_which_number_of_a_date_is_the_day_is_announced(days, is_guessed, tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["day,price", *(f"{days[k % 3]},{k}" for k in range(ROWS))]))
    data, line = load(path), "day: the first number of each date is taken to be the day"
    assert data.columns[0].role == "date"
    assert any(line in note for note in data.notes) is is_guessed
    train("3 tanh", data, epochs=1, callbacks=[Recorder(tmp_path / "run")])
    assert run(["show", str(tmp_path / "run")]) == 0
    assert (line in " ".join(capsys.readouterr().out.split())) is is_guessed


def test_commas_that_may_mean_either_are_refused(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["size,price", *(f'"{k + 1},{k + 100}",{k}' for k in range(ROWS))]))
    with pytest.raises(DataError, match="row 1, column 'size': '1,100' may be a number with decimals or with"):
        load(path)
    assert load(path, read={"size": "category"}).columns[0].role == "text"


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (np.where(np.arange(ROWS) == 3, 1e39, NUMBERS)[:, None], NUMBERS, r"x, row 3, column 0: 1e\+39 is too large"),
        (1e160 * NUMBERS[:, None], NUMBERS, "x, row 0, column 0: .* is too large"),
        (NUMBERS[:, None], 1e300 * NUMBERS, "y, row 0: .* is too large"),
    ],
)
def test_numbers_beyond_float32_are_refused(x, y, problem, tmp_path):
    np.savez(tmp_path / "data.npz", x=x, y=y)
    with pytest.raises(DataError, match=problem):
        load(tmp_path / "data.npz")
    table = pl.DataFrame({"x": x[:, 0], "y": y})
    with pytest.raises(DataError, match=r"row \d, column '[xy]': .* is too large"):
        load(table)


def test_prepared_inputs_scales_and_predictions_are_finite():
    small = 1e-30 * NUMBERS[:, None]
    data = load((small, NUMBERS))
    with pytest.raises(DataError, match="row 2, column 0: the number is too far from those of the training set"):
        data.preparation.apply(find_samples(np.array([[0.0], [1e20]])))
    with pytest.raises(DataError, match="column 0: its numbers differ too little to be scaled"):
        load((1e-300 * NUMBERS[:, None], NUMBERS))
    with pytest.raises(DataError, match="column 'x': its numbers differ too little to be scaled"):
        load(pl.DataFrame({"x": 1e-300 * NUMBERS, "y": NUMBERS}))
    large = load(pl.DataFrame({"x": 1e15 + np.arange(ROWS), "y": NUMBERS}))
    assert len(np.unique(large.training.x)) == len(large.training.x)
    trained = train("4 relu", (np.array(NUMBERS)[:, None], 1e3 * NUMBERS), epochs=1)
    with pytest.raises(ValueError, match="read-only"):  # predictions keep copies
        trained.parameters[:] = 1e30
    huge = replace(trained, parameters=np.full_like(trained.parameters, 1e30))
    with pytest.raises(DataError, match="row 1: the prediction is not finite"):
        huge.predict(np.ones((1, 1)))


def test_a_line_break_in_a_name_is_said_to_be_one(tmp_path):
    (tmp_path / "t.csv").write_text('"a\nb",c\n' + "1,2\n" * 30)
    with pytest.raises(DataError, match="line 1: a column's name has a line break; write it in one line"):
        load(tmp_path / "t.csv")


def test_targets_of_no_columns_are_refused():
    with pytest.raises(DataError, match=r"y must have the shape .samples,., .samples, outputs. or .*not"):
        load((NUMBERS[:, None], np.zeros((ROWS, 0))))
    with pytest.raises(SettingError, match="the target at positions can be classes or numbers, not multilabel"):
        load((NUMBERS[:, None], np.zeros((ROWS, 2, 2))))


def test_one_hot_targets_are_classes_and_other_columns_of_0_and_1_labels(tmp_path):
    classes = np.arange(ROWS) % 3
    y, several = np.eye(3)[classes], np.eye(3)[classes] + np.eye(3)[(classes + 1) % 3]
    np.savez(tmp_path / "data.npz", x=several, y=y)
    for what in ((several, y), (several, y.astype(bool)), tmp_path / "data.npz"):
        data = load(what)
        assert (data.task, data.target.classes) == ("classification", (0, 1, 2))
        np.testing.assert_array_equal(data.training.y, classes[data.rows])
    trained = train("4 tanh", data, epochs=1)
    assert trained.evaluate((several, y)) == trained.evaluate((several, classes))
    for y in (several, np.eye(3)[classes][:, :2]):
        with pytest.raises(DataError, match=r"target has \d columns, which are not one-hot.*choose regression"):
            load((several, y), task="classification")
        assert load((several, y)).task == "multilabel"
        with pytest.raises(DataError, match="which are not one-hot"):
            trained.evaluate((several, y))
        assert load((several, y), task="regression").target.width == y.shape[1]
    assert load((several, 2 * y)).task == "regression"


def test_whole_numbers_that_are_taken_for_classes_are_announced(tmp_path):
    visits = np.arange(ROWS) % 5
    note = "the 5 whole numbers in visits are predicted as classes; to predict a quantity, choose regression"
    table = frame().drop("price").with_columns(visits=visits)
    assert note in notes(load(table))[0]
    for data in (load(table, task="regression"), load(table, task="classification"), load(table, target="size")):
        assert notes(data) == []
    for values in (visits % 2, [f"v{k}" for k in visits]):
        assert notes(load(table.with_columns(visits=pl.Series(values)))) == []
    assert load((NUMBERS, visits)).notes == [note.replace("visits", "y") + ' (task="regression")']


@pytest.mark.parametrize("choice", [{"target": "sise"}, {"drop": ["size"]}, {"read": {"size": "number"}}])
def test_choosing_columns_where_there_are_none_is_refused(choice):
    for what in ("iris", (NUMBERS, NUMBERS)):
        with pytest.raises(SettingError, match="it is not a table with columns to choose from"):
            load(what, **choice)
    assert load("iris", target="species").target.name == "species"


@pytest.mark.parametrize("what", ["iris", "shapes", "digits", "bars", (np.ones((9, 8, 8)), np.arange(9) % 2)])
def test_only_folders_of_pictures_are_resized(what, tmp_path, capsys):
    with pytest.raises(SettingError, match="no folder of pictures, which alone are resized; leave image_size out"):
        load(what, image_size=(8, 8))
    if isinstance(what, str):
        assert run(["train", what, "--image-size", "8x8", "-o", str(tmp_path / "run")]) == 2
        message = f"chainrule: {what}: it is no folder of pictures, which alone are resized; leave --image-size out"
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "run").exists()


def test_a_run_that_recorded_a_size_without_using_it_can_still_be_read(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("chainrule.data.loading._check_choices", lambda *_: None)  # as before
        train("flatten, 2", "digits", image_size=(4, 4), epochs=1, callbacks=[Recorder(tmp_path / "run")])
    recorded = Run.open(tmp_path / "run")
    assert recorded.data["settings"]["image_size"] == [4, 4]
    assert recorded.load_data().input_shape == (8, 8)


@pytest.mark.parametrize("mode", ["16 bits", "in 0..1"])
def test_pictures_of_16_bits_and_of_floating_point_numbers(mode, tmp_path):
    for k in range(20):
        folder = tmp_path / ("dark" if k % 2 else "light")
        folder.mkdir(exist_ok=True)
        values = RANDOM.uniform(0, 0.4, (5, 6)) + 0.5 * (k % 2)
        if mode == "16 bits":
            Image.fromarray((values * 65535).astype(np.uint16)).save(folder / f"{k}.png")
        else:
            Image.fromarray(values.astype(np.float32)).save(folder / f"{k}.tif")
    x = find(tmp_path).features
    assert x.shape == (20, 5, 6)
    assert len(np.unique(x)) > 500
    assert x.max() == pytest.approx(0.9 if mode == "in 0..1" else 0.9 * 255, rel=0.02)
    assert find(tmp_path, image_size=(3, 3)).features.shape == (20, 3, 3)
    Image.new("L", (6, 5)).save(tmp_path / "dark" / "eight.png")
    with pytest.raises(DataError, match=r"pixels are .*, but those of .* are .*; convert one"):
        find(tmp_path)


def test_sizes_of_pictures_are_width_x_height(tmp_path):
    for name, size in (("a", (8, 6)), ("b", (7, 6))):
        (tmp_path / name).mkdir()
        Image.new("L", size).save(tmp_path / name / "one.png")
    with pytest.raises(DataError, match=r"b/one.png: 7 x 6 pixels, but .*a/one.png has 8 x 6"):
        find(tmp_path)


# How each column was read


def test_columns_that_cannot_be_learned_from_are_left_out_with_a_note():
    table = frame(constant=[1] * ROWS, empty=pl.Series([None] * ROWS, dtype=pl.String))
    data = load(table, target="price")
    assert data.input_names == ["size"]
    assert notes(data) == ["left out constant: every row has the same value", "left out empty: it is empty"]


NESTED = {
    "lists": ([[k, 1] for k in range(ROWS)], "lists"),
    "arrays": (pl.Series([[k, 1] for k in range(ROWS)], dtype=pl.Array(pl.Int64, 2)), "lists"),
    "records": ([{"a": k} for k in range(ROWS)], "records"),
    "bytes": ([b"x"] * ROWS, "lists, records, bytes or objects"),
    "objects": (pl.Series([object()] * ROWS, dtype=pl.Object), "lists, records, bytes or objects"),
}


@pytest.mark.parametrize("kind", NESTED)
def test_columns_of_lists_records_and_objects_are_refused_by_name(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    values, words = NESTED[kind]
    table = frame(tags=values, more=values)
    problem = rf"column 'tags': its values are {words}, .*, or leave it out \(drop=\[\"tags\", \"more\"\]\)"
    of_pandas = pd.DataFrame({"size": NUMBERS, "tags": list(values), "more": list(values), "price": 2 * NUMBERS})
    for what in (table, table.lazy(), of_pandas, (of_pandas.drop(columns="price"), 2 * NUMBERS)):
        with pytest.raises(DataError, match=problem):
            load(what, target=None if isinstance(what, tuple) else "price")
    with pytest.raises(DataError, match="column 'tags': its values can't be predicted"):
        load(table, target="tags")
    trained = train("4 tanh", load(table, target="price", drop=["tags", "more"]), epochs=1)
    assert trained.evaluate(table) == trained.evaluate(table.drop("tags", "more")), "later data may have them"
    assert len(trained.predict(of_pandas)) == ROWS
    if kind != "objects":
        table.write_parquet("data.parquet")
        assert run(["train", "data.parquet", "--target", "price"]) == 2
        err = capsys.readouterr().err
        assert "chainrule: data.parquet, column 'tags': its values are lists, " in err
        assert "or leave it out (--drop tags --drop more)" in err
        assert not (tmp_path / "runs").exists()


def test_the_row_index_that_pandas_writes_is_recognized(tmp_path):
    path, table = tmp_path / "data.csv", pd.DataFrame({"size": NUMBERS, "price": 2 * NUMBERS})
    table.to_csv(path)
    data = load(path)
    assert data.input_names == ["size"]
    assert notes(data) == ["left out the first: it is the row index that pandas writes"]
    path.write_text(path.read_text().replace("\n3,", "\n4,"))
    with pytest.raises(DataError, match="line 1: column 1 has no name; name every column"):
        load(path)


def test_how_columns_are_read_can_be_chosen(tmp_path):
    path = tmp_path / "data.csv"
    frame(zip=[f"{k % 7:05d}" for k in range(ROWS)], day=["2024-01-02", "2024-03-04"] * (ROWS // 2)).write_csv(path)
    assert {c.name: (c.type, c.role) for c in load(path).columns} == {
        "size": ("number", "number"), "zip": ("text", "category"), "day": ("date", "date"),
    }  # fmt: skip
    data = load(path, read={"zip": "category", "day": "category"})
    assert {c.name: c.role for c in data.columns} == {"size": "number", "zip": "category", "day": "category"}
    assert data.input_names[1:8] == [f"zip_{k:05d}" for k in range(7)]
    for read, problem in (
        ({"zip": "date"}, "row 1, column 'zip': '00000' is not a date, which it is read as"),
        ({"sise": "number"}, "unknown column 'sise'; did you mean 'size'"),
        ({"size": "numbr"}, "unknown kind of column 'numbr'; did you mean 'number'"),
    ):
        with pytest.raises(ChainruleError, match=problem):
            load(path, read=read)


def test_digits_in_a_column_of_text_stay_text_in_every_file(tmp_path):
    path, new = tmp_path / "data.csv", tmp_path / "new.csv"
    table = frame(code=[f"{k % 4:03d}" if k % 5 else "x" for k in range(ROWS)])
    table.write_csv(path)
    table.with_columns(code=pl.lit("003")).write_csv(new)
    trained = train("4 tanh", load(path), epochs=1)
    prepared = trained.preparation.apply(find_samples(new, texts=trained.preparation.texts))
    assert (prepared[:, trained.preparation.names.index("code_003")] > 0).all()
    np.testing.assert_array_equal(trained.predict(new), trained.predict(prepared))
    trained.evaluate(new)


# Types that do not match


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("size", "2024-01-01", r"row 2, column 'size': .* is not a number, as in the training data"),
        ("day", "soon", "row 2, column 'day': 'soon' is not a date, as in the training data"),
        ("lift", "yes", "row 2, column 'lift': 'yes' is not true or false, as in the training data"),
        ("seen", "never", "row 2, column 'seen': 'never' is not a date and time"),
        ("at", "noon", "row 2, column 'at': 'noon' is not a time of day"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_row(column, value, problem, tmp_path):
    table = frame(
        day=[WHEN.date() + datetime.timedelta(days=k) for k in range(ROWS)],
        lift=[bool(k % 2) for k in range(ROWS)],
        seen=[WHEN + datetime.timedelta(hours=k) for k in range(ROWS)],
        at=[datetime.time(k % 24, k % 60) for k in range(ROWS)],
    )
    path = tmp_path / "data.csv"
    table.write_csv(path)
    preparation = load(path).preparation
    assert [kind for _, kind in preparation.columns] == ["number", "date", "boolean", "time", "clock"]
    rows = [{name: str(table[name][k]).lower() for name in table.columns} for k in range(3)]
    rows[1][column] = value
    pl.DataFrame(rows).write_csv(path)
    with pytest.raises(DataError, match=problem):
        preparation.apply(find_samples(path))
    others = [pl.Series([[1], [2], [3]]), pl.Series([b"a", b"b", b"c"]), pl.Series([WHEN, WHEN, WHEN])]
    for other in others[: 2 if column in ("day", "seen") else 3]:
        with pytest.raises(DataError, match=f"row 1, column '{column}': .* as in the training data"):
            preparation.apply(find_samples(table[:3].with_columns(other.alias(column))))


def test_dates_where_numbers_are_expected_are_refused():
    data = load(frame())
    dates = pl.DataFrame({"size": [WHEN.date()] * 3})
    with pytest.raises(DataError, match=r"row 1, column 'size': .* is not a number, as in the training data"):
        data.preparation.apply(find_samples(dates))


# What ended in tracebacks


def test_times_durations_and_time_zones(tmp_path):
    hours = [WHEN + datetime.timedelta(hours=k * k) for k in range(ROWS)]
    table = frame(
        at=[datetime.time(k % 24, k % 60) for k in range(ROWS)],
        took=[datetime.timedelta(seconds=k) for k in range(ROWS)],
        seen=pl.Series(hours).dt.replace_time_zone("Europe/Zurich", non_existent="null", ambiguous="earliest"),
    )
    table.write_parquet(tmp_path / "data.parquet")
    for what in (table, tmp_path / "data.parquet"):
        data = load(what)
        assert [column.type for column in data.columns] == ["number", "time of day", "duration", "date and time"]
        np.testing.assert_array_equal(data.preparation.apply(find_samples(what)), data.preparation.apply(find(what)))
    seen = pd.Series(pd.to_datetime(hours)).dt.tz_localize("UTC")
    pandas = pd.DataFrame({"took": pd.to_timedelta(np.arange(ROWS), unit="s"), "seen": seen, "price": NUMBERS})
    assert [column.type for column in load(pandas).columns] == ["duration", "date and time"]


def test_line_ends_of_old_macs(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"size,price\r" + b"".join(b"%d,%d\r" % (k, k % 2) for k in range(ROWS)))
    assert len(find(path)) == ROWS


def test_a_very_long_name(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a" * 200_000 + ",b\n1,2\n")
    with pytest.raises(DataError, match=r"line 1: can't be read as a table .field larger than field limit"):
        find(path)


def test_names_of_pandas_columns():
    table = pd.DataFrame(np.column_stack([NUMBERS, NUMBERS**2, NUMBERS]))
    assert load(table).input_names == ["0", "1"]
    assert load(table, target="0").target.name == "0"
    table.columns = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    assert load(table).input_names == ["('a', 1)", "('a', 2)"]
    table.columns = ["a", "a", "b"]
    with pytest.raises(DataError, match="two columns are named 'a'; rename one of them"):
        load(table)


def npz(path, x, method=zipfile.ZIP_STORED, **arrays):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in {"x": x, **arrays}.items():
            content = array if isinstance(array, bytes) else io.BytesIO()
            if not isinstance(array, bytes):
                np.save(content, array)
                content = content.getvalue()
            archive.writestr(f"{name}.npy", content)


def test_targets_of_bytes_are_text(tmp_path):
    npz(tmp_path / "data.npz", NUMBERS, y=np.array([b"red", b"blue"] * (ROWS // 2)))
    assert load(tmp_path / "data.npz").target.classes == ("blue", "red")
    for y in (np.arange(ROWS).astype("timedelta64[s]"), NUMBERS + 1j, np.zeros(ROWS, dtype=[("a", "f8")])):
        npz(tmp_path / "data.npz", NUMBERS, y=y)
        with pytest.raises(DataError, match=r"data.npz: y must be numbers or text"):
            load(tmp_path / "data.npz")


@pytest.mark.parametrize("damage", ["encrypted", "unknown compression", "header", "deep header", "endless", "no array"])
def test_damaged_npz_files(damage, tmp_path):
    path = tmp_path / "data.npz"
    header = {
        "header": b"{'descr': 3, 'fortran_order'",
        "deep header": b"(" * 5000,
        "endless": b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}",
    }.get(damage, b"")
    x = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header if header else NUMBERS
    npz(path, b"text" if damage == "no array" else x, y=NUMBERS)
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        if damage == "encrypted":
            content[at + flags] |= 1
        if damage == "unknown compression":
            content[at + flags + 2] = 77
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data.npz: (not an NPZ file of plain arrays|x must be a numeric array)"):
        load(path)


def test_a_missing_column_with_a_similar_one_in_its_place_is_told():
    trained = train("4 tanh", load(frame(city=["a", "b"] * (ROWS // 2)), target="price"), epochs=1)
    new = frame(city=["a", "b"] * (ROWS // 2)).rename({"city": "City"})
    with pytest.raises(DataError, match=r"column 'city', which .* is missing; if it is 'City', rename that"):
        trained.predict(new)
    with pytest.raises(DataError, match=r"is missing$"):
        trained.predict(new.drop("City"))
