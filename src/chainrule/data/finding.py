"""Raw samples in any form: built-in sets, files, folders, frames and arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import ArrayLike

from chainrule.arrays import Samples, Scaled, Shape
from chainrule.data import files, patterns, plane
from chainrule.data.barrier import guarded
from chainrule.data.builtin import BUILTIN
from chainrule.data.dataframes import from_frame, from_pair, is_frame, samples_of
from chainrule.data.dataset import Dataset
from chainrule.data.source import TASKS, Source
from chainrule.data.text import Text
from chainrule.data.weights import weighted_by
from chainrule.errors import DataError, SettingError, require, unknown


@runtime_checkable
class Frame(Protocol):
    """A data frame of polars or pandas."""

    @property
    def columns(self) -> Any:
        """The names of its columns."""


@runtime_checkable
class Sparse(Protocol):
    """A sparse matrix or array of SciPy."""

    @property
    def nnz(self) -> int:
        """The number of values that are kept."""

    def toarray(self) -> Any:
        """The same as an array of NumPy."""


Inputs: TypeAlias = ArrayLike | Frame | Sparse
"""Samples, or targets, as arrays, frames or sparse matrices."""

Unlabelled: TypeAlias = str | Path | Source | Samples | Scaled | Inputs | None
"""What can be predicted: samples in any form that `find_samples` takes, or a part of a Dataset,
which may be None.
"""

Data = str | Path | Source | Text | Frame | tuple[ArrayLike, ArrayLike] | list[Any]
"""What `load` takes: a name, a file or folder, a text, a data frame, or a pair of arrays (x, y)."""


def find(
    what: Data,
    *,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
    read: Mapping[str, str] | None = None,
    weight: str | None = None,
    memory: int | str | None = None,
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
        memory: the most that a folder's images may take, as in `load`
        weight: the column that says how much each sample counts; it is no input

    Raises:
        DataError: with file, row and column, for data that can't be used
    """
    if task is not None and task not in TASKS:
        raise unknown("task", task, TASKS)
    target, drop, read = named(what, target, drop, read)
    source = what if isinstance(what, Source) else _read(what, target, drop, task, image_size, read, memory)
    return source if weight is None else weighted_by(source, weight)


def _read(
    what: Any,
    target: str | list[str] | None,
    drop: list[str],
    task: str | None,
    image_size: Shape | None,
    read: dict[str, str],
    memory: int | str | None,
) -> Source:
    """Raw samples with their targets, as in `find`."""
    with guarded(f"{what if isinstance(what, str | Path) else 'the data'}: it can't be read"):
        if isinstance(what, str | Path):
            return _builtin(what) or files.read(Path(what), target, drop, task, image_size, read, memory)
        if isinstance(what, tuple | list) and len(what) == 2:
            return from_pair(what[0], what[1], task, drop, read)
        if is_frame(what):
            return from_frame(what, target, drop, task, read)
    allowed = "a file, the name of a built-in data set, a tuple of arrays (x, y), or a DataFrame"
    raise DataError(f"can't use {type(what).__name__} as data; pass {allowed}")


def find_samples(what: Unlabelled | Dataset, image_size: Shape | None = None, texts: Collection[str] = ()) -> Source:
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
        load = BUILTIN[str(what)].load
        if load is None:
            raise DataError(f"{what}: it is a text, of which a language model alone is trained")
        return load()
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


def one_name(what: Any, chosen: Any) -> Any:
    """A tuple as text if it names one column, as where pandas has several levels of names; anything
    else as it is.
    """
    frame = what[0] if isinstance(what, tuple | list) and len(what) == 2 else what
    is_one = isinstance(chosen, tuple) and hasattr(frame, "iloc") and any(chosen == name for name in frame.columns)
    return str(chosen) if is_one else chosen


def named(what: Any, target: Any, drop: Any, read: Any) -> tuple[str | list[str] | None, list[str], dict[str, str]]:
    """These choices of columns with their names as text, as in `as_polars`."""
    target, drop = one_name(what, target), one_name(what, drop)
    if isinstance(target, list | tuple):
        require(len(target) > 0, "the target is an empty list; name a column, or several")
        target = [str(name) for name in target] if len(target) > 1 else str(target[0])
    drop = [drop] if isinstance(drop, str) or not isinstance(drop, Iterable) else list(drop)
    allowed = "pass a mapping from column to kind, such as {'zip': 'category'}"
    require(read is None or isinstance(read, Mapping), f"read is {brief(read)}; {allowed}")
    kinds = {str(name): kind for name, kind in (read or {}).items()}
    target = target if target is None or isinstance(target, list) else str(target)
    return target, [str(name) for name in drop], kinds


def plane_set(name: str, **settings: Any) -> Source:
    """A toy data set in the plane with its own number of samples, noise or seed.

    Args:
        name: the data set, such as "moons"
        settings: `samples`, `noise` and `seed`, as for `chainrule.data.plane.plane`

    Examples:
        >>> from chainrule.data import load
        >>> load(plane_set("moons", samples=500, noise=0.2)).training.x.shape
        (350, 2)
    """
    if name not in plane.NAMED:
        raise unknown("plane set", name, plane.NAMED)
    try:
        return plane.plane(name, **settings)
    except TypeError:
        raise SettingError(f"{name}: the settings are samples, noise and seed, not {', '.join(settings)}") from None
