"""States and checkpoints as bytes: they round-trip, and altered ones are rejected."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from chainrule.cli import run
from chainrule.data import load
from chainrule.errors import RunError
from chainrule.runs import Recorder, Run, state, train
from chainrule.training import make_plan
from chainrule.training.loop import start


def position_of(optimizer):
    plan = make_plan("4 tanh", load("iris"), optimizer=optimizer)
    return plan, start(plan).position


@pytest.mark.parametrize("optimizer", ["adam", "muon", "lbfgs"])
def test_a_position_round_trips_and_fits_no_other_optimizer(optimizer):
    plan, position = position_of(optimizer)
    content = state.position_to_bytes(position)
    reread = state.position_from_bytes(content, plan)
    for one, other in zip(reread.states, position.states, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    with pytest.raises(RunError, match="does not fit its optimizer"):
        state.position_from_bytes(content, position_of("momentum")[0])
    if optimizer == "lbfgs":
        with pytest.raises(RunError, match="does not fit its optimizer"):
            state.position_from_bytes(content, position_of("lbfgs memory=3")[0])


ALTERED = {
    "shortened": lambda a: a[:-1] if a.ndim else None,
    "lengthened": lambda a: np.append(a, 0).astype(a.dtype),
    "in two axes": lambda a: a.reshape(1, -1),
    "as bytes": lambda a: np.zeros(a.shape, np.uint8),
    "as float16": lambda a: a.astype(np.float16),
    "in the other precision": lambda a: a.astype(np.float64 if a.dtype == np.float32 else np.float32),
    "as booleans": lambda a: a.astype(bool),
    "not a number": lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else -a - 10,
    "missing": lambda a: None,
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run whose state has every kind of array: statistics, best weights, vectors and counts."""
    folder = tmp_path_factory.mktemp("state") / "run"
    train("4 tanh, batchnorm", "digits", optimizer="adam", epochs=1, patience=3, callbacks=[Recorder(folder)])
    return folder


def altered(folder, to, kind, array, change):
    """Copy a run, change an array of its state or first checkpoint, and update the hash."""
    shutil.copytree(folder, to)
    manifest = json.loads((to / "manifest.json").read_text())
    name = next(name for name in sorted(manifest["files"]) if name.startswith(kind))
    arrays = load_arrays((to / name).read_bytes())
    arrays |= {array: change(arrays[array])}
    arrays = {n: a for n, a in arrays.items() if a is not None}
    content = save_arrays({n: np.asarray(a, order="C") for n, a in arrays.items()})
    (to / name).write_bytes(content)
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (to / "manifest.json").write_text(json.dumps(manifest))
    return name


ARRAYS = ["parameters", "statistics", "optimizer.0.m", "optimizer.0.count"]
OF_STATE = ["best.parameters", "best.statistics", "best.value", "best.epoch", "progress", "loss_sum"]


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize(
    ("kind", "array"),
    [*(("state-", a) for a in ARRAYS + OF_STATE), *(("frame-", a) for a in [*ARRAYS, "step"])],
)
def test_an_altered_array_is_named_and_rejected(kind, array, how, recorded, tmp_path, capsys):
    name = altered(recorded, tmp_path / "run", kind, array, ALTERED[how])
    command = ["explain", "run", "dense_1.W[0, 0]", "--step", "0"] if kind == "frame-" else ["predict", "run", "digits"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert run(command) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"chainrule: run/{name}: ")
    assert captured.err.count("\n") == 1
    assert array in captured.err


@pytest.mark.parametrize(
    ("array", "change", "message"),
    [
        ("parameters", lambda a: np.full_like(a, np.inf), "not finite"),
        ("best.epoch", lambda a: a + 998, "best.epoch is 999"),
        ("progress", lambda a: a + 1, "is of step"),
        ("optimizer.0.count", lambda a: a + 10**9, "counts more than the run's"),
    ],
)
def test_numbers_that_no_training_leads_to_are_rejected(array, change, message, recorded, tmp_path):
    altered(recorded, tmp_path / "run", "state-", array, change)
    with pytest.raises(RunError, match=message):
        Run.open(tmp_path / "run")


def test_a_mean_of_squares_may_be_infinite(recorded, tmp_path):
    altered(recorded, tmp_path / "run", "state-", "optimizer.0.v", lambda a: np.full_like(a, np.inf))
    assert np.isinf(Run.open(tmp_path / "run").trained.progress.position.states[0]["v"]).all()


def test_an_unknown_array_is_rejected(recorded):
    content = next(recorded.glob("state-*")).read_bytes()
    arrays = load_arrays(content) | {"optimizer.7.m": np.zeros(3)}
    trained = Run.open(recorded).trained
    with pytest.raises(RunError, match=r"optimizer\.7\.m is unknown"):
        state.from_bytes(save_arrays(arrays), list(trained.history), trained.plan)
