"""A data set ready for training: read, split, prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples, Shape
from chainrule.data import files, plane
from chainrule.data.builtin import BUILTIN
from chainrule.data.preparation import Preparation, Target, fit_preparation, fit_target, infer_task
from chainrule.data.prepared import prepared
from chainrule.data.source import TASKS, Sample, Source, check_constant, check_types, from_table
from chainrule.errors import DataError, SettingError, require, unknown
from chainrule.generators import generator


@dataclass(frozen=True)
class Dataset:
    """Prepared samples: the part that is trained on, and those that are held out.

    Attributes:
        training: what gradient descent sees
        validation: what decides when to stop; may be None
        test: what is looked at once, in the end; may be None
        target: what the numbers in y mean
        preparation: how x and y came about; None for arrays that were taken as they are
        name, fingerprint: where it is from, and a hash of it
        settings: what `load` was told, if that is enough to load the same again
        source, rows: what was read, and which of its rows the training part is; None for arrays
            taken as they are
        validation_rows, test_rows: the same for the parts that are held out; None for a part that
            there is not, and for validation data of its own
    """

    training: Samples
    validation: Samples | None
    test: Samples | None
    target: Target
    preparation: Preparation | None = None
    name: str = "arrays"
    fingerprint: str = ""
    settings: dict[str, Any] | None = None
    source: Source | None = field(default=None, repr=False)
    rows: Array | None = field(default=None, repr=False)
    validation_rows: Array | None = field(default=None, repr=False)
    test_rows: Array | None = field(default=None, repr=False)

    def sample(self, number: int) -> Sample | None:
        """A sample of the training part as it was read; None where that isn't known."""
        if self.source is None or self.rows is None:
            return None
        return self.source.sample(int(self.rows[number]))

    @property
    def input_names(self) -> list[str]:
        """What the numbers of a sample are called, such as "rooms" or "city_Bern"; nothing where they have no names."""
        if self.source is None or self.preparation is None or len(self.input_shape) > 1:
            return []
        return self.preparation.names if self.source.is_table else list(self.source.columns)

    @property
    def task(self) -> str:
        """classification or regression."""
        return self.target.task

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return self.training.x.shape[1:]


def from_arrays(
    x: Array,
    y: Array,
    *,
    task: str | None = None,
    validation: tuple[Array, Array] | None = None,
    weight: Array | None = None,
) -> Dataset:
    """A data set of arrays that need no preparation: x of shape (samples, ...), y class numbers or quantities."""
    source = files.source_from_arrays(x, y, task=task)
    assert source.target is not None
    if infer_task(source, source.target) == "classification":
        target = Target("classification", classes=tuple(range(max(int(source.target.max()) + 1, 2))))
    else:
        width = 1 if source.target.ndim == 1 else source.target.shape[1]
        target = Target("regression", mean=(0.0,) * width, deviation=(1.0,) * width)
    held = Samples(*(np.asarray(array) for array in validation)) if validation else None
    return Dataset(
        Samples(source.features, source.target, _checked_weight(weight)),
        held,
        None,
        target,
        fingerprint=source.fingerprint,
    )


def find(
    what: Any,
    *,
    target: str | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
) -> Source:
    """The data that is meant: a built-in's name, a file or folder, arrays (x, y), or a pandas or polars frame."""
    if task is not None and task not in TASKS:
        raise unknown("task", task, TASKS)
    if isinstance(what, Source):
        return what
    if isinstance(what, str | Path):
        builtin = _builtin(what)
        return builtin if builtin else files.read(Path(what), target, drop, task, image_size)
    if isinstance(what, tuple | list) and len(what) == 2:
        return files.source_from_arrays(what[0], what[1], task=task)
    if hasattr(what, "columns"):
        return from_table("table", as_polars(what), target, drop, task)
    raise DataError(
        f"can't use {type(what).__name__} as data; give a file, a built-in's name, a tuple of arrays (x, y), or a frame"
    )


def find_samples(what: Any, image_size: Shape | None = None) -> Source:
    """The same without a target: samples to predict something of."""
    if isinstance(what, Source):
        return what
    if isinstance(what, str | Path):
        builtin = _builtin(what)
        return replace(builtin, target=None) if builtin else files.read_samples(Path(what), image_size)
    if hasattr(what, "columns"):
        return Source("table", as_polars(what), None)
    return files.source_from_arrays(what, None)


def _builtin(what: str | Path) -> Source | None:
    """The built-in of this name; None if it must be a file; DataError if it is neither."""
    if str(what) in BUILTIN:
        return BUILTIN[str(what)].load()
    path = Path(what)
    if not path.exists() and not path.suffix and path.name == str(what):
        raise DataError(f"there is no such file, and {unknown('data set', str(what), BUILTIN)}")
    return None


def as_polars(frame: Any) -> Any:
    """A polars frame from a pandas or polars one; pandas writes a missing value as NaN, so NaN becomes missing."""
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    columns = []
    for name in frame.columns:
        values, missing = frame[name], frame[name].isna().to_numpy()
        if values.dtype.kind == "M":
            column = pl.Series(str(name), values.to_numpy().astype("datetime64[us]"))
        elif values.dtype.kind in "iufb" and not missing.any():
            column = pl.Series(str(name), values.to_numpy())
        else:
            cells = zip(values.tolist(), missing, strict=True)
            column = pl.Series(str(name), [None if gone else value for value, gone in cells], strict=False)
        columns.append(column)
    return pl.DataFrame(columns)


