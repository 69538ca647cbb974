"""The definition of a training step, in NumPy: forward, loss, backward, and then descent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.arrays import Array, Vector
from chainrule.backprop import Derivatives, differentiate, updated_statistics
from chainrule.descent import Point
from chainrule.engine.base import Done, Position, Work
from chainrule.layers.base import Context


@dataclass(frozen=True)
class NumpyEngine:
    """Takes training steps by the layers' own definitions."""

    work: Work

    def steps(
        self, position: Position, x: Array, y: Array, weight: Array | None, batches: Sequence[Array]
    ) -> Iterator[Done]:
        """Take a step for each batch, a batch being the numbers of its rows in x and y."""
        for rows in batches:
            done = self.step(position, x[rows], y[rows], None if weight is None else weight[rows], rows)
            position = done.after
            yield done

    def step(self, at: Position, x: Array, y: Array, weight: Array | None, rows: Array) -> Done:
        """One step: backpropagation computes the gradient, gradient descent uses it."""
        here, point = self.look(at, x, y, weight)
        taken = self.work.optimizer.step(here.gradient, at.states, point)
        statistics = updated_statistics(self.work.network, here.forward, at.statistics)
        after = Position(at.step + 1, taken.parameters, statistics, taken.states)
        return Done(at, after, rows, here.loss, here.gradient, taken.update)

    def look(self, at: Position, x: Array, y: Array, weight: Array | None) -> tuple[Derivatives, Point]:
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
            )

        def elsewhere(parameters: Vector) -> tuple[float, Vector]:
            there = derivatives(parameters)
            return there.loss, there.gradient

        here = derivatives(at.parameters)
        return here, Point(at.parameters, self.work.network.parameters, here.loss, here.gradient, elsewhere)
