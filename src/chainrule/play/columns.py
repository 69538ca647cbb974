"""The columns of units that the stage draws, and which of their units it shows.

A small network is shown whole. Of a larger one the stage shows one unit, the strongest of what it
reads and of what it feeds, and the sum of the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.layers import Node
from chainrule.play.trainer import Trainer

MOST_UNITS, MOST_IN_COLUMN = 40, 12
"""The most units, inputs included, of a network that is shown whole, and of one of its columns."""
STRONGEST = 6
"""The number of inputs, and of units that it feeds, shown of one unit of a larger network."""


@dataclass(frozen=True)
class Column:
    """A Dense layer with the activation that follows it: a column of units on the stage.

    Attributes:
        dense: the node of the Dense layer
        activation: the node of its activation; None if there is none
    """

    dense: Node
    activation: Node | None

    @property
    def units(self) -> int:
        """The number of units."""
        return int(self.dense.built.output_shape[-1])


def columns(trainer: Trainer) -> list[Column]:
    """The columns of units, from first to last."""
    network = trainer.plan.network
    nodes, numbers = network.nodes, network.graph.numbers
    found = []
    for node, after in zip(nodes, [*nodes[1:], None], strict=True):
        if "W" in node.built.parameters:
            activates = after is not None and after.layer.elementwise and after.inputs == (numbers[node.name],)
            found.append(Column(node, after if activates else None))
    return found


def is_chain(trainer: Trainer) -> bool:
    """Whether each column reads the one before it, so that a sample can be followed."""
    network = trainer.plan.network
    numbers = network.graph.numbers
    node_of = {numbers[node.name]: node for node in network.nodes}
    before, size = {0}, math.prod(trainer.data.input_shape)
    for column in columns(trainer):
        dense, at = column.dense, column.dense.inputs[0]
        if dense.layer.output_symbol != "z" or dense.owner != dense.name or len(dense.built.output_shape) != 1:
            return False
        while at not in before:
            node = node_of.get(at)
            if node is None or len(node.inputs) != 1 or not node.layer.keeps_units:
                return False
            at = node.inputs[0]
        if dense.built.parameters["W"].shape != (size, column.units):  # Expand has weights for each input
            return False
        before = {numbers[node.name] for node in (dense, column.activation) if node is not None}
        size = column.units
    return True


def is_drawn_whole(trainer: Trainer) -> bool:
    """Whether the stage draws every unit and weight of the network."""
    shape = trainer.data.input_shape
    counts = [*shape, *(column.units for column in columns(trainer))]
    return len(shape) == 1 and sum(counts) <= MOST_UNITS and max(counts) <= MOST_IN_COLUMN


@dataclass(frozen=True)
class Focus:
    """One unit of a network, and the strongest of what it is connected to.

    Attributes:
        level: 0 for an input, k for a unit of the k-th column
        unit: its number in the level
        reads: the units of the level before that contribute most to its z, strongest first
        feeds: the units of the next level that contribute most to its derivative
    """

    level: int
    unit: int
    reads: tuple[int, ...]
    feeds: tuple[int, ...]


def strongest(products: Array, *also: int) -> tuple[int, ...]:
    """The places of the largest products in magnitude, largest first, and others `also`."""
    order = np.argsort(-np.abs(np.nan_to_num(products)), kind="stable")[:STRONGEST].tolist()
    return (*order, *(one for one in also if one not in order))
