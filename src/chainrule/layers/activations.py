r"""Elementwise activations: a = f(z), and dL/dz = dL/da * f'(z).

Each defines f and f' side by side. At a kink the derivative is the one from the left, as is the
convention. Softmax, whose outputs depend on all inputs of a sample, is in softmax.py; PReLU, which
learns its slope, closes this file.

Examples:
    >>> ReLU().value(np.array([-1.0, 2.0])), ReLU().derivative(np.array([-1.0, 2.0]), np.array([0.0, 2.0]))
    (array([0., 2.]), array([0., 1.]))
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import is_number, require, unknown
from chainrule.kinds import kinds_of
from chainrule.layers.base import (
    Backward,
    Built,
    Context,
    Formulas,
    Layer,
    Parameter,
    Terms,
    by_sample,
    crossings,
    feature_indices,
    one_term,
)
from chainrule.special import erf, expit


@dataclass(frozen=True)
class Activation(Layer, register=False):
    """a = f(z), elementwise. A new one says `value`, `derivative` and `symbols`, in this file or
    any other, and is known by its name at once.
    """

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Further names, each with the settings that it stands for."""

    elementwise = True
    keeps_units = True
    output_symbol = "a"
    local_symbol = "f\u2032(z)"

    initial = "glorot_uniform"

    @property
    def symbols(self) -> tuple[str, str]:
        """f(z) and f'(z) in LaTeX."""
        raise NotImplementedError

    @property
    def kinks(self) -> tuple[float, ...]:
        """The z where f' jumps."""
        return ()

    def value(self, z: Array) -> Array:
        """f(z)"""
        raise NotImplementedError

    def derivative(self, z: Array, a: Array) -> Array:
        """f'(z), where a = f(z) is known already."""
        raise NotImplementedError

    @property
    def formulas(self) -> Formulas:
        f, slope = self.symbols
        return Formulas(
            forward=rf"a = f(z) = {f}",
            input=(
                rf"\frac{{\partial L}}{{\partial z}} = f'(z)\, \frac{{\partial L}}{{\partial a}}, \quad f'(z) = {slope}"
            ),
        )

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, tuple[Array, Array]]:
        a = self.value(x)
        return a, (x, a)

    def backward(self, params: Params, saved: tuple[Array, Array], dy: Array, wants_input: bool = True) -> Backward:
        return (dy * self.derivative(*saved) if wants_input else None), {}

    def input_terms(self, params: Params, saved: tuple[Array, Array], dy: Array, index: Shape) -> Terms:
        z, a = saved
        return one_term(dy, index, self.derivative(z[index].reshape(1), a[index].reshape(1)))

    def jumps(self, x: Array, saved: Any) -> Array:
        return np.concatenate([np.zeros(0), *[crossings(x - kink) for kink in self.kinks]])

    def note(self, local: float, outputs: Array) -> str:
        return f"saturated: its derivative is only {local:.2g}" if abs(local) < 1e-3 else ""


class Rectifier(Activation, register=False):
    """An activation of the ReLU family: about half of its outputs are (nearly) 0, so weights start
    larger (He et al., 2015).
    """

    initial = "he_normal"

    def note(self, local: float, outputs: Array) -> str:
        if local:
            return super().note(local, outputs)
        return "silent for this sample, so nothing comes through" if outputs.any() else DEAD


DEAD = "dead: silent for every sample of this batch"


@dataclass(frozen=True)
class ReLU(Rectifier):
    """max(0, z) (Nair and Hinton, 2010)."""

    symbols = (r"\max(0, z)", r"[z > 0]")

    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return np.maximum(z, 0)

    def derivative(self, z: Array, a: Array) -> Array:
        return (z > 0).astype(z.dtype)


@dataclass(frozen=True)
class LeakyReLU(Rectifier):
    """z where positive, else slope * z, so that no unit dies (Maas et al., 2013)."""

    slope: float = 0.01

    symbols = (
        r"\begin{cases} z & z > 0 \\ \alpha z & z \le 0 \end{cases}",
        r"\begin{cases} 1 & z > 0 \\ \alpha & z \le 0 \end{cases}",
    )

    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return np.where(z > 0, z, self.slope * z)

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where(z > 0, 1, self.slope).astype(z.dtype)


