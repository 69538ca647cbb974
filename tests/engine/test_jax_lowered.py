"""What the JAX engine compiles: all that chainrule ships, as docs/accelerators.md lists it."""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from chainrule import losses
from chainrule.descent import optimizer, schedules
from chainrule.descent.stages import Stage
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.jax import JaxEngine, descent
from chainrule.engine.jax import schedules as jax_schedules
from chainrule.engine.lowering.declared import DECLARED
from chainrule.engine.lowering.loss import LOSSES
from chainrule.engine.lowering.network import ACTIVATIONS
from chainrule.engine.numpy import NumpyEngine
from chainrule.kinds import kinds_of
from chainrule.layers import Cell, Clip, Dense, Fixed, Input, Layer, Learned, Scan, SimpleRNN, UnitNorm
from chainrule.layers.graph import Composite
from chainrule.layers.recurrence import While
from chainrule.network import Network
from engine_cases import CLOSE, near, normal

PAGE = Path(__file__).parents[2] / "docs" / "accelerators.md"
QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Options with which XLA compiles in a quarter of the time."""


def listed(row):
    """The names in a row of the page's table."""
    [line] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row} |")]
    return line.split("|")[2].replace("`", "").replace(",", " ").split()


def names(kinds):
    return sorted({kind.__name__ for kind in kinds}, key=lambda name: f"`{name}`")


def test_the_page_lists_what_is_compiled():
    assert listed("layers") == names(layer for layer in DECLARED.layers if layer in kinds_of(Layer))
    assert listed("losses") == names(LOSSES)
    assert listed("stages of optimizers") == names({*descent.STAGES, *SPECIAL})
    assert listed("schedules") == names({*jax_schedules.SCHEDULES, schedules.WarmUp})
    assert listed("cells") == names(kinds_of(Cell) or Cell.__subclasses__())


SPECIAL = [kind for kind in kinds_of(Stage) if kind.__name__ in ("Accumulate", "ForMatrices")]
"""Stages that have others after or in them."""


def shipped(base):
    """The kinds of chainrule itself, without those that other tests have made."""
    return {kind for kind in kinds_of(base) if vars(sys.modules[kind.__module__]).get(kind.__name__) is kind}


def test_all_that_chainrule_ships_is_compiled():
    computed = {kind for kind in shipped(Layer) if not issubclass(kind, Composite)}
    # While is a part of scans: of known cells they are one operation, of a user's cell a call.
    assert computed - set(DECLARED.layers) == {While}
    assert shipped(losses.Loss) <= set(LOSSES)
    assert shipped(Stage) == {*descent.STAGES, *SPECIAL}
    assert shipped(schedules.Schedule) == {*jax_schedules.SCHEDULES, schedules.WarmUp}
    assert set(DECLARED.recurrent) == set(ACTIVATIONS)


@pytest.mark.parametrize("dtype", CLOSE)
def test_what_the_native_engine_leaves_to_definitions(dtype, monkeypatch):
    monkeypatch.setattr(jax, "jit", partial(jax.jit, compiler_options=QUICKLY))
    x = Input((4, 3))
    hidden = Dense(3)(x)
    scaled = hidden * Learned((3,))(x) + Fixed((4, 3))(x)
    activations = ("gelu", "leaky_relu", "sigmoid")
    scans = [Scan(SimpleRNN(3, activation=name), all=True)(hidden) for name in activations]
    together = sum(scans, start=Clip(-0.2, 0.4)(hidden) + UnitNorm()(scaled))
    network = Network(inputs=x, outputs=Dense(2)(together.reshape(12)), dtype=dtype)
    problem = Problem(network, losses.MeanSquaredError(), optimizer("sgd 0.1"), seed=7)
    weights = normal(2, network.parameters.size, dtype=dtype)
    fixed = normal(3, network.statistics.size, dtype=dtype)
    at = Position(3, weights, fixed, problem.optimizer.start(weights, network.parameters))
    batch = Batches(normal(0, 5, 4, 3, dtype=dtype), normal(1, 5, 2, dtype=dtype), None, np.arange(5), 5)
    tried = JaxEngine(problem)
    assert tried.notes == ()
    [actual], [expected] = tried.steps(at, batch), NumpyEngine(problem).steps(at, batch)
    near(actual.loss, expected.loss, dtype)
    near(actual.after.statistics, expected.after.statistics, dtype)
    for entry in network.parameters.entries:
        near(actual.gradient[entry.place], expected.gradient[entry.place], dtype, 3)
    near(tried.predict(weights, batch.x, fixed), network.predict(weights, batch.x, fixed), dtype)
