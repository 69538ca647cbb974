"""Cells over time, whose states start at 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import layers
from chainrule.arrays import Array
from chainrule.interchange import arranged
from chainrule.interchange.values import Constant, UnsupportedError, Value, reshaped
from chainrule.interchange.wiring import Wiring
from chainrule.layers.symbols import Symbol


def scan(w: Wiring, x: Value, cell: str, weights: Sequence[Array], units: int, last: bool, backwards: bool,
         name: str, activation: str = "tanh") -> Symbol:  # fmt: skip
    """One layer of recurrence in one direction, of x of shape (samples, time, features): all
    states, or the last one. Weights are W_ih and W_hh of shape (gates * units, ...), and two
    biases, in the order of the gates here.
    """
    W, U, b, c = weights
    make = {"lstm": layers.LSTM, "gru": layers.GRU}
    made: Any = make[cell](units) if cell in make else layers.SimpleRNN(units, activation=activation)
    own = {"input.W": W.T, "state.U": U.T}
    own |= {"input.b": b, "state.b": c} if cell == "gru" else {"input.b": b + c}
    layer = w.layer(lambda n: layers.Scan(made, not last, backwards, name=n), own, name)
    return layer(x.arranged((1, 2)))


def recurrent(
    w: Wiring, x: Value, cell: str, directions: Sequence[Sequence[Array]], units: int, name: str, last: bool = False,
    activation: str = "tanh", reverse: bool = False,
) -> Value:  # fmt: skip
    """One layer of recurrence, in one direction or both: (1, time, directions * units)."""
    both = [
        scan(w, x, cell, weights, units, last, k == 1 or reverse, name + "_reverse" * (k == 1), activation)
        for k, weights in enumerate(directions)
    ]
    y = layers.Concatenate()(*both) if len(both) > 1 else both[0]
    width = len(both) * units
    return Value((1, width), y, (1,)) if last else Value((1, x.shape[1], width), y, (1, 2))


def require_zeros(states: Sequence[Any]) -> None:
    """Raise UnsupportedError unless these first states of cells are 0."""
    if any(not isinstance(s, Constant) or s.array.any() for s in states):
        raise UnsupportedError("with a first state that is not 0")


def last_states(w: Wiring, layers_of: Sequence[Value], units: int, backwards: Sequence[bool]) -> Value:
    """The last states of each layer and direction, (layers * directions, 1, units); `backwards`
    says which of the directions end at the first step.
    """
    ends = [
        reshaped(arranged.cut(arranged.entry(y, 1, 0 if back else -1), 1, d * units, (d + 1) * units), (1, 1, units))
        for y in layers_of
        for d, back in enumerate(backwards)
    ]
    return arranged.concatenate(w, ends, 0)
