"""A recorded run on the live page: its history, its real path, and any weight through its steps."""

import threading

import numpy as np
import pytest

from chainrule.data import load
from chainrule.explain.sizes import gradient_sizes
from chainrule.explain.surface import loss_surface
from chainrule.play import recorded as recording
from chainrule.play.recorded import Recorded
from chainrule.runs import Recorder, Run, train
from waiting import WAIT

IRIS = load("iris")
WEIGHT = "dense_1.W[1, 2]"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "iris"
    train("4 tanh", IRIS, epochs=12, patience=None, callbacks=[Recorder(folder)])
    return Run.open(folder)


def read(run):
    done = threading.Event()
    recorded = Recorded(run, IRIS, done.set)
    assert done.wait(WAIT)
    assert recorded.problem == ""
    return recorded


def test_the_surface_has_the_path_that_descend_draws(run):
    reading = read(run).reading
    drawn = loss_surface(run, data=IRIS, grid=5)
    steps, points = [], []
    for record in run.each(range(run.manifest["steps"]), IRIS):
        steps.append(record.before.step)
        points.append(record.before.parameters)
    assert reading.path.steps.tolist() == drawn.steps.tolist() == [*steps, record.after.step]
    np.testing.assert_array_equal(reading.path.points, [*points, record.after.parameters])
    assert np.abs(reading.surface.path) == pytest.approx(np.abs(drawn.path), abs=1e-9)  # directions have no sign
    assert reading.surface.variance == pytest.approx(drawn.variance)
    widths = np.ptp(reading.surface.path, axis=0)
    assert widths[1] > 0.01 * widths[0]  # a curve


def test_the_surface_of_a_large_network_is_coarser(run, monkeypatch):
    assert read(run).reading.surface.loss.shape == (31, 31)
    monkeypatch.setattr(recording, "AFFORDED", 1e4)
    assert read(run).reading.surface.loss.shape == (11, 11)


def test_a_weight_is_followed_through_every_step(run):
    message = read(run).weight(WEIGHT)
    place = run.trained.plan.network.parameters.find(WEIGHT)
    records = list(run.each(range(run.manifest["steps"]), IRIS))
    assert message["steps"] == [record.before.step for record in records]
    assert message["values"] == [record.before.parameters[place] for record in records]
    assert message["gradients"] == [record.gradient[place] for record in records]
    assert message["updates"] == [-record.update[place] for record in records]  # with the sign of the move
    assert f"in all {len(records)} steps" in message["words"]


def test_what_is_read_of_a_run_is_bounded(run, monkeypatch):
    monkeypatch.setattr(recording, "MOST_STEPS", 20)
    monkeypatch.setattr(recording, "MOST_EPOCHS", 4)
    recorded = read(run)
    message = recorded.weight(WEIGHT)
    assert len(message["steps"]) == 20
    assert message["steps"][0] == 0
    assert message["steps"][-1] == run.manifest["steps"] - 1
    assert f"20 of the run's {run.manifest['steps']} steps" in message["words"]
    assert len(recorded.curves()["curves"][0]["points"]) == 4


def test_the_curves_are_the_recorded_history(run):
    message = read(run).curves()
    length = run.manifest["steps"] // 12
    training, validation = message["curves"]
    assert training["points"] == [[(k + 1) * length, epoch["loss"]] for k, epoch in enumerate(run.trained.history)]
    assert [value for _, value in validation["points"]] == [epoch["validation_loss"] for epoch in run.trained.history]
    sizes = gradient_sizes(run, IRIS)
    for line in message["sizes"]:
        values = [value for _, value in line["points"]]
        assert values == pytest.approx(sizes.gradient[sizes.names.index(line["name"])], rel=1e-6)
