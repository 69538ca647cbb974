"""Searches for settings: reproducible, resumable, and shared by several processes."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule import Run, load, tune
from chainrule.cli import run as command
from chainrule.errors import DataError, RunError, SettingError

SMALL = {"epochs": 4}


@pytest.fixture(scope="module")
def data():
    return load("moons", validation=0.3)


def test_the_best_trial_has_the_lowest_loss_and_is_trained_again_bit_for_bit(data):
    told = []
    tuned = tune(data, 5, **SMALL, callback=told.append)
    assert [trial.number for trial in tuned.trials] == list(range(5))
    assert tuple(told) == tuned.trials
    assert tuned.trials[0].settings == {}
    assert all(set(trial.settings) == {"network", "optimizer", "batch_size"} for trial in tuned.trials[1:])
    losses = [trial.value for trial in tuned.trials if trial.state == "complete"]
    assert tuned.best.value == min(losses)
    assert tuned.train().progress.best.value == tuned.best.value


def test_a_search_alone_is_reproducible_and_goes_on_where_it_was_interrupted(data, tmp_path):
    whole = tune(data, 4, **SMALL, storage=tmp_path / "whole.jsonl").trials
    assert tune(data, 4, **SMALL, storage=tmp_path / "whole.jsonl").trials == whole
    tune(data, 2, **SMALL, storage=tmp_path / "parts.jsonl")
    assert tune(data, 4, **SMALL, storage=tmp_path / "parts.jsonl").trials == whole
    assert tune(data, 4, **SMALL, storage=f"sqlite:///{tmp_path}/parts.db").trials == whole
    assert tune(data, 4, **SMALL, seed=1).trials != whole


def test_ctrl_c_ends_the_search_and_keeps_the_trials(data, tmp_path, monkeypatch):
    from chainrule.training import loop

    told, measure = [], loop.evaluate

    def interrupted(*arguments, **options):
        if told:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(loop, "evaluate", interrupted)
    tuned = tune(data, 4, **SMALL, storage=tmp_path / "study.jsonl", callback=told.append)
    assert [trial.state for trial in tuned.trials] == ["complete", "failed"]
    told.clear()
    assert tune(data, 4, **SMALL, storage=tmp_path / "study.jsonl").trials[:2] == tuned.trials


def test_trials_that_are_worse_than_others_end_early(data):
    states = [trial.state for trial in tune(data, 14, epochs=20).trials]
    assert {"complete", "pruned"} <= set(states)
    assert states[:5] == ["complete"] * 5


def test_several_processes_share_a_study(data, tmp_path):
    code = "import chainrule, sys; chainrule.tune('moons', 6, validation=0.3, epochs=4, storage=sys.argv[1])"
    storage = str(tmp_path / "study.jsonl")
    processes = [subprocess.Popen([sys.executable, "-c", code, storage]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    trials = tune(data, 6, **SMALL, storage=storage).trials
    assert len(trials) in (6, 7)
    assert len({json.dumps(trial.settings) for trial in trials}) == len(trials)


def test_machines_share_a_study_though_data_and_storage_have_other_paths_there(tmp_path):
    """Two processes at the same time, each in a folder of its own, that see the storage at
    different paths and have the same data in files of different names.
    """
    for place in ("shared", "first", "second"):
        (tmp_path / place).mkdir()
    random = np.random.default_rng(8)
    x = random.normal(size=(200, 2))
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] > 0, "p", "n")})
    table.write_csv(tmp_path / "first/rows.csv")
    table.write_csv(tmp_path / "second/copied.csv")
    (tmp_path / "second/mounted").symlink_to(tmp_path / "shared")
    code = "import sys; from chainrule.cli import run; sys.exit(run(sys.argv[1:]))"
    words = ["--trials", "6", "--epochs", "3", "--json", "--storage"]
    storages = {"first/rows.csv": tmp_path / "shared/study.jsonl", "second/copied.csv": "mounted/study.jsonl"}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, "tune", Path(file).name, *words, storage],
                         cwd=tmp_path / Path(file).parent, stdout=subprocess.PIPE)
        for file, storage in storages.items()
    ]  # fmt: skip
    results = [json.loads(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    trials = tune(load(tmp_path / "first/rows.csv"), 6, epochs=3, storage=tmp_path / "shared/study.jsonl").trials
    assert len(trials) in (6, 7)
    for result, folder in zip(results, ("first", "second"), strict=True):
        assert trials[result["best"]].value == result["value"]
        assert Run.open(tmp_path / folder / result["run"]).trained.progress.best.value == result["value"]


def test_a_study_of_other_data_or_settings_is_refused(data, tmp_path):
    tune(data, 1, **SMALL, storage=tmp_path / "study.jsonl")
    with pytest.raises(SettingError, match=r"the storage has a study with another data.*and target"):
        tune("iris", 2, **SMALL, storage=tmp_path / "study.jsonl")
    with pytest.raises(SettingError, match=r"another epochs; choose another \(storage\)"):
        tune(data, 2, epochs=5, storage=tmp_path / "study.jsonl")
    with pytest.raises(SettingError, match=r"another loss; choose another \(storage\)"):
        tune(data, 2, **SMALL, loss="focal", storage=tmp_path / "study.jsonl")
    with pytest.raises(SettingError, match=r"another loss; choose another \(storage\)"):
        tune(data, 2, **SMALL, class_weight=[1, 2], storage=tmp_path / "study.jsonl")


def test_what_can_not_be_tuned_is_refused_before_there_is_a_study(data, tmp_path):
    with pytest.raises(DataError, match="without validation data"):
        tune("iris", 1, validation=0, storage=tmp_path / "study.jsonl")
    with pytest.raises(SettingError, match="unknown loss"):
        tune("iris", 1, loss="hubert", storage=tmp_path / "study.jsonl")
    with pytest.raises(SettingError, match="0 trials"):
        tune("iris", 0, storage=tmp_path / "study.jsonl")
    assert not list(tmp_path.iterdir())
    (tmp_path / "other.txt").write_text("no study\n")
    with pytest.raises(RunError, match=r"other.txt: it can't be used as storage"):
        tune("iris", 1, storage=tmp_path / "other.txt")


def test_a_killed_process_leaves_a_study_that_another_one_finishes(data, tmp_path):
    """Killed in the middle of its second trial, which is taken for running and doesn't count."""
    storage = tmp_path / "study.jsonl"
    code = (
        "import chainrule, os, signal, sys\n"
        "from chainrule.training import loop\n"
        "measure, told = loop.evaluate, []\n"
        "def killed(*arguments, **options):\n"
        "    if told: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return measure(*arguments, **options)\n"
        "loop.evaluate = killed\n"
        "chainrule.tune('moons', 4, validation=0.3, epochs=4, storage=sys.argv[1], callback=told.append)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(storage)], check=False).returncode == -9
    tuned = tune(data, 4, **SMALL, storage=storage)
    assert [trial.number for trial in tuned.trials] == [0, 2, 3, 4]
    assert all(trial.state == "complete" for trial in tuned.trials)


def test_another_metric_than_the_loss_is_maximized(data, tmp_path):
    tuned = tune(data, 4, **SMALL, monitor="roc_auc", storage=tmp_path / "study.jsonl")
    values = [trial.value for trial in tuned.trials if trial.value is not None]
    assert (tuned.monitor, tuned.best.value) == ("roc_auc", max(values))
    trained = tuned.train()
    assert trained.progress.best.value == tuned.best.value
    assert trained.plan.monitor == "roc_auc"
    for other in ({"monitor": "accuracy"}, {"patience": 3}, {"penalties": "l2 0.1"}, {"dtype": "float64"}):
        with pytest.raises(SettingError, match=f"another {next(iter(other))}"):
            tune(data, 5, **SMALL, **{"monitor": "roc_auc"} | other, storage=tmp_path / "study.jsonl")


def test_the_command_that_trains_the_best_again_gives_the_same_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "iris",
        "--epochs",
        "3",
        "--no-shuffle",
        "--seed",
        "2",
        "--monitor",
        "accuracy",
        "--metrics",
        "f1, jaccard",
    ]
    assert command(["tune", *words, "--trials", "3", "--output", "best", "--log", "tensorboard"]) == 0
    shown = capsys.readouterr()
    assert "150 samples" in shown.err
    (line,) = [line for line in shown.out.splitlines() if line.startswith("to train it again")]
    again = shlex.split(line.partition("chainrule ")[2])
    assert command([*again, "--output", "again"]) == 0
    best, other = (Run.open(name).trained for name in ("best", "again"))
    np.testing.assert_array_equal(best.parameters, other.parameters)
    assert list((tmp_path / "best/tensorboard").iterdir())


