"""A run is resumed, replayed and explained only on the data that it was trained on."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule.data import from_arrays, load
from chainrule.errors import DataError
from chainrule.explain import explain
from chainrule.explain.sizes import gradient_sizes
from chainrule.explain.surface import loss_surface
from chainrule.runs import Recorder, Run, train

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(60, 3)), RANDOM.integers(0, 2, 60)
USES = {
    "resume": lambda run, data: run.resume(data, epochs=3),
    "at": lambda run, data: run.at(1, data),
    "each": lambda run, data: list(run.each([0, 1], data)),
    "explain": lambda run, data: explain(run, "dense_1.W[0, 0]", 1, data=data),
    "surface": lambda run, data: loss_surface(run, data=data, grid=3),
    "sizes": gradient_sizes,
}


def recorded(folder, data):
    train("4 tanh", data, epochs=2, patience=None, callbacks=[Recorder(folder)])
    return Run.open(folder)


@pytest.mark.parametrize("use", USES)
def test_other_data_is_rejected_and_its_own_is_accepted(use, tmp_path):
    run = recorded(tmp_path / "run", load((X, Y)))
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    others = {
        "its values differ": (X + 1, Y),
        "its target has other": (X, 1 - Y),
        "it has 59 rows, not": (X[1:], Y[1:]),
    }
    for difference, other in (others | {"it has 150 rows, not 60": "iris"}).items():
        with pytest.raises(DataError, match=f"it is not the data that the run .* was trained on: {difference}"):
            USES[use](run, load(other))
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before
    assert USES[use](run, load((X.copy(), Y.copy()))) is not None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"seed": 1}, "the setting seed"),
        ({"test": 0.3}, "the number of training rows, the number of test rows"),
        ({"validation": 0.0}, "the number of training rows, the number of validation rows"),
        ({"drop": ["b"]}, "the setting drop"),
        ({"target": "a"}, "the target's name, the target's classes"),
        ({"target": "d"}, "the target's name, the target's task, the target's classes, the setting scale_target"),
    ],
)
def test_the_same_file_loaded_differently_is_rejected(other, what, tmp_path):
    frame = {"a": np.arange(60) % 3, "b": RANDOM.normal(size=60), "d": RANDOM.normal(size=60), "c": Y}
    pl.DataFrame(frame).write_csv(tmp_path / "data.csv")
    run = recorded(tmp_path / "run", load(tmp_path / "data.csv"))
    again = load(str(tmp_path / "data.csv"), likely_task="classification")
    assert run.at(1, again).before.step == 1
    scale = {"scale_target": False} if "scale" in what else {}
    with pytest.raises(DataError, match=what):
        run.at(1, load(tmp_path / "data.csv", **other, **scale))


FRAME = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "word": np.array(["x", "y"])[(X[:, 2] > 0) * 1], "c": Y})
FORMS = {
    "polars": FRAME,
    "pandas": pd.DataFrame(FRAME.to_dict(as_series=False)),
    "pair": (X, Y),
    "pair of a frame": (FRAME.drop("c"), FRAME["c"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_frames_and_arrays_are_split_and_prepared_as_when_the_run_was_trained(form, tmp_path):
    data = FORMS[form]
    settings = {"seed": 3, "test": 0.3, "validation": 0.2, "patience": None, "optimizer": "adam 0.01"}
    settings |= {} if form == "pair" else {"read": {"word": "category"}}
    whole = train("4 tanh", data, epochs=4, **settings)
    train("4 tanh", data, epochs=2, **settings, callbacks=[Recorder(tmp_path / "run")])
    for use in USES:
        if use != "resume":
            assert USES[use](Run.open(tmp_path / "run"), data) is not None
    other = (X + 1, Y) if form == "pair" else (FRAME.drop("c"), 1 - Y) if "pair" in form else FRAME[::-1]
    with pytest.raises(DataError, match=r"it is not the data that the run .* was trained on"):
        Run.open(tmp_path / "run").resume(other, epochs=4)
    resumed = Run.open(tmp_path / "run").resume(data, epochs=4)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    with pytest.raises(DataError, match="or arrays that no file holds; pass the data as well"):
        Run.open(tmp_path / "run").load_data()


def test_unprepared_arrays_are_taken_as_they_are(tmp_path):
    run = recorded(tmp_path / "run", from_arrays(X, Y))
    assert run.at(1, (X, Y)).before.step == 1
    with pytest.raises(DataError, match="trained on: its values differ"):
        run.at(1, (X, 1 - Y))


def test_a_file_that_was_moved_may_be_passed(tmp_path):
    FRAME.write_csv(tmp_path / "data.csv")
    run = recorded(tmp_path / "run", load(tmp_path / "data.csv"))
    (tmp_path / "data.csv").rename(tmp_path / "moved.csv")
    assert run.at(1, tmp_path / "moved.csv").before.step == 1


def test_what_is_not_recorded_takes_a_dataset(tmp_path):
    apart = load(FRAME, validation=FRAME[:10])
    run = recorded(tmp_path / "run", apart)
    with pytest.raises(DataError, match="how its data was split, weighted or validated is not recorded; pass a Datas"):
        run.resume(FRAME, epochs=3)
    assert run.resume(apart, epochs=3).progress.epoch == 3


def test_other_sample_weights_are_rejected(tmp_path):
    weight = np.linspace(0.5, 2, 60)
    run = recorded(tmp_path / "run", from_arrays(X, Y, weight=weight))
    assert run.at(1, from_arrays(X, Y, weight=weight)).before.step == 1
    for other in (None, weight[::-1]):
        with pytest.raises(DataError, match="differs in the samples' weights"):
            run.at(1, from_arrays(X, Y, weight=other))


OTHERS = {
    "it has 61 rows, not 60": lambda t: pl.concat([t, t.head(1)]),
    "it has 59 rows, not 60": lambda t: t.head(59),
    "it has the column 'more', too": lambda t: t.with_columns(more=pl.lit(1)).select("more", *t.columns),
    "its columns are in another order": lambda t: t.select("b", "a", "word", "whole", "c"),
    "its column 'whole' is Float64, not Int64": lambda t: t.with_columns(pl.col("whole").cast(float)),
    "its column 'whole' has other values": lambda t: t.with_columns(pl.col("whole") + 1),
    "its column 'word' has other values": lambda t: t.with_columns(word=t["word"].reverse()),
    "its column 'a' has other values": lambda t: t.with_columns(a=t["a"].shuffle(1), b=t["b"] + 1),
    "its target is float64, not int64": lambda t: t.with_columns(pl.col("c").cast(float)),
    "its target has other values": lambda t: t.with_columns(c=1 - pl.col("c")),
}
"""How other data differs, and the data, from the run's."""


