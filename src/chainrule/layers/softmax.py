"""Softmax and its logarithm: every output depends on every input of the same sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.layers.base import ULPS, Backward, Context, Formulas, Layer, Terms, row_indices


def softmax(z: Array) -> Array:
    """exp(z_i) / sum_j exp(z_j) over the last axis; subtracting the maximum first avoids
    overflow.
    """
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z: Array) -> Array:
    """The logarithm of softmax, computed without taking the logarithm of an underflowed 0."""
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class AcrossUnits(Layer, register=False):
    """An activation whose outputs depend on all inputs of the same row."""

    output_symbol = "a"

    initial = "glorot_uniform"

    def value(self, z: Array) -> Array:
        """a, in z's shape."""
        raise NotImplementedError

    def pull_back(self, a: Array, dy: Array) -> Array:
        """dL/dz from dL/da."""
        raise NotImplementedError

    def slopes(self, a: Array, i: int) -> Array:
        """(units,) the derivative of each output of one row with respect to its input i."""
        raise NotImplementedError

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        a = self.value(x)
        return a, a

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        return (self.pull_back(saved, dy) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        *row, i = index
        local = self.slopes(saved[tuple(row)], i)
        return Terms(dy[tuple(row)], local, row_indices(row, len(local)))

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return (ULPS + y.shape[-1]) * (np.abs(y) + np.abs(inputs[0]))

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        sizes = np.abs(self.pull_back(saved, dy)) + np.abs(dy).sum(axis=-1, keepdims=True)
        return [(ULPS + dy.shape[-1]) * sizes]


@dataclass(frozen=True)
class Softmax(AcrossUnits):
    """a_i = exp(z_i) / sum_j exp(z_j), over the last axis (Bridle, 1990).

    For classification pass the logits to the loss instead: categorical cross-entropy includes the
    softmax, and computes it more accurately.
    """

    formulas = Formulas(
        forward=r"a_{ni} = \frac{e^{z_{ni}}}{\sum_j e^{z_{nj}}}",
        input=(
            r"\frac{\partial L}{\partial z_{ni}} = \sum_j a_{nj}\,([i = j] - a_{ni})\,\frac{\partial L}{\partial"
            r" a_{nj}}"
        ),
    )

    def value(self, z: Array) -> Array:
        return softmax(z)

    def pull_back(self, a: Array, dy: Array) -> Array:
        return a * (dy - (a * dy).sum(axis=-1, keepdims=True))

    def slopes(self, a: Array, i: int) -> Array:
        return a * ((np.arange(len(a)) == i) - a[i])


@dataclass(frozen=True)
class LogSoftmax(AcrossUnits):
    """a_i = z_i - ln sum_j exp(z_j), over the last axis."""

    formulas = Formulas(
        forward=r"a_{ni} = z_{ni} - \ln \sum_j e^{z_{nj}}",
        input=(
            r"\frac{\partial L}{\partial z_{ni}} = \sum_j ([i = j] - e^{a_{ni}})\,\frac{\partial L}{\partial"
            r" a_{nj}}"
        ),
    )

    def value(self, z: Array) -> Array:
        return log_softmax(z)

    def pull_back(self, a: Array, dy: Array) -> Array:
        return dy - np.exp(a) * dy.sum(axis=-1, keepdims=True)

    def slopes(self, a: Array, i: int) -> Array:
        return (np.arange(len(a)) == i) - np.exp(a[i])
