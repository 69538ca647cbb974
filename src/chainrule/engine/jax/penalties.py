"""Penalties as functions of JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from chainrule.engine.lowering import NoKernel
from chainrule.layout import Layout
from chainrule.losses import Penalty


def lower(penalties: Sequence[Penalty], layout: Layout) -> Callable[[Any], tuple[Any, Any]]:
    """The sum of the penalties, and its gradient, of the flat parameters; raises NoKernel for a
    user's penalty.
    """
    masks = []
    for penalty in penalties:
        if type(penalty) is not Penalty:
            raise NoKernel(type(penalty).__name__)
        mask = np.zeros(layout.size, np.bool_)
        for entry in layout.matching(penalty.on):
            mask[entry.place] = True
        masks.append(mask)

    def value(parameters: Any) -> tuple[Any, Any]:
        total, gradient = jnp.zeros((), parameters.dtype), jnp.zeros_like(parameters)
        for penalty, mask in zip(penalties, masks, strict=True):
            weights = jnp.where(mask, parameters, 0)
            total += penalty.l1 * jnp.abs(weights).sum() + penalty.l2 / 2 * (weights * weights).sum()
            gradient += penalty.l1 * jnp.sign(weights) + penalty.l2 * weights
        return total, gradient

    return value
