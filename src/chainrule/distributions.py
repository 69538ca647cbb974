r"""The probability distributions that weights are drawn from.

A distribution is a frozen dataclass with one method, `draw(generator, shape, fans)`, where `fans` is (fan_in,
fan_out): how many inputs feed one unit, and how many units one input feeds. Scaled by them, a signal keeps its size
from layer to layer.

Examples:
    >>> from chainrule.generators import generator
    >>> Normal(0, 0.1).draw(generator(0), (2, 3), (2, 3)).shape
    (2, 3)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import notation
from chainrule.arrays import Array, Shape
from chainrule.errors import SettingError, require, unknown
from chainrule.kinds import Kind, Named, named

Fans = tuple[int, int]


FUNCTIONS = Named()
"""Settings of distributions that have names of their own."""


class Distribution(Kind, register=False):
    """What weights are drawn from."""

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        """Draw an array of this shape, in float64."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Distribution):
    """Every weight is `value`. (For biases: equal weights in a layer stay equal, and its units never learn different
    things.)
    """

    notation = "constant"

    value: float

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return np.full(shape, float(self.value))


ZEROS = Constant(0.0)
"""What biases start from."""


@FUNCTIONS
def zeros() -> Constant:
    """Every weight is 0."""
    return Constant(0.0)


@FUNCTIONS
def ones() -> Constant:
    """Every weight is 1."""
    return Constant(1.0)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Every value between `low` and `high` is equally likely."""

    notation = "uniform"

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        require(self.low <= self.high, f"uniform: low ({self.low}) is above high ({self.high}); swap them")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return generator.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Normal(Distribution):
    """The normal distribution with this mean and standard deviation."""

    notation = "normal"

    mean: float = 0.0
    deviation: float = 0.05

    def __post_init__(self) -> None:
        require(self.deviation >= 0, f"normal: the deviation is {self.deviation}; it can't be negative")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return generator.normal(self.mean, self.deviation, shape)


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """A normal distribution cut off at `bound` of its deviations from the mean.

    `deviation` is that of the normal before the cut; after a cut at 2 it is 0.8796 of it.
    """

    notation = "truncated_normal"

    mean: float = 0.0
    deviation: float = 0.05
    bound: float = 2.0

    def __post_init__(self) -> None:
        require(self.deviation >= 0, f"truncated normal: the deviation is {self.deviation}; it can't be negative")
        require(self.bound > 0, f"truncated normal: the bound is {self.bound}; it must be positive")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        from scipy.special import ndtr, ndtri

        # The inverse of the cumulative distribution, on the part of (0, 1) that lies between the bounds.
        probability = generator.uniform(ndtr(-self.bound), ndtr(self.bound), shape)
        return np.asarray(self.mean + self.deviation * ndtri(probability))


@dataclass(frozen=True)
class VarianceScaling(Distribution):
    """Mean 0 and variance scale / fan, so that a layer's outputs are about as large as its inputs.

    `fan` is "in", "out" or "average" of the two; `kind` is "normal", "uniform" or "truncated". The named ones below
    are settings of it.
    """

    notation = "variance_scaling"

    scale: float = 1.0
    fan: str = "in"
    kind: str = "normal"

    def __post_init__(self) -> None:
        require(self.scale > 0, f"variance scaling: the scale is {self.scale}; it must be positive")
        if self.fan not in ("in", "out", "average"):
            raise unknown("fan", self.fan, ("in", "out", "average"))
        if self.kind not in ("normal", "uniform", "truncated"):
            raise unknown("kind of variance scaling", self.kind, ("normal", "uniform", "truncated"))

    def deviation(self, fans: Fans) -> float:
        """The standard deviation of a weight drawn for these fans."""
        fan = {"in": fans[0], "out": fans[1], "average": (fans[0] + fans[1]) / 2}[self.fan]
        return math.sqrt(self.scale / max(fan, 1))

    def scaled(self, fans: Fans) -> Distribution:
        """What it is for these fans: uniform, normal or truncated normal."""
        deviation = self.deviation(fans)
        if self.kind == "uniform":
            limit = math.sqrt(3) * deviation  # a uniform variable on (-l, l) has variance l^2 / 3
            return Uniform(-limit, limit)
        if self.kind == "truncated":
            return TruncatedNormal(0, deviation / 0.87962566103423978)
        return Normal(0, deviation)

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return self.scaled(fans).draw(generator, shape, fans)


@FUNCTIONS
def glorot_uniform() -> VarianceScaling:
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return VarianceScaling(1.0, "average", "uniform")


@FUNCTIONS
def glorot_normal() -> VarianceScaling:
    """Normal with variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return VarianceScaling(1.0, "average", "normal")


