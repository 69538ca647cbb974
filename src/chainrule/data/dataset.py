"""Data sets ready for training: read, split and prepared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from chainrule import generators
from chainrule.arrays import Array, Samples, Shape
from chainrule.data import files, patterns, plane
from chainrule.data.barrier import guarded
from chainrule.data.builtin import BUILTIN
from chainrule.data.columns import ColumnUse, check_prepared
from chainrule.data.dataframes import as_polars, from_pair, is_frame, samples_of
from chainrule.data.preparation import Preparation, fit_preparation
from chainrule.data.prepared import prepared
from chainrule.data.source import OF_CLASSES, TASKS, Sample, Source, check_types, from_table
from chainrule.data.splits import CHANCE, Split, divide
from chainrule.data.targets import Target, class_numbers, fit_target, infer_task, is_one_hot
from chainrule.errors import DataError, SettingError, require, setting, unknown
from chainrule.summary import Shown, Summary, Table


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """Prepared samples, split into a training, a validation and a test set.

    Attributes:
        training: the training set
        validation: the validation set, used for early stopping; None if there is none
        test: the test set, used for the final evaluation; None if there is none
        target: how to interpret y
        preparation: the fitted preprocessing; None for arrays used unchanged
        name: name of the source
        fingerprint: hash of the source
        settings: the arguments of `load`, if they suffice to load the same data again
        source: the raw data; None for arrays used unchanged
        rows: row numbers of the training set in the source, from 0; None for arrays used unchanged
        validation_rows: the same for the validation set; None if it has a source of its own
        test_rows: the same for the test set
        validation_fingerprint: hash of the validation set's own source; empty if it has none
        test_fingerprint: the same for the test set
        split: how the rows were divided
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
    validation_fingerprint: str = ""
    test_fingerprint: str = ""
    split: Split = CHANCE

    def summary(self) -> Summary:
        """How it was read and split, and what becomes of each column."""
        sizes = self.sizes
        shape = " x ".join(map(str, self.input_shape))
        facts = {
            "target": self.target.described,
            "samples": ", ".join(f"{count:,} {part}" for part, count in sizes.items() if count),
        }
        table = None
        if self.columns:
            rows = [[use.name, use.type, use.use] for use in self.columns]
            table = Table(f"{len(rows)} columns", ("column", "read as", "becomes"), rows)
        return Summary(self.name, f"{sum(sizes.values()):,} samples of {shape} inputs", facts, table, notes=self.notes)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each part: training, validation, test."""
        parts = {"training": self.training, "validation": self.validation, "test": self.test}
        return {name: 0 if part is None else len(part.x) for name, part in parts.items()}

    def sample(self, number: int) -> Sample | None:
        """A sample of the training set as it was read; None if the source is unknown."""
        if self.source is None or self.rows is None:
            return None
        return self.source.sample(int(self.rows[number]))

    def as_read(self, x: Array) -> Array:
        """A prepared picture in the units and the type of those that were read."""
        assert self.source is not None
        if self.preparation is None:
            return x
        dtype = self.source.features.dtype
        raw = np.asarray(x) * self.preparation.deviation + self.preparation.mean
        return np.rint(raw).clip(0, 255).astype(dtype) if dtype == np.uint8 else raw

    @property
    def input_names(self) -> list[str]:
        """Names of the network's inputs, such as "rooms" or "city_Bern", if they have names."""
        if self.source is None or self.preparation is None or len(self.input_shape) > 1:
            return []
        return self.preparation.names if self.source.is_table else list(self.source.columns)

    @property
    def columns(self) -> list[ColumnUse]:
        """How each column of a table was read and what becomes of it; empty for arrays."""
        return [] if self.preparation is None else self.preparation.uses

    @property
    def notes(self) -> list[str]:
        """What one should know about how the data was read, in one line each."""
        lines = [] if self.preparation is None else self.preparation.notes
        separate = "; data of its own, for validation or test, is not compared with the rest"
        is_separate = bool(self.validation_fingerprint or self.test_fingerprint)
        lines = lines + [self.split.note + separate * is_separate] * (self.split != CHANCE)
        if self.guessed_classes:
            what = f"the {self.target.width} whole numbers in {self.target.name} are predicted as classes"
            if self.task == "multilabel":
                what = f"the {self.target.width} columns of 0 and 1 in {self.target.name} are predicted as labels"
            lines.append(f"{what}; to predict a quantity, choose regression ({setting('task', 'regression')})")
        return lines

    @property
    def guessed_classes(self) -> bool:
        """Whether a few whole numbers were taken for classes, or columns of 0 and 1 for labels,
        which could be quantities, too.
        """
        if self.source is None or self.source.task is not None or self.task == "regression":
            return False
        if self.task == "multilabel":
            return True
        return self.target.width > 2 and not any(isinstance(label, str | bool) for label in self.target.classes)

    @property
    def task(self) -> str:
        """The task: "classification", "ordinal", "regression" or "multilabel"."""
        return self.target.task

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return self.training.x.shape[1:]

    def prepared_by(self, preparation: Preparation) -> Dataset:
        """The same data prepared by another fitted preparation.

        Raises DataError if its raw samples are not known.
        """
        if preparation is self.preparation:
            return self

        def again(samples: Samples | None, rows: Array | None) -> Samples | None:
            if samples is None:
                return None
            if self.source is None or rows is None:
                raise DataError(f"{self.name}: its raw samples, which the run's own preparation needs, are not known")
            return prepare(preparation, self.source.take(rows))

        training = again(self.training, self.rows)
        assert training is not None
        validation, test = again(self.validation, self.validation_rows), again(self.test, self.test_rows)
        return replace(self, training=training, validation=validation, test=test, preparation=preparation)


