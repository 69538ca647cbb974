"""The report on predictions."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from chainrule import open as open_run
from chainrule.cli import run
from chainrule.data import Target, load
from chainrule.runs import train
from chainrule.training.report import Report, report_on
from chainrule.training.report_text import columns, label, number
from chainrule.training.scores import Classified
from test_summary import HOSTILE, Reader, check


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
    assert report.weight == pytest.approx(of_test.sum()) == report.as_json()["weight"]
    lines = str(report).splitlines()
    assert lines[0].split(maxsplit=1) == ["samples", f"60, with weights that sum to {of_test.sum():.6g}"]
    assert sum(line.endswith("  weight") for line in lines) == 2, "of each class, and of each bin"
    assert lines[[line.startswith("true \\ predicted") for line in lines].index(True) - 1] == "sums of weights"
    assert "  samples" not in str(report)
    assert "60 samples, with weights that sum to" in report._repr_html_()
    assert "Confusion matrix, sums of weights:" in report._repr_html_()
    plain = train("4 tanh", load((x, y)), epochs=2).report()
    assert "weight" not in str(plain) + "".join(plain.as_json())
    assert "weights" not in plain._repr_html_()


def test_a_report_on_quantities_has_their_metrics():
    trained = train("4", "diabetes", epochs=2)
    report = trained.report(metrics=["r2", "explained_variance"])
    assert report == Report(trained.target, 88, trained.evaluate(metrics=["r2", "explained_variance"]))
    assert str(report).splitlines()[0].split() == ["samples", "88"]
    assert "explained variance" in str(report)


def test_the_report_on_labels_is_scikit_learns(films):
    report, held_out = films.report(), films.held_out()
    truth, guess = held_out.targets, held_out.predictions
    np.testing.assert_array_equal(report.confusion, sk.multilabel_confusion_matrix(truth, guess))
    assert report.confusion.dtype == np.int64
    expected = sk.precision_recall_fscore_support(truth, guess, zero_division=0)
    found = [[getattr(one, name) for one in report.labels] for name in ("precision", "recall", "f1", "support")]
    np.testing.assert_allclose(found, expected)
    for k, scores in enumerate(report.labels):
        area = sk.average_precision_score(truth[:, k], held_out.probabilities[:, k])
        assert scores.average_precision == pytest.approx(area)
    assert report.metrics == films.evaluate()
    assert report.classes == () == report.quantities
    assert report.reliability.weight.sum() == truth.size
    assert report.reliability.error == pytest.approx(report.metrics["calibration_error"])


def test_the_report_on_labels_is_shown(films, tmp_path, capsys):
    films.save(tmp_path / "run")
    assert run(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    report = films.report()
    assert [one["label"] for one in shown["labels"]] == ["y_0", "y_1", "y_2"]
    assert shown["confusion"] == report.confusion.tolist()
    assert shown["averages"] == dict.fromkeys(("precision", "recall", "f1", "roc_auc", "average_precision"), "macro")
    assert run(["evaluate", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    (f1,) = [line for line in lines if line.startswith("F1 (macro)")]
    assert float(f1.split()[-1]) == pytest.approx(report.metrics["f1"], rel=1e-3)
    (_, false_positive), (missed, right) = report.confusion[1].tolist()
    head = lines.index(next(line for line in lines if line.startswith("label  true pos.")))
    assert lines[head + 2].split()[:4] == ["y_1", str(right), str(false_positive), str(missed)]
    assert "Calibration: where a label has the probability 0.8," in lines


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    random = np.random.default_rng(3)
    x = random.normal(size=(300, 4))
    y = (x @ random.normal(size=(4, 3)) + random.normal(size=(300, 3)) > 0.5).astype(int)
    return train(
        "8 tanh", load(written(tmp_path_factory.mktemp("data"), x, y), target=["y_0", "y_1", "y_2"]), epochs=10
    )


def written(folder, x, y, names=()):
    """A table as a file, from which a run can be evaluated."""
    columns = {f"x{k}": x[:, k] for k in range(x.shape[1])}
    targets = {(names or [f"y_{k}" for k in range(y.shape[1])])[k]: y[:, k] for k in range(y.shape[1])}
    pl.DataFrame(columns | targets).write_csv(folder / "data.csv")
    return str(folder / "data.csv")


def of_two(folder, loss="mse"):
    random = np.random.default_rng(4)
    x = random.normal(size=(300, 4))
    y = x @ random.normal(size=(4, 2)) * [1, 1000] + random.normal(size=(300, 2)) * [0.2, 900]
    names = ["metres", "grams"]
    return train("8 tanh", load(written(folder, x, y, names), target=names), epochs=20, loss=loss)


def test_each_of_several_quantities_has_scores_in_its_own_unit(tmp_path, capsys):
    trained = of_two(tmp_path)
    report, held_out = trained.report(), trained.held_out()
    truth, guess = held_out.targets, held_out.predictions
    assert [one.name for one in report.quantities] == ["metres", "grams"]
    for k, one in enumerate(report.quantities):
        assert one.metrics == pytest.approx({
            "r2": sk.r2_score(truth[:, k], guess[:, k]),
            "mae": sk.mean_absolute_error(truth[:, k], guess[:, k]),
            "rmse": sk.root_mean_squared_error(truth[:, k], guess[:, k]),
        }, rel=1e-5)  # fmt: skip
    assert report.metrics.keys() == {"loss", "r2"}, "units can't be mixed"
    assert report.metrics["r2"] == pytest.approx(sk.r2_score(truth, guess, multioutput="uniform_average"))
    assert report.averages == {"r2": "uniform_average"}
    explicit = trained.report(metrics=["mae", "neg_median_absolute_error"])
    assert explicit.metrics["mae"] == pytest.approx(sk.mean_absolute_error(truth, guess))
    assert explicit.quantities[1].metrics["neg_median_absolute_error"] == pytest.approx(
        -sk.median_absolute_error(truth[:, 1], guess[:, 1])
    )
    assert "mean absolute error (mean of 2, in mixed units)" in str(explicit)
    trained.save(tmp_path / "run")
    assert run(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == [one.as_json() for one in report.quantities]
    assert run(["evaluate", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("R2 (mean of 2)") for line in lines)
    assert lines[lines.index("each in its own unit") + 1].split() == ["target", "R2", "MAE", "RMSE"]


@pytest.mark.parametrize("loss", ["gaussian", "quantiles 0.05 0.5 0.95"])
def test_intervals_of_several_quantities_have_scores_of_their_own(tmp_path, loss):
    trained = of_two(tmp_path, loss)
    report, held_out = trained.report(), trained.held_out()
    lower, _, upper = trained.interval(trained.data.test, 0.9)
    inside = (lower <= held_out.targets) & (held_out.targets <= upper)
    for k, one in enumerate(report.quantities):
        assert one.metrics["coverage_0.9"] == pytest.approx(inside[:, k].mean())
        assert one.metrics["interval_width_0.9"] == pytest.approx((upper - lower)[:, k].mean(), rel=1e-5)
    assert report.metrics["coverage_0.9"] == pytest.approx(inside.mean())
    assert "interval_width_0.9" not in report.metrics
    assert trained.evaluate() == report.metrics


def test_training_ends_with_the_scores_of_each_quantity(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(5)
    x = random.normal(size=(200, 2))
    written(tmp_path, x, np.column_stack([x[:, 0] * 2, x.sum(axis=1) * 500]), ["metres", "grams"])
    words = ["train", "data.csv", "--target", "metres", "--target", "grams", "--network", "4 tanh", "--epochs", "5"]
    assert run([*words, "--output", "run"]) == 0
    out, err = capsys.readouterr()
    report = open_run("run").report(load("data.csv", target=["metres", "grams"]).test)
    for one in report.quantities:
        (line,) = [line for line in out.splitlines() if line.startswith(f"test {one.name}")]
        assert f"R2 {one.metrics['r2']:.4g}, root mean squared error {one.metrics['rmse']:.4g}" in line
    assert "test R2 (mean of 2)" in out
    assert "validation R2 (mean of 2)" in err
    assert run([*words, "--output", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_targets"] == [one.as_json() for one in report.quantities]


def test_of_many_quantities_the_worst_are_shown_within_80_columns():
    random = np.random.default_rng(6)
    x = random.normal(size=(200, 5))
    frame = pl.DataFrame({f"x{k}": x[:, k] for k in range(5)})
    y = {f"a rather long name of quantity {k}": x @ random.normal(size=5) * 10.0**k for k in range(24)}
    frame = frame.with_columns(**y)
    trained = train("4 tanh", load(frame, target=list(y)), epochs=2, loss="gaussian")
    report = trained.report()
    lines = str(report).splitlines()
    assert all(columns(line) <= 80 for line in lines)
    assert "and 4 more, with a higher R2" in lines
    assert sum(line.startswith("target ") for line in lines) > 1, "what is too wide is several tables"


@pytest.mark.parametrize("which", ["classes", "labels", "quantities", "two"])
def test_a_notebook_shows_all_of_it(which, digits, films, tmp_path):
    trained = {"classes": digits, "labels": films}.get(which) or (
        of_two(tmp_path) if which == "quantities" else train("4 tanh", "moons", epochs=3, threshold=0.3)
    )
    report = trained.report()
    check(report)
    reader = Reader(report._repr_html_())
    texts = " ".join(reader.texts)
    for name, value in report.metrics.items():
        assert label(name, report.target) in reader.texts, name
        assert number(name, value) in reader.texts
    for one in (*report.classes, *report.labels):
        assert {str(one.label), f"{one.f1:.3f}"} <= set(reader.texts)
    for one in report.quantities:
        assert {one.name, number("rmse", one.metrics["rmse"])} <= set(reader.texts)
    assert ("svg" in reader.tags) == (which != "quantities")
    assert ("0.3 or more: 1" in texts) == (which == "two")
    assert "10 bins of equal width" in texts or which == "quantities"
    if which == "classes":
        assert {f"{cell}" for cell in report.confusion.ravel()} <= set(reader.texts)


def test_labels_of_users_are_no_markup_in_a_notebook():
    target = Target("classification", classes=(HOSTILE, "b"))
    classified = Classified(2, np.array([0, 1]), np.array([0, 0]), np.array([[0.6, 0.4]] * 2), np.ones(2))
    check(report_on(target, classified, {"f1": 0.5}, None, None))


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
    report = report_on(target, classified, {"loss": 0.5, "f1": 0.25}, threshold, weight if weighted else None)
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
    text = str(report_on(target, Classified(width, truth, guess, None, np.ones(400)), {}, None, None))
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
    text = str(report_on(target, Classified(2, np.array([0, 1]), np.array([0, 0]), None, np.ones(2)), {}, None, None))
    of_classes = text.split("\n\n")[1].splitlines()
    assert of_classes[1].startswith("猫" * 10 + "...")
    assert {columns(line) for line in of_classes} == {columns(of_classes[0])}
