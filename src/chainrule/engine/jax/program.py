"""A network's program as one function of JAX: its operations, one after another."""

from __future__ import annotations

from typing import Any

from chainrule.engine.base import Problem
from chainrule.engine.jax.context import Context
from chainrule.engine.jax.tables import OPERATIONS
from chainrule.engine.lowering import Program
from chainrule.engine.lowering.declared import DECLARED
from chainrule.engine.lowering.network import one_by_one
from chainrule.engine.lowering.rewrites import drop_unread


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
