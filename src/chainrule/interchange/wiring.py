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
    permuted,
    reshaped,
    widened,
)
from chainrule.layers import Input, Layer
from chainrule.layers.symbols import Symbol
from chainrule.layers.windows import windows

Any_ = Value | Constant
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

    def value(self, c: Any_, at: Value) -> Value:
        """A constant as a value."""
        if isinstance(c, Value):
            return c
        axes = tuple(a for a, n in enumerate(c.shape) if n > 1)
        return Value(c.shape, self.constant(c, axes, at.symbol), axes)

    # Elementwise operations

    def each(self, x: Value, layer: Layer) -> Value:
        """An elementwise layer."""
        return x.same(layer(x.symbol))

    def _both(self, a: Any_, b: Any_) -> tuple[Shape, tuple[int, ...], list[Any]]:
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

    def add(self, a: Any_, b: Any_) -> Value:
        """a + b"""
        shape, axes, (x, y) = self._both(a, b)
        return Value(shape, layers.Add()(x, y), axes)

    def multiply(self, a: Any_, b: Any_) -> Value:
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

    def subtract(self, a: Any_, b: Any_) -> Value:
        """a - b"""
        return self.add(a, self.negative(b))

    def negative(self, b: Any_) -> Any_:
        """-b"""
        return Constant(-b.array, b.name, b.learned) if isinstance(b, Constant) else self.each(b, layers.Scale(-1.0))

    def divide(self, a: Any_, b: Any_) -> Value:
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

    def matmul(self, a: Any_, b: Any_) -> Value:
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

    # Convolutions, pooling

    def spatial(self, x: Value) -> tuple[Symbol, tuple[int, ...]]:
        """The symbol with its positions first and its channels last."""
        axes = (*range(2, len(x.shape)), 1)
        return x.arranged(axes), axes

    def positions(self, x: Value, y: Symbol, axes: tuple[int, ...]) -> Value:
        """The value for a symbol with positions and channels."""
        sizes = dict(zip(axes, y.shape, strict=True))
        return Value((1, *(sizes[k] for k in range(1, len(x.shape)))), y, axes)

    def pad(self, x: Value, before: Sequence[int], after: Sequence[int], axes: Sequence[int]) -> Value:
        """Zeros before and after along axes of positions."""
        if not any((*before, *after)):
            return x
        order = (*axes, *(a for a in x.axes if a not in axes))
        channels = order[len(axes) :]
        y = x.arranged(order)
        sizes = y.shape
        if len(channels) != 1:
            y = y.reshape(*sizes[: len(axes)], math.prod(sizes[len(axes) :]))
        y = layers.ZeroPad(tuple(before), tuple(after))(y)
        shape = list(x.shape)
        for a, first, last in zip(axes, before, after, strict=True):
            shape[a] += first + last
        wanted = tuple(shape[a] for a in order)
        return Value(tuple(shape), y if y.shape == wanted else y.reshape(*wanted), order)

    def conv(
        self, x: Value, W: Constant, b: Constant | None, stride: Sequence[int], pads: Sequence[int] | str,
        dilation: Sequence[int], groups: int, name: str = "",
    ) -> Value:  # fmt: skip
        """A convolution; W has the shape (channels out, channels in of a group, kernel...), and
        `pads` the places before each axis, then those after it.
        """
        d = W.array.ndim - 2
        padding: Any = pads
        if not isinstance(pads, str):
            before, after = tuple(pads[:d]), tuple(pads[d:])
            padding = before
            if before != after:
                x, padding = self.pad(x, before, after, tuple(range(2, 2 + d))), "valid"
        y, axes = self.spatial(x)
        kernel = W.shape[2:]
        weights = {"W": W.array.transpose(*range(2, 2 + d), 1, 0)} | ({} if b is None else {"b": b.array})
        padding = tuple(map(int, padding)) if not isinstance(padding, str) else padding
        kind = {1: layers.Conv1d, 2: layers.Conv2d, 3: layers.Conv3d}[d]
        layer = self.layer(
            lambda own: kind(
                W.shape[0], tuple(kernel), stride=tuple(map(int, stride)), padding=padding,
                dilation=tuple(map(int, dilation)), groups=groups, bias=b is not None, name=own,
            ), weights, name or W.name,
            ("conv", self.identity(W, b), tuple(stride), str(pads), tuple(dilation), groups),
        )  # fmt: skip
        return self.positions(x, layer(y), axes)

    def conv_transpose(
        self, x: Value, W: Constant, b: Constant | None, stride: Sequence[int], pads: Sequence[int],
        dilation: Sequence[int], groups: int, output_pads: Sequence[int],
    ) -> Value:  # fmt: skip
        """A transposed convolution; W has the shape (channels in, channels out of a group,
        kernel...).
        """
        d = W.array.ndim - 2
        before, after = tuple(pads[:d]), tuple(pads[d:])
        if before != after or any(output_pads):
            raise UnsupportedError("a transposed convolution with different padding before and after")
        own = W.shape[1]
        array = W.array.reshape(groups, W.shape[0] // groups, own, *W.shape[2:])
        array = np.moveaxis(array, (1, 0, 2), (-3, -2, -1))
        array = array.reshape(*W.shape[2:], W.shape[0] // groups, groups * own)
        y, axes = self.spatial(x)
        layer = self.layer(
            lambda name: layers.ConvTranspose(
                groups * own, tuple(W.shape[2:]), stride=tuple(stride), padding=before, dilation=tuple(dilation),
                groups=groups, bias=b is not None, name=name,
            ), {"W": array} | ({} if b is None else {"b": b.array}), W.name,
        )  # fmt: skip
        return self.positions(x, layer(y), axes)

    def pool(
        self, x: Value, kind: str, size: Sequence[int], stride: Sequence[int], pads: Sequence[int], ceil: bool,
        counts_padding: bool = True,
    ) -> Value:  # fmt: skip
        """Pooling by "max" or "mean"."""
        d = len(size)
        before, after = tuple(pads[:d]), tuple(pads[d:])
        padding: Any = "valid"
        inputs = x.shape[2:]
        spans = [n + a + b - k for n, a, b, k in zip(inputs, before, after, size, strict=True)]
        over = [ceil and span % s and (span // s + 1) * s < n + a
                for span, s, n, a in zip(spans, stride, inputs, before, strict=True)]  # fmt: skip
        if any(over):
            padding = self._same(inputs, size, stride, spans, over, (*before, *after))
        elif before != after:
            if (before, after) != _same_sides(inputs, size, stride) or (kind == "mean" and counts_padding):
                raise UnsupportedError("pooling with different padding before and after")
            padding = "same"
        elif any(before):
            if kind == "mean" and counts_padding:
                x = self.pad(x, before, after, tuple(range(2, 2 + d)))
            else:
                padding = before
        make: Any = layers.MaxPool if kind == "max" else layers.AveragePool
        y, axes = self.spatial(x)
        return self.positions(x, make(tuple(size), tuple(stride), padding)(y), axes)

    def _same(self, inputs: Any, size: Any, stride: Any, spans: Any, over: Any, pads: Any) -> str:
        """The padding whose last window reaches over the end of the input, as in ceil_mode."""
        for n, k, s, span, more in zip(inputs, size, stride, spans, over, strict=True):
            outputs = span // s + 1 + bool(more)
            missing = max(0, (-(-n // s) - 1) * s + k - n)
            if outputs != -(-n // s) or missing > 1 or (missing == 1) != bool(more) or any(pads):
                raise UnsupportedError("pooling whose last window reaches over the end of the input")
        return "same"

    def adaptive(self, x: Value, kind: str, size: Sequence[int | None]) -> Value:
        """Pooling of so many parts along each axis of positions."""
        wanted = tuple(n if k is None else k for k, n in zip(size, x.shape[2:], strict=True))
        if set(wanted) == {1}:
            return self.reduce(x, kind, range(2, len(x.shape)), True)
        make: Any = layers.AdaptiveMaxPool if kind == "max" else layers.AdaptiveAveragePool
        y, axes = self.spatial(x)
        return self.positions(x, make(tuple(map(int, wanted)))(y), axes)

    def reduce(self, x: Value, kind: str, over: Sequence[int], keep: bool) -> Value:
        """The mean, the largest or the sum along axes."""
        over = sorted(axis_of(a, len(x.shape)) for a in over)
        kept = tuple(a for a in x.axes if a not in over)
        shape = tuple(1 if a in over else n for a, n in enumerate(x.shape))
        together = tuple(a for a in x.axes if a in over and x.shape[a] > 1) or None
        if together is None:
            y = Value(shape, x.symbol, x.axes)
        else:
            sizes, channels = [x.shape[a] for a in together], [x.shape[a] for a in kept]
            symbol = x.arranged((*together, *kept))
            if len(kept) != 1:
                symbol = symbol.reshape(*sizes, math.prod(channels))
            symbol = (layers.GlobalMaxPool() if kind == "max" else layers.GlobalAveragePool())(symbol)
            symbol = symbol if len(kept) == 1 else symbol.reshape(*channels)
            y = Value(shape, symbol, kept)
            if kind == "sum":
                y = self.each(y, layers.Scale(float(math.prod(sizes))))
        return y if keep else reshaped(y, tuple(n for a, n in enumerate(shape) if a not in over))

    def resize(self, x: Value, factors: Sequence[float], method: str) -> Value:
        """Upsampling by whole factors."""
        if any(f != int(f) or f < 1 for f in factors):
            raise UnsupportedError(f"it resizes by {tuple(factors)}; Upsample takes whole factors")
        y, axes = self.spatial(x)
        return self.positions(x, layers.Upsample(tuple(map(int, factors)), method)(y), axes)

    # Normalization

    def batch_norm(
        self, x: Value, scale: Constant | None, offset: Constant | None, mean: Constant, variance: Constant,
        epsilon: float, momentum: float, name: str = "",
    ) -> Value:  # fmt: skip
        """Batch normalization; `momentum` is the weight of the old running statistics."""
        axes = (*(a for a in x.axes if a != 1), 1)
        n = mean.shape[0]
        ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
        weights = {
            "scale": ones if scale is None else scale.array, "offset": zeros if offset is None else offset.array,
            "mean": mean.array, "variance": variance.array,
        }  # fmt: skip
        name = name or (scale or mean).name
        layer = self.layer(lambda own: layers.BatchNorm(momentum, epsilon, name=own), weights, name)
        return Value(x.shape, layer(x.arranged(axes)), axes)

    def layer_norm(
        self, x: Value, axes: Sequence[int], scale: Constant | None, offset: Constant | None, epsilon: float,
        centred: bool = True,
    ) -> Value:  # fmt: skip
        """Normalization of each sample over these last axes."""
        first = min(axis_of(a, len(x.shape)) for a in axes)
        features = math.prod(x.shape[first:])
        flat = reshaped(x, (*x.shape[:first], features))
        y, own = flat.last(first)
        weights = {"scale": np.ones(features, np.float32) if scale is None else scale.array.ravel()}
        if centred:
            weights["offset"] = np.zeros(features, np.float32) if offset is None else offset.array.ravel()
        kind: Any = layers.LayerNorm if centred else layers.RMSNorm
        layer = self.layer(lambda name: kind(epsilon, name=name), weights, "" if scale is None else scale.name)
        return reshaped(Value(flat.shape, layer(y), own), x.shape)

    def group_norm(
        self, x: Value, groups: int, scale: Constant | None, offset: Constant | None, epsilon: float
    ) -> Value:
        """Normalization of each sample over positions and a group of channels."""
        n = x.shape[1]
        weights = {
            "scale": np.ones(n, np.float32) if scale is None else scale.array,
            "offset": np.zeros(n, np.float32) if offset is None else offset.array,
        }
        y, axes = self.spatial(x)
        name = "" if scale is None else scale.name
        layer = self.layer(lambda own: layers.GroupNorm(groups, epsilon, name=own), weights, name)
        return self.positions(x, layer(y), axes)

    def softmax(self, x: Value, axis: int, logarithm: bool = False) -> Value:
        """Softmax along an axis."""
        y, axes = x.last(axis_of(axis, len(x.shape)))
        return Value(x.shape, (layers.LogSoftmax() if logarithm else layers.Softmax())(y), axes)

    def attention(
        self, q: Value, k: Value, v: Value, mask: Any_ | None, causal: bool, scale: float | None, dropout: float = 0.0
    ) -> Value:
        """Scaled dot-product attention over the last two axes."""
        rank, width = len(q.shape), q.shape[-1]
        scale = width**-0.5 if scale is None else scale
        if isinstance(mask, Constant):
            causal, mask = (True, None) if is_causal(mask.array, q.shape[-2]) else (causal, mask)
        if mask is None and math.isclose(scale, width**-0.5, rel_tol=1e-6) and q.shape[:-2] == k.shape[:-2]:
            heads = math.prod(q.shape[:-2])
            three = [reshaped(x, (1, heads, *x.shape[-2:])).arranged((1, 2, 3)) for x in (q, k, v)]
            y = layers.DotProductAttention(causal, dropout)(*three)
            return reshaped(Value((1, heads, q.shape[-2], v.shape[-1]), y, (1, 2, 3)), (*q.shape[:-1], v.shape[-1]))
        if causal:
            raise UnsupportedError("causal attention with another mask or scale")
        swapped = permuted(k, [*range(rank - 2), rank - 1, rank - 2])
        scores = self.multiply(self.matmul(q, swapped), Constant(np.array(scale)))
        if mask is not None:
            is_bool = isinstance(mask, Constant) and mask.array.dtype == bool
            mask = Constant(np.where(mask.array, 0.0, -1e30)) if is_bool else mask  # type: ignore[union-attr]
            scores = self.add(scores, mask)
        return self.matmul(self.softmax(scores, -1), v)

    # Rearrangements

    def concatenate(self, xs: Sequence[Any_], axis: int) -> Value:
        """numpy.concatenate"""
        lead = next(x for x in xs if isinstance(x, Value))
        parts = [self.value(x, lead) for x in xs if math.prod(x.shape)]
        axis = axis_of(axis, len(lead.shape))
        most = max(parts, key=lambda x: math.prod(x.shape))
        size = sum(x.shape[axis] for x in parts)
        others = tuple(a for a in most.axes if a != axis)
        symbols = [x.arranged((*others, axis)) for x in parts]
        shape = tuple(size if a == axis else n for a, n in enumerate(most.shape))
        return parts[0] if len(parts) == 1 else Value(shape, layers.Concatenate()(*symbols), (*others, axis))

    def slice(self, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        """x[..., start:stop:step, ...]"""
        axis = axis_of(axis, len(x.shape))
        n = x.shape[axis]
        start, stop, step = slice(start, stop, step).indices(n)
        if step < 1 or stop <= start:
            raise UnsupportedError(f"a slice from {start} to {stop} by {step}")
        shape = list(x.shape)
        shape[axis] = len(range(start, stop, step))
        if shape[axis] == n:
            return x
        if step > 1:
            if n % step or start >= step or shape[axis] != n // step:
                raise UnsupportedError(f"a slice of {n} entries from {start} to {stop} by {step}")
            apart = reshaped(x, (*x.shape[:axis], n // step, step, *x.shape[axis + 1 :]))
            return reshaped(self.slice(apart, axis + 1, start, start + 1), shape)
        where = x.axes.index(axis)
        return Value(tuple(shape), layers.Slice(start, stop, where)(x.symbol), x.axes)

    def roll(self, x: Value, shift: int, axis: int) -> Value:
        """numpy.roll"""
        axis, n = axis_of(axis, len(x.shape)), x.shape[axis]
        cut = -shift % n
        return x if not cut else self.concatenate([self.slice(x, axis, cut, n), self.slice(x, axis, 0, cut)], axis)

    # Recurrence

    def scan(self, x: Value, cell: str, weights: Sequence[Array], units: int, last: bool, backwards: bool,
             name: str, activation: str = "tanh") -> Symbol:  # fmt: skip
        """One layer of recurrence in one direction, of x of shape (samples, time, features): all
        states, or the last one. Weights are W_ih and W_hh of shape (gates * units, ...), and two
        biases, in the order of the gates here.
        """
        W, U, b, c = weights
        make = {"lstm": layers.LSTM, "gru": layers.GRU}
        made: Any = make[cell](units) if cell in make else layers.SimpleRNN(units, activation=activation)
        own = {"input.W": W.T, "state.U": U.T}
        own |= {"input.b": b, "state.b": c} if cell == "gru" else {"input.b": b + c}
        layer = self.layer(lambda n: layers.Scan(made, not last, backwards, name=n), own, name)
        return layer(x.arranged((1, 2)))

    def recurrent(
        self, x: Value, cell: str, directions: Sequence[Sequence[Array]], units: int, name: str, last: bool = False,
        activation: str = "tanh", reverse: bool = False,
    ) -> Value:  # fmt: skip
        """One layer of recurrence, in one direction or both: (1, time, directions * units)."""
        both = [
            self.scan(x, cell, weights, units, last, k == 1 or reverse, name + "_reverse" * (k == 1), activation)
            for k, weights in enumerate(directions)
        ]
        y = layers.Concatenate()(*both) if len(both) > 1 else both[0]
        width = len(both) * units
        return Value((1, width), y, (1,)) if last else Value((1, x.shape[1], width), y, (1, 2))


def _same_sides(inputs: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> tuple[Any, Any]:
    """The padding before and after of padding="same"."""
    axes = windows(tuple(inputs), tuple(size), tuple(stride), 1, "same")
    return tuple(a.before for a in axes), tuple(a.after for a in axes)


def _ascends(axes: Sequence[int]) -> bool:
    return list(axes) == sorted(axes)


def is_causal(mask: Array, queries: int) -> bool:
    """Whether a mask hides exactly the positions after a query's own."""
    if mask.shape[-2:] != (queries, queries) or queries < 2:
        return False
    seen = np.tril(np.ones((queries, queries), bool))
    flat = mask.reshape(-1, queries, queries)
    if mask.dtype == bool:
        return bool((flat == seen).all())
    return bool(((flat == 0) == seen).all() and (flat[:, ~seen] <= -1e4).all())
