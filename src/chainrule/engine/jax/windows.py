"""Convolution, pooling and resizing: what reads windows along axes of positions.

Convolutions are JAX's own. Pooling is not: `lax.reduce_window` has a derivative that is ten times
slower on a CPU than the maximum or the sum of a window's places, each a slice with a stride. The
largest of a window is found axis by axis, the last one first, so that of equal numbers the first
in row-major order wins, as in the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from chainrule.engine.jax.context import Context
from chainrule.engine.jax.operations import operation
from chainrule.engine.lowering import Op
from chainrule.layers.windows import Window

MOST_SLICES = 16
"""Up to how many places of a window are slices of their own; further ones would take long to
compile.
"""


@operation("conv")
def conv(op: Op, context: Context, x: Any) -> Any:
    """The sum over the places of a kernel, and over channels."""
    axes = op.settings["axes"]
    return _convolved(
        op, context, x, context.parameter(op, "W"), padding=[(axis.before, axis.after) for axis in axes],
        window_strides=[axis.stride for axis in axes], rhs_dilation=[axis.dilation for axis in axes],
    )  # fmt: skip


@operation("conv_transpose")
def conv_transpose(op: Op, context: Context, x: Any) -> Any:
    """A convolution of the inputs with zeros between them, by the kernel turned over."""
    axes, W = op.settings["axes"], context.parameter(op, "W")
    before = [axis.extent - 1 - axis.before for axis in axes]
    spread = [(n - 1) * axis.stride + 1 for n, axis in zip(x.shape[1:-1], axes, strict=True)]
    after = [axis.inputs - n - b + axis.extent - 1 for n, b, axis in zip(spread, before, axes, strict=True)]
    return _convolved(
        op, context, x, jnp.flip(W, range(len(axes))), padding=list(zip(before, after, strict=True)),
        window_strides=[1] * len(axes), lhs_dilation=[axis.stride for axis in axes],
        rhs_dilation=[axis.dilation for axis in axes],
    )  # fmt: skip


def _convolved(op: Op, context: Context, x: Any, W: Any, **windows: Any) -> Any:
    """The convolution of (samples, positions..., channels) by (kernel..., channels, channels)."""
    positions = tuple(range(1, x.ndim - 1))
    inside = (0, x.ndim - 1, *positions)
    numbers = lax.ConvDimensionNumbers(inside, (x.ndim - 1, x.ndim - 2, *range(x.ndim - 2)), inside)
    groups = op.settings["groups"]
    y = lax.conv_general_dilated(x, W, dimension_numbers=numbers, feature_group_count=groups, **windows)
    return y + context.parameter(op, "b") if "b" in op.parameters else y


# Pooling: an axis of positions is divided into windows, of which one number is left


@operation("max_pool")
def max_pool(op: Op, context: Context, x: Any) -> Any:
    """The largest of each window; padding is below any number."""
    for axis, along in reversed([*enumerate(op.settings["axes"], start=1)]):
        places = _places(x, axis, along, -jnp.inf)
        x = largest(*places) if isinstance(places, list) else largest_along(places, axis + 1)
    return x.reshape(len(x), *context.shape(op.outputs[0]))


@operation("mean_pool")
def mean_pool(op: Op, context: Context, x: Any) -> Any:
    """Padding counts neither in the sum nor in the number."""
    for axis, along in reversed([*enumerate(op.settings["axes"], start=1)]):
        places = _places(x, axis, along, 0.0)
        at = along.places if isinstance(along, Window) else along
        share = (1 / (at >= 0).sum(axis=1)).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = (sum(places) if isinstance(places, list) else places.sum(axis + 1)) * jnp.asarray(share, x.dtype)
    return x.reshape(len(x), *context.shape(op.outputs[0]))


def _places(x: Any, axis: int, along: Window | Any, padding: float) -> Any:
    """The numbers at each place of the windows along an axis: a list of arrays, or one array with
    an axis of places after this one.
    """
    inputs = x.shape[axis]
    if isinstance(along, Window):
        kernel, outputs = along.kernel, along.outputs
        tiles = outputs == 1 or along.stride == kernel
        if tiles and outputs * kernel == inputs and along.before == 0:
            return x.reshape(*x.shape[:axis], outputs, kernel, *x.shape[axis + 1 :])
        if kernel <= MOST_SLICES:
            last = (outputs - 1) * along.stride + along.extent
            sides = [(0, 0, 0)] * x.ndim
            sides[axis] = (along.before, last - inputs - along.before, 0)
            x = lax.pad(x, jnp.asarray(padding, x.dtype), sides)
            starts = [k * along.dilation for k in range(kernel)]
            return [lax.slice_in_dim(x, k, k + (outputs - 1) * along.stride + 1, along.stride, axis) for k in starts]
        along = along.places
    sides = [(0, 0, 0)] * x.ndim
    sides[axis] = (0, 1, 0)  # one more place, for padding
    at = np.where(along < 0, inputs, along)
    return jnp.take(lax.pad(x, jnp.asarray(padding, x.dtype), sides), at, axis=axis)


@jax.custom_vjp
def largest(first: Any, *others: Any) -> Any:
    """The largest of these, number by number; the derivative goes to the first of equal ones."""
    return _winners(first, *others)[0]


def _winners(first: Any, *others: Any) -> tuple[Any, Any]:
    y, won = first, jnp.zeros(first.shape, jnp.uint8)
    for k, other in enumerate(others, start=1):
        wins = other > y
        y, won = jnp.where(wins, other, y), jnp.where(wins, jnp.uint8(k), won)
    return y, (won, len(others) + 1)


def _to_winners(saved: Any, dy: Any) -> tuple[Any, ...]:
    won, count = saved
    return tuple(jnp.where(won == k, dy, 0) for k in range(count))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def largest_along(x: Any, axis: int) -> Any:
    """The largest along an axis; the derivative goes to the first of equal ones."""
    return x.max(axis)


def _winners_along(x: Any, axis: int) -> tuple[Any, Any]:
    y, size = x.max(axis), x.shape[axis]
    at = lax.broadcasted_iota(jnp.int32, x.shape, axis)
    return y, (jnp.where(x == jnp.expand_dims(y, axis), at, size).min(axis), size)


def _to_winners_along(axis: int, saved: Any, dy: Any) -> tuple[Any]:
    won, size = saved
    at = lax.broadcasted_iota(jnp.int32, (*dy.shape[:axis], size, *dy.shape[axis:]), axis)
    return (jnp.where(jnp.expand_dims(won, axis) == at, jnp.expand_dims(dy, axis), 0),)


largest.defvjp(_winners, _to_winners)
largest_along.defvjp(_winners_along, _to_winners_along)


# Resizing


@operation("repeat")
def repeat(op: Op, context: Context, x: Any) -> Any:
    """Each number several times along each axis of positions."""
    shape, spread = x.shape, [len(x)]
    for n, factor in zip(shape[1:-1], op.settings["factors"], strict=True):
        spread += [n, factor]
    apart = x.reshape(len(x), *(k for n in shape[1:-1] for k in (n, 1)), shape[-1])
    return jnp.broadcast_to(apart, (*spread, shape[-1])).reshape(len(x), *context.shape(op.outputs[0]))


@operation("weighted")
def weighted(op: Op, context: Context, x: Any) -> Any:
    """Along each axis of positions a matrix, (outputs, inputs), multiplied by the numbers along
    it.
    """
    return _multiplied(op.settings["matrices"], x)


def _multiplied(matrices: Sequence[Any], x: Any) -> Any:
    for axis, matrix in enumerate(matrices, start=1):
        x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(matrix, x.dtype), axes=(axis, 1)), -1, axis)
    return x


@operation("zero_pad", as_is=True)
def zero_pad(op: Op, context: Context, x: Any) -> Any:
    """Zeros around the positions."""
    return jnp.pad(x, [(0, 0), *op.settings["sides"], (0, 0)])
