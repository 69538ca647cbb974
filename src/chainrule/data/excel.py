"""Reading tables from Excel's workbooks; only in a child process, since the decoder is compiled."""

from __future__ import annotations

import datetime
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.data.barrier import Limits, check_budget
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

EPOCH = (datetime.date(1899, 12, 30), datetime.date(1899, 12, 31), datetime.date(1900, 1, 1), datetime.date(1904, 1, 1))
"""The dates of Excel's day 0: cells that hold a time of day alone have it."""


def read_excel(path: Path, content: bytes, cells: int, text: int) -> pl.DataFrame:
    """The table of the only sheet that has cells; its first row holds the columns' names.

    Args:
        path: the file's name, for messages
        content: what the file contains
        cells: the maximum of rows x columns
        text: the maximum of bytes in the workbook's parts once decompressed

    Raises:
        DataError: if several sheets have cells, if a column has no name, or for too much of all
    """
    import fastexcel

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > text:
        raise DataError(f"{path}: it is more than {text / 1e9:g} GB once decompressed; use fewer rows, or Parquet")
    reader = fastexcel.read_excel(content)
    heads = {name: reader.load_sheet(name, header_row=None, n_rows=1, dtypes="string") for name in reader.sheet_names}
    filled = [name for name, head in heads.items() if head.width]
    if len(filled) != 1:
        found = ", ".join(map(repr, filled[:5])) + (" and more" if len(filled) > 5 else "")
        problem = f"several sheets have cells: {found}; save the one to read as a file of its own"
        raise DataError(f"{path}: {problem if filled else 'there is nothing in its sheets'}")
    head = heads[filled[0]]
    check_budget(str(path), head.total_height, head.width, Limits(cells, 0))
    frame = reader.load_sheet(filled[0], schema_sample_rows=None).to_polars()
    names = [str(name or "") for name in head.to_polars().row(0)]
    return _typed(_named(path, frame, names))


def _named(path: Path, frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The table with the names of its first row, without columns and rows that have no values."""
    import polars as pl

    if len(names) != frame.width:
        raise DataError(f"{path}: its first row has {len(names)} cells, but the table {frame.width} columns")
    blank = [column.null_count() == len(column) for column in frame.iter_columns()]
    kept = [k for k, name in enumerate(names) if name.strip() or not blank[k]]
    for k in kept:
        if not names[k].strip() and k:  # the first may be the row index that pandas writes
            raise DataError(f"{path}, row 1: column {k + 1} has no name; name every column")
        if names.index(names[k]) < k:
            raise DataError(f"{path}, row 1: two columns are named {names[k]!r}; rename one of them")
    frame = frame.filter(pl.any_horizontal(pl.all().is_not_null())).select(pl.nth(kept))
    frame.columns = [names[k] for k in kept]
    return frame


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with whole numbers, dates and times of day as such: a workbook stores all of them
    as numbers with fractions.
    """
    return frame.with_columns(_narrowed(column) for column in frame.iter_columns())


def _narrowed(column: pl.Series) -> pl.Series:
    import polars as pl

    known = column.drop_nulls()
    if not len(known):
        return column
    if column.dtype.is_float() and bool((known.is_finite() & (known == known.round()) & (known.abs() < 2**53)).all()):
        return column.cast(pl.Int64)
    if isinstance(column.dtype, pl.Datetime):
        if known.dt.date().is_in(EPOCH).all():
            return column.dt.time()
        if (known.dt.time() == datetime.time(0)).all():
            return column.dt.date()
    return column
