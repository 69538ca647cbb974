"""Normalizations, with the arrays that foreign networks may leave out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.interchange import windowed
from chainrule.interchange.values import Constant, Value, axis_of, reshaped
from chainrule.interchange.wiring import Wiring


def batch_norm(
    w: Wiring, x: Value, scale: Constant | None, offset: Constant | None, mean: Constant, variance: Constant,
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
    layer = w.layer(lambda own: layers.BatchNorm(momentum, epsilon, name=own), weights, name)
    return Value(x.shape, layer(x.arranged(axes)), axes)


def layer_norm(
    w: Wiring, x: Value, axes: Sequence[int], scale: Constant | None, offset: Constant | None, epsilon: float,
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
    layer = w.layer(lambda name: kind(epsilon, name=name), weights, "" if scale is None else scale.name)
    return reshaped(Value(flat.shape, layer(y), own), x.shape)


def group_norm(
    w: Wiring, x: Value, groups: int, scale: Constant | None, offset: Constant | None, epsilon: float
) -> Value:
    """Normalization of each sample over positions and a group of channels."""
    n = x.shape[1]
    weights = {
        "scale": np.ones(n, np.float32) if scale is None else scale.array,
        "offset": np.zeros(n, np.float32) if offset is None else offset.array,
    }
    y, axes = windowed.spatial(x)
    name = "" if scale is None else scale.name
    layer = w.layer(lambda own: layers.GroupNorm(groups, epsilon, name=own), weights, name)
    return windowed.positions(x, layer(y), axes)