@dataclass(frozen=True)
class ELU(Rectifier):
    """z where positive, else alpha * (exp(z) - 1) (Clevert et al., 2016)."""

    alpha: float = 1.0

    symbols = (
        r"\begin{cases} z & z > 0 \\ \alpha (e^z - 1) & z \le 0 \end{cases}",
        r"\begin{cases} 1 & z > 0 \\ \alpha e^z & z \le 0 \end{cases}",
    )

    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where(z > 0, 1, self.alpha * np.exp(np.minimum(z, 0))).astype(z.dtype)


@dataclass(frozen=True)
class SELU(Activation):
    """A scaled ELU that keeps activations at mean 0 and variance 1 (Klambauer et al., 2017);
    weights start from lecun_normal.
    """

    symbols = (
        r"\lambda \begin{cases} z & z > 0 \\ \alpha (e^z - 1) & z \le 0 \end{cases}",
        r"\lambda \begin{cases} 1 & z > 0 \\ \alpha e^z & z \le 0 \end{cases}",
    )

    initial = "lecun_normal"

    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))

    def derivative(self, z: Array, a: Array) -> Array:
        return (SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0)))).astype(z.dtype)


SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


@dataclass(frozen=True)
class GELU(Rectifier):
    """z * Phi(z), Phi being the normal distribution's cumulative function (Hendrycks and Gimpel,
    2016).

    With `tanh=True` their approximation of it by a hyperbolic tangent, which many published
    networks use.
    """

    tanh: bool = False

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"gelutanh": {"tanh": True}}

    @property
    def symbols(self) -> tuple[str, str]:
        if self.tanh:
            inner = r"u = \sqrt{2/\pi}\,(z + 0.044715 z^3)"
            slope = r"\tfrac{1 + \tanh u}{2} + \tfrac{z}{2}(1 - \tanh^2 u)\sqrt{2/\pi}\,(1 + 0.134145 z^2)"
            return r"\tfrac{z}{2}(1 + \tanh u), \quad " + inner, slope
        return r"z\,\Phi(z)", r"\Phi(z) + z\,\varphi(z)"

    def value(self, z: Array) -> Array:
        if self.tanh:
            return 0.5 * z * (1 + np.tanh(_gelu_inner(z)))
        return 0.5 * z * (1 + erf(z / math.sqrt(2)))

    def derivative(self, z: Array, a: Array) -> Array:
        if self.tanh:
            t = np.tanh(_gelu_inner(z))
            return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)
        return 0.5 * (1 + erf(z / math.sqrt(2))) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _gelu_inner(z: Array) -> Array:
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)


@dataclass(frozen=True)
class SiLU(Rectifier):
    """z * sigmoid(z), also called Swish (Elfwing et al., 2018; Ramachandran et al., 2017)."""

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"swish": {}}
    symbols = (r"z\,\sigma(z)", r"\sigma(z)\,(1 + z\,(1 - \sigma(z)))")

    def value(self, z: Array) -> Array:
        return z * expit(z)

    def derivative(self, z: Array, a: Array) -> Array:
        s = expit(z)
        return s * (1 + z * (1 - s))


@dataclass(frozen=True)
class Mish(Rectifier):
    """z * tanh(softplus(z)) (Misra, 2019)."""

    symbols = (
        r"z \tanh(\ln(1 + e^z))",
        r"\tanh(\ln(1 + e^z)) + z\,\sigma(z)\,(1 - \tanh^2(\ln(1 + e^z)))",
    )

    def value(self, z: Array) -> Array:
        return z * np.tanh(np.logaddexp(0, z))

    def derivative(self, z: Array, a: Array) -> Array:
        t = np.tanh(np.logaddexp(0, z))
        return t + z * expit(z) * (1 - t * t)


