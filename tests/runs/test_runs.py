"""A run on disk is the complete training, exactly, and holds no code."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chainrule import layers, losses
from chainrule.data import load
from chainrule.descent import Optimizer, Stage, optimizer, optimizers, schedules, stages
from chainrule.descent.schedules import Schedule
from chainrule.errors import DataError, RunError
from chainrule.kinds import REGISTERED, kinds_of
from chainrule.layers import Dense, ReLU
from chainrule.network import Network
from chainrule.runs import Recorder, Run, train
from chainrule.runs.recipe import from_json, to_json
from chainrule.training import Ended, EpochEnded, Plan
from waiting import WAIT, until

STOCHASTIC = "8 relu, dropout 0.3, batchnorm, 6 tanh"


def round_trip(value):
    return from_json(json.loads(json.dumps(to_json(value))))


@pytest.mark.parametrize("name", optimizers.NAMED)
def test_recipes_keep_every_optimizer(name):
    original = optimizer(f"{name} clip=1 accumulate=2 average=0.9")
    assert round_trip(original) == original


@pytest.mark.parametrize("name", losses.NAMED)
def test_recipes_keep_every_loss(name):
    assert round_trip(losses.loss(name)) == losses.loss(name)


def test_recipes_keep_every_schedule_and_stage():
    for kind in kinds_of(schedules.Schedule):
        schedule = kind(3, schedules.Cosine(0.1)) if kind is schedules.WarmUp else kind(0.1)
        assert round_trip(schedule) == schedule
    for stage in (stages.Plateau(), stages.ClipValue(2.0), stages.ClipNorm(), losses.elastic(0.1, 0.2, "*.b")):
        assert round_trip(stage) == stage


@given(
    st.lists(
        st.sampled_from(
            ["8 relu", "6 gelutanh", "dropout 0.2", "batchnorm", "layernorm", "residual(elu)", "branches(3 | 2 tanh)"]
        )
    )
)
def test_recipes_keep_every_network(parts):
    network = Network(", ".join([*parts, "2"]), 3, dtype="float64")
    reread = round_trip(network)
    assert reread == network
    np.testing.assert_array_equal(reread.draw(1), network.draw(1))


def test_recipes_keep_names_and_distributions():
    parts = [
        layers.Embedding(5, 3, weights=stats.norm(0, scale=0.2)),
        layers.Flatten(),
        Dense(4, weights="orthogonal", biases=0.1, name="first"),
        layers.PReLU(0.1),
        layers.Branches([layers.Residual([Dense(4)]), [Dense(4)]], merge="add"),
    ]
    network = Network(parts, 2)
    assert round_trip(network) == network


def test_every_kind_is_registered_for_recipes():
    kinds = set(REGISTERED.values())
    assert kinds >= {*layers.KINDS, *losses.NAMED.values(), losses.Penalty, *kinds_of(Stage), *kinds_of(Schedule)}
    assert kinds >= {Plan, Network, Optimizer}
    assert len(REGISTERED) == len(kinds)


@pytest.mark.parametrize("data", ["iris", "diabetes", "digits"])
def test_a_reopened_run_equals_the_training(data, tmp_path):
    trained = train(STOCHASTIC, data, epochs=2, callbacks=[Recorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    np.testing.assert_array_equal(run.trained.parameters, trained.parameters)
    np.testing.assert_array_equal(run.trained.statistics, trained.statistics)
    assert run.trained.plan == trained.plan
    assert run.trained.history == trained.history
    assert run.trained.target == trained.target
    assert run.manifest["status"] == "complete"
    np.testing.assert_array_equal(run.trained.predict(data), trained.predict(data))
    assert run.load_data().fingerprint == trained.data.fingerprint


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_resumed_at_any_epoch_is_the_same_bit_for_bit(epoch, tmp_path):
    def stop(event):
        if isinstance(event, EpochEnded) and event.progress.epoch == epoch:
            raise KeyboardInterrupt

    uninterrupted = train(STOCHASTIC, "iris", epochs=4)
    train(STOCHASTIC, "iris", epochs=4, callbacks=[Recorder(tmp_path / "run"), stop])
    assert Run.open(tmp_path / "run").manifest["status"] == "interrupted"
    resumed = Run.open(tmp_path / "run").resume()
    for trained in (resumed, Run.open(tmp_path / "run").trained):
        np.testing.assert_array_equal(trained.parameters, uninterrupted.parameters)
        assert trained.history == uninterrupted.history
    assert Run.open(tmp_path / "run").manifest["status"] == "complete"


def test_a_run_is_resumed_for_more_epochs(tmp_path):
    train("4 relu", "iris", epochs=2, callbacks=[Recorder(tmp_path / "run")])
    Run.open(tmp_path / "run").resume(epochs=5)
    assert Run.open(tmp_path / "run").manifest["epochs"] == 5
    assert Run.open(tmp_path / "run").trained.plan.epochs == 5
    with pytest.raises(RunError, match="5 epochs already"):
        Run.open(tmp_path / "run").resume(epochs=3)


def test_arrays_must_be_passed_to_resume(tmp_path):
    random = np.random.default_rng(0)
    data = load((random.normal(size=(50, 2)), random.integers(0, 2, 50)))
    train("4 relu", data, epochs=1, callbacks=[Recorder(tmp_path / "run")])
    with pytest.raises(DataError, match="arrays that no file holds"):
        Run.open(tmp_path / "run").resume(epochs=2)
    assert Run.open(tmp_path / "run").resume(data, epochs=2).progress.epoch == 2


def test_every_epoch_saves_one_complete_state_when_the_clock_allows(tmp_path):
    ticks = iter(range(1000))
    states = []

    def count(event):
        if isinstance(event, EpochEnded):
            run = Run.open(tmp_path / "run")
            states.append((run.trained.progress.epoch, len(list((tmp_path / "run").glob("state-*")))))

    train("4 relu", "iris", epochs=3, callbacks=[Recorder(tmp_path / "run", clock=lambda: next(ticks) * 10.0), count])
    assert states == [(1, 1), (2, 1), (3, 1)]


class Twice(ReLU):
    """A layer from outside chainrule."""

    def value(self, z):
        return 2 * super().value(z)

    def derivative(self, z, a):
        return 2 * super().derivative(z, a)


def test_a_custom_layer_must_be_passed_to_open_its_run(tmp_path):
    trained = train([Dense(4), Twice(), Dense(3)], "iris", epochs=1, callbacks=[Recorder(tmp_path / "run")])
    with pytest.raises(RunError, match=r"'own.Twice'.*open the run in Python, with Run.open"):
        Run.open(tmp_path / "run")
    reopened = Run.open(tmp_path / "run", own=[Twice]).trained
    np.testing.assert_array_equal(reopened.predict("iris"), trained.predict("iris"))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"kind": "os.system", "command": "true"}, "there is no kind 'os.system'"),
        ({"kind": "layers.Dense", "units": 3, "shoe_size": 44}, "settings of layers.Dense don't fit"),
    ],
)
def test_a_recipe_constructs_known_kinds_only(recipe, message):
    with pytest.raises(RunError, match=message):
        from_json(recipe)


def test_what_json_cannot_hold_is_rejected():
    class Custom(losses.MeanSquaredError):
        pass

    loss = Custom()
    object.__setattr__(loss, "level", 1)
    assert to_json(loss) == {"kind": "own.Custom"}
    with pytest.raises(RunError, match="can't save"):
        to_json(layers.Dense(3, weights="zeros", name=object()))


def test_a_killed_training_leaves_its_last_complete_state(tmp_path):
    code = (
        "import chainrule, sys\n"
        "clock = iter(range(10**9))\n"
        "recorder = chainrule.Recorder(sys.argv[1], clock=lambda: next(clock) * 10.0)\n"
        "chainrule.train('32 relu', 'digits', epochs=10000, patience=None, callbacks=[recorder])\n"
    )
    folder = tmp_path / "run"
    child = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    try:
        until(lambda: folder.exists() and Run.open(folder).manifest["epochs"] > 2, RunError)
    finally:
        child.kill()
        child.wait()
    run = Run.open(folder)
    assert run.trained.progress.epoch == run.manifest["epochs"]
    assert run.manifest["status"] == "under way"


def test_ctrl_c_ends_cleanly_and_keeps_the_weights(tmp_path):
    command = [sys.executable, "-c", "from chainrule.cli import main; main()"]
    arguments = ["train", "digits", "--epochs", "100000", "--patience", "none", "--output", "run"]
    child = subprocess.Popen(
        [*command, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: (tmp_path / "run").exists() and Run.open(tmp_path / "run").manifest["epochs"] > 0, RunError)
        os.kill(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=WAIT)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0, err
    assert "interrupted" in err
    assert "test accuracy" in out
    assert "Traceback" not in err
    run = Run.open(tmp_path / "run")
    assert run.manifest["status"] == "interrupted"
    assert run.trained.progress.position.step == run.manifest["steps"]


def test_no_temporary_files_are_left_beside_a_run(tmp_path):
    train("4 relu", "iris", epochs=2, callbacks=[Recorder(tmp_path / "a" / "run")])
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["run"]
    names = {p.name for p in (tmp_path / "a" / "run").iterdir()}
    manifest = json.loads((tmp_path / "a" / "run" / "manifest.json").read_text())
    assert names == {"manifest.json", *manifest["files"]}
    assert Path(tmp_path / "a" / "run" / "recipe.json").read_text().count("fingerprint") == 1


def test_a_diverged_run_keeps_the_state_before_the_divergence(tmp_path):
    ended = []
    with pytest.raises(Exception, match="not finite"):
        train("4 relu", "iris", optimizer="sgd 1e40", epochs=2, callbacks=[Recorder(tmp_path / "run"), ended.append])
    run = Run.open(tmp_path / "run")
    assert run.manifest["status"] == "diverged"
    assert np.isfinite(run.trained.parameters).all()
    assert isinstance(ended[-1], Ended)
