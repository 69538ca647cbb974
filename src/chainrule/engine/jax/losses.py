"""Losses as functions of JAX, each with the derivative of its definition (in `chainrule.losses`):
what JAX would derive differs at kinks, such as 0 of the hinge, and for vectors of length 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid, softplus

from chainrule import losses
from chainrule.arrays import Shape
from chainrule.engine.lowering.loss import LoweredLoss, lowered_loss

Rows = Callable[[Any, Any, Mapping[str, Any]], tuple[Any, Any]]
"""Of outputs z, (rows, outputs), and targets: the losses, (rows,), and the slopes, as z."""
Value = Callable[[Any, Any, Any, Callable[[Any], None]], Any]
"""The loss of prediction, target, weight (or None), and what notes whether the target is valid."""


def lower(loss: losses.Loss, output_shape: Shape, y_shape: Shape) -> Value:
    """The loss of a mini-batch, as `Loss.value` defines it, for targets of this shape (of one
    sample); raises NoKernel as `lowered_loss` does.
    """
    lowered, outputs = lowered_loss(loss, output_shape, y_shape), output_shape[-1]
    classes = loss.width(outputs) if lowered.name == "ordinal" else outputs
    if lowered.name == "focal":
        classes = max(classes, 2)
    of_rows = with_slopes(lambda z, t: LOSSES[lowered.name](z, t, lowered.settings))

    def value(prediction: Any, y: Any, weight: Any, require: Callable[[Any], None]) -> Any:
        z = prediction.reshape(-1, outputs)
        of_samples = of_rows(z, _target(lowered, classes, z, y, require)).reshape(prediction.shape[:-1])
        if len(output_shape) > 1:
            by_position = weight is not None and weight.ndim > 1
            shares = _shares(weight.astype(z.dtype)) if by_position else 1 / math.prod(output_shape[:-1])
            of_samples = (of_samples * shares).reshape(len(prediction), -1).sum(axis=1)
            weight = None if by_position else weight
        return jnp.mean(of_samples if weight is None else of_samples * weight.astype(z.dtype))

    return value


def with_slopes(rows: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
    """The losses of rows, with these slopes as their derivative."""

    @jax.custom_vjp
    def of_rows(z: Any, target: Any) -> Any:
        return rows(z, target)[0]

    of_rows.defvjp(rows, lambda slopes, arriving: (slopes * arriving[:, None], None))
    return of_rows


def _shares(weight: Any) -> Any:
    """The share that each position has in its sample's loss (see losses.base.position_shares)."""
    total = weight.reshape(len(weight), -1).sum(axis=1).reshape(-1, *(1,) * (weight.ndim - 1))
    return weight / jnp.where(total > 0, total, 1)


def _target(lowered: LoweredLoss, classes: int, z: Any, y: Any, require: Callable[[Any], None]) -> Any:
    """The target of each row: numbers, or of classes their probabilities."""
    if not lowered.classes:
        return y.reshape(len(z), -1).astype(z.dtype)
    numbers = y.reshape(len(z)).astype(jnp.int64)
    require(((numbers >= 0) & (numbers < classes)).all())
    return jax.nn.one_hot(numbers, classes, dtype=z.dtype)


# Losses of differences


def _of_outputs(values: Any, slopes: Any) -> tuple[Any, Any]:
    """The mean over a row's outputs, from the loss and the slope of each."""
    return values.mean(axis=1), slopes / values.shape[1]


