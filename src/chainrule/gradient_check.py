"""Gradient check: every parameter's derivative by the chain rule against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule import generators
from chainrule.arrays import Array, Vector
from chainrule.backprop import differentiate, total_loss
from chainrule.layers.base import Context
from chainrule.losses import Loss
from chainrule.network import Network

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""The step sizes. A large step is best where the loss is smooth, a small one near a kink."""


@dataclass(frozen=True)
class Check:
    """The result of a gradient check.

    Attributes:
        worst: the name of the weight with the largest error
        analytic: its derivative by the chain rule
        numeric: its derivative by central differences
        error: their difference, relative to the largest of the two and the gradient's root mean
            square
        checked: the number of weights compared
    """

    worst: str
    analytic: float
    numeric: float
    error: float
    checked: int


def check_gradient(
    network: Network,
    loss: Loss,
    x: Array,
    y: Array,
    *,
    parameters: Vector | None = None,
    seed: int = 0,
    training: bool = True,
    entries: int | None = None,
    **settings: Any,
) -> Check:
    """Compare the gradient with central differences in float64, and report the largest error.

    Each difference is taken at several step sizes with Richardson extrapolation (1911); the choice
    between them does not use the gradient being tested.

    Args:
        network: the network
        loss: the loss
        x: (samples, *input_shape) the inputs
        y: the targets
        parameters: the flat vector of parameters; by default a draw from `seed`
        seed: the seed of the parameters, of dropout, and of the choice of entries
        training: whether dropout is on and normalization uses batch statistics
        entries: the number of weights to check in each array, chosen at random; by default all
        settings: passed on to `differentiate`: sample_weight, penalties, statistics
    """
    network = replace(network, dtype="float64")
    parameters = network.draw(seed) if parameters is None else parameters.astype(np.float64)
    settings = {"context": Context(training=training, seed=seed), **settings}
    gradient = differentiate(network, loss, parameters, x, y, **settings).gradient
    places = _places(network, entries, seed)

    def along(place: int) -> Callable[[float], float]:
        def shifted_loss(h: float) -> float:
            shifted = parameters.copy()
            shifted[place] += h
            return total_loss(network, loss, shifted, x, y, **settings)

        return shifted_loss

    numeric = np.array([central_difference(along(place)) for place in places])
    analytic = gradient[places]
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), float(np.sqrt(np.mean(gradient**2))))
    errors = np.abs(analytic - numeric) / np.where(scale > 0, scale, 1)
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    name = network.parameters.name_of(int(places[worst]))
    return Check(name, float(analytic[worst]), float(numeric[worst]), float(errors[worst]), len(places))


def central_difference(f: Callable[[float], float]) -> float:
    """The derivative of f at 0 by central differences.

    Large steps suffer from truncation error, small ones from rounding, and any step from a kink
    within it. So it is estimated at several step sizes, and the neighbouring pair of estimates
    that agree best is trusted.
    """
    estimates = []
    for h in STEPS:
        wide, narrow = (f(h) - f(-h)) / (2 * h), (f(h / 2) - f(-h / 2)) / h
        estimates.append(narrow + (narrow - wide) / 3)  # Richardson: the h^2 error cancels
    return estimates[int(np.argmin(np.abs(np.diff(estimates)))) + 1]


def _places(network: Network, entries: int | None, seed: int) -> Array:
    """The indices of the weights to check."""
    if entries is None:
        return np.arange(network.parameters.size)
    places = [np.arange(0)]
    for entry in network.parameters.entries:
        order = generators.generator(seed, "check", entry.name).permutation(entry.size)
        places.append(entry.start + np.sort(order[:entries]))
    return np.concatenate(places)
