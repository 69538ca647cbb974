"""The learning-rate range test: how large may the learning rate be?"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.data import Dataset, load
from chainrule.descent.schedules import Schedule
from chainrule.errors import NonFiniteError, require
from chainrule.training import loop
from chainrule.training.plan import make_plan


@dataclass(frozen=True)
class Rising(Schedule, register=False):
    """From `low` to `high` in `steps` updates, each time by the same factor."""

    low: float
    high: float
    steps: int

    def __call__(self, step: int) -> float:
        return float(self.low * (self.high / self.low) ** (step / max(self.steps - 1, 1)))


@dataclass(frozen=True)
class RangeTest:
    """What a range test found: the learning rates tried, the smoothed loss at each, and a rate to start with.

    The suggestion is a tenth of the rate at which the loss was lowest: near that one, training is about to blow up.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


class _Enough(Exception):  # noqa: N818
    """The loss has blown up: larger learning rates tell nothing more."""


def learning_rate_range(
    network: Any = None,
    data: Any = "digits",
    *,
    optimizer: Any = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    **also: Any,
) -> RangeTest:
    """Train for some steps while the learning rate grows, and see how far the loss falls (Smith, 2017).

    The optimizer's own schedule is set aside. The loss is smoothed by a moving average; the test ends where it exceeds
    four times its minimum. `also` goes to `train`: loss, batch_size, seed and so on. Raises what `train` raises, and
    SettingError if low, high or steps make no sense.
    """
    require(0 < low < high, f"range test: from {low} to {high}; it needs 0 < low < high")
    require(steps >= 10, f"range test: {steps} steps; it needs at least 10")
    data = data if isinstance(data, Dataset) else load(data, seed=also.get("seed", 0))
    made = make_plan(network, data, optimizer=optimizer, patience=None, **also)
    rising = made.optimizer.scheduled(lambda _: Rising(low, high, steps))
    require(rising != made.optimizer, "range test: this optimizer has no learning rate")
    epochs = -(-steps // made.steps_per_epoch(len(data.training.x)))
    made = replace(made, optimizer=rising, epochs=epochs)
    rates: list[float] = []
    losses: list[float] = []
    watch = _watch(Rising(low, high, steps), rates, losses)
    with contextlib.suppress(_Enough, NonFiniteError):
        loop.run(made, replace(data, validation=None), loop.start(made), [watch])
    return RangeTest(tuple(rates), tuple(losses), rates[int(np.argmin(losses))] / 10)


def _watch(rate: Schedule, rates: list[float], losses: list[float]) -> Callable[[loop.Event], None]:
    average = 0.0

    def listen(event: loop.Event) -> None:
        nonlocal average
        if not isinstance(event, loop.Stepped):
            return
        for step, loss in enumerate(event.chunk.losses, start=event.chunk.before.step):
            average = 0.9 * average + 0.1 * float(loss)
            smoothed = average / (1 - 0.9 ** (step + 1))  # freed of its start at 0, as Adam's averages are
            if math.isfinite(smoothed):
                rates.append(rate(step))
                losses.append(smoothed)
            if smoothed > 4 * min(losses):
                raise _Enough

    return listen
