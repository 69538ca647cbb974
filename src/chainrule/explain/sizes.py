"""The sizes of each layer's gradients and updates over a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Data, Dataset
from chainrule.runs import Run

POINTS = 120
"""The minimum number of steps that are sampled, if the run has as many."""


@dataclass(frozen=True)
class Sizes:
    """Root mean squares of each parameter array at some steps of a run.

    Attributes:
        names: (arrays,) the names of the parameter arrays
        steps: (points,) the steps
        gradient, update, weight: (arrays, points) the sizes of the gradient, of the update that
            was subtracted, and of the weights before it
    """

    names: tuple[str, ...]
    steps: Array
    gradient: Array
    update: Array
    weight: Array


def gradient_sizes(run: Run | str, data: Data | Dataset | None = None) -> Sizes:
    """The sizes over a run or the run in a folder. Raises RunError for a run without steps."""
    run = run if isinstance(run, Run) else Run.open(run)
    run.require_steps()
    layout, chosen = run.trained.plan.network.parameters, run.steps_along(POINTS)
    steps, sizes = [], []
    for record in run.each(chosen, data):
        steps.append(record.before.step)
        vectors = (record.gradient, record.update, record.before.parameters)
        sizes.append([[_root_mean_square(array) for _, array in layout.views(vector)] for vector in vectors])
    gradient, update, weight = np.array(sizes).transpose(1, 2, 0)
    return Sizes(tuple(entry.name for entry in layout.entries), np.array(steps), gradient, update, weight)


def _root_mean_square(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
