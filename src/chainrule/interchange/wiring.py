"""What operations of foreign networks become here: layers that are called on symbols, and the
weights of each. Both readers, of ONNX and of PyTorch, call these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.arrays import Array, Shape
from chainrule.interchange.values import (
    Constant,
    UnsupportedError,
    Value,
    axis_of,
    broadcast,
    widened,
)
from chainrule.layers import Input, Layer
from chainrule.layers.symbols import Symbol

Either = Value | Constant
Weights = Mapping[str, Array]


class Wiring:
    """A network that is being read: its inputs, and the weights of its layers.

    Attributes:
        inputs: the inputs
        weights: the arrays of each layer by name, such as "W", or "input.W" in a composite
        scaled: which value a value is a multiple of, by its id, and how many times
    """

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.input_axes: list[tuple[int, ...]] = []
        self.weights: list[tuple[Layer, Weights]] = []
        self._names: set[str] = set()
        self._shared: dict[Any, Layer] = {}
        self._alive: list[Any] = []
        self.scaled: dict[int, tuple[Value, float]] = {}

    def input(self, shape: Shape, channels_last: bool) -> Value:
        """An input of this shape, samples first."""
        if not shape or shape[0] != 1:
            raise UnsupportedError(f"its shape is {shape}; samples must be its first axis")
        rank = len(shape)
        axes = (*range(2, rank), 1) if channels_last and rank > 2 else tuple(range(1, rank))
        symbol = Input(tuple(shape[a] for a in axes))
        self.inputs.append(symbol)
        self.input_axes.append(axes)
        return Value(shape, symbol, axes)

    def name(self, of: str) -> str | None:
        """A name for a layer with weights of this name; None for the kind and a number."""
        words = [word for word in "".join(c if c.isalnum() else " " for c in of).split() if word.isascii()]
        stem = "_".join(words)
        for ending in ("_weight", "_bias", "_kernel", "_Read_ReadVariableOp", "_weight_ih_l0", "_in_proj"):
            stem = stem.removesuffix(ending)
        if not stem or stem.isdigit() or len(stem) > 60:
            return None
        name, k = stem, 1
        while name in self._names:
            name, k = f"{stem}_{(k := k + 1)}", k
        self._names.add(name)
        return name

    def layer(self, make: Callable[[str | None], Layer], weights: Weights, name: str = "", key: Any = None) -> Layer:
        """A layer with weights: the same one for the same key."""
        if key is not None and key in self._shared:
            return self._shared[key]
        made = make(self.name(name))
        self.weights.append((made, weights))
        if key is not None:
            self._shared[key] = made
        return made

    def identity(self, *constants: Constant | None) -> Any:
        """A key that is the same for the same arrays, and views of them."""
        self._alive += [c.array for c in constants if c is not None]  # so that no address is used again
        return tuple(c and (c.array.__array_interface__["data"], c.shape, c.array.strides) for c in constants)

    # Constants

    def constant(self, c: Constant, order: Sequence[int], at: Symbol) -> Symbol:
        """The array with its axes in this order, as a symbol, for the samples of another one."""
        missing = [a for a, n in enumerate(c.shape) if n > 1 and a not in order]
        if missing:
            raise UnsupportedError(f"it has a constant of the shape {c.shape} for several samples")
        rank = len(c.shape)
        others = [a for a in range(rank) if a not in order]
        array = c.array.transpose(*others, *order).reshape([c.shape[a] for a in order])
        while array.ndim and array.shape[0] == 1:
            array = array[0]
        array = np.clip(array, -1e30, 1e30) if array.dtype.kind == "f" else array  # finite, as weights are
        kind: Any = layers.Learned if c.learned else layers.Fixed
        entry = {("W" if c.learned else "value"): np.array(array, order="C")}
        key = (self.identity(c), tuple(order), c.learned)
        return self.layer(lambda name: kind(tuple(array.shape), name=name), entry, c.name, key)(at)

    def value(self, c: Either, at: Value) -> Value:
        """A constant as a value."""
        if isinstance(c, Value):
            return c
        axes = tuple(a for a, n in enumerate(c.shape) if n > 1)
        return Value(c.shape, self.constant(c, axes, at.symbol), axes)

    # Elementwise operations

    def each(self, x: Value, layer: Layer) -> Value:
        """An elementwise layer."""
        return x.same(layer(x.symbol))

    def prelu(self, x: Value, slope: Constant, axis: int) -> Value:
        """max(x, 0) + slope * min(x, 0), with a slope for each entry of an axis, or one for all."""
        axes = (*(a for a in x.axes if a != axis), axis)
        alpha = np.broadcast_to(slope.array.ravel(), (x.shape[axis],)).copy()
        layer = self.layer(lambda name: layers.PReLU(name=name), {"alpha": alpha}, slope.name)
        return Value(x.shape, layer(x.arranged(axes)), axes)

    def clip(self, x: Value, low: float | None, high: float | None) -> Value:
        """numpy.clip; without an upper bound it is a ReLU of what x is above the lower one."""
        low = None if low is None or low < -1e30 else float(low)
        high = None if high is None or high > 1e30 else float(high)
        if low is not None and high is not None:
            return self.each(x, layers.Clip(low, high))
        bound = low if low is not None else high
        if bound is None:
            return x
        sign, shift = (1 if high is None else -1), Constant(np.array(bound, np.float32))
        above = x if bound == 0 else self.subtract(x, shift)
        over = self.each(above if sign > 0 else self.each(above, layers.Scale(-1.0)), layers.ReLU())
        kept = over if sign > 0 else self.each(over, layers.Scale(-1.0))
        return kept if bound == 0 else self.add(kept, shift)

    def _both(self, a: Either, b: Either) -> tuple[Shape, tuple[int, ...], list[Any]]:
        """Two operands, ready to be combined: the shape, the axes, and the symbols."""
        shape = broadcast(a.shape, b.shape)
        rank = len(shape)
        wide = [
            widened(x, rank) if isinstance(x, Value)
            else Constant(x.array.reshape((1,) * (rank - x.array.ndim) + x.shape), x.name, x.learned)
            for x in (a, b)
        ]  # fmt: skip
        values = [x for x in wide if isinstance(x, Value)]
        lead = max(values, key=lambda x: math.prod(x.shape))
        axes = lead.axes
        for k, n in enumerate(shape):  # axes that only the other one has
            if n > 1 and k not in axes:
                axes = (*(j for j in axes if j < k), k, *(j for j in axes if j > k)) if _ascends(axes) else (k, *axes)
        symbols = []
        for x in wide:
            own = axes
            while x is not lead and len(own) > 1 and x.shape[own[0]] == 1:  # NumPy adds axes in front
                own = own[1:]
            symbols.append(x.arranged(own) if isinstance(x, Value) else self.constant(x, own, lead.symbol))
        return shape, axes, symbols

    def add(self, a: Either, b: Either) -> Value:
        """a + b"""
        shape, axes, (x, y) = self._both(a, b)
        return Value(shape, layers.Add()(x, y), axes)

    def multiply(self, a: Either, b: Either) -> Value:
        """a * b"""
        for x, c in ((a, b), (b, a)):
            if (
                isinstance(c, Constant)
                and c.array.size == 1
                and (not c.learned or c.array.ndim == 0)
                and isinstance(x, Value)
            ):
                of, factor = self.scaled.get(id(x), (x, 1.0))
                factor *= float(c.array.item())
                y = of if factor == 1 else self.each(of, layers.Scale(factor))
                y = widened(y, max(len(x.shape), len(c.shape)))
                if y is not of:
                    self.scaled[id(y)] = (of, factor)
                    self._alive.append(y)
                return y
        shape, axes, (x, y) = self._both(a, b)
        return Value(shape, layers.Multiply()(x, y), axes)

    def subtract(self, a: Either, b: Either) -> Value:
        """a - b"""
        return self.add(a, self.negative(b))

    def negative(self, b: Either) -> Either:
        """-b"""
        return Constant(-b.array, b.name, b.learned) if isinstance(b, Constant) else self.each(b, layers.Scale(-1.0))

    def divide(self, a: Either, b: Either) -> Value:
        """a / b, for a constant b."""
        if not isinstance(b, Constant):
            raise UnsupportedError("it divides by a value that depends on the input")
        return self.multiply(a, Constant(1 / b.array.astype(np.float64), b.name, b.learned))

    def expand(self, x: Value, shape: Shape) -> Value:
        """numpy.broadcast_to"""
        shape = broadcast(x.shape, shape)
        return x if shape == x.shape else self.multiply(x, Constant(np.ones(shape, np.float32)))

    # Weighted sums

    def linear(self, x: Value, W: Constant, b: Constant | None, name: str = "") -> Value:
        """x @ W + b, with W of shape (inputs, units)."""
        y, axes = x.last(len(x.shape) - 1)
        weights = {"W": W.array} | ({} if b is None else {"b": b.array.ravel()})
        units, bias = W.shape[1], b is not None
        key = ("dense", self.identity(W, b))
        dense = self.layer(lambda own: layers.Dense(units, bias=bias, name=own), weights, name or W.name, key)
        return Value((*x.shape[:-1], units), dense(y), axes)

    def embedding(self, x: Value, W: Constant) -> Value:
        """The rows of W."""
        count, units = W.shape
        key = ("embedding", self.identity(W))
        layer = self.layer(lambda own: layers.Embedding(count, units, name=own), {"W": W.array}, W.name, key)
        axes = tuple(x.axes)
        return Value((*x.shape, units), layer(x.symbol), (*axes, len(x.shape)))

    def matmul(self, a: Either, b: Either) -> Value:
        """numpy.matmul of values with two or more axes; of a vector of weights, a Dense layer."""
        if isinstance(a, Value) and isinstance(b, Constant) and b.array.ndim == 2:
            return self.linear(a, b, None)
        at = a if isinstance(a, Value) else b
        assert isinstance(at, Value)
        a, b = self.value(a, at), self.value(b, at)
        rank = max(len(a.shape), len(b.shape))
        if min(len(a.shape), len(b.shape)) < 2:
            raise UnsupportedError("it multiplies a matrix by a vector")
        a, b = widened(a, rank), widened(b, rank)
        before = broadcast(a.shape[:-2], b.shape[:-2])
        a, b = self.expand(a, (*before, *a.shape[-2:])), self.expand(b, (*before, *b.shape[-2:]))
        axes = (*(k for k in range(rank - 2) if before[k] > 1), rank - 2, rank - 1)
        return Value((*before, a.shape[-2], b.shape[-1]), layers.MatMul()(a.arranged(axes), b.arranged(axes)), axes)

    def softmax(self, x: Value, axis: int, logarithm: bool = False) -> Value:
        """Softmax along an axis."""
        y, axes = x.last(axis_of(axis, len(x.shape)))
        return Value(x.shape, (layers.LogSoftmax() if logarithm else layers.Softmax())(y), axes)


def _ascends(axes: Sequence[int]) -> bool:
    return list(axes) == sorted(axes)
