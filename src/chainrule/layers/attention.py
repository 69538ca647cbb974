"""Attention: every position takes from all others what its query finds among their keys.

Sequences have the shape (samples, time, features); heads are an axis before time. Composites wire
what a formula says, so each product can be explained; `Graph.calls` says which nodes are an
attention, so that they can be lowered to one operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import ShapeError, is_number, require
from chainrule.layers.dense import Dense
from chainrule.layers.dropout import Dropout
from chainrule.layers.graph import Composite, Mixing, Node, Run
from chainrule.layers.operators import MatMul, Scale
from chainrule.layers.positions import Rotary
from chainrule.layers.settings import Block
from chainrule.layers.shaping import Transpose
from chainrule.layers.softmax import MaskedSoftmax
from chainrule.layers.symbols import Symbol


@dataclass(frozen=True)
class DotProductAttention(Composite):
    """softmax(q @ k.T / sqrt(d)) @ v: each query takes a mean of the values, weighted by how well
    its features fit those of the keys (Vaswani et al., 2017, section 3.2.1).

    It is called on queries of the shape (samples, heads, queries, d), keys (samples, groups, keys,
    d), values (samples, groups, keys, features) and, as the last and optional input, the number of
    valid keys of each sample. The result has the shape (samples, heads, queries, features). With
    fewer groups than heads, heads in a row share the keys and values of a group (Ainslie et al.,
    2023).

    Attributes:
        causal: whether a query takes only from the keys up to its own position
        dropout: the rate at which weights are dropped in training

    Raises:
        ShapeError: for inputs that don't fit together
    """

    causal: bool = False
    dropout: float = 0.0

    takes_lengths = True
    counts_positions = True

    def carries_on(self, inputs: int) -> bool:
        return self.causal and inputs == 3

    def carry_on(self, run: Run, kept: Any, *new: Array) -> tuple[Array, Any]:
        q, *kv = new
        if kept is not None:
            kv = [np.concatenate(both, axis=-2) for both in zip(kept, kv, strict=True)]
        return run(self, q, *kv), kv

    def __post_init__(self) -> None:
        fits = is_number(self.dropout, least=0, below=1)
        require(fits, f"{self.word}: dropout is {self.dropout!r}; it must be at least 0 and less than 1")

    def mixing(self, nodes: Sequence[Node]) -> Mixing:
        scores, softmax, mix = (
            next(node for node in reversed(nodes) if isinstance(node.layer, kind))
            for kind in (Scale, MaskedSoftmax, MatMul)
        )
        return Mixing(scores, softmax, mix)

    def wire(self, q: Symbol, k: Symbol, v: Symbol, *lengths: Symbol) -> Symbol:
        shapes = (q.shape, k.shape, v.shape)
        fits = all(len(shape) == 3 for shape in shapes) and q.shape[0] % k.shape[0] == 0
        if not fits or k.shape[:2] != v.shape[:2] or q.shape[2] != k.shape[2]:
            raise ShapeError(
                f"layer {self.called}: takes queries, keys and values of the shapes (heads, queries, width), (groups,"
                f" keys, width) and (groups, keys, features), not {', '.join(map(str, shapes))}"
            )
        heads, queries, width = q.shape
        groups, keys, _ = k.shape
        if groups < heads:  # all queries that share keys, one after the other
            q = q.reshape(groups, heads // groups * queries, width)
        scores = Scale(width**-0.5, name="scaled")(MatMul(name="scores")(q, k.transpose()))
        if groups < heads:
            scores = scores.reshape(heads, queries, keys)
        weights = MaskedSoftmax(self.causal, name="softmax")(scores, *lengths)
        if self.dropout:
            weights = Dropout(self.dropout, name="dropout")(weights)
        if groups < heads:
            weights = weights.reshape(groups, heads // groups * queries, keys)
        y = weights @ v
        return y.reshape(heads, queries, v.shape[2]) if groups < heads else y


@dataclass(frozen=True)
class MultiHeadAttention(Block):
    """Attention in several heads, each with queries, keys and values of its own, and a Dense layer
    that combines them (Vaswani et al., 2017, section 3.2.2).

    x of shape (samples, time, features) keeps its shape. It is called on

    - x: a position takes from all positions of its own sequence (self-attention);
    - x and a second sequence, of shape (samples, time2, features2): queries come from x, keys and
      values from the other (cross-attention);
    - and, in both cases, as the last and optional input, the number of valid positions of each
      sample, of shape (samples,): keys at or after it get no weight.

    Its layers are the Dense layers `query`, `key`, `value` and `output`, and the attention `heads`.
    Columns j * width to (j + 1) * width of `query.W` belong to head j.

    Attributes:
        heads: the number of heads
        units: the features of the queries of all heads together; by default those of x
        kv_heads: the number of heads of keys and values, each for heads / kv_heads queries
            (Ainslie et al., 2023); by default as many as heads
        causal: whether a position takes only from positions up to its own
        dropout: the rate at which weights are dropped in training
        rotary: whether queries and keys are turned by their positions (see Rotary)
        bias: whether the Dense layers have biases

    Raises:
        SettingError: for a number of heads that doesn't fit
        ShapeError: for inputs that are no sequences

    Examples:
        >>> from chainrule.layers import Input
        >>> x, other, lengths = Input((10, 32)), Input((7, 16)), Input(())
        >>> MultiHeadAttention(4, causal=True)(x, lengths).shape
        (10, 32)
        >>> MultiHeadAttention(4)(x, other).shape
        (10, 32)
    """

    heads: int
    units: int | None = None
    kv_heads: int | None = None
    causal: bool = False
    dropout: float = 0.0
    rotary: bool = False
    bias: bool = True

    notation = "attention"
    accepts_images = True
    takes_lengths = True

    def __post_init__(self) -> None:
        given = [name for name in ("units", "kv_heads") if getattr(self, name) is not None]
        self.require_integers("heads", *given)
        self.require_booleans("causal", "rotary", "bias")
        self.require_rate()
        require(
            self.kv_heads is None or self.heads % self.kv_heads == 0,
            f"{self.word}: {self.heads} heads can't share {self.kv_heads} heads of keys and values; kv_heads must"
            " divide heads",
        )

    def wire(self, x: Symbol, *others: Symbol) -> Symbol:
        lengths = others[-1:] if others and others[-1].shape == () else ()
        sources = others[: len(others) - len(lengths)] or (x,)
        if len(sources) > 1 or any(len(s.shape) != 2 for s in (x, *sources)):
            shapes = ", ".join(str(s.shape) for s in (x, *others))
            raise ShapeError(
                f"layer {self.called}: takes a sequence of the shape (time, features), then, if it attends to another"
                f" one, that sequence, and then, if there are any, lengths of the shape (); not {shapes}"
            )
        (source,), features = sources, x.shape[-1]
        units, groups = self.units or features, self.kv_heads or self.heads
        require(
            units % self.heads == 0,
            f"layer {self.called}: {units} units can't be divided among {self.heads} heads; choose a number of heads"
            " that divides them",
        )
        width = units // self.heads
        q = self._by_head("query", x, self.heads, width)
        k = self._by_head("key", source, groups, width)
        v = self._by_head("value", source, groups, width)
        if self.rotary:
            q, k = Rotary(name="turned_query")(q), Rotary(name="turned_key")(k)
        y = DotProductAttention(self.causal, self.dropout, name="heads")(q, k, v, *lengths)
        y = y.transpose(1, 0, 2).reshape(x.shape[0], units)
        return Dense(features, bias=self.bias, name="output")(y)

    def _by_head(self, name: str, x: Symbol, heads: int, width: int) -> Symbol:
        """The output of the Dense layer of this name, in the shape (heads, time, width)."""
        y = Dense(heads * width, bias=self.bias, name=name)(x)
        return Transpose((1, 0, 2), name=f"{name}_heads")(y.reshape(x.shape[0], heads, width))
