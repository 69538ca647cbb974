"""PyTorch's operations that move values: views, slices, padding; and cells over time."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.interchange import arranged, recurrence, windowed
from chainrule.interchange.torch_operations import TABLE, Later, Read, Unread, along, named
from chainrule.interchange.values import Length, UnsupportedError, Value, axis_of, permuted, reshaped
from chainrule.interchange.wiring import Wiring


@named("view", "_unsafe_view", "reshape")
def _view(w: Wiring, x: Value, shape: Any) -> Value:
    return reshaped(x, shape)


@named("flatten")
def _flatten(w: Wiring, x: Value, start: int = 0, end: int = -1) -> Value:
    start, end = (axis_of(a, len(x.shape)) for a in (start, end))
    return reshaped(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@named("unflatten")
def _unflatten(w: Wiring, x: Value, axis: int, sizes: Any) -> Value:
    axis = axis_of(axis, len(x.shape))
    return reshaped(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


@named("permute")
def _permute(w: Wiring, x: Value, order: Any) -> Value:
    return permuted(x, [axis_of(a, len(x.shape)) for a in order])


@named("transpose")
def _transpose(w: Wiring, x: Value, a: int, b: int) -> Value:
    order = [*range(len(x.shape))]
    order[a], order[b] = order[b], order[a]
    return permuted(x, order)


@named("t", "numpy_T")
def _t(w: Wiring, x: Value) -> Value:
    return permuted(x, [*range(len(x.shape))][::-1])


@named("unsqueeze")
def _unsqueeze(w: Wiring, x: Value, axis: int) -> Value:
    return arranged.unsqueezed(x, [axis])


@named("squeeze")
def _squeeze(w: Wiring, x: Value, axes: Any = None) -> Value:
    chosen = range(len(x.shape)) if axes is None else [axis_of(a, len(x.shape)) for a in along(axes, 1)]
    return arranged.squeezed(x, [a for a in chosen if x.shape[a] == 1])


@named("expand", "expand_as")
def _expand(w: Wiring, x: Any, shape: Any, **_: Any) -> Any:
    if isinstance(x, Length):
        return x
    own = (1,) * (len(shape) - len(x.shape)) + x.shape
    return w.expand(x, tuple(n if k == -1 else k for k, n in zip(shape, own, strict=True)))


@named("cat")
def _cat(w: Wiring, xs: Any, axis: int = 0) -> Value:
    return arranged.concatenate(w, xs, axis)


@named("stack")
def _stack(w: Wiring, xs: Any, axis: int = 0) -> Value:
    lead = next(x for x in xs if isinstance(x, Value))
    return arranged.concatenate(
        w, [_unsqueeze(w, w.value(x, lead), axis) for x in xs], axis_of(axis, len(lead.shape) + 1)
    )


@named("split", "split_with_sizes")
def _split(w: Wiring, x: Value, sizes: Any, axis: int = 0) -> list[Any]:
    n = x.shape[axis]
    sizes = [min(sizes, n - k) for k in range(0, n, sizes)] if isinstance(sizes, int) else sizes
    ends = np.cumsum(sizes).tolist()
    return [Later(partial(arranged.cut, x, axis, end - size, end)) for end, size in zip(ends, sizes, strict=True)]


@named("chunk")
def _chunk(w: Wiring, x: Value, count: int, axis: int = 0) -> list[Any]:
    return _split(w, x, -(-x.shape[axis] // count), axis)


@named("getitem")
def _item(w: Wiring, xs: Any, k: int) -> Any:
    item = xs[k]
    if isinstance(item, Later):
        xs[k] = item = item()
    return item


@named("select")
def _select(w: Wiring, x: Value, axis: int, index: int) -> Value:
    return arranged.entry(x, axis, index)


@named("unbind")
def _unbind(w: Wiring, x: Value, axis: int = 0) -> list[Any]:
    return [Later(partial(arranged.entry, x, axis, k)) for k in range(x.shape[axis])]


@named("slice_scatter")
def _slice_scatter(w: Wiring, x: Any, new: Any, axis: int = 0, start: int | None = None, stop: int | None = None,
                   step: int = 1) -> Value:  # fmt: skip
    """x with `new` in place of a slice."""
    lead = x if isinstance(x, Value) else new
    x, n = w.value(x, lead), lead.shape[axis]
    first, last, by = slice(start, stop, step).indices(n)
    if by != 1:
        raise UnsupportedError(f"of every {by}th entry")
    parts = [arranged.cut(x, axis, 0, first)] if first else []
    parts += [new] + ([arranged.cut(x, axis, last, n)] if last < n else [])
    return arranged.concatenate(w, parts, axis) if len(parts) > 1 else w.value(new, lead)


@named("copy")
def _copy(w: Wiring, x: Any, new: Any, *_: Any) -> Any:
    if new.shape != x.shape:
        raise UnsupportedError("of another shape")
    return new


@named("slice")
def _slice(w: Wiring, x: Value, axis: int = 0, start: int | None = None, stop: int | None = None,
           step: int = 1) -> Value:  # fmt: skip
    n = x.shape[axis]
    return arranged.cut(x, axis, *slice(start, stop, step).indices(n))


@named("roll")
def _roll(w: Wiring, x: Value, shifts: Any, axes: Any) -> Value:
    for shift, axis in zip(along(shifts, 1), along(axes, 1), strict=True):
        x = arranged.roll(w, x, shift, axis)
    return x


@named("pad", "constant_pad_nd")
def _pad(w: Wiring, x: Value, pads: Any, mode: str = "constant", value: Any = None) -> Value:
    if not any(pads):
        return x
    if mode == "circular" and min(pads) >= 0:
        return _wrapped(w, x, pads)
    if mode not in ("constant", 0) or value:
        raise UnsupportedError(f"padding in the mode {mode}")
    count, rank = len(pads) // 2, len(x.shape)
    sides = {rank - 1 - k: (pads[2 * k], pads[2 * k + 1]) for k in range(count) if pads[2 * k] or pads[2 * k + 1]}
    for axis, (before, after) in sides.items():
        if before < 0 or after < 0:
            x = arranged.cut(x, axis, max(0, -before), x.shape[axis] + min(0, after))
    sides = {axis: (max(0, before), max(0, after)) for axis, (before, after) in sides.items()}
    axes = sorted(axis for axis, both in sides.items() if any(both))
    return windowed.pad(x, [sides[a][0] for a in axes], [sides[a][1] for a in axes], axes)


def _wrapped(w: Wiring, x: Value, pads: Any) -> Value:
    """Beside each axis what is at its other end."""
    for k in range(len(pads) // 2):
        axis, (before, after) = len(x.shape) - 1 - k, pads[2 * k : 2 * k + 2]
        n = x.shape[axis]
        ends = [arranged.cut(x, axis, n - before, n)] if before else []
        more = [arranged.cut(x, axis, 0, after)] if after else []
        x = arranged.concatenate(w, [*ends, x, *more], axis) if ends or more else x
    return x


@named("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def _nearest(w: Wiring, x: Value, size: Any, *_: Any) -> Value:
    return windowed.resize(x, _factors(x, size, _), "nearest")


@named("upsample_bilinear2d", "upsample_linear1d")
def _bilinear(w: Wiring, x: Value, size: Any, corners: bool = False, *_: Any) -> Value:
    if corners:
        raise UnsupportedError("with aligned corners")
    return windowed.resize(x, _factors(x, size, _), "bilinear")


def _factors(x: Value, size: Any, scales: Any) -> list[float]:
    if size is None:
        return list(next(s for s in scales if s is not None))
    return [k / n for k, n in zip(size, x.shape[2:], strict=True)]


@named("pixel_shuffle")
def _pixel_shuffle(w: Wiring, x: Value, r: int) -> Value:
    return arranged.blocks_apart(x, r)


@named("pixel_unshuffle")
def _pixel_unshuffle(w: Wiring, x: Value, r: int) -> Value:
    return arranged.blocks_together(x, r)


@named("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(w: Wiring, x: Value, groups: int) -> Value:
    n, c, *rest = x.shape
    apart = reshaped(x, (n, groups, c // groups, *rest))
    return reshaped(permuted(apart, [0, 2, 1, *range(3, len(apart.shape))]), x.shape)


def _recurrent(cell: str, activation: str = "tanh") -> Read:
    def read(w: Wiring, x: Value, state: Any, weights: Any, has_biases: bool, count: int, dropout: float, train: bool,
             both: bool, batch_first: bool) -> Any:  # fmt: skip
        recurrence.require_zeros(state if isinstance(state, list) else [state])
        x = x if batch_first else permuted(x, [1, 0, 2])
        directions, per = 1 + both, 4 if has_biases else 2
        arrays = [c.array for c in weights]
        units, ends = arrays[1].shape[1], []
        if len(arrays) != per * directions * count:
            raise UnsupportedError("with projections")
        name = weights[0].name.rpartition("weight_ih")[0].rstrip(".") or cell
        for k in range(count):
            some = []
            for d in range(directions):
                own = arrays[per * (k * directions + d) : per * (k * directions + d + 1)]
                some.append(own if has_biases else [*own, *[np.zeros(len(own[0]), own[0].dtype)] * 2])
            called = f"{name}_l{k}" if count > 1 else name
            x = recurrence.recurrent(w, x, cell, some, units, called, activation=activation)
            if dropout and k + 1 < count:
                x = w.each(x, layers.Dropout(dropout))
            ends.append(x)
        last = Later(partial(recurrence.last_states, w, ends, units, [False, True][:directions]))
        return [x if batch_first else permuted(x, [1, 0, 2]), last, Unread("the last state of the cells")]

    return read


TABLE |= {
    "lstm": _recurrent("lstm"), "gru": _recurrent("gru"), "rnn_tanh": _recurrent("rnn"),
    "rnn_relu": _recurrent("rnn", "relu"),
}  # fmt: skip
