"""What of a gradient comes through attention: which position takes it from which.

An output of attention is a sum over the positions that it takes from, y_i = sum_j a_ij v_j. So what
comes through it is a sum over pairs of positions, of the derivative that arrives at y_i times

    (da_ij/dw) v_j + a_ij (dv_j/dw),

the two ways in which the weight reaches the loss there: by how much is taken, and by what is taken.
The derivatives of a and v with respect to the weight are central differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.slopes import Slopes
from chainrule.layers.graph import CompositeCall, Mixing

LISTED = 20
"""The number of pairs of positions that are listed for each layer."""
LEVELS = ("sample", "position", "head", "key")
"""How what comes through a layer of attention is grouped."""
GROUPS = 5
"""The number of groups that are listed at each level."""


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
class Group:
    """What comes through a sample, a position of it that takes, a head there, or a position that it
    takes from.

    Attributes:
        number: the sample's row in the training set, or the number of the position or head
        product: the contribution to the gradient
        weight: of a position that is taken from, how much, after dropout; None of others
        parts: the strongest groups of the next level
        others, rest: the number of other groups, and what they contribute
    """

    number: int
    product: float
    weight: float | None = None
    parts: tuple[Group, ...] = ()
    others: int = 0
    rest: float = 0.0


@dataclass(frozen=True)
class Attention:
    """What of a gradient comes through a layer of attention.

    Attributes:
        layer: the layer's name
        product: the contribution to the gradient of all that comes through it
        heads: what comes through each head
        samples: the same by sample, then by the position that takes, by head, and by the position
            that it takes from; no weight, and as parts the strongest samples
        pairs: the strongest pairs of positions
        others: the number of other pairs that something comes through
    """

    layer: str
    product: float
    heads: tuple[float, ...]
    samples: Group
    pairs: tuple[Attended, ...]
    others: int

    @property
    def rest(self) -> float:
        """The contribution of the other pairs."""
        return self.product - sum(pair.product for pair in self.pairs)


def layers_of(slopes: Slopes) -> Iterator[tuple[CompositeCall, Mixing]]:
    """The calls of attention in a network, and what their nodes are."""
    graph = slopes.trace.network.graph
    for call in graph.calls:
        mixing = call.layer.mixing(graph.nodes[call.start : call.stop])
        if mixing is not None:
            yield call, mixing


def pairs_of(slopes: Slopes, call: CompositeCall, mixing: Mixing) -> tuple[Array, Array, Array]:
    """For each pair of positions, of the shape (samples, heads, queries, keys): how much one takes
    from the other; what comes through that, and through what is taken.
    """
    trace = slopes.trace
    graph = trace.network.graph
    weights, values = mixing.mix.inputs
    a, v, arriving = trace.tape.values[weights], trace.tape.values[values], trace.tape.arrived(mixing.mix.name)
    how_much = slopes.of(weights) * (arriving @ v.swapaxes(-1, -2))
    what = a * (arriving @ slopes.of(values).swapaxes(-1, -2))
    heads, queries, _ = graph.shapes[call.output]  # heads that share keys lie side by side
    shape = (len(a), heads, queries, a.shape[-1])
    return a.reshape(shape), how_much.reshape(shape), what.reshape(shape)


def through_attention(slopes: Slopes) -> list[Attention]:
    """For each layer of attention that the weight reaches, what comes through it, in the order of
    the network.
    """
    found = []
    for call, mixing in layers_of(slopes):
        a, how_much, what = pairs_of(slopes, call, mixing)
        if np.any(products := how_much + what):
            found.append(_attention(slopes.trace.rows, call.name, a, products))
    return found


def _attention(rows: Array, layer: str, weights: Array, products: Array) -> Attention:
    pairs = []
    for place in np.argsort(-np.abs(products), axis=None, kind="stable")[:LISTED]:
        at = np.unravel_index(place, products.shape)
        sample, head, query, key = map(int, at)
        if products[at]:
            pairs.append(Attended(int(rows[sample]), head, query, key, float(weights[at]), float(products[at])))
    others = int(np.count_nonzero(products)) - len(pairs)
    grouped = _group(0, products.swapaxes(1, 2), weights.swapaxes(1, 2), rows)
    heads = tuple(products.sum(axis=(0, 2, 3)).tolist())
    return Attention(layer, float(products.sum()), heads, grouped, tuple(pairs), others)


def _group(number: int, products: Array, weights: Array, names: Array) -> Group:
    """The groups along the first axis, with those of the next axes as their parts; `names` are the
    numbers along the first axis.
    """
    if not products.ndim:
        return Group(number, float(products), float(weights))
    flat = products.reshape(len(products), -1)
    sums = flat.sum(axis=1)
    order = [k for k in np.argsort(-np.abs(sums), kind="stable").tolist() if flat[k].any()]
    inner = np.arange(products.shape[1] if products.ndim > 1 else 0)
    parts = tuple(_group(int(names[k]), products[k], weights[k], inner) for k in order[:GROUPS])
    left = order[GROUPS:]
    return Group(number, float(sums.sum()), None, parts, len(left), float(sums[left].sum()))