@runtime_checkable
class Frame(Protocol):
    """A data frame of polars or pandas."""

    @property
    def columns(self) -> Any:
        """The names of its columns."""


Data = str | Path | Source | Frame | tuple[ArrayLike, ArrayLike] | list[Any]
"""What `load` takes: a name, a file or folder, a data frame, or a pair of arrays (x, y)."""


def from_arrays(
    x: Array,
    y: Array,
    *,
    task: str | None = None,
    validation: tuple[Array, Array] | None = None,
    weight: Array | None = None,
) -> Dataset:
    """A data set from arrays that need no preparation.

    Args:
        x: samples of shape (samples, ...)
        y: class indices of shape (samples,); numbers of shape (samples,) or (samples, outputs); or
            labels, 0 or 1, of shape (samples, labels)
        task: "classification", "ordinal", "regression" or "multilabel"; by default inferred from y,
            where several columns are numbers
        validation: x and y of the validation set
        weight: (samples,) sample weights
    """
    source = replace(files.source_from_arrays(x, y, task=task), weight=_checked_weight(weight))
    assert source.target is not None
    width = 1 if source.target.ndim == 1 else source.target.shape[1]
    if task is None and width > 1:
        task = "regression"
    if (found := task or infer_task(source, source.target)) in OF_CLASSES:
        target = Target(found, classes=tuple(range(max(int(source.target.max()) + 1, 2))))
    elif task == "multilabel":
        target = fit_target(source, np.arange(len(source)), scale=False)
    else:
        target = Target("regression", mean=(0.0,) * width, deviation=(1.0,) * width)
    training = Samples(source.features, source.target, source.weight)
    held_out = Samples(*map(np.asarray, validation)) if validation else None
    return Dataset(training, held_out, None, target, fingerprint=source.fingerprint)


def find(
    what: Any,
    *,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
    read: Mapping[str, str] | None = None,
) -> Source:
    """Raw samples with their targets.

    Args:
        what: name of a built-in data set, a file or folder, arrays (x, y), or a pandas or polars
            DataFrame
        target: the column to predict, or several; by default the last
        drop: columns to leave out
        task: "classification", "ordinal" (classes in order), "regression" or "multilabel" (several
            columns of 0 and 1); by default inferred from the target
        image_size: (height, width) to which images are resized
        read: what to read columns as instead of what is recognized, such as {"zip": "category"}:
            number, category, date, time or boolean

    Raises:
        DataError: with file, row and column, for data that can't be used
    """
    if task is not None and task not in TASKS:
        raise unknown("task", task, TASKS)
    if isinstance(what, Source):
        return what
    target, drop, read = _named(target, drop, read)
    with guarded(f"{what if isinstance(what, str | Path) else 'the data'}: it can't be read"):
        if isinstance(what, str | Path):
            return _builtin(what) or files.read(Path(what), target, drop, task, image_size, read)
        if isinstance(what, tuple | list) and len(what) == 2:
            return from_pair(what[0], what[1], task, drop, read)
        if is_frame(what):
            return from_table("table", as_polars(what), target, drop, task, read=read)
    allowed = "a file, the name of a built-in data set, a tuple of arrays (x, y), or a DataFrame"
    raise DataError(f"can't use {type(what).__name__} as data; pass {allowed}")


