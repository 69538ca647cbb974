"""Choices of a wrong type are refused in one line that says which; what is meant is clear otherwise."""

import contextlib
import dataclasses
import inspect
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule import descent, layers, losses
from chainrule.data import from_arrays, load
from chainrule.descent import Optimizer
from chainrule.errors import ChainruleError, DataError, SettingError
from chainrule.runs import Recorder, Run, train

ROWS = 60
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 3))
Y, Q = (X[:, 0] > 0).astype(int), X @ np.ones(3)


def double(*numbers):
    """A function, which is no choice anywhere."""
    return numbers * 2


@pytest.mark.parametrize(
    "wrong", ["a", None, [1], math.nan, 1j, double], ids=["text", "None", "list", "nan", "complex", "function"]
)
def test_settings_of_a_wrong_type_are_refused_or_kept(wrong):
    for kind in (kind for module in (losses, layers, descent) for kind in vars(module).values()):
        if inspect.isclass(kind) and dataclasses.is_dataclass(kind):
            settings = [field for field in dataclasses.fields(kind) if field.init]
            for setting in settings:
                others = {field.name: 2 for field in settings if is_needed(field)}
                with contextlib.suppress(ChainruleError):
                    kind(**{**others, setting.name: wrong})


def is_needed(field):
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"loss": double}, "the loss is <function dou.*; pass it as text, or as one of chainrule's own objects"),
        ({"loss": losses.Hinge}, "the loss is <class .*; pass it as text"),
        ({"optimizer": double}, "the optimizer is <function dou"),
        ({"optimizer": Optimizer}, "the optimizer is <class"),
        ({"optimizer": 3}, "the optimizer is 3"),
        ({"metrics": double}, r"the metric double returned \(array.*; it must return a number"),
        ({"metrics": [lambda truth, guess: 1.0]}, "a metric's name is '<lambda>'; name it by a word"),
        ({"metrics": [None]}, "unknown metric for classification None; choose one of accuracy, .* pass a function"),
        ({"metrics": "acuracy"}, "unknown metric for classification 'acuracy'; did you mean 'accuracy'"),
        ({"metrics": "jaccard_samples"}, "unknown metric for classification 'jaccard_samples': it is for multilabel"),
        ({"metrics": 3}, r"the metrics are 3; pass their names, such as \['accuracy', 'balanced_accuracy'\], or func"),
        ({"monitor": "r2"}, "unknown metric for classification 'r2': it is for regression"),
        ({"monitor": "roc_auc", "validation": 0.0}, r"of which there is none; set rows aside \(validation=0.1\)"),
        (
            {"monitor": "roc_auc", "loss": "hinge"},
            "roc_auc is undefined on the validation set: .* the loss Hinge has no",
        ),
        ({"min_delta": -1}, "min_delta is -1; it must be a number, at least 0"),
        ({"min_delta": "a"}, "min_delta is 'a'"),
        ({"threshold": 1.5}, "the threshold is 1.5; it must be a probability from 0 to 1"),
        ({"threshold": "f1", "validation": 0.0}, r"which there is none; set rows aside \(validation=0.1\)"),
        ({"threshold": "roc_auc"}, "roc_auc does not depend on the threshold; choose it by a metric of classes"),
        ({"threshold": "neg_brier_score"}, "neg_brier_score does not depend on the threshold"),
        ({"threshold": 0.3, "loss": "hinge"}, "between two classes by their probabilities; the loss Hinge has none"),
        ({"metrics": ["f1", "f1"]}, r"the metrics are \('f1', 'f1'\); name each once"),
        ({"penalties": double}, "the penalties are <function dou"),
        ({"penalties": [double]}, "the penalty is <function dou"),
        ({"penalties": [3]}, "the penalty is 3"),
        ({"penalties": "l2 inf"}, "inf is not finite"),
        ({"callbacks": double}, "the callbacks are <function dou.*; pass a list of functions"),
        ({"callbacks": [3]}, r"the callbacks are \[3\]"),
        ({"epochs": 2.5}, "2.5 epochs"),
        ({"epochs": True}, "True epochs"),
        ({"batch_size": 2.5}, "the batch size is 2.5"),
        ({"patience": True}, "the patience is True"),
        ({"patience": "soon"}, "the patience is 'soon'; .* to never stop early, set patience=None"),
        ({"seed": 1.5}, "the seed is 1.5; it is a whole number"),
        ({"seed": "a"}, "the seed is 'a'"),
        ({"test": None}, "the test share is None"),
        ({"test": True}, "the test share is True"),
        ({"class_weight": double}, "class weights are <function double"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_a_choice_of_a_wrong_type(settings, problem):
    with pytest.raises(SettingError, match=problem) as caught:
        train("3 tanh", (X, Y), **{"epochs": 1, **settings})
    assert "\n" not in str(caught.value)


def test_several_metrics_are_a_list_or_a_text_with_commas():
    listed, written = (train("3 tanh", (X, Y), epochs=1, metrics=m).plan for m in (["f1", "jaccard"], "f1, jaccard"))
    assert listed.metrics == written.metrics == ("f1", "jaccard")
    with pytest.raises(SettingError, match="unknown metric for classification 'jacard'; did you mean 'jaccard'"):
        train("3 tanh", (X, Y), epochs=1, metrics="f1, jacard")


def test_one_name_stands_for_a_list_of_one_and_numbers_of_numpy_for_numbers():
    trained = train(
        "3 tanh", (X, Y), epochs=np.int64(1), batch_size=np.int32(8), seed=np.int64(7), metrics="f1", penalties="l2 0.1"
    )
    plain = train(
        "3 tanh", (X, Y), epochs=1, batch_size=8, seed=7, metrics=["f1"], penalties=[losses.l2(0.1)]
    )  # fmt: skip
    assert trained.plan == plain.plan
    np.testing.assert_array_equal(trained.parameters, plain.parameters)


@pytest.mark.parametrize("strength", [float("inf"), float("nan"), -1, "a"])
def test_penalties_are_finite(strength):
    with pytest.raises(SettingError, match="both are finite, and neither can be negative"):
        losses.l2(strength)


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        ("weight", "it is not a table with a column of weights|the sample weights are 'weight'; pass one finite"),
        (["a"] * ROWS, "the sample weights are .'a', 'a'"),
        ([None] * ROWS, "the sample weights are not all usable"),
        (np.ones((ROWS, 1)), "the sample weights are not all usable"),
        ([1.0] * 3, f"{ROWS} samples but 3 weights"),
        (np.zeros(ROWS), "the sample weights are all 0"),
    ],
    ids=["a column", "text", "nothing", "two axes", "too few", "zeros"],
)
def test_sample_weights(weight, problem):
    for make in (lambda: load((X, Y), weight=weight), lambda: from_arrays(X, Y, weight=weight)):
        with pytest.raises(DataError, match=problem):
            make()


