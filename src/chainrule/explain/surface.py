"""The loss surface around a run's path, along two weights or in the plane that fits the path best
(Li et al., 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Data, Dataset, Samples
from chainrule.engine import StepRecord
from chainrule.errors import require
from chainrule.layers.base import Context
from chainrule.runs import Run
from chainrule.threads import in_threads, undivided
from chainrule.training import Plan

POINTS = 60
"""The minimum number of points of the path, if the run has as many steps."""
MOST_GRID = 301
"""The maximum number of grid points per side; the loss is computed at every grid point."""
SAMPLES = 1000
"""The maximum number of training samples that the loss is averaged over."""


@dataclass(frozen=True)
class Surface:
    """The loss over a plane in the space of all weights, and the path that gradient descent took.

    Attributes:
        names: the names of the two directions, short enough for an axis
        across, along: (columns,) and (rows,) coordinates of the grid in the two directions
        loss: (rows, columns) the loss on the grid
        steps: (points,) the number of steps taken before each point of the path
        path: (points, 2) the path, projected onto the plane
        path_loss: (points,) the loss at the path's own weights, which may lie off the plane
        variance: the share of the path's variance in the plane; None for two chosen weights
        origin: (weights,) the point of the plane with the coordinates 0, 0
        directions: (2, weights) the two directions
    """

    names: tuple[str, str]
    across: Array
    along: Array
    loss: Array
    steps: Array
    path: Array
    path_loss: Array
    variance: float | None
    origin: Vector = field(repr=False)
    directions: Array = field(repr=False)

    def project(self, points: Array) -> Array:
        """(points, 2) the coordinates of points of shape (points, weights)."""
        return (points - self.origin) @ self.directions.T

    def below(self, path: Array) -> Array:
        """(points,) the loss on the surface at these coordinates, by linear interpolation."""
        from scipy.interpolate import RegularGridInterpolator

        inside = np.clip(path, [self.across[0], self.along[0]], [self.across[-1], self.along[-1]])
        return RegularGridInterpolator((self.along, self.across), self.loss)(inside[:, ::-1])


def loss_surface(
    run: Run | str, weights: Sequence[str] | None = None, *, grid: int = 31, data: Data | Dataset | None = None
) -> Surface:
    """The surface around a run's path.

    The loss is computed in float64 on the training set (at most SAMPLES samples), with penalties
    and batch statistics, and without dropout.

    Args:
        run: the run, or its folder
        weights: the names of two weights to draw along, with all others at their final values; by
            default the plane that fits the path best
        grid: the number of grid points per side
        data: the run's data, in a form of `Run.own_data`, if no file holds it or it is loaded

    Raises:
        SettingError: for unknown weights, or a grid that is too small or too large
        RunError: for a run without steps
    """
    run = run if isinstance(run, Run) else Run.open(run)
    _check(run.trained.plan, weights, grid)
    run.require_steps()
    chosen = run.steps_along(POINTS)
    steps, points = path_of(run.each(chosen, data := run.own_data(data)))
    return surface_of(run.trained.plan, data.training, steps, points, weights, grid=grid)


def surface_of(
    plan: Plan, samples: Samples, steps: Array, points: Array, weights: Sequence[str] | None = None, *, grid: int = 31
) -> Surface:
    """The same for a given path of (points,) steps and (points, weights) weights."""
    places = _check(plan, weights, grid)
    layout, loss_at = plan.network.parameters, _loss_function(plan, samples)
    if places is None:
        origin, directions, variance = _best_plane(points)
        names = ("direction 1", "direction 2")
    else:
        origin, variance = points[-1].copy(), None
        origin[places] = 0
        directions = np.zeros((2, layout.size))
        directions[[0, 1], places] = 1
        names = (layout.name_of(places[0]), layout.name_of(places[1]))
    path = (points - origin) @ directions.T
    across, along = _ranges(path, grid)
    with undivided():
        grid_points = [np.array([a, b]) for b in along for a in across]
        on_grid = in_threads(lambda at: loss_at(origin + at @ directions), grid_points)
        path_loss = np.array(in_threads(loss_at, [*points]))
    loss = np.reshape(on_grid, (len(along), len(across)))
    return Surface(names, across, along, loss, steps, path, path_loss, variance, origin, directions)


def _check(plan: Plan, weights: Sequence[str] | None, grid: int) -> list[int] | None:
    """The places of the two weights, if any; raises SettingError for invalid weights or grid."""
    require(
        2 <= grid <= MOST_GRID, f"the grid has {grid} points per side; it takes at least 2, and at most {MOST_GRID}"
    )
    if weights is None:
        return None
    require(len(set(weights)) == 2, f"a surface needs two different weights, not {', '.join(weights)}")
    return [plan.network.parameters.find(weight) for weight in weights]


def path_of(records: Iterable[StepRecord]) -> tuple[Array, Array]:
    """The path through some steps: (points,) the number of steps before each of them and after the
    last, and (points, weights) the weights there.
    """
    steps, points = [], []
    for record in records:
        steps.append(record.before.step)
        points.append(record.before.parameters.astype(np.float64))
    return np.array([*steps, record.after.step]), np.array([*points, record.after.parameters.astype(np.float64)])


def _loss_function(plan: Plan, samples: Samples) -> Callable[[Vector], float]:
    """The loss as a function of the flat parameter vector, in float64."""
    network, chosen = plan.network, samples.thinned(SAMPLES)
    chosen = chosen._replace(x=network.fit_input(chosen.x))
    problem = replace(plan.problem(len(chosen.x)), network=replace(network, dtype="float64"))
    # Dropout masks belong to single steps, and running statistics to the path's own weights; batch
    # statistics suit any weights.
    context = Context(training=True, dropout=False)
    return lambda parameters: problem.total_loss(parameters, chosen, context=context)


def _best_plane(points: Array) -> tuple[Vector, Array, float]:
    """The mean, the first two principal directions, and their share of the variance.

    There are far fewer points than weights, so the directions follow from the products of the
    points with one another: a small matrix, whose eigenvalues are the variances.
    """
    mean = points.mean(axis=0)
    moved = points - mean
    variances, mixtures = np.linalg.eigh(moved @ moved.T)
    variances, mixtures = np.maximum(variances[::-1], 0), mixtures[:, ::-1]
    # Where the path is a line, or a single point, orthonormalizing completes the plane by any
    # direction.
    spanned = np.zeros((2, points.shape[1]))
    spanned[: len(points)] = mixtures[:, :2].T @ moved
    directions = np.linalg.qr(spanned.T)[0].T
    total = float(variances.sum())
    return mean, directions, float(variances[:2].sum() / total) if total else 1.0


def _ranges(path: Array, grid: int) -> tuple[Array, Array]:
    """Grid coordinates that cover a path of shape (points, 2) with a margin on all sides.

    A path along a line gets a plane as well: no range is less than a fifth of the other.
    """
    low, high = path.min(axis=0), path.max(axis=0)
    extent = float((high - low).max()) or 1.0
    middle, half = (low + high) / 2, np.maximum(0.75 * (high - low), 0.15 * extent)
    return tuple(np.linspace(middle[k] - half[k], middle[k] + half[k], grid) for k in (0, 1))  # type: ignore[return-value]