@pytest.mark.parametrize("difference", OTHERS)
def test_what_differs_in_other_data_is_named(difference, tmp_path):
    table = FRAME.with_columns(whole=pl.Series(np.arange(60) // 7)).select("a", "b", "word", "whole", "c")
    train("4 tanh", table, epochs=2, callbacks=[Recorder(tmp_path / "run")], task="classification")
    other = OTHERS[difference](table)
    for form in (other, pd.DataFrame(other.to_dict(as_series=False))):
        with pytest.raises(DataError, match=f"run was trained on: {difference}; pass the run's own data") as raised:
            Run.open(tmp_path / "run").resume(form, epochs=3)
        assert len(str(raised.value).splitlines()) == 1
    table.write_csv(tmp_path / "data.csv")
    recorded(tmp_path / "of_file", load(tmp_path / "data.csv", task="classification"))
    other.write_csv(tmp_path / "data.csv")
    if "Float64" not in difference and "float64" not in difference:
        with pytest.raises(DataError, match=f"was trained on it: {difference}; restore it, or train again"):
            Run.open(tmp_path / "of_file").load_data()


def test_what_differs_in_other_arrays_and_in_runs_of_before_is_named(tmp_path):
    weight = np.linspace(1, 2, 60)
    train("4 tanh", (X, Y), weight=weight, epochs=2).save(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    for other, difference in (
        (load((X[:50], Y[:50]), weight=weight[:50]), "it has 50 rows, not 60"),
        (load((X.astype(np.float32), Y), weight=weight), "it is 3 numbers of float32, not 3 numbers of float64"),
        (load((X + 1, Y), weight=weight), "its values differ"),
        (load((X, 1 - Y), weight=weight), "its target has other values"),
        (load((X + 1, Y)), "its weight is missing, not float64"),
    ):
        with pytest.raises(DataError, match=difference):
            run.at(1, other)
    del run.data["contents"]
    for other, difference in (((X[:50], Y[:50]), "it has 50 rows, not 60"), ((X + 1, Y), "its values differ")):
        with pytest.raises(DataError, match=difference):
            run.own_data(load(other))
