"""What the optimizer made of a weight's gradient: the input, the formula with its numbers, and the
output of every stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.arrays import Vector
from chainrule.descent.adaptive import ForMatrices
from chainrule.descent.stages import Point, Stage, State, WeightView
from chainrule.layers.base import snake


@dataclass(frozen=True)
class StageResult:
    """What one stage did to one weight's entry.

    Attributes:
        stage: the stage's name
        formula: its formula with the numbers filled in
        symbols: its formula in LaTeX
        input, output: the entry before and after the stage; None if the stage withheld the step
        factor: what the stage multiplied the entry by, such as the learning rate; None for a stage
            that does anything else
    """

    stage: str
    formula: str
    symbols: str
    input: float
    output: float | None
    factor: float | None = None


def stage_results(
    stages: Sequence[Stage], gradient: Vector, states: Sequence[State], point: Point, place: int
) -> list[StageResult]:
    """What each stage did to the entry at this place, in the precision of training."""
    results: list[StageResult] = []
    u = gradient
    for stage, state in zip(stages, states, strict=True):
        if isinstance(stage, ForMatrices):
            is_matrix = len(point.layout.entry_at(place).shape) == 2
            name, inner = ("matrices", stage.matrices) if is_matrix else ("rest", stage.rest)
            own = [_of(state, f"{name}.{k}.") for k in range(len(inner))]
            results += stage_results(inner, stage.own(name, u, point.layout), own, point, place)
            out, _ = stage.apply(u, state, point)
        else:
            out, after = stage.apply(u, state, point)
            g, result = float(u[place]), None if out is None else float(out[place])
            at = WeightView(place, u, 0.0 if result is None else result, state, after, point)
            results.append(
                StageResult(
                    type(stage).__name__, stage.derivation(at), stage.formula, g, result, stage.multiplier(state)
                )
            )
        if out is None:
            break
        u = out
    return results


def _of(state: State, prefix: str) -> State:
    """The arrays of a state whose names start with this prefix, without it."""
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}


def words(stage: str) -> str:
    """A stage's name in words: "ScaleByAdam" -> "scale by adam"."""
    return snake(stage).replace("_", " ")
