"""Any step of a run is had again, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import load
from chainrule.descent import optimizers, stages
from chainrule.engine import native
from chainrule.errors import RunError
from chainrule.runs import Recorder, Run
from chainrule.training import Stepped, train


@pytest.fixture(scope="module", autouse=True)
def one_step_at_a_time():
    """So that listeners hear of every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SLICE", 0.0)
        yield


RESTLESS = "8 relu, dropout 0.3, batchnorm, 6 tanh"
IRIS = load("iris")


def record(folder, optimizer, every=3, epochs=5, **also):
    """A recorded training, all of its steps, and the run; the clock makes a frame of every so many steps."""
    seen, ticks = [], iter(range(10**6))
    recorder = Recorder(folder, clock=lambda: next(ticks) * 0.4 / every, **also)
    train(RESTLESS, IRIS, optimizer=optimizer, epochs=epochs, callbacks=[recorder, seen.append])
    return [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()], Run.open(folder)


def same(a, b):
    for mine, other in ((a.before, b.before), (a.after, b.after)):
        assert mine.step == other.step
        assert mine.parameters.tobytes() == other.parameters.tobytes()
        assert mine.statistics.tobytes() == other.statistics.tobytes()
        for x, y in zip(mine.states, other.states, strict=True):
            assert {k: v.tobytes() for k, v in x.items()} == {k: v.tobytes() for k, v in y.items()}
    assert (a.rows == b.rows).all()
    assert a.loss == b.loss
    assert a.gradient.tobytes() == b.gradient.tobytes()
    assert a.update.tobytes() == b.update.tobytes()


@pytest.mark.parametrize(
    "name", [*optimizers.NAMED, "adam 0.01 schedule=one-cycle warmup=3 clip=1 accumulate=3 average=0.9"]
)
def test_every_step_of_every_optimizer(name, tmp_path):
    steps, run = record(tmp_path / "run", name)

    @given(st.integers(0, len(steps) - 1))
    @settings(max_examples=6)
    def check(step):
        same(run.at(step, IRIS), steps[step])

    check()


def test_a_plateau_is_told_of_every_epoch_again(tmp_path):
    slowed = optimizers.sgd(0.5).then(stages.Plateau(0.5, patience=1))
    steps, run = record(tmp_path / "run", slowed, every=7, epochs=8)
    for step in range(0, len(steps), 3):
        same(run.at(step, IRIS), steps[step])


def test_steps_before_and_after_a_run_went_on_for_longer(tmp_path):
    steps, run = record(tmp_path / "run", "adam 0.01 schedule=cosine", epochs=2)
    seen = []
    run.resume(IRIS, epochs=4, callbacks=[seen.append])
    steps += [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()]
    longer = Run.open(tmp_path / "run")
    assert longer.manifest["planned"] == [[0, 2], [8, 4]]
    for step in range(len(steps)):
        same(longer.at(step, IRIS), steps[step])


def test_a_folder_stays_within_its_limit_and_every_step_stays_to_be_had(tmp_path):
    steps, run = record(tmp_path / "run", "adam", every=1, epochs=20, limit=60_000)
    frames = list((tmp_path / "run").glob("frame-*"))
    assert sum(path.stat().st_size for path in (tmp_path / "run").iterdir()) < 60_000
    assert 5 < len(frames) < len(steps) / 2
    gaps = np.diff([*run.frames, len(steps)])
    assert gaps.max() <= 2.5 * gaps.mean()  # so no step is much further away than it must be
    for step in (0, 1, 37, len(steps) - 1):
        same(run.at(step, IRIS), steps[step])


def test_a_run_that_goes_on_keeps_its_limit(tmp_path):
    _, run = record(tmp_path / "run", "adam", every=1, epochs=6, limit=40_000)
    run.resume(IRIS, epochs=12)
    assert sum(path.stat().st_size for path in (tmp_path / "run").iterdir()) < 40_000
    assert Run.open(tmp_path / "run").manifest["limit"] == 40_000


def test_several_steps_are_walked_through_in_one_go(tmp_path):
    steps, run = record(tmp_path / "run", "adam", every=5, epochs=5)
    wanted = [17, 3, 4, 11]
    for taken, step in zip(run.each(wanted, IRIS), sorted(wanted), strict=True):
        same(taken, steps[step])
    assert set(run.frames) <= set(run.steps_along(9))
    assert {0, len(steps) - 1} <= set(run.steps_along(9))
    with pytest.raises(RunError, match="it has no step 99"):
        list(run.each([0, 99], IRIS))


def test_a_step_that_is_not_there(tmp_path):
    steps, run = record(tmp_path / "run", "sgd", epochs=1)
    for step in (-1, len(steps)):
        with pytest.raises(RunError, match=f"it has no step {step}; it has steps 0 to {len(steps) - 1}"):
            run.at(step, IRIS)


def test_frames_are_at_most_as_far_apart_as_the_clock_says(tmp_path):
    _, run = record(tmp_path / "run", "sgd", every=4, epochs=10)
    frames = sorted(int(name[6:14]) for name in run.manifest["files"] if name.startswith("frame-"))
    assert frames[0] == 0
    assert max(np.diff(frames)) <= 4