def test_no_set_has_the_weight_0():
    weight = np.zeros(ROWS)
    weight[load((X, Y)).rows] = 1
    with pytest.raises(DataError, match="all samples of the validation set have the weight 0; split it differently"):
        load((X, Y), weight=weight)


def test_columns_are_named_by_whatever_pandas_names_them():
    table = pd.DataFrame({0: X[:, 0], 1: X[:, 1], "b": X[:, 2]})
    assert load(table, target=1).input_names == ["0", "b"]
    assert load(table, drop=[0]).input_names == load(table, drop=0).input_names == ["1"]
    assert load(table, drop="0").input_names == ["1"]
    assert load(table.round(), read={0: "category"}).columns[0].role == "category"
    with pytest.raises(SettingError, match="read is 'a=number'; pass a mapping"):
        load(table, read="a=number")
    with pytest.raises(DataError, match="it has no column '7', which is the target"):
        load(table, target=7)


def test_columns_of_objects_are_refused_by_name():
    problem = "column 'a': its values are lists, records, bytes or objects, which are no inputs"
    for value in ({1}, object(), 1j):
        table = pd.DataFrame({"a": [value] * ROWS, "b": X[:, 0], "y": Q})
        with pytest.raises(DataError, match=problem):
            load(table)
    table = pl.DataFrame({"a": pl.Series([object()] * ROWS, dtype=pl.Object), "b": X[:, 0], "y": Q})
    with pytest.raises(DataError, match=problem):
        load(table)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["a", 1], "y, row 1: 1, but row 0 has 'a'; use text in all rows, or numbers"),
        ([1, None], "y, row 1: None is neither text nor a number"),
        (["a", float("nan")], "y, row 1: nan is neither text nor a number"),
        ([{1}, {2}], r"y, row 0: \{1\} is neither text nor a number"),
    ],
    ids=str,
)
def test_targets_of_mixed_types(labels, problem):
    with pytest.raises(DataError, match=problem):
        load((X, np.array(labels * (ROWS // 2), dtype=object)))


@pytest.mark.parametrize("prepared", [False, True])
def test_what_cannot_be_predicted_or_evaluated(prepared):
    trained = train("3 tanh", load((X, Y)) if prepared else from_arrays(X, Y), epochs=1)
    for x in ([["a", "b", "c"]], [[1, 2, 3], [1]], [[None] * 3], None, 3, X[0], X * np.nan, X * 1e300, "iris"):
        with pytest.raises(ChainruleError) as caught:
            trained.predict(x)
        assert "\n" not in str(caught.value)
    for what in ((X, ["a"] * ROWS), (X, Q), (X, Y + 7), (X, Y[:3]), X, (X[None], Y), (X, np.eye(3)[Y + 1])):
        with pytest.raises(ChainruleError) as caught:
            trained.evaluate(what)
        assert "\n" not in str(caught.value)
    assert trained.evaluate((X, np.eye(2)[Y])) == trained.evaluate((X, Y))
    with pytest.raises(DataError, match=r"pass one of the data set's parts, such as data.test|array of numbers"):
        trained.predict(trained.data)


def test_a_run_is_resumed_for_a_whole_number_of_epochs(tmp_path):
    data = load((X, Y))
    train("3 tanh", data, epochs=1, callbacks=[Recorder(tmp_path / "run")])
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for epochs in (2.5, "3", True, 0, -1):
        with pytest.raises(SettingError, match="epochs: pass their total number"):
            Run.open(tmp_path / "run").resume(data, epochs=epochs)
    with pytest.raises(SettingError, match="the callbacks are"):
        Run.open(tmp_path / "run").resume(data, epochs=2, callbacks=double)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert Run.open(tmp_path / "run").resume(data, epochs=np.int64(2)).progress.epoch == 2
