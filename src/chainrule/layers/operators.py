"""Add, Multiply, MatMul, Concatenate and Scale: what symbols are combined with.

They have no parameters. Add and Multiply broadcast as NumPy does, over the axes of a sample: a
smaller input is repeated, and so the derivative of each of its numbers is a sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.errors import ShapeError, require
from chainrule.layers.base import Backward, Built, Formulas, Layer, Terms, indices, one_term


@dataclass(frozen=True)
class Operator(Layer, register=False):
    """A leaf without parameters and with several inputs."""

    passes_scale = True
    in_text = False
    local_symbol = "1"

    def unfit(self, shapes: Sequence[Shape], how: str) -> ShapeError:
        """The error for inputs that don't fit together."""
        return ShapeError(f"layer {self.called}: can't {how} inputs of the shapes {', '.join(map(str, shapes))}")

    def broadcast(self, shapes: Sequence[Shape], how: str) -> Built:
        """The shape that these broadcast to."""
        try:
            return Built(np.broadcast_shapes(*shapes))
        except ValueError:
            raise self.unfit(shapes, how) from None

    def cost(self, built: Built) -> float:
        return 3.0 * np.prod(built.output_shape, dtype=float)

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        """How often an output, and the derivative at each input, is rounded while it is added
        up.
        """
        raise NotImplementedError

    def forward(self, params: Params, *given: Any) -> tuple[Array, Any]:
        """The output, and what backward needs; `given` are the inputs and the context."""
        raise NotImplementedError

    # Operators are linear in each input, so an error is bounded by the same sum of absolute values.

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        size, _ = self.forward(params, *map(np.abs, inputs), None)
        return self.additions(inputs, y)[0] * size

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        y, absolute = self.forward(params, *map(np.abs, inputs), None)
        sizes, _ = self.backward(params, absolute, np.abs(dy))
        return [count * size for count, size in zip(self.additions(inputs, y)[1:], sizes, strict=True)]


