"""Lowering of a graph's nodes to operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.engine.base import Problem
from chainrule.engine.lowering import sequences, windows
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.records import Op, Program, Value
from chainrule.engine.lowering.rewrites import REWRITES
from chainrule.engine.python_layer import cut, python_call
from chainrule.layers import Graph, Layer, Node
from chainrule.layers.graph import CompositeCall
from chainrule.layers.recurrence import GateSums
from chainrule.layout import Layout


def lower_network(problem: Problem) -> Program:
    """The program of a network; raises NoKernel for a network without layers."""
    program = one_by_one(problem)
    for rewrite in REWRITES:
        program = rewrite(program)
    if not program.ops:
        raise NoKernel("a network without layers")
    return program


def one_by_one(
    problem: Problem, changed: Callable[[Piece, Op], Op] = lambda piece, op: op, target: Target | None = None
) -> Program:
    """A program with an operation for each node, except for those that do nothing, and one for all
    nodes of an attention or a scan. `changed` says what becomes of the operation of a piece; the
    target is by default the native engine.
    """
    target = target or NATIVE
    graph = problem.network.graph
    values, ops = [Value(graph.input_shapes[0], learns=False)], []
    numbers = {0: 0}  # in the program, of each value of the graph that others read
    for piece in pieces(graph):
        last = piece.nodes[-1]
        output = graph.numbers[last.name]
        if isinstance(last.layer, layers.Dropout) and last.layer.rate == 0:
            numbers[output] = numbers[last.inputs[0]]
            continue
        if isinstance(piece.layer, layers.Scan) and piece.has_kernel(graph, target):
            before = piece.nodes[0]  # the sums of all inputs
            numbers[graph.numbers[before.name]] = len(values)
            ops.append(lower(problem, Piece([before]), numbers, target))
            values.append(Value(before.built.output_shape, learns=True))
        numbers[output] = len(values)
        ops.append(changed(piece, lower(problem, piece, numbers, target)))
        learns = any(node.built.parameters for node in piece.nodes) or any(values[k].learns for k in ops[-1].inputs)
        values.append(Value(last.built.output_shape, learns))
    return Program(tuple(values), tuple(ops), numbers[len(graph.shapes) - 1])


@dataclass(frozen=True)
class Target:
    """An engine that operations are for.

    Attributes:
        layers: for each layer that it computes, the operation and its settings
        shares: whether several operations may use the same parameters
        recurrent: the activations that a SimpleRNN may have, besides tanh and relu
    """

    layers: Mapping[type[Layer], Lower]
    shares: bool = False
    recurrent: Collection[type[Layer]] = ()


@dataclass(frozen=True)
class Piece:
    """Nodes in a row that one operation computes.

    Attributes:
        nodes: the nodes, of which others read the last one's output
        call: the call of a composite that they are; None for a single node
    """

    nodes: Sequence[Node]
    call: CompositeCall | None = None

    @property
    def layer(self) -> Layer | None:
        """The composite."""
        return None if self.call is None else self.call.layer

    def has_kernel(self, graph: Graph, target: Target | None = None) -> bool:
        """Whether a kernel computes them."""
        target = target or NATIVE
        if self.call is None:
            return has_kernel(graph, self.nodes[0], target)
        return isinstance(self.layer, layers.DotProductAttention) or sequences.has_scan_kernel(
            graph, self.nodes, self.call, target.shares, target.recurrent
        )


def pieces(graph: Graph) -> list[Piece]:
    """The nodes in order, each on its own, except for those of an attention or a scan."""
    found: dict[int, tuple[CompositeCall | None, int]] = {}
    for call in graph.calls:
        if isinstance(call.layer, layers.Scan):
            found[call.start] = call, call.stop
        elif isinstance(call.layer, layers.DotProductAttention):
            found[call.start] = call, sequences.end_of(graph, call)
    made: list[Piece] = []
    k = 0
    while k < len(graph.nodes):
        whole, stop = found.get(k, (None, k + 1))
        made.append(Piece(graph.nodes[k:stop], whole))
        k = stop
    return made


def lower(problem: Problem, piece: Piece, numbers: Mapping[int, int], target: Target) -> Op:
    """The operation of a piece; without a kernel it calls the definitions. `numbers` are those of
    the graph's values in the program.
    """
    network, graph, nodes = problem.network, problem.network.graph, piece.nodes
    outputs, cost = (numbers[graph.numbers[nodes[-1].name]],), sum(one.layer.cost(one.built) for one in nodes)
    if not piece.has_kernel(graph, target):
        return _by_definition(problem, nodes, numbers, outputs, cost)
    if piece.call is None:
        (node,) = nodes
        reads, (name, own) = list(node.inputs), target.layers[type(node.layer)](node, problem)
    elif isinstance(piece.layer, layers.Scan):
        name, (node, reads, own) = "scan", sequences.scan(graph, nodes, piece.call, problem.seed)
        own |= {} if own["cell"] else {"cell": "activated_rnn", **_settings_of(sequences.activation_of(piece.layer))}
    else:
        name, node, (reads, own) = "attention", nodes[0], sequences.attention(graph, nodes, piece.call, problem.seed)
    parameters = {name: network.parameters[f"{node.owner}.{name}"].range for name in node.built.parameters}
    statistics = {name: network.statistics[f"{node.owner}.{name}"].range for name in node.built.statistics}
    return Op(name, tuple(numbers[k] for k in reads), outputs, parameters, statistics, own, cost)


def _by_definition(
    problem: Problem, nodes: Sequence[Node], numbers: Mapping[int, int], outputs: tuple[int, ...], cost: float
) -> Op:
    network, graph = problem.network, problem.network.graph
    start = graph.numbers[nodes[0].name]
    reads = list(dict.fromkeys(k for one in nodes for k in one.inputs if k < start))
    part = cut(nodes, reads, [graph.shapes[k] for k in reads], start)
    # The backward pass reaches the last use of a shared array first; earlier uses add to its
    # gradient.
    own = {one.name for one in nodes}
    later = {
        owner: [use for use in graph.uses[owner] if use.name not in own and graph.numbers[use.name] > start]
        for owner in part.uses
    }
    accumulates = {owner: {name for use in uses for name in use.built.parameters} for owner, uses in later.items()}
    settings = {
        "call": python_call(part, network, problem.seed, accumulates), "graph": part, "seed": problem.seed,
        "parameters": places_of(network.parameters, part), "statistics": places_of(network.statistics, part),
        "mixes": any(one.built.statistics for one in nodes),  # over samples, as far as one can tell
    }  # fmt: skip
    return Op("python", tuple(numbers[k] for k in reads), outputs, settings=settings, cost=cost)


def places_of(layout: Layout, part: Graph) -> dict[tuple[str, str], int]:
    """Where the arrays of a part of a graph start in their flat vector, by owner and name."""
    return {(entry.owner, entry.own_name): entry.start for entry in layout.entries if entry.owner in part.uses}


def is_tied(graph: Graph, node: Node) -> bool:
    """Whether its matrix is that of an Embedding and of one TiedDense after it."""
    return [type(use.layer) for use in graph.uses[node.owner]] == [layers.Embedding, layers.TiedDense]


def is_shared(graph: Graph, node: Node) -> bool:
    """Whether other nodes use the same parameters."""
    return bool(node.built.parameters) and len(graph.uses[node.owner]) > 1


def has_kernel(graph: Graph, node: Node, target: Target) -> bool:
    """Whether a kernel computes this node."""
    if target.shares:
        return type(node.layer) in target.layers
    own = is_tied(graph, node) if type(node.layer) is layers.TiedDense else not is_shared(graph, node)
    own |= type(node.layer) is layers.Embedding and is_tied(graph, node)
    return type(node.layer) in target.layers and own


Lower = Callable[[Any, Problem], tuple[str, Mapping[str, Any]]]
"""The name of a node's operation, and its settings."""


