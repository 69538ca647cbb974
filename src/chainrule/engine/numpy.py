"""The definition of a training step, in NumPy: forward pass, loss, backward pass and descent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Deferred, Samples, Vector
from chainrule.backprop import Derivatives, updated_statistics
from chainrule.descent import Point
from chainrule.engine.base import Batches, Chunk, Position, Predictor, Problem, StepRecord, Watched, is_finite
from chainrule.engine.continuation import Continuation, Definition, verified
from chainrule.errors import SettingError, ShapeError
from chainrule.threads import ahead


@dataclass(frozen=True)
class NumpyEngine:
    """Takes training steps by the definitions of the layers, the loss and the optimizer.

    Attributes:
        problem: what is trained
        notes: empty, as nothing falls back to another engine
    """

    problem: Problem
    notes: tuple[str, ...] = ()

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch; each is a chunk."""
        for k, record in enumerate(self.steps(position, batches)):
            batch, losses = batches.cut(k, k + 1), np.array([record.loss])
            yield Chunk(record.before, record.after, batch, losses, is_finite(record), self.steps)

    def watch(self, position: Position, batches: Batches, place: int) -> Watched | None:
        """None: it has whole steps only."""
        return None

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch and record its gradient and update."""
        first, data = position.step, batches.data

        def gathered(k: int) -> tuple[Samples, Array]:
            return self.problem.gather(data, batches.rows(k), first + k), batches.numbers_of(k)

        for samples, rows in (ahead if batches.on_disk else map)(gathered, range(len(batches))):
            record = self.step(position, samples, rows)
            position = record.after
            yield record

    def step(self, at: Position, samples: Samples, rows: Array) -> StepRecord:
        """One step: backpropagation computes the gradient, gradient descent uses it."""
        derivatives, point = self.look(at, samples)
        step = self.problem.optimizer.step(derivatives.gradient, at.states, point)
        statistics = updated_statistics(self.problem.network, derivatives.tape, at.statistics)
        after = Position(at.step + 1, step.parameters, statistics, step.states)
        return StepRecord(at, after, rows, derivatives.loss, derivatives.gradient, step.update)

    def look(self, at: Position, samples: Samples, wants_input: bool = False) -> tuple[Derivatives, Point]:
        """The first half of a step: the derivatives, and the point the optimizer steps from."""
        here = self.problem.differentiate(at.parameters, samples, at.statistics, at.step, wants_input)
        return here, self.point(at, samples, here.loss, here.gradient)

    def point(self, at: Position, samples: Samples, loss: float, gradient: Vector) -> Point:
        """The point the optimizer steps from, where the loss and its gradient are known."""

        def evaluate(parameters: Vector) -> tuple[float, Vector]:
            trial = self.problem.differentiate(parameters, samples, at.statistics, at.step)
            return trial.loss, trial.gradient

        return Point(at.parameters, self.problem.network.parameters, loss, gradient, evaluate)

    def leaves_a_core(self, batches: Batches) -> bool:
        """False: NumPy's matrix products use all cores."""
        return False

    def predict(self, parameters: Vector, x: Array | Deferred, statistics: Vector) -> Array:
        """Predict x in evaluation mode; whether the outputs are finite is left to the caller."""
        with np.errstate(all="ignore"):
            return self.problem.network.predict(parameters, x, statistics)

    def continuation(self, parameters: Vector, statistics: Vector, texts: int = 1) -> Continuation | None:
        """A continuation by the definitions, if there is one."""
        try:
            definition = Definition(self.problem.network, parameters.copy(), statistics.copy())
        except (SettingError, ShapeError):
            return None
        return verified(definition, texts, self.predictor(parameters, statistics), self.problem.network)

    def predictor(self, parameters: Vector, statistics: Vector) -> Predictor:
        """Predicts with these parameters and statistics."""
        parameters, statistics = parameters.copy(), statistics.copy()
        return lambda x: self.predict(parameters, x, statistics)
