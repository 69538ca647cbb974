"""How far rounding can have taken the gradient that training used from the exact one.

Every number that a step computes is off by a few units in the last place of what it was added up from. To first order
the gradient is then off by the sum of those errors, each times the derivative of the gradient with respect to the
number that is off (Higham, 2002, chapter 3). The gradient is dL/dw, so with respect to a unit's output v that is
d(delta of v)/dw, and with respect to a unit's delta it is dv/dw: both are had by nudging the weight and looking at how
every output and every delta changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array
from chainrule.engine import Position, Work
from chainrule.explain.trace import Batch, Node, Trace
from chainrule.layers import BatchNorm, Dense, Dropout, LayerNorm
from chainrule.layers.base import total
from chainrule.layers.softmax import AcrossUnits

FEW = 8
"""Units in the last place that a function of one number may be off by."""


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


def rounding(trace: Trace, work: Work, position: Position, batch: Batch, weight: str, training: float) -> Rounding:
    """The rounding of a weight's gradient of which training found this value."""
    layout = work.network.parameters
    place = layout.find(weight)
    exact = float(trace.result.gradient[place])
    unit = float(np.finfo(work.network.dtype).eps) / 2
    h = 1e-5 * max(1.0, abs(float(trace.parameters[place])))
    sides = []
    for step in (-h, h):
        elsewhere = trace.parameters.copy()
        elsewhere[place] += step
        sides.append(Trace(work, replace(position, parameters=elsewhere), batch))
    before, after = sides

    def slope(b: Array, a: Array) -> Array:
        return np.abs(a - b) / (2 * h)

    off = 0.0
    for name, output in trace.outputs.items():
        node, x = trace.nodes[name], trace.inputs[name]
        count, forward = _forward(node, x, output)
        off += count * _sum(forward, slope(before.nodes[name].arriving, after.nodes[name].arriving))
        count, backward = _backward(node, x)
        off += count * _sum(backward, slope(before.inputs[name], after.inputs[name]))
    prediction = trace.result.forward.prediction
    changed = slope(before.result.forward.prediction, after.result.forward.prediction)
    off += (FEW + prediction.shape[-1]) * _sum(_beginning(trace), changed)
    terms = trace.terms(weight)
    products = sum(float(np.abs(group.products).sum()) for group in terms)
    count = FEW + sum(len(group.local) for group in terms)
    penalties = abs(exact - total(terms))
    return Rounding(exact - training, unit * (off + count * products + FEW * penalties))


def _sum(sizes: Array, slopes: Array) -> float:
    return float((sizes * slopes).sum())


def _spread(node: Node, x: Array) -> tuple[int, Array]:
    """Over how many numbers a normalisation takes its mean, and how much larger they are than their deviation."""
    over = -1 if isinstance(node.layer, LayerNorm) else tuple(range(x.ndim - 1))
    count = x.shape[-1] if over == -1 else x.size // x.shape[-1]
    return count, 1 + np.abs(x).max(axis=over, keepdims=True) * node.saved.inverse


def _forward(node: Node, x: Array, y: Array) -> tuple[int, Array]:
    """The error of each output: how many units in the last place, and of what."""
    layer, params = node.layer, node.params
    if isinstance(layer, Dense):
        sizes = np.abs(x) @ np.abs(params["W"])
        return x.shape[-1] + 1, sizes + np.abs(params["b"]) if layer.bias else sizes
    if isinstance(layer, BatchNorm | LayerNorm):
        count, spread = _spread(node, x)
        return count + FEW, np.abs(y) + np.abs(params["scale"]) * (1 + np.abs(node.saved.unit)) * spread
    if x.shape == y.shape and not isinstance(layer, Dropout):
        return FEW + (y.shape[-1] if isinstance(layer, AcrossUnits) else 0), np.abs(y) + np.abs(x)
    return 1, np.abs(y)


def _backward(node: Node, x: Array) -> tuple[int, Array]:
    """The error of the derivative that leaves at each input: how many units in the last place, and of what."""
    layer, params, dy = node.layer, node.params, node.arriving
    if isinstance(layer, Dense):
        return dy.shape[-1] + 1, np.abs(dy) @ np.abs(params["W"]).T
    dx, _ = layer.backward(params, node.saved, dy)
    assert dx is not None
    if isinstance(layer, BatchNorm | LayerNorm):
        count, spread = _spread(node, x)
        over = -1 if isinstance(layer, LayerNorm) else tuple(range(x.ndim - 1))
        scaled, unit = np.abs(dy * params["scale"]), np.abs(node.saved.unit)
        mixed = scaled + scaled.mean(over, keepdims=True) + (1 + unit) * (scaled * (1 + unit)).mean(over, keepdims=True)
        return count + FEW, node.saved.inverse * mixed * spread
    if isinstance(layer, AcrossUnits):
        return FEW + dy.shape[-1], np.abs(dx) + np.abs(dy).sum(axis=-1, keepdims=True)
    # A derivative such as a (1 - a) is off by units in the last place of 1, however small it is.
    return FEW, np.abs(dx) + (np.abs(dy) if dx.shape == dy.shape else 0)


def _beginning(trace: Trace) -> Array:
    """What the loss's own derivatives are computed from."""
    prediction, batch, loss = trace.result.forward.prediction, trace.batch, trace.work.loss
    target = np.asarray(batch.y)
    largest = np.abs(target).max() if target.dtype.kind == "f" and target.size else 1.0
    sizes = (np.abs(loss.slopes(prediction, batch.y)) + largest + 1) / len(prediction)
    if batch.weight is None:
        return sizes
    return sizes * np.abs(batch.weight).reshape(-1, *(1,) * (sizes.ndim - 1))
