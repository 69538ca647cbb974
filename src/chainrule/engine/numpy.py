"""The definition of a training step, in NumPy: forward, loss, backward, and then descent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.backprop import Derivatives, differentiate, updated_statistics
from chainrule.descent import Point
from chainrule.engine.base import Batches, Done, Position, Span, Work, is_sound
from chainrule.layers.base import Context


@dataclass(frozen=True)
class NumpyEngine:
    """Takes training steps by the layers' own definitions."""

    work: Work
    notes: tuple[str, ...] = ()

    def spans(self, position: Position, batches: Batches) -> Iterator[Span]:
        """Take a step for each mini-batch; each is a span."""
        for k, done in enumerate(self.steps(position, batches)):
            here = batches.cut(k, k + 1)
            yield Span(done.before, done.after, here, np.array([done.loss]), is_sound(done), self.steps)

    def steps(self, position: Position, batches: Batches) -> Iterator[Done]:
        """Take a step for each mini-batch, and show each."""
        for k in range(len(batches)):
            done = self.step(position, *batches.taken(k), batches.rows(k))
            position = done.after
            yield done

    def step(self, at: Position, x: Array, y: Array, weight: Array | None, rows: Array) -> Done:
        """One step: backpropagation computes the gradient, gradient descent uses it."""
        here, point = self.look(at, x, y, weight)
        taken = self.work.optimizer.step(here.gradient, at.states, point)
        statistics = updated_statistics(self.work.network, here.tape, at.statistics)
        after = Position(at.step + 1, taken.parameters, statistics, taken.states)
        return Done(at, after, rows, here.loss, here.gradient, taken.update)

    def look(
        self, at: Position, x: Array, y: Array, weight: Array | None, wants_input: bool = False
    ) -> tuple[Derivatives, Point]:
        """The first half of a step: the derivatives, and the point from which the optimizer steps."""
        context = Context(training=True, seed=self.work.seed, step=at.step)

        def derivatives(parameters: Vector) -> Derivatives:
            return differentiate(
                self.work.network,
                self.work.loss,
                parameters,
                x,
                y,
                statistics=at.statistics,
                sample_weight=weight,
                penalties=self.work.penalties,
                context=context,
                wants_input=wants_input,
            )

        def elsewhere(parameters: Vector) -> tuple[float, Vector]:
            there = derivatives(parameters)
            return there.loss, there.gradient

        here = derivatives(at.parameters)
        return here, Point(at.parameters, self.work.network.parameters, here.loss, here.gradient, elsewhere)

    def leaves_a_core(self, batches: Batches) -> bool:
        """No: its products take what there is."""
        return False

    def predict(self, parameters: Vector, x: Array, statistics: Vector) -> Array:
        """The prediction for x, as after training."""
        return self.work.network.predict(parameters, x, statistics)