@dataclass(frozen=True)
class Add(Operator):
    """y = x_1 + x_2 + ..., elementwise."""

    formulas = Formulas(
        forward=r"y = x_1 + x_2 + \dots", input=r"\frac{\partial L}{\partial x_k} = \frac{\partial L}{\partial y}"
    )

    def build(self, *shapes: Shape) -> Built:
        return self.broadcast(shapes, "add")

    def forward(self, params: Params, *given: Any) -> tuple[Array, list[Shape]]:
        *xs, _ = given
        first, *others = _aligned(xs)
        return sum(others, start=first), [x.shape for x in xs]

    def backward(self, params: Params, saved: list[Shape], dy: Array, wants_input: bool = True) -> Backward:
        return (tuple(_summed(dy, shape) for shape in saved) if wants_input else None), {}

    def input_terms(self, params: Params, saved: list[Shape], dy: Array, index: Shape, which: int = 0) -> Terms:
        at = _readers_of(index, saved[which], dy.shape)
        upstream = dy[tuple(at.T)]
        return Terms(upstream, np.ones_like(upstream), at)

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return len(inputs) - 1, *(y.size // x.size - 1 for x in inputs)


@dataclass(frozen=True)
class Multiply(Operator):
    """y = x_1 * x_2, elementwise."""

    local_symbol = "x"
    formulas = Formulas(
        forward=r"y = x_1 \odot x_2",
        input=r"\frac{\partial L}{\partial x_1} = x_2 \odot \frac{\partial L}{\partial y}, \quad"
        r" \frac{\partial L}{\partial x_2} = x_1 \odot \frac{\partial L}{\partial y}",
    )

    def build(self, *shapes: Shape) -> Built:
        if len(shapes) != 2:
            raise self.unfit(shapes, "multiply")
        return self.broadcast(shapes, "multiply")

    def forward(self, params: Params, x: Array, y: Array, context: Any) -> tuple[Array, Any]:  # type: ignore[override]
        a, b = _aligned((x, y))
        return a * b, (x, y)

    def backward(self, params: Params, saved: tuple[Array, Array], dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        (x, y), (a, b) = saved, _aligned(saved)
        return (_summed(dy * b, x.shape), _summed(dy * a, y.shape)), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape, which: int = 0) -> Terms:
        at = _readers_of(index, saved[which].shape, dy.shape)
        other = np.broadcast_to(_aligned(saved)[1 - which], dy.shape)
        return Terms(dy[tuple(at.T)], other[tuple(at.T)], at)

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return 1, *(y.size // x.size for x in inputs)


@dataclass(frozen=True)
class MatMul(Operator):
    """y = x_1 @ x_2: the matrix product of the last two axes of each sample."""

    local_symbol = "x"
    formulas = Formulas(
        forward=r"y_{ij} = \sum_k a_{ik}\, b_{kj}",
        input=r"\frac{\partial L}{\partial a_{ik}} = \sum_j b_{kj}\, \frac{\partial L}{\partial y_{ij}}, \quad"
        r" \frac{\partial L}{\partial b_{kj}} = \sum_i a_{ik}\, \frac{\partial L}{\partial y_{ij}}",
    )

    def build(self, *shapes: Shape) -> Built:
        fits = len(shapes) == 2 and min(map(len, shapes)) >= 2 and len(shapes[0]) == len(shapes[1])
        if not fits or shapes[0][:-2] != shapes[1][:-2] or shapes[0][-1] != shapes[1][-2]:
            raise self.unfit(shapes, "matrix-multiply")
        return Built((*shapes[0][:-1], shapes[1][-1]))

    def forward(self, params: Params, x: Array, y: Array, context: Any) -> tuple[Array, Any]:  # type: ignore[override]
        return x @ y, (x, y)

    def backward(self, params: Params, saved: tuple[Array, Array], dy: Array, wants_input: bool = True) -> Backward:
        a, b = saved
        return ((dy @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ dy) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape, which: int = 0) -> Terms:
        a, b = saved
        *before, row, column = index
        here = tuple(before)
        at = np.array([(*here, row, j) if which == 0 else (*here, j, column) for j in range(dy.shape[-1 - which])])
        return Terms(dy[tuple(at.T)], b[here][column] if which == 0 else a[here][:, row], at)

    def cost(self, built: Built) -> float:
        return 30.0 * np.prod(built.output_shape, dtype=float)

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return inputs[0].shape[-1], y.shape[-1], y.shape[-2]


@dataclass(frozen=True)
class Concatenate(Operator):
    """The inputs side by side along the last axis."""

    formulas = Formulas(
        forward=r"y = [x_1, x_2, \dots]",
        input=r"\frac{\partial L}{\partial x_k} = \Big(\frac{\partial L}{\partial y}\Big)_k",
    )

    def build(self, *shapes: Shape) -> Built:
        if () in shapes or any(shape[:-1] != shapes[0][:-1] for shape in shapes):
            raise self.unfit(shapes, "concatenate")
        return Built((*shapes[0][:-1], sum(shape[-1] for shape in shapes)))

    def forward(self, params: Params, *given: Any) -> tuple[Array, list[int]]:
        *xs, _ = given
        return np.concatenate(xs, axis=-1), np.cumsum([0, *(x.shape[-1] for x in xs)]).tolist()

    def backward(self, params: Params, saved: list[int], dy: Array, wants_input: bool = True) -> Backward:
        return (tuple(np.split(dy, saved[1:-1], axis=-1)) if wants_input else None), {}

    def input_terms(self, params: Params, saved: list[int], dy: Array, index: Shape, which: int = 0) -> Terms:
        return one_term(dy, (*index[:-1], index[-1] + saved[which]))

    def source(self, index: Shape, *input_shapes: Shape) -> tuple[int, Shape]:
        *before, last = index
        starts = np.cumsum([0, *(shape[-1] for shape in input_shapes)])
        which = int(np.searchsorted(starts, last, side="right")) - 1
        return which, (*before, last - int(starts[which]))

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return (0,) * (1 + len(inputs))


@dataclass(frozen=True)
class Scale(Layer):
    """y = factor * x, with a fixed factor."""

    factor: float

    passes_scale = True
    local_symbol = "factor"
    formulas = Formulas(
        forward=r"y = c\, x", input=r"\frac{\partial L}{\partial x} = c\, \frac{\partial L}{\partial y}"
    )

    def __post_init__(self) -> None:
        factor: Any = self.factor
        finite = isinstance(factor, Real) and math.isfinite(factor)
        require(finite, f"scale: the factor is {factor!r}; it must be a finite number")

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Any]:
        return x * x.dtype.type(self.factor), None

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        return (dy * dy.dtype.type(self.factor) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        return one_term(dy, index, self.factor)


def _aligned(xs: Sequence[Array]) -> list[Array]:
    """The same arrays with as many axes as the largest, ready to broadcast sample by sample."""
    most = max(x.ndim for x in xs)
    return [x.reshape(_stretched(x.shape, most)) for x in xs]


def _stretched(shape: Shape, dimensions: int) -> Shape:
    """The shape with so many axes, the new ones after the samples'."""
    return (shape[0], *(1,) * (dimensions - len(shape)), *shape[1:])


def _summed(dy: Array, x_shape: Shape) -> Array:
    """The derivative of an input of this shape that was broadcast to dy's."""
    if dy.shape == x_shape:
        return dy
    stretched = _stretched(x_shape, dy.ndim)
    repeated = tuple(k for k, (x, y) in enumerate(zip(stretched, dy.shape, strict=True)) if x != y)
    return dy.sum(axis=repeated, keepdims=True).reshape(x_shape)


def _readers_of(index: Shape, x_shape: Shape, y_shape: Shape) -> Array:
    """(K, d) the entries of y to which the entry of x at this index was broadcast."""
    stretched = _stretched(x_shape, len(y_shape))
    place = (index[0], *(0,) * (len(y_shape) - len(x_shape)), *index[1:])
    sizes = tuple(y if x != y else 1 for x, y in zip(stretched, y_shape, strict=True))
    return indices(sizes) + np.array([0 if n > 1 else k for n, k in zip(sizes, place, strict=True)])
