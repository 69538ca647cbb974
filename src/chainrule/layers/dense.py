"""Dense: every input feeds every unit. TiedDense does so with the weights of another layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import SettingError, require
from chainrule.layers.activated import Activated
from chainrule.layers.base import (
    Backward,
    Built,
    Context,
    Formulas,
    Layer,
    Parameter,
    Terms,
    by_sample,
    feature_indices,
    row_indices,
)


@dataclass(frozen=True)
class Dense(Activated):
    """z = x @ W + b, with W of shape (inputs, units) and b of shape (units,).

    x has shape (samples, ..., inputs). `Dense(64, activation="relu")` stands for `Dense(64)`
    followed by `ReLU()`, so the derivative that arrives at a Dense layer's output is its delta.

    Attributes:
        units: the number of outputs
        activation: the name of an activation, or a layer, that follows
        weights: the distribution of W; by default the one that suits the activation that follows
        biases: the distribution of b, by default 0
        bias: whether there is a b

    Examples:
        >>> Dense(3).build((2,)).parameters["W"].shape
        (2, 3)
    """

    units: int
    activation: str | Layer | None = None
    weights: str | distributions.Drawn | None = None
    biases: str | distributions.Drawn = distributions.ZEROS
    bias: bool = True

    matrix: ClassVar[str] = "W"
    """The name of the weights."""

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
        weights = None if self.weights is None else distributions.of(self.weights)
        parameters = {self.matrix: Parameter((inputs, self.units), weights, (inputs, self.units))}
        if self.bias:
            biases = distributions.of(self.biases)
            parameters["b"] = Parameter((self.units,), biases, (inputs, self.units), regularized=False)
        return Built((*input_shape[:-1], self.units), parameters)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        z = x @ params[self.matrix]
        if self.bias:
            z += params["b"]
        return z, x

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        x, delta = _rows(saved), _rows(dy)
        gradients = {self.matrix: x.T @ delta}
        if self.bias:
            gradients["b"] = delta.sum(axis=0)
        return (dy @ params[self.matrix].T if wants_input else None), gradients

    def input_derivative(self, params: Params, saved: Array, dy: Array) -> Array:
        return dy @ params[self.matrix].T

    def sample_products(self, params: Params, saved: Array, dy: Array, along: Params) -> Array:
        return by_sample(dy, self.forward(along, saved, Context())[0])

    def parameter_terms(self, params: Params, saved: Array, dy: Array, name: str, index: Shape) -> Terms:
        unit = index[-1]
        upstream = dy[..., unit].ravel()
        local = saved[..., index[0]].ravel() if name == self.matrix else np.ones_like(upstream)
        return Terms(upstream, local, feature_indices(dy.shape, unit))

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> Terms:
        *before, i = index
        return Terms(dy[tuple(before)], params[self.matrix][i], row_indices(before, self.units))

    def cost(self, built: Built) -> float:
        return 6.0 * math.prod(built.output_shape[:-1]) * math.prod(built.parameters[self.matrix].shape)

    def linear(self, params: Params, unit: int) -> tuple[Array, float]:
        return params[self.matrix][:, unit], float(params["b"][unit]) if self.bias else 0.0

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        if parameter == "b":
            return f"the bias of unit {index[0]} of {self.called}"
        return f"the weight from {source(index[0])} to unit {index[1]} of {self.called}"

    def output_error(self, params: Params, saved: Array, inputs: Sequence[Array], y: Array) -> Array:
        sizes = np.abs(inputs[0]) @ np.abs(params[self.matrix])
        return (inputs[0].shape[-1] + 1) * (sizes + np.abs(params["b"]) if self.bias else sizes)

    def input_error(self, params: Params, saved: Array, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [(dy.shape[-1] + 1) * (np.abs(dy) @ np.abs(params[self.matrix]).T)]


@dataclass(frozen=True)
class TiedDense(Layer):
    """z = x @ W.T, with the matrix W of another layer: tied weights (Press and Wolf, 2017).

    With an Embedding's matrix, of shape (count, units), x of shape (samples, ..., units) becomes
    (samples, ..., count): a score for each symbol. With a Dense layer's, of shape (inputs, units),
    it leads from the units back to the inputs, as in an autoencoder. W gets the gradients of both
    uses.

    Attributes:
        tied_to: the layer whose matrix it uses, which is called before it in the same network or
            composite; or the name of that layer

    Raises:
        SettingError: where there is no such layer

    Examples:
        >>> from chainrule import Network
        >>> [entry.name for entry in Network("embedding 65 8, tied_dense embedding_1", 10).parameters.entries]
        ['embedding_1.W']
    """

    tied_to: Any = None  # type: ignore[misc]

    output_symbol = "z"
    local_symbol = "w"
    formulas = Formulas(
        forward=r"z_{nj} = \sum_i x_{ni} W_{ji}",
        input=r"\frac{\partial L}{\partial x_{ni}} = \sum_j W_{ji}\, \delta_{nj}",
        parameters={"W": r"\frac{\partial L}{\partial W_{ji}} = \sum_n \delta_{nj}\, x_{ni}"},
    )

    def __post_init__(self) -> None:
        fits = isinstance(self.tied_to, str | Layer)
        require(fits, f"{self.called}: it takes the layer whose weights it uses, or its name, not {self.tied_to!r}")

    def build(self, input_shape: Shape, shared: Built | None = None) -> Built:
        own = {} if shared is None else {name: p for name, p in shared.parameters.items() if name == "W"}
        if not own or len(own["W"].shape) != 2:
            raise SettingError(f"layer {self.called}: the layer whose weights it uses has no matrix W")
        outputs, units = own["W"].shape
        if input_shape[-1:] != (units,):
            raise self.misfit(input_shape, f"{units} inputs, one for each column of the matrix whose weights it uses")
        return Built((*input_shape[:-1], outputs), own)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        return x @ params["W"].T, x

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        return (dy @ params["W"] if wants_input else None), {"W": _rows(dy).T @ _rows(saved)}

    def input_derivative(self, params: Params, saved: Array, dy: Array) -> Array:
        return dy @ params["W"]

    def sample_products(self, params: Params, saved: Array, dy: Array, along: Params) -> Array:
        return by_sample(dy, self.forward(along, saved, Context())[0])

    def parameter_terms(self, params: Params, saved: Array, dy: Array, name: str, index: Shape) -> Terms:
        output, i = index
        return Terms(dy[..., output].ravel(), saved[..., i].ravel(), feature_indices(dy.shape, output))

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> Terms:
        *before, i = index
        return Terms(dy[tuple(before)], params["W"][:, i], row_indices(before, dy.shape[-1]))

    def cost(self, built: Built) -> float:
        return 6.0 * math.prod(built.output_shape[:-1]) * math.prod(built.parameters["W"].shape)

    def linear(self, params: Params, unit: int) -> tuple[Array, float]:
        return params["W"][unit], 0.0

    def output_error(self, params: Params, saved: Array, inputs: Sequence[Array], y: Array) -> Array:
        return (inputs[0].shape[-1] + 1) * (np.abs(inputs[0]) @ np.abs(params["W"]).T)

    def input_error(self, params: Params, saved: Array, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [(dy.shape[-1] + 1) * (np.abs(dy) @ np.abs(params["W"]))]


def _rows(array: Array) -> Array:
    """The same as a matrix: one row a sample and position."""
    return array.reshape(-1, array.shape[-1])
