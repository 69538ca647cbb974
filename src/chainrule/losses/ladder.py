"""Numbers that can't cross: one output is free, and the others lie softplus steps away from it.

Outputs of a network are any numbers. Quantiles and thresholds must be in order, so they are built
as a ladder: the output z at the base is itself a rung, and each of the others is the height,
ln(1 + exp z), of the step to the next rung away from the base. Steps are never negative, and
rounding keeps order, so rungs never cross, whatever the network outputs.
"""

from __future__ import annotations

import numpy as np

from chainrule.arrays import Array
from chainrule.special import expit


def softplus(z: Array) -> Array:
    """ln(1 + exp z), without overflow."""
    return np.logaddexp(z.dtype.type(0), z)


def rungs(z: Array, base: int, direction: int = 1) -> Array:
    """The rungs, in order.

    Args:
        z: (samples, rungs, ...) outputs: the rung at `base`, otherwise what the heights come from
        base: the number of the free rung
        direction: 1 for rungs that ascend along axis 1, -1 for rungs that descend
    """
    heights, middle = direction * softplus(z), z[:, base : base + 1]
    below = np.cumsum(heights[:, :base][:, ::-1], axis=1)[:, ::-1]
    above = np.cumsum(heights[:, base + 1 :], axis=1)
    return np.concatenate([middle - below, middle, middle + above], axis=1)


def through_rungs(z: Array, base: int, slopes: Array, direction: int = 1) -> Array:
    """The derivatives with respect to z, from those with respect to the rungs.

    The base moves every rung by as much as itself. A height moves all rungs beyond it, away from
    the base; its own derivative is sigmoid z.
    """
    local = direction * expit(z)
    below = np.cumsum(slopes, axis=1)
    above = np.cumsum(slopes[:, ::-1], axis=1)[:, ::-1]
    parts = [
        -local[:, :base] * below[:, :base],
        slopes.sum(axis=1, keepdims=True),
        local[:, base + 1 :] * above[:, base + 1 :],
    ]
    return np.concatenate(parts, axis=1)
