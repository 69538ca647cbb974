"""Nodes of a graph as operations of the native engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
    """Adds a network's operations to a native engine that is being made."""

    made: Any
    problem: Problem
    values: dict[int, list[Value]] = field(default_factory=dict)  # of each value, one for each reader

    @property
    def graph(self) -> Graph:
        """What is lowered."""
        return self.problem.network.graph

    def network(self) -> Value:
        """All of it, from the input to the prediction."""
        graph, number, k = self.graph, 0, 0
        shape = graph.input_shapes[0]
        while k < len(graph.nodes) and self._moves_input(graph.nodes[k], number):
            number, shape, k = number + 1, graph.nodes[k].built.output_shape, k + 1
        y = self._shared(number, self.value(shape, learns=False))
        while k < len(graph.nodes):
            fused = self._fused(k)
            node, last = graph.nodes[k], graph.nodes[k + len(fused) - 1] if fused else graph.nodes[k]
            xs = [self._take(i) for i in node.inputs]
            y = self.dense(node, xs[0], relu=True) if fused else lower(self, node, xs)
            k += len(fused) or 1
            y = self._shared(graph.numbers[last.name], y)
        if not graph.nodes or number == len(graph.nodes):
            raise NoKernel("a network without layers")
        if len(y.shape) != 1:  # losses read a sample's outputs as one row
            flat = self.value((math.prod(y.shape),), learns=True)
            self.made.reshape(y.number, flat.number, y.learns)
            y = flat
        return y

    def _moves_input(self, node: Node, number: int) -> bool:
        """Whether a node only reshapes the input: samples are read in any shape."""
        kinds = (layers.Flatten, layers.Reshape)
        return type(node.layer) in kinds and node.inputs == (number,) and len(self.graph.readers[number]) == 1

    def _fused(self, k: int) -> list[Node]:
        """A Dense and its ReLU, where a Dense follows: the slope is applied where the derivative is
        computed.
        """
        some = self.graph.nodes[k : k + 3]
        kinds = [type(node.layer) for node in some]
        numbers = [self.graph.numbers[node.name] for node in some[:2]]
        chained = all(
            node.inputs == (number,) and len(self.graph.readers[number]) == 1
            for node, number in zip(some[1:], numbers, strict=False)
        )
        fits = kinds == [layers.Dense, layers.ReLU, layers.Dense] and chained and not self.is_shared(some[0])
        return list(some[:2]) if fits and not self.is_shared(some[2]) else []

    def _shared(self, number: int, y: Value) -> Value:
        """Make a value ready for its readers: several read it through a fork, which adds up their
        gradients.
        """
        ways = len(self.graph.readers[number])
        copies = [y]
        if ways > 1:
            copies = [self.value(y.shape, y.learns, alias=y) for _ in range(ways)]
            self.made.fork(y.number, [copy.number for copy in copies], y.learns)
        self.values[number] = copies
        return y

    def _take(self, number: int) -> Value:
        """The value for the next of its readers."""
        return self.values[number].pop(0)

    def value(self, shape: Shape, learns: bool, alias: Value | None = None) -> Value:
        """A new value for a sample of this shape; `alias` shares its numbers."""
        rows, width = math.prod(shape[:-1]), shape[-1] if shape else 1
        number = self.made.value(rows, width, -1 if alias is None else alias.number, learns)
        return Value(number, shape, learns)

    def output(self, node: Node, xs: Sequence[Value]) -> Value:
        """A new value for a node's output."""
        learns = bool(node.built.parameters) or any(x.learns for x in xs)
        return self.value(node.built.output_shape, learns)

    def start(self, node: Node, name: str) -> int:
        """Where a parameter begins in the flat vector."""
        return self.problem.network.parameters[f"{node.owner}.{name}"].start

    def is_shared(self, node: Node) -> bool:
        """Whether other nodes use the same parameters."""
        return bool(node.built.parameters) and sum(n.owner == node.owner for n in self.graph.nodes) > 1

    def dense(self, node: Node, x: Value, relu: bool = False) -> Value:
        """A Dense, with the ReLU after it if they are fused."""
        y = self.output(node, [x])
        bias = self.start(node, "b") if "b" in node.built.parameters else -1
        self.made.dense(x.number, y.number, self.start(node, "W"), bias, relu, x.rectified, x.learns)
        return replace(y, rectified=relu)


LowerNode = Callable[[Lowering, Node, Sequence[Value]], Value]


