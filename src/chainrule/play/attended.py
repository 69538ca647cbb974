"""Attention as maps: of one sample, how much each position takes from each, in each head.

A map has a row for each position that takes (its query) and a column for each that it takes from
(its key). What is sent are the numbers of the step's own pass; derivatives are those of the
sample's own loss, as everywhere on the stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace
from chainrule.layers import Node
from chainrule.layers.graph import CompositeCall, Graph, Mixing
from chainrule.network import Network
from chainrule.play.lines import added, products, short
from chainrule.tape import Tape

MOST_NUMBERS = 200_000
"""The most attention weights that are sent; of more, those of the first layers."""


@dataclass(frozen=True)
class Attention:
    """A layer of attention in a network.

    Attributes:
        name: the name of what it is a part of, such as transformer_1.block_1.attention
        weights: the node of its weights, of shape (heads, queries, keys)
        scores: the number of the value that they are the softmax of
        output: the number of the value that it gives
        inputs: the numbers of queries, keys and values, each (heads or groups, positions, width)
        projections: the names of the layers behind these three; empty where there is none
        causal: whether a position takes only from those up to its own
    """

    name: str
    weights: Node
    scores: int
    output: int
    inputs: tuple[int, ...]
    projections: tuple[str, ...]
    causal: bool


def layers_of(network: Network) -> list[Attention]:
    """The layers of attention of a network, from first to last."""
    graph = network.graph
    found = [(call, call.layer.mixing(graph.nodes[call.start : call.stop])) for call in graph.calls]
    return [_attention(graph, call, mixing) for call, mixing in found if mixing is not None]


def _attention(graph: Graph, call: CompositeCall, mixing: Mixing) -> Attention:
    heads, queries, _ = graph.shapes[call.output]
    number, keys = mixing.mix.inputs[0], graph.shapes[mixing.mix.inputs[1]][-2]
    while graph.shapes[number] != (heads, queries, keys):  # heads that share keys lie side by side
        number = _node(graph, number).inputs[0]
    inputs = call.inputs[:3]
    return Attention(
        call.name.removesuffix(".heads"), _node(graph, number), mixing.softmax.inputs[0], call.output, inputs,
        tuple(_projection(graph, one) for one in inputs), bool(getattr(call.layer, "causal", False)),
    )  # fmt: skip


def _node(graph: Graph, number: int) -> Node:
    return graph.nodes[number - len(graph.input_shapes)]


def _projection(graph: Graph, number: int) -> str:
    """The name of the layer with weights that a value comes from; empty if there is none."""
    while number >= len(graph.input_shapes):
        node = _node(graph, number)
        if "W" in node.built.parameters:
            return node.name
        if len(node.inputs) != 1:
            break
        number = node.inputs[0]
    return ""


def description(network: Network) -> list[dict[str, Any]]:
    """What the page knows of the layers before any step; empty for networks without attention."""
    graph = network.graph
    return [
        {"name": one.name, "weights": one.weights.name, "shape": graph.shapes[graph.numbers[one.weights.name]],
         "causal": one.causal, "width": int(graph.shapes[one.inputs[0]][-1])}
        for one in layers_of(network)
    ]  # fmt: skip


def add_maps(network: Network, tape: Tape, sample: int, samples: int, arrays: dict[str, Array]) -> int:
    """Add the maps of a sample: its attention weights, their scores and the derivatives of its own
    loss with respect to the weights, each (heads, queries, keys).

    Returns:
        how many layers were added
    """
    numbers, count = 0, 0
    for k, one in enumerate(layers_of(network)):
        weights = tape.values[network.graph.numbers[one.weights.name]][sample]
        numbers += weights.size
        if k and numbers > MOST_NUMBERS:
            break
        scores = np.asarray(tape.values[one.scores][sample]).reshape(weights.shape)
        arrays[f"attention {k}"] = weights
        arrays[f"scores {k}"] = np.where(np.isfinite(scores), scores, 0)
        arrays[f"slopes {k}"] = tape.arrived(one.weights.name)[sample] * samples
        count += 1
    return count


def cell_view(trace: Trace, layer: str, sample: int, position: tuple[int, ...], key: int) -> dict[str, Any] | None:
    """What attention multiplies at one weight, as lines of arithmetic, and the weights of the
    projections behind it that it moves most; None for another unit.
    """
    one = next((found for found in layers_of(trace.network) if found.weights.name == layer), None)
    if one is None or len(position) != 2:
        return None
    head, query = position
    tape, heads = trace.tape, trace.network.graph.shapes[one.output][0]
    q, k, v = (tape.values[number][sample, head * _groups(tape, number, sample) // heads] for number in one.inputs)
    own, scores = q[query], tape.values[one.scores][sample].reshape(heads, len(q), len(k))[head, query]
    a = tape.values[trace.network.graph.numbers[layer]][sample, head, query]
    if one.causal and key > query:
        hidden = f"Hidden by the mask: position {key} comes after position {query}, so the weight is 0."
        return {"lines": [hidden], "weights": []}
    dot, width = float(own @ k[key]), len(own)
    arrived = tape.arriving[one.output]
    assert arrived is not None
    arriving = arrived[sample, head, query] * len(trace.rows)  # of the sample's own loss
    each = products(zip(own.tolist(), k[key].tolist(), strict=True))
    back = products(zip(arriving.tolist(), v[key].tolist(), strict=True))
    lines = [
        f"q · k = {added(each)} = {short(dot)}",
        f"score = q · k / √{width} = {short(scores[key])}",
        f"a = e^score / Σ e^score of the row = {short(a[key])}",
        f"a × v = {short(a[key])} × {_vector(v[key])} = {_vector(a[key] * v[key])}, a part of the output of position"
        f" {query}: the products of all keys are added up",
        f"∂L/∂a = ∂L/∂output · v = {added(back)} = {short(float(arriving @ v[key]))}",
    ]
    return {"lines": lines, "weights": _moved(trace, one, sample, (head, query, key))}


def _groups(tape: Tape, number: int, sample: int) -> int:
    return len(tape.values[number][sample])


def _vector(values: Array) -> str:
    """The first numbers of a vector."""
    shown = ", ".join(short(value) for value in values[:4])
    return f"({shown}{', …' if len(values) > 4 else ''})"


def _moved(trace: Trace, one: Attention, sample: int, cell: tuple[int, int, int]) -> list[dict[str, str]]:
    """Of the projection of queries, keys and values each: the weight of this head with the largest
    product of input and derivative at the position.
    """
    graph, tape, (head, query, key) = trace.network.graph, trace.tape, cell
    heads, found = graph.shapes[one.output][0], []
    for name, number, projection in zip(("query", "key", "value"), one.inputs, one.projections, strict=True):
        node = graph.node(projection) if projection else None
        position = query if name == "query" else key
        if node is None or len(graph.shapes[node.inputs[0]]) != 2:
            continue
        groups, _, width = graph.shapes[number]
        columns = slice(head * groups // heads * width, (head * groups // heads + 1) * width)
        terms = np.outer(
            tape.values[node.inputs[0]][sample, position], tape.arrived(node.name)[sample, position, columns]
        )
        i, j = np.unravel_index(np.abs(terms).argmax(), terms.shape)
        found.append({"name": name, "weight": f"{node.owner}.W[{i}, {int(j) + columns.start}]"})
    return found
