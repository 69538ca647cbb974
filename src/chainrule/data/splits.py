"""Which rows are for training, which for validation and which for the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import check_cells, kind_of
from chainrule.data.encoders import as_dates, cleaned, date_format
from chainrule.data.source import OF_CLASSES, Source
from chainrule.data.targets import infer_task
from chainrule.errors import DataError, SettingError, require, setting, unknown
from chainrule.generators import generator

if TYPE_CHECKING:
    import polars as pl

Parts = tuple[Array, Array, Array]
"""Sorted row numbers of the training, validation and test set."""


@dataclass(frozen=True)
class Split:
    """How rows are divided.

    Attributes:
        by: "time" (the latest are the test set, those before them the validation set), "group" (no
            group is in two sets), "order" (as "time", by the order of the rows), "end" (the end of
            a text), or "chance"
        column: that of the times or groups; empty for the others
    """

    by: str = "chance"
    column: str = ""

    @staticmethod
    def named(text: Any, shuffle: bool = True) -> Split:
        """The split of this text, such as "time:date" or "group:patient"; None for chance, or for
        the order of the rows unless they are shuffled.
        """
        require(isinstance(shuffle, bool), f"shuffle is {shuffle!r}; pass True or False")
        if text is None:
            return Split("chance" if shuffle else "order")
        require(shuffle, f"the split {text!r} can't be combined with {setting('shuffle', False)}; choose one of them")
        by, _, column = text.partition(":") if isinstance(text, str) else ("", "", "")
        if by and column and by not in ("time", "group"):
            raise unknown("way to split", by, ("time", "group"))
        if not by or not column:
            raise SettingError(f"the split {text!r}: write it as time:COLUMN or group:COLUMN, such as time:date")
        return Split(by, column)

    @property
    def note(self) -> str:
        """What one should know about it; empty for chance."""
        return {
            "time": f"split by time: the latest rows by {self.column!r} are held out",
            "group": f"split by group: no {self.column!r} is in two sets; it is no input",
            "order": "split in order: the last rows are held out",
            "end": "split in order: the end of the text is held out",
        }.get(self.by, "")

    def values(self, source: Source) -> pl.Series | None:
        """The column of times, which are numbers if they were texts, or of groups; None if there is
        none to look at.

        Raises DataError for an unknown column, and for cells that are missing or no time.
        """
        if not self.column:
            return None
        if not source.is_table:
            raise DataError(f"{source.name}: it is not a table with columns to split by; leave {setting('split')} out")
        values = self.cells(source)
        if self.by == "time" and kind_of(values) == "text":
            written = date_format(values)
            self.check_usable(source.name, written is not None)
            return as_dates(values, written or "")
        return values

    def cells(self, source: Source) -> pl.Series:
        """The column as it is, with texts that are no dates yet, of a table or a part of its rows.

        Raises DataError for an unknown column, and for cells that are missing or no time.
        """
        if self.column in (source.target_name, *source.target_columns):
            problem = f"is the target, by which rows can't be split; name another column ({setting('split')})"
            raise DataError(f"{source.name}: {self.column!r} {problem}")
        if self.column not in source.features.columns:
            raise DataError(f"{source.name}: {unknown('column', self.column, source.features.columns)}")
        values = source.features[self.column]
        if kind_of(values) == "text":
            values = cleaned(values)
        missing = values.is_null() | (values.is_nan() if values.dtype.is_float() else False)
        check_cells(source.name, values, missing, f"the {self.by} is missing, by which rows are split; fill it in")
        of_time = ("number", "date", "time", "clock", "duration", "text")
        self.check_usable(source.name, kind_of(values) in of_time if self.by == "time" else kind_of(values) is not None)
        return values

    def check_usable(self, name: str, usable: bool) -> None:
        """Raise DataError if the values of the column can't be used."""
        problem = "its values are no dates, times or numbers" if self.by == "time" else "its values are of no use"
        if not usable:
            raise DataError(f"{name}, column {self.column!r}: {problem}, by which rows could be split")

    def without(self, source: Source, drop: list[str]) -> Source:
        """The source without the column, if it is to be dropped, or marks groups: those of new rows
        are others.
        """
        if not self.column or (self.by == "time" and self.column not in drop):
            return source
        features = source.features.drop(self.column)
        if not features.width:
            raise DataError(f"{source.name}: there is no feature besides {self.column!r}, by which rows are split")
        return replace(source, features=features)


CHANCE = Split()


def checked_share(name: str, share: Any) -> float:
    """The share of a held-out set; raises SettingError unless it is at least 0 and less than 1."""
    is_share = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share < 1
    require(is_share, f"the {name} share is {share}; it must be at least 0 and less than 1")
    return share


