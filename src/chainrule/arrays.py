"""The array types that the rest of the code speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of numbers; each docstring says its shape."""

Vector = NDArray[np.floating[Any]]
"""A flat vector: all of a network's parameters, their gradient, or a piece of optimizer state."""

Shape = tuple[int, ...]

Params = Mapping[str, Any]
"""A layer's arrays by name; of a layer made of layers, the mappings of its children by their names."""
