"""Optimizers: chains of stages, and the well-known ones by name.

To add one, add a function that returns its chain, and a stage if it needs a new one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule import notation
from chainrule.arrays import Vector
from chainrule.descent import adaptive, quasi_newton, schedules, stages
from chainrule.descent.schedules import Schedule, schedule
from chainrule.descent.stages import Point, Stage, State
from chainrule.kinds import Kind, Named
from chainrule.layout import Layout

Rate = float | Schedule


@dataclass(frozen=True)
class Optimizer(Kind):
    """A chain of stages. The update of the last one is subtracted from the parameters.

    Attributes:
        stages: the stages, in the order in which they apply
        whole_batch: whether each step should use the full batch

    Examples:
        >>> layout = Layout.of({"w": (2,)})
        >>> weights = np.array([1.0, -1.0])
        >>> optimizer = sgd(0.1)
        >>> states = optimizer.start(weights, layout)
        >>> step = optimizer.step(np.array([0.5, 0.5]), states, Point(weights, layout))
        >>> step.parameters
        array([ 0.95, -1.05])
    """

    stages: tuple[Stage, ...]
    whole_batch: bool = False

    def start(self, parameters: Vector, layout: Layout) -> tuple[State, ...]:
        """Each stage's initial state."""
        return tuple(stage.start(parameters, layout) for stage in self.stages)

    def step(self, gradient: Vector, states: Sequence[State], point: Point) -> Step:
        """One step from `point`: the next parameters, the next states, and the update."""
        after, update = list(states), gradient
        for k, stage in enumerate(self.stages):
            transformed, after[k] = stage.apply(update, states[k], point)
            if transformed is None:
                return Step(point.parameters, tuple(after), np.zeros_like(gradient))
            update = transformed
        return Step(point.parameters - update, tuple(after), update)

    def observe(self, states: Sequence[State], loss: float) -> tuple[State, ...]:
        """The states after an epoch that ended with this validation loss."""
        return tuple(stage.observe(state, loss) for stage, state in zip(self.stages, states, strict=True))

    def average(self, states: Sequence[State]) -> Vector | None:
        """The moving average of the weights; None if no stage keeps one."""
        pairs = zip(self.stages, states, strict=True)
        averages = [state["average"] for stage, state in pairs if isinstance(stage, stages.Average)]
        return averages[-1] if averages else None

    def rate(self, states: Sequence[State]) -> float | None:
        """The learning rate of the next update; None for optimizers that have none, and where it
        is not the same for all weights.
        """
        pairs = zip(self.stages, states, strict=True)
        factors = [factor for stage, state in pairs if (factor := stage.multiplier(state)) is not None]
        return math.prod(factors) if factors else None

    def over(self, steps: int) -> Optimizer:
        """This optimizer with its open schedules set to span a training of that many steps."""
        for stage in self.stages:
            steps //= stage.steps if isinstance(stage, stages.Accumulate) else 1
        return self.scheduled(lambda rate: rate.over(max(steps, 1)))

    def first(self, *stages: Stage) -> Optimizer:
        """This optimizer with these stages before its own, such as clipping or accumulation."""
        return replace(self, stages=(*stages, *self.stages))

    def then(self, *stages: Stage) -> Optimizer:
        """This optimizer with these stages after its own, such as a plateau or an average."""
        return replace(self, stages=(*self.stages, *stages))

    def scheduled(self, change: Callable[[Schedule], Schedule]) -> Optimizer:
        """This optimizer with this function applied to every learning-rate schedule."""
        return replace(self, stages=tuple(_scheduled(stage, change) for stage in self.stages))


@dataclass(frozen=True)
class Step:
    """The result of an optimizer's step.

    Attributes:
        parameters: the next parameters
        states: the next state of each stage
        update: what was subtracted from the parameters; 0 if a stage ended the step
    """

    parameters: Vector
    states: tuple[State, ...]
    update: Vector


