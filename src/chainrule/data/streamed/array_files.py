"""Arrays in files of NPY, which stand for arrays: rows are read where they are asked for."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from chainrule.arrays import CHUNK_BYTES, Array, Deferred, Shape
from chainrule.data.barrier import guarded
from chainrule.data.source import fingerprint
from chainrule.data.streamed.table_files import Stamp, stamp_of
from chainrule.data.targets import Target, class_numbers
from chainrule.errors import DataError
from chainrule.rows import MOST_BYTES

INPUTS = ("x", "X", "data", "images", "sequences", "features")
"""The names of an array of samples, without the extension."""
TARGETS = ("y", "Y", "target", "targets", "labels")
"""The names of their targets."""
WEIGHTS = ("weight", "weights")
"""The names of their weights."""
LENGTHS = ("lengths",)
"""The name of the lengths of sequences."""
SETS = {"training": ("", "_train"), "validation": ("_validation", "_valid", "_val"), "test": ("_test",)}
"""What follows these names in a folder with a file for each set."""

AGAIN = "restore it, or train again"


class OpenFile:
    """A file that is read at offsets, from any thread; closed when nobody uses it any more."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = Lock()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def fill(self, array: Array, offset: int) -> bool:
        """Read into all of a contiguous array from this offset on; False if there is too little."""
        view, done = memoryview(array.view(np.uint8).reshape(-1)), 0  # type: ignore[arg-type]
        while done < len(view):
            count = self._read(view[done:], offset + done)
            if not count:
                return False
            done += count
        return True

    def _read(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [view], offset)
        with self._lock:  # where there is no reading at an offset
            os.lseek(self._file, offset, os.SEEK_SET)
            found = os.read(self._file, len(view))
            view[: len(found)] = found
            return len(found)


class RowArray(Deferred):
    """An array of which consecutive rows are read: `read` is all that a kind of its own needs."""

    on_disk = True

    def read(self, start: int, stop: int, out: Array | None = None) -> Array:
        """The rows from `start` up to `stop`, in `out` if it is given, which is contiguous and of
        the same type.
        """
        raise NotImplementedError

    def verify(self) -> None:
        """Raise DataError if it has changed since it was opened."""

    @property
    def about(self) -> Any:
        """What tells it from others, as JSON."""
        raise NotImplementedError

    @property
    def stamps(self) -> dict[str, Stamp]:
        """The stamp of the file by its name, if there is one."""
        return {}

    def between(self, start: int, stop: int) -> Array:
        """The rows from `start` up to `stop`; raises DataError for too many to have in memory."""
        self._check(stop - start)
        return self.read(start, stop)

    def take(self, rows: Array, axis: int = 0) -> Array:
        """These rows."""
        assert axis == 0
        rows = np.asarray(rows, dtype=np.intp)
        self._check(len(rows))
        rows = np.where(rows < 0, rows + len(self), rows)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self):,}")
        found, back = np.unique(rows, return_inverse=True)
        x = np.empty((len(found), *self.shape[1:]), self.dtype)
        for part in np.split(np.arange(len(found)), np.flatnonzero(np.diff(found) != 1) + 1):
            if len(part):
                self.read(int(found[part[0]]), int(found[part[-1]]) + 1, x[part[0] : part[-1] + 1])
        return x[back.reshape(-1)]

    def parts(self) -> Iterator[tuple[int, Array]]:
        """All rows, some at a time, with the number of the first."""
        step = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        return ((k, self.read(k, min(k + step, len(self)))) for k in range(0, len(self), step))

    def min(self) -> Any:
        """The least number."""
        return min(part.min() for _, part in self.parts())

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _check(self, count: int) -> None:
        """Raise DataError if so many rows are more than may be read at once."""
        needed = count * self.row_bytes
        if needed > MOST_BYTES and count > 1:
            what = f"this looks at {count:,} samples at once, {needed / 1e9:.2g} GB"
            raise DataError(f"{what}, but they are on a disk because they don't fit into memory; pass fewer of them")


@dataclass(frozen=True, eq=False)
class HeldArray(RowArray):
    """An array in memory beside arrays in files, such as the targets of samples in a file.

    Attributes:
        array: (samples, ...) the array
    """

    array: Array

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """(samples, ...)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The type of its numbers."""
        return self.array.dtype

    @property
    def about(self) -> Any:
        """A hash of its content."""
        return fingerprint(self.array)

    def read(self, start: int, stop: int, out: Array | None = None) -> Array:
        """The rows from `start` up to `stop`."""
        if out is None:
            return self.array[start:stop]
        out[:] = self.array[start:stop]
        return out


