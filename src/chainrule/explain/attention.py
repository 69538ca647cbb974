"""What of a gradient comes through attention: which position takes it from which.

An output of attention is a sum over the positions that it takes from, y_i = sum_j a_ij v_j. So what
comes through it is a sum over pairs of positions, of the derivative that arrives at y_i times

    (da_ij/dw) v_j + a_ij (dv_j/dw),

the two ways in which the weight reaches the loss there: by how much is taken, and by what is taken.
The derivatives of a and v with respect to the weight are central differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace
from chainrule.layers.graph import CompositeCall, Node

ROUNDED = 1e-10
"""Up to this size, relative to the values, a central difference may be rounding alone."""
LISTED = 20
"""The number of pairs of positions that are listed for each layer."""


@dataclass(frozen=True)
class Attended:
    """What comes through one position that takes from another.

    Attributes:
        row: the sample's row in the training set
        head, query, key: the head, the position that takes, and the one that it takes from
        weight: how much it takes, after dropout
        product: the contribution to the gradient
    """

    row: int
    head: int
    query: int
    key: int
    weight: float
    product: float


@dataclass(frozen=True)
class Attention:
    """What of a gradient comes through a layer of attention.

    Attributes:
        layer: the layer's name
        product: the contribution to the gradient of all that comes through it
        pairs: the strongest pairs of positions
        others: the number of other pairs that something comes through
    """

    layer: str
    product: float
    pairs: tuple[Attended, ...]
    others: int

    @property
    def rest(self) -> float:
        """The contribution of the other pairs."""
        return self.product - sum(pair.product for pair in self.pairs)


def through_attention(trace: Trace, place: int) -> list[Attention]:
    """For each layer of attention that the weight at this place of the flat vector reaches, what
    comes through it, in the order of the network.
    """
    graph = trace.network.graph
    found = [(call, call.layer.mixing(graph.nodes[call.start : call.stop])) for call in graph.calls]
    layers = [(call, node) for call, node in found if node is not None]
    if not layers:
        return []
    h = 1e-5 * max(1.0, abs(float(trace.parameters[place])))
    before, after = (trace.forward_nudged(place, sign * h) for sign in (-1, 1))

    def slope(number: int) -> Array:
        """The derivative of a value with respect to the weight; 0 where it is below what rounding
        leaves of a difference, as for the bias of all keys, which changes no softmax.
        """
        moved = (after.values[number] - before.values[number]) / (2 * h)
        least = ROUNDED * max(1.0, float(np.abs(trace.tape.values[number]).max(initial=0)))
        return np.where(np.abs(moved) < least, 0, moved)

    def pairs(call: CompositeCall, node: Node) -> tuple[Array, Array]:
        weights, values = node.inputs
        a, v, arriving = trace.tape.values[weights], trace.tape.values[values], trace.tape.arrived(node.name)
        products = slope(weights) * (arriving @ v.swapaxes(-1, -2)) + a * (arriving @ slope(values).swapaxes(-1, -2))
        heads, queries, _ = graph.shapes[call.output]  # heads that share keys lie side by side
        shape = (len(a), heads, queries, a.shape[-1])
        return a.reshape(shape), products.reshape(shape)

    reached = ((call, *pairs(call, node)) for call, node in layers)
    return [_strongest(trace, call.name, a, products) for call, a, products in reached if np.any(products)]


def _strongest(trace: Trace, layer: str, weights: Array, products: Array) -> Attention:
    pairs = []
    for place in np.argsort(-np.abs(products), axis=None, kind="stable")[:LISTED]:
        at = np.unravel_index(place, products.shape)
        sample, head, query, key = map(int, at)
        if products[at]:
            row = int(trace.rows[sample])
            pairs.append(Attended(row, head, query, key, float(weights[at]), float(products[at])))
    return Attention(layer, float(products.sum()), tuple(pairs), int(np.count_nonzero(products)) - len(pairs))
