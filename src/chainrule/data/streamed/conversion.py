"""CSV files converted, once, into files of Parquet in the cache.

A file is read in pieces of whole rows, and each piece is parsed as a file of its own. A column that
is of different kinds in different pieces is text in all of them, as it is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from chainrule.data.barrier import guarded
from chainrule.data.columns import converted as as_numbers
from chainrule.data.columns import kind_of
from chainrule.data.formats import COMPRESSED, opened
from chainrule.data.streamed import cache
from chainrule.data.streamed.progress import watch_of
from chainrule.data.streamed.table_files import MOST_ROWS, TableFiles, stamp_of
from chainrule.data.tables import LEADING_ZERO, NO_VALUES, read_csv
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

PIECE = 1 << 24
"""The bytes of text that are parsed at a time, about."""

NEARLY, FEW = 0.9, 10
"""The share of numbers among the cells of a column from which on other cells are mistakes, if there
are more than a few different numbers; as in memory.
"""


@dataclass
class Cells:
    """What the cells of a column are that is text in some pieces and something else in others.

    Attributes:
        known: how many have a value
        numbers: how many of these are numbers
        different: some of the numbers, FEW + 1 at most
        codes: whether there are integers that begin with a 0
    """

    known: int = 0
    numbers: int = 0
    different: set[float] = field(default_factory=set)
    codes: bool = False

    def add(self, column: pl.Series) -> None:
        """Count these cells, too."""
        texts = column.filter(~column.is_in(NO_VALUES)).drop_nulls()
        numbers = as_numbers(texts, "number").drop_nulls()
        self.known, self.numbers = self.known + len(texts), self.numbers + len(numbers)
        if len(self.different) <= FEW:
            self.different |= {*numbers.unique()[: FEW + 1].to_list()}
        self.codes = self.codes or bool(texts.str.contains(LEADING_ZERO).any())

    @property
    def are_words(self) -> bool:
        """Whether they are no numbers, not even with a few mistakes."""
        return self.codes or self.numbers < NEARLY * self.known or len(self.different) <= FEW


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

    def build(folder: Path, _: Mapping[str, Any]) -> dict[str, Any]:
        pieces, kinds = _convert(folder, paths, texts)
        mixed = {column for column, found in kinds.items() if len(set(found)) > 1}
        cells = {column: Cells() for column in mixed}
        if mixed:
            _convert(folder, paths, {*texts, *mixed}, cells)
        words = [column for column in mixed if cells[column].are_words]
        about = {"what": "converted CSV files", "source": str(Path(name).absolute())}
        return {**about, "pieces": pieces, "texts": sorted(words)}

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


def _convert(
    folder: Path, paths: list[Path], texts: Collection[str], cells: Mapping[str, Cells] | None = None
) -> tuple[list[tuple[int, int, int]], dict[str, list[str]]]:
    """Write all pieces; returns the file, the rows before it and the rows of each, and of which
    kind each column is in each piece that has values of it. `cells` counts those of its columns.
    """
    pieces: list[tuple[int, int, int]] = []
    kinds: dict[str, list[str]] = {}
    columns: list[str] = []
    sizes = [path.stat().st_size for path in paths]
    watch = watch_of("converting" if cells is None else "converting again", sum(sizes))
    for number, path in enumerate(paths):
        first = 0
        for frame, read in _frames(path, texts):
            if watch is not None:
                watch(sum(sizes[:number]) + min(read, sizes[number]))
            columns = columns or frame.columns
            _check_columns(path, frame, columns, paths[0])
            for column in frame.iter_columns():
                if column.null_count() < len(column):
                    kinds.setdefault(column.name, []).append(str(kind_of(column)))
                if cells is not None and column.name in cells:
                    cells[column.name].add(column)
            file = folder / _name(len(pieces))
            frame.select(columns).write_parquet(file, compression_level=1, row_group_size=MOST_ROWS)
            pieces.append((number, first, len(frame)))
            first += len(frame)
    if not pieces:
        raise DataError(f"{paths[0]}: there is a header but no rows")
    return pieces, kinds


def _check_columns(path: Path, frame: pl.DataFrame, columns: list[str], first: Path) -> None:
    for there, here, what in ((columns, frame.columns, "has no"), (frame.columns, columns, "has another")):
        missing = [column for column in there if column not in here]
        if missing:
            raise DataError(f"{path}: it {what} column {missing[0]!r}, unlike {first}; correct the file")


def _frames(path: Path, texts: Collection[str]) -> Iterator[tuple[pl.DataFrame, int]]:
    """The rows of a file, piece by piece, each with the bytes of the file that are read by then."""
    with guarded(f"{path}: it can't be read; is it damaged?"), path.open("rb") as raw:
        file = opened(path, raw) if path.suffix.lower() in COMPRESSED else raw
        header = file.readline()
        lines = 1
        for piece in _pieces(path, file):
            try:
                frame = read_csv(path, header + piece, texts=texts)
            except DataError as error:
                raise DataError(_shifted(str(error), path, lines - 1)) from None
            lines += piece.count(b"\n")
            if len(frame):
                yield frame, raw.tell()


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
