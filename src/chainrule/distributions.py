"""Initializers: the probability distributions that initial weights are drawn from.

A distribution is a frozen dataclass with one method, `draw(generator, shape, fans)`, where `fans`
is (fan_in, fan_out): the number of inputs of a unit, and the number of units that an input feeds.
Scaled by these, weights keep the size of the signal from layer to layer.

Examples:
    >>> from chainrule.generators import generator
    >>> Normal(0, 0.1).draw(generator(0), (2, 3), (2, 3)).shape
    (2, 3)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from chainrule import notation
from chainrule.arrays import Array, Shape
from chainrule.errors import SettingError, require, unknown
from chainrule.kinds import Kind, Named, named

Fans = tuple[int, int]
"""(fan_in, fan_out)."""

FUNCTIONS = Named()
"""Named special cases of distributions."""


class Distribution(Kind, register=False):
    """A distribution of initial weights."""

    independent: ClassVar[bool] = True
    """Whether entries are independent of each other, so that an array of any shape can be drawn."""

    @property
    def words(self) -> str:
        """What it is called, for people."""
        return name_of(self)

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        """Draw a float64 array of this shape."""
        raise NotImplementedError

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        """The distribution of a single entry of an array of this shape, as one of scipy.stats; None
        if there is only one value to draw, or if it is not known.
        """
        return None


@dataclass(frozen=True)
class Constant(Distribution):
    """A constant, meant for biases: units with equal weights would stay equal in training."""

    notation = "constant"

    value: float

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return np.full(shape, float(self.value))


ZEROS = Constant(0.0)
"""The initial biases."""


@FUNCTIONS
def zeros() -> Constant:
    """Every weight is 0."""
    return ZEROS


@FUNCTIONS
def ones() -> Constant:
    """Every weight is 1."""
    return Constant(1.0)


@dataclass(frozen=True)
class Uniform(Distribution):
    """The uniform distribution on [low, high)."""

    notation = "uniform"

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        require(self.low <= self.high, f"uniform: low ({self.low}) is above high ({self.high}); swap them")
        require(math.isfinite(self.high - self.low), "uniform: low and high are too far apart")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return generator.uniform(self.low, self.high, shape)

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        from scipy import stats

        return stats.uniform(self.low, self.high - self.low) if self.low < self.high else None


@dataclass(frozen=True)
class Normal(Distribution):
    """The normal distribution with this mean and (standard) deviation."""

    notation = "normal"

    mean: float = 0.0
    deviation: float = 0.05

    def __post_init__(self) -> None:
        require(self.deviation >= 0, f"normal: the deviation is {self.deviation}; it can't be negative")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return generator.normal(self.mean, self.deviation, shape)

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        from scipy import stats

        return stats.norm(self.mean, self.deviation) if self.deviation > 0 else None


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """The normal distribution truncated at `bound` standard deviations from the mean.

    Attributes:
        mean: the mean
        deviation: the standard deviation before truncation; truncation at 2 leaves 0.8796 of it
        bound: where it is truncated, in standard deviations
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

        # Inverse transform sampling, restricted to the probabilities between the bounds.
        probability = generator.uniform(ndtr(-self.bound), ndtr(self.bound), shape)
        return np.asarray(self.mean + self.deviation * ndtri(probability))

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        from scipy import stats

        bound = self.bound
        return stats.truncnorm(-bound, bound, self.mean, self.deviation) if self.deviation > 0 else None


@dataclass(frozen=True)
class VarianceScaling(Distribution):
    """Mean 0 and variance scale / fan, so that a layer's outputs are about as large as its inputs.

    The Glorot, He and LeCun initializers below are special cases.

    Attributes:
        scale: the variance times the fan
        fan: "in", "out", or the "average" of the two
        kind: "normal", "uniform" or "truncated"
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
        """The distribution for these fans: uniform, normal or truncated normal."""
        deviation = self.deviation(fans)
        if self.kind == "uniform":
            limit = math.sqrt(3) * deviation  # a uniform variable on (-l, l) has variance l^2 / 3
            return Uniform(-limit, limit)
        if self.kind == "truncated":
            return TruncatedNormal(0, deviation / 0.87962566103423978)
        return Normal(0, deviation)

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return self.scaled(fans).draw(generator, shape, fans)

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        return self.scaled(fans).of_entry(shape, fans)


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
        raise SettingError(f"{kind}: it draws matrices only; choose another distribution for the shape {shape}")
    return shape[0], shape[1]


@dataclass(frozen=True)
class Orthogonal(Distribution):
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al.,
    2014).
    """

    notation = "orthogonal"
    independent = False

    gain: float = 1.0

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        rows, columns = _matrix_shape("orthogonal", shape)
        q, r = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diagonal(r))  # makes the draw uniform over the orthogonal matrices
        return np.asarray(self.gain * (q if rows >= columns else q.T))

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        """That of a coordinate of a point that is uniform on a sphere: (1 + x) / 2 has a beta
        distribution.
        """
        from scipy import stats

        half, gain = (max(shape) - 1) / 2, abs(self.gain)
        return stats.beta(half, half, -gain, 2 * gain) if half > 0 and gain > 0 else None


