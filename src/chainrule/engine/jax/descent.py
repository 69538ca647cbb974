"""An optimizer's stages as functions of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.descent import Optimizer, schedules, stages
from chainrule.engine.lowering import NoKernel
from chainrule.layout import Layout


def lower(optimizer: Optimizer, layout: Layout) -> Callable[..., Any]:
    """The optimizer as a function of gradient, states, parameters, step, evaluate and loss."""
    (stage, *others) = optimizer.stages
    if others or type(stage) is not stages.LearningRate or type(stage.schedule) is not schedules.Constant:
        raise NoKernel("this optimizer")
    rate = stage.schedule.rate

    def step(gradient: Any, states: Any, parameters: Any, step: Any, evaluate: Any, loss: Any) -> Any:
        return rate * gradient, ({**states[0], "count": states[0]["count"] + 1},), True

    return step
