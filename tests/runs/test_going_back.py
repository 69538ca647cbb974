"""Any step of a run is replayed bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import load
from chainrule.descent import optimizers, stages
from chainrule.engine import native
from chainrule.errors import RunError
from chainrule.runs import Recorder, Run, train
from chainrule.training import Stepped


@pytest.fixture(scope="module", autouse=True)
def one_step_at_a_time():
    """Let the native engine yield single steps, so that listeners see each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SLICE", 0.0)
        yield


STOCHASTIC = "8 relu, dropout 0.3, batchnorm, 6 tanh"
IRIS = load("iris")


def record(folder, optimizer, every=3, epochs=5, **settings):
    """The steps of a recorded training, and the run, with a checkpoint every `every` steps."""
    events, ticks = [], iter(range(10**6))
    recorder = Recorder(folder, clock=lambda: next(ticks) * 0.4 / every, **settings)
    train(STOCHASTIC, IRIS, optimizer=optimizer, epochs=epochs, callbacks=[recorder, events.append])
    return steps_of(events), Run.open(folder)


def steps_of(events):
    return [record for event in events if isinstance(event, Stepped) for record in event.chunk.steps()]


def assert_same(a, b):
    for one, other in ((a.before, b.before), (a.after, b.after)):
        assert one.step == other.step
        assert one.parameters.tobytes() == other.parameters.tobytes()
        assert one.statistics.tobytes() == other.statistics.tobytes()
        for x, y in zip(one.states, other.states, strict=True):
            assert {k: v.tobytes() for k, v in x.items()} == {k: v.tobytes() for k, v in y.items()}
    assert (a.rows == b.rows).all()
    assert a.loss == b.loss
    assert a.gradient.tobytes() == b.gradient.tobytes()
    assert a.update.tobytes() == b.update.tobytes()


@pytest.mark.parametrize(
    "name", [*optimizers.NAMED, "adam 0.01 schedule=one-cycle warmup=3 clip=1 accumulate=3 average=0.9"]
)
def test_every_step_of_every_optimizer_is_replayed(name, tmp_path):
    steps, run = record(tmp_path / "run", name)

    @given(st.integers(0, len(steps) - 1))
    @settings(max_examples=6)
    def check(step):
        assert_same(run.at(step, IRIS), steps[step])

    check()


def test_a_replayed_plateau_observes_every_epoch(tmp_path):
    optimizer = optimizers.sgd(0.5).then(stages.Plateau(0.5, patience=1))
    steps, run = record(tmp_path / "run", optimizer, every=7, epochs=8)
    for step in range(0, len(steps), 3):
        assert_same(run.at(step, IRIS), steps[step])


def test_steps_before_and_after_a_run_was_resumed_for_more_epochs(tmp_path):
    steps, run = record(tmp_path / "run", "adam 0.01 schedule=cosine", epochs=2)
    events = []
    run.resume(IRIS, epochs=4, callbacks=[events.append])
    steps += steps_of(events)
    longer = Run.open(tmp_path / "run")
    assert longer.manifest["planned"] == [[0, 2], [8, 4]]
    for step in range(len(steps)):
        assert_same(longer.at(step, IRIS), steps[step])


def test_a_folder_stays_within_its_limit_and_every_step_can_be_replayed(tmp_path):
    steps, run = record(tmp_path / "run", "adam", every=1, epochs=20, limit=60_000)
    checkpoints = list((tmp_path / "run").glob("frame-*"))
    assert sum(path.stat().st_size for path in (tmp_path / "run").iterdir()) < 60_000
    assert 5 < len(checkpoints) < len(steps) / 2
    assert run.checkpoints[-2:] == [len(steps) - 1, len(steps)]  # the last step is looked at most
    gaps = np.diff([*run.checkpoints, len(steps)])
    assert gaps.max() <= 2.5 * gaps.mean()  # evenly spaced: no step takes much longer to replay than others
    for step in (0, 1, 37, len(steps) - 1):
        assert_same(run.at(step, IRIS), steps[step])


def test_a_resumed_run_keeps_its_limit(tmp_path):
    _, run = record(tmp_path / "run", "adam", every=1, epochs=6, limit=40_000)
    run.resume(IRIS, epochs=12)
    assert sum(path.stat().st_size for path in (tmp_path / "run").iterdir()) < 40_000
    assert Run.open(tmp_path / "run").manifest["limit"] == 40_000


def test_several_steps_are_replayed_in_one_pass(tmp_path):
    steps, run = record(tmp_path / "run", "adam", every=5, epochs=5)
    wanted = [17, 3, 4, 11]
    for replayed, step in zip(run.each(wanted, IRIS), sorted(wanted), strict=True):
        assert_same(replayed, steps[step])
    assert set(run.checkpoints) <= set(run.steps_along(9))
    assert {0, len(steps) - 1} <= set(run.steps_along(9))
    with pytest.raises(RunError, match="it has no step 99"):
        list(run.each([0, 99], IRIS))


def test_a_step_that_the_run_does_not_have(tmp_path):
    steps, run = record(tmp_path / "run", "sgd", epochs=1)
    for step in (-1, len(steps)):
        with pytest.raises(RunError, match=f"it has no step {step}; it has steps 0 to {len(steps) - 1}"):
            run.at(step, IRIS)


def test_checkpoints_are_as_close_as_the_clock_says(tmp_path):
    _, run = record(tmp_path / "run", "sgd", every=4, epochs=10)
    checkpoints = sorted(int(name[6:14]) for name in run.manifest["files"] if name.startswith("frame-"))
    assert checkpoints[0] == 0
    assert max(np.diff(checkpoints)) <= 4