@dataclass(frozen=True, eq=False)
class ClassNumbers(RowArray):
    """The class that each row of a one-hot array marks, counted from 0.

    Attributes:
        one_hot: (samples, classes) the array
    """

    one_hot: RowArray

    dtype = np.dtype(np.int64)

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """(samples,)."""
        return self.one_hot.shape[:1]

    @property
    def about(self) -> Any:
        """That of the array."""
        return self.one_hot.about

    @property
    def stamps(self) -> dict[str, Stamp]:
        """Those of the array."""
        return self.one_hot.stamps

    def verify(self) -> None:
        """Raise DataError if the array has changed since it was opened."""
        self.one_hot.verify()

    def read(self, start: int, stop: int, out: Array | None = None) -> Array:
        """The rows from `start` up to `stop`."""
        found = class_numbers(self.one_hot.read(start, stop), "y")
        if out is None:
            return found
        out[:] = found
        return out


@dataclass(frozen=True, eq=False)
class ArrayFile(RowArray):
    """An array in a file, of which an index reads rows.

    Attributes:
        path: the file
        offset: where its first number is
        shape: (samples, ...)
        dtype: the type of its numbers
        stamp: the file's size and time of change when it was opened
    """

    path: Path
    offset: int
    shape: Shape
    dtype: np.dtype[Any]
    stamp: Stamp

    @staticmethod
    def of_map(array: np.memmap[Any, Any]) -> ArrayFile | None:
        """What a memory map shows of its file; None if its numbers don't follow one another there,
        or it is no map of a file.
        """
        mapped = getattr(array, "_mmap", None)
        if array.filename is None or mapped is None or not array.flags.c_contiguous or not array.size:
            return None
        path, page = Path(array.filename), mmap.ALLOCATIONGRANULARITY
        start = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
        within = array.__array_interface__["data"][0] - start
        offset = array.offset - array.offset % page + within  # of a part, the offset is that of the whole
        if not 0 <= within < len(mapped):
            return None
        return ArrayFile(path, offset, array.shape, array.dtype, stamp_of(path))

    @staticmethod
    def opened(path: Path) -> ArrayFile:
        """The array in a file of NPY; raises DataError for what can't be read row by row."""
        mapped = mapped_file(path)
        if not mapped.flags.c_contiguous:
            remedy = "save it with np.save(path, np.ascontiguousarray(x)), or allow more memory"
            raise DataError(f"{path}: its numbers are in Fortran order, column by column; {remedy}")
        found = ArrayFile.of_map(mapped)
        assert found is not None
        return found

    def read(self, start: int, stop: int, out: Array | None = None) -> Array:
        """The rows from `start` up to `stop`, in `out` if it is given, which is contiguous and of
        the same type.
        """
        out = np.empty((stop - start, *self.shape[1:]), self.dtype) if out is None else out
        with self._errors():
            if self._file.fill(out, self.offset + start * self.row_bytes):
                return out
        raise DataError(f"{self.path}: it ends too soon; {AGAIN}")

    @property
    def about(self) -> Any:
        """The file's name, size and time of change, and where in it the array is."""
        return [self.path.name, self.stamp, self.offset, self.shape, self.dtype.str]

    @property
    def stamps(self) -> dict[str, Stamp]:
        """The file's stamp by its name."""
        return {self.path.name: self.stamp}

    def verify(self) -> None:
        """Raise DataError for a file that was changed or removed since it was opened."""
        if stamp_of(self.path) != self.stamp:
            raise DataError(f"{self.path}: it has changed since it was first read; {AGAIN}")

    @cached_property
    def _file(self) -> OpenFile:
        return OpenFile(self.path)

    def _errors(self) -> Any:
        return guarded(f"{self.path}: it can't be read")


def mapped_file(path: Path) -> np.memmap[Any, Any]:
    """The array in a file of NPY, mapped into memory; raises DataError unless it is one of plain
    numbers or texts, and whole.
    """
    stamp_of(path)
    if not path.is_file():
        raise DataError(f"{path}: it is not a regular file; save the array in one")
    with guarded(f"{path}: not a whole NPY file of numbers"):
        found = np.lib.format.open_memmap(path, mode="r")
    if found.ndim == 0 or 0 in found.shape:
        raise DataError(f"{path}: its shape is {found.shape}; it must have a row for each sample")
    return found