def find_samples(what: Any, image_size: Shape | None = None, texts: Collection[str] = ()) -> Source:
    """Raw samples without targets, for prediction: as in `find`, but x alone instead of (x, y).

    The columns `texts` of a CSV file are left as text, even if all values are numbers.
    """
    if isinstance(what, Source):
        return what
    with guarded(f"{what if isinstance(what, str | Path) else 'the data'}: it can't be read"):
        if isinstance(what, str | Path):
            builtin = _builtin(what)
            return replace(builtin, target=None) if builtin else files.read_samples(Path(what), image_size, texts)
        if isinstance(what, Dataset):
            raise DataError("pass one of the data set's parts, such as data.test")
        return samples_of(what)


def _builtin(what: str | Path) -> Source | None:
    """The built-in data set of this name, None for a path; raises DataError if it is neither."""
    if str(what) in BUILTIN:
        return BUILTIN[str(what)].load()
    path = Path(what)
    try:
        exists = path.exists()
    except PermissionError as error:
        raise DataError(f"{what}: can't be read ({error.strerror}); check its permissions") from None
    except (OSError, ValueError) as error:  # such as a name that is too long
        raise DataError(
            f"{str(what)[:80]}: it can't be the name of a file ({getattr(error, 'strerror', error)})"
        ) from None
    is_name = not path.suffix and path.name == str(what) and not patterns.is_pattern(what)
    if not exists and is_name:
        raise DataError(f"{unknown('data set', str(what), BUILTIN)} (there is no such file either)")
    return None