def _squared(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    d = z - t
    return _of_outputs(d * d, 2 * d)


def _half_squares(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    d = z - t
    return (d * d).sum(axis=1) / 2, d


def _absolute(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    return _of_outputs(jnp.abs(z - t), jnp.sign(z - t))


def _huber(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    d, delta = z - t, s["delta"]
    size = jnp.abs(d)
    values = jnp.where(size <= delta, size * size / 2, delta * (size - delta / 2))
    return _of_outputs(values, jnp.clip(d, -delta, delta))


def _log_cosh(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    d = z - t
    return _of_outputs(jnp.logaddexp(d, -d) - math.log(2), jnp.tanh(d))


def _poisson(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    return _of_outputs(jnp.exp(z) - t * z, jnp.exp(z) - t)


def _cosine(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    tiny = np.finfo(z.dtype).tiny ** 0.25
    size, sizes = (jnp.maximum(jnp.sqrt((v * v).sum(axis=1, keepdims=True)), tiny) for v in (z, t))
    sizes = size * sizes
    cosine = (z * t).sum(axis=1, keepdims=True) / sizes
    return 1 - cosine[:, 0], z * cosine / size**2 - t / sizes


# Losses of distributions


def _pinball(d: Any, level: Any) -> tuple[Any, Any]:
    """The loss of a quantile that is above the target by d, and its slope."""
    return jnp.maximum(-level * d, (1 - level) * d), jnp.where(d > 0, 1 - level, jnp.where(d < 0, -level, 0))


def _quantile(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    values, slopes = _pinball(z - t, jnp.asarray(s["level"], z.dtype))
    return _of_outputs(values, slopes)


def _quantiles(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    levels = jnp.asarray(s["levels"], z.dtype)[:, None]
    steps = z.reshape(len(z), len(s["levels"]), -1)
    values, slopes = _pinball(_rungs(steps, s["base"], 1) - t[:, None], levels)
    slopes = _through_rungs(steps, s["base"], slopes, 1)
    return _of_outputs(values.reshape(z.shape), slopes.reshape(z.shape))


def _gaussian(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    d, spread, floor = z[:, : t.shape[1]] - t, z[:, t.shape[1] :], s["log_floor"]
    log_variance = jnp.logaddexp(spread, jnp.asarray(floor, z.dtype))
    precision = jnp.exp(-log_variance)
    values = (log_variance + d * d * precision + math.log(2 * math.pi)) / 2
    share = sigmoid(spread - floor)  # exp(s) / v
    slopes = [d * precision, share * (1 - d * d * precision) / 2]
    return values.mean(axis=1), jnp.concatenate(slopes, axis=1) / t.shape[1]


def _rungs(z: Any, base: int, direction: int) -> Any:
    """As losses.ladder.rungs."""
    heights, middle = direction * softplus(z), z[:, base : base + 1]
    below = jnp.cumsum(heights[:, :base][:, ::-1], axis=1)[:, ::-1]
    return jnp.concatenate([middle - below, middle, middle + jnp.cumsum(heights[:, base + 1 :], axis=1)], axis=1)


def _through_rungs(z: Any, base: int, slopes: Any, direction: int) -> Any:
    """As losses.ladder.through_rungs."""
    local, below = direction * sigmoid(z), jnp.cumsum(slopes, axis=1)
    above = jnp.cumsum(slopes[:, ::-1], axis=1)[:, ::-1]
    parts = [
        -local[:, :base] * below[:, :base],
        slopes.sum(axis=1, keepdims=True),
        local[:, base + 1 :] * above[:, base + 1 :],
    ]
    return jnp.concatenate(parts, axis=1)


# Losses of classes


def _weights(s: Mapping[str, Any], count: int, dtype: Any) -> Any:
    return jnp.asarray(s["class_weights"] or (1.0,) * count, dtype)


def _binary(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    t = t * (1 - s["smoothing"]) + s["smoothing"] / 2
    no, yes = _weights(s, 2 * z.shape[1], z.dtype).reshape(-1, 2).T
    no, yes = no * (1 - t), yes * t
    return _of_outputs(yes * softplus(-z) + no * softplus(z), no * sigmoid(z) - yes * sigmoid(-z))


def _categorical(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    t = t * (1 - s["smoothing"]) + s["smoothing"] / z.shape[1]
    weighted = _weights(s, z.shape[1], z.dtype) * t
    slopes = jax.nn.softmax(z) * weighted.sum(axis=1, keepdims=True) - weighted
    return -(weighted * jax.nn.log_softmax(z)).sum(axis=1), slopes


def _focal(z: Any, hot: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    width, focus = z.shape[1], s["focus"]
    z = jnp.concatenate([jnp.zeros_like(z), z], axis=1) if width == 1 else z
    log_p = (hot * jax.nn.log_softmax(z)).sum(axis=1)
    rest = jnp.maximum(-jnp.expm1(log_p), np.finfo(z.dtype).tiny)
    weight = (hot * _weights(s, z.shape[1], z.dtype)).sum(axis=1)
    slope = -(rest**focus)
    if focus:
        slope = slope + focus * jnp.exp(log_p) * rest ** (focus - 1) * log_p
    slopes = (weight * slope)[:, None] * (hot - jax.nn.softmax(z))
    return -weight * rest**focus * log_p, slopes[:, -width:]


def _hinge(z: Any, t: Any, s: Mapping[str, Any], squared: bool = False) -> tuple[Any, Any]:
    if z.shape[1] == 1:
        sign = 2 * t - 1
        short = jnp.maximum(0, 1 - sign * z)
    else:
        lead = (t * z).sum(axis=1, keepdims=True) - z
        short = jnp.maximum(0, 1 - lead) * (1 - t)
    slope = 2 * short if squared else (short > 0).astype(z.dtype)
    slopes = -sign * slope if z.shape[1] == 1 else slope - t * slope.sum(axis=1, keepdims=True)
    return (short * short if squared else short).sum(axis=1), slopes


def _squared_hinge(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    return _hinge(z, t, s, squared=True)


def _kullback_leibler(z: Any, t: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    return (jax.scipy.special.xlogy(t, t) - t * z).sum(axis=1), -t


def _ordinal(z: Any, hot: Any, s: Mapping[str, Any]) -> tuple[Any, Any]:
    base = (z.shape[1] - 1) // 2
    g, steps = _rungs(z, base, -1), jnp.delete(z, base, axis=1, assume_unique_indices=True)
    ends = ((0, 0), (1, 0)), ((0, 0), (0, 1)), ((0, 0), (1, 1))
    parts = (jnp.pad(softplus(v), pad) for v, pad in zip((-g, g, -steps), ends, strict=True))
    share = _weights(s, hot.shape[1], z.dtype) * hot
    slopes = _through_rungs(z, base, share[:, :-1] * sigmoid(g) - share[:, 1:] * sigmoid(-g), -1)
    of_steps = -share[:, 1:-1] * sigmoid(-steps)
    of_steps = jnp.concatenate([of_steps[:, :base], jnp.zeros_like(z[:, :1]), of_steps[:, base:]], axis=1)
    return (share * sum(parts)).sum(axis=1), slopes + of_steps


LOSSES: dict[str, Rows] = {
    "squared": _squared,
    "half_squares": _half_squares,
    "absolute": _absolute,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "poisson": _poisson,
    "cosine": _cosine,
    "quantile": _quantile,
    "quantiles": _quantiles,
    "gaussian": _gaussian,
    "binary": _binary,
    "categorical": _categorical,
    "focal": _focal,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "kullback_leibler": _kullback_leibler,
    "ordinal": _ordinal,
}
"""The losses, by their names in `lowering.loss.LOSSES`."""
