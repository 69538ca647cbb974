"""Upsample and ZeroPad, and the linear maps that treat each axis of positions on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape, Sizes
from chainrule.errors import unknown
from chainrule.layers.base import Backward, Built, Formulas, Terms, one_term
from chainrule.layers.windows import Windowed, along, checked, crossed


@dataclass(frozen=True)
class Weighted(Windowed, register=False):
    """A layer whose outputs are sums of the inputs with fixed weights: along each axis of positions
    a matrix, of shape (outputs, inputs), is multiplied by the numbers along it.
    """

    local_symbol = "weight"
    formulas = Formulas(
        forward=r"y_{npj} = \sum_r A_{pr}\, x_{nrj}",
        input=r"\frac{\partial L}{\partial x_{nrj}} = \sum_p A_{pr}\, \frac{\partial L}{\partial y_{npj}}",
    )

    def matrices(self, positions: Shape) -> list[Array]:
        """The matrix along each axis of positions."""
        raise NotImplementedError

    def reads(self, positions: Shape) -> list[list[Array]]:
        return [[np.flatnonzero(row) for row in A] for A in self.matrices(positions)]

    def build(self, input_shape: Shape) -> Built:
        outputs = tuple(len(A) for A in self.matrices(self.positions(input_shape)))
        return Built((*(() if self.whole else outputs), input_shape[-1]))

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Shape]:
        y = _along_axes(self.matrices(x.shape[1:-1]), x)
        return (y.reshape(len(x), -1) if self.whole else y), x.shape

    def backward(self, params: Params, saved: Shape, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        matrices = self.matrices(saved[1:-1])
        dy = dy.reshape(len(dy), *(len(A) for A in matrices), saved[-1])
        return _along_axes([A.T for A in matrices], dy), {}

    def input_terms(self, params: Params, saved: Shape, dy: Array, index: Shape) -> Terms:
        sample, *position, channel = index
        columns = [A[:, i] for A, i in zip(self.matrices(saved[1:-1]), position, strict=True)]
        local = crossed([column[column != 0] for column in columns]).prod(axis=1)
        at = crossed([np.flatnonzero(column) for column in columns])
        at = np.column_stack([np.full(len(at), sample), *(() if self.whole else (at,)), np.full(len(at), channel)])
        return Terms(dy[tuple(at.T)], local.astype(dy.dtype), at)

    # The map is linear with weights from 0, so an error is bounded by the map of absolute values.

    def output_error(self, params: Params, saved: Shape, inputs: Sequence[Array], y: Array) -> Array:
        sizes, _ = self.forward(params, np.abs(inputs[0]), None)
        return sum(A.shape[1] + 1 for A in self.matrices(saved[1:-1])) * sizes

    def input_error(self, params: Params, saved: Shape, inputs: Sequence[Array], dy: Array) -> list[Array]:
        sizes, _ = self.backward(params, saved, np.abs(dy))
        return [sum(A.shape[0] + 1 for A in self.matrices(saved[1:-1])) * sizes]


def _along_axes(matrices: Sequence[Array], x: Array) -> Array:
    """Each matrix multiplied by the numbers along its axis of positions."""
    for axis, A in enumerate(matrices, start=1):
        x = np.moveaxis(np.tensordot(A.astype(x.dtype), x, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(x)


@dataclass(frozen=True)
class Upsample(Weighted):
    """Enlarges a signal, a picture or a volume.

    x of shape (samples, positions..., channels) becomes (samples, positions * factor...,
    channels).

    Attributes:
        factor: by how much, along each axis of positions or one integer for all
        method: "nearest" repeats each input; "bilinear" interpolates linearly along each axis
            between the centres of the inputs: output o lies at (o + 1/2) / factor - 1/2, and what
            lies beyond the first or last centre has its value

    Examples:
        >>> Upsample(2, "bilinear").matrices((3,))[0].tolist()[:3]
        [[1.0, 0.0, 0.0], [0.75, 0.25, 0.0], [0.25, 0.75, 0.0]]
    """

    factor: Sizes = 2
    method: str = "nearest"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", checked("upsample: factor", self.factor))
        if self.method not in ("nearest", "bilinear"):
            raise unknown("method of upsampling", self.method, ("nearest", "bilinear"))

    def matrices(self, positions: Shape) -> list[Array]:
        factors = along(self.factor, len(positions))
        return [self._matrix(n, factor) for n, factor in zip(positions, factors, strict=True)]

    def _matrix(self, inputs: int, factor: int) -> Array:
        if self.method == "nearest":
            return np.repeat(np.eye(inputs), factor, axis=0)
        at = np.clip((np.arange(inputs * factor) + 0.5) / factor - 0.5, 0, inputs - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(inputs)))


@dataclass(frozen=True)
class ZeroPad(Windowed):
    """Adds zeros around a signal, a picture or a volume.

    x of shape (samples, positions..., channels) becomes (samples, before + positions + after...,
    channels).

    Attributes:
        before: the zeros before the first position of each axis, or one number for all
        after: the zeros behind the last; by default as many

    Examples:
        >>> ZeroPad((0, 1), (0, 2)).build((5, 5, 3)).output_shape
        (5, 8, 3)
    """

    before: Sizes = 1
    after: Sizes | None = None

    local_symbol = "1"
    formulas = Formulas(
        forward=r"y_{npj} = x_{n, p - q, j}, \text{ or } 0 \text{ outside}",
        input=r"\frac{\partial L}{\partial x_{nrj}} = \frac{\partial L}{\partial y_{n, r + q, j}}",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "before", checked("zero_pad: before", self.before, least=0))
        if self.after is not None:
            object.__setattr__(self, "after", checked("zero_pad: after", self.after, least=0))
        _ = self.dimensions  # settings that don't agree should be known here

    def sides(self, axes: int) -> list[tuple[int, int]]:
        """The zeros before and after, along each axis of positions."""
        after = self.before if self.after is None else self.after
        return list(zip(along(self.before, axes), along(after, axes), strict=True))

    def reads(self, positions: Shape) -> list[list[Array]]:
        sides = zip(positions, self.sides(len(positions)), strict=True)
        return [[np.arange(max(o - b, 0), min(o - b + 1, n)) for o in range(b + n + a)] for n, (b, a) in sides]

    def build(self, input_shape: Shape) -> Built:
        positions = self.positions(input_shape)
        sides = self.sides(len(positions))
        return Built((*(b + n + a for n, (b, a) in zip(positions, sides, strict=True)), input_shape[-1]))

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Shape]:
        return np.pad(x, [(0, 0), *self.sides(x.ndim - 2), (0, 0)]), x.shape

    def backward(self, params: Params, saved: Shape, dy: Array, wants_input: bool = True) -> Backward:
        inner = (slice(b, b + n) for n, (b, _) in zip(saved[1:-1], self.sides(len(saved) - 2), strict=True))
        return (np.ascontiguousarray(dy[(slice(None), *inner)]) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Shape, dy: Array, index: Shape) -> Terms:
        sample, *position, channel = index
        moved = (i + b for i, (b, _) in zip(position, self.sides(len(position)), strict=True))
        return one_term(dy, (sample, *moved, channel))

    def source(self, index: Shape, *input_shapes: Shape) -> tuple[int, Shape] | None:
        *position, channel = index
        back = [p - b for p, (b, _) in zip(position, self.sides(len(position)), strict=True)]
        inside = all(0 <= p < n for p, n in zip(back, input_shapes[0][:-1], strict=True))
        return (0, (*back, channel)) if inside else None

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(inputs[0])]
