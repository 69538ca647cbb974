"""What the native engine notes of each step for one weight, and how that is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent import State
from chainrule.engine.base import Batches, Position, Watched
from chainrule.engine.lowering import LoweredStage


@dataclass(frozen=True)
class Notes:
    """Where the native engine notes what it watches.

    Attributes:
        place: the place of the weight in the flat vector
        numbers: (steps, numbers) of each step the weight after it, its gradient and update; then of
            each stage what of its state is at this place, and its factor if it multiplies by one
        parts: (rows,) what each sample adds to the weight's gradient
    """

    place: int
    numbers: Array
    parts: Vector

    def of(self, batches: Batches) -> tuple[int, Array, Vector]:
        """Those of the first mini-batches, as the engine takes them."""
        return self.place, self.numbers[: len(batches)], self.parts[: len(batches.order)]

    def read(
        self, before: Position, after: Position, batches: Batches, losses: Array, stages: Sequence[LoweredStage]
    ) -> Watched:
        """The steps that were noted.

        Args:
            before, after: the positions before the first and after the last of them
            batches: their mini-batches
            losses: the loss of each
            stages: the optimizer's stages in native form
        """
        steps, dtype = len(batches), before.parameters.dtype
        weights, gradients, updates, *columns = self.numbers[:steps].T
        rows = [batches.numbers_of(k) for k in range(steps)]
        parts = [self.parts[k * batches.size : k * batches.size + len(own)] for k, own in enumerate(rows)]
        memory, factors = list[Array](), dict[int, Vector]()
        left = iter(columns)
        for stage in stages:
            memory += [next(left) for _ in stage.names(before.states)]
            if stage.multiplies:
                factors[stage.place] = next(left)
        states = _states_at(self.place, stages, before.states, memory)
        return Watched(
            before, after, rows, parts, losses, np.append(before.parameters[self.place], weights).astype(dtype),
            gradients.astype(dtype), updates.astype(dtype), states, factors,
        )  # fmt: skip


def _states_at(
    place: int, stages: Sequence[LoweredStage], first: Sequence[State], columns: Sequence[Array]
) -> list[tuple[State, ...]]:
    """The optimizer's states at a place before each step and after the last.

    Args:
        place: the place
        stages: the stages in native form
        first: the states before the first step
        columns: what the engine watched of them, in the order of `LoweredStage.memory`
    """
    states = [{name: array[place : place + 1] if array.ndim else array for name, array in one.items()} for one in first]
    found: list[tuple[State, ...]] = [tuple(states)]
    left = iter(columns)
    names = [(stage.place, name) for stage in stages for name in stage.names(first)]
    own = [(k, name, next(left).astype(states[k][name].dtype)) for k, name in names]
    for step in range(len(columns[0]) if columns else 0):
        now = [dict(state) for state in states]
        for k, name, column in own:
            now[k][name] = column[step : step + 1] if states[k][name].ndim else column[step]
        found.append(tuple(now))
    return found
