"""One step in float64, unit by unit: what every unit's output and delta were, and through which units each delta came.

Units are outputs of layers that aren't made of layers, or of a Residual, whose output is a sum. A unit is known by
its place: the layer's path, and the index of the output, sample first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.backprop import Derivatives, differentiate
from chainrule.engine import Position, Work
from chainrule.layers import Branches, Container, Context, Layer, Residual
from chainrule.layers.base import Terms


@dataclass(frozen=True)
class Unit:
    """One output of one layer: the layer's path, and the index, sample first."""

    layer: str
    index: Shape

    def __str__(self) -> str:
        return f"{self.layer}[{', '.join(str(k) for k in self.index[1:])}]"


@dataclass(frozen=True)
class Link:
    """A unit that another one feeds, and the derivative of the fed unit with respect to the feeding one."""

    unit: Unit
    local: float


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


class Trace:
    """Forward and backward of one step, in float64 and with nothing thrown away."""

    def __init__(self, work: Work, position: Position, batch: Batch) -> None:
        self.network = replace(work.network, dtype="float64")
        self.work, self.batch, self.step = work, batch, position.step
        self.parameters = position.parameters.astype(np.float64)
        self.statistics = position.statistics.astype(np.float64)
        self.outputs: dict[str, Array] = {}
        self.result = self._differentiate()
        self.nodes = dict(_nodes(self._root(), ""))

    def context(self, watch: Any = None) -> Context:
        """The step's own context, so that dropout drops the same units."""
        return Context(True, self.work.seed, self.step, watch=watch)

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
            context=self.context(self.outputs.__setitem__),
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

    def fed_by(self, unit: Unit) -> list[Link]:
        """The units that this one feeds; none if it is an output of the network, which the loss takes."""
        place, _, name = unit.layer.rpartition(".")
        container = self.nodes[place].layer
        if isinstance(container, Branches):
            return self._after(Unit(place, self._merged(place, container, name, unit.index)))
        assert isinstance(container, Container)
        names = list(container.children)
        after = names[names.index(name) + 1 :]
        return self._into(_join(place, after[0]), unit.index) if after else self._after(Unit(place, unit.index))

    def _after(self, unit: Unit) -> list[Link]:
        """The units that an output of a container feeds."""
        return self.fed_by(unit) if unit.layer else []

    def _merged(self, place: str, container: Branches, name: str, index: Shape) -> Shape:
        """Where a branch's output lies in what all branches are merged to."""
        if container.merge == "add":
            return index
        widths = self.nodes[place].saved[""]
        return (*index[:-1], index[-1] + sum(widths[: list(container.children).index(name)]))

    def _into(self, place: str, index: Shape) -> list[Link]:
        """The units that an input of the layer at this place feeds."""
        node = self.nodes[place]
        layer = node.layer
        if isinstance(layer, Branches):
            return [link for name in layer.children for link in self._into(_join(place, name), index)]
        if isinstance(layer, Container):
            shortcut = [Link(Unit(place, index), 1.0)] if isinstance(layer, Residual) else []
            first = next(iter(layer.children), None)
            if first is None:
                return shortcut * 2 or self._after(Unit(place, index))
            return [*shortcut, *self._into(_join(place, first), index)]
        return [
            Link(Unit(place, tuple(at)), local)
            for terms in layer.input_terms(node.params, node.saved, node.arriving, index)
            for at, local in zip(terms.at.tolist(), terms.local.tolist(), strict=True)
        ]


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
