"""How the columns of a table were read, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainrule.data.dataset import Dataset
from chainrule.data.preparation import kind_of

if TYPE_CHECKING:
    import polars as pl

VALUES, LENGTH = 4, 40
"""The number of first values that are shown of a column, and the characters of each."""
TYPES = {"truth": "true or false", "number": "number", "date": "date", "time": "date and time", "text": "text"}


@dataclass(frozen=True)
class ColumnPreview:
    """A column of a table.

    Attributes:
        name: its name
        type: how it was read, one of the values of TYPES
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
    uses = {} if data is None else {**_uses(data), target: _use_of_target(data)}
    columns = []
    for column in list(frame.iter_columns())[:most]:
        values = column.drop_nulls()[:VALUES].to_list()
        shown = tuple(text if len(text := str(value)) <= LENGTH else text[: LENGTH - 1] + "…" for value in values)
        kind = TYPES[kind_of(column)]
        columns.append(ColumnPreview(column.name, kind, uses.get(column.name, ""), column.null_count(), shown))
    return columns


def _use_of_target(data: Dataset) -> str:
    if data.task == "classification":
        return f"predicted: one of {len(data.target.classes)} classes"
    return "predicted: a number, scaled to mean 0 and standard deviation 1"


def _uses(data: Dataset) -> dict[str, str]:
    """What the fitted preparation makes of each feature."""
    assert data.preparation is not None
    vectorizer = data.preparation.pipeline.steps[0][1]
    inputs, names = vectorizer.input_to_outputs_, set(data.preparation.names)
    return {
        column: _use(kind, column, list(inputs.get(column, ())), f"missingindicator_{inputs[column][0]}" in names)
        for column, kind in vectorizer.column_to_kind_.items() if inputs.get(column)
    }  # fmt: skip


def _use(kind: str, column: str, inputs: list[str], has_indicator: bool) -> str:
    """What becomes of a feature of this kind of the vectorizer, in words."""
    count = f"{len(inputs)} input" + "s" * (len(inputs) != 1)
    parts = [name.removeprefix(f"{column}_").replace("_", " ") for name in inputs]
    words: dict[str, Any] = {
        "numeric": f"{count}, scaled to mean 0 and standard deviation 1",
        "datetime": f"{count}: {', '.join(parts)}",
        "low_cardinality": f"{count}, one for each value" if len(inputs) > 1 else f"{count}: whether it is {parts[0]}",
        "high_cardinality": f"{count}, computed from the letters of the text",
    }
    more = "; a missing value becomes the mean, and one more input says that it is missing"
    return str(words.get(kind, count)) + more * has_indicator
