"""The definition of a training step, in NumPy: forward, loss, backward, and then descent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import Derivatives, updated_statistics
from chainrule.descent import Point
from chainrule.engine.base import Batches, Chunk, Position, Problem, StepRecord, is_finite


@dataclass(frozen=True)
class NumpyEngine:
    """Takes training steps by the layers' own definitions."""

    problem: Problem
    notes: tuple[str, ...] = ()

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch; each is a span."""
        for k, record in enumerate(self.steps(position, batches)):
            here = batches.cut(k, k + 1)
            yield Chunk(record.before, record.after, here, np.array([record.loss]), is_finite(record), self.steps)

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch, and show each."""
        for k in range(len(batches)):
            record = self.step(position, batches.samples(k), batches.rows(k))
            position = record.after
            yield record

    def step(self, at: Position, samples: Samples, rows: Array) -> StepRecord:
        """One step: backpropagation computes the gradient, gradient descent uses it."""
        here, point = self.look(at, samples)
        taken = self.problem.optimizer.step(here.gradient, at.states, point)
        statistics = updated_statistics(self.problem.network, here.tape, at.statistics)
        after = Position(at.step + 1, taken.parameters, statistics, taken.states)
        return StepRecord(at, after, rows, here.loss, here.gradient, taken.update)

    def look(self, at: Position, samples: Samples, wants_input: bool = False) -> tuple[Derivatives, Point]:
        """The first half of a step: the derivatives, and the point from which the optimizer steps."""

        def elsewhere(parameters: Vector) -> tuple[float, Vector]:
            there = self.problem.differentiate(parameters, samples, at.statistics, at.step)
            return there.loss, there.gradient

        here = self.problem.differentiate(at.parameters, samples, at.statistics, at.step, wants_input)
        return here, Point(at.parameters, self.problem.network.parameters, here.loss, here.gradient, elsewhere)

    def leaves_a_core(self, batches: Batches) -> bool:
        """No: its products take what there is."""
        return False

    def predict(self, parameters: Vector, x: Array, statistics: Vector) -> Array:
        """The prediction for x, as after training."""
        return self.problem.network.predict(parameters, x, statistics)
