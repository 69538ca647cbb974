"""Weights of rows from a column: no input, in training, in evaluation and in a run."""

import json

import numpy as np
import polars as pl
import pytest

from chainrule import Run, load, train
from chainrule import open as open_run
from chainrule.cli import run
from chainrule.errors import DataError, SettingError


def table(rows=80, **columns):
    random = np.random.default_rng(0)
    x = random.normal(size=rows)
    y = np.where(x + random.normal(size=rows) > 0, "yes", "no")
    return pl.DataFrame({"x": x, "z": random.normal(size=rows), "w": random.uniform(0.1, 3, rows), **columns, "y": y})


def test_a_column_of_weights_is_the_same_as_an_array_without_the_column():
    frame = table()
    by_name, by_array = load(frame, weight="w"), load(frame, weight=frame["w"].to_numpy(), drop="w")
    assert by_name.input_names == by_array.input_names == ["x", "z"]
    for name in ("training", "validation", "test"):
        one, other = getattr(by_name, name), getattr(by_array, name)
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.x, other.x)
    assert load((frame.drop("y"), frame["y"]), weight="w").input_names == ["x", "z"]
    integers = load(frame.with_columns(w=pl.Series([1, 2] * 40)), weight="w", drop="w")
    assert set(integers.training.weight) == {1.0, 2.0}


def test_separate_data_has_weights_of_its_own():
    frame = table()
    data = load(frame, weight="w", validation=frame.head(10), test=frame.tail(5))
    np.testing.assert_array_equal(data.validation.weight, frame["w"][:10])
    np.testing.assert_array_equal(data.test.weight, frame["w"][-5:])
    with pytest.raises(DataError, match=r"unknown column 'w'; .*, for the weights"):
        load(frame, weight="w", test=frame.drop("w"))


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        ("y", r"'y' is the target and can't hold the weights, too; name the target \(target\)"),
        ("v", "unknown column 'v'; .*, for the weights"),
        ("city", r"column 'city': its values are no numbers, and so no weights; name another column \(weight\)"),
        ("negative", "row 3, column 'negative': -1.* is no weight; it must be 0 or greater"),
        ("holes", "row 2, column 'holes': the weight is missing; fill it in"),
        ("nothing", "the sample weights are all 0"),
        ("tiny", "row 4, column 'tiny': 1e-310 is too small a weight for float32.*; use 0, or multiply all weights"),
    ],
)
def test_what_can_not_be_a_weight(weight, problem):
    negative, holes = np.arange(80.0), [1.0] * 80
    negative[2], holes[1] = -1, None
    tiny = [0.0, 1.0, 2.0, 1e-310] * 20
    frame = table(city=["a", "b"] * 40, negative=negative, holes=holes, nothing=[0.0] * 80, tiny=tiny)
    with pytest.raises(DataError, match=problem):
        load(frame, weight=weight)


def test_weights_that_float32_takes_for_zero_are_refused():
    frame = table()
    x, y = frame.select("x", "z").to_numpy(), frame["y"].to_numpy()
    for weight in (np.full(80, 1e-310), np.full(80, 1e39)):
        with pytest.raises(DataError, match="the sample weights have one that float32 can't hold"):
            load((x, y), weight=weight)
    assert load((x, y), weight=np.full(80, 1.2e-38)).training.weight.min() > 0


def test_a_run_keeps_its_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table().write_csv("t.csv")
    words = ["train", "t.csv", "--weight", "w", "--network", "4 tanh"]
    assert run([*words, "--epochs", "3", "--output", "whole"]) == 0
    assert run([*words, "--epochs", "2", "--output", "parts", "--optimizer", "sgd 0.1"]) == 0
    assert run(["train", "--resume", "parts", "--epochs", "3"]) == 0
    assert run([*words, "--epochs", "3", "--output", "straight", "--optimizer", "sgd 0.1"]) == 0
    parts, straight = (Run.open(name).trained.parameters for name in ("parts", "straight"))
    np.testing.assert_array_equal(parts, straight)
    assert Run.open("whole").data["settings"]["weight"] == "w"

    new = table(rows=30, w=np.arange(30.0))
    new.write_csv("new.csv")
    new.drop("w").write_csv("bare.csv")
    new.rename({"w": "other"}).write_csv("renamed.csv")
    capsys.readouterr()

    def loss(*words):
        assert run(["evaluate", "whole", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["metrics"]["loss"]

    trained = Run.open("whole").trained
    plain, weighed = trained.evaluate(new.drop("w"))["loss"], trained.evaluate(new)["loss"]
    assert loss("bare.csv") == plain
    assert loss("new.csv") == loss("renamed.csv", "--weight", "other") == weighed != pytest.approx(plain)
    assert loss() == pytest.approx(trained.evaluate(Run.open("whole").load_data().test)["loss"])
    assert run(["evaluate", "whole", "--weight", "w"]) == 2
    assert run(["evaluate", "whole", "new.csv", "--weight", "v"]) == 2
    assert run(["predict", "whole", "new.csv"]) == 0


def test_a_feature_can_not_hold_the_weights_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = table().with_columns(w=pl.lit(1.0) + pl.int_range(80))
    train("4 tanh", frame, target="y", epochs=1).save("run")
    frame.write_csv("new.csv")
    assert run(["evaluate", "run", "new.csv", "--weight", "w"]) == 2
    error = capsys.readouterr().err
    assert "new.csv: 'w' is a feature that the network was trained on, and can't hold the weights, too" in error
    assert "--weight" in error
    assert run(["evaluate", "run", "new.csv"]) == 0


def test_weights_by_name_are_those_of_train():
    frame = table()
    settings = {"network": "4 tanh", "epochs": 3}
    one = train(frame, weight="w", **settings)
    other = train(frame, weight=frame["w"].to_numpy(), drop="w", **settings)
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_a_trained_network_weighs_what_it_is_evaluated_on_as_the_command_line_does(tmp_path):
    frame, new = table(), table(rows=30, w=np.arange(30.0))
    trained = train("4 tanh", frame, weight="w", epochs=3)
    trained.save(tmp_path / "run")
    unsettled = train("4 tanh", frame, weight="w", validation=frame.head(20), epochs=3)  # `load` can't repeat it
    unsettled.save(tmp_path / "other")
    for one, folder in ((trained, "run"), (unsettled, "other")):
        opened = open_run(tmp_path / folder)
        bare = new.drop("w")
        plain, weighed = one.evaluate(bare), one.evaluate(new)
        assert weighed != plain
        assert opened.evaluate(new) == weighed
        assert one.evaluate((new.drop("y"), new["y"])) == weighed
        assert one.evaluate(bare, weight=np.arange(30.0)) == weighed
        assert one.evaluate(new.rename({"w": "v"}), weight="v") == weighed
        assert one.report(new).metrics == weighed
        assert one.report(new).weight == sum(range(30))
        assert one.report(bare).weight is None
    with pytest.raises(SettingError, match="29 weights for 30 samples"):
        trained.evaluate(new, weight=np.ones(29))
    with pytest.raises(SettingError, match="have no columns, such as 'w'; pass the weights as an array"):
        trained.evaluate(weight="w")
    with pytest.raises(DataError, match=r"unknown column 'nope'.*for the weights"):
        trained.evaluate(new, weight="nope")
    assert trained.evaluate(weight=np.ones(trained.data.sizes["test"])) == pytest.approx(
        trained.evaluate((trained.data.test.x, trained.data.test.y))
    )
