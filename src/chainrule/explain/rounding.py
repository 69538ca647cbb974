"""A bound on the rounding error of the gradient that training used.

Every number that a step computes has an error of a few units in the last place of its summands. To
first order the error of the gradient is the sum of those errors, each times the derivative of the
gradient with respect to the number in error (Higham, 2002, chapter 3). The gradient is dL/dw, so
with respect to a unit's output v that derivative is d(delta of v)/dw, and with respect to a unit's
delta it is dv/dw: both are central differences of outputs and deltas with respect to the weight.

The sum of the largest errors of thousands of numbers says little in bfloat16, which keeps 8 bits.
There the errors of different numbers are taken to be independent, so that their squares add up
(Higham and Mary, A new approach to probabilistic rounding error analysis, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace
from chainrule.layers.base import ULPS, Terms, total
from chainrule.losses.base import position_shares
from chainrule.tape import Tape
from chainrule.threads import in_threads

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8}
"""The unit roundoff of each precision: half the distance from 1 to the next larger number."""


@dataclass(frozen=True)
class Rounding:
    """The gradient that training used, compared with the exact one.

    Attributes:
        difference: exact minus computed
        bound: the largest difference that rounding can cause, to first order; in bfloat16, where
            errors are independent
    """

    difference: float
    bound: float

    @property
    def explains(self) -> bool:
        """Whether rounding alone can cause the difference."""
        return abs(self.difference) <= self.bound


def gradient_rounding(trace: Trace, precision: str, place: int, training: float) -> Rounding:
    """Bound the rounding error of a weight's gradient.

    Args:
        trace: the step in float64
        precision: the data type of training's products: float32, float64 or bfloat16
        place: the weight's index in the flat parameter vector
        training: the gradient that training computed
    """
    exact = float(trace.result.gradient[place])
    power = 2 if precision == "bfloat16" else 1
    h = 1e-5 * max(1.0, abs(float(trace.parameters[place])))
    before, after = in_threads(lambda nudge: trace.nudged(place, nudge), (-h, h))

    def slope(b: Array, a: Array) -> Array:
        return np.abs(a - b) / (2 * h)

    def size(errors: Array) -> float:
        return float((errors**power).sum())

    error, tape, graph = 0.0, trace.tape, trace.network.graph
    for node in graph.nodes:
        params, saved, inputs = tape.of(node)
        if node.layer.part(saved) is not None:
            continue  # copies are exact
        arriving = slope(before.arrived(node.name), after.arrived(node.name))
        output = tape.values[graph.numbers[node.name]]
        error += size(node.layer.output_error(params, saved, inputs, output) * arriving)
        if all(number < len(graph.input_shapes) for number in node.inputs):
            continue  # the network's input does not change with the weight
        input_errors = node.layer.input_error(params, saved, inputs, tape.arrived(node.name))
        for number, of_input in zip(node.inputs, input_errors, strict=True):
            error += size(of_input * slope(before.values[number], after.values[number]))
    for name, number in graph.numbers.items():  # the derivatives of several readers are summed
        if len(graph.readers[number]) > 1:
            changed = slope(before.values[number], after.values[number])
            error += size(_additions(tape, number) * np.abs(tape.arrived(name)) * changed)
    changed = slope(before.output, after.output)
    error += size((ULPS + changed.shape[-1]) * _loss_sizes(trace) * changed)
    terms = trace.terms(place)
    penalties = abs(exact - total(terms))
    error += size(np.array([*map(_reduction_error, terms), ULPS * penalties]))
    return Rounding(exact - training, UNITS[precision] * error ** (1 / power))


def _additions(tape: Tape, number: int) -> Array:
    """How many derivatives are added at each entry of a sample's value, beyond the first."""
    counts = np.zeros(tape.graph.shapes[number])
    for node, _ in tape.graph.readers[number]:
        part = node.layer.part(tape.of(node)[1])
        counts[... if part is None else part[1:]] += 1
    return np.maximum(counts - 1, 0)


def _reduction_error(terms: Terms) -> float:
    """The rounding error of the sum of these products, in units in the last place of 1: each
    product is rounded once, and each addition rounds its partial sum (Higham, 2002, section 4.2).
    The partial sums count twice because training may add in another order.
    """
    products = terms.products
    return float(ULPS * np.abs(products).sum() + 2 * np.abs(np.cumsum(products)).sum())


def _loss_sizes(trace: Trace) -> Array:
    """The magnitude of the numbers that the derivative of the loss is computed from."""
    prediction, batch, loss = trace.tape.output, trace.batch, trace.problem.loss
    target = np.asarray(batch.y)
    largest = np.abs(target).max() if target.dtype.kind == "f" and target.size else 1.0
    outputs, weight = prediction.shape[-1] if loss.averages_outputs else 1, batch.weight
    of_samples, of_positions = (weight, None) if weight is None or weight.ndim == 1 else (None, weight)
    counts: Any = position_shares(prediction, of_positions)[..., None] if prediction.ndim > 2 else 1.0
    if of_samples is not None:
        counts = counts * np.abs(of_samples).reshape(-1, *(1,) * (prediction.ndim - 1))
    slopes = np.abs(loss.derivative(prediction, batch.y, weight))
    return slopes + (largest + 1) / outputs * counts / len(prediction)
