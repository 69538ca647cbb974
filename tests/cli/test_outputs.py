"""Intervals, deviations and ordered classes on the command line."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from chainrule.cli import run

ORDER = "awful,poor,fair,good,great"


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    area, wait = random.uniform(20, 140, 300), random.uniform(1, 40, 300)
    rent = 200 + 9 * area + (20 + area) * random.normal(size=300)
    grade = np.array(ORDER.split(","))[np.clip(np.round(5 - wait / 9 + random.normal(0, 0.5, 300)), 0, 4).astype(int)]
    Path("rents.csv").write_text("area,rent\n" + "".join(f"{a:.1f},{r:.0f}\n" for a, r in zip(area, rent, strict=True)))
    Path("visits.csv").write_text("wait,grade\n" + "".join(f"{w:.0f},{g}\n" for w, g in zip(wait, grade, strict=True)))


def output_of(capsys, *arguments):
    assert run([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def table_of(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    return list(rows[0]), {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def refused(capsys, *arguments):
    assert run([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.strip().splitlines()
    return line


def test_intervals_are_trained_predicted_and_evaluated(capsys):
    out = output_of(capsys, "train", "rents.csv", "--interval", 0.8, "--epochs", 30, "--output", "run")
    assert "test coverage 0.8" in out
    names, columns = table_of(output_of(capsys, "predict", "run", "rents.csv", "--interval", "0.8"))
    assert names == ["rent", "rent_lower", "rent_upper"]
    assert (columns["rent_lower"] <= columns["rent"]).all()
    assert (columns["rent"] <= columns["rent_upper"]).all()
    names, every = table_of(output_of(capsys, "predict", "run", "rents.csv"))
    assert names == ["rent", "rent_quantile_0.1", "rent_quantile_0.5", "rent_quantile_0.9"]
    np.testing.assert_array_equal(every["rent_quantile_0.1"], columns["rent_lower"])
    scores = json.loads(output_of(capsys, "evaluate", "run", "rents.csv", "--json"))
    rents = np.loadtxt("rents.csv", delimiter=",", skiprows=1)[:, 1]
    inside = (columns["rent_lower"] <= rents) & (rents <= columns["rent_upper"])
    assert scores["metrics"]["coverage_0.8"] == pytest.approx(inside.mean())
    assert scores["metrics"]["interval_width_0.8"] == pytest.approx(
        (columns["rent_upper"] - columns["rent_lower"]).mean()
    )
    printed = output_of(capsys, "evaluate", "run", "rents.csv")
    assert f"coverage 0.8             {100 * inside.mean():.1f} %" in printed
    assert "pinball loss" in printed
    assert "loss quantiles" in " ".join(output_of(capsys, "show", "run").split()).lower()


def test_a_deviation_is_predicted_and_gives_any_interval(capsys):
    output_of(capsys, "train", "rents.csv", "--loss", "gaussian", "--epochs", 20, "--output", "run")
    names, columns = table_of(output_of(capsys, "predict", "run", "rents.csv"))
    assert names == ["rent", "rent_deviation"]
    assert (columns["rent_deviation"] > 0).all()
    output_of(capsys, "predict", "run", "rents.csv", "--interval", "0.6826895", "-o", "out.json")
    rows = json.loads(Path("out.json").read_text())
    assert list(rows[0]) == ["rent", "rent_lower", "rent_upper", "rent_deviation"]
    assert rows[0]["rent_upper"] - rows[0]["rent"] == pytest.approx(rows[0]["rent_deviation"], rel=1e-4)
    assert "negative log-likelihood" in output_of(capsys, "evaluate", "run")


def test_what_gives_no_interval_says_what_to_train(capsys):
    output_of(capsys, "train", "rents.csv", "--epochs", 1, "--output", "run")
    message = refused(capsys, "predict", "run", "rents.csv", "--interval", "0.9", "-o", "out.csv")
    assert "MeanSquaredError predicts no quantiles" in message
    assert message.endswith("for 0.05 and 0.95, train with the loss 'quantiles 0.05 0.5 0.95', or with 'gaussian'")
    assert not Path("out.csv").exists()
    assert "pass a share between 0 and 1" in refused(capsys, "predict", "run", "rents.csv", "--interval", "90")
    assert "--interval chooses the loss" in refused(capsys, "train", "rents.csv", "--interval", "0.9", "--loss", "mse")
    assert "pass a share between 0 and 1" in refused(capsys, "train", "rents.csv", "--interval", "0")
    assert "in ascending order" in refused(capsys, "train", "rents.csv", "--loss", "quantiles 0.5 0.1")
    assert not Path("runs").exists()


def test_classes_in_order_from_a_file(capsys):
    out = output_of(capsys, "train", "visits.csv", "--order", ORDER, "--epochs", 60, "--output", "run")
    assert "test mean absolute error in ranks" in out
    rows = list(csv.DictReader(io.StringIO(output_of(capsys, "predict", "run", "visits.csv"))))
    names = [f"probability_{label}" for label in ORDER.split(",")]
    assert list(rows[0]) == ["grade", *names]
    for row in rows[:20]:
        probabilities = [float(row[name]) for name in names]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert min(probabilities) >= 0
        assert row["grade"] == ORDER.split(",")[int(np.argmax(probabilities))]
    scores = json.loads(output_of(capsys, "evaluate", "run", "--json"))
    metrics = scores["metrics"]
    assert list(metrics) == ["loss", "accuracy", "rank_mae", "quadratic_kappa", "balanced_accuracy", "log_loss"]
    assert metrics["quadratic_kappa"] > 0.7
    assert "target grade (ordinal, 5 classes)" in " ".join(output_of(capsys, "show", "run").split())
    for format in ("text", "html", "svg"):
        output_of(capsys, "explain", "run", "dense_1.W[0, 0]", "--format", format, "-o", f"why.{format}")
    assert "passed" in output_of(capsys, "check", "run")
    output_of(capsys, "train", "--resume", "run", "--epochs", 61)


def test_an_unknown_order_is_refused_before_anything_is_written(capsys):
    message = refused(capsys, "train", "visits.csv", "--task", "ordinal")
    assert message.endswith("list them from the lowest (--order awful,fair,good,great,poor)")
    assert "lacks 'great'" in refused(capsys, "train", "visits.csv", "--order", "awful,poor,fair,good")
    assert "the task is regression" in refused(capsys, "train", "visits.csv", "--order", ORDER, "--task", "regression")
    assert "list the classes from the lowest" in refused(capsys, "train", "visits.csv", "--order", "low,,high")
    assert not Path("runs").exists()


def test_random_networks_with_such_losses_are_checked(capsys):
    for loss in ("ordinal", "gaussian", "quantiles 0.2 0.8"):
        assert "passed" in output_of(capsys, "check", "--network", "8 tanh, 4", "--inputs", "3", "--loss", loss)
