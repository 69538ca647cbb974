"""The loss of a subject followed through a training, each step's change split over its samples.

The walk goes from the last step to the first, since a gradient acts in its own step and, through
what the optimizer carries along, in later ones: by then all that is known, as a direction in the
space of gradients (`descent.linear`). A sample's effect is the product of its share of the gradient
with that direction, and the layers give those of a whole mini-batch at once
(`Tape.sample_products`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import forward_pass
from chainrule.descent.linear import Backward, linear_forms
from chainrule.descent.optimizers import Optimizer
from chainrule.descent.stages import Average, Point
from chainrule.engine import Position, Problem, StepRecord
from chainrule.influence.backwards import backwards
from chainrule.influence.rounded import Rounded, only_rounding
from chainrule.influence.subject import Look, Subject
from chainrule.layers.base import Context
from chainrule.network import Network
from chainrule.tape import Tape
from chainrule.training import Timeline

RULES = ("trapezoid", "first-order")
"""Which slope splits a step's change of the loss: the mean of those before and after the step, or
the one before it.
"""


class Effects(NamedTuple):
    """What a step did to a subject's loss.

    Attributes:
        step: the step, counted from 0
        rows: (samples,) the rows of its mini-batch in the training set
        effects: (samples,) how far each one's share of this step's gradient changed the loss, in
            this step and, through what the optimizer carries along, in later ones
        parts: the same of what belongs to no row, by name
        loss: the loss before the step
        change: how far the loss changed in this step
        linear: the part of the change that is linear in the change of the weights
        statistics: the part that comes from the running statistics of BatchNorm
        edited: how far it changed between this step and the next, by weights set by hand
    """

    step: int
    rows: Array
    effects: Array
    parts: dict[str, float]
    loss: float
    change: float
    linear: float
    statistics: float
    edited: float = 0.0

    @property
    def remainder(self) -> float:
        """The part of the change that is not linear."""
        return self.change - self.linear - self.statistics


@dataclass(frozen=True)
class Walk:
    """A walk through a training, from its last step to its first.

    Attributes:
        timeline: the training
        subject: whose loss is followed
        rule: one of RULES
    """

    timeline: Timeline
    subject: Subject
    rule: str = RULES[0]

    def steps(self, first: int, stop: int) -> Iterator[Effects]:
        """What each step did, from `stop` - 1 down to `first`."""
        back, averaged, later, begun = Backward(), _Averaged(), None, None
        rounded = Rounded()
        for record in backwards(self.timeline, first, stop):
            problem = self.timeline.problem_at(record.before.step)
            after, edited = begun, 0.0
            if after is None or not _same(record.after, later):
                after = self.subject.at(problem.optimizer, record.after)
                edited = 0.0 if begun is None else begun.loss - after.loss
            begun, later = self.subject.at(problem.optimizer, record.before), record.before
            yield self._step(record, problem, begun, after, back, averaged, rounded)._replace(edited=edited)

    def _step(
        self, record: StepRecord, problem: Problem, before: Look, after: Look, back: Backward, averaged: _Averaged,
        rounded: Rounded,
    ) -> Effects:  # fmt: skip
        slope = (before.slope + after.slope) / 2 if self.rule == RULES[0] else before.slope
        layout, at = problem.network.parameters, record.before
        forms = linear_forms(
            problem.optimizer, record.gradient, at.states, record.after.states,
            Point(at.parameters, layout, record.loss, record.gradient), update=record.update,
        )  # fmt: skip
        gradient, parts = back.step(forms, averaged.back(problem.optimizer, record, slope, forms[-1].ends))
        for penalty in problem.penalties:
            own = penalty.gradient(at.parameters.astype(np.float64), layout) @ gradient
            parts["penalties"] = parts.get("penalties", 0.0) + float(own)
        batch = problem.gather(self.timeline.samples, record.rows, at.step)
        network, context = self.subject.exact, problem.context(at.step)
        rounded.look(network, at, batch, context)
        tape = passed(network, problem, at, batch, context)
        nothing = rounded.entries | only_rounding(network, problem, record, batch, tape)
        direction = np.where(nothing, 0.0, gradient)
        effects = tape.sample_products(network.params(direction))
        # BatchNorm's statistics move by themselves, after the weights.
        moved = after.loss
        if before.statistics.size and not np.array_equal(before.statistics, after.statistics):
            moved = self.subject.value(after.weights, before.statistics)
        return Effects(
            at.step, record.rows, effects, parts, before.loss, after.loss - before.loss,
            float(slope @ (after.weights - before.weights)), after.loss - moved,
        )  # fmt: skip


def _same(one: Position, other: Position | None) -> bool:
    """Whether two positions have the same weights."""
    return other is not None and (
        one.parameters is other.parameters or np.array_equal(one.parameters, other.parameters)
    )


def passed(network: Network, problem: Problem, at: Position, batch: Samples, context: Context) -> Tape:
    """The forward and backward pass of a batch, with the gradient of its loss without penalties; in
    float64, of inputs rounded as in training. `Tape.sample_products` gives each sample's share of
    the gradient times a direction.

    Args:
        network: the network in float64
        problem: the loss, and the network in the precision of training
        at: the weights and running statistics
        batch: the samples
        context: that of the forward pass
    """
    parameters, statistics = at.parameters.astype(np.float64), at.statistics.astype(np.float64)
    tape = forward_pass(network, parameters, problem.network.fit_input(batch.x), statistics, context)
    tape.backward(problem.loss.derivative(tape.output, batch.y, batch.weight))
    return tape


@dataclass
class _Averaged:
    """Carries directions backward through a moving average of the weights, if that predicts.

    Attributes:
        average: how much a change of the average before the last step that was given matters
        weights: the same of a change of the weights
    """

    average: Vector | float = 0.0
    weights: Vector | float = 0.0

    def back(self, optimizer: Optimizer, record: StepRecord, slope: Vector, withheld: bool) -> Vector:
        """How much a change of a step's update matters, where the loss changes by slope times the
        change of what predicts: of the average, which every later step keeps a part of.
        """
        found = [(k, stage) for k, stage in enumerate(optimizer.stages) if isinstance(stage, Average)]
        if not found or withheld:  # without an update, the average stays, too
            return -slope
        number, stage = found[-1]
        decay = stage.decay_at(int(record.after.states[number]["count"]))
        average = self.average + slope
        self.weights = self.weights + (1 - decay) * average
        self.average = decay * average - slope
        return -self.weights
