"""Whether a network is causal: whether no output at a position depends on an input after it.

A language model must be: the token after a position is its target, and stands among its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import forward_pass
from chainrule.data import Target
from chainrule.errors import SettingError
from chainrule.generators import generator
from chainrule.network import Network

MOST_POSITIONS = 64
"""The positions before which a network is looked at, at most."""
DRAWS = 2
"""How many networks with random weights are looked at."""
NEARLY = 1e-9
"""A difference of this share of the largest number is rounding: sums may have another order."""
TOGETHER = 1_000_000
"""The numbers of outputs that are computed at a time, about."""


def require_causal(network: Network, target: Target) -> None:
    """Raise SettingError unless no output at a position depends on an input after it.

    The network is tried with random weights on random tokens: for each position, all tokens from
    there on are replaced, which must not change what it computes before there. Weights are random,
    in float64, because a path may be closed by weights that happen to be 0, or to be learned.
    """
    found = first_reader(network, len(target.classes))
    if found is not None:
        node, position = found
        problem = f"layer {node}: what it computes at position {position} depends on tokens after that"
        remedy = "use layers that look back alone, such as convolutions with padding=causal"
        raise SettingError(f"{problem}, among which is the {target.name} that is predicted there; {remedy}")


def first_reader(network: Network, count: int) -> tuple[str, int] | None:
    """The first node whose output has positions and depends on later tokens, and at which position
    it does; None for a causal network.

    Args:
        network: takes tokens, (positions,)
        count: how many tokens there are
    """
    network, (length,) = replace(network, dtype="float64"), network.input_shape
    starts = np.unique(np.linspace(1, length - 1, min(length - 1, MOST_POSITIONS)).round().astype(int))
    for draw in range(DRAWS):
        random = generator(0, "causality", draw)
        weights = network.draw(draw) + random.normal(scale=0.1, size=network.parameters.size)
        tokens, others = random.integers(count, size=length), random.integers(1, max(count, 2), size=length)
        replaced = np.where(np.arange(length) >= starts[:, None], (tokens + others) % max(count, 1), tokens)
        for node, position in _readers(network, weights, tokens, replaced, starts):
            return node, position
    return None


def _readers(
    network: Network, weights: Array, tokens: Array, replaced: Array, starts: Array
) -> Iterator[tuple[str, int]]:
    """The nodes whose outputs at a position change with later tokens."""
    length, numbers = len(tokens), max(int(np.prod(shape)) for shape in network.graph.shapes)
    step = max(1, TOGETHER // numbers)
    found: dict[str, int] = {}
    for k in range(0, len(starts), step):
        x = np.concatenate([tokens[None], replaced[k : k + step]])
        with np.errstate(all="ignore"):
            values: list[Any] = forward_pass(network, weights, x).values[1:]
        for node, value in zip(network.nodes, values, strict=True):
            is_by_position = value.ndim > 1 and value.shape[1] == length and node.time is None
            if not is_by_position or node.name in found:
                continue  # within a time step, as many units as positions are units
            flat = value.reshape(len(value), length, -1)
            changed = (np.abs(flat[1:] - flat[:1]) > NEARLY * np.abs(flat).max(initial=0)).any(axis=2)
            early = changed & (np.arange(length) < starts[k : k + step, None])
            if early.any():
                found[node.name] = int(np.argwhere(early)[0, 1])
    if network.nodes[-1].name in found:  # others may have another axis of this length, such as heads
        yield from ((node.name, found[node.name]) for node in network.nodes if node.name in found)
