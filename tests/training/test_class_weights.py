"""Class weights apply to the classes they name, however they are passed, on both engines."""

import json

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from chainrule.cli import run as command
from chainrule.data import from_arrays, load
from chainrule.errors import SettingError
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, Focal, Hinge
from chainrule.runs import Recorder, Run, follow, train
from chainrule.training import learning_rate_range, make_plan, start
from chainrule.training.class_weights import balanced, parse
from engines import needs_native

IRIS = load("iris")


def labelled(labels, rows=60):
    """Data with these classes, the first more frequent than the others."""
    random = np.random.default_rng(0)
    y = np.array(labels)[np.concatenate([np.arange(len(labels)), random.integers(-3, len(labels), rows).clip(0)])]
    return load((random.normal(size=(len(y), 3)), y))


def weights(class_weight, data=IRIS, **settings):
    return make_plan("3", data, class_weight=class_weight, **settings).loss.class_weights


@pytest.mark.parametrize(
    ("labels", "class_weight", "expected"),
    [
        (["cat", "dog"], {"dog": 3.0}, (1, 3)),
        (["cat", "dog"], {"dog": 3, "cat": np.float32(0.5)}, (0.5, 3)),
        (["cat", "dog"], "dog=3, cat=0.5", (0.5, 3)),
        (["cat", "dog"], [0.5, 3], (0.5, 3)),
        (["cat", "dog"], np.array([0.5, 3]), (0.5, 3)),
        (["a=b", "c"], "a=b=2", (2, 1)),
        ([0, 1], {0: 1.0, 1: 3.0}, (1, 3)),
        ([0, 1], {1: 3.0, 0: 1.0}, (1, 3)),
        ([0, 1], "1=3", (1, 3)),
        ([3, 7], {7: 3.0}, (1, 3)),
        ([3, 7], {"7": 3.0}, (1, 3)),
        ([False, True], {True: 3.0}, (1, 3)),
        ([False, True], "true=3", (1, 3)),
        ([False, True], {False: 2, True: 3}, (2, 3)),
        ([0.5, 2.0, 1e3], {2: 5}, (1, 5, 1)),
        (["1", "2"], {1: 5.0}, (5, 1)),
        (["x", "y", "z"], (1, 2, 0), (1, 2, 0)),
    ],
)
def test_weights_by_label_and_in_class_order(labels, class_weight, expected):
    data = labelled(labels) if not isinstance(labels[0], float) else load_floats(labels)
    assert weights(class_weight, data) == expected


def load_floats(labels):
    random = np.random.default_rng(0)
    y = np.array(labels)[random.integers(0, len(labels), 60)]
    return load((random.normal(size=(60, 3)), y), task="classification")


def test_balanced_equals_scikit_learn_on_the_training_set():
    data = labelled(["common", "rare", "scarce"])
    y = data.training.y
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert weights("balanced", data) == pytest.approx(tuple(expected))
    assert balanced(data) == weights(" balanced ", data)
    of_all_rows = compute_class_weight("balanced", classes=np.unique(data.source.target), y=data.source.target)
    assert weights("balanced", data) != pytest.approx(tuple(of_all_rows)), "held-out rows are not counted"


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"setosas": 2.0}, "no class 'setosas'; there are setosa, versicolor, virginica"),
        ({0: 1.0, 1: 3.0}, "no class 0"),
        ({}, "the mapping is empty"),
        ({"setosa": -1.0}, "none may be negative"),
        ({"setosa": float("nan")}, "must be finite"),
        ([1, float("inf"), 1], "must be finite"),
        ([0, 0, 0], "not all may be 0"),
        ([1, 2], "there are 2 for 3 classes"),
        ([1, 2, 3, 4], "there are 4 for 3 classes"),
        ([], "there are 0 for 3 classes|must be finite"),
        (2.0, "they are numbers, one for each class"),
        ({"setosa": None}, "they are numbers"),
        ({"setosa": "2"}, "they are numbers"),
        ([[1, 2, 3]], "they are numbers"),
        ("setosa", "write 'balanced', or labels and weights"),
        ("setosa=", "write 'balanced'"),
        ("=2", "write 'balanced'"),
        ("", "write 'balanced'"),
        ("setosa=2,", "write 'balanced'"),
        ("setosa=2, setosa=3", "'setosa' is given twice"),
        ("setosa=nan", "must be finite"),
    ],
)
def test_invalid_class_weights_are_rejected(class_weight, message):
    with pytest.raises(SettingError, match=message):
        weights(class_weight)


