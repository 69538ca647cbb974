"""The logs of a run: what a run keeps about them, so that whoever resumes it continues them."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from chainrule.errors import ChainruleError, RunError, setting

if TYPE_CHECKING:
    from chainrule.logs import Log


class LogRecipe(TypedDict):
    """A log: TensorBoard's folder, relative to the run's if it is inside, or the ID of MLflow's run
    and, unless that is on a server, the address of its local store.
    """

    kind: Literal["tensorboard", "mlflow"]
    where: str
    store: NotRequired[str]
    norms: bool


def of(callbacks: Iterable[Any], folder: Path) -> list[LogRecipe]:
    """What a run in this folder keeps about the logs among its callbacks, once they are open."""
    return [callback.recipe(folder) for callback in callbacks if hasattr(callback, "recipe")]


def continued(recipes: Iterable[LogRecipe], folder: Path, callbacks: Iterable[Any]) -> list[Log]:
    """The logs of a run to go on with, but for those of a kind that is among the callbacks.

    Nothing is written anywhere but in the run's folder and where there is a log already: a run may
    be somebody else's. Raises RunError if a log is gone, and SettingError if its package is
    missing.
    """
    given = [callback.kind for callback in callbacks if hasattr(callback, "recipe")]
    return [_continued(recipe, folder) for recipe in recipes if recipe["kind"] not in given]


def _continued(recipe: LogRecipe, folder: Path) -> Log:
    from chainrule.logs import MLflow, TensorBoard

    where, store, norms = recipe["where"], recipe.get("store"), recipe["norms"]
    try:
        if recipe["kind"] == "mlflow":
            path = local_path(store)
            if path is not None and not path.exists():
                raise RunError(f"{path}: there is no store of MLflow any more, to which the run {folder} was logged")
            log = MLflow(run_id=where, tracking_uri=store, norms=norms)
            log.check()
            return log
        place = folder / where
        if not _is_inside(place, folder) and not any(place.glob("events.out.tfevents.*")):
            raise RunError(f"{place}: there is no log any more, to which the run {folder} was logged")
        return TensorBoard(place, norms=norms)
    except ChainruleError as error:
        raise type(error)(f"{error}; to resume without the log, choose {setting('logs', False)}") from None


def _is_inside(place: Path, folder: Path) -> bool:
    return place.resolve().is_relative_to(folder.resolve())


def local_path(uri: str | None) -> Path | None:
    """The file or folder of a local store of MLflow; None for an address elsewhere."""
    scheme, colon, rest = (uri or "").partition(":")
    if scheme in ("sqlite", "file") and colon:
        rest = rest.removeprefix("///" if scheme == "sqlite" else "//")
        return Path(rest) if rest else None
    return Path(uri) if uri and "://" not in uri and scheme != "databricks" else None


def opened_by(recipe: LogRecipe, folder: Path) -> str:
    """The command that shows a log."""
    if recipe["kind"] == "tensorboard":
        place = os.path.normpath(folder / recipe["where"])
        return f"tensorboard --logdir {shlex.quote(place)}" + _installed("tensorboard")
    if "store" not in recipe:
        return f"run {recipe['where']} on MLflow's server"
    return f"mlflow ui --backend-store-uri {shlex.quote(recipe['store'])}" + _installed("mlflow", "flask")


def _installed(package: str, needs: str = "") -> str:
    """How to install what shows a log, unless it is."""
    return "" if importlib.util.find_spec(needs or package) else f"  (pip install {package})"