@dataclass(frozen=True)
class ArrayPaths:
    """The files of arrays that belong together.

    Attributes:
        name: of the folder or the file
        x: the file of the samples
        y: that of their targets; None if there is none
        weight: that of their weights, the same
        lengths: that of the lengths of sequences, the same
    """

    name: str
    x: Path
    y: Path | None
    weight: Path | None
    lengths: Path | None

    def of(self, name: str) -> str:
        """The name of a file of other arrays for the same samples."""
        return name + self.x.stem[len(self.x.stem.partition("_")[0]) :] + ".npy"

    @property
    def samples(self) -> str:
        """What the samples are called, if that says what they are: "pictures" or "sequences"."""
        return {"images": "pictures", "sequences": "sequences"}.get(self.x.stem.partition("_")[0], "")


def paths_of(what: Any, part: str = "training") -> ArrayPaths | None:
    """The files of arrays that this names: x.npy, or a folder with it, and those beside it; None
    for other data.

    Args:
        what: a file or a folder
        part: of a folder with a file for each set, which set
    """
    if not isinstance(what, str | Path):
        return None
    path = Path(what)
    if path.suffix.lower() == ".npy":
        known = "|".join(INPUTS)
        found = re.fullmatch(rf"(?:{known})(_.*)?", path.stem)
        suffix = (found[1] or "") if found else None
        others = (_beside(path.parent, names, suffix) for names in (TARGETS, WEIGHTS, LENGTHS))
        return ArrayPaths(str(what), path, *others)
    if not path.is_dir():
        return None
    for suffix in SETS[part]:
        if (x := _beside(path, INPUTS, suffix)) is not None:
            return ArrayPaths(str(what), x, *(_beside(path, names, suffix) for names in (TARGETS, WEIGHTS, LENGTHS)))
    return None


def _beside(folder: Path, names: tuple[str, ...], suffix: str | None) -> Path | None:
    """The first file of these names, with this after them."""
    files = [] if suffix is None else [folder / f"{name}{suffix}.npy" for name in names]
    return next((file for file in files if file.exists()), None)


@dataclass(frozen=True, eq=False)
class ArrayFiles:
    """Samples, their targets and their weights in files.

    Attributes:
        name: of the folder or the file; "arrays" for maps
        x: (samples, ...) the samples
        y: (samples, ...) the targets
        weight: (samples,) the weights; None if all are equal
        samples: what samples with several axes are, "sequences" or "pictures", if that is known
    """

    name: str
    x: RowArray
    y: RowArray
    weight: RowArray | None = None
    samples: str = ""

    def __post_init__(self) -> None:
        for what, array in (("targets", self.y), ("weights", self.weight)):
            if array is not None and len(array) != len(self):
                count = f"{len(self):,} samples but {len(array):,} {what}"
                raise DataError(f"{self.name}: {count}; each sample needs one")
        if self.x.dtype.kind not in "buif":
            raise DataError(f"{self.name}: x must be numbers, not {self.x.dtype}")
        if self.y.dtype.kind not in "buifUO" or self.y.ndim > 2:
            about = f"not {self.y.dtype} of shape {self.y.shape}"
            raise DataError(
                f"{self.name}: y must be numbers or text of shape (samples,) or (samples, outputs), {about}"
            )
        if self.weight is not None and (self.weight.ndim != 1 or self.weight.dtype.kind not in "buif"):
            raise DataError(f"{self.name}: weights must be numbers of shape (samples,)")

    def __len__(self) -> int:
        return len(self.x)

    def for_target(self, target: Target) -> ArrayFiles:
        """The same, with numbers for classes of which each has a column."""
        return replace(self, y=ClassNumbers(self.y)) if target.is_class and self.y.ndim == 2 else self

    @property
    def arrays(self) -> tuple[RowArray, RowArray, RowArray | None]:
        """The samples, the targets and the weights."""
        return self.x, self.y, self.weight

    @property
    def parts(self) -> dict[str, RowArray]:
        """The arrays by their names, as far as there are files."""
        return {name: one for name, one in zip(("x", "y", "weight"), self.arrays, strict=True) if one is not None}

    @property
    def fingerprint(self) -> str:
        """SHA-256 hash of the files' names, sizes, times and types; their content is not read."""
        about = {name: one.about for name, one in self.parts.items()}
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def verify(self) -> None:
        """Raise DataError for a file that was changed or removed since it was opened."""
        for array in self.parts.values():
            array.verify()


def with_shape(array: RowArray, shape: Shape) -> RowArray:
    """The same numbers in another shape, with as many rows."""
    if isinstance(array, HeldArray):
        return HeldArray(array.array.reshape(shape))
    assert isinstance(array, ArrayFile)
    return replace(array, shape=shape)
