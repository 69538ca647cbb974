"""Lowering of penalties, optimizer stages and learning-rate schedules to the native engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        name: its name in native/stages
        settings: its hyperparameters
        vectors: the names of the vectors (or matrices, by rows) in its state
        count: the name of the counter in its state
        multiplies: whether all it does is to multiply each array by a factor, which the engine
            tells
        selects: whether it applies only to the arrays of `on`
        on: these arrays (see Layout.applies)
        schedule: its learning-rate schedule
        rates: the same in C++
        place: which of the optimizer's states has its state
        prefix: the prefix of its names there
    """

    name: str
    settings: Mapping[str, float] = field(default_factory=dict)
    vectors: tuple[str, ...] = ()
    count: str = "count"
    multiplies: bool = False
    selects: bool = False
    on: str | None = None
    schedule: schedules.Schedule | None = None
    rates: Any = None
    place: int = 0
    prefix: str = ""

    def memory(self, states: Sequence[State]) -> tuple[list[Array], Array | None, Array | None]:
        """Its own part of the optimizer's states: its vectors, counter and scale."""
        state = states[self.place]
        vectors = [state[self.prefix + name].reshape(-1) for name in self.vectors]
        return vectors, state.get(self.prefix + self.count), state.get(self.prefix + "scale")

    def names(self, states: Sequence[State]) -> list[str]:
        """The names of that, in this order."""
        rest = [self.prefix + name for name in (self.count, "scale")]
        return [*(self.prefix + name for name in self.vectors), *(name for name in rest if name in states[self.place])]


def _named(name: str, *hyperparameters: str, **changed: Any) -> Callable[[Any], LoweredStage]:
    """Lowers a stage to this name, with these of its fields as settings."""
    return lambda stage: LoweredStage(name, {field: getattr(stage, field) for field in hyperparameters}, **changed)


def _adam(stage: adaptive.ScaleByAdam) -> LoweredStage:
    vectors = ("m", "v", "largest") if stage.variant == "amsgrad" else ("m", "v")
    return _named(stage.variant, "beta1", "beta2", "epsilon", vectors=vectors)(stage)


def _orthogonalize(stage: adaptive.Orthogonalize) -> tuple[LoweredStage, ...]:
    return (
        _named("momentum_mean", "decay", vectors=("m",))(stage),
        _named("orthogonalize", "iterations", "epsilon", count="")(stage),
    )


STAGES: dict[type[stages.Stage], Callable[[Any], LoweredStage | tuple[LoweredStage, ...]]] = {
    stages.LearningRate: lambda stage: LoweredStage("rate", schedule=stage.schedule),
    stages.Plateau: _named("plateau"),
    stages.WeightDecay: lambda stage: _named("decay", "strength", on=stage.on, selects=True)(stage),
    stages.ClipValue: _named("clip_value", "limit"),
    stages.Accumulate: _named("accumulate", "steps", vectors=("sum",)),
    stages.Average: _named("average", "decay", vectors=("average",)),
    stages.Momentum: lambda stage: _named("nesterov" if stage.nesterov else "momentum", "decay", vectors=("v",))(stage),
    adaptive.ScaleByAdagrad: _named("adagrad", "epsilon", vectors=("sum",)),
    adaptive.ScaleByAdadelta: _named("adadelta", "decay", "epsilon", vectors=("v", "d")),
    adaptive.ScaleByRMS: _named("rms", "decay", "epsilon", vectors=("v",)),
    adaptive.ScaleByRprop: _named("rprop", "shrink", "grow", "smallest", "largest", vectors=("size", "before")),
    adaptive.ScaleByAdam: _adam,
    adaptive.ScaleByAdamax: _named("adamax", "beta1", "beta2", "epsilon", vectors=("m", "largest")),
    adaptive.ScaleByLion: _named("lion", "beta1", "beta2", vectors=("m",)),
    stages.ClipNorm: _named("clip_norm", "limit", multiplies=True),
    stages.ClipGlobalNorm: _named("clip_global_norm", "limit", multiplies=True),
    adaptive.TrustRatio: _named("trust_ratio", multiplies=True),
    adaptive.Orthogonalize: _orthogonalize,
    quasi_newton.ScaleByLBFGS: _named("lbfgs", "memory", vectors=("s", "y", "parameters", "gradient"), count="known"),
    quasi_newton.StrongWolfe: _named("line_search", "decrease", "curvature", "trials"),
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
    result = []
    for stage, on in lowered:
        rates = None if stage.schedule is None else native_schedule(native, stage.schedule)
        engine.stage(stage.name, stage.settings, [] if all(on) else list(map(int, on)), rates)
        result.append(replace(stage, rates=rates))
    return result


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


SCHEDULES: dict[type[schedules.Schedule], tuple[str, Callable[[Any], Mapping[str, float]]]] = {
    schedules.Constant: ("constant", lambda s: {}),
    schedules.Step: ("step", lambda s: {"every": s.every, "factor": s.factor}),
    schedules.Exponential: ("exponential", lambda s: {"factor": s.factor, "steps": s.steps or 1}),
    schedules.Cosine: (
        "cosine",
        lambda s: {"steps": s.steps or 1, "end": s.end, "restarts": s.restarts, "stretch": s.stretch},
    ),
    schedules.Polynomial: ("polynomial", lambda s: {"steps": s.steps or 1, "power": s.power, "end": s.end}),
    schedules.OneCycle: (
        "one_cycle",
        lambda s: {"steps": s.steps or 1, "rise": s.rise, "start": s.start, "finish": s.finish},
    ),
}
"""The name in native/schedules.h, and the settings there besides the rate."""


def native_schedule(native: Any, schedule: schedules.Schedule) -> Any:
    """The schedule in C++; one without becomes a table, to be filled before each run."""
    s: Any = schedule
    if type(s) in SCHEDULES:
        name, settings = SCHEDULES[type(s)]
        return native.Schedule(name, {"rate": s.rate, **settings(s)}, None)
    if type(s) is schedules.WarmUp and not is_table(s.then):
        return native.Schedule("warm_up", {"warmup": s.warmup}, native_schedule(native, s.then))
    return native.Table()


def is_table(schedule: schedules.Schedule) -> bool:
    """Whether a schedule has no native form."""
    if type(schedule) is schedules.WarmUp:
        return is_table(schedule.then)
    return type(schedule) not in schedules.NAMED.values()
