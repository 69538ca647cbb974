"""Array types used throughout the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of numbers; docstrings give its shape."""

Vector = NDArray[np.floating[Any]]
"""A flat vector: all of a network's parameters, their gradient, or a piece of optimizer state."""

Shape = tuple[int, ...]

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
        return Samples(self.x[rows], self.y[rows], None if self.weight is None else self.weight[rows])

    def thinned(self, most: int) -> Samples:
        """At most `most` of the samples, evenly spaced."""
        count = len(self.x)
        return self.take(np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp)))
