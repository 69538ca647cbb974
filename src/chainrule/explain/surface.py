"""The loss surface that a run went down, along two directions: two weights, or the plane that fits the run's path
best (Li et al., 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Dataset, Samples
from chainrule.errors import RunError, SettingError
from chainrule.layers.base import Context
from chainrule.runs import Run
from chainrule.training import Plan

POINTS = 60
"""How many points the path has at least, where the run has so many steps."""
MOST_GRID = 301
"""Points a side of the finest grid: the loss is computed at each of its points."""
SAMPLES = 1000
"""Of how many training samples the loss is taken, at most."""


@dataclass(frozen=True)
class Surface:
    """The loss over a plane in the space of all weights, and the path that gradient descent took.

    Attributes:
        names: what the two directions are called
        across, along: (columns,) and (rows,) coordinates of the grid in the two directions
        loss: (rows, columns) the loss on the grid
        steps: (points,) the steps of the path's points; the last is after the last step
        path: (points, 2) the path, as its shadow on the plane
        path_loss: (points,) the loss at the path's own weights, which may lie off the plane
        variance: the share of the path's variance that lies in the plane; None for two chosen weights
    """

    names: tuple[str, str]
    across: Array
    along: Array
    loss: Array
    steps: Array
    path: Array
    path_loss: Array
    variance: float | None


def loss_surface(
    run: Run | str, weights: Sequence[str] | None = None, *, grid: int = 31, data: Dataset | None = None
) -> Surface:
    """The surface around a run's path.

    With two `weights` all others stay what they were at the end. The loss is that of the training part (of SAMPLES
    samples at most), with the penalties, batch statistics and no dropout, in float64. Raises SettingError for weights
    that there aren't, RunError for a run without steps.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    _check(run.trained.plan, weights, grid)
    steps, points = _path(run, data := run.load_data() if data is None else data)
    return surface_of(run.trained.plan, data.training, steps, points, weights, grid=grid)


def surface_of(
    plan: Plan, samples: Samples, steps: Array, points: Array, weights: Sequence[str] | None = None, *, grid: int = 31
) -> Surface:
    """The same for a path that is at hand: (points,) steps and (points, weights) all weights there."""
    places = _check(plan, weights, grid)
    layout, lost = plan.network.parameters, _loss_function(plan, samples)
    if places is None:
        origin, directions, variance = _best_plane(points)
        names = ("first principal direction", "second principal direction")
    else:
        origin, variance = points[-1].copy(), None
        origin[places] = 0
        directions = np.zeros((2, layout.size))
        directions[[0, 1], places] = 1
        names = (layout.name_of(places[0]), layout.name_of(places[1]))
    shadow = (points - origin) @ directions.T
    across, along = (_range(shadow[:, k], grid) for k in (0, 1))
    loss = np.array([[lost(origin + a * directions[0] + b * directions[1]) for a in across] for b in along])
    own = np.array([lost(point) for point in points])
    return Surface(names, across, along, loss, steps, shadow, own, variance)


def _check(plan: Plan, weights: Sequence[str] | None, grid: int) -> list[int] | None:
    """The places of the two weights; raises SettingError for what makes no sense."""
    if weights is not None and len(set(weights)) != 2:
        raise SettingError(f"a surface lies along two different weights, not {', '.join(weights)}")
    if not 2 <= grid <= MOST_GRID:
        raise SettingError(f"the grid has {grid} points a side; it takes at least 2, and at most {MOST_GRID}")
    return None if weights is None else [plan.network.parameters.find(weight) for weight in weights]


def _path(run: Run, data: Dataset) -> tuple[Array, Array]:
    """The steps, and the weights before each; and after the last."""
    chosen = run.steps_along(POINTS)
    if not chosen:
        raise RunError(f"{run.folder}: it took no step, so there is no path to draw")
    steps, points = [], []
    for record in run.each(chosen, data):
        steps.append(record.before.step)
        points.append(record.before.parameters.astype(np.float64))
    return np.array([*steps, record.after.step]), np.array([*points, record.after.parameters.astype(np.float64)])


def _loss_function(plan: Plan, samples: Samples) -> Callable[[Vector], float]:
    """The loss as a function of all weights, in float64."""
    network, chosen = plan.network, samples.thinned(SAMPLES)
    chosen = chosen._replace(x=network.fit_input(chosen.x))
    problem = replace(plan.problem(len(chosen.x)), network=replace(network, dtype="float64"))
    # Without dropout, whose masks are of single steps; with the batch's own statistics, which fit any
    # weights.
    context = Context(training=True, dropout=False)
    return lambda parameters: problem.total_loss(parameters, chosen, context=context)


def _best_plane(points: Array) -> tuple[Vector, Array, float]:
    """The points' mean, the two directions in which they vary most, and the share of their variance in these."""
    mean = points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(points - mean, full_matrices=False)
    if len(directions) < 2:  # two points lie on a line
        directions = np.vstack([directions, np.eye(1, points.shape[1])])[:2]
    every = float((sizes**2).sum())
    return mean, directions[:2], float((sizes[:2] ** 2).sum() / every) if every else 1.0


def _range(values: Array, grid: int) -> Array:
    """Coordinates that leave some room on both sides of these."""
    low, high = float(values.min()), float(values.max())
    room = 0.25 * (high - low) or 1.0
    return np.linspace(low - room, high + room, grid)
