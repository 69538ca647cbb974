"""Special functions of SciPy, imported at their first use: the import takes half of chainrule's."""

from __future__ import annotations

from typing import Any

from chainrule.arrays import Array


def erf(z: Array) -> Any:
    """The error function."""
    from scipy import special

    return special.erf(z)


def expit(z: Array) -> Any:
    """The logistic sigmoid 1 / (1 + exp(-z)), without overflow."""
    from scipy import special

    return special.expit(z)


def xlogy(x: Array, y: Array) -> Any:
    """x log y, and 0 where x is 0."""
    from scipy import special

    return special.xlogy(x, y)


def ndtri(level: Array) -> Any:
    """The quantiles of the standard normal distribution at these levels."""
    from scipy import special

    return special.ndtri(level)
