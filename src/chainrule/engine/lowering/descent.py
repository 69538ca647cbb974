"""Lowering of penalties, optimizer stages and learning-rate schedules to the native engine."""

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
    """A stage in the native engine's form.

    Attributes:
        rule: its number in Rule of native/rules.h
        numbers: its hyperparameters
        vectors: the names of the vectors (or matrices, by rows) in its state
        count: the name of the counter in its state
        selects: whether it applies only to the arrays of `on`
        on: these arrays (see Layout.applies)
        schedule: its learning-rate schedule
        place: which of the optimizer's states has its state
        prefix: the prefix of its names there
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

    def memory(self, states: Sequence[State]) -> tuple[list[Array], Array | None, Array | None]:
        """Its own part of the optimizer's states: its vectors, counter and scale."""
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


def lower_descent(engine: Any, native: Any, problem: Problem) -> list[LoweredStage]:
    """Set the native engine's penalties and optimizer; raises NoKernel if one has no kernel."""
    layout = problem.network.parameters
    everywhere = [True] * len(layout.entries)
    lowered = [
        pair for k, stage in enumerate(problem.optimizer.stages) for pair in _flat(stage, k, "", everywhere, layout)
    ]
    for penalty in problem.penalties:
        if type(penalty) is not Penalty:
            raise NoKernel(type(penalty).__name__)
    engine.arrays([(e.start, e.start + e.size, e.shape[1] if len(e.shape) == 2 else 0) for e in layout.entries])
    for penalty in problem.penalties:
        chosen = layout.matching(penalty.on)
        engine.penalty(penalty.l1, penalty.l2, [entry in chosen for entry in layout.entries])
    for stage, on in lowered:
        schedule = None if stage.schedule is None else native_schedule(native, stage.schedule)
        engine.stage(stage.rule, list(map(float, stage.numbers)), [] if all(on) else list(map(int, on)), schedule)
    return [stage for stage, _ in lowered]


Flat = Iterator[tuple[LoweredStage, list[bool]]]


def _flat(stage: stages.Stage, place: int, prefix: str, on: list[bool], layout: Layout) -> Flat:
    """The native stages of a stage, and whether each applies to each array."""
    if type(stage) is adaptive.ForMatrices:
        for name, chain, matrices in (("matrices", stage.matrices, True), ("rest", stage.rest, False)):
            here = [a and (len(entry.shape) == 2) is matrices for a, entry in zip(on, layout.entries, strict=True)]
            for k, inner in enumerate(chain):
                if isinstance(inner, stages.Accumulate):
                    raise NoKernel(type(inner).__name__)  # invalid here, which the definition reports
                yield from _flat(inner, place, f"{prefix}{name}.{k}.", here, layout)
        return
    if type(stage) not in STAGES:
        raise NoKernel(type(stage).__name__)
    lowered = STAGES[type(stage)](stage)
    for one in lowered if isinstance(lowered, tuple) else (lowered,):
        chosen = layout.matching(one.on) if one.selects else layout.entries
        here = [a and entry in chosen for a, entry in zip(on, layout.entries, strict=True)]
        yield replace(one, place=place, prefix=prefix), here


def without_kernels(stage: stages.Stage) -> set[str]:
    """Which of a stage and the stages in it have no kernel."""
    if type(stage) is adaptive.ForMatrices:
        return set().union(*(without_kernels(inner) for inner in (*stage.matrices, *stage.rest)))
    return set() if type(stage) in STAGES else {type(stage).__name__}


SCHEDULES: dict[type[schedules.Schedule], tuple[int, Callable[[Any], tuple[float, ...]]]] = {
    schedules.Constant: (0, lambda s: ()),
    schedules.Step: (1, lambda s: (s.every, s.factor)),
    schedules.Exponential: (2, lambda s: (s.factor, s.steps or 1)),
    schedules.Cosine: (3, lambda s: (s.steps or 1, s.end, s.restarts, s.stretch)),
    schedules.Polynomial: (4, lambda s: (s.steps or 1, s.power, s.end)),
    schedules.OneCycle: (6, lambda s: (s.steps or 1, s.rise, s.start, s.finish)),
}
"""The number in Schedule::Kind of native/schedules.h, and the hyperparameters after the rate."""


def native_schedule(native: Any, schedule: schedules.Schedule) -> Any:
    """The schedule in native form; one without becomes a table, to be filled before each run."""
    s: Any = schedule
    if type(s) in SCHEDULES:
        kind, numbers = SCHEDULES[type(s)]
        return native.Schedule(kind, s.rate, list(map(float, numbers(s))), None)
    if type(s) is schedules.WarmUp and not is_table(s.then):
        return native.Schedule(5, 0.0, [float(s.warmup)], native_schedule(native, s.then))
    return native.Schedule(7, 0.0, [0.0, 0.0], None)


def is_table(schedule: schedules.Schedule) -> bool:
    """Whether a schedule has no native form."""
    if type(schedule) is schedules.WarmUp:
        return is_table(schedule.then)
    return type(schedule) not in schedules.NAMED.values()
