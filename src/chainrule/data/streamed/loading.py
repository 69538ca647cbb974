"""From tables in files to a data set on disk: the counterpart of `loading.load`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import notes, patterns, token_columns
from chainrule.data.barrier import guarded
from chainrule.data.columns import check_read, shortened
from chainrule.data.dataset import Dataset
from chainrule.data.preparation import Preparation
from chainrule.data.source import TASKS, Source
from chainrule.data.splits import checked_share
from chainrule.data.streamed import cache
from chainrule.data.streamed.by_values import SetsByValue, sets_by
from chainrule.data.streamed.choosing import files_of
from chainrule.data.streamed.divisions import Division, Sets
from chainrule.data.streamed.fit import Fitted, Wanted, fit
from chainrule.data.streamed.preparing import fitted, stored
from chainrule.data.streamed.progress import watch_of
from chainrule.data.streamed.reading import Reading
from chainrule.data.streamed.request import Request
from chainrule.data.streamed.stored import StoredSamples
from chainrule.data.streamed.table_files import TableFiles
from chainrule.errors import DataError, require, setting, unknown


@dataclass(frozen=True)
class TableRequest(Request):
    """The arguments of `load` for a table that is streamed."""

    target: str | list[str] | None
    drop: Sequence[str]
    read: Mapping[str, str]
    weight: str | None
    tokens: token_columns.Wanted | None
    cache: int | None


def load_streamed(
    files: TableFiles, memory: int, why: str, request: TableRequest, preparation: Preparation | None
) -> Dataset:
    """A data set whose samples stay on disk.

    Args:
        files: the table
        memory: the most bytes of it that may be in memory
        why: a line that says why it is streamed
        request: how to read, divide and prepare it
        preparation: a fitted preparation to use instead of fitting one

    Raises DataError, with file, row and column, for data that can't be used.
    """
    if request.task is not None and request.task not in TASKS:
        raise unknown("task", request.task, TASKS)
    check_read(request.read)
    reading = _reading(files, request)
    division = _division(reading, request)
    found = [why, *_of_files(files), *(division.found if isinstance(division, SetsByValue) else ())]
    if request.by.by == "group":  # those of new rows are others
        reading = replace(reading, drop=list(dict.fromkeys((*reading.drop, request.by.column))))
    if preparation is None:
        done = _fitted(reading, division, request)
        preparation = done.preparation
        found.extend(notes.of_marks(done.marks))
        if request.tokens and request.tokens.only_prose and preparation.texts_as_tokens:
            found.append(f"for an input for each word instead of tokens, choose {setting('text', 'words')}")
    is_told = request.tokens is None or request.tokens.only_prose or preparation.texts_as_tokens
    require(bool(is_told), f"{files.name}: no column is a text to read as tokens; leave {setting('text')} out")
    reading = replace(reading, task=preparation.target.task)
    sets = stored(reading, division, preparation, memory, request.cache, watch_of("preparing", len(files)))
    others: dict[str, tuple[Any, str]] = {}
    for part in ("validation", "test"):
        if not isinstance(getattr(request, part), int | float):
            others[part] = _of_its_own(part, getattr(request, part), reading, preparation, memory, request.cache)
    training: Any = sets[0]
    validation, of_validation = others.get("validation", (sets[1], ""))
    test, of_test = others.get("test", (sets[2], ""))
    rows: list[Any] = [division.row_numbers(part) if division.sizes[part] else None for part in range(3)]
    return Dataset(
        training, validation, test, preparation.target, preparation, files.name, files.fingerprint,
        source=_source(reading, preparation), rows=rows[0], validation_rows=rows[1], test_rows=rows[2],
        validation_fingerprint=of_validation, test_fingerprint=of_test, split=request.by, found=tuple(found),
        memory=memory,
    )  # fmt: skip


def _reading(files: TableFiles, request: TableRequest) -> Reading:
    """How the rows are read, with the last of the columns that are left as target by default."""
    left = [name for name in files.columns if name not in (*request.drop, request.weight)]
    target = request.target or (left[-1] if left else files.columns[-1])
    return Reading(files, target, request.drop, request.task, dict(request.read), request.weight)


def _division(reading: Reading, request: TableRequest) -> Sets:
    """How the rows are divided; raises DataError if too few are left to train on."""
    rows = len(reading.files)
    shares = [share if isinstance(share, int | float) else 0.0 for share in (request.validation, request.test)]
    validation, test = checked_share("validation", shares[0]), checked_share("test", shares[1])
    if request.by.column:
        watch = watch_of(f"dividing by {request.by.column}", rows)
        return sets_by(request.by, reading, (validation, test), request.seed, request.cache, watch)
    return Division(rows, validation, test, request.seed if request.by.by == "chance" else None)


def _fitted(reading: Reading, division: Sets, request: TableRequest) -> Fitted:
    """The fitted preparation, which is kept in the cache."""
    wanted = Wanted(request.task, request.likely_task, request.order, request.scale_target, request.tokens,
                    request.seed)  # fmt: skip
    key = cache.key_of("fitted", reading.files.fingerprint, reading.about, division.about, vars(wanted))
    watch = watch_of("reading", len(reading.files))

    def make() -> Fitted:
        with guarded(f"{reading.files.name}: it can't be prepared"):
            return fit(reading, division, wanted, watch)

    return fitted(key, str(Path(reading.files.name).absolute()), make)


def _of_its_own(
    name: str, what: Any, reading: Reading, preparation: Preparation, memory: int, bound: int | None
) -> tuple[StoredSamples, str]:
    """Separate data for validation or test, which is streamed, too."""
    try:
        paths = files_of(what)
        if not paths:
            raise DataError(f"{what}: beside data that is streamed it must be a table in files")
        files = table_of(str(what), paths)
        own = replace(reading, files=files)
        whole = Division(len(files), 0.0, 0.0, None)
        watch = watch_of(f"preparing the {name} set", len(files))
        samples = stored(own, whole, preparation, memory, bound, watch)[0]
        assert samples is not None
        return samples, files.fingerprint
    except DataError as error:
        raise DataError(f"{name} data: {error}") from None


def table_of(name: str, paths: Sequence[Path]) -> TableFiles:
    """The table in these files, of which CSV files are converted."""
    from chainrule.data.streamed.conversion import converted

    is_csv = any(path.suffix.lower() not in (".parquet", ".pq", ".arrow", ".feather", ".ipc") for path in paths)
    return converted(name, list(paths)) if is_csv else TableFiles.of(name, paths)


def _of_files(files: TableFiles) -> list[str]:
    names = [shortened(path.name) for path in dict.fromkeys(files.paths)]
    if len(names) == 1:
        return []
    return [f"read {len(names):,} files as one table, in the order of their names: {names[0]} to {names[-1]}"]


def _source(reading: Reading, preparation: Preparation) -> Source:
    """The raw samples, which stay in their files."""
    targets = [reading.target] if isinstance(reading.target, str) else reading.target
    without = {*targets, *reading.drop, reading.weight}
    files = reading.files
    features = replace(files, columns=tuple(name for name in files.columns if name not in without))
    target: Any = TargetColumn(reading, preparation.target.columns)
    return Source(files.name, features, target, preparation.target.name, preparation.target.task, files.fingerprint,
                  target_columns=preparation.target.columns, files=patterns.names(files.name))  # fmt: skip


@dataclass(frozen=True, eq=False)
class TargetColumn:
    """The target as it is in the files, which stands for an array: an index reads it."""

    reading: Reading
    columns: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows,) or (rows, columns)."""
        return (len(self), len(self.columns)) if len(self.columns) > 1 else (len(self),)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of what an index gives."""
        return self[:1].dtype

    def __len__(self) -> int:
        return len(self.reading.files)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        found = self.reading.targets(np.atleast_1d(np.asarray(rows)))
        return found if np.ndim(rows) else found[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        found: Array = self[:]
        return found if dtype is None else found.astype(dtype)
