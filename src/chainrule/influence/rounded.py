"""Which weights have gradients that are 0 but for rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import backward_pass, forward_pass
from chainrule.engine import Position
from chainrule.layers.base import Context
from chainrule.network import Network

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