@dataclass(frozen=True)
class HardSwish(Rectifier):
    """z * min(max(z + 3, 0), 6) / 6: SiLU of straight lines (Howard et al., 2019)."""

    symbols = (
        r"z \min(\max(z + 3, 0), 6) / 6",
        r"\begin{cases} 0 & z \le -3 \\ (2z + 3)/6 & -3 < z < 3 \\ 1 & z \ge 3 \end{cases}",
    )

    kinks = (-3.0, 3.0)

    def value(self, z: Array) -> Array:
        return z * np.clip(z + 3, 0, 6) / 6

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where(z <= -3, 0, np.where(z >= 3, 1, (2 * z + 3) / 6)).astype(z.dtype)


@dataclass(frozen=True)
class Softplus(Rectifier):
    """ln(1 + exp(z)): a smooth ReLU (Dugas et al., 2001)."""

    symbols = (r"\ln(1 + e^z)", r"\sigma(z)")

    def value(self, z: Array) -> Array:
        return np.logaddexp(0, z)

    def derivative(self, z: Array, a: Array) -> Array:
        return expit(z)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-z)). Its derivative is at most 1/4: many in a row make gradients vanish."""

    symbols = (r"\sigma(z) = \frac{1}{1 + e^{-z}}", r"a\,(1 - a)")

    def value(self, z: Array) -> Array:
        return expit(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return a * (1 - a)


@dataclass(frozen=True)
class Tanh(Activation):
    """tanh(z)."""

    symbols = (r"\tanh(z)", r"1 - a^2")

    def value(self, z: Array) -> Array:
        return np.tanh(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return 1 - a * a


@dataclass(frozen=True)
class Softsign(Activation):
    """z / (1 + |z|) (Bergstra et al., 2009)."""

    symbols = (r"\frac{z}{1 + |z|}", r"\frac{1}{(1 + |z|)^2}")

    def value(self, z: Array) -> Array:
        return z / (1 + np.abs(z))

    def derivative(self, z: Array, a: Array) -> Array:
        return 1 / (1 + np.abs(z)) ** 2


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """A straight line from 0 at z = -3 to 1 at z = 3 (Courbariaux et al., 2015, with Howard et
    al.'s slope of 1/6).
    """

    symbols = (r"\min(\max(z/6 + 1/2, 0), 1)", r"\tfrac{1}{6}\,[-3 < z < 3]")

    kinks = (-3.0, 3.0)

    def value(self, z: Array) -> Array:
        return np.clip(z / 6 + 0.5, 0, 1)

    def derivative(self, z: Array, a: Array) -> Array:
        return ((z > -3) & (z < 3)) / z.dtype.type(6)


@dataclass(frozen=True)
class HardTanh(Activation):
    """z, kept between -1 and 1 (Collobert, 2004)."""

    symbols = (r"\min(\max(z, -1), 1)", r"[-1 < z < 1]")

    kinks = (-1.0, 1.0)

    def value(self, z: Array) -> Array:
        return np.clip(z, -1, 1)

    def derivative(self, z: Array, a: Array) -> Array:
        return ((z > -1) & (z < 1)).astype(z.dtype)


@dataclass(frozen=True)
class Clip(Activation):
    """z, kept between `low` and `high`. From 0 to 6 it is ReLU6 (Krizhevsky, 2010), which networks
    for pictures on phones use (Howard et al., 2017).
    """

    low: float = 0.0
    high: float = 6.0

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"relu6": {}}
    symbols = (r"\min(\max(z, l), h)", r"[l < z < h]")

    def __post_init__(self) -> None:
        wanted = f"clip: from {self.low!r} to {self.high!r}; it takes two numbers, the lower one first"
        require(is_number(self.low) and is_number(self.high) and self.low < self.high, wanted)

    @property
    def kinks(self) -> tuple[float, ...]:
        return self.low, self.high

    def value(self, z: Array) -> Array:
        return np.clip(z, z.dtype.type(self.low), z.dtype.type(self.high))

    def derivative(self, z: Array, a: Array) -> Array:
        return ((z > self.low) & (z < self.high)).astype(z.dtype)


@dataclass(frozen=True)
class Sine(Activation):
    """sin(frequency * z), for signals (Sitzmann et al., 2020)."""

    frequency: float = 1.0

    symbols = (r"\sin(\omega z)", r"\omega \cos(\omega z)")

    def value(self, z: Array) -> Array:
        return np.sin(self.frequency * z)

    def derivative(self, z: Array, a: Array) -> Array:
        return self.frequency * np.cos(self.frequency * z)


@dataclass(frozen=True)
class Step(Activation):
    """1 where z > 0, else 0: the perceptron's activation (Rosenblatt, 1958).

    Its derivative is 0 wherever it has one. By the chain rule every derivative that must pass
    through it is multiplied by that 0, so no weight before a Step gets a gradient, and gradient
    descent leaves it where it is. That is why networks took up smooth activations, and why the
    perceptron had a learning rule of its own.
    """

    symbols = (r"[z > 0]", r"0")

    def value(self, z: Array) -> Array:
        return (z > 0).astype(z.dtype)

    def derivative(self, z: Array, a: Array) -> Array:
        return np.zeros_like(z)

    def note(self, local: float, outputs: Array) -> str:
        return "a step is flat everywhere, so nothing comes through"


@dataclass(frozen=True)
class PReLU(Rectifier):
    """z where positive, else alpha_j * z, with a slope for each unit that is learned too (He et
    al., 2015).

    The parameter alpha has shape (units,), units being the input's last axis; it starts at `start`.
    """

    start: float = 0.25

    kinks = (0.0,)
    elementwise = False  # the function is learned

    formulas = Formulas(
        forward=r"a_{nj} = \begin{cases} z_{nj} & z_{nj} > 0 \\ \alpha_j z_{nj} & z_{nj} \le 0 \end{cases}",
        input=r"\frac{\partial L}{\partial z_{nj}} = \frac{\partial L}{\partial a_{nj}} \cdot "
        r"\begin{cases} 1 & z_{nj} > 0 \\ \alpha_j & z_{nj} \le 0 \end{cases}",
        parameters={
            "alpha": (
                r"\frac{\partial L}{\partial \alpha_j} = \sum_n \frac{\partial L}{\partial a_{nj}} \min(z_{nj}, 0)"
            )
        },
    )

    def build(self, input_shape: Shape) -> Built:
        if not input_shape:
            raise self.misfit(input_shape, "a list of inputs for each sample")
        alpha = Parameter(input_shape[-1:], distributions.Constant(self.start), regularized=False)
        return Built(input_shape, {"alpha": alpha})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return np.where(x > 0, x, params["alpha"] * x), x

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        z = saved
        dalpha = (dy * np.minimum(z, 0)).reshape(-1, z.shape[-1]).sum(axis=0)
        return (np.where(z > 0, dy, params["alpha"] * dy) if wants_input else None), {"alpha": dalpha}

    def sample_products(self, params: Params, saved: Any, dy: Array, along: Params) -> Array:
        return by_sample(dy, along["alpha"] * np.minimum(saved, 0))

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        unit = index[0]
        local = np.minimum(saved[..., unit], 0).ravel()
        return Terms(dy[..., unit].ravel(), local, feature_indices(dy.shape, unit))

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        slope = 1 if saved[index] > 0 else params["alpha"][index[-1]]
        return one_term(dy, index, slope)


def aliases() -> dict[str, Callable[..., Layer]]:
    """Further names of activations, with their makers."""
    return {
        alias: functools.partial(kind, **settings)
        for kind in kinds_of(Layer)
        for alias, settings in getattr(kind, "aliases", {}).items()
    }


def activation(what: str | Layer) -> Layer:
    """The activation that is meant: a layer itself, or a name such as "relu", "gelu" or
    "gelu_tanh".
    """
    if isinstance(what, Layer):
        return what
    require(isinstance(what, str), f"an activation is a name or a layer, not {what!r}")
    kinds = kinds_of(Layer)
    named: dict[str, Callable[..., Layer]] = {k.__name__.lower(): k for k in kinds if k.output_symbol == "a"}
    named |= aliases()
    name = what.lower().replace("_", "").replace("-", "").replace(" ", "")
    if name not in named:
        raise unknown("activation", what, named)
    return named[name]()
