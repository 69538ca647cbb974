"""All rows prepared once, into the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.barrier import guarded
from chainrule.data.preparation import Preparation
from chainrule.data.source import Source
from chainrule.data.streamed import cache
from chainrule.data.streamed.divisions import GROUP, Sets
from chainrule.data.streamed.fit import Fitted, Watch
from chainrule.data.streamed.reading import Reading
from chainrule.data.streamed.records import Layout
from chainrule.data.streamed.stored import StoredSamples
from chainrule.threads import ahead

SETS = ("training", "validation", "test")

SAVED_EVERY = 1 << 29
"""The bytes after which it is saved how far preparing has come."""


def stored(
    reading: Reading, division: Sets, preparation: Preparation, memory: int, bound: int | None, watch: Watch | None
) -> tuple[StoredSamples | None, ...]:
    """The sets of samples, prepared now unless they are in the cache.

    Args:
        reading: how the rows are read
        division: the set that each is in
        preparation: what prepares them
        memory: the most bytes of samples that may be in memory at once
        bound: the most bytes that the cache may take; None for what is free
        watch: is told how many rows have been prepared

    Raises DataError, with file, row and column, for a cell that can't be prepared.
    """
    layout = Layout(preparation, reading.weight is not None)
    contents = {name: cache.key_of(content.hex()) for name, content in preparation.contents().items()}
    key = cache.key_of("prepared", reading.files.fingerprint, reading.about, division.about, contents)
    needed = layout.dtype.itemsize * len(reading.files)

    def build(folder: Path, progress: Mapping[str, Any]) -> dict[str, Any]:
        _write(folder, progress, reading, division, layout, watch)
        return {"what": "prepared samples", "source": str(Path(reading.files.name).absolute()), "rows": division.sizes}

    held = cache.kept(key, needed, bound, build)
    weighted = f"{reading.files.fingerprint}/{reading.weight}"

    def of(part: int) -> StoredSamples | None:
        if not division.sizes[part]:
            return None
        path = held.path / f"{SETS[part]}.npy"
        offset = path.stat().st_size - division.sizes[part] * layout.dtype.itemsize
        return StoredSamples(path, layout, division.sizes[part], offset, reading.files, memory, weighted, held)

    return of(0), of(1), of(2)


def _write(
    folder: Path, progress: Mapping[str, Any], reading: Reading, division: Sets, layout: Layout, watch: Watch | None
) -> None:
    """Write the records of all rows, from where writing them was interrupted."""
    start, unsaved = int(progress.get("rows", 0)), 0

    def prepared(block: tuple[int, Source]) -> tuple[int, Array]:
        row, source = block
        assert source.target is not None
        return row, layout.records(source.name, source.features, source.target, source.weight)

    with ExitStack() as opened:
        files = [opened.enter_context(_begun(folder / f"{name}.npy", layout, size, start, division, part))
                 for part, (name, size) in enumerate(zip(SETS, division.sizes, strict=True))]  # fmt: skip
        for row, records in ahead(prepared, reading.sources(start)):
            sets, end = division.sets(row, row + len(records)), row + len(records)
            for part, file in enumerate(files):
                chosen = records[sets == part]
                file.write(memoryview(chosen.view(np.uint8).reshape(-1)))
                unsaved += chosen.nbytes
            if unsaved >= SAVED_EVERY:
                _synced(files)
                cache.save_progress(folder, {"rows": end, "source": str(Path(reading.files.name).absolute())})
                unsaved = 0
            if watch is not None:
                watch(end)
        _synced(files)


def _begun(path: Path, layout: Layout, size: int, start: int, division: Sets, part: int) -> IO[bytes]:
    """A file of NPY, opened to write its next record."""
    before = int(np.count_nonzero(division.sets(start - start % GROUP, start) == part)) if start else 0
    before += int(division.starts[start // GROUP, part]) if start else 0
    file = path.open("r+b" if start else "wb")
    header = {"descr": np.lib.format.dtype_to_descr(layout.dtype), "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_2_0(file, header)
    end = file.tell() + before * layout.dtype.itemsize
    file.seek(end)
    file.truncate()
    return file


def _synced(files: list[IO[bytes]]) -> None:
    for file in files:
        file.flush()
        os.fsync(file.fileno())


def fitted(key: str, name: str, make: Callable[[], Fitted]) -> Fitted:
    """What was fitted before to the data of this name, kept under this key, or else `make()`, which
    is kept.
    """

    def build(folder: Path, _: Mapping[str, Any]) -> dict[str, Any]:
        found = make()
        for file, content in found.preparation.contents().items():
            cache.write(folder / file, content)
        return {"what": "a preparation", "source": name, "marks": found.marks}

    held = cache.kept(key, 0, None, build)
    with guarded(f"{held.path}: it can't be read; remove it"):
        contents = {path.name: path.read_bytes() for path in held.path.iterdir() if path.name.startswith("preparation")}
        return Fitted(Preparation.from_contents(contents), cache.about(held.path)["marks"])
