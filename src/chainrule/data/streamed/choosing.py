"""Which data is read block by block: what would take more memory than it may."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from chainrule.data import patterns
from chainrule.data.barrier import FILE
from chainrule.data.builtin import BUILTIN
from chainrule.data.formats import COMPRESSED, is_table, kind_of_file
from chainrule.data.memory import most_memory
from chainrule.data.streamed.table_files import STREAMED, TableFiles

CELL = 24
"""The bytes that a cell of a table takes in memory until training begins, about: as it was read, as
it is prepared, and as it is divided.
"""

CSV = 6.5
"""The bytes that a byte of a CSV file takes."""

TEXT = 4
"""How many bytes of text are in a byte of a compressed file, about."""


def files_of(what: Any) -> list[Path]:
    """The files of tables that this names, a file, a folder or a pattern; empty for other data."""
    if not isinstance(what, str | Path) or str(what) in BUILTIN:
        return []
    path = Path(what)
    found = patterns.matching(path) if patterns.is_several(path) else [path]
    return found if all(one.is_file() and is_table(one) for one in found) else []


def streamed(what: Any, memory: int | str | None, texts: Collection[str] = ()) -> tuple[TableFiles, int, str] | None:
    """The table, the most memory that it may take, and why it is read block by block; None if it
    is read into memory, or is no table in files. `texts` are columns of CSV files to leave as text.
    """
    paths = files_of(what)
    if not paths:
        return None
    kinds = {kind_of_file(path) for path in paths}
    if not kinds <= {*STREAMED, "csv"} or (len(kinds) > 1 and "csv" in kinds):
        return None
    most = most_memory(memory)
    if "csv" in kinds:
        size = sum(_text(paths))
        return None if CSV * size <= most else _of_csv(what, paths, most, texts)
    if len(paths) == 1 and paths[0].stat().st_size * TEXT < most and paths[0].stat().st_size < FILE.cells // 100:
        return None  # without opening it twice
    files = TableFiles.of(str(what), paths)
    rows, columns = files.shape
    needed = CELL * rows * columns
    if needed <= most and rows * columns <= FILE.cells:
        return None
    return files, most, why(rows, columns, needed, most)


def why(rows: int, columns: int, needed: float, most: int) -> str:
    """Why data is streamed, in a line."""
    about = f"{rows:,} rows of {columns:,} columns would take about {written(needed)} of memory"
    limit = f"more than the {written(most)} that they may" if needed > most else "and are many"
    return f"streamed: {about}, {limit}; they are prepared once into the cache, and read from there"


def written(size: float) -> str:
    """A size in bytes as text, such as "1.2 GB".

    Examples:
        >>> written(1.25e9), written(3e6)
        ('1.2 GB', '3.0 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _text(paths: Sequence[Path]) -> list[int]:
    """The bytes of text in each file, about."""
    return [path.stat().st_size * (TEXT if path.suffix.lower() in COMPRESSED else 1) for path in paths]


def _of_csv(what: Any, paths: list[Path], most: int, texts: Collection[str]) -> Any:
    from chainrule.data.streamed.conversion import converted

    files = converted(str(what), paths, texts)
    return files, most, why(*files.shape, CSV * sum(_text(paths)), most)
