"""A thinned run of the matrix of targets, features, containers and commands, and what it found."""

import datetime

import numpy as np
import polars as pl
import pytest

import matrix
from chainrule import Recorder, Run, load, train
from chainrule.cli import run as command
from chainrule.data.columns import KINDS
from chainrule.errors import ChainruleError, DataError
from chainrule.explain import explain
from chainrule.explain.page import page

ROWS = 60
SMALL = {"network": "2 tanh", "epochs": 1}
DAY = datetime.datetime(2024, 1, 1, 8)
NOISE = np.random.default_rng(0).normal(size=ROWS)

GROUPS = (
    "csv: date > count", "pandas: duration > words",
    "csv: number, once a word > count", "numpy: y of columns", "npz: x of text", "pictures: one class",
    "bad cells: date in polars", "bad cells: number in tsv",
)  # fmt: skip


@pytest.mark.parametrize("label", GROUPS)
def test_the_matrix_is_correct_or_one_line(label, tmp_path):
    chosen = [group for group in matrix.groups() if group[0] == label]
    tried, good, findings = matrix.campaign(chosen, float("inf"), tmp_path, thin=16)
    assert findings == []
    assert tried == good
    assert tried.total() > 0


def test_the_matrix_tells_what_is_wrong(tmp_path, monkeypatch):
    wrong = matrix.Trial("words", "number", "polars")
    wrong.expected = "regression", "category"
    chosen = [("polars", lambda: matrix.of_table(wrong, False, 0))]
    _, _, findings = matrix.campaign(chosen, float("inf"), tmp_path)
    assert "the task is classification, not regression" in findings[0]


def table(**columns):
    return pl.DataFrame(columns | {"size": NOISE[::-1], "price": NOISE})


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_can_be_opened_whatever_its_columns_are_read_as(kind, tmp_path):
    moments = [DAY + datetime.timedelta(minutes=700 * k) for k in range(ROWS)]
    columns = {
        "number": NOISE[::-1], "boolean": NOISE > 0, "date": [moment.date() for moment in moments], "time": moments,
        "clock": [moment.time() for moment in moments], "duration": [moment - DAY for moment in moments],
        "text": [f"house {k}" for k in range(ROWS)],
        "category": pl.Series(["a", "b"] * (ROWS // 2), dtype=pl.Categorical),
    }  # fmt: skip
    frame = table(x=columns[kind])
    trained = train(data=frame, callbacks=[Recorder(tmp_path / "run")], **SMALL)
    opened = Run.open(tmp_path / "run").trained
    assert opened.preparation.columns[0] == ("x", kind)
    np.testing.assert_array_equal(opened.predict(frame), trained.predict(frame))


@pytest.mark.parametrize("kind", ["list", "array", "struct", "binary"])
def test_a_column_that_parquet_brings_without_its_values_is_not_taken_for_missing(kind, tmp_path):
    unusable = {
        "list": [[1]] * ROWS, "struct": [{"a": 1}] * ROWS, "binary": [b"1"] * ROWS,
        "array": pl.Series([[1]] * ROWS, dtype=pl.Array(pl.Int64, 1)),
    }  # fmt: skip
    trained = train(data=table(x=NOISE.round(1)), **SMALL)
    table(x=unusable[kind]).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"column 'x': .* is not a number|column 'x': it can't be read as a number"):
        trained.predict(tmp_path / "new.parquet")


@pytest.mark.parametrize("write", ["{:.2f}".format, lambda v: f"{v:.2f}".replace(".", ","), "{:,.1f}".format])
def test_text_of_numbers_is_numbers_in_every_container(write, tmp_path):
    texts = [write(1000 + 300 * value) for value in NOISE]
    frame = table(x=texts).with_columns(price=pl.Series(texts))
    frame.write_csv(tmp_path / "data.csv", separator=";")
    frame.write_parquet(tmp_path / "data.parquet")
    found = [load(what) for what in (frame, tmp_path / "data.csv", tmp_path / "data.parquet")]
    assert {data.task for data in found} == {"regression"}
    assert {data.columns[0].role for data in found} == {"number"}
    for data in found[1:]:
        np.testing.assert_array_equal(data.training.x, found[0].training.x)
        np.testing.assert_array_equal(data.training.y, found[0].training.y)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([str(DAY.date() + datetime.timedelta(days=k)) for k in range(ROWS)], "date"),
        ([str(DAY + datetime.timedelta(hours=k)) for k in range(ROWS)], "date"),
        ([f"{k % 24:02d}:{k:02d}:00" for k in range(ROWS)], "time of day"),
    ],
)
def test_a_word_among_dates_is_refused_as_one_among_numbers_is(values, kind, tmp_path):
    frame = table(x=[*values[:6], "soon", *values[7:]])
    frame.write_csv(tmp_path / "data.csv")
    for what in (frame, tmp_path / "data.csv"):
        with pytest.raises(DataError, match=f"row 7, column 'x': 'soon' is not a {kind}, but nearly all"):
            load(what)
    assert load(tmp_path / "data.csv", read={"x": "category"}).columns[0].role == "text"