def load(
    what: Data,
    *,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
    validation: float | Data = 0.1,
    test: float | Data = 0.2,
    split: str | None = None,
    shuffle: bool = True,
    seed: int = 0,
    scale_target: bool = True,
    likely_task: str | None = None,
    weight: Array | None = None,
    read: Mapping[str, str] | None = None,
    order: Sequence[Any] | None = None,
    preparation: Preparation | None = None,
) -> Dataset:
    """Read, split and prepare a data set. Everything is fitted on the training set only.

    Args:
        what: name of a built-in data set, a file or folder, arrays (x, y), or a pandas or polars
            DataFrame
        target: the column to predict, or several; by default the last
        drop: columns to leave out
        task: "classification", "ordinal" (classes in order), "regression" or "multilabel" (several
            columns of 0 and 1); by default inferred from the target
        image_size: (height, width) to which images are resized
        validation: share of the rows for the validation set, or separate data in a form of `what`
        test: the same for the test set
        split: "time:COLUMN" for the latest rows as test set and those before as validation set, or
            "group:COLUMN" for no group in two sets; by default by chance, stratified by class
        shuffle: False for the last rows as test set and those before as validation set
        seed: seed of the split
        scale_target: whether to standardize a numeric target
        likely_task: the task to assume if the target is ambiguous
        weight: (samples,) sample weights
        read: what to read columns as instead of what is recognized, such as {"zip": "category"}:
            number, category, date, time or boolean
        order: the classes from the lowest to the highest, such as ["low", "medium", "high"], for
            an ordinal target; numbers are in order by themselves
        preparation: a fitted preparation to use instead of fitting one

    Raises:
        DataError: with file, row and column, for data that can't be used

    Examples:
        >>> data = load("iris")
        >>> data.training.x.shape, data.target.classes
        ((105, 4), ('setosa', 'versicolor', 'virginica'))
    """
    target, drop, read = _named(target, drop, read)
    reading: dict[str, Any] = {"target": target, "drop": drop, "task": task, "image_size": image_size}
    if read:
        reading["read"] = read
    if order is not None:
        order = _checked_order(order)
        require(task in (None, "ordinal"), f"the classes have an order, but the task is {task}; leave one out")
        task = reading["task"] = "ordinal"
    seed, by = generators.seed(seed), Split.named(split, shuffle)
    with guarded(f"{what if isinstance(what, str | Path) else 'the data'}: it can't be prepared"):
        kept = {**reading, "drop": [column for column in drop if column != by.column]}
        source = replace(find(what, **kept), weight=_checked_weight(weight))
        source = replace(source, task=task or source.task or _likely(likely_task, source.target))
        if source.target is None:
            raise DataError(f"{source.name}: there are no targets; pass an array 'y', or name the column to predict")
        _check_choices(source, target, drop, read, image_size)
        source = _of_one_column(source)
        if source.is_table:
            check_types(source.name, source.features, read or {})
            check_prepared(source.name, source.features)
        shares: list[Any] = [part if _is_share(part) else 0.0 for part in (validation, test)]
        rows = divide(source, shares[0], shares[1], seed, by)
        source = by.without(source, drop)
        if preparation is None:
            preparation = fit_preparation(source, rows[0], fit_target(source, rows[0], scale_target, order))
        # A table is faster to encode than to divide; pictures would take twice the memory.
        whole = prepare(preparation, source) if source.is_table else None
        training, held_out, tested = (
            (prepare(preparation, source.take(r)) if whole is None else whole.take(r)) if len(r) else None for r in rows
        )
        assert training is not None
        for part, name in ((training, "training"), (held_out, "validation"), (tested, "test")):
            if part is not None and part.weight is not None and not part.weight.any():
                raise DataError(f"{source.name}: all samples of the {name} set have the weight 0; split it differently")
        column = (list(source.target_columns) or source.target_name) if source.is_table else None
        as_trained = {**reading, "target": column, "read": {**(read or {}), **preparation.texts}}
        held_out, of_validation = _of_its_own(validation, preparation, as_trained) or (held_out, "")
        tested, of_test = _of_its_own(test, preparation, as_trained) or (tested, "")
        settings = None
        are_named = all(_is_share(part) or isinstance(part, str | Path) for part in (validation, test))
        if isinstance(what, str | Path) and are_named and weight is None:
            names: tuple[Any, ...] = (what, validation, test)
            found, to_validate, to_test = map(_absolute, names)
            splitting = {"validation": to_validate, "test": to_test, "seed": seed}
            splitting |= ({"split": split} if split else {}) | ({} if shuffle else {"shuffle": False})
            settings = {"what": found, **reading, "likely_task": likely_task, **splitting, "scale_target": scale_target}
            if order is not None:
                settings["order"] = list(order)
        used, held_out_rows, tested_rows = (r if len(r) else None for r in rows)
        return Dataset(
            training, held_out, tested, preparation.target, preparation, source.name, source.fingerprint, settings,
            source, used, held_out_rows, tested_rows, of_validation, of_test, by,
        )  # fmt: skip


def _is_share(part: Any) -> bool:
    """Whether a part of the data is given as a share of the rows; `split` refuses None."""
    return part is None or isinstance(part, int | float)


def _of_its_own(part: Any, preparation: Preparation, reading: Mapping[str, Any]) -> tuple[Samples, str] | None:
    """A part that is data of its own, prepared, and its fingerprint; None for a share of rows."""
    if _is_share(part):
        return None
    source = find(part, **reading)
    return prepare(preparation, source), source.fingerprint


def _named(target: Any, drop: Any, read: Any) -> tuple[str | list[str] | None, list[str], dict[str, str]]:
    """These choices of columns with their names as text, as in `as_polars`."""
    if isinstance(target, list | tuple):
        require(len(target) > 0, "the target is an empty list; name a column, or several")
        target = [str(name) for name in target] if len(target) > 1 else str(target[0])
    drop = [drop] if isinstance(drop, str) or not isinstance(drop, Iterable) else list(drop)
    allowed = "pass a mapping from column to kind, such as {'zip': 'category'}"
    require(read is None or isinstance(read, Mapping), f"read is {brief(read)}; {allowed}")
    kinds = {str(name): kind for name, kind in (read or {}).items()}
    target = target if target is None or isinstance(target, list) else str(target)
    return target, [str(name) for name in drop], kinds


