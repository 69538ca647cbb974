"""How the JAX engine is compared with the definitions on a network that is compiled for one test."""

import jax
import jax.numpy as jnp
import numpy as np

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.jax import JaxEngine
from chainrule.engine.jax.engine import precise
from chainrule.engine.jax.step import Steps
from chainrule.engine.numpy import NumpyEngine

QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Options with which XLA compiles in a quarter of the time."""
CLOSE = {"float32": 1e-5, "float64": 1e-12}


def position_of(problem, seed=1):
    network, random = problem.network, np.random.default_rng(seed)
    weights = network.draw(seed) + (random.normal(size=network.parameters.size) / 5).astype(network.dtype)
    return Position(
        3, weights, network.start_statistics(), problem.optimizer.start(weights, problem.network.parameters)
    )


def near(name, actual, expected, close, least=1e-3):
    scale = max(float(np.max(np.abs(expected), initial=0)), least)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=close * scale, err_msg=name)


def computed(network, x, compute=None, python=False):
    """A mini-batch's loss, gradient and prediction, by JAX and by the definitions."""
    dtype, random = network.dtype, np.random.default_rng(0)
    problem = Problem(network, losses.HalfSquares(), optimizer("sgd 0.1"), seed=7)
    at = position_of(problem)
    x, y = x.astype(dtype), random.normal(size=(len(x), *network.output_shape)).astype(dtype)
    batch = Batches(x, y, None, np.arange(len(x)), len(x))
    [expected] = NumpyEngine(problem).steps(at, batch)
    placement = JaxEngine(problem).placement
    steps = Steps.of(problem, network.output_shape, jnp.dtype(compute or dtype), placement)

    def both(parameters, statistics, x, y, step):
        gradient = steps.differentiate(parameters, statistics, (x, y, None), step)
        return *gradient, steps.predict(parameters, statistics, x)[0]

    with precise(steps.raised):
        compiled = jax.jit(both, compiler_options=QUICKLY)
        loss, gradient, _, _, predicted = compiled(at.parameters, at.statistics, x, y, np.uint64(at.step))
        gradient = np.asarray(gradient)
    assert ("python" in {op.name for op in steps.program.ops}) == python
    wanted = expected.loss, expected.gradient, network.predict(at.parameters, x, at.statistics)
    return (loss, gradient, predicted), wanted


def agree(network, x=None, python=False):
    """Compare a mini-batch's loss and gradient and a prediction with the definitions'.

    Args:
        network: what computes them
        x: the samples; by default some of normal numbers
        python: whether some of the layers are called in Python
    """
    x = np.random.default_rng(0).normal(size=(3, *network.input_shape)) if x is None else x
    actual, expected = computed(network, x, python=python)
    close = CLOSE[network.dtype]
    near("loss", actual[0], expected[0], close)
    near("prediction", actual[2], expected[2], close)
    least = np.abs(expected[1]).max() / 100  # that of a key's bias is 0 but for rounding
    for entry in network.parameters.entries:
        near(entry.name, actual[1][entry.place], expected[1][entry.place], close, least)
