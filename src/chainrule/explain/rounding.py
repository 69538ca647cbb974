"""How far rounding can have taken the gradient that training used from the exact one.

Every number that a step computes is off by a few units in the last place of what it was added up from. To first order
the gradient is then off by the sum of those errors, each times the derivative of the gradient with respect to the
number that is off (Higham, 2002, chapter 3). The gradient is dL/dw, so with respect to a unit's output v that is
d(delta of v)/dw, and with respect to a unit's delta it is dv/dw: both are had by nudging the weight and looking at how
every output and every delta changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace
from chainrule.layers.base import ULPS, Terms, total


@dataclass(frozen=True)
class Rounding:
    """The gradient that training used beside the exact one.

    Attributes:
        difference: by how much they differ
        bound: by how much rounding can make them differ, to first order
    """

    difference: float
    bound: float

    @property
    def explains(self) -> bool:
        """Whether rounding is enough to explain the difference."""
        return abs(self.difference) <= self.bound


def gradient_rounding(trace: Trace, precision: str, place: int, training: float) -> Rounding:
    """The rounding of a weight's gradient for which training in this precision found this value."""
    exact = float(trace.result.gradient[place])
    unit = float(np.finfo(precision).eps) / 2
    h = 1e-5 * max(1.0, abs(float(trace.parameters[place])))
    nudge = np.zeros_like(trace.parameters)
    nudge[place] = h
    before, after = (trace.at(trace.parameters + side * nudge).tape for side in (-1, 1))

    def slope(b: Array, a: Array) -> Array:
        return np.abs(a - b) / (2 * h)

    off, tape, graph = 0.0, trace.tape, trace.network.graph
    for node in graph.nodes:
        params, saved, inputs = tape.of(node)
        arriving = slope(before.arrived(node.name), after.arrived(node.name))
        output = tape.values[graph.numbers[node.name]]
        off += float((node.layer.output_error(params, saved, inputs, output) * arriving).sum())
        for number, error in zip(
            node.inputs, node.layer.input_error(params, saved, inputs, tape.arrived(node.name)), strict=True
        ):
            off += float((error * slope(before.values[number], after.values[number])).sum())
    for number, readers in enumerate(graph.readers):  # the derivatives of several readers are added up
        changed = slope(before.values[number], after.values[number])
        if len(readers) > 1:
            off += (len(readers) - 1) * float((np.abs(tape.arriving[number]) * changed).sum())  # type: ignore[arg-type]
    changed = slope(before.output, after.output)
    off += (ULPS + changed.shape[-1]) * float((_beginning(trace) * changed).sum())
    terms = trace.terms(place)
    penalties = abs(exact - total(terms))
    return Rounding(exact - training, unit * (off + sum(map(_reduction_error, terms)) + ULPS * penalties))


def _reduction_error(terms: Terms) -> float:
    """The rounding of the sum of these products, in units in the last place of 1: each product is
    rounded once, and each addition rounds the partial sum that it makes. (Higham, 2002, section 4.2;
    twice that, because another order has other partial sums.)
    """
    products = terms.products
    return float(ULPS * np.abs(products).sum() + 2 * np.abs(np.cumsum(products)).sum())


def _beginning(trace: Trace) -> Array:
    """What the loss's own derivatives are computed from."""
    prediction, batch, loss = trace.tape.output, trace.batch, trace.problem.loss
    target = np.asarray(batch.y)
    largest = np.abs(target).max() if target.dtype.kind == "f" and target.size else 1.0
    outputs = prediction[:1].size if loss.averages_outputs else 1
    sizes = (np.abs(loss.slopes(prediction, batch.y)) + (largest + 1) / outputs) / len(prediction)
    if batch.weight is None:
        return sizes
    return sizes * np.abs(batch.weight).reshape(-1, *(1,) * (sizes.ndim - 1))