def test_in_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["tune", "iris", "--epochs", "3", "--trials"]
    assert command(["tune", "nowhere.csv"]) == 2
    assert not list(tmp_path.iterdir())
    capsys.readouterr()
    assert command([*words, "2"]) == 0
    shown = capsys.readouterr()
    assert "trial 0: the defaults: validation loss" in shown.err
    assert "2 complete, in runs/iris-tuning.jsonl" in shown.out
    assert command([*words, "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["trials"], result["run"]) == (3, "runs/iris-2")
    trained = Run.open("runs/iris-2").trained
    assert trained.progress.best.value == result["value"]
    assert np.isfinite(result["test"]["accuracy"])
    assert command(["tune", "iris", "--storage", "nowhere/study.jsonl"]) == 2
    assert "choose another" in capsys.readouterr().err


def test_a_search_shows_the_best_value_and_its_settings_first(data):
    tuned = tune(data, 3, **SMALL)
    first, *lines = repr(tuned).splitlines()
    assert first == f"Tuned: validation loss {tuned.best.value:.4g}, in trial {tuned.best.number}"
    assert len(lines) < 19
    if tuned.best.settings:
        assert lines[0].split(maxsplit=1) == ["network", tuned.best.settings["network"]]
    assert any(line.split()[:2] == ["trials", "3"] for line in lines)
    assert f"{tuned.best.value:.4g}" in tuned._repr_html_()
    none = replace(tuned, trials=(replace(tuned.trials[0], state="failed", value=None),))
    assert repr(none).splitlines()[0] == "Tuned: no trial is complete"
    greatest = replace(tuned, monitor="accuracy", maximizes=True)
    assert f"validation accuracy {max(t.value for t in tuned.trials if t.value is not None):.4g}" in repr(greatest)


def test_each_of_several_quantities_has_test_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(5)
    x = random.normal(size=(200, 2))
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "metres": x[:, 0] * 2, "grams": x.sum(axis=1) * 500})
    table.write_csv("data.csv")
    words = ["tune", "data.csv", "--target", "metres", "--target", "grams", "--trials", "1", "--epochs", "2"]
    assert command(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("metres", "grams"):
        (line,) = [line for line in lines if line.startswith(f"test {name}")]
        assert "R2 " in line
        assert "root mean squared error " in line
    assert command([*words, "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["test_targets"]] == ["metres", "grams"]


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"tuning needs optuna: pip install 'chainrule\[tune\]'"):
        chainrule.tune("iris")
