"""One step in float64, unit by unit: what every unit's output and delta were, and through which units each delta came.

Units are outputs of layers that aren't made of layers, or of a Residual, whose output is a sum. A unit is known by
its place: the layer's path, and the index of the output, sample first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.backprop import Derivatives, differentiate
from chainrule.engine import Position, Work
from chainrule.layers import Branches, Container, Context, Layer, Residual
from chainrule.layers.base import Terms, samples_of


@dataclass(frozen=True)
class Unit:
    """One output of one layer: the layer's path, and the index, sample first."""

    layer: str
    index: Shape

    def __str__(self) -> str:
        return f"{self.layer}[{', '.join(str(k) for k in self.index[1:])}]"


@dataclass(frozen=True)
class Link:
    """A unit that another one (or a weight) feeds.

    Attributes:
        unit: the fed unit
        local: its derivative with respect to what feeds it
        delta: dL/d the fed unit
    """

    unit: Unit
    local: float
    delta: float

    @property
    def product(self) -> float:
        """What comes through: the local derivative times the delta."""
        return self.local * self.delta


def strongest(groups: Sequence[Terms], most: int | None = None) -> tuple[list[Link], float, int]:
    """The links with the largest products, what all others add up to, and how many those are."""
    if not groups:
        return [], 0.0, 0
    products = np.concatenate([group.products for group in groups])
    starts = np.cumsum([0, *(len(group.local) for group in groups)])
    order = np.argsort(-np.abs(products), kind="stable")
    shown, others = order[:most], order[len(order) if most is None else most :]
    links = []
    for place in shown.tolist():
        which = int(np.searchsorted(starts, place, side="right")) - 1
        group, k = groups[which], place - int(starts[which])
        unit = Unit(group.layer, tuple(group.at[k].tolist()))
        links.append(Link(unit, float(group.local[k]) + 0.0, float(group.upstream[k]) + 0.0))  # -0 is 0
    return links, float(products[others].sum()), len(others)


@dataclass(frozen=True)
class Node:
    """A layer within the network, with what it was given and kept, and the derivative that arrived at its output."""

    layer: Layer
    params: Params
    saved: Any
    arriving: Array


@dataclass(frozen=True)
class Batch:
    """The samples of a step, as the network and the loss take them, and their rows in the training part."""

    x: Array
    y: Array
    weight: Array | None
    rows: Array


@dataclass(frozen=True)
class LossTerm:
    """Where backpropagation begins: dL/d an output is sample_weight / samples * slope.

    Attributes:
        slope: the derivative of the sample's own loss
        sample_weight: how much the sample counts
        samples: how many samples the batch has, over which the loss is averaged
    """

    slope: float
    sample_weight: float
    samples: int


