"""The loader: whatever reads a run reads it through here, and nothing is built from a file before
the file is validated.

A hash shows that a file is complete, not that a training wrote it. So types, ranges, lengths and
dtypes are checked, numbers must be finite where those of a training are, and the files must agree
with each other. Whatever fits no training is refused with one line.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Annotated, Any, TypeVar

import numpy as np

from chainrule.data import Preparation, Target
from chainrule.data.settings import Settings
from chainrule.engine import Position
from chainrule.errors import ChainruleError, RunError
from chainrule.runs import folder as files
from chainrule.runs import state
from chainrule.runs.recipe import from_json
from chainrule.runs.records import (
    SETTINGS,
    Computed,
    DataRecipe,
    Manifest,
    PreparationRecipe,
    Recipe,
    SampleRecipe,
    TargetRecipe,
    Versions,
)
from chainrule.training import Plan, Progress
from chainrule.training import metrics as measures
from chainrule.training.catalog import NAMES
from chainrule.training.loop import WrittenSample
from chainrule.training.networks import outputs_for
from chainrule.training.planning import check_augmentation
from chainrule.training.stopping import followed
from chainrule.training.threshold import require_two_classes
from chainrule.typed import Range, misfit

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """A run whose files are valid and agree with each other.

    Attributes:
        manifest: how training ended, after how many epochs and steps, and the files
        data: what it was trained on
        versions: of chainrule, NumPy and Python when it was trained
        plan: what was trained, and how
        target: what the numbers of the targets mean
        preparation: the fitted preparation of samples; None if they are used as they are
        progress: where training ended
    """

    manifest: Manifest
    data: DataRecipe
    versions: Versions
    plan: Plan
    target: Target
    preparation: Preparation | None
    progress: Progress


def load(folder: Path, own: Iterable[type] = ()) -> Loaded:
    """Read a run, whose plan may consist of these classes besides chainrule's own.

    Raises RunError, with the file, for a run that is missing, incomplete, altered or newer.
    """
    manifest, own = read_manifest(folder), list(own)
    while True:
        try:
            return _loaded(folder, manifest, own)
        except RunError:  # perhaps of a file that a training has replaced since the manifest was read
            before, manifest = manifest, read_manifest(folder)
            if manifest == before:
                raise


def _loaded(folder: Path, manifest: Manifest, own: Iterable[type]) -> Loaded:
    """The run that has this manifest."""
    path = files.path_of(folder, manifest, "recipe")
    recipe: Recipe = _typed(files.read_json(folder, manifest, path.name), Recipe, path)
    data, target = recipe["data"], _target(recipe["data"]["target"], path)
    settings = recipe["data"]["settings"]
    order = None if settings is None else settings.get("order")
    if order is not None and (target.task != "ordinal" or [*map(str, order)] != [*map(str, target.classes)]):
        raise _altered(path, "the order of its classes is not that of the target")
    plan = _built(path, lambda: from_json(recipe["plan"], own))
    if not isinstance(plan, Plan):
        raise RunError(f"{path}: it has no plan; it was altered")
    _built(path, lambda: _check_plan(plan, target, manifest))
    _check_imported(path, manifest, recipe["data"]["rows"]["training"])
    preparation = _preparation(folder, manifest, plan, target, settings)
    progress = _progress(folder, manifest, plan, data)
    return Loaded(manifest, data, recipe["versions"], plan, target, preparation, progress)


def _check_imported(path: Path, manifest: Manifest, rows: int) -> None:
    """Raise RunError unless a run without training rows is an imported network, and no other."""
    is_new = manifest["status"] in ("imported", "under way") and manifest["steps"] == 0
    if (rows == 0 and not is_new) or (rows > 0 and manifest["status"] == "imported"):
        raise _altered(path, "only a network that was imported has neither rows nor steps")


def read_manifest(folder: Path) -> Manifest:
    """The manifest; raises RunError for what is not a run, or was written by a newer version."""
    path = folder / files.MANIFEST
    try:
        if not folder.is_dir():
            raise RunError(f"{folder}: there is no such run; a run is a folder that 'chainrule train' has written")
        manifest = files.parsed(files.content_of(path))
    except FileNotFoundError:
        raise RunError(f"{folder}: it is no run: it has no {files.MANIFEST}") from None
    except OSError as error:
        raise files.unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: it can't be read ({error}); it was altered or cut") from None
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if version is not None and type(version) is not int:
        raise RunError(f"{path}: its format is {brief(version)}, which is not a manifest version; it was altered")
    if version is not None and version > files.FORMAT:
        by = manifest.get("chainrule", "a newer version")
        raise RunError(f"{folder}: it was written by chainrule {by}, in a format that is newer; upgrade chainrule")
    names = manifest.get("files") if isinstance(manifest, dict) else None
    for name in names if isinstance(names, dict) else ():
        if files.FILE.fullmatch(name) is None:
            outside = "outside the run" if "/" in name or "\\" in name else "that no run has"
            raise RunError(f"{path}: it names a file {outside} ({brief(name)}); it was altered")
    checked: Manifest = _typed(manifest, Manifest, path)
    starts = [start for start, *_ in checked["planned"]]
    if not starts or starts != sorted(starts) or starts[0] != 0 or starts[-1] > checked["steps"]:
        raise _altered(path, f"planned is {checked['planned']}; its steps must ascend from 0 to at most steps")
    for prefix in ("recipe", "state-", "history-", files.checkpoint_name(0)):
        files.path_of(folder, checked, prefix)
    return checked


def read_checkpoint(folder: Path, manifest: Manifest, plan: Plan, step: int) -> Position:
    """The position before a step that has a checkpoint."""
    path = folder / files.checkpoint_name(step)
    position = state.position_from_bytes(files.read_file(folder, manifest, path.name), plan, str(path))
    if position.step != step:
        raise RunError(f"{path}: it is of step {position.step}; it was altered")
    return position


def computed(settings: Computed | None = None) -> dict[str, Any]:
    """Those of a plan's settings that say how steps are computed, from what a manifest says of a
    part of the run.
    """
    own = dict(settings or {})
    return {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}


def _altered(path: Path, problem: str) -> RunError:
    return RunError(f"{path}: {problem}; it was altered, or written by another version")


def _typed(value: Any, hint: Any, path: Path) -> Any:
    """The value; raises RunError unless it is of this type."""
    problem = misfit(value, hint)
    if problem is not None:
        raise RunError(f"{path}: it can't be read: {problem}; it was altered, or written by another version")
    return value


def _built(path: Path, build: Callable[[], T]) -> T:
    """What a function builds from a file. No training wrote what it raises an error for."""
    try:
        return build()
    except RunError as error:
        raise error if str(error).startswith(str(path)) else RunError(f"{path}: {error}") from None
    except ChainruleError as error:
        raise _altered(path, f"it is invalid: {error}") from None
    except Exception as error:  # whatever a constructor or another version of a library raises
        raise _altered(path, f"it can't be used ({type(error).__name__}: {error})") from None


def _target(recipe: TargetRecipe, path: Path) -> Target:
    target, default = Target.from_json(recipe), Target("classification")
    if target.task == "regression":
        fits = len(target.mean) == len(target.deviation) >= 1 and not target.classes
    else:
        unused = (target.mean, target.deviation) == (default.mean, default.deviation)
        named: tuple[object, ...] = target.classes
        other: tuple[object, ...] = target.columns
        if target.task == "multilabel":
            named, other = other, named
            unused = unused and not other
        fits = len(set(named)) == len(named) >= 2 and unused
    if not fits:
        allowed = "neither several classes or labels nor a mean and a deviation of each quantity"
        raise _altered(path, f"the target has {allowed}")
    count = len(target.columns)
    one_each = target.is_class or count in (0, target.width)
    if len(set(target.columns)) != count or not one_each:
        raise _altered(path, "the target has columns that are not one for each output")
    return target


def _check_plan(plan: Plan, target: Target, manifest: Manifest) -> None:
    """Raise an error unless the plan can be trained for this target."""
    if plan.epochs != manifest["planned"][-1][1]:
        raise RunError(f"epochs is {plan.epochs}, but {files.MANIFEST} says {manifest['planned'][-1][1]}")
    for name, hint in SETTINGS.items():
        problem = misfit(getattr(plan, name), hint, name)
        if problem is not None:
            raise RunError(problem)
    measures.default(target, plan.loss)
    measures.check_recorded(plan.metrics, target)
    _check_threshold(plan, target, manifest)
    for one in plan.augment:
        check_augmentation(one, plan.network.input_shape, plan.loss)
    outputs = (*target.positions, outputs_for(plan.loss, target))
    if plan.network.output_shape != outputs or not plan.network.parameters.size:
        raise RunError(f"the network's output has the shape {plan.network.output_shape}, the loss takes {outputs}")
    by_number = outputs == (1,) or target.task == "ordinal" or (target.positions and target.is_class)
    y = np.zeros((1, *target.positions), dtype=np.int64) if by_number else np.eye(1, outputs[-1])
    if target.task == "regression":
        y = np.zeros((1, *target.positions, target.width))
    x = np.zeros((1, *plan.network.input_shape))
    plan.try_out(np.zeros(plan.network.parameters.size, plan.network.dtype), x, y)


def _check_threshold(plan: Plan, target: Target, manifest: Manifest) -> None:
    """Raise an error unless the threshold that training chose is one that the plan asks for."""
    chosen = manifest.get("threshold")
    if plan.threshold is not None:
        require_two_classes(target, plan.loss)
    is_missing = isinstance(plan.threshold, str) and chosen is None and manifest["status"] != "under way"
    is_another = chosen is not None and not isinstance(plan.threshold, str) and chosen != plan.threshold
    if is_missing or is_another:
        raise RunError(f"the threshold is {plan.threshold!r}, but {files.MANIFEST} says {chosen}")


def _preparation(
    folder: Path, manifest: Manifest, plan: Plan, target: Target, settings: Settings | None
) -> Preparation | None:
    """The fitted preparation; raises RunError unless it suits the network and the settings."""
    names = [name for name in manifest["files"] if name.startswith("preparation.")]
    if not names:
        return None
    path = folder / "preparation.json"
    about: PreparationRecipe = _typed(files.read_json(folder, manifest, path.name), PreparationRecipe, path)
    is_table = about["kind"] in ("table", "series")
    # Earlier versions recorded a pipeline in place of encoders.
    fitted = "preparation." + ("skops" if is_table and "encoders" not in about else "safetensors")
    expected = {path.name} if about["kind"] == "text" else {path.name, fitted}
    only_of_tables = bool(about["columns"]), bool(about.get("encoders", is_table))
    if {*names} != expected or only_of_tables != (is_table, is_table):
        held = " and ".join(sorted(expected))
        raise _altered(path, f"a preparation of {about['kind']} has {held}, and columns only for a table")
    if _target(about["target"], path) != target or tuple(about["shape"]) != plan.network.input_shape:
        raise _altered(path, "its target or shape differs from the recipe's")
    features = about.get("features", [])
    used = {column for column, _ in [*about["columns"], *about.get("left_out", ())]}
    whole = not features or (used == {*features} if is_table else [len(features)] == about["shape"])
    if len({*features}) != len(features) or not whole:
        raise _altered(path, "its features are not the columns of a sample")
    contents = {name: files.read_file(folder, manifest, name) for name in names}
    preparation = _built(path, lambda: Preparation.from_contents(contents))
    if settings is None:
        return preparation
    weight, size = settings.get("weight"), settings["image_size"]
    for own, chosen in ((about.get("weight", weight), weight), (about.get("image_size", size), size)):
        if own != chosen:
            raise _altered(path, f"{brief(own)} is not the {brief(chosen)} of the recipe")
    # Older versions kept these in the recipe alone.
    return replace(preparation, weight=weight, image_size=None if size is None else tuple(size))


def _progress(folder: Path, manifest: Manifest, plan: Plan, data: DataRecipe) -> Progress:
    """Where training ended; raises RunError unless state, history, recipe and manifest agree."""
    path, of_history = (files.path_of(folder, manifest, prefix) for prefix in ("state-", "history-"))
    history = files.read_json(folder, manifest, of_history.name, finite=False)
    problem = _misfit_of_history(history, plan, data["rows"]["validation"])
    if problem is not None:
        raise _altered(of_history, problem)
    content = files.read_file(folder, manifest, path.name)
    progress = _built(path, lambda: state.from_bytes(content, history, plan, str(path)))
    actual = f"step {progress.position.step} and epoch {progress.epoch}"
    expected = f"step {manifest['steps']} and epoch {manifest['epochs']}"
    if actual != expected or progress.epoch > plan.epochs:
        raise RunError(f"{path}: it is of {actual}, but {files.MANIFEST} says {expected}; one was altered")
    samples = _samples(folder, manifest, progress.epoch)
    rows = data["rows"]["training"]
    length = plan.steps_per_epoch(rows)
    taken = progress.position.step - progress.epoch * length
    if not 0 <= taken <= length or progress.seen != min(taken * plan.batch_size, rows):
        raise _altered(path, f"{actual} do not fit {rows} rows in mini-batches of {plan.batch_size}")
    if (progress.seen == 0 and progress.loss_sum != 0) or not _is_best(progress, plan, data["rows"]["validation"]):
        raise _altered(path, "its sum of losses, or its best epoch, does not fit its history")
    return replace(progress, samples=samples)


def _samples(folder: Path, manifest: Manifest, epoch: int) -> tuple[WrittenSample, ...]:
    """What a language model wrote after some epochs; raises RunError for epochs that it has not."""
    if not any(name.startswith("samples-") for name in manifest["files"]):
        return ()
    path = files.path_of(folder, manifest, "samples-")
    read: list[SampleRecipe] = _typed(files.read_json(folder, manifest, path.name), list[SampleRecipe], path)
    samples = tuple(WrittenSample(**one) for one in read)
    epochs = [sample.epoch for sample in samples]
    if epochs != sorted({*epochs}) or max(epochs, default=0) > epoch:
        raise _altered(path, f"its epochs {epochs} do not ascend to at most {epoch}")
    return samples


def _is_best(progress: Progress, plan: Plan, rows: int) -> bool:
    """Whether the best weights so far are those that the history speaks of, if it has values of so
    many validation rows.
    """
    best, watched = progress.best, f"validation_{plan.monitor}"
    values = [record[watched] for record in progress.history] if rows else []
    epoch, waited = followed(values, plan.monitors_greater, plan.min_delta)
    if waited != progress.waited or best is None:
        return waited == progress.waited and epoch == 0
    return epoch == best.epoch and best.value == values[epoch - 1]


IN_UNIT = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "jaccard", "hamming_loss")
"""Metrics that are defined for every prediction, from 0 to 1; others may be NaN."""
AT_LEAST = {
    "roc_auc": 0, "average_precision": 0, "log_loss": 0, "bits_per_character": 0, "calibration_error": 0, "mae": 0,
    "rmse": 0, "rank_mae": 0, "quadratic_kappa": -1,
}  # fmt: skip
AT_MOST = {"roc_auc": 1, "average_precision": 1, "calibration_error": 1, "r2": 1, "quadratic_kappa": 1}
"""Ranges of others; of scikit-learn's scorers and of functions nothing is known."""