def _scheduled(stage: Stage, change: Callable[[Schedule], Schedule]) -> Stage:
    if isinstance(stage, stages.LearningRate):
        return stages.LearningRate(change(stage.schedule))
    if isinstance(stage, adaptive.ForMatrices):
        chains = (tuple(_scheduled(inner, change) for inner in chain) for chain in (stage.matrices, stage.rest))
        return adaptive.ForMatrices(*chains)
    return stage


def chain(*stages: Stage, whole_batch: bool = False) -> Optimizer:
    """An optimizer of these stages, in this order."""
    return Optimizer(stages, whole_batch)


NAMED = Named()
"""The optimizers by name; as a decorator it adds one."""


def _scale(learning_rate: Rate) -> stages.LearningRate:
    return stages.LearningRate(schedule(learning_rate))


@NAMED
def sgd(learning_rate: Rate = 0.1) -> Optimizer:
    """Stochastic gradient descent on mini-batches (Robbins and Monro, 1951)."""
    return chain(_scale(learning_rate))


@NAMED
def gradient_descent(learning_rate: Rate = 0.1) -> Optimizer:
    """Gradient descent on the full batch (Cauchy, 1847)."""
    return chain(_scale(learning_rate), whole_batch=True)


@NAMED
def momentum(learning_rate: Rate = 0.01, decay: float = 0.9) -> Optimizer:
    """SGD with momentum (Polyak, 1964)."""
    return chain(stages.Momentum(decay), _scale(learning_rate))


@NAMED
def nesterov(learning_rate: Rate = 0.01, decay: float = 0.9) -> Optimizer:
    """SGD with Nesterov momentum (Nesterov, 1983)."""
    return chain(stages.Momentum(decay, nesterov=True), _scale(learning_rate))


@NAMED
def adagrad(learning_rate: Rate = 0.05, start_sum: float = 0.1, epsilon: float = 1e-7) -> Optimizer:
    """Smaller steps for weights whose gradients have been large (Duchi et al., 2011)."""
    return chain(adaptive.ScaleByAdagrad(start_sum, epsilon), _scale(learning_rate))


@NAMED
def adadelta(learning_rate: Rate = 1.0, decay: float = 0.9, epsilon: float = 1e-6) -> Optimizer:
    """Adagrad with moving averages, and updates in the units of the weights (Zeiler, 2012)."""
    return chain(adaptive.ScaleByAdadelta(decay, epsilon), _scale(learning_rate))


