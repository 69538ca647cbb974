"""One weight over the steps so far: its value, its gradient, and how each step moved it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.play.trainer import Trainer

MOST_STEPS = 60
"""The maximum number of steps that are replayed each time."""


def history(weight: str, steps: Sequence[int], columns: Sequence[Any], words: str) -> dict[str, Any]:
    """The message with a weight's history.

    Args:
        weight: its name
        steps: the steps
        columns: its value before each of them, its gradient, and what the step added to it
        words: which steps these are
    """
    names = ("values", "gradients", "updates")
    numbers = {name: [float(x) for x in column] for name, column in zip(names, columns, strict=True)}
    what = "its value before each step, its gradient, and how the step moved it."
    return {"type": "weight history", "weight": weight, "steps": list(steps), **numbers, "words": f"{words}: {what}"}


def weight_so_far(trainer: Trainer, weight: str) -> dict[str, Any]:
    """A weight through the steps taken so far, replayed at those that have a checkpoint.

    Raises SettingError for an unknown weight.
    """
    place = trainer.plan.network.parameters.find(weight)
    taken = [step for step in trainer.checkpoints if step < trainer.step]
    every = -(-len(taken) // MOST_STEPS) or 1
    steps = sorted({*taken[::every], *([trainer.step - 1] if trainer.step else [])})
    with np.errstate(all="ignore"):
        records = list(trainer.timeline.each(steps))
    columns = [
        [record.before.parameters[place] for record in records],
        [record.gradient[place] for record in records],
        [record.after.parameters[place] - record.before.parameters[place] for record in records],
    ]
    which = f"{len(steps):,} of {trainer.step:,} steps" if len(steps) < trainer.step else "all steps so far"
    return history(weight, steps, columns, f"{weight} in {which}")
