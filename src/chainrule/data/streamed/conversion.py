"""CSV files converted, once, into files of Parquet in the cache.

A file is read in pieces of whole rows, and each piece is parsed as a file of its own. A column that
is of different kinds in different pieces is text in all of them, as it is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from chainrule.data.barrier import guarded
from chainrule.data.columns import kind_of
from chainrule.data.formats import COMPRESSED, opened
from chainrule.data.streamed import cache
from chainrule.data.streamed.table_files import MOST_ROWS, Stamp, TableFiles, check_unchanged, stamp_of
from chainrule.data.tables import LEADING_ZERO, read_csv
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

PIECE = 1 << 24
"""The bytes of text that are parsed at a time, about."""

SAVED_EVERY = 8
"""The pieces after which it is saved how far converting has come."""

NEARLY = 0.9
"""The share of the pieces in which a column is of numbers, from which on others are mistakes."""


def converted(name: str, paths: list[Path], texts: Collection[str] = ()) -> TableFiles:
    """The table in these CSV files.

    Args:
        name: of the file, the folder or the pattern
        paths: the files
        texts: columns to leave as text

    Raises DataError, with file and line, for what can't be read.
    """
    stamps = [stamp_of(path) for path in paths]
    size = sum(size for size, _ in stamps)
    key = cache.key_of("csv", [str(path.absolute()) for path in paths], stamps, sorted(texts))

    def build(folder: Path, progress: Mapping[str, Any]) -> dict[str, Any]:
        source = {"source": str(Path(name).absolute())}
        passes = [Pass(**one) for one in progress.get("passes", ())] or [Pass()]

        def save() -> None:
            cache.save_progress(folder, {**source, "passes": [vars(one) for one in passes]})

        passes[0].convert(folder, paths, stamps, texts, save)
        kinds = passes[0].kinds
        mixed = {column for column, found in kinds.items() if len(set(found)) > 1}
        codes: set[str] = set()
        if mixed:
            passes = passes if len(passes) > 1 else [*passes, Pass()]
            passes[1].convert(folder, paths, stamps, {*texts, *mixed}, save)
            codes = {*passes[1].codes}
        words = {column for column in mixed if kinds[column].count("number") < NEARLY * len(kinds[column])}
        about = {"what": "converted CSV files", **source}
        return {**about, "pieces": passes[0].pieces, "texts": sorted(words | (codes & mixed))}

    held = cache.kept(key, size // 2, None, build)
    about = cache.about(held.path)
    files = [held.path / _name(k) for k in range(len(about["pieces"]))]
    of = [file for file, _, _ in about["pieces"]]
    return TableFiles.of(
        name, [paths[k] for k in of], files, np.array([first for _, first, _ in about["pieces"]]),
        tuple(stamps[k] for k in of), frozenset(about["texts"]), held,
    )  # fmt: skip


def _name(piece: int) -> str:
    return f"piece-{piece:06}.parquet"


@dataclass
class Pass:
    """A pass over all files, which writes each piece of them, and goes on where it was interrupted.

    Attributes:
        file: the file that is read
        done: the pieces of its text that are converted
        pieces: of each that has rows the file, the rows before it and its rows
        kinds: of which kind each column is in each piece that has values of it
        columns: those of the first file
        codes: the columns to leave as text that have integers that begin with a 0
    """

    file: int = 0
    done: int = 0
    pieces: list[list[int]] = field(default_factory=list)
    kinds: dict[str, list[str]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    def convert(
        self, folder: Path, paths: list[Path], stamps: list[Stamp], texts: Collection[str], save: Callable[[], None]
    ) -> None:
        """Write the pieces that are not written yet; `save` is called after some of them.

        Raises DataError, with file and line, for what can't be read.
        """
        unsaved = 0
        for number in range(self.file, len(paths)):
            path = paths[number]
            try:
                for frame in _frames(path, texts, self.done):
                    if len(frame):
                        self._add(folder, number, paths, frame, texts)
                    self.done, unsaved = self.done + 1, unsaved + 1
                    if unsaved >= SAVED_EVERY:
                        save()
                        unsaved = 0
            finally:
                check_unchanged(path, stamps[number])
            self.file, self.done = number + 1, 0
        if not self.pieces:
            raise DataError(f"{paths[0]}: there is a header but no rows")
        save()

    def _add(self, folder: Path, number: int, paths: list[Path], frame: pl.DataFrame, texts: Collection[str]) -> None:
        self.columns = self.columns or frame.columns
        _check_columns(paths[number], frame, self.columns, paths[0])
        for column in frame.iter_columns():
            if column.null_count() < len(column):
                self.kinds.setdefault(column.name, []).append(str(kind_of(column)))
            is_new = column.name in texts and column.name not in self.codes
            if is_new and column.str.contains(LEADING_ZERO).any():
                self.codes.append(column.name)
        content = BytesIO()
        frame.select(self.columns).write_parquet(content, compression_level=1, row_group_size=MOST_ROWS)
        cache.write(folder / _name(len(self.pieces)), content.getbuffer())
        before = self.pieces[-1] if self.pieces else [number, 0, 0]
        first = before[1] + before[2] if before[0] == number else 0
        self.pieces.append([number, first, len(frame)])


def _check_columns(path: Path, frame: pl.DataFrame, columns: list[str], first: Path) -> None:
    for there, here, what in ((columns, frame.columns, "has no"), (frame.columns, columns, "has another")):
        missing = [column for column in there if column not in here]
        if missing:
            raise DataError(f"{path}: it {what} column {missing[0]!r}, unlike {first}; correct the file")


def _frames(path: Path, texts: Collection[str], skipped: int) -> Iterator[pl.DataFrame]:
    """The rows of a file, piece by piece, without so many that are known."""
    stamp_of(path)  # a missing file is told apart from a damaged one
    with guarded(f"{path}: it can't be read; is it damaged?"), path.open("rb") as raw:
        file = opened(path, raw) if path.suffix.lower() in COMPRESSED else raw
        header = file.readline()
        if not header.strip():
            raise DataError(f"{path}: it is empty; remove it, or write the names of its columns into it")
        lines = 1
        for k, piece in enumerate(_pieces(path, file)):
            if k >= skipped:
                try:
                    yield read_csv(path, header + piece, texts=texts)
                except DataError as error:
                    raise DataError(_shifted(str(error), path, lines - 1)) from None
            lines += piece.count(b"\n")


def _shifted(message: str, path: Path, lines: int) -> str:
    """A message with the number of the line in the whole file."""

    def whole(found: re.Match[str]) -> str:
        line = int(found[1])
        return f"{path}, line {line + lines if line > 1 else line}"

    return re.sub(re.escape(f"{path}, line ") + r"(\d+)", whole, message)


def _pieces(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """The text after the header in pieces that end with a row: at the end of a line, after an even
    number of quotes.
    """
    rest = b""
    while more := file.read(PIECE):
        rest += more
        end = _end_of_rows(rest)
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > 16 * PIECE:
            raise DataError(f"{path}: it has a row of more than {16 * PIECE >> 20} MB; is a quote missing?")
    if rest.strip():
        yield rest


def _end_of_rows(text: bytes) -> int:
    """Where the last whole row ends; 0 if there is none."""
    end = text.rfind(b"\n") + 1
    for _ in range(1000):
        if not end or text.count(b'"', 0, end) % 2 == 0:
            return end
        end = text.rfind(b"\n", 0, end - 1) + 1
    return 0
