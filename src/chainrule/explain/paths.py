"""Paths from a weight through the units to the loss. Along a path one multiplies; the paths' products add up to the
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.explain.trace import Link, Trace, Unit

COUNTABLE = 2000
"""Up to so many paths, all of them are found; beyond, the strongest."""
BEAM = 48
"""How many partial paths are followed where there are too many."""


@dataclass(frozen=True)
class Path:
    """A way from a weight to the loss.

    Attributes: units: what it goes through, from the unit that the weight feeds to an output of the network locals:
    the local derivatives on the way: of the first unit with respect to the weight, of each unit with respect to the
    one before last: dL/d the last unit product: all of them multiplied
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


def find_paths(trace: Trace, starts: Sequence[Link]) -> tuple[list[Path], bool]:
    """The paths from a weight that feeds these units, strongest first, and whether they are all there are."""
    every = _all(trace, starts)
    if every is not None:
        return sorted(every, key=lambda path: -abs(path.product)), True
    return sorted(_strongest(trace, starts), key=lambda path: -abs(path.product)), False


def _begin(starts: Sequence[Link]) -> list[_Partial]:
    return [_Partial((link.unit,), (link.local,), link.local) for link in starts]


def _extended(partial: _Partial, link: Link) -> _Partial:
    return _Partial((*partial.units, link.unit), (*partial.locals, link.local), partial.product * link.local)


def _ended(trace: Trace, partial: _Partial) -> Path:
    last = trace.delta(partial.units[-1])
    return Path(partial.units, partial.locals, last, partial.product * last)


def _all(trace: Trace, starts: Sequence[Link]) -> list[Path] | None:
    """Every path that isn't cut by a 0, or None if there are too many."""
    found: list[Path] = []
    open_paths = [partial for partial in _begin(starts) if partial.product]
    known: dict[Unit, list[Link]] = {}
    while open_paths:
        partial = open_paths.pop()
        unit = partial.units[-1]
        if unit not in known:
            known[unit] = trace.fed_by(unit)
        if not known[unit]:
            found.append(_ended(trace, partial))
        open_paths += [_extended(partial, link) for link in known[unit] if link.local]
        if len(found) + len(open_paths) > COUNTABLE:
            return None
    return found


def _strongest(trace: Trace, starts: Sequence[Link]) -> list[Path]:
    """The paths that lead on most strongly, by what flows through each unit on the way."""
    found: list[Path] = []
    beam = _begin(starts)
    while beam:
        beam = sorted(beam, key=lambda p: -abs(p.product * trace.delta(p.units[-1])))[:BEAM]
        following: list[_Partial] = []
        for partial in beam:
            links = trace.fed_by(partial.units[-1])
            if links:
                following += [_extended(partial, link) for link in links if link.local]
            else:
                found.append(_ended(trace, partial))
        beam = following
    return found
