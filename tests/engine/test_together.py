"""Ranks that are threads of one process, which share memory as processes on one machine do."""

from concurrent.futures import ThreadPoolExecutor
from threading import BrokenBarrierError

import numpy as np
import pytest

from chainrule import layers, losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem, native
from chainrule.engine.native import NativeEngine
from chainrule.engine.together import Meeting, together
from chainrule.layers import Dense
from chainrule.network import Network
from chainrule.processes import Processes
from engine_cases import near, normal, position_of
from engines import needs_native
from waiting import WAIT

pytestmark = needs_native
LARGE, SMALL = [Dense(256, activation="relu"), Dense(3)], [layers.BatchNorm(), Dense(7, activation="tanh"), Dense(3)]


def training(inner, chain):
    problem = Problem(Network(inner, 160, "float64"), losses.CategoricalCrossEntropy(), optimizer(chain))
    x, y = normal(0, 26, 160), np.random.default_rng(1).integers(0, 3, 26)
    return problem, position_of(problem), Batches(x, y, None, np.random.default_rng(2).permutation(26), 8)


@pytest.mark.parametrize(("inner", "chain"), [(LARGE, "momentum 0.1"), (LARGE, "sgd clip=0.1"), (SMALL, "sgd 0.1")])
@pytest.mark.parametrize("threads", [1, 2])
def test_ranks_take_the_steps_of_one(inner, chain, threads, monkeypatch):
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0.0)
    monkeypatch.setattr(native, "SLICE", 100.0)
    problem, at, batches = training(inner, chain)
    *_, alone = NativeEngine(problem, 1).chunks(at, batches)
    meeting = Meeting(3)  # the last mini-batch has two samples: one rank has none

    def trained(rank):
        *_, last = NativeEngine(problem, threads, world=Processes(rank, 3, meeting)).chunks(at, batches)
        return last.after

    with ThreadPoolExecutor(3) as pool:
        first, *others = (done.result(timeout=WAIT) for done in [pool.submit(trained, rank) for rank in range(3)])
    near(first.parameters, alone.after.parameters, "float64")
    near(first.statistics, alone.after.statistics, "float64")
    for other in others:
        np.testing.assert_array_equal(other.parameters, first.parameters)
        np.testing.assert_array_equal(other.statistics, first.statistics)
        for own, theirs in zip(other.states, first.states, strict=True):
            assert all(np.array_equal(own[name], theirs[name]) for name in own)
    repeat = together(lambda world: NativeEngine(problem, 1, world=world).steps, 3)
    *_, record = repeat(at, batches)
    np.testing.assert_array_equal(record.after.parameters, first.parameters)


def test_an_error_of_one_rank_ends_the_others_and_the_next_step_is_right():
    problem, at, batches = training(SMALL, "sgd 0.1")
    fails = [True]

    def make(world):
        engine = NativeEngine(problem, 1, world=world)

        def steps(position, batches):
            if world.rank == 1 and fails and position.step > at.step:
                fails.clear()
                raise OSError("the disk is gone")
            return engine.steps(position, batches)

        return steps

    repeat = together(make, 2)
    with pytest.raises(OSError, match="gone"):
        list(repeat(at, batches))
    assert not fails
    *_, record = repeat(at, batches)
    *_, expected = together(lambda world: NativeEngine(problem, 1, world=world).steps, 2)(at, batches)
    np.testing.assert_array_equal(record.after.parameters, expected.after.parameters)


def test_a_rank_that_waits_notices_that_another_one_has_failed():
    problem, at, batches = training(SMALL, "sgd 0.1")
    meeting = Meeting(2)
    ranks = [NativeEngine(problem, 1, world=Processes(rank, 2, meeting)) for rank in range(2)]
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(lambda engine: next(engine.steps(at, batches)), engine) for engine in ranks]
        assert len({done.result(timeout=WAIT).loss for done in first}) == 1
        waiting = pool.submit(lambda: next(ranks[0].steps(at, batches)))
        meeting.barrier.abort()
        with pytest.raises(BrokenBarrierError):
            waiting.result(timeout=WAIT)