def named(name: str, settings: Callable[[Any, Problem], Mapping[str, Any]] = lambda node, problem: {}) -> Lower:
    """An operation with these settings."""
    return lambda node, problem: (name, settings(node, problem))


def _function(node: Any, problem: Problem) -> Mapping[str, Any]:
    return _settings_of(node.layer)


def _settings_of(layer: Layer) -> Mapping[str, Any]:
    name, number = ACTIVATIONS[type(layer)]
    name += "_tanh" if getattr(layer, "tanh", False) else ""
    return {"function": name, "number": getattr(layer, number) if number else 0.0}


def _mask(node: Any, problem: Problem) -> Mapping[str, Any]:
    return {"of_channels": isinstance(node.layer, layers.ChannelDropout), **sequences.masks([node], problem.seed)}


def _elementwise(name: str) -> Lower:
    """The operation of this name for values of the same shape."""

    def lowered(node: Any, problem: Problem) -> tuple[str, Mapping[str, Any]]:
        shapes = [problem.network.graph.shapes[k] for k in node.inputs]
        if len(set(shapes)) == 1:
            return name, {}
        whole = node.built.output_shape
        numbers = [np.arange(math.prod(shape)).reshape((1,) * (len(whole) - len(shape)) + shape) for shape in shapes]
        read = np.concatenate([np.broadcast_to(own, whole).ravel() for own in numbers])
        return "broadcast", {"product": name == "multiply", "from": read.tolist()}

    return lowered


