"""From arrays in files to a data set on disk: the counterpart of `loading.load` and of
`from_arrays`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Samples
from chainrule.data import sequences
from chainrule.data.barrier import guarded
from chainrule.data.builtin import BUILTIN
from chainrule.data.dataset import Dataset
from chainrule.data.files import checked_targets
from chainrule.data.memory import most_memory
from chainrule.data.places import Place
from chainrule.data.preparation import Preparation
from chainrule.data.source import TASKS, Source
from chainrule.data.splits import checked_share
from chainrule.data.streamed import array_fit, cache
from chainrule.data.streamed.array_files import ArrayFile, ArrayFiles, HeldArray, RowArray, paths_of, with_shape
from chainrule.data.streamed.array_samples import ArraySamples
from chainrule.data.streamed.choosing import written
from chainrule.data.streamed.divisions import Division
from chainrule.data.streamed.fit import Fitted, Wanted
from chainrule.data.streamed.preparing import fitted
from chainrule.data.streamed.progress import watch_of
from chainrule.data.streamed.request import Request
from chainrule.errors import DataError, require, setting, unknown

PREPARED = 12
"""The bytes that are needed in memory for each number, besides the number itself."""
COPIES = 3
"""How often pictures of bytes are in memory."""


@dataclass(frozen=True)
class ArrayRequest(Request):
    """The arguments of `load` for arrays that are streamed."""

    samples: str | None
    weight: Any


def may_be_streamed(what: Any) -> bool:
    """Whether this names arrays in files: NPY files, or a pair of which the samples are mapped into
    memory.
    """
    return _is_mapped(what) or (str(what) not in BUILTIN and paths_of(what) is not None)


def _is_mapped(what: Any) -> bool:
    return isinstance(what, tuple | list) and len(what) == 2 and isinstance(what[0], np.memmap)


def streamed_arrays(what: Any, memory: int | str | None, as_given: bool = False) -> tuple[int, str] | None:
    """The most memory that arrays in files may take, and why they are read some rows at a time;
    None if they are read into memory, or are in no files.

    Args:
        what: the arrays, as `load` takes them
        memory: the most bytes that they may take; by default half of what is free
        as_given: whether they are used as they are, and not prepared
    """
    if not may_be_streamed(what):
        return None
    parts = list(what) if _is_mapped(what) else _mapped(what)
    most, x = most_memory(memory), parts[0]
    if as_given:
        needed = sum(int(part.nbytes) for part in parts if isinstance(part, np.memmap))
    else:
        are_bytes = x.dtype == np.uint8 and x.ndim > 2
        needed = x.size * (COPIES if are_bytes else x.dtype.itemsize + PREPARED)
    if needed <= most:
        return None
    shape = " x ".join(map(str, x.shape[1:])) or "1"
    about = f"{len(x):,} samples of {shape} numbers ({x.dtype}) would take about {written(needed)} of memory"
    return most, f"streamed: {about}, more than the {written(most)} that they may; they are read from their files"


def _mapped(what: Any) -> list[Any]:
    from chainrule.data.streamed.array_files import mapped_file

    paths = paths_of(what)
    assert paths is not None
    return [mapped_file(paths.x)]


def files_of(what: Any, weight: Any = None, samples: str | None = None) -> ArrayFiles:
    """The arrays that this names, or a pair of arrays; raises DataError for those that can't be
    streamed.
    """
    if isinstance(what, tuple | list) and len(what) == 2:
        name, x, y, own = "arrays", _row_array("x", what[0]), _row_array("y", what[1]), None
    else:
        paths = paths_of(what) if isinstance(what, str | Path) else None
        if paths is None:
            raise DataError(f"{what}: beside arrays that are streamed it must be a pair of arrays, or NPY files")
        if paths.y is None:
            raise DataError(f"{paths.name}: there are no targets; put them beside {paths.x.name} as {paths.of('y')}")
        if paths.lengths is not None:
            problem = "sequences of different lengths are not streamed"
            raise DataError(f"{paths.name}: {problem}; allow more {setting('memory')}, or fill them up")
        name, x, y = paths.name, ArrayFile.opened(paths.x), ArrayFile.opened(paths.y)
        samples = samples or paths.samples
        own = None if paths.weight is None else ArrayFile.opened(paths.weight)
    weights = own if weight is None else _row_array("weight", weight)
    x = with_shape(x, (len(x), 1)) if x.ndim == 1 else x
    y = with_shape(y, (len(y),)) if y.ndim == 2 and y.shape[1] == 1 else y
    if samples == sequences.SEQUENCES and x.ndim == 2:
        x = with_shape(x, (*x.shape, 1))
    return ArrayFiles(name, x, y, weights, samples or "")


def _row_array(name: str, array: Any) -> RowArray:
    """An array as it is read: through its file if it is mapped into memory, else as it is."""
    if isinstance(array, np.memmap):
        found = ArrayFile.of_map(array)
        if found is None:
            remedy = "save it with np.save(path, np.ascontiguousarray(x)), and map that"
            raise DataError(
                f"arrays: the numbers of the memory map {name} don't follow one another in its file; {remedy}"
            )
        return found
    return HeldArray(checked_targets("arrays", array) if name == "y" else np.asarray(array))


def load_arrays(what: Any, memory: int, why: str, request: ArrayRequest, preparation: Preparation | None) -> Dataset:
    """A data set whose samples stay in their files.

    Args:
        what: the arrays, as `load` takes them
        memory: the most bytes of them that may be in memory
        why: a line that says why they are streamed
        request: how to divide and prepare them
        preparation: a fitted preparation to use instead of fitting one

    Raises DataError, with the row, for numbers that can't be used.
    """
    if request.task is not None and request.task not in TASKS:
        raise unknown("task", request.task, TASKS)
    files = files_of(what, request.weight)
    problem = f"{files.name}: arrays have no columns to split by; leave {setting('split')} out"
    require(not request.by.column, problem)
    told, guess = sequences.told(files.name, files.x, request.samples or files.samples or None)
    files = files_of(what, request.weight, told)
    if files.y.ndim > 2 or (told == sequences.SEQUENCES and files.y.shape[1:] == files.x.shape[1:2] != (1,)):
        raise DataError(f"{files.name}: targets at each position are not streamed; allow more {setting('memory')}")
    shares = [share if isinstance(share, int | float) else 0.0 for share in (request.validation, request.test)]
    validation, test = checked_share("validation", shares[0]), checked_share("test", shares[1])
    division = Division(len(files), validation, test, request.seed if request.by.by == "chance" else None)
    if preparation is None:
        preparation = _fitted(files, division, request)
    files = files.for_target(preparation.target)
    sets: list[Any] = [ArraySamples(files, preparation, division, k) if size else None
                       for k, size in enumerate(division.sizes)]  # fmt: skip
    prints = ["", ""]
    for k, part in enumerate((request.validation, request.test)):
        if not isinstance(part, int | float):
            sets[k + 1], prints[k] = _of_its_own(("validation", "test")[k], part, files, preparation)
    rows: list[Any] = [division.row_numbers(k) if size else None for k, size in enumerate(division.sizes)]
    return Dataset(
        sets[0], sets[1], sets[2], preparation.target, preparation, files.name, files.fingerprint,
        source=source_of(files, preparation.target.task), rows=rows[0], validation_rows=rows[1], test_rows=rows[2],
        validation_fingerprint=prints[0], test_fingerprint=prints[1], split=request.by,
        found=(why, *([guess] if guess else [])), memory=memory,
    )  # fmt: skip


def _fitted(files: ArrayFiles, division: Division, request: ArrayRequest) -> Preparation:
    """The fitted preparation, which is kept in the cache."""
    order = None if request.order is None else list(request.order)
    wanted = Wanted(request.task, request.likely_task, order, request.scale_target)
    shares = division.validation, division.test, division.seed
    key = cache.key_of("fitted arrays", files.fingerprint, files.samples, shares, vars(wanted))

    def make() -> Fitted:
        with guarded(f"{files.name}: it can't be prepared"):
            array_fit.check(files)
            target = array_fit.fit_target(files, division, wanted)
            return Fitted(array_fit.fit(files, division, target, watch_of("reading", len(files))), {})

    return fitted(key, str(Path(files.name).absolute()), make).preparation


def _of_its_own(name: str, what: Any, files: ArrayFiles, preparation: Preparation) -> tuple[ArraySamples, str]:
    """Separate data for validation or test."""
    try:
        own = files_of(what, None, files.samples).for_target(preparation.target)
        return _whole(own, preparation), own.fingerprint
    except DataError as error:
        raise DataError(f"{name} data: {error}") from None


def _whole(files: ArrayFiles, preparation: Preparation | None) -> ArraySamples:
    return ArraySamples(files, preparation, Division(len(files), 0.0, 0.0, None), 0)


def source_of(files: ArrayFiles, task: str | None) -> Source:
    """The raw samples, which stay in their files."""
    return Source(files.name, files.x, files.y, "y", task, files.fingerprint, samples=files.samples)  # type: ignore[arg-type]


def given(
    x: Any, y: Any, task: str | None, weight: Any, memory: int | str | None, held_out: Samples | None
) -> Dataset | None:
    """The data set of arrays that are used as they are, for `from_arrays`; None if they fit into
    memory, or are not mapped.
    """
    if (found := streamed_arrays((x, y), memory, as_given=True)) is None:
        return None
    files = files_of((x, y), weight)
    if files.y.ndim > 2:
        raise DataError(f"{files.name}: targets at each position are not streamed; allow more {setting('memory')}")
    array_fit.check(files)
    target = array_fit.as_given(files, task)
    whole: Any = _whole(files, None)
    return Dataset(whole, held_out, None, target, fingerprint=files.fingerprint, memory=found[0], found=(found[1],))


def blocks_of(what: Any) -> Iterator[Source] | None:
    """The samples to predict, some rows at a time; None for what fits into memory, or is no array
    in files.
    """
    mapped = (what, None) if isinstance(what, np.memmap) else what
    if streamed_arrays(mapped, None) is None:
        return None
    paths = paths_of(what)
    x = _row_array("x", what) if paths is None else ArrayFile.opened(paths.x)
    name = "arrays" if paths is None else paths.name
    return (Source(Place(name, first), part, None) for first, part in x.parts())


def stored_arrays(what: Any, preparation: Preparation, weight: str | None) -> ArraySamples | None:
    """Samples with targets, to evaluate; None for what fits into memory, or is in no files."""
    if weight is not None or streamed_arrays(what, None) is None:
        return None
    known = preparation.kind if preparation.kind == sequences.SEQUENCES else None
    return _whole(files_of(what, None, known).for_target(preparation.target), preparation)
