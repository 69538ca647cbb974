"""A step follows its definition: the gradient where it starts, passed to the optimizer."""

import numpy as np
import pytest

from chainrule.backprop import differentiate
from chainrule.descent import Point, optimizer
from chainrule.engine import Batches, Problem, make_engine
from chainrule.layers import Context
from chainrule.losses import MeanSquaredError, l2
from chainrule.network import Network
from chainrule.training.loop import Position

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(20, 3)), RANDOM.normal(size=(20, 2))


def test_steps_are_derivatives_then_descent():
    network = Network("5 tanh, dropout 0.3, batchnorm, 2", 3, dtype="float64")
    problem = Problem(network, MeanSquaredError(), optimizer("adam 0.01"), (l2(0.1),), seed=4)
    weights = network.draw(4)
    position = Position(0, weights, network.start_statistics(), problem.optimizer.start(weights, network.parameters))
    batches = Batches(X, Y, None, np.arange(20), 10)
    for k, record in enumerate(make_engine("numpy", problem).steps(position, batches)):
        assert record.before is position
        expected = differentiate(
            network, problem.loss, position.parameters, X[batches.rows(k)], Y[batches.rows(k)],
            statistics=position.statistics, penalties=problem.penalties, context=Context(training=True, seed=4, step=k),
        )  # fmt: skip
        np.testing.assert_array_equal(record.gradient, expected.gradient)
        assert record.loss == expected.loss
        step = problem.optimizer.step(
            expected.gradient, position.states, Point(position.parameters, network.parameters)
        )
        np.testing.assert_array_equal(record.after.parameters, step.parameters)
        assert (record.after.statistics != position.statistics).any()
        assert record.after.step == k + 1
        position = record.after


def test_batches_are_cut_by_index():
    batches = Batches(X, Y, np.arange(20.0), np.arange(20)[::-1], 8)
    assert [len(batches.rows(k)) for k in range(len(batches))] == [8, 8, 4]
    rest = batches.cut(1, 9)
    assert len(rest) == 2
    x, y, weight = rest.data.take(rest.rows(1))
    np.testing.assert_array_equal(x, X[[3, 2, 1, 0]])
    np.testing.assert_array_equal(y, Y[[3, 2, 1, 0]])
    assert weight.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("name", ["numpy", "native"])
def test_a_chunk_replays_its_steps(name):
    network = Network("5 tanh, 2", 3)
    problem = Problem(network, MeanSquaredError(), optimizer("adam 0.01"))
    weights = network.draw(4)
    position = Position(0, weights, network.start_statistics(), problem.optimizer.start(weights, network.parameters))
    chunks = list(make_engine(name, problem).chunks(position, Batches(X, Y, None, np.arange(20), 5)))
    steps = [record for chunk in chunks for record in chunk.steps()]
    assert [record.before.step for record in steps] == [0, 1, 2, 3]
    assert [record.loss for record in steps] == np.concatenate([chunk.losses for chunk in chunks]).tolist()
    assert chunks[-1].last.after.step == chunks[-1].after.step == 4
    np.testing.assert_array_equal(steps[-1].after.parameters, chunks[-1].after.parameters)
