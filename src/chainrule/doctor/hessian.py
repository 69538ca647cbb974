"""The largest eigenvalue of the loss's second derivatives, by power iteration.

A product of the Hessian H with a vector v takes no second derivatives: (g(w + e v) - g(w - e v)) /
(2 e), a difference of two gradients in float64, is off by O(e^2) and rounding (Pearlmutter, 1994,
compares it with the exact product; for piecewise linear activations both agree away from kinks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import differentiate
from chainrule.engine import Position, Problem
from chainrule.generators import generator
from chainrule.layers.base import Context

NUDGE = 1e-4
"""The length of the difference, relative to that of the weights."""


@dataclass(frozen=True)
class Eigenvalue:
    """A largest eigenvalue.

    Attributes:
        value: the eigenvalue; it may be negative
        residual: the length of H v - value v, v being of length 1, relative to the value
        products: the number of products with H
    """

    value: float
    residual: float
    products: int


def hessian_product(problem: Problem, at: Position, samples: Samples) -> Callable[[Vector], Vector]:
    """What multiplies a vector by the Hessian of the loss, with penalties, of these samples.

    The network is evaluated as in training, but without dropout: normalizations use the statistics
    of these samples.

    Examples:
        >>> from chainrule.layers import Dense
        >>> from chainrule.losses import HalfSquares
        >>> from chainrule.descent.optimizers import sgd
        >>> from chainrule.network import Network
        >>> problem = Problem(Network([Dense(1, bias=False)], 1), HalfSquares(), sgd())
        >>> at = Position(0, np.array([0.5]), np.empty(0), ({},))
        >>> product = hessian_product(problem, at, Samples(np.array([[3.0]]), np.array([[1.0]])))
        >>> product(np.array([1.0])).round(6)  # the loss is (3 w - 1)^2 / 2
        array([9.])
    """
    network = replace(problem.network, dtype="float64")
    exact = replace(problem, network=network)
    w, statistics = at.parameters.astype(np.float64), at.statistics.astype(np.float64)
    x = problem.network.fit_input(np.asarray(samples.x))
    samples = samples._replace(x=x)

    def gradient(parameters: Vector) -> Vector:
        with np.errstate(all="ignore"):
            return differentiate(
                network, exact.loss, parameters, samples.x, samples.y, statistics=statistics,
                sample_weight=samples.weight, penalties=exact.penalties, context=Context(training=True, dropout=False),
            ).gradient  # fmt: skip

    scale = NUDGE * max(float(np.linalg.norm(w)), 1.0)

    def product(v: Vector) -> Vector:
        length = float(np.linalg.norm(v))
        if length == 0:
            return np.zeros_like(w)
        step = v * (scale / length)
        return (gradient(w + step) - gradient(w - step)) * (length / (2 * scale))

    return product


def largest_eigenvalue(
    product: Callable[[Vector], Vector], size: int, most: int = 30, tolerance: float = 0.05, root: Array | float = 1.0
) -> Eigenvalue:
    """The eigenvalue of largest magnitude of D^(1/2) H D^(1/2), by power iteration.

    Args:
        product: multiplies a vector by H
        size: the length of the vectors
        most: the most products
        tolerance: the relative residual at which it ends
        root: (size,) the square roots of the diagonal matrix D; by default D is the identity

    Examples:
        >>> h = np.diag([1.0, 4.0, 9.0])
        >>> round(largest_eigenvalue(lambda v: h @ v, 3, tolerance=1e-6).value, 6)
        9.0
    """
    v: Vector = generator(0, "power iteration").normal(size=size)
    v /= np.linalg.norm(v)
    value, residual = 0.0, np.inf
    for count in range(1, most + 1):
        hv = root * product(root * v)
        value = float(v @ hv)
        length = float(np.linalg.norm(hv))
        if not np.isfinite(length) or length == 0:
            return Eigenvalue(value, 0.0 if length == 0 else np.inf, count)
        residual = float(np.linalg.norm(hv - value * v)) / max(abs(value), 1e-300)
        if residual < tolerance:
            break
        v = hv / length
    return Eigenvalue(value, residual, count)
