"""A network's program as one function of JAX: its operations, one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import lax

from chainrule.engine.base import Problem
from chainrule.engine.jax.context import Arrays, Context
from chainrule.engine.jax.tables import OPERATIONS
from chainrule.engine.lowering import Program
from chainrule.engine.lowering.declared import DECLARED
from chainrule.engine.lowering.network import one_by_one
from chainrule.engine.lowering.rewrites import drop_unread
from chainrule.layout import Layout


def lower(problem: Problem) -> Program:
    """A network's program: an operation for each node, as XLA fuses them itself."""
    return drop_unread(one_by_one(problem, target=DECLARED))


def forward(program: Program, context: Context, x: Any) -> Any:
    """The prediction of x, (samples, *input_shape), in the dtype that the last operation has."""
    values: dict[int, Any] = {0: x}
    for op in program.ops:
        (output,) = op.outputs
        values[output] = OPERATIONS[op.name](op, context, *(values[k] for k in op.inputs))
    return values[program.prediction]


def apart(layout: Layout, vector: Any) -> Arrays:
    """The arrays of a flat vector, by where they start."""
    return {entry.start: vector[entry.place].reshape(entry.shape) for entry in layout.entries}


def together(layout: Layout, arrays: Mapping[int, Any], dtype: Any) -> Any:
    """The flat vector of these arrays. On processors XLA writes one array after another into it ten
    times as fast as it concatenates them.
    """
    vector = jnp.zeros(layout.size, dtype)
    for entry in layout.entries:
        vector = lax.dynamic_update_slice(vector, arrays[entry.start].astype(dtype).ravel(), (entry.start,))
    return vector
