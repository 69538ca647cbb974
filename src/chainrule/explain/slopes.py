"""What of a gradient comes through each value of the network: derivatives with respect to a weight.

Backpropagation gives dL/dv for every value v. Times dv/dw, summed over the entries of v, it is what
of the weight's gradient comes through v. The derivatives dv/dw are central differences of the
forward pass, in float64.
"""

from __future__ import annotations

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace

ROUNDED = 1e-10
"""Up to this size, relative to the values, a central difference may be rounding alone."""


class Slopes:
    """The derivatives of all values with respect to one weight.

    Attributes:
        trace: the step
    """

    def __init__(self, trace: Trace, place: int) -> None:
        """`place` is the weight's index in the flat vector of parameters."""
        self.trace = trace
        self._h = 1e-5 * max(1.0, abs(float(trace.parameters[place])))
        self._before, self._after = (trace.forward_nudged(place, sign * self._h) for sign in (-1, 1))
        self._known: dict[int, Array] = {}

    def of(self, number: int) -> Array:
        """The derivative of a value with respect to the weight; 0 where it is below what rounding
        leaves of a difference, as for the bias of all keys, which changes no softmax.
        """
        if number not in self._known:
            moved = (self._after.values[number] - self._before.values[number]) / (2 * self._h)
            least = ROUNDED * max(1.0, float(np.abs(self.trace.tape.values[number]).max(initial=0)))
            self._known[number] = np.where(np.abs(moved) < least, 0, moved)
        return self._known[number]

    def flows(self, number: int) -> Array:
        """What of the gradient comes through each entry of a value."""
        arriving = self.trace.tape.arriving[number]
        return np.zeros_like(self.trace.tape.values[number]) if arriving is None else self.of(number) * arriving

    def through(self, number: int) -> Array:
        """(samples,) what of the gradient comes through a value, by sample."""
        flows = self.flows(number)
        return flows.reshape(len(flows), -1).sum(axis=1)
