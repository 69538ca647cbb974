"""The report on predictions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from chainrule.cli import run
from chainrule.data import Target, load
from chainrule.runs import train
from chainrule.training.report import Report, report_on
from chainrule.training.report_text import columns
from chainrule.training.scores import Classified


@pytest.fixture(scope="module")
def digits():
    return train("16 relu", "digits", epochs=4, optimizer="adam 0.003")


def test_it_equals_scikit_learns(digits):
    report, held_out = digits.report(), digits.held_out()
    np.testing.assert_array_equal(report.confusion, sk.confusion_matrix(held_out.targets, held_out.predictions))
    assert report.confusion.dtype == np.int64
    expected = sk.precision_recall_fscore_support(held_out.targets, held_out.predictions)
    found = [[getattr(c, name) for c in report.classes] for name in ("precision", "recall", "f1", "support")]
    np.testing.assert_allclose(found, expected)
    for k, scores in enumerate(report.classes):
        area = sk.average_precision_score(held_out.targets == k, held_out.probabilities[:, k])
        assert scores.average_precision == pytest.approx(area)
    assert report.samples == len(held_out.targets) == report.confusion.sum() == report.reliability.weight.sum()
    assert report.metrics == digits.evaluate()
    confidence = held_out.probabilities.max(axis=1)
    right = held_out.predictions == held_out.targets
    chosen = confidence >= 0.9
    assert report.reliability.confidence[-1] == pytest.approx(confidence[chosen].mean())
    assert report.reliability.frequency[-1] == pytest.approx(right[chosen].mean())


def test_reliability_of_two_classes_is_scikit_learns_calibration_curve():
    from sklearn.calibration import calibration_curve

    trained = train("8 tanh", "moons", epochs=5)
    held_out, reliability = trained.held_out(), trained.report().reliability
    frequency, confidence = calibration_curve(held_out.targets == 1, held_out.probabilities[:, 1], n_bins=10)
    filled = reliability.weight > 0
    np.testing.assert_allclose(reliability.frequency[filled], frequency)
    np.testing.assert_allclose(reliability.confidence[filled], confidence, rtol=1e-6)


def test_weighted_samples_count_by_their_weights():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 2)), random.integers(0, 2, 300)
    weight = random.uniform(0.5, 2, 300)
    trained = train("4 tanh", load((x, y), weight=weight), epochs=2)
    report, held_out = trained.report(), trained.held_out()
    of_test = weight[held_out.rows - 1]
    expected = sk.confusion_matrix(held_out.targets, held_out.predictions, sample_weight=of_test)
    np.testing.assert_allclose(report.confusion, expected, rtol=1e-6)


def test_a_report_on_quantities_has_their_metrics():
    trained = train("4", "diabetes", epochs=2)
    report = trained.report(metrics=["r2", "explained_variance"])
    assert report == Report(88, trained.evaluate(metrics=["r2", "explained_variance"]))
    assert str(report).splitlines()[0].split() == ["samples", "88"]
    assert "explained variance" in str(report)


LABELS = st.one_of(st.text(max_size=60), st.integers(), st.booleans())


@settings(max_examples=60)
@given(st.lists(LABELS, min_size=2, max_size=120, unique_by=str), st.integers(0, 10**6), st.booleans(), st.booleans())
def test_any_report_fits_80_columns_and_is_json(labels, seed, has_probabilities, weighted):
    random, width = np.random.default_rng(seed), len(labels)
    truth, guess = random.integers(0, width, (2, 200))
    probabilities = random.dirichlet(np.ones(width), 200) if has_probabilities else None
    weight = random.uniform(0, 10**6, 200) if weighted else np.ones(200)
    classified = Classified(width, truth, guess, probabilities, weight)
    target = Target("classification", classes=tuple(labels))
    threshold = 0.3 if width == 2 else None
    report = report_on(target, classified, {"loss": 0.5, "f1": 0.25}, threshold, weighted)
    lines = str(report).split("\n")
    assert all(columns(line) <= 80 and line.isprintable() for line in lines), str(report)
    assert len(lines) < 75
    values = json.loads(json.dumps(report.as_json()))
    assert np.sum(values["confusion"]) == pytest.approx(weight.sum())
    assert len(values["classes"]) == width
    if has_probabilities:
        assert sum(values["reliability"]["weight"]) == pytest.approx(weight.sum())


def test_of_many_classes_the_worst_and_what_is_confused_most_are_shown():
    width = 40
    truth = np.repeat(np.arange(width), 10)
    guess = truth.copy()
    guess[:7] = 1
    classes = tuple(f"kind {k}" for k in range(width))
    target = Target("classification", classes=classes)
    text = str(report_on(target, Classified(width, truth, guess, None, np.ones(400)), {}, None, False))
    lines = text.splitlines()
    first = lines.index(next(line for line in lines if line.startswith("class "))) + 1
    assert lines[first].split()[:2] == ["kind", "0"]
    assert "and 20 classes with a higher F1" in lines
    assert lines[lines.index("confused") + 2].split() == ["kind", "0", "kind", "1", "7"]


def test_evaluate_prints_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert (
        run(["train", "iris", "--epochs", "20", "--output", "run", "--metrics", "f1, jaccard_weighted", "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert {"validation_f1", "validation_jaccard_weighted"} < result["history"][0].keys()
    assert run(["evaluate", "run"]) == 0
    out = capsys.readouterr().out
    shown = dict(line.rsplit("  ", 1) for line in out.split("\n\n")[0].splitlines())
    assert float({name.strip(): value for name, value in shown.items()}["jaccard weighted"]) == pytest.approx(
        result["test"]["jaccard_weighted"], rel=1e-3
    )
    assert "true \\ predicted  setosa  versicolor  virginica" in out
    assert run(["evaluate", "run", "--metrics", "jaccard_macro", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metrics"].keys() == {"loss", "jaccard_macro"}
    assert np.sum(report["confusion"]) == report["samples"] == 30
    assert run(["evaluate", "run", "--metrics", "f1,,"]) == 2
    assert "--metrics 'f1,,': write names, separated by commas" in capsys.readouterr().err
    assert run(["evaluate", "run", "--metrics", "f2"]) == 2
    assert "unknown metric for classification 'f2'; did you mean 'f1'?" in capsys.readouterr().err


def test_wide_labels_are_aligned():
    target = Target("classification", classes=("猫" * 20, "é"))
    text = str(report_on(target, Classified(2, np.array([0, 1]), np.array([0, 0]), None, np.ones(2)), {}, None, False))
    of_classes = text.split("\n\n")[1].splitlines()
    assert of_classes[1].startswith("猫" * 10 + "...")
    assert {columns(line) for line in of_classes} == {columns(of_classes[0])}
