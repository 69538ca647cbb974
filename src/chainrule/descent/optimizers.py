"""Optimizers: chains of stages, and the well-known ones by name.

A new one is a stage, if it needs one, and a function of one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule import notation
from chainrule.arrays import Vector
from chainrule.descent import schedules
from chainrule.descent.adaptive import (
    ForMatrices,
    Orthogonalize,
    ScaleByAdadelta,
    ScaleByAdagrad,
    ScaleByAdam,
    ScaleByAdamax,
    ScaleByLion,
    ScaleByRMS,
    ScaleByRprop,
    TrustRatio,
)
from chainrule.descent.quasi_newton import ScaleByLBFGS, StrongWolfe
from chainrule.descent.schedules import Schedule, schedule
from chainrule.descent.stages import (
    Accumulate,
    Average,
    ClipGlobalNorm,
    LearningRate,
    Momentum,
    Point,
    Stage,
    State,
    WeightDecay,
)
from chainrule.kinds import Kind, Named
from chainrule.layout import Layout

Rate = float | Schedule


@dataclass(frozen=True)
class Optimizer(Kind):
    """A chain of stages. What leaves the last one is subtracted from the parameters.

    `whole_batch` means that it wants all samples in every step.

    Examples:
        >>> layout = Layout.of({"w": (2,)})
        >>> weights = np.array([1.0, -1.0])
        >>> optimizer = sgd(0.1)
        >>> step = optimizer.step(np.array([0.5, 0.5]), optimizer.start(weights, layout), Point(weights, layout))
        >>> step.parameters
        array([ 0.95, -1.05])
    """

    stages: tuple[Stage, ...]
    whole_batch: bool = False

    def start(self, parameters: Vector, layout: Layout) -> tuple[State, ...]:
        """Each stage's state before the first step."""
        return tuple(stage.start(parameters, layout) for stage in self.stages)

    def step(self, gradient: Vector, states: Sequence[State], point: Point) -> Step:
        """One step from `point`: the next parameters, the next states, and what was subtracted."""
        after, u = list(states), gradient
        for k, stage in enumerate(self.stages):
            out, after[k] = stage.apply(u, states[k], point)
            if out is None:
                return Step(point.parameters, tuple(after), np.zeros_like(gradient))
            u = out
        return Step(point.parameters - u, tuple(after), u)

    def observe(self, states: Sequence[State], loss: float) -> tuple[State, ...]:
        """The states after an epoch that ended with this validation loss."""
        return tuple(stage.observe(state, loss) for stage, state in zip(self.stages, states, strict=True))

    def average(self, states: Sequence[State]) -> Vector | None:
        """The moving average of the weights, if a stage follows one."""
        found = [s["average"] for stage, s in zip(self.stages, states, strict=True) if isinstance(stage, Average)]
        return found[-1] if found else None

    def over(self, steps: int) -> Optimizer:
        """The same, its schedules spread over a training of so many steps where they were left open."""
        for stage in self.stages:
            steps //= stage.steps if isinstance(stage, Accumulate) else 1
        return self.scheduled(lambda rate: rate.over(max(steps, 1)))

    def first(self, *stages: Stage) -> Optimizer:
        """The same with these stages before the others: clipping, accumulation."""
        return replace(self, stages=(*stages, *self.stages))

    def then(self, *stages: Stage) -> Optimizer:
        """The same with these stages after the others: plateau, average."""
        return replace(self, stages=(*self.stages, *stages))

    def scheduled(self, change: Callable[[Schedule], Schedule]) -> Optimizer:
        """The same with every learning rate's schedule changed in this way."""
        return replace(self, stages=tuple(_scheduled(stage, change) for stage in self.stages))


@dataclass(frozen=True)
class Step:
    """What a step of an optimizer came to."""

    parameters: Vector
    states: tuple[State, ...]
    update: Vector


def _scheduled(stage: Stage, change: Callable[[Schedule], Schedule]) -> Stage:
    if isinstance(stage, LearningRate):
        return LearningRate(change(stage.schedule))
    if isinstance(stage, ForMatrices):
        return ForMatrices(*(tuple(_scheduled(s, change) for s in chain) for chain in (stage.matrices, stage.rest)))
    return stage


def chain(*stages: Stage, whole_batch: bool = False) -> Optimizer:
    """An optimizer of these stages, in this order."""
    return Optimizer(stages, whole_batch)


NAMED = Named()
"""Every optimizer there is, by name; the decorator adds one."""


def _times(learning_rate: Rate) -> LearningRate:
    return LearningRate(schedule(learning_rate))


@NAMED
def sgd(learning_rate: Rate = 0.1) -> Optimizer:
    """Stochastic gradient descent: against the gradient of a mini-batch, times the learning rate (Robbins and Monro,
    1951).
    """
    return chain(_times(learning_rate))


@NAMED
def gradient_descent(learning_rate: Rate = 0.1) -> Optimizer:
    """The same with the gradient of the whole batch (Cauchy, 1847)."""
    return chain(_times(learning_rate), whole_batch=True)


@NAMED
def momentum(learning_rate: Rate = 0.01, decay: float = 0.9) -> Optimizer:
    """SGD that keeps rolling (Polyak, 1964)."""
    return chain(Momentum(decay), _times(learning_rate))


@NAMED
def nesterov(learning_rate: Rate = 0.01, decay: float = 0.9) -> Optimizer:
    """Momentum that looks ahead (Nesterov, 1983)."""
    return chain(Momentum(decay, nesterov=True), _times(learning_rate))


@NAMED
def adagrad(learning_rate: Rate = 0.05, start_sum: float = 0.1, epsilon: float = 1e-7) -> Optimizer:
    """Smaller steps where gradients have been large (Duchi et al., 2011)."""
    return chain(ScaleByAdagrad(start_sum, epsilon), _times(learning_rate))


