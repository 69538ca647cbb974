"""Early stopping on any metric, and callbacks that end training."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Classifier
from chainrule.cli import run
from chainrule.data import load
from chainrule.errors import RunError, SettingError
from chainrule.runs import Recorder, Run, follow, train
from chainrule.training import Ended, EpochEnded, Metric, Started, Stepped, start
from chainrule.training.stopping import followed

MOONS = load("moons", validation=0.2)
QUICK = {"optimizer": "adam 0.01", "batch_size": 100}
VALUES = st.lists(st.one_of(st.integers(0, 9).map(float), st.just(math.nan), st.just(math.inf)), max_size=12)


@given(VALUES, st.booleans(), st.sampled_from([0.0, 1.0, 2.5]))
def test_what_is_followed_is_the_definition(values, greater, min_delta):
    """The best is the first of the greatest; waiting starts anew at each value that exceeds the
    last such by more than min_delta.
    """
    values = [value if greater else -value for value in values]
    signed = values if greater else [-value for value in values]
    numbers = [value for value in signed if not math.isnan(value)]
    epoch, waited = followed(values, greater, min_delta)
    assert epoch == (signed.index(max(numbers)) + 1 if numbers else 0)
    reference, since = None, 0
    for value in signed:
        improves = not math.isnan(value) and (reference is None or value - reference > min_delta)
        reference, since = (value, 0) if improves else (reference, since + 1)
    assert waited == since


@pytest.mark.parametrize("monitor", ["roc_auc", "log_loss", "validation_balanced_accuracy", "matthews_corrcoef"])
def test_training_stops_on_any_metric_with_its_best_weights(monitor):
    trained = train("4 tanh", MOONS, monitor=monitor, patience=3, min_delta=0.01, epochs=60, **QUICK)
    name = monitor.removeprefix("validation_")
    values = [record[f"validation_{name}"] for record in trained.history]
    best = min(values) if name == "log_loss" else max(values)
    assert trained.plan.monitor == name
    assert trained.reason == "early"
    assert trained.progress.best.value == best == values[trained.progress.best.epoch - 1]
    assert trained.progress.waited == 3
    assert trained.evaluate(MOONS.validation, name)[name] == pytest.approx(best)
    last = len(values) - 4  # three epochs in which it did not improve by more than 0.01
    assert all(
        (values[last] - value if name == "log_loss" else value - values[last]) <= 0.01 for value in values[last:]
    )


def test_a_metric_and_a_loss_can_disagree_on_the_best_epoch():
    def first_weight_is_large(truth, guess):
        return -len(calls) if calls.append(0) is None else 0

    calls = []
    trained = train("4 tanh", MOONS, monitor=first_weight_is_large, patience=4, epochs=60, **QUICK)
    assert trained.progress.best.epoch == 1
    assert len(trained.history) == 5
    calls.clear()
    falling = Metric(first_weight_is_large, greater_is_better=False)
    trained = train("4 tanh", MOONS, monitor=falling, patience=4, epochs=8, **QUICK)
    assert (trained.reason, trained.progress.best.epoch) == ("complete", 8)


def test_an_explicit_metric_stops_also_with_few_validation_rows():
    iris = load("iris")
    assert len(iris.validation.x) < 50
    assert train("4", iris, epochs=1).plan.patience is None
    assert train("4", iris, epochs=1, monitor="accuracy").plan.patience == 25
    assert train("4", iris, epochs=1, min_delta=0.1).plan.patience == 25


def test_a_metric_that_is_always_undefined_never_is_the_best():
    data = load("diabetes")
    undefined = Metric(lambda truth, guess: math.nan, "undefined")
    trained = train("4", data, monitor=undefined, patience=3, epochs=9)
    assert trained.reason == "early"
    assert trained.progress.best is None
    assert (trained.progress.epoch, trained.progress.waited) == (3, 3)


@pytest.mark.parametrize("steps", [1, 7, 8, 20, 41])
def test_resumed_from_anywhere_it_stops_at_the_same_epoch_with_the_same_bits(steps, tmp_path):
    plan = {"monitor": "roc_auc", "min_delta": 0.002, "patience": 2, "epochs": 30, "threshold": "f1", **QUICK}
    whole = train("4 tanh, dropout 0.2", MOONS, **plan)
    assert whole.reason == "early"

    def stop(event):
        if isinstance(event, Stepped) and event.progress.position.step >= steps:
            event.stop()

    part = train("4 tanh, dropout 0.2", MOONS, callbacks=[Recorder(tmp_path / "run"), stop], **plan)
    assert part.reason == "stopped"
    run = Run.open(tmp_path / "run")
    assert run.manifest["status"] == run.trained.reason == "stopped"
    np.testing.assert_array_equal(run.trained.parameters, part.parameters)
    assert run.trained.threshold == part.threshold
    resumed = run.resume(MOONS)
    again = Run.open(tmp_path / "run").trained
    for trained in (resumed, again):
        np.testing.assert_array_equal(trained.parameters, whole.parameters)
        assert trained.history == whole.history
        assert (trained.reason, trained.threshold) == ("early", whole.threshold)
        assert trained.progress.best.value == whole.progress.best.value


def test_a_callback_stops_training_after_an_epoch_and_all_hear_of_it():
    heard = []

    def stop(event):
        if isinstance(event, EpochEnded) and event.measured["epoch"] == 3:
            event.stop()

    trained = train("4 tanh", MOONS, epochs=9, callbacks=[stop, heard.append], **QUICK)
    assert (trained.reason, len(trained.history)) == ("stopped", 3)
    assert trained.last.after.step == trained.progress.position.step
    assert [type(event) for event in heard[-2:]] == [EpochEnded, Ended]
    assert heard[-1].reason == "stopped"
    resumed = follow(trained.plan, MOONS, trained.progress)
    whole = train("4 tanh", MOONS, epochs=9, **QUICK)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


def test_a_callback_stops_training_before_its_first_step():
    def stop(event):
        event.stop()

    trained = train("4 tanh", MOONS, epochs=9, callbacks=[stop], **QUICK)
    assert (trained.reason, trained.progress.position.step, trained.last) == ("stopped", 0, None)
    np.testing.assert_array_equal(trained.parameters, start(trained.plan).position.parameters)


def test_stopping_after_the_last_epoch_changes_nothing():
    def stop(event):
        if isinstance(event, EpochEnded) and event.progress.epoch == 2:
            event.stop()

    assert train("4 tanh", MOONS, epochs=2, callbacks=[stop], **QUICK).reason == "complete"


def test_a_stop_ends_only_the_training_that_it_was_asked_of():
    """Events of one training share the request; another training has its own."""
    events = []
    train("4", MOONS, epochs=1, callbacks=[events.append, lambda event: event.stop()], **QUICK)
    assert isinstance(events[0], Started)
    assert train("4", MOONS, epochs=1, **QUICK).reason == "complete"


def cost(truth, guess):
    return float((truth != guess).mean())


def test_a_run_with_a_function_as_metric_opens_without_it_and_resumes_with_it(tmp_path):
    metric = Metric(cost, greater_is_better=False)
    settings = {"monitor": metric, "patience": 20, **QUICK}
    train("4 tanh", MOONS, epochs=2, callbacks=[Recorder(tmp_path / "run")], **settings)
    run = Run.open(tmp_path / "run")
    assert "cost" not in run.trained.evaluate(MOONS.test)
    assert run.trained.history[0]["validation_cost"] >= 0
    with pytest.raises(RunError, match=r"its metric cost is a function of your own, .* Run.open\(folder, own=\[cost\]"):
        run.resume(MOONS, epochs=4)
    assert Run.open(tmp_path / "run").manifest["status"] == "complete"
    whole = train("4 tanh", MOONS, epochs=4, **settings)
    for own in (cost, [metric]):
        known = Run.open(tmp_path / "run", own=own)
        assert known.trained.evaluate(MOONS.test)["cost"] == pytest.approx(cost_of(known.trained))
    resumed = Run.open(tmp_path / "run", own=[cost]).resume(MOONS, epochs=4)
    np.testing.assert_array_equal(resumed.history[-1]["validation_cost"], whole.history[-1]["validation_cost"])
    assert resumed.plan == whole.plan == replace(whole.plan, metrics=(*whole.plan.metrics,))


def cost_of(trained):
    return 1 - trained.evaluate(MOONS.test)["accuracy"]


def test_a_run_that_stopped_early_goes_on_with_more_patience_or_says_why_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = {"epochs": 60, **QUICK}
    train("4 tanh", MOONS, callbacks=[Recorder("run")], patience=1, **plan)
    before = Run.open("run")
    stopped, waited = before.trained.progress.epoch, before.trained.progress.waited
    assert (before.trained.reason, waited) == ("early", 1)
    for settings in ({}, {"epochs": 90}, {"patience": 1}):
        with pytest.raises(RunError, match=r"stopped early: the validation loss had not improved for 1 epoch;.*pat"):
            before.resume(MOONS, **settings)
    assert run(["train", "--resume", "run", "--epochs", "90"]) == 2
    assert "it stopped early: the validation loss had not improved for 1 epoch; to go on, be more patient " \
        "(--patience 2)" in capsys.readouterr().err  # fmt: skip
    assert Run.open("run").manifest == before.manifest
    assert run(["train", "--resume", "run", "--patience", "0"]) == 2
    for patience, words in ((3, ["--patience", "3"]), (None, ["--patience", "none"])):
        assert run(["train", "--resume", "run", *words]) == 0
        whole, resumed = train("4 tanh", MOONS, patience=patience, **plan), Run.open("run")
        assert resumed.trained.progress.epoch > stopped
        assert resumed.trained.history == whole.history
        np.testing.assert_array_equal(resumed.trained.parameters, whole.parameters)
        step = resumed.manifest["steps"] - 1
        assert resumed.at(step, MOONS).before.step == step
        stopped = resumed.trained.progress.epoch


def test_patience_without_validation_rows_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rule = r"early stopping watches the validation set, of which there is none; set rows aside \(validation=0.1\), or "
    with pytest.raises(SettingError, match=rule + "leave patience out"):
        train("4 tanh", "moons", validation=0, patience=5)
    assert run(["train", "moons", "--validation", "0", "--patience", "5"]) == 2
    assert "set rows aside (--validation 0.1), or leave --patience out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    for patience in (None, "auto"):
        assert train("4 tanh", "moons", validation=0, patience=patience, epochs=1).plan.patience is None
    samples = MOONS.source.features, MOONS.source.target
    Classifier(patience=5, epochs=1).partial_fit(*samples, classes=[0, 1])  # one pass does not stop early