def lower(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    """One node: its output. What has no kernel, or shares its parameters, runs by its definition."""
    return (python_layer if not has_kernel(to, node) else LAYERS[type(node.layer)])(to, node, xs)


def has_kernel(to: Lowering, node: Node) -> bool:
    """Whether a kernel computes this node."""
    shapes = [to.graph.shapes[k] for k in node.inputs]
    repeats = type(node.layer) is layers.Add and any(shape != shapes[0] for shape in shapes)
    return type(node.layer) in LAYERS and not to.is_shared(node) and not repeats


def _dense(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    return to.dense(node, xs[0])


def _activation(number: int, setting: str | None = None) -> LowerNode:
    def lower(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
        (x,), y, layer = xs, to.output(node, xs), node.layer
        kind = GELU_TANH if getattr(layer, "tanh", False) else number
        to.made.activation(x.number, y.number, kind, getattr(layer, setting) if setting else 0.0, x.learns)
        return y

    return lower


def _prelu(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    (x,), y = xs, to.output(node, xs)
    to.made.prelu(x.number, y.number, to.start(node, "alpha"), x.learns)
    return y


def _softmax(logarithm: bool) -> LowerNode:
    def lower(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
        (x,), y = xs, to.output(node, xs)
        to.made.softmax(x.number, y.number, logarithm, x.learns)
        return y

    return lower


def _norm(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    (x,), y, layer = xs, to.output(node, xs), node.layer
    unit = to.value(x.shape, learns=False)
    mean = variance = -1
    momentum = 0.0
    if isinstance(layer, layers.BatchNorm):
        statistics = to.problem.network.statistics
        mean, variance = (statistics[f"{node.owner}.{name}"].start for name in ("mean", "variance"))
        momentum = layer.momentum
    to.made.norm(
        x.number, y.number, unit.number, to.start(node, "scale"), to.start(node, "offset"), mean, variance, momentum,
        layer.epsilon, x.learns,  # type: ignore[attr-defined]
    )  # fmt: skip
    return y


def _dropout(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    (x,), rate = xs, node.layer.rate  # type: ignore[attr-defined]
    if rate == 0:
        return replace(x, rectified=False)
    y, mask = to.output(node, xs), to.value(x.shape, learns=False)
    key = generators.hashed(to.problem.seed, "dropout", node.name)
    low, high = key & (2**64 - 1), key >> 64
    to.made.dropout(x.number, y.number, mask.number, low, high, generators.threshold(rate), 1 / (1 - rate), x.learns)
    return y


def _embedding(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    (x,), y = xs, to.output(node, xs)
    to.made.embedding(x.number, y.number, to.start(node, "W"), node.layer.count, x.learns)  # type: ignore[attr-defined]
    return y


def _reshape(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    (x,), y = xs, to.output(node, xs)
    to.made.reshape(x.number, y.number, x.learns)
    return y


def _add(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    y = to.output(node, xs)
    to.made.sum([x.number for x in xs], y.number)
    return y


def _concatenate(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    y = to.output(node, xs)
    to.made.concatenate([x.number for x in xs], y.number)
    return y


def python_layer(to: Lowering, node: Node, xs: Sequence[Value]) -> Value:
    """A node without a kernel: its layer's definition is called."""
    network = to.problem.network
    y = to.output(node, xs)
    # The last use comes first on the way back, and the others add to what it leaves.
    accumulates = node.name != [n.name for n in to.graph.nodes if n.owner == node.owner][-1]
    call = python_call(node, network, to.problem.seed, [x.shape for x in xs], accumulates)
    wants = [x.learns for x in xs]
    to.made.python_layer(
        [x.number for x in xs], y.number, network.parameters.size, network.statistics.size, call, wants
    )
    return y


ACTIVATIONS: tuple[tuple[type[Layer], str | None], ...] = (
    (layers.ReLU, None),
    (layers.LeakyReLU, "slope"),
    (layers.ELU, "alpha"),
    (layers.SELU, None),
    (layers.GELU, None),
    (layers.GELU, None),  # by tanh
    (layers.SiLU, None),
    (layers.Mish, None),
    (layers.HardSwish, None),
    (layers.Softplus, None),
    (layers.Sigmoid, None),
    (layers.Tanh, None),
    (layers.Softsign, None),
    (layers.HardSigmoid, None),
    (layers.HardTanh, None),
    (layers.Sine, "frequency"),
    (layers.Step, None),
)
"""In the order of native/kernels.h's Activation, each with the setting that it takes."""
GELU_TANH = 5

LAYERS: dict[type[Layer], LowerNode] = {
    **{kind: _activation(k, setting) for k, (kind, setting) in reversed(list(enumerate(ACTIVATIONS)))},
    layers.Dense: _dense,
    layers.PReLU: _prelu,
    layers.Softmax: _softmax(logarithm=False),
    layers.LogSoftmax: _softmax(logarithm=True),
    layers.BatchNorm: _norm,
    layers.LayerNorm: _norm,
    layers.Dropout: _dropout,
    layers.Embedding: _embedding,
    layers.Flatten: _reshape,
    layers.Reshape: _reshape,
    layers.Add: _add,
    layers.Concatenate: _concatenate,
}
"""The layers that have kernels."""
