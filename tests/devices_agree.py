"""Run in a process of its own: steps on several devices, beside those of the definition. The number
of devices is fixed when JAX starts. Prints what differs most, as JSON.

    python devices_agree.py DEVICES
"""

import json
import sys

import jax
import numpy as np

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.jax import JaxEngine
from chainrule.engine.jax.engine import precise
from chainrule.engine.jax.placement import available
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError
from chainrule.layers import BatchNorm, Dense, Dropout
from chainrule.network import Network

PARTS = "loss", "gradient", "parameters", "statistics"


def differences(actual, expected):
    """The largest difference of each part of a step, relative to the largest number."""
    pairs = zip(parts_of(actual), parts_of(expected), strict=True)
    return [float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-3)) for a, b in pairs]


def parts_of(record):
    return record.loss, record.gradient, record.after.parameters, record.after.statistics


def problem_of(dtype):
    """A network whose samples depend on each other, and on a mask of 9 units, no whole block."""
    network = Network([Dense(9, activation="tanh"), BatchNorm(), Dropout(0.3), Dense(3)], 6, dtype)
    return Problem(network, losses.CategoricalCrossEntropy(), optimizer("sgd 0.1 clip=0.5"), (losses.l2(0.01),), seed=7)


def batches_of(dtype, size):
    """A whole mini-batch and a half one, so that the rest is divided unevenly, too."""
    random = np.random.default_rng(0)
    x, y, weight = random.normal(size=(60, 6)), random.integers(0, 3, 60), random.random(60)
    return Batches(x.astype(dtype), y, weight.astype(dtype), random.permutation(60)[: size + size // 2], size)


def worst(devices, size, dtype):
    """How far two steps on the devices, and a prediction, are from the definition."""
    problem, batches = problem_of(dtype), batches_of(dtype, size)
    weights = problem.network.draw(1)
    states = problem.optimizer.start(weights, problem.network.parameters)
    at = Position(5, weights, problem.network.start_statistics(), states)
    engine = JaxEngine(problem, devices)
    pairs = zip(engine.steps(at, batches), NumpyEngine(problem).steps(at, batches), strict=True)
    found = np.max([differences(*pair) for pair in pairs], axis=0).tolist()
    chunk = next(iter(engine.chunks(at, batches)))
    again = next(iter(engine.steps(at, batches)))
    same = bool((chunk.last.after.parameters == again.after.parameters).all()) if len(chunk.batches) == 1 else True
    predicted = engine.predict(weights, batches.x, at.statistics)
    expected = problem.network.predict(weights, batches.x, at.statistics)
    return {"differs": found, "predicted": float(np.abs(predicted - expected).max()), "same": same}, engine, at


def shapes_on_a_device(engine, at, size):
    """The compiled steps, in XLA's words."""
    with precise([]):
        block = next(engine._feed.blocks(at.step, batches_of("float64", size)))
        run = engine._of(block).run
        return (
            run.lower(engine._carry(at), (block.arrays, block.rows), block.scale, np.int32(0), np.int32(1))
            .compile()
            .as_text()
        )


def main(count):
    jax.config.update("jax_disable_most_optimizations", True)
    devices = available(count)
    out = {"devices": devices}
    for dtype, size in [("float64", 24), ("float64", 20), ("float32", 24)]:
        out[f"{dtype} {size}"], engine, at = worst(devices, size, dtype)
        if dtype == "float64":
            text = shapes_on_a_device(engine, at, size)
            each = -(-size // count)
            # Of a mask: the bits of the samples of one device, and of no other.
            out[f"own {size}"] = [f"u32[{each},2]" in text, f"u32[{size},2]" in text, "all-gather" in text]
    try:
        available(2 * count)
    except SettingError as error:
        out["more"] = str(error)
    engine = JaxEngine(problem_of("float64"), ("cpu", 2 * count))
    out["fewer"] = [len(engine.placement.chosen), *engine.notes]
    print(json.dumps(out))


if __name__ == "__main__":
    main(int(sys.argv[1]))
