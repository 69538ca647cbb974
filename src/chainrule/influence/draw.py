"""The draw of a weight: from which distribution, and where in its density."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array
from chainrule.network import Network

POINTS = 81
"""The points of a density that are listed."""
TAIL = 0.002
"""The probability beyond each end of them."""


@dataclass(frozen=True)
class Draw:
    """Where a weight began.

    Attributes:
        value: what was drawn
        distribution: the distribution, in words
        density: the density at the value; of a discrete distribution the probability; None if
            there was no chance in it, or its density is not known
        quantile: the probability of a smaller value or the same; None likewise
        at, heights: the density at some points, to draw it; empty where there is none
    """

    value: float
    distribution: str
    density: float | None = None
    quantile: float | None = None
    at: Array = field(default_factory=lambda: np.empty(0))
    heights: Array = field(default_factory=lambda: np.empty(0))

    @property
    def words(self) -> str:
        """The draw in a sentence."""
        if self.quantile is None or self.density is None:
            return f"set to {self.value:.6g} ({self.distribution})"
        return (
            f"drawn from {self.distribution}: {self.value:.6g}, where the density is {self.density:.4g};"
            f" {100 * self.quantile:.1f} % of draws are below"
        )

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "distribution": self.distribution,
            "density": self.density,
            "quantile": self.quantile,
            "curve": {"at": self.at.tolist(), "density": self.heights.tolist()},
        }


def draw_of(network: Network, place: int, value: float, seed: int | None = None) -> Draw:
    """The draw of the weight at this place of the flat vector.

    Args:
        network: the network
        place: where the weight is
        value: its value before the first step
        seed: what the weights were drawn by; if that gives another value, the weight was set
    """
    entry = network.parameters.entry_at(place)
    parameter = network.graph.owners[entry.owner].built.parameters[entry.own_name]
    distribution = parameter.distribution or distributions.glorot_uniform()
    if seed is not None and float(network.draw(seed)[place]) != value:
        return Draw(value, "it was not drawn by this run")
    frozen: Any = distribution.of_entry(parameter.shape, parameter.fans)
    if frozen is None or (not distribution.independent and value == 0):
        return Draw(value, distribution.words)
    is_discrete = not hasattr(frozen.dist, "pdf")
    density = frozen.pmf if is_discrete else frozen.pdf
    ends = np.asarray(frozen.ppf([TAIL, 1 - TAIL]), dtype=float)
    low, high = (float(end) for end in ends) if np.isfinite(ends).all() else (value, value)
    low, high = min(low, value), max(high, value)
    at = np.linspace(low, high, POINTS)
    if is_discrete:  # only whole numbers have a probability
        at = np.unique(np.round(at))
    below = float(frozen.cdf(value))
    return Draw(value, distribution.words, float(density(value)), below, at, np.asarray(density(at), dtype=float))
