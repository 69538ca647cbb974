"""A trained network as a function of one sample, in float64: its values at points between samples,
and its derivatives by the chain rule.

Tokens are numbers by which rows are looked up, so there is nothing between two of them; their rows
of the embedding are what changes, and what derivatives are taken with respect to. Lengths stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.layers.base import Context
from chainrule.layers.graph import Graph
from chainrule.network import Network
from chainrule.runs import Trained
from chainrule.tape import Tape

NUMBERS = 4_000_000
"""About how many numbers a tape may hold: so many points are computed at a time."""


class Point(NamedTuple):
    """What the network reads of a sample, or of something between two.

    Attributes:
        x: (*input_shape) the inputs
        embedded: for each embedding the rows that it gives, (*positions, units)
    """

    x: Array
    embedded: tuple[Array, ...] = ()

    def towards(self, other: Point, shares: Array) -> tuple[Array, list[Array]]:
        """The points so far on the way to another: (points, *input_shape), and those of the
        embeddings.
        """
        return _between(self.x, other.x, shares), [
            _between(a, b, shares) for a, b in zip(self.embedded, other.embedded, strict=True)
        ]


def _between(first: Array, last: Array, shares: Array) -> Array:
    return first + shares.reshape(-1, *(1,) * first.ndim) * (last - first)


@dataclass(frozen=True)
class Lookup:
    """A use of an embedding.

    Attributes:
        node: its node
        owner: the layer that has the rows
        entries: (positions...) which entry of the sample, flattened, each position is looked up by
    """

    node: str
    owner: str
    entries: Array


@dataclass(frozen=True)
class Function:
    """A trained network as a function.

    Attributes:
        network: the network, in float64
        params: its weights and statistics by layer
        lookups: its embeddings of entries of the sample
    """

    network: Network
    params: dict[str, dict[str, Array]]
    lookups: tuple[Lookup, ...]

    @staticmethod
    def of(trained: Trained) -> Function:
        """The function that a trained network computes, at inference."""
        network = replace(trained.plan.network, dtype="float64")
        params = network.params(trained.parameters.astype(np.float64), trained.statistics.astype(np.float64))
        return Function(network, params, tuple(_lookups(network.graph)))

    @cached_property
    def fixed(self) -> Array:
        """(entries,) which entries of a flattened sample are no quantities: numbers of tokens, and
        of valid positions.
        """
        graph = self.network.graph
        fixed = np.zeros(math.prod(self.network.input_shape), bool)
        for lookup in self.lookups:
            fixed[lookup.entries.ravel()] = True
        for number, shape in enumerate(graph.shapes):
            entry = _entry(graph, number, ()) if shape == () else None
            if entry is not None:
                fixed[entry] = True
        return fixed

    def rows_of(self, lookup: Lookup, numbers: Array) -> Array:
        """The rows of an embedding for these numbers."""
        layer = self.network.graph.node(lookup.node).layer
        return layer.forward(self.params[lookup.owner], numbers, Context())[0]

    def mean_row(self, lookup: Lookup) -> Array:
        """The mean of all rows of an embedding."""
        (matrix,) = self.params[lookup.owner].values()
        return matrix.mean(axis=0)

    def point(self, x: Array) -> Point:
        """A sample, of shape (*input_shape)."""
        x = np.asarray(x, np.float64)
        return Point(x, tuple(self.rows_of(one, x.ravel()[one.entries]) for one in self.lookups))

    def tape(self, x: Array, embedded: Sequence[Array] = ()) -> Tape:
        """One run on points (points, *input_shape), and what embeddings give there."""
        given = {lookup.node: rows for lookup, rows in zip(self.lookups, embedded, strict=True)} if embedded else None
        return Tape(self.network.graph, self.params, [np.asarray(x, np.float64)], Context(), given=given)

    def tape_at(self, point: Point) -> Tape:
        """The run on one point."""
        return self.tape(point.x[None], [rows[None] for rows in point.embedded])

    def slopes(self, tape: Tape, dy: Array) -> tuple[Array, list[Array]]:
        """(points, *input_shape) the derivatives of the sum of the network's outputs, each times
        dy, with respect to the inputs, and to what the embeddings give.
        """
        tape.backward(dy, wants_input=True, wants_gradients=False)
        dx = tape.arriving[0]
        found = np.zeros_like(tape.values[0]) if dx is None else dx
        return found, [_arrived(tape, lookup.node) for lookup in self.lookups]

    def gathered(self, of_inputs: Array, of_rows: Sequence[Array]) -> Array:
        """(points, *input_shape) what belongs to each entry of a sample: what belongs to the rows
        that it is looked up by is added up over their numbers.
        """
        flat = of_inputs.reshape(len(of_inputs), -1).copy()
        for lookup, rows in zip(self.lookups, of_rows, strict=True):
            sums = rows.sum(axis=-1).reshape(len(flat), -1)
            for k, entry in enumerate(lookup.entries.ravel().tolist()):
                flat[:, entry] += sums[:, k]
        return flat.reshape(of_inputs.shape)

    @cached_property
    def at_once(self) -> int:
        """How many points are computed at a time."""
        numbers = sum(math.prod(shape) for shape in self.network.graph.shapes)
        return max(1, min(512, NUMBERS // max(1, numbers)))

    @cached_property
    def cost(self) -> float:
        """The approximate number of multiply-adds at a point, forward and backward."""
        return float(sum(node.layer.cost(node.built) for node in self.network.nodes))


def _arrived(tape: Tape, node: str) -> Array:
    number = tape.graph.numbers[node]
    arriving = tape.arriving[number]
    return np.zeros_like(tape.values[number]) if arriving is None else arriving


def _lookups(graph: Graph) -> Iterator[Lookup]:
    """The embeddings of entries of the sample."""
    for node in graph.nodes:
        if not node.layer.takes_tokens:
            continue
        shape = graph.shapes[node.inputs[0]]
        entries = [_entry(graph, node.inputs[0], index) for index in np.ndindex(shape)]
        if None not in entries:
            yield Lookup(node.name, node.owner, np.array(entries, np.intp).reshape(shape))


def _entry(graph: Graph, number: int, index: Shape) -> int | None:
    """Which entry of the flattened sample an entry of a value is a copy of; None for others."""
    number, index = graph.source(number, index)
    if number >= len(graph.input_shapes):
        return None
    shape = graph.shapes[number]
    return int(np.ravel_multi_index(index, shape)) if shape else 0