@FUNCTIONS
def he_uniform() -> VarianceScaling:
    """Uniform with variance 2 / fan_in, for the ReLU family (He et al., 2015)."""
    return VarianceScaling(2.0, "in", "uniform")


@FUNCTIONS
def he_normal() -> VarianceScaling:
    """Normal with variance 2 / fan_in, for the ReLU family (He et al., 2015)."""
    return VarianceScaling(2.0, "in", "normal")


@FUNCTIONS
def lecun_uniform() -> VarianceScaling:
    """Uniform with variance 1 / fan_in (LeCun et al., 1998)."""
    return VarianceScaling(1.0, "in", "uniform")


@FUNCTIONS
def lecun_normal() -> VarianceScaling:
    """Normal with variance 1 / fan_in (LeCun et al., 1998), for SELU (Klambauer et al., 2017)."""
    return VarianceScaling(1.0, "in", "normal")


def _matrix_shape(kind: str, shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise SettingError(
            f"{kind}: draws matrices only, not the shape {shape}; choose another distribution for this parameter"
        )
    return shape[0], shape[1]


@dataclass(frozen=True)
class Orthogonal(Distribution):
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al., 2014)."""

    notation = "orthogonal"

    gain: float = 1.0

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        rows, columns = _matrix_shape("orthogonal", shape)
        q, r = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diagonal(r))  # without this the draw would not be uniform over the orthogonal matrices
        return np.asarray(self.gain * (q if rows >= columns else q.T))


@dataclass(frozen=True)
class Identity(Distribution):
    """`gain` on the diagonal, 0 elsewhere: at first the layer hands its input on."""

    notation = "identity"

    gain: float = 1.0

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return self.gain * np.eye(*_matrix_shape("identity", shape))


@dataclass(frozen=True)
class Sparse(Distribution):
    """Normal, but in each column a share of `sparsity` of the weights is 0: each unit sees a few of the inputs
    (Martens, 2010).
    """

    notation = "sparse"

    sparsity: float = 0.9
    deviation: float = 0.01

    def __post_init__(self) -> None:
        require(0 <= self.sparsity <= 1, f"sparse: the sparsity is {self.sparsity}; it is a share between 0 and 1")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        rows, columns = _matrix_shape("sparse", shape)
        weights = generator.normal(0, self.deviation, shape)
        silent = math.floor(self.sparsity * rows)
        for column in range(columns):
            weights[generator.permutation(rows)[:silent], column] = 0
        return weights


@dataclass(frozen=True)
class Scipy(Distribution):
    """Any distribution of scipy.stats, by its name and arguments.

    Examples:
        >>> from scipy import stats
        >>> of(stats.laplace(0, 0.1))
        Scipy(distribution='laplace', arguments=(0, 0.1), keywords=())
    """

    distribution: str
    arguments: tuple[float, ...] = ()
    keywords: tuple[tuple[str, float], ...] = ()

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        from scipy import stats

        family = getattr(stats, self.distribution, None)
        if not isinstance(family, stats.rv_continuous | stats.rv_discrete):
            raise SettingError(f"scipy.stats has no distribution {self.distribution!r}; its documentation lists them")
        drawn = family(*self.arguments, **dict(self.keywords)).rvs(size=shape, random_state=generator)
        return np.asarray(drawn, dtype=np.float64)


NAMED: dict[str, Callable[..., Distribution]] = named(Distribution) | FUNCTIONS
"""Every distribution that a text can name."""


def of(what: Any) -> Distribution:
    """The distribution that is meant: one of ours, a text such as "normal 0 0.5", a number (a constant),
    or a frozen distribution of scipy.stats.
    """
    if isinstance(what, Distribution):
        return what
    if isinstance(what, int | float):
        return Constant(float(what))
    if isinstance(what, str):
        value = notation.as_number(what.strip())
        if value is not None:
            return of(value)
        return notation.make("distribution", notation.parse("distribution", what), NAMED)
    frozen = getattr(what, "dist", None)
    if frozen is not None and hasattr(what, "kwds"):
        return Scipy(frozen.name, tuple(what.args), tuple(sorted(what.kwds.items())))
    raise SettingError(
        f"{what!r} is no distribution; give one of chainrule.distributions, its name, a number, or one of scipy.stats"
    )