@NAMED
def rmsprop(learning_rate: Rate = 0.001, decay: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """Gradients over their root mean square (Tieleman and Hinton, 2012)."""
    return chain(adaptive.ScaleByRMS(decay, epsilon), _scale(learning_rate))


@NAMED
def rprop(
    first: float = 0.001, shrink: float = 0.5, grow: float = 1.2, smallest: float = 1e-6, largest: float = 50.0
) -> Optimizer:
    """A step size for each weight, from the gradient's sign alone (Riedmiller and Braun, 1993)."""
    return chain(adaptive.ScaleByRprop(first, shrink, grow, smallest, largest), whole_batch=True)


@NAMED
def adam(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Bias-corrected momentum over the root mean square (Kingma and Ba, 2015)."""
    return chain(adaptive.ScaleByAdam(beta1, beta2, epsilon), _scale(learning_rate))


@NAMED
def amsgrad(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam with a divisor that never shrinks (Reddi et al., 2018)."""
    return chain(adaptive.ScaleByAdam(beta1, beta2, epsilon, "amsgrad"), _scale(learning_rate))


@NAMED
def adamw(
    learning_rate: Rate = 0.001,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    on: str | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    return chain(adaptive.ScaleByAdam(beta1, beta2), stages.WeightDecay(weight_decay, on), _scale(learning_rate))


@NAMED
def adamax(learning_rate: Rate = 0.002, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam with the infinity norm in place of the root mean square (Kingma and Ba, 2015)."""
    return chain(adaptive.ScaleByAdamax(beta1, beta2, epsilon), _scale(learning_rate))


@NAMED
def nadam(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam with Nesterov momentum (Dozat, 2016)."""
    return chain(adaptive.ScaleByAdam(beta1, beta2, epsilon, "nadam"), _scale(learning_rate))


@NAMED
def radam(learning_rate: Rate = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam with a rectified adaptive rate, for a careful start (Liu et al., 2020)."""
    return chain(adaptive.ScaleByAdam(beta1, beta2, epsilon, "radam"), _scale(learning_rate))


@NAMED
def lion(
    learning_rate: Rate = 0.0003,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.99,
    on: str | None = None,
) -> Optimizer:
    """The sign of a moving average (Chen et al., 2023)."""
    return chain(adaptive.ScaleByLion(beta1, beta2), stages.WeightDecay(weight_decay, on), _scale(learning_rate))


@NAMED
def lamb(
    learning_rate: Rate = 0.002,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    on: str | None = None,
) -> Optimizer:
    """AdamW scaled to each parameter array's norm, for very large batches (You et al., 2020)."""
    return chain(
        adaptive.ScaleByAdam(beta1, beta2, 1e-6),
        stages.WeightDecay(weight_decay, on),
        adaptive.TrustRatio(),
        _scale(learning_rate),
    )


@NAMED
def muon(learning_rate: Rate = 0.02, decay: float = 0.95, rest: Rate | None = None) -> Optimizer:
    """Orthogonalized momentum for weight matrices, Adam for the rest (Jordan et al., 2024).

    Args:
        learning_rate: the learning rate of the matrices
        decay: the momentum coefficient
        rest: the learning rate of the other parameters; by default a tenth of `learning_rate`, or
            the same schedule
    """
    if rest is None:
        rest = learning_rate / 10 if isinstance(learning_rate, int | float) else learning_rate
    return chain(
        adaptive.ForMatrices(
            (adaptive.Orthogonalize(decay), _scale(learning_rate)), (adaptive.ScaleByAdam(), _scale(rest))
        )
    )


@NAMED
def lbfgs(memory: int = 10, trials: int = 20) -> Optimizer:
    """Limited-memory BFGS with a strong Wolfe line search, on the full batch (Liu and Nocedal,
    1989). It has no learning rate.
    """
    return chain(quasi_newton.ScaleByLBFGS(memory), quasi_newton.StrongWolfe(trials=trials), whole_batch=True)


NAMED["gd"] = gradient_descent

_EXTRAS = ("schedule", "warmup", "clip", "accumulate", "average")


def optimizer(what: str | Optimizer) -> Optimizer:
    """Return an optimizer as it is, or make one from a text: name, values in order, and settings.

    `adam`, `adam 0.001`, `sgd 0.1 schedule=cosine warmup=100`, `momentum 0.01 decay=0.95 clip=1
    accumulate=4 average=0.999`. Every optimizer takes `schedule` and `warmup` (in updates) for
    the learning rate, `clip` (the largest norm of the gradient), `accumulate` (the number of
    mini-batches per update) and `average` (the decay of a moving average of the weights).
    """
    if isinstance(what, Optimizer):
        return what
    call = notation.parse("optimizer", what)
    extras = {key: value for key, value in call.settings.items() if key in _EXTRAS}
    own = {key: value for key, value in call.settings.items() if key not in _EXTRAS}
    return _with_extras(notation.make("optimizer", replace(call, settings=own), NAMED, _EXTRAS), what, extras)


def _with_extras(optimizer: Optimizer, text: str, extras: dict[str, str]) -> Optimizer:
    def extra(key: str, maker: Callable[..., Any]) -> Any:
        return notation.make("optimizer", notation.Call(text, key, (extras[key],)), {key: maker})

    if "schedule" in extras:
        optimizer = optimizer.scheduled(lambda constant: schedules.named(extras["schedule"], constant(0)))
    if "warmup" in extras:
        optimizer = optimizer.scheduled(lambda s: extra("warmup", lambda updates: schedules.WarmUp(updates, s)))
    if "clip" in extras:
        optimizer = optimizer.first(extra("clip", stages.ClipGlobalNorm))
    if "accumulate" in extras:
        optimizer = optimizer.first(extra("accumulate", stages.Accumulate))
    if "average" in extras:
        optimizer = optimizer.then(extra("average", stages.Average))
    return optimizer
