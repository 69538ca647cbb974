"""Texts that are continued: only their new positions are computed, and what these take from earlier
ones is kept: the keys and values of an attention, the state of a scan, the inputs that the windows
of a causal convolution overlap.

To all other layers a position is a sample of its own. So the network is wired for a single position
(`Network.of_one_position`), and the new positions of several texts are its samples, text by text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from chainrule import tape
from chainrule.arrays import Array, Params, Vector
from chainrule.errors import ChainruleError, require
from chainrule.generators import generator
from chainrule.layers import (
    Concatenate,
    Conv,
    DotProductAttention,
    LearnedPositions,
    Rotary,
    Scan,
    SinusoidalPositions,
)
from chainrule.layers.base import Context
from chainrule.layers.graph import CompositeCall, Graph, Node, trace
from chainrule.layers.windows import CAUSAL
from chainrule.network import Network

POSITIONS = (LearnedPositions, SinusoidalPositions, Rotary)
"""The layers for which it matters how many positions came before."""


class Continuation(Protocol):
    """Reads texts, some positions at a time, and predicts what follows each position."""

    def read(self, tokens: Array) -> Array:
        """(texts, new, outputs) the network's outputs at new positions.

        Args:
            tokens: (texts, new) what stands there
        """

    def forget(self) -> None:
        """Begin new texts."""


def most_positions(network: Network) -> int | None:
    """The most positions of a text that a network can take as the one it was trained on would: those
    of its input, if it attends to positions or counts them; else there is no limit.
    """
    calls, nodes = network.graph.calls, network.nodes
    counts = any(isinstance(node.layer, POSITIONS) for node in nodes)
    attends = any(isinstance(call.layer, DotProductAttention) for call in calls)
    return network.input_shape[0] if counts or attends else None


def require_continuable(network: Network) -> None:
    """Raise SettingError or ShapeError if it is known that the network can't be continued."""
    for call in network.of_one_position.graph.calls:
        layer: Any = call.layer
        if isinstance(layer, DotProductAttention):
            looks_back = layer.causal and len(call.inputs) == 3
        elif isinstance(layer, Scan):
            looks_back = layer.all and not layer.reversed and len(call.inputs) == 1
        else:
            continue
        require(looks_back, f"layer {call.name}: it does not go from one position to the next")
    for node in network.nodes:
        layer = node.layer
        if isinstance(layer, Conv) and any(axis.kernel > 1 for axis in axes_of(network.graph, node)):
            alone = len(network.graph.shapes[node.inputs[0]]) == 2 and layer.padding == CAUSAL
            require(alone and layer.stride in (1, (1,)), f"layer {node.name}: its windows do not look back alone")


def axes_of(graph: Graph, node: Node) -> list[Any]:
    """The windows of a convolution along each of its axes."""
    layer: Any = node.layer
    return layer.window_axes(graph.shapes[node.inputs[0]][:-1])


NEARLY = 1e-3
"""Outputs that differ by less than this share of the largest differ by rounding."""


