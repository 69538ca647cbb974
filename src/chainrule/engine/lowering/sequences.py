"""Lowering of what sequences take: attention as one operation, positions, and axes in another
order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from chainrule import generators, layers
from chainrule.engine.base import Problem
from chainrule.layers import Graph, Node
from chainrule.layers.activations import activation
from chainrule.layers.graph import CompositeCall
from chainrule.layers.recurrence import StateSums

Settings = dict[str, Any]


def end_of(graph: Graph, call: CompositeCall) -> int:
    """Where the nodes of an attention stop: after those that lay its heads side by side again, if
    these follow.
    """
    after = graph.nodes[call.stop : call.stop + 2]
    if len(after) < 2:
        return call.stop
    order, flat = after
    output, between = call.output, graph.numbers[order.name]
    chained = order.inputs == (output,) and flat.inputs == (between,)
    alone = len(graph.readers[output]) == len(graph.readers[between]) == 1
    return call.stop + 2 if chained and alone and _swaps_heads(order) and _joins_heads(graph, flat) else call.stop


def attention(graph: Graph, nodes: Sequence[Node], call: CompositeCall, seed: int) -> tuple[list[int], Settings]:
    """The values that an attention reads, and its settings."""
    q, k, v, *lengths = call.inputs
    (heads, queries, width), (groups, keys, _), (*_, features) = (graph.shapes[n] for n in (q, k, v))
    settings: Settings = {
        "heads": heads, "groups": groups, "queries": queries, "keys": keys, "width": width, "features": features,
        "causal": call.layer.causal,  # type: ignore[attr-defined]
    }  # fmt: skip
    reads = []
    for name, number in zip("qkv", (q, k, v), strict=True):
        source, head, time = _heads_of(graph, number)
        reads.append(source)
        settings |= {f"{name}_head": head, f"{name}_time": time}
    joined = end_of(graph, call) > call.stop
    settings |= {
        "y_head": features if joined else queries * features,
        "y_time": heads * features if joined else features,
    }
    return [*reads, *lengths], settings | masks(
        [node for node in nodes if isinstance(node.layer, layers.Dropout)], seed
    )


def _heads_of(graph: Graph, number: int) -> tuple[int, int, int]:
    """The value in which heads of the shape (heads, time, width) are stored, and how far apart
    heads and positions are there: before they were taken apart, if they were.
    """
    heads, time, width = graph.shapes[number]
    first = len(graph.input_shapes)
    if number >= first and len(graph.readers[number]) == 1 and _swaps_heads(order := graph.nodes[number - first]):
        (between,) = order.inputs
        if between >= first and isinstance((apart := graph.nodes[between - first]).layer, layers.Reshape):
            (source,) = apart.inputs
            if graph.shapes[source] == (time, heads * width):
                return source, width, heads * width
    return number, time * width, width


def _swaps_heads(node: Node) -> bool:
    return isinstance(node.layer, layers.Transpose) and node.layer.axes == (1, 0, 2)


def _joins_heads(graph: Graph, node: Node) -> bool:
    time, heads, width = graph.shapes[node.inputs[0]]
    return isinstance(node.layer, layers.Reshape) and node.built.output_shape == (time, heads * width)


CELLS: dict[tuple[type[layers.Cell], type[layers.Layer]], str] = {
    (layers.SimpleRNN, layers.Tanh): "simple_rnn",
    (layers.SimpleRNN, layers.ReLU): "relu_rnn",
    (layers.LSTM, layers.Tanh): "lstm",
    (layers.GRU, layers.Tanh): "gru",
}
"""The names of cells and their activations in native/cells.h."""


def activation_of(scan: Any) -> layers.Layer:
    """The activation of a scan's cell."""
    return activation(getattr(scan.cell, "activation", "tanh"))


def _kind(scan: Any) -> tuple[type[layers.Cell], type[layers.Layer]]:
    return type(scan.cell), type(activation_of(scan))


def has_scan_kernel(
    graph: Graph,
    nodes: Sequence[Node],
    call: CompositeCall,
    shares: bool = False,
    recurrent: Collection[type[layers.Layer]] = (),
) -> bool:
    """Whether a kernel computes this scan: one of a known cell, whose weights no other part of the
    network uses, unless the kernel `shares` them. A SimpleRNN may also have an activation that is
    `recurrent`.
    """
    own, (cell, function) = {node.name for node in nodes}, _kind(call.layer)
    is_alone = all(use.name in own for node in nodes if node.built.parameters for use in graph.uses[node.owner])
    is_known = (cell, function) in CELLS or (cell is layers.SimpleRNN and function in recurrent)
    return (is_alone or shares) and is_known


def scan(graph: Graph, nodes: Sequence[Node], call: CompositeCall, seed: int) -> tuple[Node, list[int], Settings]:
    """The node whose weights multiply the state, the values that a scan reads, and its settings;
    its cell is None if that is none of CELLS.
    """
    layer: Any = call.layer
    sums, state = nodes[0], next(node for node in nodes if isinstance(node.layer, StateSums))
    reads = [graph.numbers[sums.name], *call.inputs[1:]]
    own = {"cell": CELLS.get(_kind(layer)), "all": layer.all, "reversed": layer.reversed}
    return state, reads, own | masks(_dropouts(nodes), seed)


def _dropouts(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if isinstance(node.layer, layers.Dropout)]


def masks(nodes: Sequence[Node], seed: int) -> Settings:
    """The settings of these dropouts, which have the same rate; none without any."""
    if not nodes:
        return {}
    keys = [generators.hashed(seed, "dropout", node.name) for node in nodes]
    rate = nodes[0].layer.rate  # type: ignore[attr-defined]
    words = [word for key in keys for word in (key & (2**64 - 1), key >> 64)]
    return {"key": words, "threshold": generators.threshold(rate), "keep_scale": 1 / (1 - rate)}


def rearranged(node: Node, problem: Problem) -> Settings:
    """Where the runs of an output that follow each other in the input begin there."""
    layer: Any = node.layer
    shape = problem.network.graph.shapes[node.inputs[0]]
    order = layer.view(np.arange(math.prod(shape)).reshape(1, *shape))[0]
    rows = order.reshape(-1, order.shape[-1])
    run = math.gcd(order.shape[-1], shape[-1]) if (np.diff(rows, axis=1) == 1).all() else 1
    starts = rows.ravel()[::run]
    if (starts % run).any():
        run, starts = 1, rows.ravel()
    return {"run": run, "starts": starts.tolist()}


def positions(node: Node, problem: Problem) -> Settings:
    """The number of rows of W."""
    return {"length": node.built.parameters["W"].shape[0]}


def waves(node: Node, problem: Problem) -> Settings:
    """What is added to each entry of a sample."""
    layer: Any = node.layer
    return {"numbers": layer.waves(*node.built.output_shape).ravel().tolist()}


def turned(node: Node, problem: Problem) -> Settings:
    """The cosine and the sine of each pair's angle, position by position."""
    layer: Any = node.layer
    angles = layer.angles(*node.built.output_shape[-2:]).ravel()
    return {"cosines": np.cos(angles).tolist(), "sines": np.sin(angles).tolist()}


def matrices(node: Node, problem: Problem) -> Settings:
    """The number of products of a sample."""
    return {"matrices": math.prod(node.built.output_shape[:-2])}


def queries(node: Node, problem: Problem) -> Settings:
    """The number of queries, and whether they see only keys up to their own."""
    return {"queries": node.built.output_shape[-2], "causal": node.layer.causal}  # type: ignore[attr-defined]
