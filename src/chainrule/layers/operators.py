"""Add, Multiply, MatMul, Concatenate, Scale, Transpose and Slice: what symbols are combined with.

They have no parameters. Add and Multiply broadcast as NumPy does, over the axes of a sample: a
smaller input is repeated, and so the derivative of each of its numbers is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.errors import ShapeError, require
from chainrule.layers.base import Built, Formulas, Layer, Terms, indices, one_index, row_indices

Gradients = dict[str, Any]


@dataclass(frozen=True)
class Operator(Layer, register=False):
    """A leaf without parameters, whose inputs may be several."""

    passes_scale = True

    def unfit(self, shapes: Sequence[Shape], how: str) -> ShapeError:
        """The error for inputs that don't fit together."""
        return ShapeError(f"layer {self.called}: can't {how} inputs of the shapes {', '.join(map(str, shapes))}")

    def cost(self, built: Built) -> float:
        return 3.0 * np.prod(built.output_shape, dtype=float)


@dataclass(frozen=True)
class Add(Operator):
    """y = x_1 + x_2 + ..., elementwise."""

    in_text = False
    local_symbol = "1"

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y = x_1 + x_2 + \dots",
            input=r"\frac{\partial L}{\partial x_k} = \frac{\partial L}{\partial y}",
        )

    def build(self, *shapes: Shape) -> Built:
        return Built(_broadcast(self, shapes, "add"))

    def forward(self, params: Params, *given: Any) -> tuple[Array, list[Shape]]:
        *xs, _ = given
        first, *others = _aligned(xs)
        return sum(others, start=first), [x.shape for x in xs]

    def backward(
        self, params: Params, saved: list[Shape], dy: Array, wants_input: bool = True
    ) -> tuple[Any, Gradients]:
        return (tuple(_summed(dy, shape) for shape in saved) if wants_input else None), {}

    def input_terms(self, params: Params, saved: list[Shape], dy: Array, index: Shape, which: int = 0) -> Terms:
        at = _readers_of(index, saved[which], dy.shape)
        upstream = dy[tuple(at.T)]
        return Terms(upstream, np.ones_like(upstream), at)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return sum((np.abs(x) for x in _aligned(inputs)), start=np.zeros_like(y)) * (len(inputs) - 1)

    def input_error(self, params: Params, saved: list[Shape], inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [_summed(np.abs(dy), shape) * (dy.size // x.size - 1) for shape, x in zip(saved, inputs, strict=True)]


@dataclass(frozen=True)
class Multiply(Operator):
    """y = x_1 * x_2, elementwise."""

    in_text = False
    local_symbol = "x"

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y = x_1 \odot x_2",
            input=r"\frac{\partial L}{\partial x_1} = x_2 \odot \frac{\partial L}{\partial y}, \quad"
            r" \frac{\partial L}{\partial x_2} = x_1 \odot \frac{\partial L}{\partial y}",
        )

    def build(self, *shapes: Shape) -> Built:
        if len(shapes) != 2:
            raise self.unfit(shapes, "multiply")
        return Built(_broadcast(self, shapes, "multiply"))

    def forward(self, params: Params, x: Array, y: Array, context: Any) -> tuple[Array, Any]:  # type: ignore[override]
        a, b = _aligned((x, y))
        return a * b, (x, y)

    def backward(
        self, params: Params, saved: tuple[Array, Array], dy: Array, wants_input: bool = True
    ) -> tuple[Any, Gradients]:
        if not wants_input:
            return None, {}
        (x, y), (a, b) = saved, _aligned(saved)
        return (_summed(dy * b, x.shape), _summed(dy * a, y.shape)), {}

    def input_terms(self, params: Params, saved: tuple[Array, Array], dy: Array, index: Shape, which: int = 0) -> Terms:
        at = _readers_of(index, saved[which].shape, dy.shape)
        other = np.broadcast_to(_aligned(saved)[1 - which], dy.shape)
        return Terms(dy[tuple(at.T)], other[tuple(at.T)], at)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.abs(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        a, b = (np.abs(x) for x in inputs)
        sizes, _ = self.backward(params, (a, b), np.abs(dy))
        return [d * (dy.size // d.size) for d in sizes]


@dataclass(frozen=True)
class MatMul(Operator):
    """y = x_1 @ x_2: the matrix product of the last two axes of each sample."""

    in_text = False
    local_symbol = "x"

    @property
    def formulas(self) -> Formulas:
        return Formulas(
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

    def backward(
        self, params: Params, saved: tuple[Array, Array], dy: Array, wants_input: bool = True
    ) -> tuple[Any, Gradients]:
        a, b = saved
        return ((dy @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ dy) if wants_input else None), {}

    def input_terms(self, params: Params, saved: tuple[Array, Array], dy: Array, index: Shape, which: int = 0) -> Terms:
        *before, row, column = index
        a, b = saved
        here = tuple(before)
        if which == 0:
            return Terms(dy[here][row], b[here][column], row_indices((*here, row), dy.shape[-1]))
        rows = np.arange(dy.shape[-2])
        at = np.column_stack([*(np.full(len(rows), k) for k in here), rows, np.full(len(rows), column)])
        return Terms(dy[here][:, column], a[here][:, row], at)

    def cost(self, built: Built) -> float:
        return 30.0 * np.prod(built.output_shape, dtype=float)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        a, b = (np.abs(x) for x in inputs)
        return a.shape[-1] * (a @ b)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        a, b = (np.abs(x) for x in inputs)
        sizes, _ = self.backward(params, (a, b), np.abs(dy))
        return [sizes[0] * dy.shape[-1], sizes[1] * dy.shape[-2]]


@dataclass(frozen=True)
class Concatenate(Operator):
    """The inputs side by side along the last axis."""

    in_text = False
    local_symbol = "1"

    @property
    def formulas(self) -> Formulas:
        return Formulas(
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

    def backward(self, params: Params, saved: list[int], dy: Array, wants_input: bool = True) -> tuple[Any, Gradients]:
        return (tuple(np.split(dy, saved[1:-1], axis=-1)) if wants_input else None), {}

    def input_terms(self, params: Params, saved: list[int], dy: Array, index: Shape, which: int = 0) -> Terms:
        at = (*index[:-1], index[-1] + saved[which])
        upstream = dy[at].reshape(1)
        return Terms(upstream, np.ones_like(upstream), one_index(at))

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(x) for x in inputs]


@dataclass(frozen=True)
class Scale(Operator):
    """y = factor * x, with a fixed factor."""

    factor: float

    local_symbol = "factor"

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.factor)), f"scale: the factor is {self.factor}; it must be a finite number")

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y = c\, x", input=r"\frac{\partial L}{\partial x} = c\, \frac{\partial L}{\partial y}"
        )

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Any]:
        return x * x.dtype.type(self.factor), None

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> tuple[Any, Gradients]:
        return (dy * dy.dtype.type(self.factor) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        upstream = dy[index].reshape(1)
        return Terms(upstream, np.full_like(upstream, self.factor), one_index(index))


@dataclass(frozen=True)
class Transpose(Operator):
    """A sample's axes in another order; by default the last two are swapped.

    `axes` are the sample's, counted from 0, as in numpy.transpose.
    """

    axes: tuple[int, ...] = ()

    local_symbol = "1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        require(
            sorted(self.axes) == list(range(len(self.axes))), f"transpose: {self.axes} is no order of a sample's axes"
        )

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y_{ji} = x_{ij}",
            input=r"\frac{\partial L}{\partial x_{ij}} = \frac{\partial L}{\partial y_{ji}}",
        )

    def order(self, dimensions: int) -> tuple[int, ...]:
        """The order of all axes of an array of so many dimensions, the samples' among them."""
        if self.axes:
            return (0, *(axis + 1 for axis in self.axes))
        return (*range(dimensions - 2), dimensions - 1, dimensions - 2)

    def build(self, input_shape: Shape) -> Built:
        if len(input_shape) != len(self.axes) if self.axes else len(input_shape) < 2:
            raise self.misfit(input_shape, f"{len(self.axes) or 'two or more'} axes a sample")
        order = self.order(len(input_shape) + 1)[1:]
        return Built(tuple(input_shape[k - 1] for k in order))

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Any]:
        return np.ascontiguousarray(x.transpose(self.order(x.ndim))), None

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> tuple[Any, Gradients]:
        return (dy.transpose(np.argsort(self.order(dy.ndim))) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        at = tuple(index[k] for k in self.order(dy.ndim))
        upstream = dy[at].reshape(1)
        return Terms(upstream, np.ones_like(upstream), one_index(at))

    def source(self, index: Shape, input_shape: Shape) -> Shape:
        order = self.order(len(index) + 1)[1:]
        back = dict(zip(order, index, strict=True))
        return tuple(back[k] for k in sorted(back))

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(x) for x in inputs]