def _looked_up(node: Any, problem: Problem) -> Mapping[str, Any]:
    return {"count": node.layer.count, "accumulates": is_tied(problem.network.graph, node)}


def _expanded(node: Any, problem: Problem) -> Mapping[str, Any]:
    (rows, _), on = node.built.parameters["W"].shape, node.layer.on
    return {"on": [*range(rows)] if on is None else [*on]}


ACTIVATIONS: dict[type[Layer], tuple[str, str | None]] = {
    layers.ReLU: ("relu", None),
    layers.LeakyReLU: ("leaky_relu", "slope"),
    layers.ELU: ("elu", "alpha"),
    layers.SELU: ("selu", None),
    layers.GELU: ("gelu", None),
    layers.SiLU: ("silu", None),
    layers.Mish: ("mish", None),
    layers.HardSwish: ("hard_swish", None),
    layers.Softplus: ("softplus", None),
    layers.Sigmoid: ("sigmoid", None),
    layers.Tanh: ("tanh", None),
    layers.Softsign: ("softsign", None),
    layers.HardSigmoid: ("hard_sigmoid", None),
    layers.HardTanh: ("hard_tanh", None),
    layers.Sine: ("sine", "frequency"),
    layers.Step: ("step", None),
    layers.Scale: ("scale", "factor"),
}
"""The name in FUNCTIONS of native/ops/activation.cpp, and which of the layer's settings it
takes.
"""

LAYERS: dict[type[Layer], Lower] = {
    **dict.fromkeys(ACTIVATIONS, named("activation", _function)),
    **dict.fromkeys((layers.Dense, GateSums), named("dense", lambda node, problem: {"relu": False, "slope": False})),
    layers.PReLU: named("prelu"),
    layers.Softmax: named("softmax", lambda node, problem: {"logarithm": False}),
    layers.LogSoftmax: named("softmax", lambda node, problem: {"logarithm": True}),
    layers.BatchNorm: named(
        "batch_norm",
        lambda node, problem: {
            "momentum": node.layer.momentum,
            "epsilon": node.layer.epsilon,
            "relu": False,
            "lazy": False,
        },
    ),
    layers.LayerNorm: named("layer_norm", lambda node, problem: {"epsilon": node.layer.epsilon}),
    layers.RMSNorm: named("layer_norm", lambda node, problem: {"epsilon": node.layer.epsilon}),
    layers.GroupNorm: named(
        "group_norm", lambda node, problem: {"groups": node.layer.groups, "epsilon": node.layer.epsilon}
    ),
    layers.Dropout: named("dropout", _mask),
    layers.ChannelDropout: named("dropout", _mask),
    layers.Embedding: named("embedding", _looked_up),
    layers.TiedDense: named("tied_dense"),
    layers.Expand: named("expand", _expanded),
    layers.Flatten: named("reshape"),
    layers.Reshape: named("reshape"),
    layers.Add: _elementwise("sum"),
    layers.Concatenate: named("concatenate"),
    **dict.fromkeys((layers.Conv, layers.Conv1d, layers.Conv2d, layers.Conv3d), windows.convolution),
    **dict.fromkeys((layers.ConvTranspose, layers.ConvTranspose2d), named("conv_transpose", windows.transposed)),
    **dict.fromkeys((layers.MaxPool, layers.AdaptiveMaxPool, layers.GlobalMaxPool), named("max_pool", windows.pooled)),
    **dict.fromkeys(
        (layers.AveragePool, layers.AdaptiveAveragePool, layers.GlobalAveragePool, layers.Upsample),
        named("weighted", windows.weighted),
    ),
    layers.ZeroPad: named("weighted", windows.zero_padded),
    **dict.fromkeys((layers.Transpose, layers.Slice), named("rearrange", sequences.rearranged)),
    layers.LearnedPositions: named("learned_positions", sequences.positions),
    layers.Rotary: named("rotary", sequences.turned),
    layers.SinusoidalPositions: named("constant", sequences.waves),
    layers.Multiply: _elementwise("multiply"),
    layers.Mask: named("valid", lambda node, problem: {"takes": "all"}),
    layers.ValidMax: named("valid", lambda node, problem: {"takes": "largest"}),
    layers.ValidMean: named("valid", lambda node, problem: {"takes": "mean"}),
    layers.Zeros: named("zeros"),
    layers.MatMul: named("matmul", sequences.matrices),
    layers.MaskedSoftmax: named("masked_softmax", sequences.queries),
}
"""The layers that have kernels."""

NATIVE = Target(LAYERS)
"""The native engine."""
