"""The learning-rate range test: how large may the learning rate be?"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np

from chainrule.data import Data, Dataset, load
from chainrule.descent.schedules import Schedule
from chainrule.errors import NonFiniteError, require
from chainrule.training import loop
from chainrule.training.networks import Layers
from chainrule.training.planning import Choices, make_plan


@dataclass(frozen=True)
class Rising(Schedule, register=False):
    """From `low` to `high` in `steps` updates, growing geometrically."""

    low: float
    high: float
    steps: int

    def __call__(self, step: int) -> float:
        return float(self.low * (self.high / self.low) ** (step / max(self.steps - 1, 1)))


@dataclass(frozen=True)
class RangeTest:
    """The result of a learning-rate range test.

    Attributes:
        rates: the learning rates that were tried
        losses: the smoothed loss at each
        suggestion: a rate to start with: a tenth of the one with the lowest loss, for close to
            that one training is about to diverge
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


class _Diverged(Exception):  # noqa: N818
    """Ends the test: larger learning rates would show nothing new."""


def learning_rate_range(
    network: Layers | None = None,
    data: Data | Dataset = "digits",
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    **settings: Unpack[Choices],
) -> RangeTest:
    """Train for some steps while the learning rate grows, and record the loss (Smith, 2017).

    The loss is smoothed by an exponential moving average; the test ends where it exceeds four
    times its minimum. Raises what `train` raises, and SettingError for low, high or steps that are
    out of range.

    Args:
        network, data: as for `train`
        low, high: the first and the last learning rate
        steps: the number of steps from one to the other
        settings: as for `train`: the optimizer, whose own schedule is replaced, loss, batch_size,
            seed and so on
    """
    require(0 < low < high, f"range test: from {low} to {high}; it needs 0 < low < high")
    require(steps >= 10, f"range test: {steps} steps; it needs at least 10")
    data = data if isinstance(data, Dataset) else load(data, seed=settings.get("seed", 0))
    plan, rate = make_plan(network, data, **(settings | {"patience": None})), Rising(low, high, steps)
    rising = plan.optimizer.scheduled(lambda _: rate)
    require(rising != plan.optimizer, "range test: this optimizer has no learning rate")
    plan = replace(plan, optimizer=rising, epochs=-(-steps // plan.steps_per_epoch(len(data.training.x))))
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0

    def record(event: loop.Event) -> None:
        nonlocal average
        if not isinstance(event, loop.Stepped):
            return
        for step, loss in enumerate(event.chunk.losses, start=event.chunk.before.step):
            average = 0.9 * average + 0.1 * float(loss)
            smoothed = average / (1 - 0.9 ** (step + 1))  # bias-corrected, as in Adam
            if math.isfinite(smoothed):
                rates.append(rate(step))
                losses.append(smoothed)
            if smoothed > 4 * min(losses):
                raise _Diverged

    with contextlib.suppress(_Diverged, NonFiniteError):
        loop.run(plan, replace(data, validation=None), loop.start(plan), [record])
    return RangeTest(tuple(rates), tuple(losses), rates[int(np.argmin(losses))] / 10)
