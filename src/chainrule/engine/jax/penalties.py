"""Penalties as functions of JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from chainrule.engine.jax.vectors import Arrays
from chainrule.engine.lowering import NoKernel
from chainrule.layout import Layout
from chainrule.losses import Penalty


def lower(penalties: Sequence[Penalty], layout: Layout) -> Callable[[Arrays], tuple[Any, Arrays]]:
    """The sum of the penalties, and its gradient with respect to the arrays that have any, of the
    arrays of the parameters; raises NoKernel for a user's penalty.
    """
    for penalty in penalties:
        if type(penalty) is not Penalty:
            raise NoKernel(type(penalty).__name__)
    on = [[entry.start for entry in layout.matching(penalty.on)] for penalty in penalties]

    def value(parameters: Arrays) -> tuple[Any, Arrays]:
        total, gradient = 0.0, dict[int, Any]()
        for penalty, starts in zip(penalties, on, strict=True):
            for k in starts:
                weights = parameters[k]
                total += penalty.l1 * jnp.abs(weights).sum() + penalty.l2 / 2 * (weights * weights).sum()
                slope = penalty.l1 * jnp.sign(weights) + penalty.l2 * weights
                gradient[k] = gradient[k] + slope if k in gradient else slope
        return total, gradient

    return value
