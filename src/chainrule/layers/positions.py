"""Positions: what tells a network of attention where in a sequence a number stands.

Attention treats the positions of a sequence alike, so a layer before it makes them differ. Here
sequences have the shape (samples, ..., time, features).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import ShapeError, is_integer, is_number, require
from chainrule.layers.base import Backward, Built, Context, Formulas, Layer, Parameter, Terms, by_sample, one_term


@dataclass(frozen=True)
class LearnedPositions(Layer):
    """y_t = x_t + W_t: a learned row of numbers for each position is added (Gehring et al., 2017).

    x has the shape (samples, time, features), W the shape (length, features).

    Attributes:
        length: the number of rows, at least the number of positions; by default as many
        weights: the distribution of W

    Examples:
        >>> LearnedPositions().build((10, 8)).parameters["W"].shape
        (10, 8)
    """

    length: int | None = None
    weights: str | distributions.Drawn = "normal 0 0.02"

    notation = "learned_positions"
    passes_scale = True
    counts_positions = True
    keeps_units = True
    accepts_images = True
    local_symbol = "1"
    formulas = Formulas(
        forward=r"y_{ntj} = x_{ntj} + W_{tj}",
        input=r"\frac{\partial L}{\partial x_{ntj}} = \frac{\partial L}{\partial y_{ntj}}",
        parameters={"W": r"\frac{\partial L}{\partial W_{tj}} = \sum_n \frac{\partial L}{\partial y_{ntj}}"},
    )

    def __post_init__(self) -> None:
        fits = self.length is None or (is_integer(self.length) and self.length > 0)
        require(fits, f"{self.called}: length is {self.length!r}; it takes an integer above 0")
        object.__setattr__(self, "weights", distributions.of(self.weights))

    def build(self, input_shape: Shape) -> Built:
        if len(input_shape) != 2:
            raise self.misfit(input_shape, "a sequence of the shape (time, features)")
        time, features = input_shape
        rows = time if self.length is None else self.length
        if time > rows:
            raise ShapeError(f"layer {self.called}: it has {rows} positions, but gets a sequence of {time}")
        shape = (rows, features)
        return Built(input_shape, {"W": Parameter(shape, distributions.of(self.weights), shape)})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return x + params["W"][: x.shape[1]], params["W"].shape

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        dW = np.zeros(saved, dtype=dy.dtype)
        dW[: dy.shape[1]] = dy.sum(axis=0)
        return (dy if wants_input else None), {"W": dW}

    def sample_products(self, params: Params, saved: Any, dy: Array, along: Params) -> Array:
        return by_sample(dy, along["W"][: dy.shape[1]])

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        time, feature = index
        upstream = dy[:, time : time + 1, feature].ravel()  # empty for a row beyond the sequence
        samples = np.arange(len(upstream))
        at = np.column_stack([samples, np.full_like(samples, time), np.full_like(samples, feature)])
        return Terms(upstream, np.ones_like(upstream), at)

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        return one_term(dy, index)

    def looks_back(self, positions: Shape) -> None:
        return None  # how many there are matters

    def cost(self, built: Built) -> float:
        return 3.0 * np.prod(built.output_shape, dtype=float)

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        return f"what is added to unit {index[1]} at position {index[0]}"

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.abs(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(dy)]


@dataclass(frozen=True)
class SinusoidalPositions(Layer):
    """y_t = x_t + p_t, where p_t has sines and cosines of t with wavelengths from 2 pi to almost
    2 pi * base (Vaswani et al., 2017, section 3.5).

    x has the shape (samples, time, features).

    Attributes:
        base: how the wavelengths grow from feature to feature
    """

    base: float = 10_000.0

    notation = "sinusoidal_positions"
    passes_scale = True
    counts_positions = True
    keeps_units = True
    accepts_images = True
    local_symbol = "1"
    formulas = Formulas(
        forward=r"y_{ntj} = x_{ntj} + p_{tj}, \quad p_{t, 2i} = \sin \frac{t}{b^{2i / d}}, \quad"
        r" p_{t, 2i + 1} = \cos \frac{t}{b^{2i / d}}",
        input=r"\frac{\partial L}{\partial x_{ntj}} = \frac{\partial L}{\partial y_{ntj}}",
    )

    def __post_init__(self) -> None:
        require_base(self)

    def build(self, input_shape: Shape) -> Built:
        if len(input_shape) != 2:
            raise self.misfit(input_shape, "a sequence of the shape (time, features)")
        return Built(input_shape)

    def waves(self, time: int, features: int) -> Array:
        """(time, features) what is added."""
        even, odd = np.arange(0, features, 2), np.arange(0, features - 1, 2)
        t, waves = np.arange(time)[:, None], np.empty((time, features))
        waves[:, 0::2] = np.sin(t / self.base ** (even / features))
        waves[:, 1::2] = np.cos(t / self.base ** (odd / features))
        return waves

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return x + self.waves(*x.shape[1:]).astype(x.dtype), None

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        return (dy if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        return one_term(dy, index)

    def looks_back(self, positions: Shape) -> None:
        return None  # how many there are matters

    def cost(self, built: Built) -> float:
        return 3.0 * np.prod(built.output_shape, dtype=float)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.abs(y) + 1  # a wave is at most 1, and rounded

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(dy)]


@dataclass(frozen=True)
class Rotary(Layer):
    """Turns pairs of features by an angle that is proportional to their position (Su et al., 2021):
    the product of a query and a key then depends on the distance of their positions.

    x has the shape (samples, ..., time, features), with an even number of features: 2i and 2i + 1
    are a pair. Pair i turns by t / base^(2i / features) at position t.

    Attributes:
        base: how the angles shrink from pair to pair
    """

    base: float = 10_000.0

    passes_scale = True
    counts_positions = True
    accepts_images = True
    local_symbol = "turn"
    formulas = Formulas(
        forward=r"y_{t, 2i} = x_{t, 2i} \cos t\theta_i - x_{t, 2i + 1} \sin t\theta_i, \quad"
        r" y_{t, 2i + 1} = x_{t, 2i} \sin t\theta_i + x_{t, 2i + 1} \cos t\theta_i, \quad \theta_i = b^{-2i / d}",
        input=r"\frac{\partial L}{\partial x_{t, 2i}} = \cos t\theta_i\, \frac{\partial L}{\partial y_{t, 2i}}"
        r" + \sin t\theta_i\, \frac{\partial L}{\partial y_{t, 2i + 1}}, \quad"
        r" \frac{\partial L}{\partial x_{t, 2i + 1}} = \cos t\theta_i\, \frac{\partial L}{\partial y_{t, 2i + 1}}"
        r" - \sin t\theta_i\, \frac{\partial L}{\partial y_{t, 2i}}",
    )

    def __post_init__(self) -> None:
        require_base(self)

    def build(self, input_shape: Shape) -> Built:
        if len(input_shape) < 2 or input_shape[-1] % 2:
            raise self.misfit(
                input_shape, "a sequence of the shape (..., time, features) with an even number of features"
            )
        return Built(input_shape)

    def angles(self, time: int, features: int) -> Array:
        """(time, features / 2) the angle of each pair at each position."""
        return np.arange(time)[:, None] * self.base ** (-np.arange(0, features, 2) / features)

    def turned(self, x: Array, sign: int = 1) -> Array:
        """The pairs of x turned by their angles, or back."""
        angles = self.angles(*x.shape[-2:])
        cos, sin = np.cos(angles).astype(x.dtype), (sign * np.sin(angles)).astype(x.dtype)
        even, odd, y = x[..., 0::2], x[..., 1::2], np.empty_like(x)
        y[..., 0::2] = even * cos - odd * sin
        y[..., 1::2] = even * sin + odd * cos
        return y

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return self.turned(x), None

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        return (self.turned(dy, -1) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        *before, j = index
        angle = self.angles(*dy.shape[-2:])[index[-2], j // 2]
        local = np.array([np.cos(angle), np.sin(angle)] if j % 2 == 0 else [-np.sin(angle), np.cos(angle)])
        at = np.array([(*before, j - j % 2), (*before, j - j % 2 + 1)])
        return Terms(dy[tuple(at.T)], local, at)

    def looks_back(self, positions: Shape) -> None:
        return None  # how many there are matters

    def cost(self, built: Built) -> float:
        return 6.0 * np.prod(built.output_shape, dtype=float)

    def _sizes(self, x: Array) -> Array:
        """The sum of the magnitudes of each pair, at both of its features."""
        size = np.abs(x[..., 0::2]) + np.abs(x[..., 1::2])
        return np.repeat(size, 2, axis=-1)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return 3 * self._sizes(inputs[0])  # the sine is rounded, then the product, then the sum

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [3 * self._sizes(dy)]


def require_base(layer: Any) -> None:
    """Raise SettingError unless the base is above 1."""
    require(is_number(layer.base, above=1), f"{layer.called}: base is {layer.base!r}; it must be above 1")
