"""What the scheme draws of one sample: the units on the ways from a weight to the loss, column by column, and the
arrows between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chainrule.explain.trace import Trace, strongest
from chainrule.tape import Unit

WHOLE = 4
"""A layer of up to so many units is shown whole."""
MOST = 3
"""Of a larger one so many are shown; what flows through the others is added up."""


@dataclass
class Column:
    """The units of one layer that are shown, and what flows through those that are left out."""

    layer: str
    units: list[Unit]
    others: int = 0
    rest: float = 0.0


@dataclass(frozen=True)
class Arrow:
    """From a unit to one that it feeds.

    Attributes:
        source, target: the two units
        symbol, local: the local derivative: what it is called, and its value
        flow: what comes from the weight through this arrow to the loss, as a part of the gradient
    """

    source: Unit
    target: Unit
    symbol: str
    local: float
    flow: float


@dataclass
class Picture:
    """Columns of units from left to right, arrows, and `ends`: what flows through each unit that the loss takes."""

    columns: list[Column] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    ends: list[tuple[Unit, float]] = field(default_factory=list)


def picture_of(trace: Trace, first: Unit, given: float) -> Picture:
    """The units on the strongest ways from the unit that a weight feeds to the loss; `given` is what the weight
    multiplies.
    """
    through: dict[Unit, float] = {first: given}
    drawn = Picture()
    for layer in trace.network.graph.numbers:
        here = [unit for unit in through if unit.node == layer]
        if not here:
            continue
        ranked = sorted(here, key=lambda unit: -abs(through[unit] * trace.tape.delta(unit)))
        most = len(ranked) if len(ranked) <= WHOLE else MOST
        shown, hidden = ranked[:most], ranked[most:]
        rest = sum(through[unit] * trace.tape.delta(unit) for unit in hidden)
        drawn.columns.append(Column(layer, sorted(shown, key=lambda unit: unit.index), len(hidden), rest))
        for unit in shown:
            links, _, _ = strongest(trace.tape.feeds(unit))
            for link in links:
                partial = through[unit] * link.local
                through[link.unit] = through.get(link.unit, 0.0) + partial
                symbol = trace.node(link.unit).layer.local_symbol
                arrow = Arrow(unit, link.unit, symbol, link.local, partial * link.delta)
                drawn.arrows.append(arrow)
            if not links:
                drawn.ends.append((unit, through[unit] * trace.tape.delta(unit)))
    visible = {unit for column in drawn.columns for unit in column.units}
    drawn.arrows = [arrow for arrow in drawn.arrows if arrow.target in visible]
    return drawn


def letter(trace: Trace, unit: Unit) -> str:
    """What a unit's output is called: z before an activation, a after it, y otherwise."""
    return trace.node(unit).layer.output_symbol


def delta_worked(trace: Trace, unit: Unit) -> str:
    """How a unit's derivative comes about, in a short line: what one multiplies, and what one adds."""
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


def short(number: float) -> str:
    """Four significant figures, with a true minus."""
    return f"{number:.4g}".replace("-", "\u2212")


def factor(number: float) -> str:
    """The same as it may stand behind an operator."""
    return f"({short(number)})" if number < 0 else short(number)
