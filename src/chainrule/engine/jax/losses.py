"""Losses as functions of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from chainrule import losses
from chainrule.arrays import Shape
from chainrule.engine.lowering import NoKernel


def lower(loss: losses.Loss, output_shape: Shape, y_shape: Shape) -> Callable[..., Any]:
    """The loss as a function of prediction, target, weight and `require`."""
    if type(loss) is not losses.MeanSquaredError or output_shape != y_shape:
        raise NoKernel(type(loss).__name__)

    def value(prediction: Any, y: Any, weight: Any, require: Callable[[Any], None]) -> Any:
        of_samples = jnp.square(prediction - y).reshape(len(y), -1).mean(axis=1)
        return jnp.mean(of_samples if weight is None else of_samples * weight)

    return value
