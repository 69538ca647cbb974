"""Penalties, stages of optimizers and schedules as the native engine takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chainrule.arrays import Array
from chainrule.descent import State, adaptive, quasi_newton, schedules, stages
from chainrule.engine.base import Problem
from chainrule.engine.lowering.missing import NoKernel
from chainrule.layout import Layout
from chainrule.losses import Penalty


@dataclass(frozen=True)
class LoweredStage:
    """A stage as the native engine takes it.

    Attributes:
        rule, numbers: which it is, and what it is told
        vectors: which arrays of its state are vectors, or rows of them
        count: which one counts
        selects, on: whether it applies to some arrays only, and to which (see Layout.applies)
        schedule: its learning rates
        place, prefix: which of the optimizer's states is its, and what the names there begin with
    """

    rule: int
    numbers: tuple[float, ...] = ()
    vectors: tuple[str, ...] = ()
    count: str = "count"
    selects: bool = False
    on: str | None = None
    schedule: schedules.Schedule | None = None
    place: int = 0
    prefix: str = ""

    def held(self, states: Sequence[State]) -> tuple[list[Array], Array | None, Array | None]:
        """What it remembers: its vectors, its count, its scale."""
        state = states[self.place]
        vectors = [state[self.prefix + name].reshape(-1) for name in self.vectors]
        return vectors, state.get(self.prefix + self.count), state.get(self.prefix + "scale")


ADAM_RULES = {"adam": 12, "amsgrad": 13, "nadam": 14, "radam": 15}

STAGES: dict[type[stages.Stage], Callable[[Any], LoweredStage | tuple[LoweredStage, ...]]] = {
    stages.LearningRate: lambda s: LoweredStage(0, schedule=s.schedule),
    stages.Plateau: lambda s: LoweredStage(1),
    stages.WeightDecay: lambda s: LoweredStage(2, (s.strength,), on=s.on, selects=True),
    stages.ClipValue: lambda s: LoweredStage(3, (s.limit,)),
    stages.Accumulate: lambda s: LoweredStage(4, (s.steps,), ("sum",)),
    stages.Average: lambda s: LoweredStage(5, (s.decay,), ("average",)),
    stages.Momentum: lambda s: LoweredStage(7 if s.nesterov else 6, (s.decay,), ("v",)),
    adaptive.ScaleByAdagrad: lambda s: LoweredStage(8, (s.epsilon,), ("sum",)),
    adaptive.ScaleByAdadelta: lambda s: LoweredStage(9, (s.decay, s.epsilon), ("v", "d")),
    adaptive.ScaleByRMS: lambda s: LoweredStage(10, (s.decay, s.epsilon), ("v",)),
    adaptive.ScaleByRprop: lambda s: LoweredStage(11, (s.shrink, s.grow, s.smallest, s.largest), ("size", "before")),
    adaptive.ScaleByAdam: lambda s: LoweredStage(
        ADAM_RULES[s.variant],
        (s.beta1, s.beta2, s.epsilon),
        ("m", "v", "largest") if s.variant == "amsgrad" else ("m", "v"),
    ),
    adaptive.ScaleByAdamax: lambda s: LoweredStage(16, (s.beta1, s.beta2, s.epsilon), ("m", "largest")),
    adaptive.ScaleByLion: lambda s: LoweredStage(17, (s.beta1, s.beta2), ("m",)),
    stages.ClipNorm: lambda s: LoweredStage(19, (s.limit,)),
    stages.ClipGlobalNorm: lambda s: LoweredStage(20, (s.limit,)),
    adaptive.TrustRatio: lambda s: LoweredStage(21),
    adaptive.Orthogonalize: lambda s: (
        LoweredStage(18, (s.decay,), ("m",)),
        LoweredStage(22, (s.iterations, s.epsilon), count=""),
    ),
    quasi_newton.ScaleByLBFGS: lambda s: LoweredStage(
        23, (s.memory,), ("s", "y", "parameters", "gradient"), count="known"
    ),
    quasi_newton.StrongWolfe: lambda s: LoweredStage(24, (s.decrease, s.curvature, s.trials)),
}
"""The rule is the number in native/rules.h's Rule."""


