"""Is the gradient right? The chain rule's derivative of every parameter beside one measured by nudging it."""

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
"""By how much a parameter is nudged. A smooth loss is measured best with a large step, one with a kink nearby with a
small one.
"""


@dataclass(frozen=True)
class Check:
    """What a gradient check found.

    Attributes:
        worst: the name of the parameter whose two derivatives differ most
        analytic: its derivative by the chain rule
        numeric: its derivative by central differences
        error: their difference, relative to the larger of the two or, if it is larger, to the gradient's root mean
            square
        checked: how many parameters were compared
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
    **also: Any,
) -> Check:
    """Compare every parameter's gradient with central differences, in float64, and name the worst.

    The difference is taken at several step sizes, each with Richardson's extrapolation (1911); which is believed is
    decided without the gradient that is to be tested. `parameters` are by default a fresh draw of `seed`; `training`
    says whether dropout and batch statistics are on; `entries` checks only so many parameters of each array, drawn by
    `seed`. `also` goes to `differentiate`: sample_weight, penalties, statistics.
    """
    network = replace(network, dtype="float64")
    parameters = network.draw(seed) if parameters is None else parameters.astype(np.float64)
    also = {"context": Context(training=training, seed=seed), **also}
    gradient = differentiate(network, loss, parameters, x, y, **also).gradient
    places = _chosen(network, entries, seed)

    def along(place: int) -> Callable[[float], float]:
        def nudged(h: float) -> float:
            elsewhere = parameters.copy()
            elsewhere[place] += h
            return total_loss(network, loss, elsewhere, x, y, **also)

        return nudged

    numeric = np.array([central_difference(along(place)) for place in places])
    analytic = gradient[places]
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), float(np.sqrt(np.mean(gradient**2))))
    errors = np.abs(analytic - numeric) / np.where(scale > 0, scale, 1)
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    name = network.parameters.name_of(int(places[worst]))
    return Check(name, float(analytic[worst]), float(numeric[worst]), float(errors[worst]), len(places))


def central_difference(f: Callable[[float], float]) -> float:
    """The derivative at 0 of f, from its values on both sides.

    Large steps suffer from the curve, small ones from rounding, and any step from a kink within it. So it is measured
    with several, and the two neighbours that agree best are believed.
    """
    estimates = []
    for h in STEPS:
        wide, narrow = (f(h) - f(-h)) / (2 * h), (f(h / 2) - f(-h / 2)) / h
        estimates.append(narrow + (narrow - wide) / 3)  # Richardson: the error of h^2 cancels, one of h^4 is left
    return estimates[int(np.argmin(np.abs(np.diff(estimates)))) + 1]


def _chosen(network: Network, entries: int | None, seed: int) -> Array:
    """The places of the parameters to check."""
    if entries is None:
        return np.arange(network.parameters.size)
    chosen = []
    for entry in network.parameters.entries:
        order = generators.generator(seed, "check", entry.name).permutation(entry.size)
        chosen.append(entry.start + np.sort(order[:entries]))
    return np.concatenate(chosen) if chosen else np.arange(0)
