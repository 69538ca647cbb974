"""Weighted sums, and what combines values without weights."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np

from chainrule.engine.jax.context import Context
from chainrule.engine.jax.operations import operation
from chainrule.engine.lowering import Op


@operation("dense")
def dense(op: Op, context: Context, x: Any) -> Any:
    """z = x @ W + b, of the last axis."""
    z = x @ context.parameter(op, "W")
    return z + context.parameter(op, "b") if "b" in op.parameters else z


@operation("tied_dense")
def tied_dense(op: Op, context: Context, x: Any) -> Any:
    """z = x @ W.T, with the matrix of another layer."""
    return x @ context.parameter(op, "W").T


@operation("expand")
def expand(op: Op, context: Context, x: Any) -> Any:
    """Each of some inputs feeds units of its own."""
    chosen = x[..., np.array(op.settings["on"])]
    z = chosen[..., None] * context.parameter(op, "W") + context.parameter(op, "b")
    return z.reshape(*x.shape[:-1], -1)


@operation("embedding", as_is=True)
def embedding(op: Op, context: Context, x: Any) -> Any:
    """The row of W for each whole number."""
    rows = x.astype(jnp.int32)
    context.require(jnp.all((rows == x) & (rows >= 0) & (rows < op.settings["count"])))
    return context.parameter(op, "W")[rows]


@operation("reshape", as_is=True)
def reshape(op: Op, context: Context, x: Any) -> Any:
    """The same numbers in another shape."""
    return x.reshape(len(x), *context.shape(op.outputs[0]))


@operation("concatenate", as_is=True)
def concatenate(op: Op, context: Context, *xs: Any) -> Any:
    """Side by side along the last axis."""
    return jnp.concatenate(xs, axis=-1)


@operation("sum", "multiply", "broadcast")
def combine(op: Op, context: Context, *xs: Any) -> Any:
    """Sums and products; shapes are aligned at their ends, with the samples before them."""
    axes = max(x.ndim for x in xs)
    aligned = [x.reshape(len(x), *(1,) * (axes - x.ndim), *x.shape[1:]) for x in xs]
    is_product = op.name == "multiply" or op.settings.get("product", False)
    return reduce(jnp.multiply if is_product else jnp.add, aligned)


@operation("learned")
def learned(op: Op, context: Context, x: Any) -> Any:
    """The same array for each sample."""
    return _for_each(x, context.parameter(op, "W"))


@operation("fixed")
def fixed(op: Op, context: Context, x: Any) -> Any:
    """The same, of an array that is not learned."""
    return _for_each(x, context.statistic(op, "value"))


def _for_each(x: Any, array: Any) -> Any:
    return jnp.broadcast_to(array, (len(x), *array.shape))
