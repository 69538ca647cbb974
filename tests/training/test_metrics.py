"""Metrics equal scikit-learn's, in the target's own units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from chainrule.data import Target
from chainrule.layers.softmax import softmax
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, Hinge, MeanSquaredError
from chainrule.training import learning_rate_range, metrics

RANDOM = np.random.default_rng(0)
Z, Y = RANDOM.normal(size=(50, 3)), RANDOM.integers(0, 3, 50)
CLASSES = Target("classification", classes=("a", "b", "c"))


def test_metrics_of_several_classes():
    scores = metrics.measure(metrics.CLASSIFICATION, CLASSES, CategoricalCrossEntropy(), Z, Y)
    guess, probabilities = Z.argmax(axis=1), softmax(Z)
    assert scores == pytest.approx(
        {
            "accuracy": sk.accuracy_score(Y, guess),
            "balanced_accuracy": sk.balanced_accuracy_score(Y, guess),
            "f1": sk.f1_score(Y, guess, average="macro"),
            "roc_auc": sk.roc_auc_score(Y, probabilities, multi_class="ovr"),
            "log_loss": sk.log_loss(Y, probabilities),
        }
    )


def test_metrics_of_two_classes():
    target, y, z = Target("classification", classes=(0, 1)), Y > 0, Z[:, :1]
    scores = metrics.measure(metrics.CLASSIFICATION, target, BinaryCrossEntropy(), z, y.astype(int))
    assert scores["accuracy"] == pytest.approx(((z[:, 0] > 0) == y).mean())
    assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(y, z[:, 0]))
    assert scores["log_loss"] == pytest.approx(BinaryCrossEntropy().value(z, y))


def test_metrics_of_quantities_in_their_own_units():
    target = Target("regression", mean=(10.0,), deviation=(2.0,))
    y, guess = RANDOM.normal(size=(50, 1)), RANDOM.normal(size=(50, 1))
    scores = metrics.measure(metrics.REGRESSION, target, MeanSquaredError(), guess, y)
    assert scores["r2"] == pytest.approx(sk.r2_score(y, guess))
    assert scores["rmse"] == pytest.approx(2 * sk.root_mean_squared_error(y, guess))
    assert scores["mae"] == pytest.approx(2 * sk.mean_absolute_error(y, guess))


@pytest.mark.parametrize(
    ("names", "target", "loss", "prediction", "y"),
    [
        (metrics.CLASSIFICATION, CLASSES, CategoricalCrossEntropy(), Z, Y),
        (metrics.REGRESSION, Target("regression"), MeanSquaredError(), Z[:, :1], Z[:, 1:2]),
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
    scores = metrics.measure(metrics.CLASSIFICATION, target, CategoricalCrossEntropy(), z, y, weight)
    guess, probabilities = z.argmax(axis=1), softmax(z)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # of which rounding breaks ties
    multi = {"multi_class": "ovr"} if width > 2 else {}
    expected = {
        "accuracy": sk.accuracy_score(y, guess, sample_weight=weight),
        "balanced_accuracy": sk.recall_score(y, guess, average="macro", sample_weight=weight),
        "f1": sk.f1_score(y, guess, average="macro", labels=range(width), zero_division=0.0, sample_weight=weight),
        "roc_auc": sk.roc_auc_score(y, probabilities if multi else probabilities[:, 1], sample_weight=weight, **multi),
        "log_loss": sk.log_loss(y, probabilities, sample_weight=weight),
    }
    assert scores == pytest.approx(expected)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 40), st.booleans(), st.booleans())
def test_any_quantities_and_weights_are_measured_as_by_scikit_learn(seed, outputs, rows, is_weighted, is_constant):
    random = np.random.default_rng(seed)
    y, guess = random.normal(size=(2, rows, outputs))
    if is_constant:
        y[:, 0] = 1.0
    weight = random.uniform(0.1, 2, rows) if is_weighted else None
    target = Target("regression", mean=(0.0,) * outputs, deviation=(1.0,) * outputs)
    scores = metrics.measure(metrics.REGRESSION, target, MeanSquaredError(), guess, y, weight)
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
