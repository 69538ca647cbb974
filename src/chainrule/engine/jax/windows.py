"""Convolution, pooling and resizing: what reads windows along axes of positions.

Pooling is not `lax.reduce_window`: on a CPU that has a derivative ten times slower than the one of
the maximum of a window's places, each of which is a slice with a stride. The largest of a window
is found axis by axis, the last one first, so that of equal numbers the first in row-major order
wins, as in the definition.
"""

from __future__ import annotations

import itertools
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

Axes = tuple[Window, ...]

MOST_SLICES = 16
"""Up to how many places of a window are slices of their own; further ones would take long to
compile.
"""


@operation("conv")
def conv(op: Op, context: Context, x: Any) -> Any:
    """The sum over the places of a kernel, and over channels."""
    axes, groups = tuple(op.settings["axes"]), op.settings["groups"]
    return _biased(op, context, convolved(x, context.parameter(op, "W"), axes, groups))


@operation("conv_transpose")
def conv_transpose(op: Op, context: Context, x: Any) -> Any:
    """Each input lays its multiple of the kernel on the output."""
    axes, groups = tuple(op.settings["axes"]), op.settings["groups"]
    return _biased(op, context, laid(x, context.parameter(op, "W"), axes, groups))


def _biased(op: Op, context: Context, z: Any) -> Any:
    return z + context.parameter(op, "b") if "b" in op.parameters else z


# A convolution and its transpose, each with derivatives of its own. On a CPU, XLA brings
# convolutions into the layout of its fast routine only outside of loops; those that JAX derives
# take ten times as long in a loop of steps. These have that layout from the start, and the gradient
# of a kernel is a product of matrices for each of its places.


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolved(x: Any, W: Any, axes: Axes, groups: int) -> Any:
    """The convolution of x, (samples, positions..., channels), by W, (kernel..., channels of a
    group, channels out), with these windows on x.
    """
    return _within(x, W, axes, groups)


def _within(x: Any, W: Any, axes: Axes, groups: int) -> Any:
    return _convolved(
        x, W, groups, padding=[(axis.before, axis.after) for axis in axes],
        window_strides=[axis.stride for axis in axes], rhs_dilation=[axis.dilation for axis in axes],
    )  # fmt: skip


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def laid(x: Any, W: Any, axes: Axes, groups: int) -> Any:
    """The transpose of a convolution, with these windows on the output: a convolution of x with
    zeros between its numbers, by the kernel turned over.
    """
    before = [axis.extent - 1 - axis.before for axis in axes]
    spread = [(n - 1) * axis.stride + 1 for n, axis in zip(x.shape[1:-1], axes, strict=True)]
    after = [axis.inputs - n - b + axis.extent - 1 for n, b, axis in zip(spread, before, axes, strict=True)]
    return _convolved(
        x, jnp.flip(W, range(len(axes))), groups, padding=list(zip(before, after, strict=True)),
        window_strides=[1] * len(axes), lhs_dilation=[axis.stride for axis in axes],
        rhs_dilation=[axis.dilation for axis in axes],
    )  # fmt: skip


def _convolved(x: Any, W: Any, groups: int, **windows: Any) -> Any:
    positions = tuple(range(1, x.ndim - 1))
    inside = (0, x.ndim - 1, *positions)
    numbers = lax.ConvDimensionNumbers(inside, (x.ndim - 1, x.ndim - 2, *range(x.ndim - 2)), inside)
    return lax.conv_general_dilated(x, W, dimension_numbers=numbers, feature_group_count=groups, **windows)


def _turned(W: Any, groups: int) -> Any:
    """The kernel from the channels out to the channels in."""
    *kernel, inputs, outputs = W.shape
    apart = W.reshape(*kernel, inputs, groups, outputs // groups).swapaxes(-1, -3)
    return apart.reshape(*kernel, outputs // groups, groups * inputs)


def _gradient(x: Any, dy: Any, axes: Axes, groups: int) -> Any:
    """dL/dW of `convolved`."""
    kernel = tuple(axis.kernel for axis in axes)
    shape = (*kernel, x.shape[-1] // groups, dy.shape[-1])

    def by_places(x: Any, dy: Any) -> Any:
        parts = _parts(x, axes)
        if groups == 1 and x.shape[-1] < FEW_CHANNELS:
            return _product(jnp.concatenate(parts, axis=-1), dy, 1).reshape(shape)
        return jnp.stack([_product(part, dy, groups) for part in parts]).reshape(shape)

    def by_convolution(x: Any, dy: Any) -> Any:
        W = jnp.zeros(shape, x.dtype)
        return jax.vjp(lambda W: _within(x, W, axes, groups), W)[1](dy)[0]

    return lax.platform_dependent(x, dy, cpu=by_places, default=by_convolution)


FEW_CHANNELS = 4
"""Below this, one product for all places of a kernel is faster than one for each."""


def _parts(x: Any, axes: Axes) -> list[Any]:
    """The inputs at each place of the kernel, in row-major order: each in the shape of the
    outputs' positions.
    """
    ends = [(axis.outputs - 1) * axis.stride + axis.extent - axis.inputs - axis.before for axis in axes]
    sides = [(axis.before, end, 0) for axis, end in zip(axes, ends, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *sides, (0, 0, 0)])
    parts = []
    for place in itertools.product(*(range(axis.kernel) for axis in axes)):
        starts = [k * axis.dilation for k, axis in zip(place, axes, strict=True)]
        stops = [k + (axis.outputs - 1) * axis.stride + 1 for k, axis in zip(starts, axes, strict=True)]
        strides = [axis.stride for axis in axes]
        parts.append(lax.slice(x, (0, *starts, 0), (len(x), *stops, x.shape[-1]), (1, *strides, 1)))
    return parts


def _product(x: Any, dy: Any, groups: int) -> Any:
    """(channels in of a group, channels out) the sum of products over samples and positions."""
    rows = [*range(x.ndim - 1)]
    if groups == 1:
        return jnp.tensordot(x, dy, axes=(rows, rows))
    if groups == x.shape[-1] == dy.shape[-1]:
        return (x * dy).sum(rows)[None]
    x, dy = x.reshape(*x.shape[:-1], groups, -1), dy.reshape(*dy.shape[:-1], groups, -1)
    product = lax.dot_general(x, dy, ((rows, rows), ((x.ndim - 2,), (x.ndim - 2,))))
    return product.swapaxes(0, 1).reshape(x.shape[-1], -1)


def _convolved_kept(x: Any, W: Any, axes: Axes, groups: int) -> tuple[Any, Any]:
    return convolved(x, W, axes, groups), (x, W)


def _convolved_derivatives(axes: Axes, groups: int, kept: Any, dy: Any) -> tuple[Any, Any]:
    x, W = kept
    return laid(dy, _turned(W, groups), axes, groups), _gradient(x, dy, axes, groups)


def _laid_kept(x: Any, W: Any, axes: Axes, groups: int) -> tuple[Any, Any]:
    return laid(x, W, axes, groups), (x, W)


def _laid_derivatives(axes: Axes, groups: int, kept: Any, dy: Any) -> tuple[Any, Any]:
    x, W = kept
    return convolved(dy, _turned(W, groups), axes, groups), _turned(_gradient(dy, x, axes, groups), groups)


convolved.defvjp(_convolved_kept, _convolved_derivatives)
laid.defvjp(_laid_kept, _laid_derivatives)


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