@NAMED
def adadelta(learning_rate: Rate = 1.0, decay: float = 0.9, epsilon: float = 1e-6) -> Optimizer:
    """Adagrad that forgets, with steps in the weights' own units (Zeiler, 2012)."""
    return chain(ScaleByAdadelta(decay, epsilon), _times(learning_rate))


@NAMED
def rmsprop(learning_rate: Rate = 0.001, decay: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """Gradients over their recent size (Tieleman and Hinton, 2012)."""
    return chain(ScaleByRMS(decay, epsilon), _times(learning_rate))


@NAMED
def rprop(
    first: float = 0.001, shrink: float = 0.5, grow: float = 1.2, smallest: float = 1e-6, largest: float = 50.0
) -> Optimizer:
    """A step size for each weight, from the gradient's signs alone (Riedmiller and Braun, 1993)."""
    return chain(ScaleByRprop(first, shrink, grow, smallest, largest), whole_batch=True)


@NAMED
def adam(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Momentum over recent size, freed of the start at 0 (Kingma and Ba, 2015)."""
    return chain(ScaleByAdam(beta1, beta2, epsilon), _times(learning_rate))


@NAMED
def amsgrad(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam whose divisor never shrinks (Reddi et al., 2018)."""
    return chain(ScaleByAdam(beta1, beta2, epsilon, "amsgrad"), _times(learning_rate))


@NAMED
def adamw(
    learning_rate: Rate = 0.001,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    on: str | None = None,
) -> Optimizer:
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019)."""
    return chain(ScaleByAdam(beta1, beta2), WeightDecay(weight_decay, on), _times(learning_rate))


@NAMED
def adamax(learning_rate: Rate = 0.002, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam over the largest recent gradient (Kingma and Ba, 2015)."""
    return chain(ScaleByAdamax(beta1, beta2, epsilon), _times(learning_rate))


@NAMED
def nadam(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam that looks ahead (Dozat, 2016)."""
    return chain(ScaleByAdam(beta1, beta2, epsilon, "nadam"), _times(learning_rate))


@NAMED
def radam(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam that is careful in its first steps (Liu et al., 2020)."""
    return chain(ScaleByAdam(beta1, beta2, epsilon, "radam"), _times(learning_rate))


@NAMED
def lion(
    learning_rate: Rate = 0.0003,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.99,
    on: str | None = None,
) -> Optimizer:
    """The sign of a moving average (Chen et al., 2023)."""
    return chain(ScaleByLion(beta1, beta2), WeightDecay(weight_decay, on), _times(learning_rate))


@NAMED
def lamb(
    learning_rate: Rate = 0.002,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    on: str | None = None,
) -> Optimizer:
    """AdamW scaled to each parameter array's norm, for very large batches (You et al., 2020)."""
    return chain(ScaleByAdam(beta1, beta2, 1e-6), WeightDecay(weight_decay, on), TrustRatio(), _times(learning_rate))


@NAMED
def muon(learning_rate: Rate = 0.02, decay: float = 0.95, rest: Rate | None = None) -> Optimizer:
    """Orthogonal updates for weight matrices, Adam for the rest (Jordan et al., 2024), at the learning rate `rest`,
    or a tenth of the other.
    """
    if rest is None:
        rest = learning_rate / 10 if isinstance(learning_rate, int | float) else learning_rate
    return chain(ForMatrices((Orthogonalize(decay), _times(learning_rate)), (ScaleByAdam(), _times(rest))))


@NAMED
def lbfgs(memory: int = 10, trials: int = 20) -> Optimizer:
    """Quasi-Newton steps with a strong Wolfe line search, on the whole batch (Liu and Nocedal, 1989). It has no
    learning rate.
    """
    return chain(ScaleByLBFGS(memory), StrongWolfe(trials=trials), whole_batch=True)


NAMED["gd"] = gradient_descent

_EXTRAS = ("schedule", "warmup", "clip", "accumulate", "average")


def optimizer(what: str | Optimizer) -> Optimizer:
    """The optimizer that is meant: one itself, or a text: a name, its numbers in order, and settings by name.

    `adam`, `adam 0.001`, `sgd 0.1 schedule=cosine warmup=100`, `momentum 0.01 decay=0.95 clip=1 accumulate=4
    average=0.999`. Of any optimizer: `schedule` and `warmup` (in updates) shape the learning rate, `clip` is a limit
    on the gradient's norm, `accumulate` a number of mini-batches a step, `average` the decay of a moving average of
    the weights.
    """
    if isinstance(what, Optimizer):
        return what
    call = notation.parse("optimizer", what)
    extras = {key: value for key, value in call.settings.items() if key in _EXTRAS}
    own = {key: value for key, value in call.settings.items() if key not in _EXTRAS}
    made = notation.make("optimizer", replace(call, settings=own), NAMED, _EXTRAS)
    return _with_extras(made, what, extras)


def _with_extras(made: Optimizer, text: str, extras: dict[str, str]) -> Optimizer:
    def extra(key: str, maker: Callable[..., Any]) -> Any:
        return notation.make("optimizer", notation.Call(text, key, (extras[key],)), {key: maker})

    if "schedule" in extras:
        made = made.scheduled(lambda constant: schedules.named(extras["schedule"], constant(0)))
    if "warmup" in extras:
        made = made.scheduled(lambda s: extra("warmup", lambda updates: schedules.WarmUp(updates, s)))
    if "clip" in extras:
        made = made.first(extra("clip", ClipGlobalNorm))
    if "accumulate" in extras:
        made = made.first(extra("accumulate", Accumulate))
    if "average" in extras:
        made = made.then(extra("average", Average))
    return made
