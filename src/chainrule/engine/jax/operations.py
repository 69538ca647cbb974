"""The operations, by name: what the native engine has kernels for, as functions of JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from chainrule.engine.jax.context import Context
from chainrule.engine.lowering import Op

Compute = Callable[..., Any]
"""Takes an operation, a Context and the inputs, each (samples, *its shape); gives the output."""


@dataclass(frozen=True)
class Operation:
    """How an operation is computed.

    Attributes:
        compute: the function
        as_is: whether its inputs stay in their dtype: numbers of tokens, and lengths, are never
            rounded to that of products
    """

    compute: Compute
    as_is: bool

    def __call__(self, op: Op, context: Context, *inputs: Any) -> Any:
        """The output of an operation."""
        if not self.as_is:
            inputs = tuple(jnp.asarray(x, context.compute) for x in inputs)
        return self.compute(op, context, *inputs)


OPERATIONS: dict[str, Operation] = {}
"""All of them."""


def operation(*names: str, as_is: bool = False) -> Callable[[Compute], Compute]:
    """Registers a function as the operation of these names."""

    def register(compute: Compute) -> Compute:
        OPERATIONS.update(dict.fromkeys(names, Operation(compute, as_is)))
        return compute

    return register
