"""Paths from a weight through the units to the loss. Along a path one multiplies; the paths' products add up to the
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.explain.trace import Link, Trace, strongest
from chainrule.layers.base import Terms
from chainrule.tape import Unit

COUNTABLE = 2000
"""Up to so many paths, all of them are found; beyond, the strongest."""
BEAM = 48
"""How many partial paths are followed where there are too many."""


@dataclass(frozen=True)
class Path:
    """A way from a weight to the loss.

    Attributes:
        units: what it goes through, from the unit that the weight feeds to an output of the network
        locals: the local derivatives on the way: of the first unit with respect to the weight, of each other unit with
            respect to the one before
        last: dL/d the last unit
        product: all of them multiplied
    """

    units: tuple[Unit, ...]
    locals: tuple[float, ...]
    last: float
    product: float


@dataclass(frozen=True)
class _Partial:
    units: tuple[Unit, ...]
    locals: tuple[float, ...]
    product: float

    def extended(self, link: Link) -> _Partial:
        return _Partial((*self.units, link.unit), (*self.locals, link.local), self.product * link.local)

    def ended(self, trace: Trace) -> Path:
        last = trace.tape.delta(self.units[-1])
        return Path(self.units, self.locals, last, self.product * last)


def find_paths(trace: Trace, starts: Sequence[Link]) -> tuple[list[Path], bool]:
    """The paths from a weight that feeds these units, strongest first, and whether they are all there are."""
    begun = [_Partial((link.unit,), (link.local,), link.local) for link in starts]
    every = _all(trace, begun)
    found = _strongest(trace, begun) if every is None else every
    return sorted(found, key=lambda path: -abs(path.product)), every is not None


def _all(trace: Trace, begun: list[_Partial]) -> list[Path] | None:
    """Every path that isn't cut by a 0, or None if there are too many."""
    found: list[Path] = []
    known: dict[Unit, list[Terms]] = {}
    level = [partial for partial in begun if partial.product]
    while level:
        for partial in level:
            unit = partial.units[-1]
            if unit not in known:
                known[unit] = trace.tape.feeds(unit)
            if not known[unit]:
                found.append(partial.ended(trace))
        ways = [(partial, known[partial.units[-1]]) for partial in level]
        count = sum(np.count_nonzero(group.local) for _, groups in ways for group in groups)
        if len(found) + count > COUNTABLE:  # known before the next level is made
            return None
        level = [partial.extended(link) for partial, groups in ways for link in strongest(groups)[0] if link.local]
    return found


def _strongest(trace: Trace, begun: list[_Partial]) -> list[Path]:
    """The paths that lead on most strongly, by what flows through each unit on the way."""
    found: list[Path] = []
    beam = sorted(begun, key=lambda partial: -abs(partial.product * trace.tape.delta(partial.units[-1])))[:BEAM]
    while beam:
        ways: list[tuple[float, _Partial, Link]] = []
        for partial in beam:
            groups = trace.tape.feeds(partial.units[-1])
            if not groups:
                found.append(partial.ended(trace))
            links = strongest(groups, BEAM)[0]
            ways += [(abs(partial.product * link.product), partial, link) for link in links if link.local]
        ways.sort(key=lambda way: -way[0])
        beam = [partial.extended(link) for _, partial, link in ways[:BEAM]]
    return found
