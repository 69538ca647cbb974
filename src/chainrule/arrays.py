"""Array types used throughout the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ShapeError

Array = NDArray[Any]
"""An array of numbers; docstrings give its shape."""

Vector = NDArray[np.floating[Any]]
"""A flat vector: all of a network's parameters, their gradient, or a piece of optimizer state."""

Shape = tuple[int, ...]

Sizes = int | tuple[int, ...]
"""A size along each axis of positions: one number for all of them, or one for each."""

Params = Mapping[str, Any]
"""A layer's arrays by name; for a composite layer, its children's mappings by their names."""


class Samples(NamedTuple):
    """Samples for a network and a loss.

    Attributes:
        x: (samples, *input_shape) the inputs
        y: (samples, ...) the targets
        weight: (samples,) the weight of each sample in the loss; None for equal weights
    """

    x: Array
    y: Array
    weight: Array | None = None

    def take(self, rows: Array) -> Samples:
        """The samples in these rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(self.x.take(rows, axis=0), self.y.take(rows, axis=0), weight)

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced."""
        count = len(self.x)
        return self.take(np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp)))


def pack(inputs: Sequence[Array]) -> Array:
    """The arrays of several inputs as one, of shape (samples, numbers): each sample's numbers of
    the first input, then those of the second, and so on.
    """
    arrays = [np.asarray(x) for x in inputs]
    if not arrays or any(x.ndim < 1 or len(x) != len(arrays[0]) for x in arrays):
        raise ShapeError("several inputs are a tuple of arrays, each with the same number of samples")
    return np.concatenate([x.reshape(len(x), -1) for x in arrays], axis=1)
