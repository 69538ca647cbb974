"""Gradient check: every parameter's derivative by the chain rule against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule import generators
from chainrule.arrays import Array, Vector
from chainrule.backprop import differentiate, total_loss
from chainrule.layers.base import Context
from chainrule.losses import Loss
from chainrule.network import Network

STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""The step sizes. A large step is best where the loss is smooth, a small one near a kink."""
NOISE = 100 * float(np.finfo(np.float64).eps)
"""The rounding error of a loss in float64, relative to it: more than most have."""


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


def central_difference(f: Callable[[float], float], each: Callable[..., Iterable[float]] = map) -> float:
    """The derivative of f at 0 by central differences; `each` applies f to several numbers.

    Large steps suffer from truncation error, small ones from rounding, and any step from a kink
    within it. So it is estimated at several step sizes, and of the neighbouring pair of estimates
    that agree best the one of the smaller step is trusted. Once two differ by more than others did
    and than rounding explains, a kink or truncation shows, and larger steps would be no better.
    """
    estimates, apart = list[float](), list[float]()
    for h in STEPS:
        high, low, higher, lower = each(f, (h, -h, h / 2, -h / 2))
        wide, narrow = (high - low) / (2 * h), (higher - lower) / h
        estimates.append(narrow + (narrow - wide) / 3)  # Richardson: the h^2 error cancels
        if len(estimates) == 1:
            continue
        apart.append(abs(estimates[-1] - estimates[-2]))
        if apart[-1] > max(min(apart), NOISE * abs(high) / h):
            break
    return estimates[int(np.argmin(apart))]


def _places(network: Network, entries: int | None, seed: int) -> Array:
    """The indices of the weights to check."""
    if entries is None:
        return np.arange(network.parameters.size)
    places = [np.arange(0)]
    for entry in network.parameters.entries:
        order = generators.generator(seed, "check", entry.name).permutation(entry.size)
        places.append(entry.start + np.sort(order[:entries]))
    return np.concatenate(places)
