"""Columns in the names of folders, as Hive and Spark write them: `year=2026/month=3/x.parquet`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MISSING = "__HIVE_DEFAULT_PARTITION__"
"""Stands for a missing value."""

KINDS = (("Int64", r"[+-]?\d{1,18}"), ("Float64", r"[+-]?\d+\.\d+"), ("Date", r"\d{4}-\d{2}-\d{2}"))
"""What a column is, if all its values are written so; else it is text."""


def named(path: Path, root: Path) -> dict[str, str]:
    """The values in the names of the folders between a file and a folder that it is in.

    Examples:
        >>> named(Path("sales/year=2026/city=New%20York/part.parquet"), Path("sales"))
        {'year': '2026', 'city': 'New York'}
    """
    parts = (part.partition("=") for part in path.parent.relative_to(root).parts)
    return {unquote(name): unquote(value) for name, equals, value in parts if name and equals}


def partitions(paths: Sequence[Path], root: Path) -> pl.DataFrame:
    """A row for each file with the columns that the names of its folders tell; without columns if
    they tell none.

    Args:
        paths: the files
        root: the folder that all are in, whose own name tells nothing

    Raises DataError if the folders of the files name different columns.
    """
    import polars as pl

    found = [named(path, root) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if [*one] != [*found[0]]:
            these, those = (_written(names) for names in (one, found[0]))
            problem = f"its folders name {these}, but those of {paths[0]} {those}"
            raise DataError(f"{path}: {problem}; name all in the same way, or choose files by a pattern")
    return pl.DataFrame({name: _column([one[name] for one in found]) for name in (found[0] if found else ())})


def _written(names: Sequence[str] | dict[str, Any]) -> str:
    if not names:
        return "no columns"
    return f"the column{'s' * (len(names) > 1)} " + ", ".join(map(repr, names))


def _column(texts: list[str]) -> pl.Series:
    import polars as pl

    values = [None if text in (MISSING, "") else text for text in texts]
    column = pl.Series(values, dtype=pl.String)
    for dtype, written in KINDS:
        if any(values) and all(value is None or re.fullmatch(written, value) for value in values):
            as_kind: Any = column.str.to_date(strict=False) if dtype == "Date" else column.cast(getattr(pl, dtype))
            return as_kind if as_kind.null_count() == column.null_count() else column
    return column


def with_columns(frame: pl.DataFrame, of: dict[str, Any], types: pl.Schema) -> pl.DataFrame:
    """A file's table with the columns that its folders tell before its own, but for those that it
    has itself.
    """
    import polars as pl

    new = [pl.lit(value, types[name]).alias(name) for name, value in of.items() if name not in frame.columns]
    return frame.select(*new, pl.all()) if new else frame
