"""Penalties, stages of optimizers and schedules as the native engine takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from chainrule.descent import adaptive, schedules, stages
from chainrule.engine.base import Work
from chainrule.engine.lowering.missing import NoKernel
from chainrule.losses import Penalty


@dataclass(frozen=True)
class LoweredStage:
    """A stage as the native engine takes it: its rule, its numbers, and which of its state's arrays are vectors."""

    rule: int
    numbers: tuple[float, ...] = ()
    vectors: tuple[str, ...] = ()
    on: str | None = None
    schedule: schedules.Schedule | None = None


ADAM_RULES = {"adam": 12, "amsgrad": 13, "nadam": 14, "radam": 15}

STAGES: dict[type[stages.Stage], Callable[[Any], LoweredStage]] = {
    stages.LearningRate: lambda s: LoweredStage(0, schedule=s.schedule),
    stages.Plateau: lambda s: LoweredStage(1),
    stages.WeightDecay: lambda s: LoweredStage(2, (s.strength,), on=s.on),
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
    stages.ClipNorm: lambda s: LoweredStage(18, (s.limit,)),
    stages.ClipGlobalNorm: lambda s: LoweredStage(19, (s.limit,)),
    adaptive.TrustRatio: lambda s: LoweredStage(20),
}
"""The rule is the number in native/descent.h's Rule."""


def lower_descent(made: Any, native: Any, work: Work) -> list[LoweredStage]:
    """Tell the native engine the penalties and the optimizer; raises NoKernel for a stage that has no kernel."""
    layout = work.network.parameters
    names = [entry.name for entry in layout.entries]
    for stage in work.optimizer.stages:
        if type(stage) not in STAGES:
            raise NoKernel(type(stage).__name__)
    for penalty in work.penalties:
        if type(penalty) is not Penalty:
            raise NoKernel(type(penalty).__name__)
    made.arrays([(entry.start, entry.start + entry.size) for entry in layout.entries])
    for penalty in work.penalties:
        made.penalty(penalty.l1, penalty.l2, [fnmatchcase(name, penalty.on) for name in names])
    lowered = [STAGES[type(stage)](stage) for stage in work.optimizer.stages]
    for one in lowered:
        on = [] if one.on is None else [int(fnmatchcase(name, one.on)) for name in names]
        schedule = None if one.schedule is None else native_schedule(native, one.schedule)
        made.stage(one.rule, list(map(float, one.numbers)), on, schedule)
    return lowered


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
