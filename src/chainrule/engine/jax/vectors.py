"""Flat vectors and their arrays. A loop of steps carries arrays, each in its own shape, so that no
step copies all numbers to and from one vector; before and after it they lie in flat vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from chainrule.arrays import Vector
from chainrule.layout import Layout

Arrays = Mapping[int, Any]
"""The arrays of a flat vector, each in its own shape, by where they start there."""
State = Mapping[str, Any]
"""A stage's state by name: numbers, matrices, and vectors of all parameters."""


def apart(layout: Layout, vector: Any) -> Arrays:
    """The arrays of a flat vector, of NumPy or of JAX."""
    return {entry.start: vector[entry.place].reshape(entry.shape) for entry in layout.entries}


def together(layout: Layout, arrays: Arrays, dtype: Any) -> Any:
    """The flat vector of these arrays. On processors XLA writes one array after another into it ten
    times as fast as it concatenates them.
    """
    vector = jnp.zeros(layout.size, dtype)
    for entry in layout.entries:
        vector = lax.dynamic_update_slice(vector, arrays[entry.start].astype(dtype).ravel(), (entry.start,))
    return vector


def read(layout: Layout, arrays: Arrays, dtype: Any) -> Vector:
    """The flat vector of these arrays, in NumPy."""
    vector = np.empty(layout.size, dtype)
    for entry in layout.entries:
        vector[entry.place] = np.asarray(arrays[entry.start]).ravel()
    return vector


def state_apart(layout: Layout, state: State) -> State:
    """A stage's state, with the arrays of each of its flat vectors."""
    return {name: apart(layout, one) if np.shape(one) == (layout.size,) else one for name, one in state.items()}


def state_together(layout: Layout, state: State, dtype: Any) -> State:
    """The opposite of `state_apart`."""
    return {name: together(layout, one, dtype) if isinstance(one, dict) else one for name, one in state.items()}


def state_read(layout: Layout, state: State, dtype: Any) -> State:
    """The same in NumPy."""
    return {name: read(layout, one, dtype) if isinstance(one, dict) else np.array(one) for name, one in state.items()}
