"""Lowering of a graph's nodes to operations of the native engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from chainrule import generators, layers
from chainrule.arrays import Shape
from chainrule.engine.base import Problem
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.python_layer import python_call
from chainrule.layers import Graph, Layer, Node


@dataclass(frozen=True)
class Value:
    """A value of the native program.

    Attributes:
        number: its number there
        shape: its shape, of one sample
        learns: whether it depends on any parameter
        rectified: whether it is the output of a ReLU that was fused into its Dense
    """

    number: int
    shape: Shape
    learns: bool
    rectified: bool = False


@dataclass
class Lowering:
    """Adds a network's operations to a native engine.

    Attributes:
        engine: the native engine
        problem: what is trained
        values: for each value of the graph, the native value for each of its remaining readers
    """

    engine: Any
    problem: Problem
    values: dict[int, list[Value]] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The network's graph."""
        return self.problem.network.graph

    def network(self) -> Value:
        """Lower the whole network; returns the prediction."""
        graph, number, k = self.graph, 0, 0
        shape = graph.input_shapes[0]
        while k < len(graph.nodes) and self._reshapes_input(graph.nodes[k], number):
            number, shape, k = number + 1, graph.nodes[k].built.output_shape, k + 1
        y = self._shared(number, self.value(shape, learns=False))
        while k < len(graph.nodes):
            node, fused = graph.nodes[k], self._fuses_relu(k)
            xs = [self.values[i].pop(0) for i in node.inputs]
            y = self.dense(node, xs[0], relu=True) if fused else lower(self, node, xs)
            y = self._shared(graph.numbers[graph.nodes[k + fused].name], y)
            k += 1 + fused
        if not graph.nodes or number == len(graph.nodes):
            raise NoKernel("a network without layers")
        if len(y.shape) != 1:  # losses read each sample's outputs as one row
            flat = self.value((math.prod(y.shape),), learns=True)
            self.engine.reshape(y.number, flat.number, y.learns)
            y = flat
        return y

    def _is_only_reader(self, node: Node, number: int) -> bool:
        return node.inputs == (number,) and len(self.graph.readers[number]) == 1

    def _reshapes_input(self, node: Node, number: int) -> bool:
        """Whether a node only reshapes the input, which can be read in any shape."""
        return type(node.layer) in (layers.Flatten, layers.Reshape) and self._is_only_reader(node, number)

    def _fuses_relu(self, k: int) -> bool:
        """Whether nodes k and k + 1 are a Dense and its ReLU and a Dense follows, whose backward
        pass can then multiply by the ReLU's slope.
        """
        nodes = self.graph.nodes[k : k + 3]
        return (
            [type(node.layer) for node in nodes] == [layers.Dense, layers.ReLU, layers.Dense]
            and all(self._is_only_reader(node, self.graph.numbers[x.name]) for x, node in pairwise(nodes))
            and not any(self.is_shared(node) for node in nodes)
        )

    def _shared(self, number: int, y: Value) -> Value:
        """Register a value for its readers; several read it through a fork, which adds their
        gradients.
        """
        readers = len(self.graph.readers[number])
        self.values[number] = [y]
        if readers > 1:
            self.values[number] = [self.value(y.shape, y.learns, alias=y) for _ in range(readers)]
            self.engine.fork(y.number, [copy.number for copy in self.values[number]], y.learns)
        return y

    def value(self, shape: Shape, learns: bool, alias: Value | None = None) -> Value:
        """A new value of this shape per sample; with `alias` in the memory of that value."""
        rows, width = math.prod(shape[:-1]), shape[-1] if shape else 1
        number = self.engine.value(rows, width, -1 if alias is None else alias.number, learns)
        return Value(number, shape, learns)

    def output(self, node: Node, xs: Sequence[Value]) -> Value:
        """A new value for a node's output."""
        learns = bool(node.built.parameters) or any(x.learns for x in xs)
        return self.value(node.built.output_shape, learns)

    def start(self, node: Node, name: str) -> int:
        """The offset of a parameter in the flat vector."""
        return self.problem.network.parameters[f"{node.owner}.{name}"].start

    def is_shared(self, node: Node) -> bool:
        """Whether other nodes use the same parameters."""
        return bool(node.built.parameters) and sum(n.owner == node.owner for n in self.graph.nodes) > 1

    def dense(self, node: Node, x: Value, relu: bool = False) -> Value:
        """A Dense, with `relu` fused with the ReLU after it."""
        y = self.output(node, [x])
        bias = self.start(node, "b") if "b" in node.built.parameters else -1
        self.engine.dense(x.number, y.number, self.start(node, "W"), bias, relu, x.rectified, x.learns)
        return replace(y, rectified=relu)


LowerNode = Callable[[Lowering, Node, Sequence[Value]], Value]
Arguments = Callable[[Lowering, Any], tuple[Any, ...]]


