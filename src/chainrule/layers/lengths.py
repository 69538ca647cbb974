"""What sequences of different lengths take: a mask, and pooling over the valid positions alone.

x has the shape (samples, time, features). The second input, of shape (samples,), is the number of
valid positions of each sample, a count and not a quantity: its derivative is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.layers.base import Backward, Built, Formulas, Terms, one_term
from chainrule.layers.operators import Operator
from chainrule.layers.recurrence import no_terms


@dataclass(frozen=True)
class OfLengths(Operator, register=False):
    """A layer on sequences and their lengths."""

    keeps_time = False

    def build(self, *shapes: Shape) -> Built:
        if len(shapes) != 2 or len(shapes[0]) != 2 or shapes[1] != ():
            raise self.unfit(shapes, "use lengths of the shape () for a sequence (time, features), with")
        return Built(shapes[0] if self.keeps_time else shapes[0][1:])

    def why_unused(self, saved: Any, index: Shape) -> str:
        return (
            f"to {self.called} it is a number of positions" if len(index) == 1 else "after the sample's last position"
        )

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return 0, 0, 0


def valid(x: Array, lengths: Array) -> Array:
    """(samples, time) whether each position is before the end of its sample."""
    return np.arange(x.shape[1]) < lengths.reshape(-1, 1)


@dataclass(frozen=True)
class Mask(OfLengths):
    """y_t = x_t up to the end of a sample, and 0 after it.

    Examples:
        >>> x, lengths = np.ones((2, 3, 1)), np.array([1, 3])
        >>> Mask().forward({}, x, lengths, None)[0][..., 0].tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """

    keeps_time = True
    formulas = Formulas(
        forward=r"y_{ntj} = [t < T_n]\, x_{ntj}",
        input=r"\frac{\partial L}{\partial x_{ntj}} = [t < T_n]\, \frac{\partial L}{\partial y_{ntj}}",
    )

    def forward(self, params: Params, *given: Any) -> tuple[Array, Array]:
        x, lengths, _ = given
        counts = valid(x, lengths)[..., None]
        return np.where(counts, x, x.dtype.type(0)), counts

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        return ((dy * saved, np.zeros(len(dy), dy.dtype)) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape, which: int = 0) -> Terms:
        return one_term(dy, index) if which == 0 and saved[index[:2]].item() else no_terms(dy)


@dataclass(frozen=True)
class ValidMax(OfLengths):
    """The largest input of each feature over the valid positions, of equal ones the first:
    (samples, features). A sample without positions gets 0.
    """

    formulas = Formulas(
        forward=r"y_{nj} = \max_{t < T_n} x_{ntj}",
        input=r"\frac{\partial L}{\partial x_{ntj}} = [t = \operatorname{argmax}_{s < T_n} x_{nsj}]\,"
        r" \frac{\partial L}{\partial y_{nj}}",
    )

    def forward(self, params: Params, *given: Any) -> tuple[Array, Any]:
        x, lengths, _ = given
        counts = valid(x, lengths)
        won = np.where(counts[..., None], x, -np.inf).argmax(axis=1)
        y = np.take_along_axis(x, won[:, None], axis=1)[:, 0]
        has_any = counts.any(axis=1, keepdims=True)
        return np.where(has_any, y, x.dtype.type(0)), (won, has_any, x.shape)

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        won, has_any, shape = saved
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, won[:, None], (dy * has_any)[:, None], axis=1)
        return (dx, np.zeros(len(dy), dy.dtype)), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape, which: int = 0) -> Terms:
        won, has_any, _ = saved
        if which == 1 or not has_any[index[0]].item() or won[index[0], index[2]] != index[1]:
            return no_terms(dy)
        return one_term(dy, (index[0], index[2]))

    def why_unused(self, saved: Any, index: Shape) -> str:
        if len(index) == 1:
            return super().why_unused(saved, index)
        return f"{self.called} takes the largest, which is at position {saved[0][index[0], index[2]]}"

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)


@dataclass(frozen=True)
class ValidMean(OfLengths):
    """The mean input of each feature over the valid positions: (samples, features). A sample
    without positions gets 0.
    """

    local_symbol = "1/T"
    formulas = Formulas(
        forward=r"y_{nj} = \frac{1}{T_n} \sum_{t < T_n} x_{ntj}",
        input=r"\frac{\partial L}{\partial x_{ntj}} = \frac{[t < T_n]}{T_n}\, \frac{\partial L}{\partial y_{nj}}",
    )

    def forward(self, params: Params, *given: Any) -> tuple[Array, Array]:
        x, lengths, _ = given
        counts = valid(x, lengths)
        shares = counts.astype(x.dtype) / np.maximum(counts.sum(axis=1, keepdims=True), 1).astype(x.dtype)
        return np.einsum("nt,ntj->nj", shares, x), shares

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        return ((saved[..., None] * dy[:, None], np.zeros(len(dy), dy.dtype)) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape, which: int = 0) -> Terms:
        if which == 1 or not saved[index[:2]]:
            return no_terms(dy)
        at = (index[0], index[2])
        return Terms(dy[at].reshape(1), saved[index[:2]].reshape(1), np.array([at]))

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return inputs[0].shape[1] + 1, 1, 0
