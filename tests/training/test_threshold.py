"""The decision between two classes."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from chainrule.cli import run
from chainrule.data import load
from chainrule.errors import DataError, RunError, SettingError
from chainrule.runs import Recorder, Run, train
from chainrule.training import Metric
from chainrule.training.threshold import choose


def rare(rows=900):
    """A rare class, which the more probable one hides."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3))
    rarely = random.uniform(size=rows) < 1 / (1 + np.exp(-(2 * x[:, 0] - 2.5)))
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "found": np.where(rarely, "yes", "no")})


RARE = load(rare(), target="found", validation=0.3)
SETTINGS = {"epochs": 12, "optimizer": "adam 0.01"}


@pytest.fixture(scope="module")
def trained():
    return train("6 tanh", RARE, **SETTINGS)


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy", "matthews_corrcoef", "cost"])
def test_the_chosen_threshold_is_the_best_of_all_on_the_validation_set(trained, metric):
    def cost(truth, guess):
        return 5 * ((truth == "yes") & (guess == "no")).mean() + ((truth == "no") & (guess == "yes")).mean()

    scores = {
        "f1": sk.f1_score,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "matthews_corrcoef": sk.matthews_corrcoef,
        "cost": lambda y, guess: -cost(np.array(["no", "yes"])[y], np.array(["no", "yes"])[guess]),
    }
    chosen = trained.with_threshold(Metric(cost, greater_is_better=False) if metric == "cost" else metric)
    y, p = RARE.validation.y, trained.probabilities(RARE.validation)[:, 1]
    every = [scores[metric](y, (p >= t).astype(int)) for t in np.unique(p)]
    assert 0 < chosen.threshold < 1
    assert scores[metric](y, (p >= chosen.threshold).astype(int)) == pytest.approx(max(every))
    labels = np.where(p >= chosen.threshold, "yes", "no")
    np.testing.assert_array_equal(chosen.predict(RARE.validation), labels)
    np.testing.assert_array_equal(chosen.held_out("validation").predictions, labels)


def test_it_finds_more_of_a_rare_class_and_probabilities_stay(trained):
    chosen = trained.with_threshold("f1")
    assert chosen.evaluate(RARE.validation)["f1"] > trained.evaluate(RARE.validation)["f1"]
    assert chosen.evaluate(RARE.test)["roc_auc"] == trained.evaluate(RARE.test)["roc_auc"]
    np.testing.assert_array_equal(chosen.probabilities(RARE.test), trained.probabilities(RARE.test))
    assert chosen.with_threshold(None).evaluate() == trained.evaluate()
    assert trained.with_threshold(np.float32(0.25)).threshold == 0.25


@given(st.lists(st.floats(0, 1, width=32), max_size=30), st.integers(0, 10**6))
def test_any_probabilities_have_a_threshold(probabilities, seed):
    probabilities = np.array(probabilities)
    scores = {}

    def score(threshold):
        return scores.setdefault(int((probabilities >= threshold).sum()), np.random.default_rng(seed).normal())

    threshold = choose(score, probabilities)
    assert 0 <= threshold <= 1
    assert score(threshold) == max(scores.values())
    assert choose(lambda _: np.nan, probabilities) == 0.5


def test_of_many_probabilities_a_thousand_thresholds_are_tried():
    tried = []
    choose(lambda threshold: tried.append(threshold) or 0.0, np.linspace(0, 1, 50_000))
    assert len(tried) == 1001
    assert (min(tried), max(tried)) == (pytest.approx(1e-5, rel=1e-3), pytest.approx(1 - 1e-5))


def test_a_run_keeps_its_threshold(tmp_path):
    trained = train("6 tanh", RARE, threshold="f1", callbacks=[Recorder(tmp_path / "run")], **SETTINGS)
    opened = Run.open(tmp_path / "run").trained
    assert opened.threshold == trained.threshold == trained.with_threshold("f1").threshold != 0.5
    np.testing.assert_array_equal(opened.predict(RARE.test), trained.predict(RARE.test))
    fixed = train("6 tanh", RARE, threshold=0.3, callbacks=[Recorder(tmp_path / "fixed")], **SETTINGS)
    assert Run.open(tmp_path / "fixed").trained.threshold == fixed.threshold == 0.3
    epoch = fixed.progress.best.epoch if fixed.plan.patience else len(fixed.history)
    accuracy = fixed.history[epoch - 1]["validation_accuracy"]
    assert accuracy == pytest.approx(fixed.evaluate(RARE.validation)["accuracy"])


