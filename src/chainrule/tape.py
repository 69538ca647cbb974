"""The tape: a record of one run of a graph, with everything that the chain rule needs.

The forward pass records every value and what each leaf saved; the backward pass, from the last node
to the first, the derivative that arrives at each value and the gradients of the parameters. The
derivatives of a value with several readers add up, and so do the gradients of shared parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.layers.base import Context, Terms
from chainrule.layers.graph import Graph, Node


@dataclass(frozen=True)
class Unit:
    """One entry of a node's output.

    Attributes:
        node: the node's name
        index: the entry's index: sample first, then positions, then the feature
        time: the time step of a Scan that the node belongs to; None for others
    """

    node: str
    index: Shape
    time: int | None = field(default=None, compare=False)

    @property
    def sample(self) -> int:
        """The number of its sample in the batch."""
        return self.index[0]

    @property
    def label(self) -> str:
        """The unit in words: of a time step by its time, otherwise as text."""
        if self.time is None:
            return str(self)
        layer = replace(self, node=self.node.partition("@")[0])
        return f"{layer} at time step {self.time}"

    def __str__(self) -> str:
        return f"{self.node}[{', '.join(str(k) for k in self.index[1:])}]"


class Tape:
    """One run of a graph.

    Attributes:
        graph: the graph
        params: the parameters and statistics of every layer, by its name
        values: the inputs, then every node's output
        saved: what every node saved for the backward pass
        arriving: dL/d each value, after `backward`; None where it was not needed
        gradients: the gradient of every parameter, by layer and name
    """

    def __init__(
        self,
        graph: Graph,
        params: Mapping[str, Params],
        inputs: Sequence[Array],
        context: Context,
        like: Tape | None = None,
        only_output: bool = False,
        given: Mapping[str, Array] | None = None,
    ) -> None:
        """Run forward: `inputs` have the graph's input shapes, samples first. Nodes that read the
        same arrays as in `like`, a tape of the same graph and context, take their results from it.
        With `only_output` no other value is kept, so that there is no way back. The outputs of
        nodes in `given` are what is given there, such as numbers between two embedded tokens.
        """
        self.graph, self.params = graph, params
        self.values: list[Any] = list(inputs)
        self.saved: list[Any] = []
        values, saved = self.values, self.saved
        for node in graph.nodes:
            if like is not None and self._reads_as(like, node):
                values.append(like.values[len(values)])
                saved.append(like.saved[len(saved)])
                continue
            forward: Any = node.layer.forward
            y, kept = forward(params[node.owner], *[values[k] for k in node.inputs], context.at(node.name))
            values.append(y if given is None else given.get(node.name, y))
            saved.append(None if only_output else kept)
            if only_output:
                for k in node.inputs:
                    if graph.readers[k][-1][0] is node:
                        values[k] = None
        self.arriving: list[Array | None] = [None] * len(self.values)
        self.gradients: dict[str, dict[str, Any]] = {}

    def _reads_as(self, other: Tape, node: Node) -> bool:
        """Whether a node reads the same arrays as on another tape."""
        same = all(self.values[k] is other.values[k] for k in node.inputs)
        return same and self.params[node.owner] is other.params[node.owner]

    @property
    def inputs(self) -> list[Array]:
        """The inputs."""
        return self.values[: len(self.graph.input_shapes)]

    @property
    def output(self) -> Array:
        """The last node's output."""
        return self.values[-1]

    def backward(
        self, dy: Array, wants_input: bool = False, wants_gradients: bool = True, until: int | None = None
    ) -> None:
        """Run backward from dL/d output, to the first node with parameters, or to the inputs; or
        only `until` the derivative with respect to the output of the node of this index is there.
        """
        graph = self.graph
        arrivals: list[Any] = [None] * len(self.values)
        arrivals[-1] = dy
        self.arriving, self.gradients = arrivals, {}
        filled = set[int]()  # the values of which parts are read: each part is added in place
        for k, wanted in graph.backward_order[wants_input]:
            if until is not None and k <= until:
                break
            node, arriving = graph.nodes[k], arrivals[len(graph.input_shapes) + k]
            part = node.layer.part(self.saved[k])
            if part is not None:
                for number, _ in wanted:
                    if number not in filled:
                        filled.add(number)
                        before = arrivals[number]
                        shape = self.values[number].shape
                        arrivals[number] = np.zeros(shape, arriving.dtype) if before is None else before.copy()
                    arrivals[number][part] += arriving
                continue
            params, saved = self.params[node.owner], self.saved[k]
            if wants_gradients:
                dx, gradients = node.layer.backward(params, saved, arriving, bool(wanted))
                self._add_gradients(node.owner, gradients)
            elif wanted:
                dx = node.layer.input_derivative(params, saved, arriving)
            for number, which in wanted:
                d = dx[which] if isinstance(dx, tuple) else dx
                before = arrivals[number]
                arrivals[number] = d if before is None else before + d

    def _add_gradients(self, owner: str, gradients: Mapping[str, Any]) -> None:
        if not gradients:
            return
        known, is_shared = self.gradients.setdefault(owner, {}), len(self.graph.uses[owner]) > 1
        for name, gradient in gradients.items():
            if name in known:
                known[name] += gradient  # in place: a layer may have hundreds of uses
            else:
                known[name] = np.array(gradient) if is_shared else gradient

    def updated_statistics(self) -> dict[str, dict[str, Any]]:
        """The statistics of every layer that tracks any, after this batch."""
        updated: dict[str, dict[str, Any]] = {}
        for node, saved in zip(self.graph.nodes, self.saved, strict=True):
            if node.built.statistics:
                before = {**self.params[node.owner], **updated.get(node.owner, {})}
                kept = {name: before[name] for name in node.built.statistics}  # where no batch changes it
                updated[node.owner] = kept | node.layer.updated_statistics(before, saved)
        return updated

    # Single terms of the chain rule

    def value(self, unit: Unit) -> float:
        """The unit's output."""
        return float(self.values[self.graph.numbers[unit.node]][unit.index])

    def delta(self, unit: Unit) -> float:
        """The derivative of the loss with respect to the unit."""
        return float(self.arrived(unit.node)[unit.index])

    def arrived(self, node: str) -> Array:
        """The derivative of the loss with respect to a node's output."""
        arriving = self.arriving[self.graph.numbers[node]]
        assert arriving is not None, "backward(wants_input=True) has not run"
        return arriving

    def feeds(self, unit: Unit) -> list[Terms]:
        """The terms into everything that reads a unit; their products add up to its delta. An
        output of the network, which only the loss reads, has none.
        """
        return self.feeds_of_value(self.graph.numbers[unit.node], unit.index)

    def feeds_of_value(self, number: int, index: Shape) -> list[Terms]:
        """The same for an entry of any value, including the inputs."""
        feeds = []
        for node, which in self.graph.readers[number]:
            input_terms: Any = node.layer.input_terms
            terms = input_terms(*self._at(node), index, *([which] if len(node.inputs) > 1 else []))
            feeds.append(terms.of(node.name, node.time))
        return feeds

    def why_unused(self, unit: Unit) -> str:
        """Why no output depends on a unit, by the layers that read it; empty if some does."""
        readers = self.graph.readers[self.graph.numbers[unit.node]]
        reasons = (node.layer.why_unused(self._at(node)[1], unit.index) for node, _ in readers)
        return "; ".join(filter(None, reasons))

    def terms(self, owner: str, name: str, index: Shape) -> list[Terms]:
        """The terms of the gradient of a parameter's entry, one group for each use of its layer."""
        uses = [node for node in self.graph.uses[owner] if name in node.built.parameters]
        return [node.layer.parameter_terms(*self._at(node), name, index).of(node.name, node.time) for node in uses]

    def sample_products(self, along: Mapping[str, Params]) -> Array:
        """(samples,) the product of each sample's share of the gradient with arrays like the
        parameters, by layer and name: of its terms, for every use of every parameter.
        """
        total = np.zeros(len(self.output), self.output.dtype)
        for node in self.graph.nodes:
            own = {name: along[node.owner][name] for name in node.built.parameters}
            if any(array.any() for array in own.values()):
                total += node.layer.sample_products(*self._at(node), own)
        return total

    def _at(self, node: Node) -> tuple[Params, Any, Array]:
        number = self.graph.numbers[node.name]
        return self.params[node.owner], self.saved[number - len(self.graph.input_shapes)], self.arrived(node.name)

    def of(self, node: Node) -> tuple[Params, Any, list[Array]]:
        """A node's parameters, what it saved, and what it read."""
        saved = self.saved[self.graph.numbers[node.name] - len(self.graph.input_shapes)]
        return self.params[node.owner], saved, [self.values[k] for k in node.inputs]


def predict(graph: Graph, params: Mapping[str, Params], inputs: Sequence[Array]) -> Array:
    """The output at inference: no dropout, running statistics."""
    return Tape(graph, params, inputs, Context()).output
