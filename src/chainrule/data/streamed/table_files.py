"""Tables in files of Parquet or Arrow, which stand for a table: rows are read where they are asked
for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import patterns
from chainrule.data.barrier import guarded
from chainrule.data.formats import KINDS, check_start
from chainrule.data.partitions import partitions, with_columns
from chainrule.data.places import Place
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

STREAMED = ("parquet", "arrow")
"""The kinds of files of which some rows can be read without the others."""

CELLS = 1 << 21
"""The cells of a table that are read at a time, about: 16 MB as numbers of 64 bits."""
FEWEST_ROWS, MOST_ROWS = 256, 1 << 16
"""The fewest and the most rows that are read at a time."""

TEXT = 1 << 26
"""The bytes of text that are read at a time, about: of rows with long texts there are fewer."""

Stamp = tuple[int, int]
"""A file's size in bytes and the time when it was modified in ns, which tell whether it changed."""


@dataclass(frozen=True, eq=False)
class TableFiles:
    """A table in one or several files, in the order of their names.

    Attributes:
        name: of the file, the folder or the pattern
        paths: the files
        stamps: (files, 2) their sizes and times when they were listed
        rows: (files,) how many rows each has
        schema: the types of the columns, which hold the numbers of all files
        columns: the names of the columns, in their order in the first file, after those that the
            names of folders tell
        read_from: the files that are read instead, if the files themselves are CSV: their
            conversions in the cache, of which there may be several for each
        before: (files,) the rows of the same CSV file that are in earlier conversions
        texts: columns of text that are no numbers
        held: what keeps the conversions in the cache
        of_folders: (files, columns) the columns that the names of folders tell
    """

    name: str
    paths: tuple[Path, ...]
    stamps: tuple[Stamp, ...]
    rows: Array
    schema: Any = field(repr=False)
    columns: tuple[str, ...]
    read_from: tuple[Path, ...]
    before: Array
    texts: frozenset[str] = frozenset()
    held: Any = field(default=None, repr=False)
    of_folders: Any = field(default=None, repr=False)

    @staticmethod
    def of(
        name: str,
        paths: Sequence[Path],
        read_from: Sequence[Path] = (),
        before: Array | None = None,
        stamps: tuple[Stamp, ...] = (),
        texts: frozenset[str] = frozenset(),
        held: Any = None,
    ) -> TableFiles:
        """The table in these files; the other arguments are the attributes of converted ones.

        Raises DataError for a file that can't be read, or that has other columns than the first.
        """
        stamps, read_from = stamps or tuple(map(stamp_of, paths)), read_from or paths
        told = partitions(paths, patterns.root_of(Path(name)))
        rows: list[int] = []
        schemas: list[Any] = []
        for path, file in zip(paths, read_from, strict=True):
            schema, count = _about(file)
            if schema not in schemas:
                schemas.append(schema)
                _check_columns(path, schema, paths[0], schemas[0])
            rows.append(count)
        if not sum(rows):
            raise DataError(f"{name}: there is a header but no rows")
        told = told.drop(column for column in told.columns if column in schemas[0])
        types = {**told.schema, **_common(schemas)}
        before = np.zeros(len(rows), np.int64) if before is None else before
        columns, of = tuple(types), tuple(read_from)
        return TableFiles(
            name, tuple(paths), stamps, np.array(rows), types, columns, of, before, texts, held,
            told if told.width else None,
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> Array:
        """(files + 1,) the number of rows before each file, and in all."""
        return np.concatenate([[0], np.cumsum(self.rows)])

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self), len(self.columns)

    @property
    def fingerprint(self) -> str:
        """SHA-256 hash of the files' names, sizes, times and columns; their content is not read."""
        names = list(self.named_stamps)
        types = [(column, str(self.schema[column])) for column in self.columns]
        about = [names, self.stamps, types, self.rows.tolist()]
        about += [] if self.of_folders is None else [self.of_folders.rows()]
        return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()

    @property
    def named_stamps(self) -> dict[str, Stamp]:
        """The stamp of each file by its name, from the last folder that all are in."""
        root = Path(os.path.commonpath([path.parent for path in self.paths]))
        stamps = zip(self.paths, self.stamps, strict=True)
        return {str(path.relative_to(root)): stamp for path, stamp in stamps}

    def verify(self) -> None:
        """Raise DataError for a file that was changed or removed since it was listed."""
        for path, stamp in dict(zip(self.paths, self.stamps, strict=True)).items():
            check_unchanged(path, stamp)

    def blocks(self, columns: Sequence[str] | None = None, start: int = 0) -> Iterator[tuple[int, Place, pl.DataFrame]]:
        """The rows from `start` on, block by block: the number of the first row, the file with that
        row in it, and the rows. A block is from one file.

        Raises DataError for a file that can't be read, or that has changed: also after the last
        block, so that nothing is kept of files that changed meanwhile.
        """
        most = max(FEWEST_ROWS, min(MOST_ROWS, CELLS // max(1, len(columns or self.columns))))
        step = min(most, self._first_step(columns))
        for k, (path, first, end) in enumerate(zip(self.paths, self.starts, self.starts[1:], strict=False)):
            if end <= start:
                continue
            check_unchanged(path, self.stamps[k])
            row = int(max(first, start))
            while row < end:
                within = row - int(first)
                frame = self._read(k, within, min(step, int(end) - row), columns)
                yield row, Place(str(path), int(self.before[k]) + within), frame
                row, step = row + len(frame), min(most, rows_of(frame))
        self.verify()

    def _first_step(self, columns: Sequence[str] | None) -> int:
        """How many rows to read first, going by the lengths of texts in the first ones."""
        import polars as pl

        texts = [column for column in columns or self.columns if self.schema[column] == pl.String]
        k = int(np.argmax(self.rows > 0))
        return rows_of(self._read(k, 0, min(FEWEST_ROWS, int(self.rows[k])), texts)) if texts else MOST_ROWS

    def _read(self, k: int, first: int, count: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Some rows of a file, with NaN, which is missing, as null in no column: as they are."""
        path, wanted = self.read_from[k], list(columns or self.columns)
        told = {} if self.of_folders is None else self.of_folders.row(k, named=True)
        own = [column for column in wanted if column not in told] or [c for c in self.columns if c not in told][:1]
        try:
            with guarded(f"{self.paths[k]}: it can't be read; is it damaged?"):
                frame = _scan(path).select(own).slice(first, count).collect()
            if len(frame) != count:
                raise DataError(f"{self.paths[k]}: it has fewer rows than it says; is it damaged?")
        except DataError:
            check_unchanged(self.paths[k], self.stamps[k])
            raise
        others: Any = {
            c: self.schema[c] for c in own if self.schema[c].is_numeric() and frame[c].dtype != self.schema[c]
        }
        frame = frame.cast(others) if others else frame
        return frame if not told else with_columns(frame, told, self.schema).select(wanted)

    def __getitem__(self, rows: Any) -> pl.DataFrame:
        """Some rows, by their numbers or a slice."""
        import polars as pl

        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        order = np.argsort(rows, kind="stable")
        files = np.searchsorted(self.starts, rows[order], side="right") - 1
        frames = [self._read(0, 0, 1)[:0]]
        for k in np.unique(files).tolist():
            wanted = rows[order][files == k] - self.starts[k]
            for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > MOST_ROWS // 16) + 1):
                for part in np.split(run, np.searchsorted(run, np.arange(run[0] + MOST_ROWS, run[-1] + 1, MOST_ROWS))):
                    if len(part):
                        found = self._read(k, int(part[0]), int(part[-1] - part[0]) + 1)
                        frames.append(found[part - part[0]])
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pl.concat(frames, how="vertical_relaxed")[back]

    def row(self, row: int, named: bool = True) -> dict[str, Any]:
        """The cells of a row by the names of their columns."""
        assert named
        return self[[row]].row(0, named=True)


def rows_of(frame: pl.DataFrame) -> int:
    """How many rows like these have TEXT bytes of text, at least one."""
    import polars as pl

    sizes = frame.select(pl.col(pl.String).str.len_bytes().sum())
    return max(1, TEXT * len(frame) // max(1, sum(sizes.row(0)))) if sizes.width else MOST_ROWS


def stamp_of(path: Path) -> Stamp:
    """A file's stamp; raises DataError if it is missing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path}: it is missing; put it back") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check its permissions") from None
    return status.st_size, status.st_mtime_ns


def check_unchanged(path: Path, stamp: Stamp) -> None:
    """Raise DataError for a file that was changed or removed since it had this stamp."""
    if stamp_of(path) != stamp:
        raise DataError(f"{path}: it has changed since it was first read; restore it, or train again")


def _scan(path: Path) -> pl.LazyFrame:
    import polars as pl

    is_parquet = KINDS.get(path.suffix.lower()) == "parquet"
    if is_parquet:
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    return pl.scan_ipc(path, glob=False, hive_partitioning=False)


def _about(path: Path) -> tuple[Any, int]:
    """The columns of a file with their types, and its number of rows."""
    import polars as pl

    kind = KINDS[path.suffix.lower()]
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(-min(8, path.stat().st_size), 2)
        check_start(path, kind, start + file.read(8))
    with guarded(f"{path}: not a readable {'Parquet' if kind == 'parquet' else 'Arrow'} file"):
        lazy = _scan(path)
        return lazy.collect_schema(), int(lazy.select(pl.len()).collect().item())


def _check_columns(path: Path, schema: Any, first: Path, expected: Any) -> None:
    """Raise DataError for other columns than those of the first file, or of other kinds."""
    for there, here, what in ((expected, schema, "has no"), (schema, expected, "has another")):
        missing = [column for column in there if column not in here]
        if missing:
            raise DataError(f"{path}: it {what} column {missing[0]!r}, unlike {first}; correct the file")
    for column, dtype in schema.items():
        if family(dtype) != family(expected[column]):
            problem = f"its values are {dtype}, but {expected[column]} in {first}; write both as the same type"
            raise DataError(f"{path}, column {column!r}: {problem}")


def _common(schemas: Sequence[Any]) -> dict[str, Any]:
    """The type of each column that holds the numbers of all files, as in memory: that of fractions
    if some are fractions.
    """
    import polars as pl

    if len(schemas) == 1:
        return dict(schemas[0])
    found = {}
    for column, dtype in schemas[0].items():
        others = {schema[column] for schema in schemas} if dtype.is_numeric() else {dtype}
        empty = [pl.DataFrame(schema={column: other}) for other in others]
        found[column] = pl.concat(empty, how="vertical_relaxed").schema[column]
    return found


def family(dtype: Any) -> str:
    """What a column of this type can be read together with."""
    import polars as pl

    if dtype.is_numeric():
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return str(dtype.base_type())
