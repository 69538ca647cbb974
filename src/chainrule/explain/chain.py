"""One delta opened: the units that it came from, each with its own delta, down to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import require
from chainrule.explain.trace import Link, LossTerm, Trace, strongest
from chainrule.tape import Unit

DEPTH = 3
"""The number of sums that are opened by default."""
WIDTH = 5
"""The number of terms of a sum that are shown; the others are added up."""


@dataclass(frozen=True)
class ChainLink:
    """A unit's delta, opened into the units that it feeds, each with its own delta.

    Attributes:
        unit: the unit
        row: the row of its sample in the training set
        delta: dL/d this unit: the sum of the products of `terms`, plus `rest`
        local_derivative: of this unit with respect to the unit or weight that feeds it
        value: its output
        note: a remark in words on a unit that is silent, saturated or dropped; empty for others
        terms: the strongest units that it feeds; empty at the loss, or below the depth
        rest, others: the sum of the terms that are not shown, and their number
        loss: the factors of the delta if only the loss reads the unit; otherwise None
        unused: why no output depends on the unit, where that is so
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
    unused: str = ""

    @property
    def product(self) -> float:
        """What comes through: the local derivative times the delta."""
        return self.local_derivative * self.delta


SINGLE = 20
"""After so many single terms in a row, as through many time steps of one unit, one counts as a
sum.
"""

Opened = dict[tuple[Unit, int], tuple[tuple[ChainLink, ...], float, int]]
"""The terms, the rest and the others of units that are already opened this many sums deep."""


def open_link(trace: Trace, link: Link, depth: int = DEPTH, known: Opened | None = None, single: int = 0) -> ChainLink:
    """Open the delta of a link's unit, `depth` sums deep. `known` is what is already opened: many
    units lead to the same one. `single` is the number of links before it that are no sums.
    """
    known = {} if known is None else known
    unit, groups = link.unit, trace.feeds(link.unit)
    if (unit, depth) not in known:
        # A single term is no sum, so it does not count towards the depth, unless there are many.
        is_sum = sum(len(group.local) for group in groups) > 1
        left = depth - 1 if is_sum or single >= SINGLE else depth
        shown, rest, others = strongest(groups if left >= 0 else [], WIDTH)
        further = 0 if is_sum or single >= SINGLE else single + 1
        known[unit, depth] = tuple(open_link(trace, inner, left, known, further) for inner in shown), rest, others
    terms, rest, others = known[unit, depth]
    return ChainLink(
        unit=unit,
        row=int(trace.rows[unit.sample]),
        delta=link.delta,
        local_derivative=link.local,
        value=trace.tape.value(unit),
        note=trace.node(unit).layer.note(link.local, _batch_outputs(trace, unit)),
        terms=terms,
        rest=rest,
        others=others,
        loss=None if groups else trace.loss_term(trace.last_copy(unit)),
        unused="" if any(len(group.local) for group in groups) else trace.tape.why_unused(trace.last_copy(unit)),
    )


def open_unit(trace: Trace, layer: str, index: int, sample: int, position: Sequence[int] | None = None) -> ChainLink:
    """Open the delta of a layer's unit for a sample of the batch: at this position, or where it is
    largest in magnitude, if the unit has several.

    Raises SettingError for an unknown unit or position; the message lists those that exist.
    """
    sizes = {node.name: node.built.output_shape[-1] for node in trace.network.nodes if node.built.output_shape}
    units = ", ".join(f"{name}[0-{count - 1}]" for name, count in sizes.items())
    require(0 <= index < sizes.get(layer, 0), f"there is no unit {layer}[{index}]; there are {units}")
    deltas = trace.tape.arrived(layer)[sample, ..., index]
    if position is None:
        place = tuple(int(k) for k in np.unravel_index(np.argmax(np.abs(deltas)), deltas.shape))
    else:
        place = tuple(map(int, position))
        inside = len(place) == deltas.ndim and all(0 <= k < n for k, n in zip(place, deltas.shape, strict=False))
        axes = " x ".join(map(str, deltas.shape))
        require(inside, f"{layer} has no position {list(place)}; its units have {axes or 'none'}")
    unit = Unit(layer, (sample, *place, index), trace.network.graph.node(layer).time)
    return open_link(trace, Link(unit, 1.0, trace.tape.delta(unit)))


def _batch_outputs(trace: Trace, unit: Unit) -> Array:
    """The outputs of the unit's feature for every sample and position of the batch."""
    output = trace.tape.values[trace.network.graph.numbers[unit.node]]
    return output[..., unit.index[-1]] if len(unit.index) > 1 else output
