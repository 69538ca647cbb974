"""The samples that a network on the page learns from: points of the plane as features, or any data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.data import BUILTIN, Dataset, Source, load
from chainrule.data import plane as planes
from chainrule.errors import SettingError
from chainrule.play.settings import DataSettings

TEST, VALIDATION = 0.0, 0.3
"""The page holds out one part, which it shows as test points and measures the validation loss on."""

_OF_A_POINT: dict[str, Callable[[Array], Array]] = {
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
    """A data set, and, of the plane, where its points lie.

    Attributes:
        data: the prepared data set
        features: what the network is given of a point of the plane; none for other data
        points: (training points, 2) where the training samples lie in the plane, or None
        held: (validation points, 2) where those held out lie, or None
    """

    data: Dataset
    features: tuple[str, ...] = ()
    points: Array | None = None
    held: Array | None = None

    @property
    def is_plane(self) -> bool:
        return self.points is not None

    def prepare(self, points: Array) -> Array:
        """Points of the plane, of shape (points, 2), as the network takes them."""
        assert self.data.preparation is not None
        return self.data.preparation.apply(Source("plane", features_of(points, self.features), None))


def features_of(points: Array, features: tuple[str, ...]) -> Array:
    """(points, features) of points of the plane."""
    return np.column_stack([_OF_A_POINT[feature](points) for feature in features])


def page_data(settings: DataSettings, given: Dataset | None) -> PageData:
    """The samples that the settings mean; `given` is what was opened or uploaded."""
    if settings.kind == "given":
        if given is None:
            raise SettingError("the data of this page is not here any more; drop the file onto the page again")
        return PageData(given)
    if settings.kind == "builtin" and settings.name not in planes.NAMED:
        return PageData(load(settings.name, validation=VALIDATION, test=TEST, seed=settings.seed))
    task: str | None
    if settings.kind == "drawn":
        points, y, task = _drawn(settings)
    else:
        source = planes.plane(settings.name, settings.samples, settings.noise, settings.seed)
        points, y, task = source.features, np.asarray(source.target), source.task
    made = Source(settings.name, features_of(points, settings.features), y, "class", task, columns=settings.features)
    data = load(made, validation=VALIDATION, test=TEST, seed=settings.seed)
    assert data.rows is not None
    others = np.setdiff1d(np.arange(len(points)), data.rows)
    return PageData(data, settings.features, points[data.rows], points[others])


def _drawn(settings: DataSettings) -> tuple[Array, Array, str]:
    array = np.array(settings.points, dtype=float).reshape(-1, 3)
    if len(array) < 8 or len(set(array[:, 2])) < 2:
        raise SettingError("draw at least eight points, of both classes")
    return array[:, :2], array[:, 2].astype(int), "classification"


def named() -> dict[str, str]:
    """The built-in sets that are not of the plane, with what they are."""
    return {name: builtin.about for name, builtin in BUILTIN.items() if name not in planes.NAMED}
