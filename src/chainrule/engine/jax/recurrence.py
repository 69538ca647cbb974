"""Scans: a cell at every time step, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from chainrule.engine.jax import masks
from chainrule.engine.jax.context import Context
from chainrule.engine.jax.elementwise import function_of
from chainrule.engine.jax.operations import operation
from chainrule.engine.lowering import Op

State = tuple[Any, ...]
Product = Callable[[Any], Any]
Drop = Callable[[Any], Any]


def _lstm(x: Any, state: State, product: Product, dropped: Drop) -> State:
    h, c = state
    i, f, g, o = jnp.split(x + product(h), 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * dropped(jnp.tanh(g))
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(x: Any, state: State, product: Product, dropped: Drop) -> State:
    (h,) = state
    (x_r, x_z, x_n), (u_r, u_z, u_n) = jnp.split(x, 3, axis=-1), jnp.split(product(h), 3, axis=-1)
    n = dropped(jnp.tanh(x_n + jax.nn.sigmoid(x_r + u_r) * u_n))
    return (n + jax.nn.sigmoid(x_z + u_z) * (h - n),)


def _simple(function: Callable[[Any], Any]) -> Callable[..., State]:
    def step(x: Any, state: State, product: Product, dropped: Drop) -> State:
        return (function(x + product(dropped(state[0]))),)

    return step


CELLS: dict[str, tuple[Callable[..., State], int, int]] = {
    "lstm": (_lstm, 4, 2),
    "gru": (_gru, 3, 1),
    "simple_rnn": (_simple(jnp.tanh), 1, 1),
    "relu_rnn": (_simple(jax.nn.relu), 1, 1),
}
"""Of each cell a step, and how many gates and arrays of state it has. One that is not here is a
SimpleRNN, whose settings name its activation.
"""


@operation("scan", as_is=True)
def scan(op: Op, context: Context, sums: Any, *lengths: Any) -> Any:
    """The state after the last time step, or after each, where `sums` are those of the inputs of
    all steps. The state is kept in the dtype of the weights.
    """
    own = op.settings
    is_known = own["cell"] in CELLS
    step, gates, states = CELLS[own["cell"]] if is_known else (_simple(function_of(own)), 1, 1)
    samples, time, width = sums.shape
    shape = samples, width // gates
    U = context.parameter(op, "U")
    bias = context.parameter(op, "b", cast=False) if "b" in op.parameters else 0

    def product(h: Any) -> Any:
        return jnp.matmul(h.astype(context.compute), U, preferred_element_type=context.dtype) + bias

    def after(state: State, now: tuple[Any, ...]) -> tuple[State, Any]:
        x, t, words = now

        def dropped(z: Any) -> Any:
            if words is None:
                return z
            return jnp.where(masks.keep(words, own["threshold"], context.step, shape), z * own["keep_scale"], 0)

        new = step(x.astype(context.dtype), state, product, dropped)
        for count in lengths:
            lasts = (t < count).reshape(-1, 1)
            new = tuple(jnp.where(lasts, a, b) for a, b in zip(new, state, strict=True))
        return new, new[0] if own["all"] else None

    keys = None
    if context.training and "key" in own:  # in the order of execution
        keys = np.array(own["key"], np.uint64).reshape(time, 2)[:: -1 if own["reversed"] else 1]
    start = (jnp.zeros(shape, context.dtype),) * states
    state, outputs = lax.scan(after, start, (sums.swapaxes(0, 1), np.arange(time), keys), reverse=own["reversed"])
    return outputs.swapaxes(0, 1) if own["all"] else state[0]
