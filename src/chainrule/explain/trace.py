"""One step in float64, unit by unit: every unit's output and delta, and the terms of each delta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.engine import Position, Problem
from chainrule.layers.base import Terms
from chainrule.layers.graph import Node
from chainrule.losses.base import position_shares, rows_of
from chainrule.tape import Tape, Unit


@dataclass(frozen=True)
class Link:
    """A unit, and the local derivative with respect to a unit or weight that feeds it.

    Attributes:
        unit: the unit
        local: its derivative with respect to the unit or weight that feeds it
        delta: dL/d the unit
    """

    unit: Unit
    local: float
    delta: float

    @property
    def product(self) -> float:
        """What comes through: the local derivative times the delta."""
        return self.local * self.delta


def strongest(groups: Sequence[Terms], most: int | None = None) -> tuple[list[Link], float, int]:
    """The `most` links with the largest products, the sum of all other products, and their
    number.
    """
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
        unit = Unit(group.node, tuple(group.at[k].tolist()), group.time)
        links.append(Link(unit, float(group.local[k]) + 0.0, float(group.upstream[k]) + 0.0))  # -0 is 0
    return links, float(products[others].sum()), len(others)


@dataclass(frozen=True)
class LossTerm:
    """Where backpropagation starts: dL/d an output is sample_weight / samples * share * slope.

    Attributes:
        slope: the derivative of the loss of the sample or, if it has positions, of the position
        sample_weight: the weight of the sample
        samples: the number of samples in the batch, over which the loss is averaged
        meaning: what the loss makes of the output, such as "quantile 0.9 = 1.2"; mostly empty
        share: the share of the position in the loss of its sample; 1 without positions
    """

    slope: float
    sample_weight: float
    samples: int
    meaning: str = ""
    share: float = 1.0


class Trace:
    """The forward and backward pass of one step, in float64 and with all intermediate values.

    Attributes:
        network: the network, in float64
        problem: the network, loss and optimizer of the step, in float64
        step: the step, counted from 0
        batch: the mini-batch, its inputs rounded as in training
        rows: the rows of its samples in the training set
        parameters, statistics: the flat vectors before the step
        result: losses and gradient
        tape: every value, and the derivative of the loss with respect to it
    """

    def __init__(self, problem: Problem, position: Position, batch: Samples, rows: Array) -> None:
        self.network = replace(problem.network, dtype="float64")
        self.problem, self.rows, self.step = replace(problem, network=self.network), rows, position.step
        self.batch = batch._replace(x=problem.network.fit_input(batch.x))
        self.parameters = position.parameters.astype(np.float64)
        self.statistics = position.statistics.astype(np.float64)
        # Nodes before the first weights have deltas too.
        self._wants_input = not all(self.network.graph.learns[1:])
        self.result = self.problem.differentiate(
            self.parameters, self.batch, self.statistics, self.step, self._wants_input
        )
        self.tape = self.result.tape
        self._nudged_losses: dict[tuple[int, float], float] = {}

    def total_loss(self, parameters: Vector) -> float:
        """The batch's loss at these parameters."""
        return self.problem.total_loss(parameters, self.batch, self.statistics, self.problem.context(self.step))

    def nudged_loss(self, place: int, h: float) -> float:
        """The batch's loss with h added to the weight at this place of the flat vector."""
        if (place, h) not in self._nudged_losses:
            self.forward_nudged(place, h, only_output=True)
        return self._nudged_losses[place, h]

    def nudged(self, place: int, h: float) -> Tape:
        """The forward pass with h added to the weight at this place of the flat vector, and every
        delta, but no gradients.
        """
        tape = self.forward_nudged(place, h)
        slopes = self.problem.loss.derivative(tape.output, self.batch.y, self.batch.weight)
        tape.backward(slopes, self._wants_input, wants_gradients=False)
        return tape

    def forward_nudged(self, place: int, h: float, only_output: bool = False) -> Tape:
        """The forward pass, whose loss is kept; whatever the weight doesn't reach is taken from the
        trace's tape.
        """
        entry, tape = self.network.parameters.entry_at(place), self.tape
        nudged = tape.params[entry.owner][entry.own_name].copy()
        nudged.flat[place - entry.start] += h
        params = {**tape.params, entry.owner: {**tape.params[entry.owner], entry.own_name: nudged}}
        found = Tape(tape.graph, params, tape.inputs, self.problem.context(self.step), tape, only_output)
        loss = self.problem.loss.value(found.output, self.batch.y, self.batch.weight)
        if self.problem.penalties:
            weights, layout = self.parameters.copy(), self.network.parameters
            weights[place] += h
            loss += sum(penalty.value(weights, layout) for penalty in self.problem.penalties)
        self._nudged_losses[place, h] = loss
        return found

    def last_copy(self, unit: Unit) -> Unit:
        """The unit itself or, where layers only copy it, such as a Reshape, its last copy: with the
        same value and the same delta, and what reads it does something with it.
        """
        graph = self.network.graph
        while len(readers := graph.readers[graph.numbers[unit.node]]) == 1:
            ((node, _),) = readers
            (group,) = self.tape.feeds(unit)
            shapes = [graph.shapes[k] for k in node.inputs]
            if len(group.at) != 1 or node.layer.source(tuple(group.at[0, 1:].tolist()), *shapes) is None:
                break
            unit = Unit(node.name, tuple(group.at[0].tolist()))
        return unit

    def feeds(self, unit: Unit) -> list[Terms]:
        """The terms into everything that does something with a unit, past its copies."""
        return self.tape.feeds(self.last_copy(unit))

    def node(self, unit: Unit) -> Node:
        """The node that a unit belongs to."""
        return self.network.graph.node(unit.node)

    def terms(self, place: int) -> list[Terms]:
        """The terms of the gradient of the weight at this place of the flat vector."""
        entry = self.network.parameters.entry_at(place)
        index = np.unravel_index(place - entry.start, entry.shape)
        return self.tape.terms(entry.owner, entry.own_name, tuple(int(k) for k in index))

    def loss_term(self, unit: Unit) -> LossTerm:
        """The factors of the delta of a network output."""
        prediction, weight = self.tape.output, self.batch.weight
        rows, targets = (prediction, self.batch.y) if prediction.ndim < 3 else rows_of(prediction, self.batch.y)
        slope = float(self.problem.loss.row_slopes(rows, targets).reshape(prediction.shape)[unit.index]) + 0.0
        of_positions = None if weight is None or weight.ndim == 1 else weight
        share = 1.0 if prediction.ndim < 3 else float(position_shares(prediction, of_positions)[unit.index[:-1]])
        of_sample = 1.0 if weight is None or weight.ndim > 1 else float(weight[unit.sample])
        return LossTerm(slope, of_sample, len(prediction), self.meaning(unit), share)

    def meaning(self, unit: Unit) -> str:
        """What the loss makes of a network output; see `Loss.meaning`."""
        return self.problem.loss.meaning(self.tape.output[unit.index[:-1]][None], unit.index[-1])