def divide(
    source: Source,
    validation: float,
    test: float,
    seed: int,
    by: Split = CHANCE,
    values: pl.Series | None = None,
) -> Parts:
    """Divide the rows; by chance, classes keep their proportions.

    Args:
        source: what to split
        validation: share of the rows for the validation set, at least one row unless 0
        test: the same for the test set
        seed: seed of the split
        by: how
        values: `by.values(source)`, if it is known
    """
    validation, test = checked_share("validation", validation), checked_share("test", test)
    samples = len(source)
    counts = wanted_rows(samples, validation, test)
    values = by.values(source) if values is None else values
    if samples - sum(counts) < 2:
        raise too_few(source.name, samples)
    random = generator(seed, "split")
    if by.by == "group":
        assert values is not None
        return _by_group(source, values, counts, random)
    if by.by == "chance":
        order = random.permutation(samples)
        is_classified = source.target is not None and infer_task(source, source.target) in OF_CLASSES
        if is_classified and source.target is not None and source.target.ndim == 1:
            order = _interleaved(source.target[order], order, random)
        parts = np.zeros(samples, dtype=np.int8)
        parts[order[: counts[0]]], parts[order[counts[0] : sum(counts)]] = 1, 2
        return _divided(source, parts)
    return _in_order(source, values, counts)


def wanted_rows(samples: int, validation: float, test: float) -> list[int]:
    """How many rows are wanted for validation and for the test."""
    return [max(round(share * samples), 1) if share else 0 for share in (validation, test)]


def too_few(name: str, samples: int) -> DataError:
    """The error that too few rows are left to train on."""
    hint = f"add rows, or hold out fewer ({setting('validation')}, {setting('test')})"
    return DataError(f"{name}: {samples} rows leave fewer than 2 to train on; {hint}")


def _interleaved(classes: Array, order: Array, random: np.random.Generator) -> Array:
    """The rows in an order in which every stretch has the classes in their overall proportions."""
    _, indices, counts = np.unique(classes, return_inverse=True, return_counts=True)
    position = np.empty(len(order))
    for index, count in enumerate(counts):
        # Each class is spread evenly over (0, 1), with a random offset.
        position[indices == index] = (np.arange(count) + random.uniform()) / count
    return order[np.argsort(position, kind="stable")]


def _in_order(source: Source, times: pl.Series | None, counts: list[int]) -> Parts:
    """The latest times for the test, those before for validation. Without times, every row is one
    of its own.
    """
    ranks = np.arange(len(source)) if times is None else times.rank("dense").to_numpy().astype(np.int64) - 1
    sizes = np.bincount(ranks)
    if times is not None:
        check_enough(source.name, Split("time", times.name), len(sizes), counts)
    test, validation = begins(sizes, counts)
    return _divided(source, (ranks >= validation).astype(np.int64) + (ranks >= test))


def begins(sizes: Array, counts: Sequence[int]) -> list[int]:
    """The first time of the test set, and of the validation set: those for which the sets have
    about the wanted numbers of rows, so that no time is in two sets.

    Args:
        sizes: (times,) how many rows have each time, from the earliest
        counts: how many rows are wanted for validation and for the test
    """
    found, left = [], len(sizes)
    for count, earlier in ((counts[1], 1 + bool(counts[0])), (counts[0], 1)):
        totals = np.cumsum(sizes[earlier:left][::-1])
        left -= 1 + int(np.argmin(np.abs(totals - count))) if count else 0
        found.append(left)
    return found


def _by_group(source: Source, groups: pl.Series, counts: list[int], random: np.random.Generator) -> Parts:
    import polars as pl

    texts = groups.cast(pl.String)
    names = texts.unique(maintain_order=True)
    labels = texts.replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    sizes = np.bincount(labels)
    check_enough(source.name, Split("group", groups.name), len(sizes), counts)
    return _divided(source, sets_of_groups(sizes, counts, random)[labels])


def sets_of_groups(sizes: Array, counts: Sequence[int], random: np.random.Generator) -> Array:
    """(groups,) the set of each: whole groups in random order, for the test and for validation as
    many as fit into their shares, at least one; the others are for training.

    Args:
        sizes: (groups,) how many rows each has, in the order in which they first occur
        counts: how many rows are wanted for validation and for the test
        random: draws the order
    """
    part_of = np.zeros(len(sizes), dtype=np.int64)
    for part, count in ((2, counts[1]), (1, counts[0])):
        taken = 0
        for group in random.permutation(len(sizes)).tolist():
            if not part_of[group] and taken + sizes[group] <= count:
                part_of[group], taken = part, taken + sizes[group]
        if count and not taken:  # all are larger than the share
            free = np.flatnonzero(part_of == 0)
            part_of[free[np.argmin(sizes[free])]] = part
    return part_of


def check_enough(name: str, by: Split, found: int, counts: Sequence[int]) -> None:
    """Raise DataError unless each set can have a time or a group of its own, of those found."""
    needed = 1 + sum(count > 0 for count in counts)
    if found < needed:
        there = f"all rows have the same {by.by}" if found == 1 else f"there are {found} {by.by}s"
        problem = f"{there}, but each of the {needed} sets needs one; hold out fewer sets, or split otherwise"
        raise DataError(f"{name}, column {by.column!r}: {problem}")


def _divided(source: Source, parts: Array) -> Parts:
    """The rows of each set, whose numbers these are: 0 for training, 1 for validation, 2 for the
    test.
    """
    training, validation, test = (np.flatnonzero(parts == part) for part in range(3))
    if len(training) < 2:
        raise too_few(source.name, len(source))
    return training, validation, test