class Trace:
    """Forward and backward of one step, in float64 and with nothing thrown away."""

    def __init__(self, work: Work, position: Position, batch: Batch) -> None:
        self.network = replace(work.network, dtype="float64")
        # The samples in the precision in which training saw them.
        self.batch = replace(batch, x=work.network.fit_input(batch.x))
        self.work, self.step = work, position.step
        self.parameters = position.parameters.astype(np.float64)
        self.statistics = position.statistics.astype(np.float64)
        self.inputs: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}
        self.result = self._differentiate()
        self.nodes = dict(_nodes(self._root(), ""))

    @cached_property
    def order(self) -> list[str]:
        """The layers whose outputs are units, in the order in which they run: a Residual, whose output is a sum, after
        the layers inside it.
        """
        order: list[str] = []

        def visit(place: str) -> None:
            layer = self.nodes[place].layer
            if isinstance(layer, Container):
                for name in layer.children:
                    visit(_join(place, name))
            if place and (isinstance(layer, Residual) or not isinstance(layer, Container)):
                order.append(place)

        visit("")
        return order

    def context(self, watch: Any = None) -> Context:
        """The step's own context, so that dropout drops the same units."""
        return Context(True, self.work.seed, self.step, watch=watch)

    def _watch(self, place: str, x: Array, y: Array) -> None:
        self.inputs[place], self.outputs[place] = x, y

    def _differentiate(self) -> Derivatives:
        batch = self.batch
        return differentiate(
            self.network,
            self.work.loss,
            self.parameters,
            batch.x,
            batch.y,
            statistics=self.statistics,
            sample_weight=batch.weight,
            penalties=self.work.penalties,
            context=self.context(self._watch),
        )

    def _root(self) -> Node:
        forward = self.result.forward
        return Node(self.network.root, forward.params, forward.saved, self.result.dprediction)

    def terms(self, weight: str) -> list[Terms]:
        """The terms of a weight's gradient, each group with the path of the layer whose outputs they are for."""
        array, _, index = weight.partition("[")
        forward = self.result.forward
        place = tuple(int(k) for k in index[:-1].split(","))
        return self.network.root.parameter_terms(forward.params, forward.saved, self.result.dprediction, array, place)

    def delta(self, unit: Unit) -> float:
        """The derivative of the loss with respect to this unit's output."""
        return float(self.nodes[unit.layer].arriving[unit.index])

    def value(self, unit: Unit) -> float | None:
        """The unit's output; None for a sum, whose output nobody watches."""
        output = self.outputs.get(unit.layer)
        return None if output is None else float(output[unit.index])

    def loss_term(self, unit: Unit) -> LossTerm:
        """What the delta of an output of the network is made of."""
        prediction, batch = self.result.forward.prediction, self.batch
        slope = float(self.work.loss.slopes(prediction, batch.y)[unit.index])
        weight = 1.0 if batch.weight is None else float(batch.weight[unit.index[0]])
        return LossTerm(slope, weight, len(prediction))

    def fed_by(self, unit: Unit) -> list[Terms]:
        """The units that this one feeds: their deltas and the local derivatives towards them, whose products add up to
        this one's delta; nothing if it is an output of the network, which the loss takes.
        """
        place, _, name = unit.layer.rpartition(".")
        container = self.nodes[place].layer
        if isinstance(container, Branches):
            return self._after(Unit(place, self._merged(place, container, name, unit.index)))
        assert isinstance(container, Container)
        names = list(container.children)
        after = names[names.index(name) + 1 :]
        if after:
            return self._into(_join(place, after[0]), unit.index)
        # A Residual's output is a sum, and so a unit of its own.
        return (
            [self._sum(place, unit.index)] if isinstance(container, Residual) else self._after(Unit(place, unit.index))
        )

    def _after(self, unit: Unit) -> list[Terms]:
        """The units that an output of a container feeds."""
        return self.fed_by(unit) if unit.layer else []

    def _sum(self, place: str, index: Shape) -> Terms:
        """The unit in which a Residual's shortcut and the layers inside it meet."""
        upstream = self.nodes[place].arriving[index].reshape(1)
        return Terms(upstream, np.ones(1), samples_of(index), place)

    def _merged(self, place: str, container: Branches, name: str, index: Shape) -> Shape:
        """Where a branch's output lies in what all branches are merged to."""
        if container.merge == "add":
            return index
        widths = self.nodes[place].saved[""]
        return (*index[:-1], index[-1] + sum(widths[: list(container.children).index(name)]))

    def _into(self, place: str, index: Shape) -> list[Terms]:
        """The units that an input of the layer at this place feeds."""
        node = self.nodes[place]
        layer = node.layer
        if isinstance(layer, Branches):
            return [terms for name in layer.children for terms in self._into(_join(place, name), index)]
        if isinstance(layer, Container):
            shortcut = [self._sum(place, index)] if isinstance(layer, Residual) else []
            first = next(iter(layer.children), None)
            if first is None:
                return shortcut * 2 or self._after(Unit(place, index))
            return [*shortcut, *self._into(_join(place, first), index)]
        return [t.within(place) for t in layer.input_terms(node.params, node.saved, node.arriving, index)]


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _nodes(node: Node, place: str) -> Iterator[tuple[str, Node]]:
    """Every layer, and every layer within it, by its path."""
    yield place, node
    if isinstance(node.layer, Container):
        arriving = node.layer.upstreams(node.params, node.saved, node.arriving)
        for name, child in node.layer.children.items():
            inner = Node(child, node.params[name], node.saved[name], arriving[name])
            yield from _nodes(inner, _join(place, name))