def load(
    what: Any,
    *,
    target: str | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
    validation: float | Any = 0.1,
    test: float = 0.2,
    seed: int = 0,
    scale_target: bool = True,
    likely_task: str | None = None,
    weight: Array | None = None,
) -> Dataset:
    """Read, split and prepare: a built-in's name, a file or folder, arrays (x, y), or a pandas or polars frame.

    `validation` and `test` are shares of the rows, drawn by `seed` and, for classes, from each class alike;
    `validation` may also be data of its own, in any of these forms. `weight` says how much each sample counts,
    `likely_task` what the target is where it leaves that open. Everything that is fitted sees the training rows only.
    Raises DataError, with file, row and column, for what can't be used.

    Examples:
        >>> data = load("iris")
        >>> data.training.x.shape, data.target.classes
        ((105, 4), ('setosa', 'versicolor', 'virginica'))
    """
    reading: dict[str, Any] = {"target": target, "drop": list(drop), "task": task, "image_size": image_size}
    source = replace(find(what, **reading), weight=_checked_weight(weight))
    source = replace(source, task=task or source.task or _likely(likely_task, source.target))
    if source.target is None:
        raise DataError(
            f"{source.name}: there is nothing to predict in it; give the targets (an array 'y', or a column)"
        )
    if source.is_table:
        check_types(source.name, source.features)
        check_constant(source.name, source.features)
    share = validation if isinstance(validation, int | float) else 0.0
    rows = split(source, share, test, seed)
    fitted_target = fit_target(source, rows[0], scale_target)
    preparation = fit_preparation(source, rows[0], fitted_target)
    training, held, tested = (prepare(preparation, source.take(r)) if len(r) else None for r in rows)
    assert training is not None
    if not isinstance(validation, int | float):
        column = source.target_name if source.is_table else None
        held = prepare(preparation, find(validation, **{**reading, "target": column}))
    settings = None
    if isinstance(what, str | Path) and isinstance(validation, int | float | str | Path) and weight is None:
        what, validation = (str(w) if isinstance(w, Path) else w for w in (what, validation))
        settings = {
            "what": what,
            **reading,
            "likely_task": likely_task,
            "validation": validation,
            "test": test,
            "seed": seed,
            "scale_target": scale_target,
        }
    held_rows = rows[1] if share else None
    return Dataset(
        training, held, tested, fitted_target, preparation, source.name, source.fingerprint, settings, source, rows[0],
        held_rows, rows[2] if len(rows[2]) else None,
    )  # fmt: skip


def _likely(task: str | None, target: Array | None) -> str | None:
    """The task that the loss suggests, unless the target can't be that."""
    names = target is None or target.dtype.kind not in "iuf"
    return None if task == "regression" and names else task


def _checked_weight(weight: Array | None) -> Array | None:
    if weight is None:
        return None
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError("the samples' weights must be one finite number of 0 or more for each sample")
    return weight


def prepare(preparation: Preparation, source: Source) -> Samples:
    """A source's samples and targets as a network takes them."""
    if source.target is None:
        raise DataError(f"{source.name}: it has no targets to compare predictions with")
    y = prepared(preparation.target.encode(source.target, source.name))
    return Samples(preparation.apply(source), y, source.weight)


def split(source: Source, validation: float, test: float, seed: int) -> tuple[Array, Array, Array]:
    """The rows to train on, to validate on and to test on; for classes from each class alike, as far as its size
    allows.
    """
    for name, share in (("validation", validation), ("test", test)):
        require(0 <= share < 1, f"the {name} share is {share}; it is a share of the rows from 0 up to, but not, 1")
    samples = len(source)
    counts = [round(share * samples) if share else 0 for share in (validation, test)]
    counts = [max(count, 1) if share else 0 for count, share in zip(counts, (validation, test), strict=True)]
    if samples - sum(counts) < 2:
        raise DataError(
            f"{source.name}: {samples} rows leave fewer than 2 to train on; add rows, or hold out fewer (--validation,"
            " --test)"
        )
    random = generator(seed, "split")
    order = random.permutation(samples)
    if source.target is not None and infer_task(source, source.target) == "classification" and source.target.ndim == 1:
        order = _interleaved(source.target[order], order, random)
    held, tested = order[: counts[0]], order[counts[0] : sum(counts)]
    return np.sort(order[sum(counts) :]), np.sort(held), np.sort(tested)


def _interleaved(classes: Array, order: Array, random: np.random.Generator) -> Array:
    """The rows in an order of which every stretch holds the classes in their shares."""
    _, numbers, counts = np.unique(classes, return_inverse=True, return_counts=True)
    position = np.empty(len(order))
    for number, count in enumerate(counts):
        # Each class is spread evenly from 0 to 1, beginning at a place of its own.
        position[numbers == number] = (np.arange(count) + random.uniform()) / count
    return order[np.argsort(position, kind="stable")]


def plane_set(name: str, **settings: Any) -> Source:
    """One of the plane's sets with its own number of samples, noise or seed: `load(plane_set("moons", noise=0.2))`."""
    if name not in plane.NAMED:
        raise unknown("plane set", name, plane.NAMED)
    try:
        return plane.plane(name, **settings)
    except TypeError:
        raise SettingError(f"{name}: its settings are samples, noise and seed, not {', '.join(settings)}") from None
