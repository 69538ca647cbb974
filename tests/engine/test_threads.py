"""How many threads are used: what the user wants, and one while other programs want the cores."""

import itertools
from threading import Event

import numpy as np
import pytest

from chainrule import losses
from chainrule import threads as numbers
from chainrule.cli import run
from chainrule.data import load
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem, make_engine, native
from chainrule.engine.native import NativeEngine
from chainrule.errors import SettingError
from chainrule.network import Network
from chainrule.runs import Recorder, Run, train
from chainrule.threads import Backoff, ahead, available, most_threads, undivided
from chainrule.training.loop import start
from chainrule.training.planning import make_plan
from engines import needs_native


def test_the_most_threads_are_the_users_the_environments_or_the_cores(monkeypatch):
    monkeypatch.setattr(numbers, "available", lambda: 8)
    for value, expected in (("3", 3), (" 2,4", 2), ("99", 8), ("0", 8), ("many", 8), ("", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert most_threads() == expected
        assert most_threads(5) == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert most_threads() == 8
    assert available() >= 1


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**9, 1.5, True, "two"])
def test_other_numbers_of_threads_are_refused(threads):
    with pytest.raises(SettingError, match=r"threads: pass a number from 1 to 1024"):
        train("4 relu", "iris", epochs=1, threads=threads)
    trained = train("4 relu", "iris", epochs=1)
    for use in (trained.predict, trained.probabilities, trained.evaluate, trained.raw):
        with pytest.raises(SettingError, match=r"threads: pass a number from 1 to 1024"):
            use("iris", threads=threads)


def test_products_are_undivided_until_the_last_block_that_wants_it_ends():
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        before = threads()
        with undivided():
            with undivided():
                assert threads() == {1}
            assert threads() == {1}
        assert threads() == before


def test_several_threads_pause_longer_each_time_until_they_run_unhindered():
    now = [100.0]
    backoff = Backoff(lambda: now[0])
    assert backoff.is_over
    doubled = [Backoff.FIRST * 2**k for k in range(12)]
    for pause in (min(pause, Backoff.LONGEST) for pause in doubled):
        backoff.observe(hindered=True)
        now[0] += 0.9 * pause
        assert not backoff.is_over
        now[0] += 0.2 * pause
        assert backoff.is_over
    backoff.observe(hindered=False)  # not for as long as they paused
    backoff.observe(hindered=True)
    now[0] += 1.1 * Backoff.LONGEST
    assert backoff.is_over
    now[0] += 1.1 * Backoff.LONGEST
    backoff.observe(hindered=False)
    backoff.observe(hindered=True)
    now[0] += 1.1 * Backoff.FIRST
    assert backoff.is_over


@needs_native
@pytest.mark.parametrize("every", [1, 2, 3, 5, 11])
def test_changing_the_number_of_threads_within_a_training_changes_no_bit(every, monkeypatch):
    asked = itertools.count()
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0.0)
    monkeypatch.setattr(native, "SLICE", 0.0)
    monkeypatch.setattr(Backoff, "is_over", property(lambda self: next(asked) // every % 2 == 0))
    choices = {"batch_size": 200, "epochs": 6, "optimizer": "adamw 0.01 0.01 schedule=cosine", "patience": None}
    one, other = (train("20 relu, dropout 0.2, 10 tanh", "digits", **choices, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert one.history == other.history
    assert next(asked) > 40


@needs_native
def test_a_hindered_engine_uses_one_thread_and_says_so(monkeypatch):
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0.0)
    problem = Problem(Network("8 relu, 3", 5), losses.CategoricalCrossEntropy(), optimizer("sgd 0.1"))
    x, y = np.ones((40, 5), np.float32), np.arange(40) % 3
    batches, now = Batches(x, y, None, np.arange(40), 10), [0.0]
    backoff = Backoff(lambda: now[0])
    engine = NativeEngine(problem, 2, backoff=backoff)
    data = load((x, y), task="classification")
    position = start(make_plan(problem.network, data, loss=problem.loss, optimizer="sgd 0.1")).position
    first = engine._training_program(batches)
    assert first.threads == 2
    assert not engine.leaves_a_core(batches)
    *_, one = engine.chunks(position, batches)
    backoff.observe(hindered=True)
    assert engine._training_program(batches).threads == 1
    assert engine.leaves_a_core(batches)
    *_, other = engine.chunks(position, batches)
    np.testing.assert_array_equal(one.after.parameters, other.after.parameters)
    now[0] += 1
    assert engine._training_program(batches) is first
    assert isinstance(first.engine.hindered, bool)
    assert make_engine("native", problem, 2).threads == 2


def test_commands_take_threads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "iris", "--epochs", "3", "--threads", "1"]) == 0
    assert run(["train", "iris", "--epochs", "3"]) == 0
    one, other = (Run.open(f"runs/iris-{k}").trained for k in (1, 2))
    np.testing.assert_array_equal(one.parameters, other.parameters)
    for command in (
        ["predict", "runs/iris-1", "iris"],
        ["evaluate", "runs/iris-1"],
        ["evaluate", "runs/iris-1", "iris"],
    ):
        capsys.readouterr()
        assert run(command) == 0
        expected = capsys.readouterr().out
        assert run([*command, "--threads", "2"]) == 0
        assert capsys.readouterr().out == expected
    assert run(["train", "--resume", "runs/iris-1", "--epochs", "4", "--threads", "1"]) == 0
    for command in (["train", "iris"], ["predict", "runs/iris-1", "iris"], ["evaluate", "runs/iris-1"]):
        for number in ("0", "1000000000"):
            capsys.readouterr()
            assert run([*command, "--threads", number]) == 2
            assert capsys.readouterr().err.strip() == f"chainrule: {number} threads: pass a number from 1 to 1024"
    assert not (tmp_path / "runs/iris-3").exists()


def test_a_run_is_resumed_with_any_number_of_threads(tmp_path):
    whole = train("4 relu", "iris", epochs=4, threads=1)
    train("4 relu", "iris", epochs=2, threads=1, callbacks=[Recorder(tmp_path / "run")])
    again = train("4 relu", "iris", epochs=2)
    assert again.threads is None
    assert whole.threads == 1
    resumed = Run.open(tmp_path / "run").resume(epochs=4, threads=2)
    assert resumed.threads == 2
    assert resumed.progress.epoch == 4


def test_work_that_nobody_wants_any_more_is_not_waited_for():
    go, finished = Event(), []

    def work(k):
        if k:
            finished.append(go.wait(60))
        return k

    results = ahead(work, range(3))
    assert next(results) == 0
    results.close()
    assert finished == []
    go.set()


def test_what_work_raises_is_raised_where_its_result_is_wanted():
    results = ahead(lambda k: 1 // k, (1, 0))
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(ahead(str, range(3))) == ["0", "1", "2"]
