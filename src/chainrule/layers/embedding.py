"""Embedding: a row of learned numbers for each category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import ShapeError, require
from chainrule.layers.base import Backward, Built, Context, Formulas, Layer, Parameter, Terms, by_sample


@dataclass(frozen=True)
class Embedding(Layer):
    """Looks up the row of W for each whole number from 0 to count - 1 in x.

    W has shape (count, units); x of shape (samples, ...) becomes (samples, ..., units). It equals a
    Dense layer on one-hot inputs, without the multiplications. x is an index, not a quantity, so dx
    is 0.
    """

    takes_tokens = True

    count: int
    units: int
    weights: str | distributions.Drawn = "normal"

    def __post_init__(self) -> None:
        require(
            all(isinstance(n, int) and n > 0 for n in (self.count, self.units)),
            f"embedding: {self.count} rows of {self.units} units; both are whole numbers above 0",
        )
        object.__setattr__(self, "weights", distributions.of(self.weights))

    formulas = Formulas(
        forward=r"y_{nj} = W_{x_n j}",
        input=r"\frac{\partial L}{\partial x_n} = 0",
        parameters={
            "W": r"\frac{\partial L}{\partial W_{ij}} = \sum_{n:\, x_n = i} \frac{\partial L}{\partial y_{nj}}"
        },
    )

    def build(self, input_shape: Shape) -> Built:
        shape, weights = (self.count, self.units), distributions.of(self.weights)
        return Built((*input_shape, self.units), {"W": Parameter(shape, weights, shape)})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        rows = x.astype(np.intp)
        if rows.size and (rows.min() < 0 or rows.max() >= self.count or not np.array_equal(rows, x)):
            called = context.place or "embedding"
            raise ShapeError(
                f"layer {called}: its inputs must be whole numbers from 0 to {self.count - 1}; they run from {x.min()}"
                f" to {x.max()}"
            )
        return params["W"][rows], (rows, x)

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        rows, x = saved
        dW = np.zeros((self.count, self.units), dtype=dy.dtype)
        np.add.at(dW, rows, dy)
        return (np.zeros(x.shape, dtype=dy.dtype) if wants_input else None), {"W": dW}

    def input_derivative(self, params: Params, saved: Any, dy: Array) -> Array:
        return np.zeros(saved[1].shape, dtype=dy.dtype)

    def sample_products(self, params: Params, saved: Any, dy: Array, along: Params) -> Array:
        return by_sample(dy, along["W"][saved[0]])

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        rows, _ = saved
        row, unit = index
        at = np.argwhere(rows == row)
        upstream = dy[..., unit][rows == row]
        return Terms(upstream, np.ones_like(upstream), np.column_stack([at, np.full(len(at), unit)]))

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        empty = np.zeros(0, dtype=dy.dtype)
        return Terms(empty, empty, np.zeros((0, dy.ndim), dtype=np.intp))

    def why_unused(self, saved: Any, index: Shape) -> str:
        return f"to {self.called} it is an index, not a quantity"

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        return f"number {index[1]} of row {index[0]} of {self.called}"

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros(inputs[0].shape)]
