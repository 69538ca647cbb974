"""Dense: every input feeds every unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import require
from chainrule.layers.base import Built, Context, Formulas, Layer, Parameter, Terms, places


@dataclass(frozen=True)
class Dense(Layer):
    """z = x @ W + b, with W of shape (inputs, units) and b of shape (units,).

    x has shape (samples, ..., inputs). `activation` is the name of one or a layer: `Dense(64, activation="relu")` is
    `Dense(64)` followed by `ReLU()`, so the derivative that arrives at a Dense layer's output is its delta. `weights`
    and `biases` say what they are drawn from; by default the weights' distribution follows the activation that comes
    after, and biases are 0.

    Examples:
        >>> Dense(3).build((2,)).parameters["W"].shape
        (2, 3)
    """

    units: int
    activation: str | Layer | None = None
    weights: Any = None
    biases: Any = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        require(
            isinstance(self.units, int) and self.units > 0,
            f"dense: {self.units!r} units; it takes a whole number above 0",
        )
        if self.weights is not None:
            object.__setattr__(self, "weights", distributions.of(self.weights))
        object.__setattr__(self, "biases", distributions.of(self.biases))

    @property
    def formulas(self) -> Formulas:
        bias = {"b": r"\frac{\partial L}{\partial b_j} = \sum_n \delta_{nj}"} if self.bias else {}
        return Formulas(
            forward=r"z_{nj} = \sum_i x_{ni} W_{ij}" + (" + b_j" if self.bias else ""),
            input=r"\frac{\partial L}{\partial x_{ni}} = \sum_j W_{ij}\, \delta_{nj}",
            parameters={"W": r"\frac{\partial L}{\partial W_{ij}} = \sum_n \delta_{nj}\, x_{ni}"} | bias,
        )

    def build(self, input_shape: Shape) -> Built:
        if not input_shape:
            raise self.misfit(input_shape, "a list of inputs for each sample")
        inputs = input_shape[-1]
        parameters = {"W": Parameter((inputs, self.units), self.weights, (inputs, self.units))}
        if self.bias:
            parameters["b"] = Parameter((self.units,), self.biases, (inputs, self.units))
        return Built((*input_shape[:-1], self.units), parameters)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        z = x @ params["W"]
        if self.bias:
            z += params["b"]
        return z, x

    def backward(
        self, params: Params, saved: Array, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        x, delta = _rows(saved), _rows(dy)
        gradients = {"W": x.T @ delta}
        if self.bias:
            gradients["b"] = delta.sum(axis=0)
        return (dy @ params["W"].T if wants_input else None), gradients

    def parameter_terms(self, params: Params, saved: Array, dy: Array, name: str, index: Shape) -> list[Terms]:
        unit = index[-1]
        upstream = dy[..., unit].ravel()
        local = saved[..., index[0]].ravel() if name == "W" else np.ones_like(upstream)
        at = places(dy.shape[:-1])
        return [Terms(upstream, local, np.column_stack([at, np.full(len(at), unit)]))]

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> list[Terms]:
        *before, i = index
        units = np.arange(self.units)
        at = np.column_stack([*(np.full(self.units, k) for k in before), units])
        return [Terms(dy[tuple(before)], params["W"][i], at)]


def _rows(array: Array) -> Array:
    """The same as a matrix: one row a sample and position."""
    return array.reshape(-1, array.shape[-1])
