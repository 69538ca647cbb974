"""How large each layer's gradients and updates were over a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset
from chainrule.errors import RunError
from chainrule.runs import Run

POINTS = 120
"""At how many steps a run is looked at, at least, where it has so many."""


@dataclass(frozen=True)
class Sizes:
    """Root mean squares of each parameter array's numbers at some steps of a run.

    Attributes:
        names: (arrays) the parameter arrays, from first to last
        steps: (points,) the steps
        gradient, update, weight: (arrays, points) of the gradient, of what was subtracted, and of the weights
            themselves
    """

    names: tuple[str, ...]
    steps: Array
    gradient: Array
    update: Array
    weight: Array


def gradient_sizes(run: Run | str, data: Dataset | None = None) -> Sizes:
    """The sizes over a run. Raises RunError for a run without steps."""
    run = run if isinstance(run, Run) else Run.open(run)
    layout, chosen = run.trained.plan.network.parameters, run.steps_along(POINTS)
    if not chosen:
        raise RunError(f"{run.folder}: it took no step, so there is nothing to draw")
    steps, found = [], []
    for record in run.each(chosen, data):
        steps.append(record.before.step)
        vectors = (record.gradient, record.update, record.before.parameters)
        found.append([[_root_mean_square(array) for _, array in layout.views(vector)] for vector in vectors])
    gradient, update, weight = np.array(found).transpose(1, 2, 0)
    return Sizes(tuple(entry.name for entry in layout.entries), np.array(steps), gradient, update, weight)


def _root_mean_square(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
