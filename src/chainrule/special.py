"""Special functions. Those of SciPy are imported at their first use: that takes longer than all of
chainrule, and most networks need none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Array


def erf(z: Array) -> Any:
    """The error function."""
    from scipy import special

    return special.erf(z)


def expit(z: Array) -> Any:
    """The logistic sigmoid 1 / (1 + exp(-z)), without overflow."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, small) / (1 + small)


def xlogy(x: Array, y: Array) -> Any:
    """x log y, and 0 where x is 0."""
    return x * np.log(np.where(x == 0, 1, y))


def ndtri(level: Array) -> Any:
    """The quantiles of the standard normal distribution at these levels."""
    from scipy import special

    return special.ndtri(level)
