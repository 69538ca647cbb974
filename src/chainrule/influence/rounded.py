"""Which weights have gradients that are 0 but for rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import backward_pass, forward_pass
from chainrule.engine import Position, Problem, StepRecord
from chainrule.layers.base import Context
from chainrule.network import Network
from chainrule.tape import Tape

CANCELLED, EVERY = 1e-4, 200
"""Entries whose gradient is smaller by this factor in float64 than in float32 are 0 but for
rounding; and how many steps there are between two looks for them.
"""


@dataclass
class Rounded:
    """Finds the entries of gradients that are 0 but for rounding.

    A BatchNorm subtracts the bias before it again, and a softmax the bias of the keys: their
    gradients are 0. Rounded, they are not, and an optimizer that divides by the size of a gradient
    moves these weights all the same. The samples' shares cancel there, and say nothing about the
    samples.

    Attributes:
        entries: (parameters,) which entries are known to be so
    """

    entries: Array | bool = False
    _left: int = 0

    def look(self, network: Network, at: Position, batch: Samples, context: Context) -> None:
        """Look at a step, now and then: at the gradients of random derivatives of the output, since
        those of a loss may be 0 for other reasons.

        Args:
            network: the network in float64
            at: where the step begins
            batch: its mini-batch
            context: that of the forward pass
        """
        self._left -= 1
        if self._left >= 0:
            return
        self._left = EVERY
        exact, rounded = (_sizes(replace(network, dtype=dtype), at, batch, context) for dtype in ("float64", "float32"))
        by_luck = (rounded == 0) & (exact < CANCELLED**3 * exact.max())  # of a few samples, float32's may cancel
        self.entries = self.entries | (exact > 0) & ((exact < CANCELLED * rounded) | by_luck)


def _sizes(network: Network, at: Position, batch: Samples, context: Context) -> Vector:
    """The largest of some gradients in the network's precision, for each parameter."""
    dtype, random = np.dtype(network.dtype), np.random.default_rng(0)
    tape = forward_pass(network, at.parameters.astype(dtype), batch.x, at.statistics.astype(dtype), context)
    drawn = [random.normal(size=tape.output.shape).astype(dtype) for _ in range(3)]
    return np.max([np.abs(backward_pass(network, tape, dy)[0]) for dy in drawn], axis=0)


def only_rounding(network: Network, problem: Problem, record: StepRecord, batch: Samples, tape: Tape) -> Array:
    """(parameters,) which entries of a step's own gradient are 0 but for rounding.

    Besides those that `Rounded` finds, these are entries that are so in a few steps: as long as a
    ReLU before a BatchNorm is active for all samples of a batch, the gradient of its bias is 0.
    In the first steps nothing else is in the average that Adam divides by.

    Args:
        network: the network in float64
        problem: what is trained
        record: the step
        batch: its mini-batch
        tape: its forward and backward pass in float64
    """
    layout = problem.network.parameters
    penalties = sum((p.gradient(record.before.parameters.astype(np.float64), layout) for p in problem.penalties), 0.0)
    exact = np.abs(network.flatten(tape.gradients, layout) + penalties)
    rounded = np.abs(record.gradient)
    if rounded.dtype != np.float32:
        context = problem.context(record.before.step)
        rounded = np.abs(_gradient(replace(network, dtype="float32"), problem, record, batch, context) + penalties)
    by_luck = (
        (rounded == 0) & (exact > 0) & (exact < CANCELLED**3 * exact.max())
    )  # of few samples, float32's may cancel
    return (exact < CANCELLED * rounded) | by_luck


def _gradient(network: Network, problem: Problem, record: StepRecord, batch: Samples, context: Context) -> Vector:
    """The gradient of a step's loss, without penalties, in the network's precision."""
    at, dtype = record.before, np.dtype(network.dtype)
    tape = forward_pass(network, at.parameters.astype(dtype), batch.x, at.statistics.astype(dtype), context)
    dy = problem.loss.derivative(tape.output, batch.y, batch.weight).astype(dtype)
    return backward_pass(network, tape, dy)[0]
