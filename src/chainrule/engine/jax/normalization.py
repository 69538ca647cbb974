"""Normalizations, as in layers/normalization.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from chainrule.engine.jax.context import Context
from chainrule.engine.jax.elementwise import wide
from chainrule.engine.jax.operations import operation
from chainrule.engine.lowering import Op


@operation("batch_norm")
def batch_norm(op: Op, context: Context, x: Any) -> Any:
    """Each feature, over samples and positions; the running statistics are updated."""
    numbers, epsilon = wide(x), op.settings["epsilon"]
    if not context.training:
        mean, variance = context.statistic(op, "mean"), context.statistic(op, "variance")
        return _scaled(op, context, (numbers - mean) * (1 / jnp.sqrt(variance + epsilon)), x.dtype)
    over = tuple(range(x.ndim - 1))
    mean, variance = numbers.mean(axis=over), numbers.var(axis=over)
    count, keep = x.size // x.shape[-1], op.settings["momentum"]
    for name, seen in (("mean", mean), ("variance", variance * (count / max(count - 1, 1)))):
        context.update(op, name, keep * context.statistic(op, name) + (1 - keep) * lax.stop_gradient(seen))
    return _scaled(op, context, (numbers - mean) * (1 / jnp.sqrt(variance + epsilon)), x.dtype)


@operation("layer_norm")
def layer_norm(op: Op, context: Context, x: Any) -> Any:
    """Each sample and position, over its features; without an offset by the root mean square."""
    numbers = wide(x)
    if "offset" in op.parameters:
        numbers = numbers - numbers.mean(axis=-1, keepdims=True)
    squares = jnp.square(numbers).mean(axis=-1, keepdims=True)
    return _scaled(op, context, numbers * (1 / jnp.sqrt(squares + op.settings["epsilon"])), x.dtype)


@operation("group_norm")
def group_norm(op: Op, context: Context, x: Any) -> Any:
    """Each sample, over its positions and a group of its channels."""
    groups = op.settings["groups"]
    numbers = wide(x).reshape(len(x), -1, groups, x.shape[-1] // groups)
    centred = numbers - numbers.mean(axis=(1, 3), keepdims=True)
    variance = jnp.square(centred).mean(axis=(1, 3), keepdims=True)
    unit = centred * (1 / jnp.sqrt(variance + op.settings["epsilon"]))
    return _scaled(op, context, unit.reshape(x.shape), x.dtype)


@operation("unit_norm")
def unit_norm(op: Op, context: Context, x: Any) -> Any:
    """Each sample and position divided by the length of its features, or by epsilon if that is
    larger.
    """
    numbers = wide(x)
    squares, epsilon = (numbers * numbers).sum(axis=-1, keepdims=True), op.settings["epsilon"]
    varies = jnp.sqrt(squares) > epsilon
    return (numbers * jnp.where(varies, 1 / jnp.sqrt(jnp.where(varies, squares, 1)), 1 / epsilon)).astype(x.dtype)


def _scaled(op: Op, context: Context, unit: Any, dtype: Any) -> Any:
    y = context.parameter(op, "scale", cast=False) * unit
    if "offset" in op.parameters:
        y = y + context.parameter(op, "offset", cast=False)
    return y.astype(dtype)
