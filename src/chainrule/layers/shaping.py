"""Flatten, Reshape, Transpose and Slice: the same numbers, rearranged.

Each defines its output as a view of its input; backward writes the derivatives through the same
view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.errors import integers, is_integer, require
from chainrule.layers.base import Backward, Built, Formulas, Layer, Terms


@dataclass(frozen=True)
class Rearrangement(Layer, register=False):
    """A layer whose outputs are copies of inputs."""

    passes_scale = True
    local_symbol = "1"
    formulas = Formulas(
        forward=r"y_{nk} = x_{n, s(k)}",
        input=r"\frac{\partial L}{\partial x_{n, s(k)}} = \frac{\partial L}{\partial y_{nk}}",
    )

    def view(self, x: Array) -> Array:
        """The output as a view of x, which is contiguous; raises ShapeError for an unsuitable
        shape.
        """
        raise NotImplementedError

    def build(self, input_shape: Shape) -> Built:
        numberless = np.broadcast_to(np.zeros(1), (1, *input_shape))  # a shape that takes no memory
        return Built(self.view(numberless).shape[1:])

    def _sources(self, input_shape: Shape) -> Array:
        """(output shape) for each output of a sample, the flat index of the input that it
        copies.
        """
        return self.view(np.arange(math.prod(input_shape)).reshape(1, *input_shape))[0]

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Shape]:
        return np.ascontiguousarray(self.view(np.ascontiguousarray(x))), x.shape

    def backward(self, params: Params, saved: Shape, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        dx = np.zeros(saved, dtype=dy.dtype)
        self.view(dx)[...] = dy
        return dx, {}

    def input_terms(self, params: Params, saved: Shape, dy: Array, index: Shape) -> Terms:
        number = np.ravel_multi_index(index[1:], saved[1:]) if saved[1:] else 0
        at = np.argwhere(self._sources(saved[1:]) == number)
        at = np.column_stack([np.full(len(at), index[0]), at])
        upstream = dy[tuple(at.T)]
        return Terms(upstream, np.ones_like(upstream), at)

    def source(self, index: Shape, *input_shapes: Shape) -> tuple[int, Shape]:
        (shape,) = input_shapes
        return 0, tuple(int(k) for k in np.unravel_index(self._sources(shape)[index], shape))

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(inputs[0])]


@dataclass(frozen=True)
class Flatten(Rearrangement):
    """Flattens each sample: (samples, a, b, ...) becomes (samples, a * b * ...)."""

    keeps_units = True
    accepts_images = True

    def view(self, x: Array) -> Array:
        return x.reshape(len(x), math.prod(x.shape[1:]))


@dataclass(frozen=True)
class Reshape(Rearrangement):
    """Reshapes each sample; one size may be -1, and is then inferred."""

    shape: tuple[int, ...]

    @staticmethod
    def from_text(*sizes: int) -> Reshape:
        """The layer with these sizes."""
        return Reshape(sizes)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", integers("reshape: shape", self.shape))
        sizes = all(size > 0 or size == -1 for size in self.shape)
        require(
            sizes and self.shape.count(-1) <= 1,
            f"reshape: {self.shape} is no shape; sizes are positive, and at most one may be -1",
        )

    def view(self, x: Array) -> Array:
        numbers, known = math.prod(x.shape[1:]), math.prod(size for size in self.shape if size != -1)
        if numbers % known or (-1 not in self.shape and numbers != known):
            raise self.misfit(x.shape[1:], f"as many numbers as the shape {self.shape} has")
        return x.reshape(len(x), *(numbers // known if size == -1 else size for size in self.shape))


@dataclass(frozen=True)
class Transpose(Rearrangement):
    """Permutes the axes of each sample; by default swaps the last two.

    `axes` are the sample's, counted from 0, as in numpy.transpose.
    """

    axes: tuple[int, ...] = ()

    @staticmethod
    def from_text(*axes: int) -> Transpose:
        """The layer with these axes."""
        return Transpose(axes)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", integers("transpose: axes", self.axes))
        fits = sorted(self.axes) == list(range(len(self.axes)))
        require(fits, f"transpose: {self.axes} is no order of a sample's axes")

    def view(self, x: Array) -> Array:
        if len(self.axes) != x.ndim - 1 if self.axes else x.ndim < 3:
            raise self.misfit(x.shape[1:], f"{len(self.axes) or 'two or more'} axes a sample")
        return x.transpose(0, *(axis + 1 for axis in self.axes)) if self.axes else x.swapaxes(-1, -2)


@dataclass(frozen=True)
class Slice(Rearrangement):
    """The entries from `start` up to `stop` along one axis of a sample, by default the last."""

    start: int
    stop: int
    axis: int = -1

    def __post_init__(self) -> None:
        for name in ("start", "stop", "axis"):
            value = getattr(self, name)
            require(is_integer(value), f"slice: {name} is {value!r}; it takes an integer")
        fits = 0 <= self.start < self.stop
        require(fits, f"slice: from {self.start} to {self.stop} there is nothing; start below stop")

    def view(self, x: Array) -> Array:
        axis = self.axis + (1 if self.axis >= 0 else x.ndim)
        if not 1 <= axis < x.ndim or self.stop > x.shape[axis]:
            raise self.misfit(x.shape[1:], f"{self.stop} or more entries along axis {self.axis}")
        return x[(*(slice(None),) * axis, slice(self.start, self.stop))]
