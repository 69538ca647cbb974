"""A run that changes engines: each takes its own steps again."""

import numpy as np
import pytest

from chainrule import train
from chainrule.errors import SettingError
from chainrule.runs import Recorder, Run
from chainrule.training import plan as plans


def test_a_run_goes_on_on_another_engine_and_each_replays_its_own_steps(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    settings = {"network": "4 tanh", "optimizer": "sgd 0.1", "batch_size": 50, "seed": 1}
    train("iris", engine="numpy", epochs=1, callbacks=[Recorder(folder)], **settings)
    Run.open(folder).resume(epochs=2, engine="jax")
    run = Run.open(folder)
    first, second = run.manifest["planned"]
    assert first == [0, 1, {"engine": "numpy", "devices": None, "compute": None, "ranks": 1}]
    assert second == [3, 2]
    assert (run.trained.plan.engine, run.trained.plan.devices) == ("jax", ("cpu", 1))
    made, make = [], plans.Plan.make_engine
    monkeypatch.setattr(plans.Plan, "make_engine", lambda self, *of: made.append(self.engine) or make(self, *of))
    before, after = run.each([2, 3])
    assert made == ["numpy", "jax"]
    np.testing.assert_array_equal(before.after.parameters, after.before.parameters)
    *_, last = run.each([5])
    np.testing.assert_array_equal(last.after.parameters, run.trained.progress.position.parameters)  # the same bits


def test_what_other_engines_than_jax_lack_is_one_line():
    for settings, message in (
        ({"dtype": "bfloat16"}, "bfloat16.* is for the engine jax"),
        ({"engine": "numpy", "devices": 2}, "devices=2 is for the engine jax"),
    ):
        with pytest.raises(SettingError, match=message):
            train("iris", epochs=1, **settings)
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(SettingError, match=r"engine='jax' needs jax: pip install 'chainrule\[jax\]'"):
            train("iris", epochs=1, engine="jax")