def _of_one_column(source: Source) -> Source:
    """The source with the classes that a one-hot target marks.

    Raises DataError for several columns that are not one-hot where classes are to be predicted.
    """
    y = source.target
    if y is None or y.ndim < 2 or source.task in ("regression", "multilabel"):
        return source
    if source.task is None and not is_one_hot(y):
        return source
    classes = class_numbers(y, source.name)
    classes = np.array(source.target_columns)[classes] if source.target_columns else classes
    return replace(source, target=classes, task=source.task or "classification")


def _absolute(what: Any) -> Any:
    """The name of a built-in data set, or a path that is valid in every working directory; a share
    of the rows as it is.
    """
    if _is_share(what):
        return what
    return str(what) if str(what) in BUILTIN else str(Path(what).absolute())


def _check_choices(
    source: Source,
    target: str | Sequence[str] | None,
    drop: Sequence[str],
    read: Mapping[str, str] | None,
    size: Shape | None,
) -> None:
    """Raise SettingError for a choice of columns, or of a size, where there is none to make."""
    if not source.is_table:
        chosen = bool(drop or read) or target not in (None, source.target_name)
        columns = f"{setting('target')}, {setting('drop')} and {setting('read')}"
        problem = f"it is not a table with columns to choose from; leave {columns} out"
        require(not chosen, f"{source.name}: {problem}")
    known = (None, source.target_name, list(source.target_columns))
    require(target in known, f"{source.name}: its targets are passed apart from it; leave {setting('target')} out")
    is_picture = not source.is_table and source.features.ndim > 2
    require(
        size is None or is_picture, f"{source.name}: it has no pictures to resize; leave {setting('image_size')} out"
    )


def _likely(task: str | None, target: Array | None) -> str | None:
    """The task that the loss suggests, unless the target rules it out."""
    numeric = target is not None and target.dtype.kind in "iuf"
    are_labels = target is not None and target.ndim > 1 and not is_one_hot(target)
    ruled_out = not numeric if task == "regression" else are_labels
    return None if ruled_out else task


def _checked_order(order: Any) -> tuple[Any, ...]:
    """The classes of an ordinal target, in order; raises SettingError for what can't be that."""
    rule = "list each class once, from the lowest to the highest, such as ['low', 'medium', 'high']"
    listed = isinstance(order, Iterable) and not isinstance(order, str | bytes | Mapping | set)
    labels = [label.item() if isinstance(label, np.generic) else label for label in order] if listed else []
    plain = all(isinstance(label, str | int | float | bool) for label in labels)
    fits = plain and len(labels) > 1 and len({str(label) for label in labels}) == len(labels)
    require(fits, f"the order of the classes is {brief(order)}; {rule}")
    return tuple(labels)


def _checked_weight(weight: Any) -> Array | None:
    if weight is None:
        return None
    rule = "pass one finite number, 0 or greater, for each sample"
    if isinstance(weight, str):
        raise DataError(f"the sample weights are {weight!r}; {rule}, such as frame[{weight!r}], and drop that column")
    try:
        weight = np.asarray(weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"the sample weights are {brief(weight)}; {rule}") from None
    if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError(f"the sample weights are not all usable; {rule}")
    if not weight.any():
        raise DataError("the sample weights are all 0, so that no sample counts; leave them out")
    return weight


def prepare(preparation: Preparation, source: Source) -> Samples:
    """A source's samples and targets, prepared; raises DataError if it has no targets."""
    if source.target is None:
        raise DataError(f"{source.name}: no targets to compare the predictions with")
    y = prepared(preparation.target.encode(source.target, source.name))
    return Samples(preparation.apply(source), y, source.weight)


def plane_set(name: str, **settings: Any) -> Source:
    """A toy data set in the plane with its own number of samples, noise or seed.

    Args:
        name: the data set, such as "moons"
        settings: `samples`, `noise` and `seed`, as for `chainrule.data.plane.plane`

    Examples:
        >>> load(plane_set("moons", samples=500, noise=0.2)).training.x.shape
        (350, 2)
    """
    if name not in plane.NAMED:
        raise unknown("plane set", name, plane.NAMED)
    try:
        return plane.plane(name, **settings)
    except TypeError:
        raise SettingError(f"{name}: the settings are samples, noise and seed, not {', '.join(settings)}") from None
