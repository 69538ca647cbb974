"""Expand: each input feeds units of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import integers, is_integer, require
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
class Expand(Layer):
    """z = x * W + b for each input on its own: input i becomes `units` numbers.

    x of shape (samples, ..., inputs) becomes (samples, ..., expanded inputs * units). With a ReLU
    after it, the layers that follow can learn any piecewise linear function of each input, with
    bends at -b / W; with a sine, a Fourier series (Gorishniy et al., 2022).

    Attributes:
        units: the numbers that an input becomes
        on: the inputs to expand, counted from 0; the others are left out. By default all
        weights: the distribution of W, of shape (expanded inputs, units)
        biases: the distribution of b, of the same shape

    Examples:
        >>> Expand(4).build((3,)).output_shape, Expand(4, on=(0, 2)).build((3,)).output_shape
        ((12,), (8,))
    """

    units: int
    on: tuple[int, ...] | None = None
    weights: Any = "normal 0 1"
    biases: Any = "uniform -1 1"

    output_symbol = "z"
    local_symbol = "w"

    def __post_init__(self) -> None:
        whole = is_integer(self.units) and self.units > 0
        require(whole, f"expand: {self.units!r} units; it takes a whole number above 0")
        if self.on is not None:
            object.__setattr__(self, "on", integers("expand: on", self.on))
            rises = list(self.on) == sorted({*self.on}) and bool(self.on) and self.on[0] >= 0
            require(rises, f"expand: on is {self.on}; it takes numbers of inputs in rising order, from 0")
        object.__setattr__(self, "weights", distributions.of(self.weights))
        object.__setattr__(self, "biases", distributions.of(self.biases))

    formulas = Formulas(
        forward=r"z_{n,ik} = x_{ni}\, W_{ik} + b_{ik}",
        input=r"\frac{\partial L}{\partial x_{ni}} = \sum_k W_{ik}\, \delta_{n,ik}",
        parameters={
            "W": r"\frac{\partial L}{\partial W_{ik}} = \sum_n \delta_{n,ik}\, x_{ni}",
            "b": r"\frac{\partial L}{\partial b_{ik}} = \sum_n \delta_{n,ik}",
        },
    )

    def build(self, input_shape: Shape) -> Built:
        if not input_shape or (self.on is not None and self.on[-1] >= input_shape[-1]):
            raise self.misfit(input_shape, f"{1 + max(self.on or (0,))} inputs or more for each sample")
        expanded = input_shape[-1] if self.on is None else len(self.on)
        shape, fans = (expanded, self.units), (1, self.units)
        # Decay would push the bends -b / W away from the samples.
        parameters = {
            "W": Parameter(shape, self.weights, fans, regularized=False),
            "b": Parameter(shape, self.biases, fans, regularized=False),
        }
        return Built((*input_shape[:-1], expanded * self.units), parameters)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        z = self._expanded(x)[..., None] * params["W"] + params["b"]
        return z.reshape(*x.shape[:-1], -1), x

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        x = self._expanded(saved)
        delta = dy.reshape(*x.shape, self.units)
        gradients = {"W": delta * x[..., None], "b": delta}
        gradients = {name: each.reshape(-1, *params["W"].shape).sum(axis=0) for name, each in gradients.items()}
        return (self._to_inputs(saved, (delta * params["W"]).sum(axis=-1)) if wants_input else None), gradients

    def _expanded(self, x: Array) -> Array:
        """The inputs that are expanded."""
        return x if self.on is None else x[..., list(self.on)]

    def _to_inputs(self, x: Array, expanded: Array) -> Array:
        """These numbers at the inputs that are expanded, and 0 at the others."""
        if self.on is None:
            return expanded
        every = np.zeros(x.shape, dtype=expanded.dtype)
        every[..., list(self.on)] = expanded
        return every

    def _row(self, i: int) -> int | None:
        """The row of W that belongs to input i, if there is one."""
        if self.on is None:
            return i
        return self.on.index(i) if i in self.on else None

    def sample_products(self, params: Params, saved: Array, dy: Array, along: Params) -> Array:
        return by_sample(dy, self.forward(along, saved, Context())[0])

    def parameter_terms(self, params: Params, saved: Array, dy: Array, name: str, index: Shape) -> Terms:
        row, k = index
        output = row * self.units + k
        upstream = dy[..., output].ravel()
        local = self._expanded(saved)[..., row].ravel() if name == "W" else np.ones_like(upstream)
        return Terms(upstream, local, feature_indices(dy.shape, output))

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> Terms:
        *before, i = index
        row = self._row(i)
        if row is None:
            empty = np.zeros(0, dtype=dy.dtype)
            return Terms(empty, empty, np.zeros((0, dy.ndim), dtype=np.intp))
        at = row_indices(before, self.units)
        at[:, -1] += row * self.units
        return Terms(dy[tuple(at.T)], params["W"][row], at)

    def cost(self, built: Built) -> float:
        return 6.0 * math.prod(built.output_shape)

    def linear(self, params: Params, unit: int) -> tuple[Array, float] | None:
        if self.on is not None:  # the number of inputs is unknown here
            return None
        row, k = divmod(unit, self.units)
        weights = np.zeros(len(params["W"]), dtype=params["W"].dtype)
        weights[row] = params["W"][row, k]
        return weights, float(params["b"][row, k])

    def why_unused(self, saved: Any, index: Shape) -> str:
        return f"{self.called} leaves it out"

    def letters(self, parameter: str, dimensions: int) -> tuple[str, ...]:
        return ("i", "k")

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        row, k = index
        of = source(row if self.on is None else self.on[row])
        unit = f"unit {row * self.units + k} of {self.called}"
        return f"the bias of {unit}, which belongs to {of}" if parameter == "b" else f"the weight from {of} to {unit}"

    def output_error(self, params: Params, saved: Array, inputs: Sequence[Array], y: Array) -> Array:
        sizes = np.abs(self._expanded(inputs[0]))[..., None] * np.abs(params["W"]) + np.abs(params["b"])
        return 2 * sizes.reshape(y.shape)

    def input_error(self, params: Params, saved: Array, inputs: Sequence[Array], dy: Array) -> list[Array]:
        (x,) = inputs
        delta = np.abs(dy).reshape(*self._expanded(x).shape, self.units)
        return [(self.units + 1) * self._to_inputs(x, (delta * np.abs(params["W"])).sum(axis=-1))]
