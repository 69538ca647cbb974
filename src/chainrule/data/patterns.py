"""Several files of one table, by a pattern such as "sales-*.csv", or in a folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.data.barrier import FILE, check_budget
from chainrule.data.columns import kind_of
from chainrule.data.formats import KNOWN, PICTURES, is_table, read_bytes, read_frame
from chainrule.data.partitions import partitions, with_columns
from chainrule.data.source import fingerprint
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def is_pattern(what: str | Path) -> bool:
    """Whether this is a pattern, and not the name of a file that has such characters in it."""
    return glob.has_magic(str(what)) and not Path(what).exists()


def is_several(what: str | Path) -> bool:
    """Whether this is a pattern, or a folder of tables."""
    return is_pattern(what) or holds_tables(Path(what))


def holds_tables(folder: Path) -> bool:
    """Whether there are tables in a folder, or in folders within it, and no pictures."""
    return folder.is_dir() and bool(_tables_in(folder))


def _tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, in the order of their names; none if there are pictures as well."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        if any(Path(name).suffix.lower() in PICTURES for name in files):
            return []
        paths = (Path(place, name) for name in files if not name.startswith((".", "_")))
        found += [path for path in paths if is_table(path) and path.is_file()]
    return sorted(found)


def exists(what: str | Path) -> bool:
    """Whether there is such a file or folder, or one that matches the pattern."""
    return Path(what).exists() or (is_pattern(what) and bool(matching(Path(what))))


def names(what: str | Path) -> tuple[str, ...]:
    """The names of the files that match a pattern, from the folder that it begins with, or that are
    in a folder; empty for a single file.
    """
    path = Path(what)
    root = root_of(path)
    return tuple(str(one.relative_to(root)) for one in matching(path)) if is_several(path) else ()


def root_of(what: Path) -> Path:
    """The folder that all files of a pattern, or in a folder, are in; that of a single file."""
    return what if what.is_dir() else _root(what) if is_pattern(what) else what.parent


def _root(pattern: Path) -> Path:
    """The last folder of a pattern that exists, and so is no pattern, whatever its name."""
    return next(folder for folder in pattern.parents if folder.exists())


def matching(pattern: Path) -> list[Path]:
    """The files that match, or the tables in a folder, in the order of their names."""
    if pattern.is_dir():
        return _tables_in(pattern)
    root = _root(pattern)
    return sorted(path for path in root.glob(str(pattern.relative_to(root))) if path.is_file())


def read_table(path: Path, texts: Collection[str] = (), hashes: bool = True) -> tuple[pl.DataFrame, str]:
    """A table from a file, from all files that match a pattern, or from all tables in a folder, and
    a fingerprint of its content.

    Args:
        path: the file, the pattern or the folder
        texts: columns of CSV files to leave as text
        hashes: whether to compute the fingerprint; otherwise it is empty

    Raises:
        DataError: if a file can't be read, or if the files have other columns than the first
    """
    if not is_several(path):
        content = read_bytes(path)
        frame = read_frame(path, content, texts=texts)
        return frame, fingerprint(content) if hashes else ""
    paths = _tables(path)
    frames, prints = _read_each(path, paths, texts, hashes)
    mixed = _mixed(frames)
    if mixed:  # numbers in one file and words in another, for example: all are text, as in a single file
        frames, _ = _read_each(path, paths, {*texts, *mixed}, False)
    return _stacked(frames, mixed), prints[0] if len(prints) == 1 else fingerprint("".join(prints).encode())


def _tables(pattern: Path) -> list[Path]:
    """The files that match; raises DataError if there are none, or one is no table."""
    found = matching(pattern)
    if not found:
        raise DataError(f"{pattern}: no file matches this pattern")
    for path in found:
        if not is_table(path):
            raise DataError(f"{path}: a pattern ({pattern.name}) takes files of tables alone; {KNOWN}")
    return found


def _read_each(
    pattern: Path, paths: list[Path], texts: Collection[str], hashes: bool
) -> tuple[list[pl.DataFrame], list[str]]:
    """The table in each file, with the columns in the order of the first, and its fingerprint."""
    frames: list[pl.DataFrame] = []
    prints: list[str] = []
    first: list[str] = []
    of_folders = partitions(paths, root_of(pattern))
    if hashes and of_folders.width:
        prints.append(fingerprint(repr(of_folders.rows()).encode()))
    for k, path in enumerate(paths):
        content = read_bytes(path)
        prints.append(fingerprint(content) if hashes else "")
        frame = read_frame(path, content, texts=texts)
        first = first or frame.columns
        for there, here, what in ((first, frame.columns, "has no"), (frame.columns, first, "has another")):
            missing = [column for column in there if column not in here]
            if missing:
                raise DataError(f"{path}: it {what} column {missing[0]!r}, unlike {paths[0]}; correct the file")
        told = of_folders.row(k, named=True) if of_folders.width else {}
        frames.append(with_columns(frame.select(first), told, of_folders.schema))
        check_budget(str(pattern), sum(map(len, frames)), frames[0].width, FILE)
    return frames, prints


def _mixed(frames: list[pl.DataFrame]) -> list[str]:
    """The columns that are of different kinds in different files."""
    kinds: dict[str, set[str | None]] = {column: set() for column in frames[0].columns}
    for frame in frames:
        for column in frame.iter_columns():
            if column.null_count() < len(column):
                kinds[column.name].add(kind_of(column))
    return [column for column, found in kinds.items() if len(found) > 1]


def _stacked(frames: list[pl.DataFrame], mixed: Collection[str]) -> pl.DataFrame:
    """One table after the other; a column that is empty in one has the type of the others."""
    import polars as pl

    columns = []
    for name in frames[0].columns:
        parts = [frame[name].cast(pl.String) if name in mixed else frame[name] for frame in frames]
        filled = [part for part in parts if part.null_count() < len(part)] or parts[:1]
        empty = [pl.Series(name, [None], filled[0].dtype).new_from_index(0, len(part)) for part in parts]
        parts = [part if part.null_count() < len(part) else blank for part, blank in zip(parts, empty, strict=True)]
        columns.append(pl.concat([part.to_frame() for part in parts], how="vertical_relaxed"))
    return pl.concat(columns, how="horizontal")
