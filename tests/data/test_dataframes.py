"""Frames and arrays stand for each other: whatever a network is trained on, it predicts from both."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule import from_arrays, load, train
from chainrule.data import find
from chainrule.errors import DataError, SettingError

ROWS = 120
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 3))
Y = X @ [1.0, -2.0, 0.5]
NAMES = ("a", "b", "c")
NUMBERS = pd.DataFrame(X, columns=NAMES)
MIXED = NUMBERS.assign(city=RANDOM.choice(["Bern", "Basel"], ROWS), floor=RANDOM.integers(0, 4, ROWS).astype(str))
SETTINGS = {"epochs": 2, "optimizer": "adam 0.01"}

FORMS = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.DataFrame({name: frame[name].tolist() for name in frame}),
    "array": lambda frame: frame.to_numpy(),
}


def both(frame):
    return {name: form(frame) for name, form in FORMS.items()}


@pytest.mark.parametrize("trained_on", ["pair", "polars pair", "frame", "array", "unprepared"])
def test_numbers_are_predicted_from_any_form(trained_on):
    data = {
        "pair": (NUMBERS, Y),
        "polars pair": (FORMS["polars"](NUMBERS), pl.Series("y", Y)),
        "frame": NUMBERS.assign(y=Y),
        "array": (X, Y),
        "unprepared": from_arrays(X, Y),
    }[trained_on]
    trained = train("4 tanh", data, **SETTINGS)
    expected = trained.predict(X)
    for frame in both(NUMBERS).values():
        np.testing.assert_allclose(trained.predict(frame), expected, rtol=1e-6)
    if trained_on != "unprepared":
        scores = trained.evaluate((X, Y))
        for frame in both(NUMBERS).values():
            assert trained.evaluate((frame, Y)) == pytest.approx(scores)


@pytest.mark.parametrize("trained_on", ["pandas", "polars"])
def test_a_table_of_any_columns_is_predicted_from_any_form(trained_on):
    trained = train("4 tanh", (FORMS[trained_on](MIXED), Y), **SETTINGS, read={"floor": "category"})
    assert trained.preparation.features == tuple(MIXED)
    expected = trained.predict(MIXED)
    for frame in both(MIXED).values():
        np.testing.assert_array_equal(trained.predict(frame), expected)
    shuffled = MIXED[list(MIXED)[::-1]].assign(more=1)
    np.testing.assert_array_equal(trained.predict(shuffled), expected)


def test_an_array_of_texts_and_numbers_is_a_table():
    trained = train("4 tanh", (MIXED.to_numpy(), Y), **SETTINGS)
    assert trained.preparation.features == ("x0", "x1", "x2", "x3", "x4")
    expected = trained.predict(MIXED.to_numpy())
    assert np.isfinite(expected).all()
    words = train("4", (np.array(["a", "b"] * 60), Y), **SETTINGS)
    assert words.predict(["a", "b"]).shape == (2,)


def test_numbers_of_a_category_in_an_array_are_those_of_the_table():
    codes = NUMBERS.assign(zip=RANDOM.integers(10, 14, ROWS))
    trained = train("4 tanh", (codes, Y), **SETTINGS, read={"zip": "category"})
    np.testing.assert_allclose(trained.predict(codes.to_numpy()), trained.predict(codes), rtol=1e-6)


def test_columns_that_are_left_out_keep_their_place_in_arrays():
    frame = pd.DataFrame({"same": 1.0, "a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    trained = train("4 tanh", (frame, Y), **SETTINGS)
    np.testing.assert_allclose(trained.predict(frame.to_numpy()), trained.predict(frame), rtol=1e-6)
    dropped = train("4 tanh", (frame.assign(id=range(ROWS)), Y), **SETTINGS, drop="id")
    np.testing.assert_allclose(dropped.predict(frame.to_numpy()), dropped.predict(frame), rtol=1e-6)


def test_an_array_with_names_is_found_in_a_wider_frame():
    trained = train("4 tanh", "iris", epochs=2)
    table = pd.DataFrame(find("iris").features, columns=find("iris").columns).assign(species="?")
    expected = trained.predict("iris")
    np.testing.assert_array_equal(trained.predict(table[list(table)[::-1]]), expected)


def test_targets_keep_their_names():
    assert load((NUMBERS, pd.Series(Y, name="price"))).target.name == "price"
    assert load((X, pd.DataFrame({"price": Y}))).target.name == "price"
    several = load((X, pd.DataFrame({"low": Y, "high": Y + 1}))).target
    assert (several.name, several.columns) == ("low, high", ("low", "high"))
    assert load((NUMBERS, list(Y))).target.name == "y"


@pytest.mark.parametrize(
    ("x", "problem"),
    [
        (
            X[:, :2],
            r"arrays: samples of shape \(2,\), but the training data is a table with the columns a, b, c; pass",
        ),
        (NUMBERS[["a", "b"]], "table: column 'c', which the training data has, is missing"),
        (NUMBERS.assign(b="x"), "table, row 1, column 'b': 'x' is not a number, as in the training data"),
    ],
)
def test_other_columns_are_refused_by_a_network_for_tables(x, problem):
    with pytest.raises(DataError, match=problem):
        train("4 tanh", (NUMBERS, Y), **SETTINGS).predict(x)


@pytest.mark.parametrize(
    ("x", "problem"),
    [
        (NUMBERS[["a", "b"]], "table: it has 2 columns, but the network takes 3"),
        (NUMBERS.assign(b="x"), "table, row 1, column 'b': 'x' is not a number, as in the training data"),
        (NUMBERS.where(X[4, 0] != X), "table, row 5, column 'a': it is missing; the training data has numbers"),
        (NUMBERS.assign(c=np.inf), "table, row 1, column 'c': inf is not a finite number"),
    ],
)
def test_other_columns_are_refused_by_a_network_for_arrays(x, problem):
    with pytest.raises(DataError, match=problem):
        train("4 tanh", (X, Y), **SETTINGS).predict(x)


def test_choices_that_a_pair_leaves_no_room_for_are_refused():
    with pytest.raises(SettingError, match="its targets are passed apart from it; leave target out"):
        load((NUMBERS, Y), target="a")
    with pytest.raises(DataError, match="unknown column 'd'"):
        load((NUMBERS, Y), drop="d")
    with pytest.raises(DataError, match="no column is left"):
        load((NUMBERS, Y), drop=NAMES)
    with pytest.raises(DataError, match="120 samples but 119 targets"):
        load((NUMBERS, Y[1:]))


def test_nan_is_a_missing_value_in_every_frame():
    gaps = NUMBERS.where(X > -1)
    expected = train("4 tanh", (gaps, Y), **SETTINGS)
    for form in ("pandas", "polars"):
        trained = train("4 tanh", FORMS[form](gaps.assign(y=Y)), **SETTINGS)
        assert trained.data.fingerprint
        np.testing.assert_allclose(trained.predict(FORMS[form](gaps)), expected.predict(gaps), rtol=1e-6)
    assert FORMS["polars"](gaps)["a"].is_nan().any()
    with pytest.raises(DataError, match="row 1, column 'y': the target is missing"):
        load(pl.DataFrame({"a": X[:, 0], "y": [np.nan, *Y[1:]]}))


def test_messages_name_the_data_that_differs_from_the_training_data():
    frame = NUMBERS.assign(y=Y)
    with pytest.raises(DataError, match=r"^validation data: table: column 'b', which the training data has, is"):
        load(frame, validation=frame.drop(columns="b"))
    with pytest.raises(DataError, match=r"^test data: table, row 1, column 'a': 'x' is not a number, as in"):
        load(frame, test=frame.assign(a="x"))
    with pytest.raises(DataError, match=r"^validation data: .*no column 'y', which is the target"):
        load(frame, target="y", validation=NUMBERS)


def test_a_tuple_is_a_column_of_a_frame_with_several_levels_of_names():
    random = np.random.default_rng(3)
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "z"), ("b", "y"), ("b", "w")])
    table = pd.DataFrame(random.uniform(size=(60, 4)), columns=columns)
    data = load(table, target=("b", "y"), drop=("b", "w"), read={("a", "x"): "number"})
    assert (data.target.name, data.input_names) == ("('b', 'y')", ["('a', 'x')", "('a', 'z')"])
    trained = train("4 tanh", table, target=("b", "y"), epochs=1)
    assert trained.predict(table).shape == (60,)
    assert load(table, target=[("b", "y"), ("b", "w")]).target.width == 2
    assert load(table, target=("b", "y"), weight=("a", "x"), drop=[("b", "w")]).input_names == ["('a', 'z')"]
    x, y = table["a"], table[("b", "y")]
    assert load((x, y)).input_names == ["x", "z"]
    flat = table.set_axis(["x", "z", "y", "w"], axis=1)
    assert load(flat, target=("y", "w")).target.columns == ("y", "w")
