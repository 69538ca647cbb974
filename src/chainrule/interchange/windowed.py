"""Convolutions, pooling and resizing: what has positions before its channels, here after them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.interchange.values import Constant, UnsupportedError, Value, axis_of, reshaped
from chainrule.interchange.wiring import Wiring
from chainrule.layers.symbols import Symbol
from chainrule.layers.windows import windows


def spatial(x: Value) -> tuple[Symbol, tuple[int, ...]]:
    """The symbol with its positions first and its channels last."""
    axes = (*range(2, len(x.shape)), 1)
    return x.arranged(axes), axes


def positions(x: Value, y: Symbol, axes: tuple[int, ...]) -> Value:
    """The value for a symbol with positions and channels."""
    sizes = dict(zip(axes, y.shape, strict=True))
    return Value((1, *(sizes[k] for k in range(1, len(x.shape)))), y, axes)


def pad(x: Value, before: Sequence[int], after: Sequence[int], axes: Sequence[int]) -> Value:
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
    w: Wiring, x: Value, W: Constant, b: Constant | None, stride: Sequence[int], pads: Sequence[int] | str,
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
            x, padding = pad(x, before, after, tuple(range(2, 2 + d))), "valid"
    y, axes = spatial(x)
    kernel = W.shape[2:]
    weights = {"W": W.array.transpose(*range(2, 2 + d), 1, 0)} | ({} if b is None else {"b": b.array})
    padding = tuple(map(int, padding)) if not isinstance(padding, str) else padding
    kind = {1: layers.Conv1d, 2: layers.Conv2d, 3: layers.Conv3d}[d]
    layer = w.layer(
        lambda own: kind(
            W.shape[0], tuple(kernel), stride=tuple(map(int, stride)), padding=padding,
            dilation=tuple(map(int, dilation)), groups=groups, bias=b is not None, name=own,
        ), weights, name or W.name,
        ("conv", w.identity(W, b), tuple(stride), str(pads), tuple(dilation), groups),
    )  # fmt: skip
    return positions(x, layer(y), axes)


def conv_transpose(
    w: Wiring, x: Value, W: Constant, b: Constant | None, stride: Sequence[int], pads: Sequence[int],
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
    y, axes = spatial(x)
    layer = w.layer(
        lambda name: layers.ConvTranspose(
            groups * own, tuple(W.shape[2:]), stride=tuple(stride), padding=before, dilation=tuple(dilation),
            groups=groups, bias=b is not None, name=name,
        ), {"W": array} | ({} if b is None else {"b": b.array}), W.name,
    )  # fmt: skip
    return positions(x, layer(y), axes)


def pool(
    x: Value, kind: str, size: Sequence[int], stride: Sequence[int], pads: Sequence[int], ceil: bool,
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
        padding = _same_padding(inputs, size, stride, spans, over, (*before, *after))
    elif before != after:
        if (before, after) != _same_sides(inputs, size, stride) or (kind == "mean" and counts_padding):
            raise UnsupportedError("pooling with different padding before and after")
        padding = "same"
    elif any(before):
        if kind == "mean" and counts_padding:
            x = pad(x, before, after, tuple(range(2, 2 + d)))
        else:
            padding = before
    make: Any = layers.MaxPool if kind == "max" else layers.AveragePool
    y, axes = spatial(x)
    return positions(x, make(tuple(size), tuple(stride), padding)(y), axes)


def _same_padding(inputs: Any, size: Any, stride: Any, spans: Any, over: Any, pads: Any) -> str:
    """The padding whose last window reaches over the end of the input, as in ceil_mode."""
    for n, k, s, span, more in zip(inputs, size, stride, spans, over, strict=True):
        outputs = span // s + 1 + bool(more)
        missing = max(0, (-(-n // s) - 1) * s + k - n)
        if outputs != -(-n // s) or missing > 1 or (missing == 1) != bool(more) or any(pads):
            raise UnsupportedError("pooling whose last window reaches over the end of the input")
    return "same"


def adaptive(x: Value, kind: str, size: Sequence[int | None]) -> Value:
    """Pooling of so many parts along each axis of positions."""
    wanted = tuple(n if k is None else k for k, n in zip(size, x.shape[2:], strict=True))
    if set(wanted) == {1}:
        return reduce(x, kind, range(2, len(x.shape)), True)
    make: Any = layers.AdaptiveMaxPool if kind == "max" else layers.AdaptiveAveragePool
    y, axes = spatial(x)
    return positions(x, make(tuple(map(int, wanted)))(y), axes)


def reduce(x: Value, kind: str, over: Sequence[int], keep: bool) -> Value:
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
            y = y.same(layers.Scale(float(math.prod(sizes)))(y.symbol))
    return y if keep else reshaped(y, tuple(n for a, n in enumerate(shape) if a not in over))


def resize(x: Value, factors: Sequence[float], method: str) -> Value:
    """Upsampling by whole factors."""
    if any(f != int(f) or f < 1 for f in factors):
        raise UnsupportedError(f"it resizes by {tuple(factors)}; Upsample takes whole factors")
    y, axes = spatial(x)
    return positions(x, layers.Upsample(tuple(map(int, factors)), method)(y), axes)


def _same_sides(inputs: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> tuple[Any, Any]:
    """The padding before and after of padding="same"."""
    axes = windows(tuple(inputs), tuple(size), tuple(stride), 1, "same")
    return tuple(a.before for a in axes), tuple(a.after for a in axes)
