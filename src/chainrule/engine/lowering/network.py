"""Layers as operations of the native engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chainrule import generators, layers
from chainrule.arrays import Shape
from chainrule.engine.base import Work
from chainrule.engine.foreign import foreign_call
from chainrule.engine.lowering.missing import NoKernel
from chainrule.layers import Built, Layer


@dataclass(frozen=True)
class Val:
    """A value of the native program: its number, the shape of one sample, whether anything before it learns, and
    whether it is the output of a ReLU that was joined to its Dense.
    """

    number: int
    shape: Shape
    learns: bool
    rectified: bool = False


@dataclass
class Lowering:
    """Adds a network's operations to a native engine that is being made."""

    made: Any
    work: Work

    def network(self) -> Val:
        """All of it, from the input to the prediction."""
        net = self.work.network
        children, shape = dict(net.root.children), net.input_shape
        for name, layer in net.root.children.items():  # a sample is read in any shape: the first Flatten is for free
            if type(layer) not in (layers.Flatten, layers.Reshape):
                break
            del children[name]
            shape = net.built.children[name].output_shape
        x = self.value(shape, learns=False)
        y = _sequence(self, children, net.built, "", x)
        if y.number == x.number:  # no layers at all
            raise NoKernel("a network without layers")
        if len(y.shape) != 1:  # losses look at a sample's outputs in one row
            flat = self.value((math.prod(y.shape),), learns=True)
            self.made.reshape(y.number, flat.number, y.learns)
            y = flat
        return y

    def value(self, shape: Shape, learns: bool, alias: Val | None = None) -> Val:
        """A new value for a sample of this shape; `alias` shares its numbers."""
        rows, width = math.prod(shape[:-1]), shape[-1] if shape else 1
        number = self.made.value(rows, width, -1 if alias is None else alias.number, learns)
        return Val(number, shape, learns)

    def place(self, place: str, name: str) -> int:
        """Where a layer's parameter begins in the flat vector."""
        return self.work.network.parameters[f"{place}.{name}"].start

    def layer(self, layer: Layer, built: Built, place: str, x: Val) -> Val:
        """One layer: its output."""
        lower = LAYERS.get(type(layer), _foreign)
        return lower(self, layer, built, place, x)


LowerLayer = Callable[[Lowering, Any, Built, str, Val], Val]


def _sequence(to: Lowering, children: Mapping[str, Layer], built: Built, place: str, x: Val) -> Val:
    names = list(children)
    k = 0
    while k < len(names):
        kinds = [type(children[name]) for name in names[k : k + 3]]
        inner = f"{place}.{names[k]}" if place else names[k]
        if kinds == [layers.Dense, layers.ReLU, layers.Dense]:  # the slope is applied where the derivative is computed
            x = _dense(to, children[names[k]], built.children[names[k]], inner, x, relu=True)
            k += 2
        else:
            x = to.layer(children[names[k]], built.children[names[k]], inner, x)
            k += 1
    return x


def _dense(to: Lowering, layer: Any, built: Built, place: str, x: Val, relu: bool = False) -> Val:
    y = to.value(built.output_shape, learns=True)
    bias = to.place(place, "b") if layer.bias else -1
    to.made.dense(x.number, y.number, to.place(place, "W"), bias, relu, x.rectified, x.learns)
    return replace(y, rectified=relu)


def _activation(number: int, setting: str | None = None) -> LowerLayer:
    def lower(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
        y = to.value(x.shape, x.learns)
        kind = GELU_TANH if getattr(layer, "tanh", False) else number
        to.made.activation(x.number, y.number, kind, getattr(layer, setting) if setting else 0.0, x.learns)
        return y

    return lower


def _prelu(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    y = to.value(x.shape, learns=True)
    to.made.prelu(x.number, y.number, to.place(place, "alpha"), x.learns)
    return y


def _softmax(logarithm: bool) -> LowerLayer:
    def lower(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
        y = to.value(x.shape, x.learns)
        to.made.softmax(x.number, y.number, logarithm, x.learns)
        return y

    return lower


def _norm(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    y, unit = to.value(x.shape, learns=True), to.value(x.shape, learns=False)
    follows = isinstance(layer, layers.BatchNorm)
    statistics = to.work.network.statistics
    mean = statistics[f"{place}.mean"].start if follows else -1
    variance = statistics[f"{place}.variance"].start if follows else -1
    momentum = layer.momentum if follows else 0.0
    to.made.norm(
        x.number, y.number, unit.number, to.place(place, "scale"), to.place(place, "offset"), mean, variance, momentum,
        layer.epsilon, x.learns,
    )  # fmt: skip
    return y


def _dropout(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    if layer.rate == 0:
        return replace(x, rectified=False)
    y, mask = to.value(x.shape, x.learns), to.value(x.shape, learns=False)
    key = generators.hashed(to.work.seed, "dropout", place)
    low, high = key & (2**64 - 1), key >> 64
    to.made.dropout(
        x.number, y.number, mask.number, low, high, generators.threshold(layer.rate), 1 / (1 - layer.rate), x.learns
    )
    return y


def _embedding(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    y = to.value(built.output_shape, learns=True)
    to.made.embedding(x.number, y.number, to.place(place, "W"), layer.count, x.learns)
    return y


def _reshape(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    y = to.value(built.output_shape, x.learns)
    to.made.reshape(x.number, y.number, x.learns)
    return y


def _fork(to: Lowering, x: Val, ways: int) -> list[Val]:
    """The same value for several readers."""
    copies = [to.value(x.shape, x.learns, alias=x) for _ in range(ways)]
    to.made.fork(x.number, [copy.number for copy in copies], x.learns)
    return copies


def _sum(to: Lowering, parts: list[Val]) -> Val:
    y = to.value(parts[0].shape, any(part.learns for part in parts))
    to.made.sum([part.number for part in parts], y.number)
    return y


def _residual(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    around, through = _fork(to, x, 2)
    return _sum(to, [around, _sequence(to, layer.children, built, place, through)])


def _branches(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    ways = _fork(to, x, len(layer.children))
    parts = [
        to.layer(child, built.children[name], f"{place}.{name}", way)
        for way, (name, child) in zip(ways, layer.children.items(), strict=True)
    ]
    if layer.merge == "add":
        return _sum(to, parts)
    y = to.value(built.output_shape, any(part.learns for part in parts))
    to.made.concatenate([part.number for part in parts], y.number)
    return y


def _foreign(to: Lowering, layer: Layer, built: Built, place: str, x: Val) -> Val:
    """A layer that has no kernel: its own definition is called."""
    network = to.work.network
    has_parameters = any(entry.name.startswith(f"{place}.") for entry in network.parameters.entries)
    y = to.value(built.output_shape, x.learns or has_parameters)
    call = foreign_call(layer, place, network, to.work.seed, x.shape, y.shape)
    to.made.foreign(x.number, y.number, network.parameters.size, network.statistics.size, call, x.learns)
    return y


def _inner_sequence(to: Lowering, layer: Any, built: Built, place: str, x: Val) -> Val:
    return _sequence(to, layer.children, built, place, x)


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

LAYERS: dict[type[Layer], LowerLayer] = {
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
    layers.Sequential: _inner_sequence,
    layers.Residual: _residual,
    layers.Branches: _branches,
}