def _misfit_of_history(history: Any, plan: Plan, rows: int) -> str | None:
    """What is wrong with a history of a run with so many validation rows; None if nothing is."""
    if not isinstance(history, list):
        return "it is no list of epochs"
    watched = ["validation_loss", *(f"validation_{measures.name_of(m)}" for m in plan.metrics)] if rows else []
    for k, record in enumerate(history):
        where = f"the record of epoch {k + 1}"
        if not isinstance(record, dict) or record.keys() != {"epoch", "loss", *watched}:
            return f"{where} must have epoch, loss{', '.join(['', *watched])}"
        if misfit(record["epoch"], Annotated[int, Range(k + 1, k + 1)]) or misfit(record["loss"], float):
            return f"{where} has the epoch {brief(record['epoch'])} and the loss {brief(record['loss'])}"
        for name in watched:
            value = record[name]
            if (
                not isinstance(value, int | float)
                or isinstance(value, bool)
                or not _is_possible(name[11:], value, record, rows)
            ):
                return f"{where} has the {name} {brief(value)}"
    return None


def _is_possible(metric: str, value: float, record: dict[str, Any], rows: int) -> bool:
    """Whether this can be the value of a metric; an infinite loss can, a loss of NaN can't."""
    if metric in IN_UNIT:
        return 0 <= value <= 1
    if metric == "loss":
        return not math.isnan(value) and value != -math.inf
    if not math.isfinite(value) and metric in NAMES["regression"]:  # as some predictions are not
        undefined = metric == "r2" and rows < 2 and math.isnan(value)
        return undefined or not math.isfinite(record["validation_loss"])
    if math.isnan(value):
        return True
    # A sum of rounded shares may exceed its bound a little.
    return AT_LEAST.get(metric, -math.inf) - 1e-9 <= value <= AT_MOST.get(metric, sys.float_info.max) + 1e-9
