"""The samples that a network on the page is trained on: points of the plane, or any data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.data import BUILTIN, Dataset, Source, load
from chainrule.data import plane as planes
from chainrule.errors import DataError, SettingError
from chainrule.play.settings import DataSettings
from chainrule.play.toys import TOYS

TEST, VALIDATION = 0.0, 0.3
"""Shares of the samples. The page calls its validation set the test points: it has no other."""

MOST_ON_PAGE = 20_000
"""Of data on a disk, the most samples of each set that the page trains on, evenly spaced."""

FEWEST_POINTS = 8
"""The minimum number of points drawn by hand: enough for a training and a test set."""

_FEATURE_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "x1": lambda x: x[:, 0],
    "x2": lambda x: x[:, 1],
    "x1^2": lambda x: x[:, 0] ** 2,
    "x2^2": lambda x: x[:, 1] ** 2,
    "x1*x2": lambda x: x[:, 0] * x[:, 1],
    "sin x1": lambda x: np.sin(np.pi * x[:, 0]),
    "sin x2": lambda x: np.sin(np.pi * x[:, 1]),
}


@dataclass(frozen=True)
class PageData:
    """A data set and, if it consists of points of the plane, their coordinates.

    Attributes:
        data: the prepared data set
        features: the features of a point that the network sees; empty for other data
        points: (training points, 2) the coordinates of the training samples, or None
        held_out: (validation points, 2) the coordinates of the validation samples, or None
    """

    data: Dataset
    features: tuple[str, ...] = ()
    points: Array | None = None
    held_out: Array | None = None

    @property
    def is_plane(self) -> bool:
        """Whether the samples are points of the plane."""
        return self.points is not None

    def prepare(self, points: Array) -> Array:
        """The network's input for points of the plane of shape (points, 2)."""
        assert self.data.preparation is not None
        return np.asarray(self.data.preparation.apply(Source("plane", features_of(points, self.features), None)))


def features_of(points: Array, features: tuple[str, ...]) -> Array:
    """The features, of shape (points, features), of points of the plane of shape (points, 2)."""
    return np.column_stack([_FEATURE_FUNCTIONS[feature](points) for feature in features])


def page_data(settings: DataSettings, dataset: Dataset | None) -> PageData:
    """The samples that the settings select.

    Args:
        settings: the choice of samples
        dataset: the data set that was opened or uploaded, if any

    Raises:
        SettingError: if the uploaded data set is no longer on the server
        PointsError: if too few points are drawn
    """
    if settings.kind == "given":
        if dataset is None:
            raise SettingError("this page's data is no longer on the server; drop the file onto the page again")
        return PageData(dataset.thinned(MOST_ON_PAGE))
    if settings.kind == "builtin" and settings.name not in planes.NAMED:
        return PageData(load(settings.name, validation=VALIDATION, test=TEST, seed=settings.seed))
    if settings.kind == "sequence":
        return PageData(TOYS[settings.name].load(settings.samples, settings.seed, VALIDATION))
    task: str | None
    if settings.kind == "drawn":
        points, y, task = _drawn(settings)
    else:
        plane = planes.plane(settings.name, settings.samples, settings.noise, settings.seed)
        points, y, task = plane.features, np.asarray(plane.target), plane.task
    target = "y" if task == "regression" else "class"
    source = Source(settings.name, features_of(points, settings.features), y, target, task, columns=settings.features)
    data = load(source, validation=VALIDATION, test=TEST, seed=settings.seed)
    assert data.rows is not None
    held_out = np.setdiff1d(np.arange(len(points)), data.rows)
    return PageData(data, settings.features, points[data.rows], points[held_out])


def require_in_memory(name: str, on_disk: bool) -> None:
    """Raise DataError for the data of a run, of this name, whose samples are on a disk: the page
    would show some of them only, and replays all steps.
    """
    if on_disk:
        others = "chainrule explain, life, doctor and report read what they need of it"
        raise DataError(f"{name}: its samples are on a disk, and the page takes a run's in memory; {others}")


class PointsError(SettingError):
    """The user has not drawn enough points yet; the message says how many are missing."""


def _drawn(settings: DataSettings) -> tuple[Array, Array, str]:
    """The points that the user drew, (points, 2), their classes, and the task."""
    array = np.array(settings.points, dtype=float).reshape(-1, 3)
    counts = [int((array[:, 2] == label).sum()) for label in (0, 1)]
    if sum(counts) < FEWEST_POINTS or 0 in counts:
        raise PointsError(
            "Click in the plane to draw points: of the class chosen under Data, or of class 1 with Shift held. Training"
            f" needs at least {FEWEST_POINTS}, with both classes among them; so far there are {counts[0]} of class 0"
            f" and {counts[1]} of class 1."
        )
    return array[:, :2], array[:, 2].astype(int), "classification"


def named() -> dict[str, str]:
    """The built-in data sets other than those of the plane, each with its description."""
    return {name: builtin.about for name, builtin in BUILTIN.items() if name not in planes.NAMED}
