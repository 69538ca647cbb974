"""How often values occur, in a bounded memory: exact counts of intervals between values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.data.splits import begins

MOST = 1 << 18
"""The most intervals that are kept."""

BUFFER = 1 << 20
"""The values that are sorted at a time."""


@dataclass
class Intervals:
    """Intervals that do not overlap, in ascending order, and how many values are in each.

    Attributes:
        low: (intervals,) the lowest value in each, which occurs
        high: (intervals,) the highest one, which occurs; the same in an interval of one value
        count: (intervals,) how many values are in each, exactly
    """

    low: Array
    high: Array
    count: Array

    def __len__(self) -> int:
        return len(self.low)

    @property
    def are_single(self) -> Array:
        """(intervals,) whether all values in it are the same."""
        return np.asarray(self.low == self.high)

    def merged(self, other: Intervals) -> Intervals:
        """These and other intervals, none of which overlaps one of these."""
        if not len(self):
            return other
        low, high, count = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("low", "high", "count")
        )
        order = np.argsort(low, kind="stable")
        return Intervals(low[order], high[order], count[order])

    def added(self, values: Array, counts: Array) -> Intervals:
        """With these values, which are sorted and differ, each so often."""
        at = np.searchsorted(self.low, values, side="right") - 1
        inside = (at >= 0) & (values <= self.high[at]) if len(self) else np.zeros(len(values), bool)
        np.add.at(self.count, at[inside], counts[inside])
        new = ~inside
        return self.merged(Intervals(values[new], values[new], counts[new])) if new.any() else self

    def fewer(self, most: int) -> Intervals:
        """At most `most` intervals, which is 16 or more: neighbors are put together, each time such
        that they have at most 8 / `most` of the values. One with many values stays as it is.
        """
        if len(self) <= most:
            return self
        size = 4 * -(-int(self.count.sum()) // most)
        before = np.cumsum(self.count) - self.count
        has_many = self.count >= size
        is_start = (np.diff(before // size, prepend=-1) > 0) | has_many
        is_start[1:] |= has_many[:-1]
        starts = np.flatnonzero(is_start)
        ends = np.append(starts[1:], len(self)) - 1
        return Intervals(self.low[starts], self.high[ends], np.add.reduceat(self.count, starts))


def counted(parts: Iterable[Array], within: Intervals | None = None, most: int = 0) -> Intervals:
    """The intervals of all values, or of those within some intervals."""
    found = Intervals(*(np.empty(0, np.int64) for _ in range(3)))
    for values in _buffered(parts if within is None else (_inside(part, within) for part in parts)):
        found = found.added(*np.unique(values, return_counts=True)).fewer(most or MOST)
    return found


def _buffered(parts: Iterable[Array]) -> Iterable[Array]:
    kept: list[Array] = []
    for part in parts:
        kept.append(part)
        if sum(map(len, kept)) >= BUFFER:
            yield np.concatenate(kept)
            kept = []
    if sum(map(len, kept)):
        yield np.concatenate(kept)


def _inside(values: Array, within: Intervals) -> Array:
    at = np.searchsorted(within.low, values, side="right") - 1
    return values[(at >= 0) & (values <= within.high[at])]


def in_time(passed: Callable[[], Iterable[Array]], counts: Sequence[int], most: int = 0) -> tuple[Intervals, list[int]]:
    """The intervals of all times, and the numbers of those with which the test and the validation
    set begin, exactly as `splits.begins` of all times would have it.

    Where the wanted number of rows ends within an interval, the values in it are counted one by one
    in another pass; so are the two earliest intervals, which are needed to see how many times there
    are. A beginning that is the number of intervals is that of an empty set.

    Args:
        passed: makes a pass over all times
        counts: how many rows are wanted for validation and for the test
        most: intervals; by default MOST
    """
    found = counted(passed(), most=most)
    while True:
        opened = np.zeros(len(found), bool)
        opened[:2] = True
        opened &= ~found.are_single
        if not opened.any():
            if len(found) <= sum(count > 0 for count in counts):
                return found, []
            first = begins(found.count, counts)
            for count, left in ((counts[1], len(found)), (counts[0], first[0])):
                if count:
                    totals = np.cumsum(found.count[:left][::-1])
                    opened[left - 1 - min(int(np.searchsorted(totals, count)), left - 1)] = True
            opened &= ~found.are_single
            if not opened.any():
                return found, first
        left_as_they_are = Intervals(*(getattr(found, name)[~opened] for name in ("low", "high", "count")))
        within = Intervals(*(getattr(found, name)[opened] for name in ("low", "high", "count")))
        found = left_as_they_are.merged(counted(passed(), within, most))
