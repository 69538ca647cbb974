"""What the scheme draws for one sample: the units between a weight and the loss, column by column,
and the arrows between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from chainrule.explain.paths import BegunPath, Path
from chainrule.explain.trace import Link, Trace, strongest
from chainrule.layers.base import Terms
from chainrule.tape import Unit

WHOLE = 4
"""A layer of at most this many units is shown in full."""
MOST = 3
"""The number of units shown of a larger layer; the flow through the others is added up."""


@dataclass
class Column:
    """The units of one layer that are shown.

    Attributes:
        layer: the layer's name
        units: the units shown
        others, rest: the number of units left out, and the flow through them
    """

    layer: str
    units: list[Unit]
    others: int = 0
    rest: float = 0.0


@dataclass(frozen=True)
class Arrow:
    """An arrow from a unit to one that it feeds.

    Attributes:
        source, target: the two units
        symbol, local: the symbol and the value of the local derivative
        flow: the contribution to the gradient of all paths through this arrow
    """

    source: Unit
    target: Unit
    symbol: str
    local: float
    flow: float


@dataclass
class Picture:
    """The units and arrows to draw.

    Attributes:
        columns: the columns from left to right
        arrows: the arrows between units that are shown
        ends: the units that the loss reads, each with the flow through it
    """

    columns: list[Column] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    ends: list[tuple[Unit, float]] = field(default_factory=list)


def picture_of(trace: Trace, first: Unit, x: float, most: int = MOST) -> Picture:
    """The strongest units from the one that a weight feeds to the loss; `x` is the input that the
    weight multiplies, and `most` the number of units shown of a layer with more than one in
    addition.
    """
    tape = trace.tape
    through = {first.node: np.zeros(tape.arrived(first.node).shape)}  # the derivative of each unit wrt. the weight
    through[first.node][first.index] = x
    reached = {first.node: np.array([first.index])}
    picture, fed = Picture(), dict[Unit, list[Terms]]()
    for layer in trace.network.graph.numbers:
        if layer not in reached:
            continue
        at = np.unique(reached[layer], axis=0)
        flows = through[layer][tuple(at.T)] * tape.arrived(layer)[tuple(at.T)]
        ranked = np.argsort(-np.abs(flows), kind="stable")
        count = len(ranked) if len(ranked) <= most + WHOLE - MOST else most
        shown, hidden = ranked[:count], ranked[count:]
        time = trace.network.graph.node(layer).time
        units = {Unit(layer, tuple(at[k].tolist()), time): float(flows[k]) for k in shown.tolist()}
        rest = float(flows[hidden].sum())
        picture.columns.append(Column(layer, sorted(units, key=lambda unit: unit.index), len(hidden), rest))
        for unit, flow in units.items():
            fed[unit] = tape.feeds(unit)
            if not fed[unit]:
                picture.ends.append((unit, flow))
            for group in (group for group in fed[unit] if len(group.local)):
                further = through.setdefault(group.node, np.zeros(tape.arrived(group.node).shape))
                further[tuple(group.at.T)] += through[layer][unit.index] * group.local
                reached[group.node] = np.concatenate([reached.get(group.node, group.at[:0]), group.at])
    columns = {column.layer: column for column in picture.columns}
    picture.arrows = [
        arrow
        for unit, groups in fed.items()
        for group in groups
        for arrow in _arrows(trace, columns.get(group.node), unit, group, float(through[unit.node][unit.index]))
    ]
    return picture


def _arrows(trace: Trace, column: Column | None, unit: Unit, group: Terms, partial: float) -> Iterator[Arrow]:
    """The arrows from a unit to those that it feeds and that are shown, strongest first; `partial`
    is the derivative of the unit with respect to the weight.
    """
    shown = column.units if column is not None else []
    places = [np.flatnonzero((group.at == np.array(target.index)).all(axis=1)) for target in shown]
    among = np.concatenate([*places, np.zeros(0, dtype=np.intp)])
    kept = replace(group, upstream=group.upstream[among], local=group.local[among], at=group.at[among])
    symbol = trace.network.graph.node(group.node).layer.local_symbol
    for link in strongest([kept])[0]:
        yield Arrow(unit, link.unit, symbol, link.local, partial * link.product)


def strongest_paths(trace: Trace, picture: Picture, x: float, most: int) -> tuple[list[Path], int | None]:
    """The strongest of the paths that are shown, and how many there are without a factor of 0; None
    if units are left out. `x` is as in `picture_of`.
    """
    first = picture.columns[0].units[0]
    best: dict[Unit, list[BegunPath]] = {first: [BegunPath(first, x, x)]}
    counts = {first: int(x != 0)}
    for arrow in picture.arrows:  # in the order of the layers, so what comes before a unit is known
        if arrow.local and arrow.source in best:
            link = Link(arrow.target, arrow.local, trace.tape.delta(arrow.target))
            paths = best.get(link.unit, []) + [path.extended(link) for path in best[arrow.source]]
            best[link.unit] = sorted(paths, key=lambda path: -abs(path.product))[:most]
            counts[link.unit] = counts.get(link.unit, 0) + counts[arrow.source]
    ended = [path.ended(trace) for unit, _ in picture.ends for path in best.get(unit, [])]
    count = sum(counts.get(unit, 0) for unit, flow in picture.ends if flow)
    strongest = sorted((path for path in ended if path.product), key=lambda path: -abs(path.product))[:most]
    return strongest, None if any(column.others for column in picture.columns) else count


def letter(trace: Trace, unit: Unit) -> str:
    """The symbol of a unit's output: z before an activation, a after it, y otherwise."""
    return trace.node(unit).layer.output_symbol


def symbols(trace: Trace, picture: Picture) -> dict[Unit, str]:
    """A symbol for every unit: its letter, numbered from the first column on; the unit's index
    where its layer has others on the way to the loss; and the sample of units of other samples.
    """
    named: dict[Unit, str] = {}
    counts: dict[str, int] = {}
    own = picture.columns[0].units[0].sample
    for column in picture.columns:
        symbol = letter(trace, column.units[0])
        counts[symbol] = counts.get(symbol, 0) + 1
        alone = len(column.units) == 1 and not column.others
        for unit in column.units:
            index = "" if alone else f"[{', '.join(map(str, unit.index[1:]))}]"
            sample = (
                f"\u207d{str(trace.rows[unit.sample]).translate(_SUPERSCRIPTS)}\u207e" if unit.sample != own else ""
            )
            named[unit] = symbol + str(counts[symbol]).translate(_SUBSCRIPTS) + index + sample
    return named


_SUBSCRIPTS = str.maketrans("0123456789", "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089")
_SUPERSCRIPTS = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def short(number: float, figures: int = 4) -> str:
    """A number with this many significant figures, and a minus sign instead of a hyphen."""
    return f"{number + 0.0:.{figures}g}".replace("-", "\u2212")  # + 0.0, or 0 might have a sign


def factor(number: float) -> str:
    """The same, in parentheses if negative: a factor after an operator."""
    return f"({short(number)})" if number < 0 else short(number)
