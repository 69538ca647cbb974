"""Scaled dot-product attention, with masks."""

from __future__ import annotations

import math

import numpy as np

from chainrule import layers
from chainrule.arrays import Array
from chainrule.interchange.values import Constant, UnsupportedError, Value, permuted, reshaped
from chainrule.interchange.wiring import Either, Wiring


def attention(
    w: Wiring,
    q: Value,
    k: Value,
    v: Value,
    mask: Either | None,
    causal: bool,
    scale: float | None,
    dropout: float = 0.0,
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
    scores = w.multiply(w.matmul(q, swapped), Constant(np.array(scale)))
    if mask is not None:
        is_bool = isinstance(mask, Constant) and mask.array.dtype == bool
        mask = Constant(np.where(mask.array, 0.0, -1e30)) if is_bool else mask  # type: ignore[union-attr]
        scores = w.add(scores, mask)
    return w.matmul(w.softmax(scores, -1), v)


def is_causal(mask: Array, queries: int) -> bool:
    """Whether a mask hides exactly the positions after a query's own."""
    if mask.shape[-2:] != (queries, queries) or queries < 2:
        return False
    seen = np.tril(np.ones((queries, queries), bool))
    flat = mask.reshape(-1, queries, queries)
    if mask.dtype == bool:
        return bool((flat == seen).all())
    return bool(((flat == 0) == seen).all() and (flat[:, ~seen] <= -1e4).all())
