"""What an operation sees of the pass that it is a part of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from chainrule.arrays import Shape
from chainrule.engine.jax import masks
from chainrule.engine.jax.vectors import Arrays
from chainrule.engine.lowering import Op


@dataclass
class Context:
    """One traced pass over a mini-batch.

    Attributes:
        parameters, statistics: the arrays of both flat vectors
        shapes: the shape of each value of the program, of one sample
        dtype: the dtype of the weights
        compute: the dtype of products: the same, or bfloat16
        training: True for batch statistics and dropout
        step: the number of the step, a traced uint64
        raised: gets what a definition raises that the step calls
        updated: the running statistics after this mini-batch, by where they start
        valid: whether all inputs seen so far are valid, such as numbers of tokens; a traced bool
    """

    parameters: Arrays
    statistics: Arrays
    shapes: Sequence[Shape]
    dtype: Any
    compute: Any
    training: bool
    step: Any
    raised: list[BaseException]
    updated: dict[int, Any] = field(default_factory=dict)
    valid: Any = True

    def parameter(self, op: Op, name: str, cast: bool = True) -> Any:
        """A parameter of an operation, in the dtype of products; as it is stored if not `cast`."""
        array = self.parameters[op.parameters[name][0]]
        return array.astype(self.compute) if cast else array

    def statistic(self, op: Op, name: str) -> Any:
        """A running statistic of an operation; after an earlier use of the same layer, as that
        left it.
        """
        start = op.statistics[name][0]
        return self.updated.get(start, self.statistics[start])

    def update(self, op: Op, name: str, array: Any) -> None:
        """Set a running statistic after this mini-batch."""
        start = op.statistics[name][0]
        self.updated[start] = array.astype(self.statistics[start].dtype)

    def shape(self, value: int) -> Shape:
        """The shape of a value of the program, of one sample."""
        return self.shapes[value]

    def keep(self, op: Op, shape: Shape, k: int = 0) -> Any:
        """The mask of a dropout of this operation, the k-th if it has several: the bits of
        generators.keep_mask.
        """
        words = op.settings["key"][2 * k : 2 * k + 2]
        return masks.keep(words, op.settings["threshold"], self.step, shape)

    def require(self, ok: Any) -> None:
        """Note whether an input is valid; where one is not, the definition says what is wrong."""
        self.valid = jnp.logical_and(self.valid, ok)
