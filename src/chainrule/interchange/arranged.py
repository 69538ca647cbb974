"""Values taken apart and put together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule import layers
from chainrule.interchange.values import UnsupportedError, Value, axis_of, permuted, reshaped
from chainrule.interchange.wiring import Either, Wiring


def concatenate(w: Wiring, xs: Sequence[Either], axis: int) -> Value:
    """numpy.concatenate"""
    lead = next(x for x in xs if isinstance(x, Value))
    parts = [w.value(x, lead) for x in xs if math.prod(x.shape)]
    axis = axis_of(axis, len(lead.shape))
    most = max(parts, key=lambda x: math.prod(x.shape))
    size = sum(x.shape[axis] for x in parts)
    others = tuple(a for a in most.axes if a != axis)
    symbols = [x.arranged((*others, axis)) for x in parts]
    shape = tuple(size if a == axis else n for a, n in enumerate(most.shape))
    return parts[0] if len(parts) == 1 else Value(shape, layers.Concatenate()(*symbols), (*others, axis))


def cut(x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
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
        return reshaped(cut(apart, axis + 1, start, start + 1), shape)
    where = x.axes.index(axis)
    return Value(tuple(shape), layers.Slice(start, stop, where)(x.symbol), x.axes)


def roll(w: Wiring, x: Value, shift: int, axis: int) -> Value:
    """numpy.roll"""
    axis, n = axis_of(axis, len(x.shape)), x.shape[axis]
    first = -shift % n
    return x if not first else concatenate(w, [cut(x, axis, first, n), cut(x, axis, 0, first)], axis)


def entry(x: Value, axis: int, k: int) -> Value:
    """One entry along an axis, without that axis."""
    axis = axis_of(axis, len(x.shape))
    k = axis_of(k, x.shape[axis])
    return squeezed(cut(x, axis, k, k + 1), [axis])


def unsqueezed(x: Value, axes: Sequence[int]) -> Value:
    """numpy.expand_dims"""
    rank = len(x.shape) + len(axes)
    new, sizes = {axis_of(a, rank) for a in axes}, iter(x.shape)
    return reshaped(x, tuple(1 if a in new else next(sizes) for a in range(rank)))


def squeezed(x: Value, axes: Sequence[int]) -> Value:
    """numpy.squeeze"""
    drop = {axis_of(a, len(x.shape)) for a in axes}
    return reshaped(x, tuple(n for a, n in enumerate(x.shape) if a not in drop))


def blocks_apart(x: Value, r: int, channels_before: bool = True) -> Value:
    """Blocks of r x r channels become pixels, of channels that lie before or after the block's."""
    n, c, h, v = x.shape
    if channels_before:
        apart = permuted(reshaped(x, (n, c // r**2, r, r, h, v)), [0, 1, 4, 2, 5, 3])
    else:
        apart = permuted(reshaped(x, (n, r, r, c // r**2, h, v)), [0, 3, 4, 1, 5, 2])
    return reshaped(apart, (n, c // r**2, h * r, v * r))


def blocks_together(x: Value, r: int, channels_before: bool = True) -> Value:
    """The inverse of `blocks_apart`."""
    n, c, h, v = x.shape
    apart = reshaped(x, (n, c, h // r, r, v // r, r))
    order = [0, 1, 3, 5, 2, 4] if channels_before else [0, 3, 5, 1, 2, 4]
    return reshaped(permuted(apart, order), (n, c * r**2, h // r, v // r))


def einsum(w: Wiring, equation: str, xs: Sequence[Either]) -> Value:
    """numpy.einsum of two values, where it is a product of matrices."""
    ins, _, out = equation.replace(" ", "").partition("->")
    a, b = ins.split(",") if ins.count(",") == 1 else ("", "")
    summed = [k for k in a if k in b and k not in out]
    both = [k for k in out if k in a and k in b]
    rows, columns = ([k for k in out if k in own and k not in other] for own, other in ((a, b), (b, a)))
    if len(summed) != 1 or len(rows) != 1 or len(columns) != 1 or len({*a}) != len(both) + 2 or "." in equation:
        raise UnsupportedError(f"with the equation {equation}")
    lead = next(x for x in xs if isinstance(x, Value))
    x, y = (w.value(v, lead) for v in xs)
    x, y = (
        permuted(x, [a.index(k) for k in both + rows + summed]),
        permuted(y, [b.index(k) for k in both + summed + columns]),
    )
    product = w.matmul(x, y)
    return permuted(product, [(both + rows + columns).index(k) for k in out])
