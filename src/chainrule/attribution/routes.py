"""The derivative of an output with respect to an input, as the sum over all paths between them: the
product of the local derivatives along each (the chain rule).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Shape
from chainrule.attribution.cuts import Cut, cuts
from chainrule.attribution.function import Function
from chainrule.explain.paths import Path, find_paths
from chainrule.layers.base import Terms, total
from chainrule.layers.graph import Graph
from chainrule.tape import Tape, Unit


@dataclass(frozen=True)
class Routes:
    """The paths from an input to an output.

    Attributes:
        entry: the entry of the flattened sample
        of: what the derivative is with respect to, if it is not the entry itself
        derivative: the derivative, as backpropagation computes it
        paths: the strongest, each with its local derivatives, of which the last is that of what is
            explained with respect to the network's output
        is_complete: whether these are all there are
        cuts: the layers that all paths pass through, each with what comes through its units
        graph: the network's graph
    """

    entry: int
    of: str
    derivative: float
    paths: tuple[Path, ...]
    is_complete: bool
    cuts: tuple[Cut, ...]
    graph: Graph = field(repr=False)

    def rest(self, most: int) -> float:
        """What all paths but the strongest `most` add up to."""
        return self.derivative - sum(path.product for path in self.paths[:most])

    def origin(self, unit: Unit) -> tuple[int, Shape]:
        """The value that a unit is a copy of, and the index there, without the sample: of a unit
        that computes something the unit itself.
        """
        return self.graph.source(self.graph.numbers[unit.node], unit.index[1:])

    def computed(self, path: Path) -> tuple[list[Unit], list[float]]:
        """The units and the factors of a path without the units that are copies, such as those of
        Flatten and Slice.
        """
        units, factors, pending = [], [], 1.0
        for unit, factor in zip(path.units, path.factors, strict=False):
            pending *= factor
            if self.origin(unit) == (self.graph.numbers[unit.node], unit.index[1:]):
                units.append(unit)
                factors.append(pending)
                pending = 1.0
        return units, [*factors, pending * path.factors[-1]]


class _Feeds:
    """What reads each unit, as `find_paths` asks for it."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def feeds(self, unit: Unit) -> list[Terms]:
        """The terms into everything that reads a unit."""
        return self.tape.feeds(unit)


def routes(function: Function, tape: Tape, entry: int) -> Routes:
    """The paths from an entry of the sample.

    Args:
        function: the network
        tape: its run on the sample, with the derivatives of an output
        entry: the entry of the flattened sample; of a token the number of its row of the embedding
            through which the most comes
    """
    number, index, of = 0, _index(entry, tape.values[0].shape[1:]), ""
    for lookup in function.lookups:
        at = np.argwhere(lookup.entries == entry)
        if len(at):
            position = tuple(int(k) for k in at[0])
            number = tape.graph.numbers[lookup.node]
            slopes = tape.arrived(lookup.node)[0][position]
            unit = int(np.argmax(np.abs(slopes * tape.values[number][0][position])))
            index, of = (*position, unit), str(Unit(lookup.node, (0, *position, unit)))
    terms = tape.feeds_of_value(number, (0, *index))
    feeds: Any = _Feeds(tape)
    found, is_complete = find_paths(feeds, terms)
    return Routes(entry, of, total(terms), tuple(found), is_complete, cuts(tape, number, index), tape.graph)


def _index(entry: int, shape: Shape) -> Shape:
    return tuple(int(k) for k in np.unravel_index(entry, shape))
