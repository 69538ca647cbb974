"""A run that changes engines: each takes its own steps again."""

import os
import subprocess
import sys

import numpy as np
import pytest

from chainrule import train
from chainrule.errors import SettingError
from chainrule.explain import explain
from chainrule.explain.text import rounding_lines
from chainrule.runs import Recorder, Run
from chainrule.training import plan as plans
from waiting import WAIT


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
    assert run.summary().facts["engine"] == "numpy from step 0; jax on 1 cpu device from step 3"
    made, make = [], plans.Plan.make_engine
    monkeypatch.setattr(plans.Plan, "make_engine", lambda self, *of: made.append(self.engine) or make(self, *of))
    before, after = run.each([2, 3])
    assert made == ["numpy", "jax"]
    np.testing.assert_array_equal(before.after.parameters, after.before.parameters)
    *_, last = run.each([5])
    np.testing.assert_array_equal(last.after.parameters, run.trained.progress.position.parameters)  # the same bits


def test_steps_in_bfloat16_are_explained_with_a_bound_of_bfloat16(tmp_path):
    """Which the difference from the definition keeps within, but comes near to."""
    folder, settings = tmp_path / "run", {"optimizer": "sgd 0.1", "batch_size": 35, "epochs": 1}
    train("4 tanh", "iris", engine="jax", dtype="bfloat16", callbacks=[Recorder(folder)], **settings)
    run = Run.open(folder)
    assert run.summary().facts["engine"] == "jax on 1 cpu device in bfloat16"
    explained = [explain(run, weight, 1) for weight in ("dense_1.W[2, 1]", "dense_1.b[0]", "dense_2.W[3, 2]")]
    for one in explained:
        assert one.precision == "bfloat16"
        assert 0 < abs(one.rounding.difference) <= one.rounding.bound
        assert "in bfloat16: the difference of" in " ".join(rounding_lines(one))
    assert max(abs(one.rounding.difference) / one.rounding.bound for one in explained) > 1e-3


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


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("JAX_PLATFORMS", "nonsense", "JAX finds no devices to compute on: Unable to initialize backend 'nonsense'"),
        ("JAX_ENABLE_X64", "maybe", "JAX can't be imported: "),
        ("JAX_PROCESS_ID", "1", "several processes need --coordinator HOST:PORT, --processes and --process: "),
    ],
)
def test_an_environment_that_jax_can_t_use_is_one_line(tmp_path, variable, value, told):
    command = [sys.executable, "-m", "chainrule", "train", "iris", "--engine", "jax", "--epochs", "1"]
    environment = {**os.environ, variable: value}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=5 * WAIT, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"chainrule: {told}")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