def test_a_time_where_dates_are_expected_is_not_cut_off(tmp_path):
    days = [str(DAY.date() + datetime.timedelta(days=k)) for k in range(ROWS)]
    table(x=days).write_csv(tmp_path / "data.csv")
    trained = train(data=tmp_path / "data.csv", **SMALL)
    table(x=[*days[:5], "2024-02-03T10:00:00", *days[6:]]).write_csv(tmp_path / "data.csv")
    with pytest.raises(DataError, match="row 6, column 'x': '2024-02-03T10:00:00' is not a date, as in the training"):
        trained.predict(tmp_path / "data.csv")
    assert load(tmp_path / "data.csv").preparation.names[3:5] == ["x_hour", "x_total_seconds"]


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_date_in_another_form_than_the_others_is_refused(separator, tmp_path):
    days = [str(DAY.date() + datetime.timedelta(days=k)) for k in range(ROWS)]
    path = tmp_path / ("data.csv" if separator == "," else "data.tsv")
    table(x=[*days[:5], "02/03/2024", *days[6:]]).write_csv(path, separator=separator)
    with pytest.raises(DataError, match="row 6, column 'x': '02/03/2024' is not a date, but nearly all"):
        load(path)
    trained = train(data=table(x=[DAY.date() + datetime.timedelta(days=k) for k in range(ROWS)]), **SMALL)
    with pytest.raises(DataError, match="row 6, column 'x': '02/03/2024' is not a date, as in the training data"):
        trained.predict(path)


def test_a_text_that_is_no_date_is_refused_where_the_vectorizer_recognized_dates():
    days = [f"{k % 12 + 1:02d}/{k % 28 + 1:02d}/2024" for k in range(ROWS)]  # the month first
    trained = train(data=table(x=days), **SMALL)
    assert trained.preparation.uses[0].role == "date"
    with pytest.raises(DataError, match="row 3, column 'x': 'soon' is not written like the dates"):
        trained.predict(table(x=[*days[:2], "soon", *days[3:]]))
    trained.predict(table(x=[*days[:2], None, *days[3:]]))


@pytest.mark.parametrize("text", ["nan", "inf", "1e39"])
def test_text_that_is_no_finite_number_is_refused_in_a_column_of_numbers(text):
    trained = train(data=table(x=NOISE.round(1)), **SMALL)
    with pytest.raises(DataError, match="row 2, column 'x'"):
        trained.predict(table(x=["1", text, *["2"] * (ROWS - 2)]))


