"""Softmax and its logarithm: every output depends on every input of the same sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.layers.base import Context, Formulas, Layer, Terms


def softmax(z: Array) -> Array:
    """exp(z_i) / sum_j exp(z_j) over the last axis; the largest is subtracted first, so that nothing overflows."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z: Array) -> Array:
    """The logarithm of softmax, without ever taking the logarithm of a rounded 0."""
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _row_terms(dy: Array, local: Array, index: Shape) -> list[Terms]:
    """The terms of an input of a row, each output of which depends on it by `local`."""
    before = index[:-1]
    units = np.arange(len(local))
    return [Terms(dy[before], local, np.column_stack([*(np.full(len(units), k) for k in before), units]))]


@dataclass(frozen=True)
class Softmax(Layer):
    """a_i = exp(z_i) / sum_j exp(z_j), over the last axis (Bridle, 1990).

    To classify, give the loss the inputs of the softmax (logits) instead: categorical cross-entropy takes the softmax
    itself, more exactly.
    """

    @property
    def initial(self) -> str | None:
        return "glorot_uniform"

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"a_{ni} = \frac{e^{z_{ni}}}{\sum_j e^{z_{nj}}}",
            input=(
                r"\frac{\partial L}{\partial z_{ni}} = \sum_j a_{nj}\,([i = j] - a_{ni})\,\frac{\partial L}{\partial"
                r" a_{nj}}"
            ),
        )

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        a = softmax(x)
        return a, a

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        a = saved
        return (a * (dy - (a * dy).sum(axis=-1, keepdims=True)) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        a = saved[index[:-1]]
        own = np.arange(len(a)) == index[-1]
        return _row_terms(dy, a * (own - a[index[-1]]), index)


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """a_i = z_i - ln sum_j exp(z_j), over the last axis."""

    @property
    def initial(self) -> str | None:
        return "glorot_uniform"

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"a_{ni} = z_{ni} - \ln \sum_j e^{z_{nj}}",
            input=(
                r"\frac{\partial L}{\partial z_{ni}} = \sum_j ([i = j] - e^{a_{ni}})\,\frac{\partial L}{\partial"
                r" a_{nj}}"
            ),
        )

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        a = log_softmax(x)
        return a, a

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        return (dy - np.exp(saved) * dy.sum(axis=-1, keepdims=True) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        own = np.arange(saved.shape[-1]) == index[-1]
        return _row_terms(dy, own - np.exp(saved[index]), index)
