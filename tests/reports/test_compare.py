"""Runs side by side."""

import json
import re

import numpy as np
import pytest

import chainrule
from chainrule.cli import run as command
from chainrule.errors import SettingError
from chainrule.reports.comparison import _deviation
from chainrule.runs import Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the same data, one on other data."""
    folder = tmp_path_factory.mktemp("runs")
    chainrule.train("2 tanh", "iris", epochs=8, seed=1).save(folder / "small")
    chainrule.train("16 tanh", "iris", epochs=8, seed=1, loss="squared_hinge").save(folder / "large")
    chainrule.train("4 tanh", "diabetes", epochs=3).save(folder / "other")
    return folder


def test_metrics_are_those_of_evaluate_and_deviations_those_of_the_mean(runs):
    found = chainrule.compare(runs / "small", runs / "large")
    small, large = found.runs
    trained = Run.open(runs / "small").trained
    data = Run.open(runs / "small").load_data()
    assert small.metrics == trained.evaluate(data.test)
    # Of a share, the bootstrap's deviation is known: sqrt(p (1 - p) / n).
    share = small.metrics["accuracy"]
    assert small.deviations["accuracy"] == pytest.approx(np.sqrt(share * (1 - share) / 30), rel=0.2, abs=1e-9)
    assert found.difference(small, "accuracy") is None
    value, deviation = found.difference(large, "accuracy")
    assert value == large.metrics["accuracy"] - share
    assert deviation <= small.deviations["accuracy"] + large.deviations["accuracy"] + 1e-9


def test_settings_that_differ_are_found(runs):
    found = chainrule.compare(runs / "small", runs / "large")
    assert found.differing == ["network", "loss"]
    assert any("different losses" in note for note in found.notes)
    assert found.html.count('class="differs"') == 2 * 3


def test_runs_on_other_data_are_compared_where_they_can_be(runs, capsys):
    assert command(["compare", *(str(runs / name) for name in ("small", "large", "other")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["group"] for run in found["runs"]] == [0, 0, 1]
    assert "differences" in found["runs"][1]
    assert found["runs"][2]["differences"] == {}
    assert any("different samples or targets" in note for note in found["notes"])
    assert found["runs"][0]["parameters"] == 19


def test_the_same_run_twice_is_refused(runs, tmp_path):
    (tmp_path / "again").symlink_to(runs / "small")
    for arguments in ([runs / "small", runs / "small"], [runs / "small", runs / "large", tmp_path / "again"]):
        with pytest.raises(SettingError, match="given twice"):
            chainrule.compare(*arguments)


def test_no_deviation_is_said_where_the_draws_say_nothing(runs, tmp_path, capsys):
    chainrule.train("2 tanh", "iris", epochs=8, seed=1).save(tmp_path / "the-same")
    arguments = ["compare", str(runs / "small"), str(tmp_path / "the-same")]
    assert command([*arguments, "--json"]) == 0
    difference = json.loads(capsys.readouterr().out)["runs"][1]["differences"]["accuracy"]
    assert difference == {"value": 0, "deviation": None}
    assert command(arguments) == 0
    printed = capsys.readouterr().out
    assert "(0.0 %)" in printed
    assert all(float(words) > 0 for words in re.findall(r"± ([\d.]+)", printed))
    assert np.isnan(_deviation(np.full(200, 0.1) + 1e-17))  # as of a network that made no errors
    assert _deviation(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2))


def test_in_the_terminal_and_as_a_page(runs, capsys, tmp_path, open_page):
    arguments = ["compare", *(str(runs / name) for name in ("small", "large", "other"))]
    assert command(arguments) == 0
    printed = capsys.readouterr().out
    for words in ("accuracy", "±", "settings that differ", "training time", "note: "):
        assert words in printed
    assert command([*arguments, "-o", str(tmp_path / "c.html")]) == 0
    page = open_page(tmp_path / "c.html", 1280)
    assert page.locator("section").count() == 4
    assert page.locator("#curves svg.chart").count() == 4


def test_a_run_whose_data_is_missing_keeps_its_settings(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{k},{2 * k}" for k in range(60)))
    chainrule.train("2 tanh", "t.csv", epochs=1).save("lost")
    (tmp_path / "t.csv").unlink()
    found = chainrule.compare("lost", runs / "small")
    assert found.runs[0].metrics == {}
    assert "t.csv" in found.notes[0]
    assert found.runs[0].parameters == 7


def test_the_time_that_training_took_is_kept(tmp_path):
    ticks = iter(range(10_000))
    recorder = chainrule.Recorder(tmp_path / "run", clock=lambda: float(next(ticks)))
    chainrule.train("2 tanh", "iris", epochs=3, callbacks=[recorder])
    recorder.close()
    seconds = Run.open(tmp_path / "run").manifest["seconds"]
    assert 0 < seconds < 10_000
    Run.open(tmp_path / "run").resume(epochs=4)
    assert Run.open(tmp_path / "run").manifest["seconds"] >= seconds
    chainrule.train("2 tanh", "iris", epochs=1).save(tmp_path / "saved")  # whose time is not known
    assert "seconds" not in Run.open(tmp_path / "saved").manifest
