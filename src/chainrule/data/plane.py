"""Classic toy data sets in the plane: two features, so that a network's output can be drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.arrays import Array
from chainrule.data.source import Source
from chainrule.errors import require
from chainrule.generators import generator

Points = tuple[Array, Array]


def spirals(random: np.random.Generator, samples: int) -> Points:
    """Two interleaved spirals of one and three quarter turns."""
    label = np.repeat([0, 1], [samples // 2, samples - samples // 2])
    radius = np.sqrt(random.uniform(0.01, 1, samples))  # evenly spaced along the arm
    angle = 3.5 * np.pi * radius + np.pi * label
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), label


def circles(random: np.random.Generator, samples: int) -> Points:
    """Two concentric circles."""
    label = np.arange(samples) % 2
    angle = random.uniform(0, 2 * np.pi, samples)
    radius = np.where(label == 1, 0.4, 0.9)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), label


def moons(random: np.random.Generator, samples: int) -> Points:
    """Two interleaving half circles."""
    label = np.arange(samples) % 2
    angle = random.uniform(0, np.pi, samples)
    upper = np.column_stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25])
    return np.where(label[:, None] == 1, -upper, upper) * 0.7, label


def xor(random: np.random.Generator, samples: int) -> Points:
    """The class is whether both features have the same sign (not linearly separable)."""
    x = random.uniform(-1, 1, (samples, 2))
    x += 0.1 * np.sign(x)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def gaussians(random: np.random.Generator, samples: int) -> Points:
    """Two Gaussian clusters."""
    label = np.arange(samples) % 2
    centre = np.where(label[:, None] == 1, 0.5, -0.5)
    return centre + random.normal(0, 0.2, (samples, 2)), label


def sine(random: np.random.Generator, samples: int) -> Points:
    """A regression target, sin(3 a) * cos(2 b) of the features a and b."""
    x = random.uniform(-1, 1, (samples, 2))
    return x, np.sin(3 * x[:, 0]) * np.cos(2 * x[:, 1])


def diagonal(random: np.random.Generator, samples: int) -> Points:
    """A linear regression target on points near a diagonal: two features that nearly agree."""
    along, across = random.uniform(-1, 1, (2, samples))
    return np.column_stack([along + 0.1 * across, along - 0.1 * across]), along + across


NAMED: dict[str, Callable[[np.random.Generator, int], Points]] = {
    f.__name__: f for f in (spirals, circles, moons, xor, gaussians, sine, diagonal)
}


def plane(name: str, samples: int = 1000, noise: float = 0.02, seed: int = 0) -> Source:
    """A toy data set in the plane.

    Args:
        name: one of `NAMED`, such as "moons"
        samples: number of samples, at least 2
        noise: standard deviation of the Gaussian noise added to the features
        seed: seed of points and noise

    Examples:
        >>> plane("moons", samples=10).features.shape
        (10, 2)
    """
    require(samples >= 2, f"{name}: {samples} samples; at least 2 are needed")
    require(noise >= 0, f"{name}: the noise is {noise}; it can't be negative")
    random = generator(seed, "plane", name)
    x, y = NAMED[name](random, samples)
    x = x + random.normal(0, noise, x.shape)
    target, task = ("z", "regression") if y.dtype.kind == "f" else ("class", "classification")
    return Source(name, x, y, target, task)
