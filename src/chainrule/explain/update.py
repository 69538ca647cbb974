"""What gradient descent made of a weight's gradient: every stage with its number in, the formula with the numbers put
in, its number out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.arrays import Vector
from chainrule.descent.adaptive import ForMatrices
from chainrule.descent.stages import Point, Stage, State, WeightView
from chainrule.layers.base import snake


@dataclass(frozen=True)
class StageWork:
    """What one stage did with one weight's number.

    Attributes:
        stage: its name
        formula: the formula with the numbers put in
        symbols: the formula in LaTeX
        input, output: the number that came in and the one that went out; no output if the step ended there
    """

    stage: str
    formula: str
    symbols: str
    input: float
    output: float | None


def stage_works(
    stages: Sequence[Stage], gradient: Vector, states: Sequence[State], point: Point, place: int
) -> list[StageWork]:
    """Each stage's work on the weight at this place; in the run's own precision, as it was done."""
    works: list[StageWork] = []
    u = gradient
    for stage, state in zip(stages, states, strict=True):
        if isinstance(stage, ForMatrices):
            name, inner = _chain_for(stage, point, place)
            own = [_of(state, f"{name}.{k}.") for k in range(len(inner))]
            works += stage_works(inner, stage.own(name, u, point.layout), own, point, place)
            out, _ = stage.apply(u, state, point)
        else:
            out, after = stage.apply(u, state, point)
            g, result = float(u[place]), None if out is None else float(out[place])
            at = WeightView(place, u, 0.0 if result is None else result, state, after, point)
            works.append(StageWork(type(stage).__name__, stage.worked(at), stage.formula, g, result))
        if out is None:
            break
        u = out
    return works


def _chain_for(stage: ForMatrices, point: Point, place: int) -> tuple[str, tuple[Stage, ...]]:
    """The chain that the array at this place goes through."""
    entry = point.layout.at(place)
    return ("matrices", stage.matrices) if len(entry.shape) == 2 else ("rest", stage.rest)


def _of(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}


def words(stage: str) -> str:
    """A stage's name in words: "ScaleByAdam" -> "scale by adam"."""
    return snake(stage).replace("_", " ")