def verified(
    continuation: Continuation, texts: int, predict: Callable[[Array], Array], network: Network
) -> Continuation | None:
    """A continuation that computes the same as the network itself; None for another one. Both are
    tried on random tokens: so the answer does not depend on what layers say of themselves.
    """
    length, outputs = network.output_shape
    tokens = generator(0, "continuation").integers(outputs, size=(texts, length))
    expected = predict(tokens)
    half = [length // 2, min(length, length // 2 + 1), length]
    try:
        found = [continuation.read(tokens[:, a:b]) for a, b in pairwise([0, *half]) if a < b]
    except ChainruleError:
        return None
    continuation.forget()
    difference = np.abs(np.concatenate(found, axis=1) - expected).max()
    return continuation if difference <= NEARLY * np.abs(expected).max() else None


@dataclass
class Definition:
    """A continuation by the definitions of the layers, in NumPy.

    Attributes:
        network: the network; raises SettingError or ShapeError for one that can't be continued
        parameters, statistics: its weights and running statistics
    """

    network: Network
    parameters: Vector
    statistics: Vector
    _kept: dict[str, Any] = field(default_factory=dict, init=False)
    _shape: tuple[int, int] = field(default=(0, 0), init=False)

    def __post_init__(self) -> None:
        require_continuable(self.network)
        self._params = self._one.params(self.parameters, self.statistics)
        whole = (call for call in self._one.graph.calls if isinstance(call.layer, DotProductAttention | Scan))
        self._calls = {call.start: call for call in whole}

    @property
    def _one(self) -> Network:
        return self.network.of_one_position

    def forget(self) -> None:
        """Begin new texts."""
        self._kept = {}

    def read(self, tokens: Array) -> Array:
        """(texts, new, outputs) the network's outputs at new positions (texts, new)."""
        self._shape = (len(tokens), tokens.shape[1])
        graph = self._one.graph
        values: list[Any] = [None] * len(graph.shapes)
        values[0] = tokens.reshape(-1, 1).astype(self.network.dtype)
        k = 0
        with np.errstate(all="ignore"):
            while k < len(graph.nodes):
                node, call = graph.nodes[k], self._calls.get(k)
                inputs = [values[n] for n in (node.inputs if call is None else call.inputs)]
                if call is None:
                    values[1 + k] = self._of_layer(node, inputs)
                elif isinstance(call.layer, Scan):
                    values[call.output] = self._of_scan(call, *inputs)
                else:
                    values[call.output] = self._of_attention(call, *inputs)
                k = k + 1 if call is None else call.stop
        return values[-1].reshape(*self._shape, -1)

    # Arrays (texts * new, ..., 1, features), and the same with the positions of each text side by side

    def _joined(self, x: Array) -> Array:
        *before, _, features = x.shape[1:]
        return np.moveaxis(x.reshape(*self._shape, *before, features), 1, -2)

    def _apart(self, y: Array) -> Array:
        moved = np.moveaxis(y, -2, 1)
        return np.ascontiguousarray(moved).reshape(-1, *moved.shape[2:-1], 1, moved.shape[-1])

    def _with_kept(self, name: str, x: Array) -> Array:
        """What was given under a name so far, with these positions at the end."""
        self._kept[name] = np.concatenate([self._kept[name], x], axis=-2) if name in self._kept else x
        return self._kept[name]

    # Pieces of the network

    def _of_layer(self, node: Node, inputs: list[Array]) -> Array:
        layer: Any = node.layer
        params, context = self._params[node.owner], Context()
        if not isinstance(layer, (*POSITIONS, Conv)):
            return layer.forward(params, *inputs, context)[0]
        every = self._with_kept(node.name, self._joined(inputs[0]))
        if isinstance(layer, Conv):  # later windows read no more
            (axis,) = axes_of(self._one.graph, node)
            self._kept[node.name] = every[..., max(0, every.shape[-2] - axis.extent + 1) :, :]
        return self._apart(layer.forward(params, every, context)[0][..., -self._shape[1] :, :])

    def _of_attention(self, call: CompositeCall, q: Array, k: Array, v: Array) -> Array:
        given = [self._joined(q), *(self._with_kept(f"{call.name}.{name}", self._joined(x)) for name, x in
                                    (("k", k), ("v", v)))]  # fmt: skip
        graph = trace(call.layer, [x.shape[1:] for x in given])
        return self._apart(tape.predict(graph, {node.owner: {} for node in graph.nodes}, given))

    def _of_scan(self, call: CompositeCall, x: Array) -> Array:
        scan: Any = call.layer
        cell, first = scan.cell, self._one.nodes[call.start]
        sums = self._joined(first.layer.forward(self._params[first.owner], x, Context())[0])
        state = self._kept.get(call.name, [np.zeros((len(sums), cell.units), sums.dtype)] * cell.states)
        shapes = [(sums.shape[-1],), *[(cell.units,)] * cell.states]
        graph = trace(lambda x, *state: Concatenate()(*cell.step(x, *state)), shapes)
        path = first.owner.rpartition(".")[0]
        params: Mapping[str, Params] = {n.owner: self._params.get(f"{path}.{n.owner}", {}) for n in graph.nodes}
        outputs = []
        for t in range(sums.shape[1]):
            after = tape.predict(graph, params, [np.ascontiguousarray(sums[:, t]), *state])
            state = np.split(after, cell.states, axis=-1)
            outputs.append(state[0])
        self._kept[call.name] = state
        return self._apart(np.stack(outputs, axis=1))
