"""One delta opened: the units that it came from, each with its own delta, down to the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import SettingError
from chainrule.explain.trace import Link, LossTerm, Trace, strongest
from chainrule.tape import Unit

DEPTH = 3
WIDTH = 5
"""How many terms of a sum are shown; the others are added up."""


@dataclass(frozen=True)
class ChainLink:
    """A delta opened: the units that this one feeds, each with its own delta and the local derivative towards it.

    Attributes:
        unit: which unit, and `row` of which sample
        delta: dL/d this unit: the sum over `terms` of their local derivative times their delta, plus `rest`
        local_derivative: of this unit with respect to the one before it on the way from the weight
        value: its output
        note: what there is to say in words, of a unit that is silent, saturated or dropped
        terms: the units it feeds, strongest first; none where the loss takes it, or where the depth ends
        rest, others: what the terms that are not shown add up to, and how many they are
        loss: what the delta of an output of the network is made of, which the loss takes; None for all others
    """

    unit: Unit
    row: int
    delta: float
    local_derivative: float
    value: float
    note: str
    terms: tuple[ChainLink, ...]
    rest: float
    others: int
    loss: LossTerm | None


def open_link(trace: Trace, link: Link, depth: int = DEPTH) -> ChainLink:
    """The delta of a unit that something feeds, opened so many sums deep."""
    unit = link.unit
    groups = trace.tape.feeds(unit)
    # A layer that reads one number is no sum: it is passed through without counting as a level.
    left = depth if sum(len(group.local) for group in groups) == 1 else depth - 1
    shown, rest, others = strongest(groups if left >= 0 else [], WIDTH)
    return ChainLink(
        unit=unit,
        row=int(trace.rows[unit.sample]),
        delta=link.delta,
        local_derivative=link.local,
        value=trace.tape.value(unit),
        note=trace.node(unit).layer.note(link.local, _batch_outputs(trace, unit)),
        terms=tuple(open_link(trace, inner, left) for inner in shown),
        rest=rest,
        others=others,
        loss=None if groups else trace.loss_term(unit),
    )


def open_unit(trace: Trace, layer: str, index: int, depth: int = DEPTH) -> ChainLink:
    """The delta of a unit of a layer, for the sample of the batch for which it is largest. Raises SettingError for a
    unit that there isn't, with what there is.
    """
    there = {node.name: node.built.output_shape[-1] for node in trace.network.nodes if node.built.output_shape}
    if not 0 <= index < there.get(layer, 0):
        units = ", ".join(f"{name}[0-{count - 1}]" for name, count in there.items())
        raise SettingError(f"there is no unit {layer}[{index}]; there are {units}")
    deltas = trace.tape.arrived(layer)[..., index]
    place = tuple(int(k) for k in np.unravel_index(np.argmax(np.abs(deltas)), deltas.shape))
    unit = Unit(layer, (*place, index))
    return open_link(trace, Link(unit, 1.0, trace.tape.delta(unit)), depth)


def _batch_outputs(trace: Trace, unit: Unit) -> Array:
    """What the unit's feature puts out for every sample and position of the batch."""
    output = trace.tape.values[trace.network.graph.numbers[unit.node]]
    return output[..., unit.index[-1]] if len(unit.index) > 1 else output