def test_classes_of_true_and_false_are_found_in_text(tmp_path):
    frame = table().with_columns(price=pl.Series(NOISE > 0))
    frame.write_csv(tmp_path / "data.csv")
    trained = train(data=tmp_path / "data.csv", **SMALL)
    text = (tmp_path / "data.csv").read_text()
    (tmp_path / "text.csv").write_text(text.replace("true", "True", 1))
    assert trained.evaluate(tmp_path / "text.csv") == trained.evaluate(tmp_path / "data.csv")
    lines = text.splitlines()
    (tmp_path / "bad.csv").write_text("\n".join([*lines[:5], "0.5,yes", *lines[6:]]))
    with pytest.raises(DataError, match=r"row 5, column 'price': 'yes' is not one of the classes"):
        trained.evaluate(tmp_path / "bad.csv")


def test_integers_of_more_than_64_bits_are_numbers(tmp_path):
    values = [f"{k}{'7' * 22}" for k in range(1, ROWS + 1)]
    for name in ("x", "price"):
        (tmp_path / "data.csv").write_text(table(x=NOISE[::-1]).with_columns(pl.Series(name, values)).write_csv())
        data = load(tmp_path / "data.csv")
        assert (data.task, data.columns[0].role) == ("regression", "number")


def test_a_long_label_is_shortened_in_messages():
    frame = table().with_columns(price=pl.Series(["a", "b"] * (ROWS // 2)))
    trained = train(data=frame, **SMALL)
    with pytest.raises(ChainruleError) as error:
        trained.evaluate(frame.with_columns(price=pl.lit("é" * 3000)))
    assert len(str(error.value)) < 300


def test_arrays_of_float16(tmp_path, recwarn):
    x = np.random.default_rng(1).normal(size=(ROWS, 2)).astype(np.float16)
    train(data=(x, NOISE), **SMALL)
    assert [str(warning.message) for warning in recwarn] == []
    x[4, 1] = np.inf
    with pytest.raises(DataError, match="row 4, column 1: inf is not a finite number"):
        load((x, NOISE))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 5), (2, 2, 2, 2)])
def test_samples_of_any_shape_are_explained(shape, tmp_path):
    x = np.random.default_rng(1).normal(size=(ROWS, *shape))
    trained = train("flatten, 2 tanh", (x, NOISE > 0), epochs=1, callbacks=[Recorder(tmp_path / "run")])
    text = page(explain(Run.open(tmp_path / "run"), data=trained.data))
    assert ("data:image/png" in text) == (shape[2:] in ((1,), (3,)))  # with two axes these are sequences


def test_what_the_campaign_is_asked_for(capsys):
    assert matrix.main(["--only", "csv: huge > *", "--count", "2"]) == 0
    assert "csv" in capsys.readouterr().out
    assert command(["--version"]) == 0


def test_the_row_index_of_a_data_frame_keeps_its_empty_name():
    import pandas as pd

    frame = pd.DataFrame({"": range(ROWS), "size": NOISE[::-1], "price": NOISE})
    assert [(use.name, use.role) for use in load(frame).columns] == [("size", "number"), ("", "left out")]


def test_names_with_quotes(tmp_path):
    name = 'speed "km/h", at most'
    table(**{name: [f"0{k % 3}" for k in range(ROWS)]}).write_csv(tmp_path / "data.csv")
    for kind, read in (("category", None), ("number", {name: "number"}), ("category", {name: "category"})):
        data = load(tmp_path / "data.csv", read=read)
        assert (data.columns[0].name, data.columns[0].role) == (name, kind)
    assert "02" in str(data.preparation.names)


def test_an_infinite_loss_is_no_warning(recwarn):
    trained = train(data=table(x=NOISE[::-1]), **SMALL)
    metrics = trained.evaluate(table(x=NOISE[::-1]).with_columns(price=pl.Series([1e25, *NOISE[1:]])))
    assert metrics["loss"] == np.inf
    assert np.isfinite(metrics["rmse"])
    assert [str(warning.message) for warning in recwarn] == []