@dataclass(frozen=True)
class Identity(Distribution):
    """`gain` on the diagonal and 0 elsewhere: the layer initially passes its input through."""

    notation = "identity"
    independent = False

    gain: float = 1.0

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return self.gain * np.eye(*_matrix_shape("identity", shape))


@dataclass(frozen=True)
class Sparse(Distribution):
    """Normal, with a fraction of the weights in each column set to 0, so that each unit sees only
    a few inputs (Martens, 2010).

    Attributes:
        sparsity: the fraction of zeros, between 0 and 1
        deviation: the standard deviation of the other weights
    """

    notation = "sparse"
    independent = False

    sparsity: float = 0.9
    deviation: float = 0.01

    def __post_init__(self) -> None:
        require(0 <= self.sparsity <= 1, f"sparse: the sparsity is {self.sparsity}; it must be in [0, 1]")

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        rows, columns = _matrix_shape("sparse", shape)
        weights = generator.normal(0, self.deviation, shape)
        zeros_per_column = math.floor(self.sparsity * rows)
        for column in range(columns):
            weights[generator.permutation(rows)[:zeros_per_column], column] = 0
        return weights

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        """That of the entries that are not set to 0."""
        return Normal(0, self.deviation).of_entry(shape, fans)


@dataclass(frozen=True)
class Scipy(Distribution):
    """A distribution of scipy.stats.

    Attributes:
        distribution: its name in scipy.stats
        arguments: its positional arguments
        keywords: its keyword arguments, sorted by name

    Examples:
        >>> from scipy import stats
        >>> of(stats.laplace(0, 0.1))
        Scipy(distribution='laplace', arguments=(0, 0.1), keywords=())
    """

    distribution: str
    arguments: tuple[float, ...] = ()
    keywords: tuple[tuple[str, float], ...] = ()

    def draw(self, generator: np.random.Generator, shape: Shape, fans: Fans) -> Array:
        return np.asarray(self._frozen().rvs(size=shape, random_state=generator), dtype=np.float64)

    def of_entry(self, shape: Shape, fans: Fans) -> Frozen | None:
        return self._frozen()

    def _frozen(self) -> Any:
        from scipy import stats

        family = getattr(stats, self.distribution, None)
        if not isinstance(family, stats.rv_continuous | stats.rv_discrete):
            raise SettingError(f"scipy.stats has no distribution {self.distribution!r}; its documentation lists them")
        return family(*self.arguments, **dict(self.keywords))


NAMED: dict[str, Callable[..., Distribution]] = named(Distribution) | FUNCTIONS
"""The distributions by name."""


def name_of(distribution: Distribution) -> str:
    """The name of a distribution or, where it is a named special case, of that.

    Examples:
        >>> name_of(VarianceScaling(2.0, "in", "normal"))
        'he_normal'
    """
    special = (name for name, make in FUNCTIONS.items() if make() == distribution)
    return next(special, distribution.notation or type(distribution).__name__)


@runtime_checkable
class Frozen(Protocol):
    """A frozen distribution of scipy.stats."""

    def rvs(self, *args: Any, **kwargs: Any) -> Any:
        """Draw from it."""


Drawn = Distribution | float | Frozen
"""What a setting takes for a distribution, besides a text; it becomes a distribution."""


def of(what: Any) -> Distribution:
    """Return a distribution as it is, or make one from a text such as "normal 0 0.5", a number (a
    constant), or a frozen distribution of scipy.stats.
    """
    if isinstance(what, Distribution):
        return what
    value = notation.as_number(what.strip()) if isinstance(what, str) else what
    if isinstance(value, int | float):
        return Constant(float(value))
    if isinstance(what, str):
        return notation.make("distribution", notation.parse("distribution", what), NAMED)
    frozen = getattr(what, "dist", None)
    if frozen is not None and hasattr(what, "kwds"):
        return Scipy(frozen.name, tuple(what.args), tuple(sorted(what.kwds.items())))
    valid = "one of chainrule.distributions or its name, a number, or a frozen distribution of scipy.stats"
    raise SettingError(f"{what!r} is not a distribution; pass {valid}")
