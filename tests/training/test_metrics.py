"""Metrics equal scikit-learn's, in the target's own units."""

import contextlib
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from chainrule.data import Target
from chainrule.errors import SettingError
from chainrule.layers.softmax import softmax
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, Hinge, MeanSquaredError
from chainrule.training import Metric, catalog, learning_rate_range, metrics, scorers

RANDOM = np.random.default_rng(0)
Z, Y = RANDOM.normal(size=(50, 3)), RANDOM.integers(0, 3, 50)
CLASSES = Target("classification", classes=("a", "b", "c"))


def test_metrics_of_two_classes():
    target, y, z = Target("classification", classes=(0, 1)), Y > 0, Z[:, :1]
    scores = metrics.measure(catalog.NAMES["classification"], target, BinaryCrossEntropy(), z, y.astype(int))
    assert scores["accuracy"] == pytest.approx(((z[:, 0] > 0) == y).mean())
    assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(y, z[:, 0]))
    assert scores["log_loss"] == pytest.approx(BinaryCrossEntropy().value(z, y))


def test_metrics_of_quantities_in_their_own_units():
    target = Target("regression", mean=(10.0,), deviation=(2.0,))
    y, guess = RANDOM.normal(size=(50, 1)), RANDOM.normal(size=(50, 1))
    scores = metrics.measure(catalog.NAMES["regression"], target, MeanSquaredError(), guess, y)
    assert scores["r2"] == pytest.approx(sk.r2_score(y, guess))
    assert scores["rmse"] == pytest.approx(2 * sk.root_mean_squared_error(y, guess))
    assert scores["mae"] == pytest.approx(2 * sk.mean_absolute_error(y, guess))


@pytest.mark.parametrize(
    ("names", "target", "loss", "prediction", "y"),
    [
        (catalog.NAMES["classification"], CLASSES, CategoricalCrossEntropy(), Z, Y),
        (catalog.NAMES["regression"], Target("regression"), MeanSquaredError(), Z[:, :1], Z[:, 1:2]),
    ],
    ids=["classes", "quantities"],
)
def test_a_sample_of_weight_three_counts_as_three(names, target, loss, prediction, y):
    weight = RANDOM.integers(0, 4, len(y))
    every = np.repeat(np.arange(len(y)), weight)
    expected = metrics.measure(names, target, loss, prediction[every], y[every])
    assert metrics.measure(names, target, loss, prediction, y, weight.astype(float)) == pytest.approx(expected)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 40), st.booleans())
def test_any_classes_and_weights_are_measured_as_by_scikit_learn(seed, width, rows, is_weighted):
    random = np.random.default_rng(seed)
    y = random.permutation([*range(width), *random.integers(0, width, rows)])
    z = random.normal(size=(len(y), width)).round(1)  # with ties
    weight = random.uniform(0.1, 2, len(y)) if is_weighted else None
    target = Target("classification", classes=tuple(range(width)))
    found = metrics.measure(metrics.OWN["classification"], target, CategoricalCrossEntropy(), z, y, weight)
    guess, probabilities = z.argmax(axis=1), softmax(z)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # of which rounding breaks ties
    binary = {"precision", "recall", "f1", "jaccard"}
    for name, value in found.items():
        if name == "log_loss":
            expected = sk.log_loss(y, probabilities, sample_weight=weight)
        elif name == "calibration_error":
            expected = calibration_error(y, probabilities, np.ones(len(y)) if weight is None else weight)
        elif width > 2 and (name in binary or name == "roc_auc"):  # scikit-learn refuses these
            other = f"{name}_{'ovr' if name == 'roc_auc' else 'macro'}"
            expected = scorers.of_classes(other, np.arange(width), y, guess, probabilities, weight)
        else:
            expected = scorers.of_classes(name, np.arange(width), y, guess, probabilities, weight)
        assert value == pytest.approx(expected, abs=1e-12), name


def calibration_error(y, probabilities, weight):
    """The definition, sample by sample."""
    gaps = 0.0
    for k in range(10):
        chosen, confidence, right = 0.0, 0.0, 0.0
        for truth, shares, counts in zip(y, probabilities, weight, strict=True):
            p = shares[1] if len(shares) == 2 else max(shares)
            if k / 10 <= p < (k + 1) / 10 or (k == 9 and p == 1):
                chosen, confidence = chosen + counts, confidence + counts * p
                right += counts * (truth == 1 if len(shares) == 2 else truth == shares.argmax())
        gaps += abs(confidence - right)
    return gaps / weight.sum()