def lower(lowering: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    """Lower a node; without a kernel, or with shared parameters, it runs by its Python
    definition.
    """
    return (LAYERS[type(node.layer)] if has_kernel(lowering, node) else python_layer)(lowering, node, xs)


def has_kernel(lowering: Lowering, node: Node) -> bool:
    """Whether a kernel computes this node."""
    shapes = {lowering.graph.shapes[k] for k in node.inputs}
    broadcasts = type(node.layer) is layers.Add and len(shapes) > 1
    return type(node.layer) in LAYERS and not lowering.is_shared(node) and not broadcasts


def _unary(operation: str, arguments: Arguments = lambda lowering, node: ()) -> LowerNode:
    """Lowers a layer with one input to an operation (x, y, *arguments, wants_input)."""

    def lower(lowering: Lowering, node: Node, xs: Sequence[Value]) -> Value:
        (x,), y = xs, lowering.output(node, xs)
        getattr(lowering.engine, operation)(x.number, y.number, *arguments(lowering, node), x.learns)
        return y

    return lower


def _merge(operation: str) -> LowerNode:
    """Lowers a layer with several inputs to an operation (xs, y)."""

    def lower(lowering: Lowering, node: Node, xs: Sequence[Value]) -> Value:
        y = lowering.output(node, xs)
        getattr(lowering.engine, operation)([x.number for x in xs], y.number)
        return y

    return lower


def _activation(lowering: Lowering, node: Any) -> tuple[int, float]:
    layer, setting = node.layer, SETTINGS.get(type(node.layer))
    number = ACTIVATIONS.index(type(layer)) + getattr(layer, "tanh", False)  # GELU by tanh comes after GELU
    return number, getattr(layer, setting) if setting else 0.0


def _norm(lowering: Lowering, node: Any) -> tuple[float, ...]:
    normalized = lowering.value(node.built.output_shape, learns=False).number
    mean, variance, momentum = -1, -1, 0.0
    if isinstance(node.layer, layers.BatchNorm):
        statistics, momentum = lowering.problem.network.statistics, node.layer.momentum
        mean, variance = (statistics[f"{node.owner}.{name}"].start for name in ("mean", "variance"))
    scale, offset = lowering.start(node, "scale"), lowering.start(node, "offset")
    return normalized, scale, offset, mean, variance, momentum, node.layer.epsilon


def _mask(lowering: Lowering, node: Any) -> tuple[float, ...]:
    mask, rate = lowering.value(node.built.output_shape, learns=False), node.layer.rate
    key = generators.hashed(lowering.problem.seed, "dropout", node.name)
    return mask.number, key & (2**64 - 1), key >> 64, generators.threshold(rate), 1 / (1 - rate)


def _dropout(lowering: Lowering, node: Any, xs: Sequence[Value]) -> Value:
    if node.layer.rate == 0:
        return replace(xs[0], rectified=False)
    return _unary("dropout", _mask)(lowering, node, xs)


def _expand(lowering: Lowering, node: Any) -> tuple[Any, ...]:
    (rows, _), on = node.built.parameters["W"].shape, node.layer.on
    return lowering.start(node, "W"), lowering.start(node, "b"), [*range(rows)] if on is None else [*on]


def python_layer(lowering: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    """A node without a kernel: calls its layer's Python definition."""
    network = lowering.problem.network
    y = lowering.output(node, xs)
    # The backward pass reaches a shared layer's last use first; earlier uses add to its gradient.
    accumulates = node.name != [n.name for n in lowering.graph.nodes if n.owner == node.owner][-1]
    call = python_call(node, network, lowering.problem.seed, [x.shape for x in xs], accumulates)
    numbers, wants = [x.number for x in xs], [x.learns for x in xs]
    lowering.engine.python_layer(numbers, y.number, network.parameters.size, network.statistics.size, call, wants)
    return y


ACTIVATIONS: tuple[type[Layer], ...] = (
    layers.ReLU, layers.LeakyReLU, layers.ELU, layers.SELU, layers.GELU, layers.GELU, layers.SiLU, layers.Mish,
    layers.HardSwish, layers.Softplus, layers.Sigmoid, layers.Tanh, layers.Softsign, layers.HardSigmoid,
    layers.HardTanh, layers.Sine, layers.Step,
)  # fmt: skip
"""In the order of Activation in native/kernels.h; the second GELU is the approximation by tanh."""
SETTINGS: dict[type[Layer], str] = {layers.LeakyReLU: "slope", layers.ELU: "alpha", layers.Sine: "frequency"}
"""The hyperparameter of the activations that have one."""

LAYERS: dict[type[Layer], LowerNode] = {
    **dict.fromkeys(ACTIVATIONS, _unary("activation", _activation)),
    layers.Dense: lambda lowering, node, xs: lowering.dense(node, xs[0]),
    layers.PReLU: _unary("prelu", lambda lowering, node: (lowering.start(node, "alpha"),)),
    layers.Softmax: _unary("softmax", lambda lowering, node: (False,)),
    layers.LogSoftmax: _unary("softmax", lambda lowering, node: (True,)),
    layers.BatchNorm: _unary("norm", _norm),
    layers.LayerNorm: _unary("norm", _norm),
    layers.Dropout: _dropout,
    layers.Embedding: _unary("embedding", lambda lowering, node: (lowering.start(node, "W"), node.layer.count)),
    layers.Expand: _unary("expand", _expand),
    layers.Flatten: _unary("reshape"),
    layers.Reshape: _unary("reshape"),
    layers.Add: _merge("sum"),
    layers.Concatenate: _merge("concatenate"),
}
"""The layers that have kernels."""
