"""Flatten and Reshape: the same numbers in another shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.errors import require
from chainrule.layers.base import Built, Context, Formulas, Layer, Terms, samples_of


class Reshaping(Layer):
    """Hands every number on, at another place."""

    passes_scale = True

    def target(self, input_shape: Shape) -> Shape:
        """The output's shape for this input's, both of one sample."""
        raise NotImplementedError

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y_{n k} = x_{n k}",
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

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        place = np.unravel_index(np.ravel_multi_index(index, saved), dy.shape)
        at = tuple(int(k) for k in place)
        upstream = dy[at].reshape(1)
        return [Terms(upstream, np.ones_like(upstream), samples_of(at))]


@dataclass(frozen=True)
class Flatten(Reshaping):
    """All of a sample's numbers in one list: (samples, a, b, ...) becomes (samples, a * b * ...)."""

    def target(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


@dataclass(frozen=True)
class Reshape(Reshaping):
    """A sample's numbers in another shape of as many; one of its sizes may be -1, for whatever is left."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        require(
            all(size > 0 or size == -1 for size in self.shape) and self.shape.count(-1) <= 1,
            f"reshape: {self.shape} is no shape; sizes are above 0, and one at most may be -1",
        )

    def target(self, input_shape: Shape) -> Shape:
        numbers, known = math.prod(input_shape), math.prod(size for size in self.shape if size != -1)
        if numbers % known or (-1 not in self.shape and numbers != known):
            raise self.misfit(input_shape, f"as many numbers as the shape {self.shape} has")
        return tuple(numbers // known if size == -1 else size for size in self.shape)