@pytest.mark.parametrize("width", [2, 3])
def test_every_scorer_of_scikit_learn_is_measured_or_refused_with_a_reason(width):
    """Of classes and of quantities: what is refused is not for them."""
    y, z = np.repeat(np.arange(width), 20), RANDOM.normal(size=(20 * width, width))
    labels, guess, probabilities = np.arange(width), z.argmax(axis=1), softmax(z)
    quantities = Target("regression", mean=(0.0,) * (width - 1), deviation=(1.0,) * (width - 1))
    of_classes, of_quantities = set(), set()
    for name in scorers.names():
        for target, good in (
            (Target("classification", classes=tuple(labels)), of_classes),
            (quantities, of_quantities),
        ):
            with contextlib.suppress(SettingError):
                assert metrics.check(name, target) == (name,)
                good.add(name)
    loss = CategoricalCrossEntropy()
    found = metrics.measure(sorted(of_classes), Target("classification", classes=tuple("abc"[:width])), loss, z, y)
    for name in of_classes - {"precision", "recall", "f1", "jaccard", "roc_auc"}:
        expected = scorers.of_classes(name, labels, y, guess, probabilities, None)
        assert found[name] == pytest.approx(expected), name
    truth, values = abs(z[:, 1:]), abs(z[:, 1:]) + 0.1
    found = metrics.measure(sorted(of_quantities), quantities, MeanSquaredError(), values, truth)
    assert all(map(math.isfinite, found.values())), found
    assert of_classes.isdisjoint(of_quantities)
    assert {"matthews_corrcoef", "top_k_accuracy", "neg_brier_score", "jaccard_weighted", "roc_auc"} <= of_classes
    assert {"explained_variance", "neg_mean_absolute_percentage_error", "d2_absolute_error_score"} <= of_quantities
    left_out = set(scorers.names()) - of_classes - of_quantities
    allowed = {"f1_samples", "jaccard_samples", "precision_samples", "recall_samples"}  # of several labels per sample
    binary = {"neg_negative_likelihood_ratio", "positive_likelihood_ratio"}
    single = {"neg_max_error", "neg_mean_gamma_deviance", "neg_mean_poisson_deviance"}  # of one quantity
    assert left_out == (allowed if width == 2 else allowed | binary | single)


def test_names_that_scikit_learn_lacks_have_the_direction_of_their_kind():
    assert not any(map(metrics.greater_is_better, ("loss", "log_loss", "mae", "rmse", "calibration_error")))
    others = {*catalog.NAMES["classification"], *catalog.NAMES["regression"], *scorers.names()}
    assert all(map(metrics.greater_is_better, others - {"log_loss", "mae", "rmse", "calibration_error"}))


def test_f1_of_two_classes_is_that_of_the_second_and_of_more_the_mean():
    z = np.array([[2.0], [1.0], [-1.0], [-2.0]])
    y, two = np.array([1, 0, 1, 0]), Target("classification", classes=("no", "yes"))
    assert metrics.measure(["f1"], two, BinaryCrossEntropy(), z[:3], y[:3])["f1"] == pytest.approx(0.5)
    right = np.eye(3)[[0, 0, 2]] * 5
    found = metrics.measure(["f1", "f1_weighted"], CLASSES, CategoricalCrossEntropy(), right, np.array([0, 1, 2]))
    assert found["f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)


def cost(truth, guess):
    return np.where(truth == "a", 5.0, 1.0)[truth != guess].sum()


def test_a_function_is_given_labels_or_quantities_in_their_own_units():
    seen = []

    def keep_error(truth, guess, sample_weight=None):
        seen.append((truth, guess, sample_weight))
        return 1.0

    metric = Metric(keep_error)
    assert not metric.greater_is_better, "as of scikit-learn's functions of such names"
    loss, weight = CategoricalCrossEntropy(), RANDOM.uniform(size=50)
    assert metrics.measure([metric], CLASSES, loss, Z, Y, weight) == {"keep_error": 1.0}
    np.testing.assert_array_equal(seen[0][0], np.array(["a", "b", "c"])[Y])
    np.testing.assert_array_equal(seen[0][1], np.array(["a", "b", "c"])[Z.argmax(axis=1)])
    np.testing.assert_array_equal(seen[0][2], weight)
    metrics.measure([Metric(keep_error, response_method="predict_proba")], CLASSES, loss, Z, Y)
    np.testing.assert_allclose(seen[1][1], softmax(Z))
    quantity = Target("regression", mean=(10.0,), deviation=(2.0,))
    metrics.measure([metric], quantity, MeanSquaredError(), Z[:, :1], Z[:, 1:2])
    np.testing.assert_allclose(seen[2][:2], [10 + 2 * Z[:, 1], 10 + 2 * Z[:, 0]])
    assert Metric(cost).greater_is_better
    with pytest.raises(SettingError, match="the metric text returned 'much'; it must return a number"):
        metrics.measure([Metric(lambda *_: "much", "text")], CLASSES, loss, Z, Y)
    with pytest.raises(SettingError, match="the metric accuracy is another than your function accuracy"):
        Metric(cost, "accuracy")


def test_a_scorer_that_was_made_with_scikit_learn_is_a_metric():
    f2 = Metric(sk.make_scorer(sk.fbeta_score, beta=2, pos_label="b"), "f2")
    two, y = Target("classification", classes=("a", "b")), np.minimum(Y, 1)
    expected = sk.fbeta_score(y, (Z[:, 0] > 0).astype(int), beta=2)
    assert metrics.measure([f2], two, BinaryCrossEntropy(), Z[:, :1], y)["f2"] == pytest.approx(expected)


def test_the_documentation_lists_every_metric_for_its_targets_with_its_direction():
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    rows = text.partition("| for | metrics | better is |\n| --- | --- | --- |\n")[2].partition("\n\n")[0].splitlines()
    tasks = {
        "classes": "classification", "the probabilities of classes": "classification", "labels": "multilabel",
        "classes in order, besides those of classes": "ordinal", "the probabilities of labels": "multilabel",
        "quantities": "regression", "texts": "text",
    }  # fmt: skip
    found, task = {task: set() for task in catalog.NAMES}, ""
    for row in rows:
        of, listed, better = (cell.strip() for cell in row.strip("|").split(" | "))
        task = tasks[of] if of else task
        names, averages = [re.findall(r"`(\w+)`", part) for part in (listed.partition(", each also with ")[0], listed)]
        every = {*names, *(f"{name}{end}" for name in names for end in averages if end.startswith("_"))}
        assert {metrics.greater_is_better(name) for name in every} == {better == "more"}, row
        found[task] |= every
    found["ordinal"] |= found["classification"]
    assert found == {task: set(own) for task, own in catalog.OWN.items()}


IMPORTED = """
import sys
from chainrule.runs import Recorder, Run
from chainrule.runs import train
own = ["f1", "f1_weighted", "jaccard_micro", "roc_auc_ovr", "neg_log_loss", "calibration_error"]
train("4", "iris", epochs=1, metrics=own, monitor="average_precision").report()
print("sklearn" in sys.modules)
train("4", "iris", epochs=1, metrics="neg_brier_score", callbacks=[Recorder("run")])
print("sklearn" in sys.modules)
"""
OPENED = """
import sys
from chainrule.runs import Run
print(Run.open("run").trained.plan.metrics, "sklearn" in sys.modules)
"""


def test_scikit_learn_is_imported_only_for_a_scorer_that_is_measured(tmp_path):
    def output(script):
        command = [sys.executable, "-c", script]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]

    assert output(IMPORTED) == ["False", "True"]
    assert output(OPENED) == ["('neg_brier_score',) False"]


