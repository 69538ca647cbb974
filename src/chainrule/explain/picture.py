"""What the scheme draws for one sample: the units between a weight and the loss, column by column,
and the arrows between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chainrule.explain.trace import Trace, strongest
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


def picture_of(trace: Trace, first: Unit, x: float) -> Picture:
    """The strongest units from the one that a weight feeds to the loss; `x` is the input that the
    weight multiplies.
    """
    through: dict[Unit, float] = {first: x}  # the derivative of each unit with respect to the weight
    picture = Picture()
    for layer in trace.network.graph.numbers:
        flows = {unit: through[unit] * trace.tape.delta(unit) for unit in through if unit.node == layer}
        if not flows:
            continue
        ranked = sorted(flows, key=lambda unit: -abs(flows[unit]))
        most = len(ranked) if len(ranked) <= WHOLE else MOST
        shown, hidden = ranked[:most], ranked[most:]
        rest = sum(flows[unit] for unit in hidden)
        picture.columns.append(Column(layer, sorted(shown, key=lambda unit: unit.index), len(hidden), rest))
        for unit in shown:
            links, _, _ = strongest(trace.tape.feeds(unit))
            for link in links:
                partial = through[unit] * link.local
                through[link.unit] = through.get(link.unit, 0.0) + partial
                symbol = trace.node(link.unit).layer.local_symbol
                picture.arrows.append(Arrow(unit, link.unit, symbol, link.local, partial * link.delta))
            if not links:
                picture.ends.append((unit, flows[unit]))
    visible = {unit for column in picture.columns for unit in column.units}
    picture.arrows = [arrow for arrow in picture.arrows if arrow.target in visible]
    return picture


def letter(trace: Trace, unit: Unit) -> str:
    """The symbol of a unit's output: z before an activation, a after it, y otherwise."""
    return trace.node(unit).layer.output_symbol


def delta_worked(trace: Trace, unit: Unit) -> str:
    """The derivative with respect to a unit as a short sum of products."""
    groups = trace.tape.feeds(unit)
    if not groups:
        term = trace.loss_term(unit)
        weight = "" if term.sample_weight == 1 else f"{short(term.sample_weight)} \u00d7 "
        mean = "" if term.samples == 1 else f" / {term.samples} samples"
        return f"= {weight}{short(term.slope)}{mean}, from the loss"
    links, _, _ = strongest(groups)
    if len(links) > 2:
        return f"= the sum of {len(links)} products"
    links.sort(key=lambda link: link.unit.index)
    return "= " + " + ".join(f"{factor(link.local)} \u00d7 {factor(link.delta)}" for link in links)


def short(number: float, figures: int = 4) -> str:
    """A number with this many significant figures, and a minus sign instead of a hyphen."""
    return f"{number:.{figures}g}".replace("-", "\u2212")


def factor(number: float) -> str:
    """The same, in parentheses if negative: a factor after an operator."""
    return f"({short(number)})" if number < 0 else short(number)
