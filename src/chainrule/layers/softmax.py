"""Softmax, its logarithm, and a softmax that leaves out what a mask hides: every output depends on
every input of the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.errors import ShapeError, require
from chainrule.layers.base import ULPS, Backward, Built, Context, Formulas, Layer, Terms, row_indices


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


@dataclass(frozen=True)
class MaskedSoftmax(Layer):
    """A softmax over the keys that a query may see: a_ij = exp(z_ij) / sum_k exp(z_ik), where j and
    k are visible to i, and 0 for all other keys (Vaswani et al., 2017, section 3.2.3).

    z has the shape (samples, ..., queries, keys). A second input, of shape (samples,), has the
    number of valid keys of each sample: keys at or after it are hidden. A query that sees no key
    gets the weight 0 for all of them.

    Attributes:
        causal: whether a query sees only the keys up to its own position; if there are more keys
            than queries, the queries belong to the last positions

    Raises:
        ShapeError: for inputs of other shapes, and if causal for more queries than keys

    Examples:
        >>> from chainrule.layers import Input
        >>> MaskedSoftmax(causal=True)(Input((4, 10, 10)), Input(())).shape
        (4, 10, 10)
    """

    causal: bool = False

    initial = "glorot_uniform"
    takes_lengths = True
    formulas = Formulas(
        forward=r"y_{nij} = \frac{e^{x_{nij}}}{\sum_{k \in V_{ni}} e^{x_{nik}}}, \quad j \in V_{ni}"
        r" \text{ (the keys that } i \text{ sees)}",
        input=r"\frac{\partial L}{\partial x_{nij}} = \sum_{k \in V_{ni}} y_{nik}\,([j = k] - y_{nij})\,"
        r"\frac{\partial L}{\partial y_{nik}}",
    )

    def __post_init__(self) -> None:
        require(isinstance(self.causal, bool), f"{self.called}: causal is {self.causal!r}; it is True or False")

    def build(self, scores: Shape, *lengths: Shape) -> Built:
        if len(scores) < 2:
            raise self.misfit(scores, "scores of the shape (..., queries, keys)")
        if lengths not in ((), ((),)):
            raise self.misfit(lengths[0], "as its second input a number of keys for each sample, of shape ()")
        if self.causal and scores[-2] > scores[-1]:
            raise ShapeError(
                f"layer {self.called}: it is causal, but gets {scores[-2]} queries for {scores[-1]} keys; queries"
                " belong to the last positions of the keys, so there can't be more of them"
            )
        return Built(scores)

    def visible(self, shape: Shape, lengths: Array | None) -> Array:
        """Whether each query sees each key, in a shape that broadcasts to `shape`, which has the
        axis of samples.
        """
        queries, keys = shape[-2:]
        seen = np.tri(queries, keys, keys - queries, dtype=bool) if self.causal else np.ones((1, keys), dtype=bool)
        if lengths is None:
            return seen
        return seen & (np.arange(keys) < lengths.reshape(-1, *(1,) * (len(shape) - 1)))

    def forward(self, params: Params, *given: Any) -> tuple[Array, Any]:
        z, *others, _ = given
        lengths = others[0] if others else None
        z = np.where(self.visible(z.shape, lengths), z, -np.inf)
        largest = z.max(axis=-1, keepdims=True)
        e = np.exp(z - np.where(np.isneginf(largest), 0, largest))
        total = e.sum(axis=-1, keepdims=True)
        a = e / np.where(total == 0, 1, total)
        return a, (a, lengths)

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        a, lengths = saved
        dz = a * (dy - (a * dy).sum(axis=-1, keepdims=True))
        return (dz if lengths is None else (dz, np.zeros_like(lengths))), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape, which: int = 0) -> Terms:
        a, _ = saved
        *row, j = index
        if which == 1 or not self._sees(saved, index):
            return Terms(np.zeros(0), np.zeros(0), np.zeros((0, dy.ndim), dtype=np.intp))
        keys = np.flatnonzero(self._row(saved, row))
        weights, at = a[tuple(row)][keys], row_indices(row, a.shape[-1])[keys]
        return Terms(dy[tuple(row)][keys], weights * ((keys == j) - a[index]), at)

    def _row(self, saved: Any, row: Sequence[int]) -> Array:
        """(keys,) which keys the query at this index sees."""
        a, lengths = saved
        return np.broadcast_to(self.visible(a.shape, lengths), a.shape)[tuple(row)]

    def _sees(self, saved: Any, index: Shape) -> bool:
        *row, key = index
        return bool(self._row(saved, row)[key])

    def why_unused(self, saved: Any, index: Shape) -> str:
        if len(index) == 1:
            return f"to {self.called} it is a number of positions, not a quantity"
        *_, query, key = index
        return "" if self._sees(saved, index) else f"position {query} doesn't see position {key}: the mask hides it"

    def cost(self, built: Built) -> float:
        return 30.0 * np.prod(built.output_shape, dtype=float)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        sizes = np.abs(y) + np.abs(inputs[0])
        return np.where(self.visible(y.shape, saved[1]), (ULPS + y.shape[-1]) * sizes, 0)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        a, lengths = saved
        visible = self.visible(a.shape, lengths)
        dz, _ = self.backward(params, (a, None), np.abs(dy))
        sizes = np.abs(dz) + np.where(visible, np.abs(dy), 0).sum(axis=-1, keepdims=True)
        return [np.where(visible, (ULPS + a.shape[-1]) * sizes, 0), *(np.zeros(x.shape) for x in inputs[1:])]