def test_the_command_line_chooses_keeps_shows_and_uses_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rare().write_csv("rare.csv")
    options = ["--network", "4 tanh", "--epochs", "5", "--output", "run", "--threshold", "f1"]
    assert run(["train", "rare.csv", *options]) == 0
    threshold = Run.open("run").trained.threshold
    assert f"{threshold:.4g} or more: yes, chosen on the validation set by F1" in capsys.readouterr().out
    assert run(["show", "run"]) == 0
    assert f"threshold {threshold:.4g} or more: yes, chosen" in " ".join(capsys.readouterr().out.split())

    def predicted(*more):
        assert run(["predict", "run", "rare.csv", "--json", *more]) == 0
        rows = json.loads(capsys.readouterr().out)
        return {row["probability_yes"] for row in rows if row["found"] == "yes"}

    assert min(predicted()) >= threshold
    assert min(predicted("--threshold", "0.05")) < threshold
    assert predicted("--threshold", "f1") == predicted()
    for arguments, expected in (((), threshold), (("--threshold", "0.25"), 0.25)):
        assert run(["evaluate", "run", "--json", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["threshold"] == expected


def test_a_recorded_run_is_given_a_threshold_that_it_keeps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rare().write_csv("rare.csv")
    assert run(["train", "rare.csv", "--network", "4 tanh", "--epochs", "3", "--output", "run"]) == 0
    opened = Run.open("run")
    assert opened.trained.threshold is None
    assert run(["evaluate", "run", "--threshold", "f1"]) == 0
    assert Run.open("run").manifest == opened.manifest
    assert run(["evaluate", "run", "--threshold", "f1", "--keep"]) == 0
    kept = Run.open("run")
    chosen = opened.trained.with_threshold("f1", opened.load_data())
    assert (kept.trained.threshold, kept.trained.plan.threshold) == (chosen.threshold, "f1")
    assert kept.trained.plan == chosen.plan
    recipes = [path.name for path in kept.folder.glob("recipe*")]
    assert len(recipes) == 1
    assert recipes[0] in kept.manifest["files"]
    with pytest.raises(RunError, match="the run was changed after it was opened; open it again"):
        opened.keep_threshold(0.3)
    capsys.readouterr()
    assert run(["show", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == chosen.threshold
    resumed = kept.resume(epochs=5)
    assert resumed.threshold == Run.open("run").trained.threshold == resumed.with_threshold("f1").threshold
    by_number = Run.open("run").keep_threshold(0.25)
    assert Run.open("run").trained.threshold == by_number.trained.threshold == 0.25
    assert run(["evaluate", "run", "--threshold", "none", "--keep"]) == 0
    assert Run.open("run").trained.threshold is None
    assert run(["evaluate", "run", "--keep"]) == 2
    assert "--keep keeps a threshold in the run; pass --threshold as well" in capsys.readouterr().err


def test_what_has_no_threshold_is_refused(trained, capsys):
    with pytest.raises(SettingError, match="between two classes by their probabilities; there are 3 classes"):
        train("4", "iris", threshold="f1", epochs=1)
    with pytest.raises(SettingError, match=r"there are quantities \(progression\)"):
        train("4", "diabetes", threshold=0.5, epochs=1)
    with pytest.raises(SettingError, match=r"the threshold is 2\.0; it must be a probability from 0 to 1"):
        trained.with_threshold(2)
    with pytest.raises(SettingError, match="log_loss does not depend on the threshold"):
        trained.with_threshold("log_loss")
    with pytest.raises(DataError, match="no threshold is chosen: there is no validation set"):
        trained.with_threshold("f1", load(rare(), target="found", validation=0.0))
    assert run(["train", "moons", "--threshold", " "]) == 2
    assert "--threshold is empty; pass a probability such as 0.3, or a metric such as f1" in capsys.readouterr().err
