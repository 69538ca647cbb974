"""How the columns of a table were read, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainrule.data.columns import KINDS, kind_of
from chainrule.data.dataset import Dataset

if TYPE_CHECKING:
    import polars as pl

VALUES, LENGTH = 4, 40
"""The number of first values that are shown of a column, and the characters of each."""


@dataclass(frozen=True)
class ColumnPreview:
    """A column of a table.

    Attributes:
        name: its name
        type: how it was read, one of the values of KINDS; empty if it can't be used
        use: what becomes of it; empty if unknown
        missing: the number of missing values
        values: its first values that are not missing, as text
    """

    name: str
    type: str
    use: str
    missing: int
    values: tuple[str, ...]


def preview(frame: pl.DataFrame, target: str, data: Dataset | None, most: int) -> list[ColumnPreview]:
    """The columns of a table.

    Args:
        frame: the table
        target: the column to predict
        data: the table prepared for training; None if it can't be
        most: the maximum number of columns to describe
    """
    uses = {} if data is None else {column.name: column.use for column in data.columns} | {target: _use_of_target(data)}
    columns = []
    for column in list(frame.iter_columns())[:most]:
        kind = kind_of(column)
        values = [] if kind is None else column.drop_nulls()[:VALUES].to_list()
        shown = tuple(text if len(text := str(value)) <= LENGTH else text[: LENGTH - 1] + "…" for value in values)
        read_as = "" if kind is None else KINDS[kind]
        left_out = "left out: its values are not numbers, text, dates or true and false" if kind is None else ""
        use = uses.get(column.name, left_out)
        columns.append(ColumnPreview(column.name, read_as, use, column.null_count(), shown))
    return columns


def _use_of_target(data: Dataset) -> str:
    if data.target.is_class:
        return f"predicted: one of {len(data.target.classes)} classes"
    return "predicted: a number, scaled to mean 0 and standard deviation 1"