@dataclass(frozen=True)
class Slice(Operator):
    """The entries from `start` up to `stop` along one axis of a sample, by default the last."""

    start: int
    stop: int
    axis: int = -1

    local_symbol = "1"

    def __post_init__(self) -> None:
        require(
            0 <= self.start < self.stop, f"slice: from {self.start} to {self.stop} there is nothing; start below stop"
        )

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y_{nk} = x_{n,\, k + s}",
            input=r"\frac{\partial L}{\partial x_{ni}} = \frac{\partial L}{\partial y_{n,\, i - s}}",
        )

    def _axis(self, dimensions: int) -> int:
        """The axis in an array of so many dimensions, the samples' among them."""
        return self.axis + (1 if self.axis >= 0 else dimensions)

    def _where(self, dimensions: int) -> tuple[slice, ...]:
        return (*(slice(None),) * self._axis(dimensions), slice(self.start, self.stop))

    def build(self, input_shape: Shape) -> Built:
        axis = self._axis(len(input_shape) + 1) - 1
        if not 0 <= axis < len(input_shape) or self.stop > input_shape[axis]:
            raise self.misfit(input_shape, f"{self.stop} or more entries along axis {self.axis}")
        return Built((*input_shape[:axis], self.stop - self.start, *input_shape[axis + 1 :]))

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Shape]:
        return x[self._where(x.ndim)], x.shape

    def backward(self, params: Params, saved: Shape, dy: Array, wants_input: bool = True) -> tuple[Any, Gradients]:
        if not wants_input:
            return None, {}
        dx = np.zeros(saved, dtype=dy.dtype)
        dx[self._where(dy.ndim)] = dy
        return dx, {}

    def input_terms(self, params: Params, saved: Shape, dy: Array, index: Shape) -> Terms:
        axis = self._axis(dy.ndim)
        if not self.start <= index[axis] < self.stop:
            return Terms(dy[:0].ravel(), dy[:0].ravel(), np.zeros((0, dy.ndim), dtype=np.intp))
        at = (*index[:axis], index[axis] - self.start, *index[axis + 1 :])
        upstream = dy[at].reshape(1)
        return Terms(upstream, np.ones_like(upstream), one_index(at))

    def source(self, index: Shape, input_shape: Shape) -> Shape:
        axis = self._axis(len(index) + 1) - 1
        return (*index[:axis], index[axis] + self.start, *index[axis + 1 :])

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(inputs[0])]


