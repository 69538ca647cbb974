"""Paths from a weight through the units to the loss: multiply along a path, add over all paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.explain.trace import Link, Trace, strongest
from chainrule.layers.base import Terms
from chainrule.tape import Unit

COUNTABLE = 2000
"""Up to this number of paths, all are listed; beyond it, the strongest."""
BEAM = 48
"""The width of the beam search for the strongest paths."""


@dataclass(frozen=True)
class Path:
    """A path from a weight to the loss.

    Attributes:
        units: the units along it, from the one that the weight feeds to an output of the network
        factors: the local derivatives along it: of each unit with respect to the weight or unit
            before it, and of the loss with respect to the last unit
        product: the product of the factors
    """

    units: tuple[Unit, ...]
    factors: tuple[float, ...]
    product: float


@dataclass(frozen=True, eq=False)
class BegunPath:
    """A path up to a unit. Those that continue it share it, as a path may have thousands of units.

    Attributes:
        unit: its last unit
        factor: the local derivative of that unit
        product: the product of its factors
        before: the path up to the unit before; None for the first
    """

    unit: Unit
    factor: float
    product: float
    before: BegunPath | None = None

    def extended(self, link: Link) -> BegunPath:
        """The path continued to a unit that its last unit feeds."""
        return BegunPath(link.unit, link.local, self.product * link.local, self)

    def ended(self, trace: Trace) -> Path:
        """The path continued from its last unit to the loss."""
        units, factors, part = [], [trace.tape.delta(self.unit)], self
        product = self.product * factors[0]
        while True:
            units.append(part.unit)
            factors.append(part.factor)
            if part.before is None:
                return Path(tuple(reversed(units)), tuple(reversed(factors)), product)
            part = part.before


def find_paths(trace: Trace, terms: Sequence[Terms]) -> tuple[list[Path], bool]:
    """The paths from a weight through the units that it feeds, strongest first, and whether these
    are all of them. `terms` are those of the weight's gradient.
    """
    is_countable = sum(np.count_nonzero(group.products) for group in terms) <= COUNTABLE
    starts = [link for link in strongest(terms, COUNTABLE if is_countable else BEAM)[0] if link.product]
    begun = [BegunPath(link.unit, link.local, link.local) for link in starts]
    every = _all(trace, begun) if is_countable else None
    paths = _strongest(trace, begun) if every is None else every
    return sorted(paths, key=lambda path: -abs(path.product)), every is not None


def _all(trace: Trace, begun: list[BegunPath]) -> list[Path] | None:
    """Every path without a factor of 0, or None if there are more than COUNTABLE."""
    ended: list[Path] = []
    feeds: dict[Unit, list[Terms]] = {}
    links: dict[Unit, list[Link]] = {}
    level = [path for path in begun if path.product]
    while level:
        count = len(ended)
        for path in level:
            unit = path.unit
            if unit not in feeds:
                feeds[unit] = trace.feeds(unit)
            if not feeds[unit]:
                ended.append(path.ended(trace))
            count += sum(int(np.count_nonzero(group.local)) for group in feeds[unit]) or not feeds[unit]
            if count > COUNTABLE:  # before the next level is built
                return None
        links |= {unit: strongest(feeds[unit])[0] for unit in {path.unit for path in level} - links.keys()}
        level = [path.extended(link) for path in level for link in links[path.unit] if link.local]
    return ended


def _strongest(trace: Trace, begun: list[BegunPath]) -> list[Path]:
    """The strongest paths, by a beam search on the product of path and delta."""
    ended: list[Path] = []
    beam = sorted(begun, key=lambda path: -abs(path.product * trace.tape.delta(path.unit)))[:BEAM]
    while beam:
        branches: list[tuple[float, BegunPath, Link]] = []
        for path in beam:
            groups = trace.feeds(path.unit)
            if not groups:
                ended.append(path.ended(trace))
            links = strongest(groups, BEAM)[0]
            branches += [(abs(path.product * link.product), path, link) for link in links if link.local]
        branches.sort(key=lambda branch: -branch[0])
        beam = [path.extended(link) for _, path, link in branches[:BEAM]]
    return ended
