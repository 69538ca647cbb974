"""Attention, positions, lengths, and axes in another order."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from chainrule.engine.jax.context import Context
from chainrule.engine.jax.operations import operation
from chainrule.engine.jax.windows import largest_along
from chainrule.engine.lowering import Op


@operation("attention", as_is=True)
def attention(op: Op, context: Context, q: Any, k: Any, v: Any, *lengths: Any) -> Any:
    """The weights are computed in at least float32, and multiplied in the dtype of products."""
    own = op.settings
    heads, groups, queries, keys = (own[name] for name in ("heads", "groups", "queries", "keys"))
    q = _by_head(op, "q", q.astype(context.compute), heads, queries, own["width"])
    k = _by_head(op, "k", k.astype(context.compute), groups, keys, own["width"])
    v = _by_head(op, "v", v.astype(context.compute), groups, keys, own["features"])
    q = q.reshape(len(q), queries, groups, heads // groups, own["width"])
    scores = jnp.einsum("nqgrd,nkgd->ngrqk", q, k, preferred_element_type=context.dtype)
    scores = scores.reshape(len(q), heads, queries, keys) * own["width"] ** -0.5
    weights = masked(scores, own["causal"], *lengths)
    if context.training and "key" in own:
        weights = jnp.where(context.keep(op, weights.shape), weights * own["keep_scale"], 0)
    weights = weights.reshape(len(q), groups, heads // groups, queries, keys).astype(context.compute)
    if own["y_time"] == heads * own["features"]:  # heads side by side
        return jnp.einsum("ngrqk,nkgd->nqgrd", weights, v).reshape(len(q), *context.shape(op.outputs[0]))
    return jnp.einsum("ngrqk,nkgd->ngrqd", weights, v).reshape(len(q), *context.shape(op.outputs[0]))


def _by_head(op: Op, name: str, x: Any, heads: int, time: int, width: int) -> Any:
    """(samples, time, heads, width): heads lie side by side, or one after another."""
    if op.settings[f"{name}_time"] == heads * width:
        return x.reshape(len(x), time, heads, width)
    return x.reshape(len(x), heads, time, width).swapaxes(1, 2)


@operation("masked_softmax", as_is=True)
def masked_softmax(op: Op, context: Context, scores: Any, *lengths: Any) -> Any:
    """How much each query takes from each key."""
    return masked(scores.astype(context.dtype), op.settings["causal"], *lengths)


def masked(scores: Any, causal: bool, *lengths: Any) -> Any:
    """The softmax over the keys that a query sees, of scores (samples, ..., queries, keys)."""
    queries, keys = scores.shape[-2:]
    if causal:
        scores = jnp.where(np.tri(queries, keys, keys - queries, dtype=bool), scores, -jnp.inf)
    for count in lengths:
        seen = np.arange(keys) < count.reshape(-1, *(1,) * (scores.ndim - 1))
        scores = jnp.where(seen, scores, -jnp.inf)
    return softmax(scores)


@jax.custom_vjp
def softmax(z: Any) -> Any:
    """The softmax along the last axis; 0 where all are -inf."""
    largest = z.max(axis=-1, keepdims=True)
    e = jnp.exp(z - jnp.where(jnp.isneginf(largest), 0, largest))
    total = e.sum(axis=-1, keepdims=True)
    return e / jnp.where(total == 0, 1, total)


def _softmax_kept(z: Any) -> tuple[Any, Any]:
    a = softmax(z)
    return a, a


def _softmax_derivative(a: Any, dy: Any) -> tuple[Any]:
    return (a * (dy - (a * dy).sum(axis=-1, keepdims=True)),)


softmax.defvjp(_softmax_kept, _softmax_derivative)


@operation("matmul")
def matmul(op: Op, context: Context, x: Any, y: Any) -> Any:
    """The product of matrices."""
    return x @ y


# Positions


@operation("learned_positions")
def learned_positions(op: Op, context: Context, x: Any) -> Any:
    """A row of W is added at each position."""
    return x + context.parameter(op, "W")[: x.shape[1]]


@operation("constant")
def constant(op: Op, context: Context, x: Any) -> Any:
    """The same numbers are added to each sample."""
    return x + _numbers(op, "numbers", x).reshape(x.shape[1:])


@operation("rotary")
def rotary(op: Op, context: Context, x: Any) -> Any:
    """Pairs of features turned by the angles of their position."""
    *before, time, features = x.shape
    cos, sin = (_numbers(op, name, x).reshape(time, features // 2) for name in ("cosines", "sines"))
    pairs = x.reshape(*before, time, features // 2, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def _numbers(op: Op, name: str, x: Any) -> Any:
    return jnp.asarray(np.array(op.settings[name]), x.dtype)


# Lengths


@operation("valid", as_is=True)
def valid(op: Op, context: Context, x: Any, lengths: Any) -> Any:
    """The valid positions of x, (samples, time, features), their largest or their mean."""
    counts = np.arange(x.shape[1]) < lengths.reshape(-1, 1)
    if op.settings["takes"] == "all":
        return jnp.where(counts[..., None], x, 0)
    if op.settings["takes"] == "largest":
        y = largest_along(jnp.where(counts[..., None], x, -jnp.inf), 1)
        return jnp.where(counts.any(axis=1, keepdims=True), y, 0)
    shares = counts.astype(context.dtype) / jnp.maximum(counts.sum(axis=1, keepdims=True), 1).astype(context.dtype)
    return jnp.einsum("nt,ntj->nj", shares.astype(x.dtype), x)


@operation("zeros")
def zeros(op: Op, context: Context, x: Any) -> Any:
    """0, whatever the input."""
    return jnp.zeros((len(x), *context.shape(op.outputs[0])), x.dtype)


# The same numbers in another order


@operation("transpose", as_is=True)
def transpose(op: Op, context: Context, x: Any) -> Any:
    """The axes of a sample in another order."""
    return x.transpose(0, *(axis + 1 for axis in op.settings["axes"]))


@operation("slice", as_is=True)
def part(op: Op, context: Context, x: Any) -> Any:
    """The entries from `start` to `stop` along an axis."""
    own = op.settings
    return jax.lax.slice_in_dim(x, own["start"], own["stop"], axis=own["axis"] + 1)
