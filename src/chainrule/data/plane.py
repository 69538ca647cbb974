"""The plane's classics: two numbers a sample, so that what a network does can be drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.arrays import Array
from chainrule.data.source import Source
from chainrule.errors import require
from chainrule.generators import generator

Points = tuple[Array, Array]


def _halves(samples: int) -> tuple[int, int]:
    return samples // 2, samples - samples // 2


def spirals(random: np.random.Generator, samples: int) -> Points:
    """Two arms that wind around each other one and three quarters times."""
    parts, labels = [], []
    for label, count in enumerate(_halves(samples)):
        share = np.sqrt(random.uniform(0.01, 1, count))  # the root spreads the points evenly along the arm
        angle = 3.5 * np.pi * share + np.pi * label
        parts.append(np.column_stack([share * np.cos(angle), share * np.sin(angle)]))
        labels.append(np.full(count, label))
    return np.concatenate(parts), np.concatenate(labels)


def circles(random: np.random.Generator, samples: int) -> Points:
    """A ring inside a ring."""
    label = np.arange(samples) % 2
    angle = random.uniform(0, 2 * np.pi, samples)
    radius = np.where(label == 1, 0.4, 0.9)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), label


def moons(random: np.random.Generator, samples: int) -> Points:
    """Two half circles that reach into each other."""
    label = np.arange(samples) % 2
    angle = random.uniform(0, np.pi, samples)
    upper = np.column_stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25])
    return np.where(label[:, None] == 1, -upper, upper) * 0.7, label


def xor(random: np.random.Generator, samples: int) -> Points:
    """The class is whether the two numbers have the same sign: no straight line can tell."""
    x = random.uniform(-1, 1, (samples, 2))
    x += 0.1 * np.sign(x)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def gaussians(random: np.random.Generator, samples: int) -> Points:
    """Two round clouds."""
    label = np.arange(samples) % 2
    centre = np.where(label[:, None] == 1, 0.5, -0.5)
    return centre + random.normal(0, 0.2, (samples, 2)), label


def sine(random: np.random.Generator, samples: int) -> Points:
    """A number to predict: sin(3 a) * cos(2 b) of the two numbers a and b."""
    x = random.uniform(-1, 1, (samples, 2))
    return x, np.sin(3 * x[:, 0]) * np.cos(2 * x[:, 1])


NAMED: dict[str, Callable[[np.random.Generator, int], Points]] = {
    f.__name__: f for f in (spirals, circles, moons, xor, gaussians, sine)
}


def plane(name: str, samples: int = 1000, noise: float = 0.02, seed: int = 0) -> Source:
    """One of the plane's sets, of so many samples, each moved by a normal draw of deviation `noise`.

    Examples:
        >>> plane("moons", samples=10).features.shape
        (10, 2)
    """
    require(samples >= 2, f"{name}: {samples} samples; it takes at least 2")
    require(noise >= 0, f"{name}: the noise is {noise}; it can't be negative")
    random = generator(seed, "plane", name)
    x, y = NAMED[name](random, samples)
    x = x + random.normal(0, noise, x.shape)
    if name == "sine":
        return Source(name, x, y, "z", "regression")
    return Source(name, x, y, "class", "classification")
