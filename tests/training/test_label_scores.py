"""Metrics of several labels equal scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from chainrule import Metric, train
from chainrule.data import Target
from chainrule.errors import SettingError
from chainrule.losses import BinaryCrossEntropy
from chainrule.special import expit
from chainrule.training import catalog, metrics, scorers

LOSS = BinaryCrossEntropy()
RANDOM = np.random.default_rng(0)
Y, Z = RANDOM.integers(0, 2, (60, 3)), RANDOM.normal(size=(60, 3))
LABELS = Target("multilabel", columns=("a", "b", "c"))
P = expit(Z)


def labels(width):
    return Target("multilabel", columns=tuple(f"l{k}" for k in range(width)))


def by_hand(name, truth, guess, p, weight):
    """A metric by scikit-learn; what it lacks, by its definition."""
    if name == "hamming_loss":
        return sk.hamming_loss(truth, guess, sample_weight=weight)
    if name == "accuracy":
        return sk.accuracy_score(truth, guess, sample_weight=weight)
    if name.startswith("roc_auc"):
        one_sided = (truth == truth[0]).all(axis=0).any()
        return math.nan if one_sided else sk.roc_auc_score(truth, p, sample_weight=weight)
    if name == "average_precision":
        nothing = (truth == 0).all(axis=0).any()
        return math.nan if nothing else sk.average_precision_score(truth, p, sample_weight=weight)
    if name == "calibration_error":
        w = np.repeat(np.ones(len(truth)) if weight is None else weight, truth.shape[1])
        bins = np.minimum((10 * p.ravel()).astype(int), 9)
        gaps = [abs((w * (truth.ravel() - p.ravel()))[bins == k].sum()) for k in range(10)]
        return sum(gaps) / w.sum()
    bare, _, average = name.rpartition("_") if "_" in name else (name, "", "macro")
    return getattr(sk, f"{bare}_score")(truth, guess, average=average, sample_weight=weight, zero_division=0)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 40), st.booleans(), st.floats(0, 1))
def test_any_labels_and_weights_are_measured_as_by_scikit_learn(seed, width, rows, is_weighted, share):
    random = np.random.default_rng(seed)
    truth, z = (random.random((rows, width)) < share).astype(int), random.normal(size=(rows, width)).round(1)
    weight = random.uniform(0.1, 2, rows) if is_weighted else None
    found = metrics.measure(catalog.OWN["multilabel"], labels(width), LOSS, z, truth, weight)
    assert found.keys() == set(catalog.OWN["multilabel"])
    for name, value in found.items():
        expected = by_hand(name, truth, (z > 0).astype(int), expit(z), weight)
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True), name


def test_a_sample_of_weight_three_counts_as_three():
    weight = RANDOM.integers(0, 4, len(Y))
    every = np.repeat(np.arange(len(Y)), weight)
    names = catalog.OWN["multilabel"]
    expected = metrics.measure(names, LABELS, LOSS, Z[every], Y[every])
    assert metrics.measure(names, LABELS, LOSS, Z, Y, weight.astype(float)) == pytest.approx(expected)


def test_every_scorer_of_scikit_learn_is_measured_or_refused_with_a_reason():
    """What is refused is for classes or quantities, or not defined for labels by scikit-learn."""
    good = set()
    for name in scorers.names():
        try:
            metrics.check(name, LABELS)
        except SettingError as error:
            assert f"unknown metric for multilabel '{name}': " in str(error)  # noqa: PT017
            assert "it is for" in str(error) or "scikit-learn refuses 3 labels: " in str(error)  # noqa: PT017
        else:
            good.add(name)
    averaged = {f"{name}_{average}" for name in catalog.PER_CLASS for average in catalog.AVERAGES}
    areas = {
        "average_precision",
        "roc_auc",
        *(f"roc_auc_{how}" for how in ("ovr", "ovo", "ovr_weighted", "ovo_weighted")),
    }
    assert good == averaged | areas | {"accuracy", *catalog.PER_CLASS}
    found = metrics.measure(sorted(good), LABELS, LOSS, Z, Y)
    for name in good - set(catalog.PER_CLASS):  # of which scikit-learn has no average for labels
        assert found[name] == pytest.approx(scorers.of_labels(name, Y, (Z > 0).astype(int), P, None)), name


def test_a_function_is_given_labels_as_0_and_1():
    seen = []

    def wrong_error(truth, guess, sample_weight=None):
        seen.append((truth, guess, sample_weight))
        return (truth != guess).mean()

    weight = RANDOM.uniform(size=60)
    found = metrics.measure([Metric(wrong_error)], LABELS, LOSS, Z, Y, weight)
    ((truth, guess, weights),) = seen
    np.testing.assert_array_equal(truth, Y)
    np.testing.assert_array_equal(guess, (Z > 0).astype(int))
    assert weights is weight
    assert truth.dtype == guess.dtype == np.int64
    assert found["wrong_error"] == ((Z > 0) != Y).mean()
    assert not metrics.greater_is_better(Metric(wrong_error))


def test_a_function_of_the_probabilities_of_labels():
    ranking = Metric(sk.label_ranking_loss, response_method="predict_proba")
    found = metrics.measure([ranking], LABELS, LOSS, Z, Y)
    assert found["label_ranking_loss"] == pytest.approx(sk.label_ranking_loss(Y, P))


def test_scorers_that_were_made_with_scikit_learn():
    f2 = Metric(sk.make_scorer(sk.fbeta_score, beta=2, average="samples", zero_division=0), "f2")
    ranking = Metric(
        sk.make_scorer(sk.label_ranking_average_precision_score, response_method="predict_proba"), "ranking"
    )
    found = metrics.measure([f2, ranking], LABELS, LOSS, Z, Y)
    assert found["f2"] == pytest.approx(sk.fbeta_score(Y, Z > 0, beta=2, average="samples", zero_division=0))
    assert found["ranking"] == pytest.approx(sk.label_ranking_average_precision_score(Y, P))


def test_a_network_of_labels_is_trained_by_such_metrics():
    x = RANDOM.normal(size=(200, 3))
    y = (x @ RANDOM.normal(size=(3, 3)) > 0).astype(int)
    chosen = ["f1_micro", "jaccard_samples", "roc_auc_ovo", Metric(sk.coverage_error, response_method="predict_proba")]
    trained = train("4 tanh", (x, y), epochs=3, metrics=chosen, monitor="f1_samples")
    measured = {name.removeprefix("validation_") for name in trained.history[-1]}
    assert measured == {"epoch", "loss", "f1_micro", "jaccard_samples", "roc_auc_ovo", "coverage_error", "f1_samples"}
    held_out, scores = trained.held_out("test"), trained.evaluate()
    assert scores["f1_samples"] == pytest.approx(
        sk.f1_score(held_out.targets, held_out.predictions, average="samples", zero_division=0)
    )
    assert "F1 (macro)" in str(trained.report())
    assert "validation F1 micro" in repr(trained)
