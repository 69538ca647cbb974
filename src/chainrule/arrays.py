"""The array types that the rest of the code speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of numbers; each docstring says its shape."""

Vector = NDArray[np.floating[Any]]
"""A flat vector: all of a network's parameters, their gradient, or a piece of optimizer state."""

Shape = tuple[int, ...]

Params = Mapping[str, Any]
"""A layer's arrays by name; of a layer made of layers, the mappings of its children by their names."""


class Samples(NamedTuple):
    """Samples as a network and a loss take them.

    Attributes:
        x: (samples, *input_shape) the inputs
        y: (samples, ...) the targets
        weight: (samples,) how much each sample counts in the loss; None if all count alike
    """

    x: Array
    y: Array
    weight: Array | None = None

    def take(self, rows: Array) -> Samples:
        """The samples in these rows."""
        return Samples(self.x[rows], self.y[rows], None if self.weight is None else self.weight[rows])

    def thinned(self, most: int) -> Samples:
        """At most so many of the samples, evenly spread."""
        count = len(self.x)
        return self.take(np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp)))
