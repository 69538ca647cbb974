"""Flatten and Reshape: the same numbers in another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.errors import require
from chainrule.layers.base import Built, Context, Formulas, Layer, Terms, one_index


class Reshaping(Layer, register=False):
    """Passes every number on unchanged, in another shape."""

    passes_scale = True
    local_symbol = "1"

    def target(self, input_shape: Shape) -> Shape:
        """The output's shape for this input's, both of one sample."""
        raise NotImplementedError

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y_{nk} = x_{nk}",
            input=r"\frac{\partial L}{\partial x_{nk}} = \frac{\partial L}{\partial y_{nk}}",
        )

    def build(self, input_shape: Shape) -> Built:
        return Built(self.target(input_shape))

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        return x.reshape(len(x), *self.target(x.shape[1:])), x.shape

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        return (dy.reshape(saved) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        place = np.unravel_index(np.ravel_multi_index(index, saved), dy.shape)
        at = tuple(int(k) for k in place)
        upstream = dy[at].reshape(1)
        return Terms(upstream, np.ones_like(upstream), one_index(at))

    def source(self, index: Shape, input_shape: Shape) -> Shape:
        position = np.ravel_multi_index(index, self.target(input_shape)) if index else 0
        return tuple(int(k) for k in np.unravel_index(position, input_shape))

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(inputs[0])]


@dataclass(frozen=True)
class Flatten(Reshaping):
    """A sample's numbers in one list: (samples, a, b, ...) becomes (samples, a * b * ...)."""

    accepts_images = True

    def target(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


@dataclass(frozen=True)
class Reshape(Reshaping):
    """A sample's numbers in another shape of as many; one of its sizes may be -1, for whatever is left."""

    shape: tuple[int, ...]

    @staticmethod
    def from_text(*sizes: int) -> Reshape:
        """The layer with these sizes."""
        return Reshape(sizes)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        sizes = all(isinstance(size, int) and (size > 0 or size == -1) for size in self.shape)
        require(
            sizes and self.shape.count(-1) <= 1,
            f"reshape: {self.shape} is no shape; sizes are above 0, and one at most may be -1",
        )

    def target(self, input_shape: Shape) -> Shape:
        numbers, known = math.prod(input_shape), math.prod(size for size in self.shape if size != -1)
        if numbers % known or (-1 not in self.shape and numbers != known):
            raise self.misfit(input_shape, f"as many numbers as the shape {self.shape} has")
        return tuple(numbers // known if size == -1 else size for size in self.shape)