def _broadcast(layer: Operator, shapes: Sequence[Shape], how: str) -> Shape:
    """The shape that these broadcast to, of one sample."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise layer.unfit(shapes, how) from None


def _aligned(xs: Sequence[Array]) -> list[Array]:
    """The same arrays with as many axes as the largest, ready to broadcast sample by sample."""
    most = max(x.ndim for x in xs)
    return [x.reshape(len(x), *(1,) * (most - x.ndim), *x.shape[1:]) for x in xs]


def _stretched(x_shape: Shape, y_shape: Shape) -> Shape:
    """The shape of x with as many axes as y's."""
    return (x_shape[0], *(1,) * (len(y_shape) - len(x_shape)), *x_shape[1:])


def _summed(dy: Array, x_shape: Shape) -> Array:
    """The derivative of an input of this shape that was broadcast to dy's."""
    if dy.shape == x_shape:
        return dy
    stretched = _stretched(x_shape, dy.shape)
    repeated = tuple(k for k, (x, y) in enumerate(zip(stretched, dy.shape, strict=True)) if x != y)
    return dy.sum(axis=repeated, keepdims=True).reshape(x_shape)


def _readers_of(index: Shape, x_shape: Shape, y_shape: Shape) -> Array:
    """(K, d) the entries of y to which the entry of x at this index was broadcast."""
    stretched = _stretched(x_shape, y_shape)
    place = (index[0], *(0,) * (len(y_shape) - len(x_shape)), *index[1:])
    sizes = tuple(y if x != y else 1 for x, y in zip(stretched, y_shape, strict=True))
    return indices(sizes) + np.array([0 if n > 1 else k for n, k in zip(sizes, place, strict=True)])