def test_a_scorer_without_weights_is_measured_without():
    target = Target("regression")
    found = metrics.measure(["neg_max_error"], target, MeanSquaredError(), Z[:, :1], Z[:, 1:2], np.ones(50))
    assert found["neg_max_error"] == -sk.max_error(Z[:, 1], Z[:, 0])


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 40), st.booleans(), st.booleans())
def test_any_quantities_and_weights_are_measured_as_by_scikit_learn(seed, outputs, rows, is_weighted, is_constant):
    random = np.random.default_rng(seed)
    y, guess = random.normal(size=(2, rows, outputs))
    if is_constant:
        y[:, 0] = 1.0
    weight = random.uniform(0.1, 2, rows) if is_weighted else None
    target = Target("regression", mean=(0.0,) * outputs, deviation=(1.0,) * outputs)
    scores = metrics.measure(catalog.NAMES["regression"], target, MeanSquaredError(), guess, y, weight)
    expected = {
        "r2": sk.r2_score(y, guess, sample_weight=weight),
        "rmse": sk.root_mean_squared_error(y, guess, sample_weight=weight),
        "mae": sk.mean_absolute_error(y, guess, sample_weight=weight),
    }
    assert scores == pytest.approx(expected)


def test_a_constant_target_is_predicted_perfectly_or_not_at_all():
    y = np.ones((5, 1))
    for guess, expected in ((y, 1.0), (2 * y, 0.0)):
        assert sk.r2_score(y, guess) == expected
        assert metrics.measure(["r2"], Target("regression"), MeanSquaredError(), guess, y)["r2"] == expected


def test_undefined_metrics_are_nan():
    assert math.isnan(metrics.measure(["log_loss"], CLASSES, Hinge(), Z, Y)["log_loss"])
    assert math.isnan(
        metrics.measure(["roc_auc"], CLASSES, CategoricalCrossEntropy(), Z[:4], np.zeros(4, int))["roc_auc"]
    )
    assert math.isnan(metrics.measure(["r2"], Target("regression"), MeanSquaredError(), Z[:, :1] * np.nan, Y)["r2"])


def test_the_range_test_finds_where_training_diverges():
    result = learning_rate_range("16 relu", "iris", optimizer="sgd", steps=100)
    assert 1e-3 < result.suggestion < 1
    assert list(result.rates) == sorted(result.rates)
    assert min(result.losses) < result.losses[0]
    assert len(result.rates) == len(result.losses)