def lower_descent(made: Any, native: Any, problem: Problem) -> list[LoweredStage]:
    """Tell the native engine the penalties and the optimizer; raises NoKernel for a stage that has no kernel."""
    layout = problem.network.parameters
    everywhere = [True] * len(layout.entries)
    lowered = [
        one for k, stage in enumerate(problem.optimizer.stages) for one in _flat(stage, k, "", everywhere, layout)
    ]
    for penalty in problem.penalties:
        if type(penalty) is not Penalty:
            raise NoKernel(type(penalty).__name__)
    made.arrays([(e.start, e.start + e.size, e.shape[1] if len(e.shape) == 2 else 0) for e in layout.entries])
    for penalty in problem.penalties:
        chosen = layout.applies(penalty.on)
        made.penalty(penalty.l1, penalty.l2, [entry in chosen for entry in layout.entries])
    for one, on in lowered:
        schedule = None if one.schedule is None else native_schedule(native, one.schedule)
        made.stage(one.rule, list(map(float, one.numbers)), [] if all(on) else list(map(int, on)), schedule)
    return [one for one, _ in lowered]


Flat = Iterator[tuple[LoweredStage, list[bool]]]


def _flat(stage: stages.Stage, place: int, prefix: str, on: list[bool], layout: Layout) -> Flat:
    """The native stages of one, and the arrays that each applies to."""
    if type(stage) is adaptive.ForMatrices:
        matrix = [len(entry.shape) == 2 for entry in layout.entries]
        for name, chain, own in (("matrices", stage.matrices, True), ("rest", stage.rest, False)):
            here = [mine and is_matrix is own for mine, is_matrix in zip(on, matrix, strict=True)]
            for k, inner in enumerate(chain):
                if isinstance(inner, stages.Accumulate):
                    raise NoKernel(type(inner).__name__)  # the definition says that it can't stand here
                yield from _flat(inner, place, f"{prefix}{name}.{k}.", here, layout)
        return
    if type(stage) not in STAGES:
        raise NoKernel(type(stage).__name__)
    made = STAGES[type(stage)](stage)
    for one in made if isinstance(made, tuple) else (made,):
        chosen = layout.applies(one.on) if one.selects else layout.entries
        yield (
            replace(one, place=place, prefix=prefix),
            [a and e in chosen for a, e in zip(on, layout.entries, strict=True)],
        )


def without_kernels(stage: stages.Stage) -> set[str]:
    """The stages in this one, or it, that have no kernel."""
    if type(stage) is adaptive.ForMatrices:
        return set().union(*(without_kernels(inner) for inner in (*stage.matrices, *stage.rest)))
    return set() if type(stage) in STAGES else {type(stage).__name__}


def native_schedule(native: Any, schedule: schedules.Schedule) -> Any:
    """The schedule in native form; one that has none becomes a table, which is filled before it is used."""
    s: Any = schedule
    kinds: dict[type, Callable[[], tuple[int, float, list[float]]]] = {
        schedules.Constant: lambda: (0, s.rate, []),
        schedules.Step: lambda: (1, s.rate, [s.every, s.factor]),
        schedules.Exponential: lambda: (2, s.rate, [s.factor, s.steps or 1]),
        schedules.Cosine: lambda: (3, s.rate, [s.steps or 1, s.end, s.restarts, s.stretch]),
        schedules.Polynomial: lambda: (4, s.rate, [s.steps or 1, s.power, s.end]),
        schedules.OneCycle: lambda: (6, s.rate, [s.steps or 1, s.rise, s.start, s.finish]),
    }
    if type(s) in kinds:
        kind, rate, numbers = kinds[type(s)]()
        return native.Schedule(kind, rate, list(map(float, numbers)), None)
    if type(s) is schedules.WarmUp and not is_table(s.then):
        return native.Schedule(5, 0.0, [float(s.warmup)], native_schedule(native, s.then))
    return native.Schedule(7, 0.0, [0.0, 0.0], None)


def is_table(schedule: schedules.Schedule) -> bool:
    """Whether a schedule has no native form of its own."""
    if type(schedule) is schedules.WarmUp:
        return is_table(schedule.then)
    return type(schedule) not in schedules.NAMED.values()
