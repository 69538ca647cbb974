"""A step is what its definition says: the gradient at the place where it starts, handed to the optimizer."""

import numpy as np

from chainrule.backprop import differentiate
from chainrule.descent import Point, optimizer
from chainrule.engine import Work, engine
from chainrule.layers import Context
from chainrule.losses import MeanSquaredError, l2
from chainrule.network import Network
from chainrule.training.loop import Position

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(20, 3)), RANDOM.normal(size=(20, 2))


def test_steps_are_derivatives_then_descent():
    network = Network("5 tanh, dropout 0.3, batchnorm, 2", 3, dtype="float64")
    work = Work(network, MeanSquaredError(), optimizer("adam 0.01"), (l2(0.1),), seed=4)
    weights = network.draw(4)
    position = Position(0, weights, network.start_statistics(), work.optimizer.start(weights, network.parameters))
    batches = [np.arange(0, 10), np.arange(10, 20)]
    for k, done in enumerate(engine(None, work).steps(position, X, Y, None, batches)):
        assert done.before is position
        expected = differentiate(
            network, work.loss, position.parameters, X[batches[k]], Y[batches[k]],
            statistics=position.statistics, penalties=work.penalties, context=Context(training=True, seed=4, step=k),
        )  # fmt: skip
        np.testing.assert_array_equal(done.gradient, expected.gradient)
        assert done.loss == expected.loss
        taken = work.optimizer.step(expected.gradient, position.states, Point(position.parameters, network.parameters))
        np.testing.assert_array_equal(done.after.parameters, taken.parameters)
        assert (done.after.statistics != position.statistics).any()
        assert done.after.step == k + 1
        position = done.after
