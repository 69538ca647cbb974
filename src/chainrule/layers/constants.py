"""Learned and Fixed: numbers that depend on no input, such as the class token of a vision
transformer, a scale for each channel, or a mask.

Each is called on any value, which only tells it how many samples there are, and gives every sample
the same array. Operators combine it with other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import integers, require
from chainrule.layers.base import Backward, Built, Context, Formulas, Layer, Parameter, Terms
from chainrule.layers.recurrence import no_terms


@dataclass(frozen=True)
class Unrelated(Layer, register=False):
    """A layer whose output is the same array for every sample.

    Attributes:
        shape: the shape of the array
    """

    shape: tuple[int, ...]

    in_text = False
    local_symbol = "0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", integers(f"{self.word}: shape", self.shape))
        require(min(self.shape, default=1) > 0, f"{self.word}: {self.shape} is no shape; sizes are positive")

    def _repeated(self, array: Array, x: Array) -> Array:
        return np.repeat(array[None], len(x), axis=0)

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        return no_terms(dy)

    def why_unused(self, saved: Any, index: Shape) -> str:
        return f"{self.called} does not depend on its input"

    def cost(self, built: Built) -> float:
        return float(np.prod(built.output_shape, dtype=float))

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(inputs[0])]


@dataclass(frozen=True)
class Learned(Unrelated):
    """y = W, an array that is learned and the same for every sample.

    Attributes:
        shape: the shape of W
        weights: the distribution of W

    Examples:
        >>> from chainrule.layers import Input
        >>> x = Input((10, 8))
        >>> (x * Learned((8,))(x)).shape
        (10, 8)
    """

    weights: str | distributions.Drawn = "normal 0 0.02"

    formulas = Formulas(
        forward=r"y_{nj} = W_j",
        input=r"\frac{\partial L}{\partial x} = 0",
        parameters={"W": r"\frac{\partial L}{\partial W_j} = \sum_n \frac{\partial L}{\partial y_{nj}}"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", distributions.of(self.weights))

    def build(self, input_shape: Shape) -> Built:
        weights = distributions.of(self.weights)
        return Built(self.shape, {"W": Parameter(self.shape, weights, regularized=False)})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return self._repeated(params["W"], x), x.shape

    def backward(self, params: Params, saved: Shape, dy: Array, wants_input: bool = True) -> Backward:
        return (np.zeros(saved, dy.dtype) if wants_input else None), {"W": dy.sum(axis=0)}

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        at: Any = (slice(None), *index)
        upstream = dy[at].ravel()
        at = np.column_stack([np.arange(len(dy)), np.tile(np.array(index, np.intp), (len(dy), 1))])
        return Terms(upstream, np.ones_like(upstream), at)

    def letters(self, parameter: str, dimensions: int) -> tuple[str, ...]:
        return ("j",) if dimensions < 2 else tuple(f"j_{k}" for k in range(1, dimensions + 1))

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        return f"number {', '.join(map(str, index))} of {self.called}"


@dataclass(frozen=True)
class Fixed(Unrelated):
    """y = c, an array that is not learned and the same for every sample. It is kept among the
    statistics of a network, which no training changes in this layer.

    Attributes:
        shape: the shape of c
    """

    formulas = Formulas(forward=r"y_{nj} = c_j", input=r"\frac{\partial L}{\partial x} = 0")

    def build(self, input_shape: Shape) -> Built:
        return Built(self.shape, {}, {"value": (self.shape, 0.0)})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return self._repeated(params["value"], x), x.shape

    def backward(self, params: Params, saved: Shape, dy: Array, wants_input: bool = True) -> Backward:
        return (np.zeros(saved, dy.dtype) if wants_input else None), {}
