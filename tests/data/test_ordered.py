"""A target that is an ordered categorical, of pandas or polars, brings its order along."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule import Run, load, train
from chainrule.errors import DataError
from chainrule.runs import Recorder

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=120)
ORDER = ["low", "middle", "high"]
GRADES = np.array(ORDER)[np.digitize(X, [-0.5, 0.5])]
PANDAS = pd.DataFrame({"x": X, "grade": pd.Categorical(GRADES, categories=[*ORDER, "unused"], ordered=True)})
POLARS = pl.DataFrame({"x": X, "grade": pl.Series(GRADES.tolist(), dtype=pl.Enum([*ORDER, "unused"]))})


@pytest.fixture(params=["pandas", "polars", "lazy", "pair", "polars pair", "pair of frames", "parquet", "arrow"])
def data(request, tmp_path):
    POLARS.write_parquet(tmp_path / "grades.parquet")
    POLARS.write_ipc(tmp_path / "grades.arrow")
    return {
        "pandas": PANDAS, "polars": POLARS, "lazy": POLARS.lazy(), "pair": (PANDAS[["x"]], PANDAS["grade"]),
        "polars pair": (X, POLARS["grade"]), "pair of frames": (POLARS[["x"]], PANDAS[["grade"]]),
        "parquet": tmp_path / "grades.parquet", "arrow": tmp_path / "grades.arrow",
    }[request.param]  # fmt: skip


def test_the_order_is_that_of_the_categories_that_occur(data):
    loaded = load(data)
    assert loaded.task == "ordinal"
    assert loaded.target.classes == tuple(ORDER)
    notes = [line for line in loaded.notes if "ordered categorical" in line]
    assert notes == [
        "grade is an ordered categorical (low < middle < high); to predict classes without an order, choose"
        ' task="classification"'
    ]


def test_it_is_trained_on_and_replayed(data, tmp_path):
    trained = train("4 tanh", data, epochs=3, callbacks=[Recorder(tmp_path / "run")])
    assert type(trained.plan.loss).__name__ == "Ordinal"
    run = Run.open(tmp_path / "run")
    assert run.at(2, trained.data).before.step == 2
    if "what" in run.data["settings"]:
        assert run.load_data().target == trained.target


def test_what_is_asked_for_comes_first(data):
    classes = load(data, task="classification")
    assert (classes.task, classes.target.classes) == ("classification", tuple(sorted(ORDER)))
    assert not any("ordered" in line for line in classes.notes)
    assert load(data, order=["high", "middle", "low"]).target.classes == ("high", "middle", "low")
    assert train("4", data, loss="cross_entropy", epochs=1).target.task == "classification"


def test_two_classes_and_categories_without_an_order_are_classes():
    assert load(PANDAS[PANDAS["grade"] != "low"]).task == "classification"
    assert load(PANDAS[PANDAS["grade"] != "low"], task="ordinal").target.classes == ("middle", "high")
    assert load(PANDAS.astype({"grade": "category"}).assign(grade=pd.Categorical(GRADES))).task == "classification"
    assert load(POLARS.with_columns(pl.col("grade").cast(pl.Categorical))).task == "classification"


def test_categories_may_be_numbers_in_an_order_of_their_own():
    marks = pd.Categorical(7 - np.digitize(X, [-1, 0, 1]), categories=[7, 6, 5, 4], ordered=True)
    assert load(PANDAS.assign(grade=marks)).target.classes == (7, 6, 5, 4)
    assert load(PANDAS.assign(grade=marks), task="regression").task == "regression"


def test_where_the_order_is_not_known_all_classes_are_proposed():
    letters = np.array(list("abcdef"))[RANDOM.integers(0, 6, 120)]
    with pytest.raises(DataError, match=r'from the lowest \(order=\["a", "b", "c", "d", "e", "f"\]\)'):
        load((X, letters), task="ordinal")