def test_losses_without_class_weights_and_quantities_are_rejected():
    with pytest.raises(SettingError, match="Hinge takes none; those that do are binary_cross_entropy, cross_entropy"):
        weights("balanced", loss=Hinge())
    with pytest.raises(SettingError, match="is a quantity and has no classes"):
        make_plan("3", load("diabetes"), class_weight="balanced")
    with pytest.raises(SettingError, match="already has some; pass them in one place"):
        weights("balanced", loss=CategoricalCrossEntropy(class_weights=(1, 2, 3)))
    data = from_arrays(np.ones((6, 2)), np.array([0, 1, 0, 1, 0, 3]), task="classification")
    with pytest.raises(SettingError, match="no 2 in the training set, so they can't be balanced"):
        weights("balanced", data)


@pytest.mark.parametrize("kind", [BinaryCrossEntropy, CategoricalCrossEntropy, Focal])
def test_a_loss_takes_weights_in_class_order_or_by_class_number(kind):
    assert kind(class_weights={1: 3.0, 0: 1.0}).class_weights == (1.0, 3.0)
    assert kind(class_weights=[1, 3]) == kind(class_weights=np.array([1.0, 3.0])) == kind(class_weights={0: 1, 1: 3})
    for class_weights in ({"cat": 2.0}, {1: 1.0, 2: 3.0}, "balanced", "cat=2"):
        with pytest.raises(SettingError, match=r"takes the data: give them to train, as class_weight"):
            kind(class_weights=class_weights)
    for class_weights in ((1.0, float("nan")), (1.0, float("inf")), (-1, 1), (0, 0), 3.0, (1, None)):
        with pytest.raises(SettingError, match="class weights are"):
            kind(class_weights=class_weights)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy", "focal", "focal 0"])
@pytest.mark.parametrize("classes", [2, 3])
@needs_native
def test_both_engines_agree_and_weigh_the_named_class(loss, classes):
    if (loss, classes) == ("binary_cross_entropy", 3):
        pytest.skip("three classes take another loss")
    data = labelled(["cat", "dog", "eel"][:classes])
    steps = {}
    for engine in ("numpy", "native"):
        plan = make_plan(
            "4 tanh", data, loss=loss, class_weight={"dog": 3.0}, optimizer="sgd 0.1", epochs=1, dtype="float64",
            engine=engine, batch_size=len(data.training.x),
        )  # fmt: skip
        steps[engine] = follow(plan, data, start(plan)).last
    assert steps["native"].loss == pytest.approx(steps["numpy"].loss, rel=1e-12)
    np.testing.assert_allclose(steps["native"].gradient, steps["numpy"].gradient, rtol=1e-9, atol=1e-12)
    sample_weight = np.where(data.training.y == data.target.classes.index("dog"), 3.0, 1.0)
    x, y = data.training.x, data.training.y
    unweighted = make_plan("4 tanh", data, loss=loss, dtype="float64").loss
    z = plan.network.predict(plan.network.draw(), x.astype(np.float64))
    assert steps["numpy"].loss == pytest.approx(unweighted.value(z, y, sample_weight), rel=1e-6)


def test_a_recipe_keeps_class_weights_and_a_resumed_run_uses_them(tmp_path):
    train("3 tanh", IRIS, class_weight={"setosa": 2.0}, epochs=1, callbacks=[Recorder(tmp_path / "run")])
    assert Run.open(tmp_path / "run").trained.plan.loss == CategoricalCrossEntropy(class_weights=(2.0, 1.0, 1.0))
    assert Run.open(tmp_path / "run").resume(epochs=2).plan.loss.class_weights == (2.0, 1.0, 1.0)
    assert learning_rate_range("3 tanh", IRIS, class_weight="balanced", steps=20).suggestion > 0


def test_class_weights_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for k, (text, expected) in enumerate([("balanced", [1.0] * 3), ("virginica=0.5, setosa=2", [2.0, 1.0, 0.5])]):
        assert command(["train", "iris", "--epochs", "1", "--class-weight", text, "--output", f"run{k}"]) == 0
        capsys.readouterr()
        assert command(["show", f"run{k}", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["plan"]["loss"]["class_weights"] == pytest.approx(expected)
    for arguments, message in (
        (["iris", "--class-weight", "sertosa=2"], "there is no class 'sertosa'"),
        (["iris", "--class-weight", ""], "write 'balanced'"),
        (["iris", "--class-weight", "setosa=-2"], "none may be negative"),
        (["diabetes", "--class-weight", "balanced"], "is a quantity"),
        (["iris", "--loss", "hinge", "--class-weight", "balanced"], "the loss Hinge takes none"),
    ):
        assert command(["train", *arguments, "--output", "none"]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
        assert not (tmp_path / "none").exists()


def test_weights_as_text():
    assert parse("setosa=2, virginica = 0.5") == {"setosa": 2.0, "virginica": 0.5}
