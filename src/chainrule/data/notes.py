"""What one should know about how data was read and split, in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import shortened
from chainrule.data.source import Source
from chainrule.data.splits import Parts, Split
from chainrule.data.tables import NO_WORDS
from chainrule.data.text import Text
from chainrule.errors import DataError, setting

if TYPE_CHECKING:
    import polars as pl

    from chainrule.data.preparation import Preparation

NAMES = ("training", "validation", "test")
MOST = 5
"""The most columns with texts that were read as missing that are named."""
APART = 0.03
"""A share of the rows that differs from the one asked for by less is what was asked for."""


def of_files(source: Source) -> list[str]:
    """Which files a pattern matched."""
    names = [shortened(name) for name in source.files]
    if len(names) < 2:
        return [f"read one file: {name}" for name in names]
    return [f"read {len(names):,} files as one table, in the order of their names: {names[0]} to {names[-1]}"]


def of_text(text: Text, wanted: bool) -> tuple[str, ...]:
    """Which files a pattern matched, and that a file that may be a table was read as a text."""
    lines = [f"read {len(text.files):,} files as one text, in the order of their names"] * (len(text.files) > 1)
    if not wanted and ".txt" in text.name.lower():
        lines.append(f"it is read as a text; to read it as a table, name the column to predict ({setting('target')})")
    return tuple(lines)


def of_order(order: Sequence[Any] | None, source: Source) -> list[str]:
    """Which classes of an order never occur."""
    occurring = set() if order is None or source.target is None else {*map(str, np.unique(source.target).tolist())}
    absent = [shortened(label) for label in order or () if str(label) not in occurring]
    if not absent:
        return []
    return [f"no row has {' or '.join(map(repr, absent))}, which the order of the classes names: a typo?"]


def of_missing(source: Source, preparation: Preparation) -> list[str]:
    """Which texts among categories and words were read as missing, such as 'none'."""
    import polars as pl

    marks = {}
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        values = source.features[column] if column in source.features.columns else None
        if encoder.role not in ("category", "text") or values is None or values.dtype != pl.String:
            continue
        found = values.filter(values.is_in(NO_WORDS) & (values.str.strip_chars() != "")).value_counts(sort=True)
        marks[column] = dict(found.rows())
    return of_marks(marks)


def of_marks(marks: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The same of how often each text occurs in each column."""
    lines = []
    for column, found in marks.items():
        often = sorted(found.items(), key=lambda one: -one[1])
        counts = ", ".join(f"{count:,} cell{'s' * (count != 1)} {value!r}" for value, count in often)
        if counts:
            lines.append(f"read {counts} as missing in column {shortened(column)!r}: rename what is a value of its own")
    return lines[:MOST] + [f"and in {len(lines) - MOST:,} more columns"] * (len(lines) > MOST)


def of_split(by: Split, values: pl.Series | None, rows: Parts, wanted: Sequence[float | None]) -> list[str]:
    """Where the sets begin, or how many groups they have, and where whole times and groups make
    another share of the rows than the one that was asked for.

    Args:
        by: how the rows were divided
        values: the times or groups; None if there are none
        rows: those of the training, validation and test set
        wanted: the shares of validation and test that were asked for
    """
    if values is None:
        return []
    by_time = by.by == "time"
    found = [(values[part].min() if by_time else values[part].n_unique()) if len(part) else None for part in rows]
    return of_sets(by, found, [len(part) for part in rows], _largest(values), wanted)


def of_sets(
    by: Split, found: Sequence[Any], sizes: Sequence[int], largest: int, wanted: Sequence[float | None]
) -> list[str]:
    """The same, of what is known of the training, validation and test set.

    Args:
        by: how the rows were divided
        found: the first time of each set, or how many groups it has
        sizes: how many rows it has
        largest: how many rows the most frequent time or group has
        wanted: the shares of validation and test that were asked for
    """
    held_out = [(name, one) for name, one, size in zip(NAMES, found, sizes, strict=True) if size]
    if by.by == "time":
        what = [f"the {name} set begins at {_written(first)}" for name, first in held_out[1:]]
        lines = [f"by {by.column!r}, {', '.join(what)}"] if what else []
    else:
        what = [f"{groups:,} for {name}" for name, groups in held_out]
        lines = [f"groups of {by.column!r}: {', '.join(what)}"]
    total = sum(sizes)
    whole = f"each {by.by} stays whole, and the largest has {_percent(largest / total)} of the rows"
    for name, size, share in zip(NAMES[1:], sizes[1:], wanted, strict=True):
        if share and abs(size / total - share) > APART:
            lines.append(f"the {name} set has {_percent(size / total)} of the rows, not {_percent(share)}: {whole}")
    return lines


def of_own(by: Split, values: pl.Series | None, training: Array, own: Source) -> list[str]:
    """Whether separate data for validation or test is older than what is trained on, or of the same
    groups.

    Args:
        by: how the rows were divided
        values: the times or groups of the rows; None if there are none
        training: the rows to train on
        own: the separate data
    """
    import polars as pl

    if values is None:
        return []
    trained = values[training]
    try:
        theirs = by.values(own)
        assert theirs is not None
        if by.by == "time":
            shared = theirs <= trained.max()
        else:
            shared = theirs.cast(pl.String).is_in(trained.cast(pl.String).unique().implode())
    except (DataError, pl.exceptions.PolarsError):  # no such column, or one of another type
        unknown = "whether they are later than" if by.by == "time" else "whether they are of other groups than"
        return [f"{own.name}: {unknown} the training rows can't be told by its {by.column!r}"]
    if not (count := int(shared.sum())):
        return []
    which = f"all of its {count:,}" if count == len(theirs) else f"{count:,} of its {len(theirs):,}"
    problem = (
        f"no later than the last training row ({_written(trained.max())})"
        if by.by == "time"
        else "of groups trained on"
    )
    return [f"{own.name}: {which} rows are {problem}, by {by.column!r}"]


def _largest(values: pl.Series) -> int:
    """The number of rows of the most frequent value."""
    return int(values.value_counts(name="rows")["rows"].max())  # type: ignore[arg-type]


def _written(time: Any) -> str:
    """A time, a date or a number; of a time at midnight the date."""
    return f"{time:g}" if isinstance(time, float) else str(time).removesuffix(" 00:00:00")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
