"""Texts that are continued: only their new positions are computed, and what these take from earlier
ones is kept: the keys and values of an attention, the state of a scan, the inputs that the windows
of a causal convolution overlap.

To all other layers a position is a sample of its own. So the network is wired for a single position
(`Network.of_one_position`), and the new positions of several texts are its samples, text by text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from chainrule import tape
from chainrule.arrays import Array, Vector
from chainrule.errors import ChainruleError, require
from chainrule.generators import generator
from chainrule.layers.base import Context
from chainrule.layers.graph import CompositeCall, Node, trace
from chainrule.network import Network


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
    """The most positions of a text that a network knows from its training: those of its input, if
    any layer distinguishes them; else there is no limit.
    """
    layers = [*(node.layer for node in network.nodes), *(call.layer for call in network.graph.calls)]
    return network.input_shape[0] if any(layer.counts_positions for layer in layers) else None


def carrying(network: Network) -> dict[int, CompositeCall]:
    """The calls of composites that carry on from position to position, by their first node. Raises
    SettingError or ShapeError for a network that is known not to be continued.
    """
    calls, found = network.of_one_position.graph.calls, {}
    for call in calls:
        carries = call.layer.carries_on(len(call.inputs))
        require(carries is not False, f"layer {call.name}: it does not go from one position to the next")
        if carries:
            found[call.start] = call
    for node in network.nodes:
        node.layer.looks_back(network.graph.shapes[node.inputs[0]][:-1])
    return found


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
        self._calls = carrying(self.network)
        self._params = self._one.params(self.parameters, self.statistics)

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
                if (call := self._calls.get(k)) is None:
                    values[1 + k] = self._of_node(graph.nodes[k], [values[n] for n in graph.nodes[k].inputs])
                    k += 1
                else:
                    values[call.output] = self._of_call(call, [values[n] for n in call.inputs])
                    k = call.stop
        return values[-1].reshape(*self._shape, -1)

    def _of_node(self, node: Node, inputs: list[Array]) -> Array:
        layer: Any = node.layer
        params, context = self._params[node.owner], Context()
        back = layer.looks_back(self._one.graph.shapes[node.inputs[0]][:-1])
        if back == 0:
            return layer.forward(params, *inputs, context)[0]
        every = self._joined(inputs[0])
        if node.name in self._kept:
            every = np.concatenate([self._kept[node.name], every], axis=-2)
        self._kept[node.name] = every if back is None else every[..., max(0, every.shape[-2] - back) :, :]
        return self._apart(layer.forward(params, every, context)[0][..., -self._shape[1] :, :])

    def _of_call(self, call: CompositeCall, inputs: list[Array]) -> Array:
        path = self._one.nodes[call.start].owner.rpartition(".")[0]  # of its layers

        def run(wire: Callable[..., Any], *arrays: Array) -> Array:
            graph = trace(wire, [x.shape[1:] for x in arrays])
            params = {node.owner: self._params.get(f"{path}.{node.owner}", {}) for node in graph.nodes}
            return tape.predict(graph, params, [np.ascontiguousarray(x) for x in arrays])

        new = map(self._joined, inputs)
        y, self._kept[call.name] = call.layer.carry_on(run, self._kept.get(call.name), *new)
        return self._apart(y)

    # Arrays (texts * new, ..., 1, features), and the same with each text's positions side by side

    def _joined(self, x: Array) -> Array:
        *before, _, features = x.shape[1:]
        return np.moveaxis(x.reshape(*self._shape, *before, features), 1, -2)

    def _apart(self, y: Array) -> Array:
        moved = np.moveaxis(y, -2, 1)
        return np.ascontiguousarray(moved).reshape(-1, *moved.shape[2:-1], 1, moved.shape[-1])
