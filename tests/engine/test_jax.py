"""The JAX engine against the definitions, with the layers and losses of test_native.py.

Tolerances are relative to the largest number of an array: 1e-5 in float32, 1e-12 in float64. Each
operation is computed without compiling whole programs, which takes long; some networks are compiled.
"""

import jax
import numpy as np
import pytest

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem
from chainrule.engine.jax import JaxEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.layers import Dense, Flatten
from chainrule.network import Network
from engine_cases import CLOSE, WIDE, near, normal, position_of


def agree(network, loss, x, y, weight=None, penalties=(), chain="sgd 0.1"):
    """Compare a step and a prediction of the engine with the definitions'."""
    problem = Problem(network, loss, optimizer(chain), penalties, seed=7)
    at = position_of(problem)
    batch = Batches(x, y, weight, np.random.default_rng(2).permutation(len(x)), len(x))
    [expected] = NumpyEngine(problem).steps(at, batch)
    engine = JaxEngine(problem)
    [actual] = engine.steps(at, batch)
    near(actual.loss, expected.loss, network.dtype)
    near(actual.gradient, expected.gradient, network.dtype)
    near(actual.after.statistics, expected.after.statistics, network.dtype)
    near(actual.after.parameters, expected.after.parameters, network.dtype)
    predicted = engine.predict(at.parameters, x, at.statistics)
    near(predicted, network.predict(at.parameters, x, at.statistics), network.dtype)
    return engine


@pytest.mark.parametrize("name", WIDE)
def test_layers(name):
    with jax.disable_jit():
        for dtype in CLOSE:
            network = Network([Dense(9), WIDE[name](), Flatten(), Dense(4)], 5, dtype)
            x, y = normal(0, 7, 5, dtype=dtype), normal(1, 7, 4, dtype=dtype)
            assert agree(network, losses.MeanSquaredError(), x, y).notes == ()
