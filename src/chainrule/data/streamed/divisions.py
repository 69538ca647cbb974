"""Which rows are for training, validation and test, without an array of all of them.

By chance and in order, rows are divided by their numbers, group by group, each of GROUP
consecutive rows. By chance, each group is divided by a permutation of its own, keyed by the seed
and the group's number; the number of rows that a group has in each set is such that all groups
before it have the wanted shares, rounded. So the sets have exactly the wanted sizes, and which set
a row is in follows from its number and the seed. Other than in memory, classes keep their
proportions by chance alone.

By time and by group, the set of each row is kept in a file of the cache (`by_values`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data.splits import wanted_rows
from chainrule.errors import DataError
from chainrule.generators import generator

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = 1 << 16
"""The consecutive rows that are divided together."""

MOST_NUMBERS = 50_000_000
"""The most row numbers that are made an array of."""

TRAINING, VALIDATION, TEST = range(3)


class Sets:
    """The set of each row.

    Attributes:
        rows: how many there are
        about: all that the sets follow from, besides the data, as JSON
    """

    rows: int

    @property
    def about(self) -> Any:
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of rows of each set."""
        raise NotImplementedError

    @property
    def starts(self) -> Array:
        """(groups + 1, 3) how many rows of each set come before each group, and in all."""
        raise NotImplementedError

    def group(self, k: int) -> Array:
        """(rows of group k,) the set of each row."""
        raise NotImplementedError

    def sets(self, start: int, stop: int) -> Array:
        """(rows,) the set of each of these consecutive rows: 0 for training, 1 for validation, 2
        for the test.
        """
        if start >= stop:
            return np.zeros(0, np.int8)
        groups = range(start // GROUP, (stop - 1) // GROUP + 1)
        whole = np.concatenate([self.group(k) for k in groups])
        return whole[start - groups[0] * GROUP : stop - groups[0] * GROUP]

    def row_numbers(self, part: int) -> RowNumbers:
        """The row numbers of a set."""
        return RowNumbers(self.sizes[part], part, self.starts[:, part], self.group)


@dataclass(frozen=True, eq=False)
class Division(Sets):
    """Sets that follow from the numbers of rows alone.

    Attributes:
        rows: how many there are
        validation: the share of the validation set
        test: the share of the test set
        seed: of the division by chance; None for the last rows as test set, those before as
            validation set
    """

    rows: int
    validation: float
    test: float
    seed: int | None

    @property
    def about(self) -> Any:
        return self.validation, self.test, self.seed

    @cached_property
    def sizes(self) -> tuple[int, int, int]:
        held_out = wanted_rows(self.rows, self.validation, self.test)
        return self.rows - sum(held_out), held_out[0], held_out[1]

    @cached_property
    def starts(self) -> Array:
        ends = np.minimum(np.arange(-(-self.rows // GROUP) + 1) * GROUP, self.rows)
        training, validation, test = self.sizes
        if self.seed is None:
            before = [np.clip(ends - training, 0, validation), np.clip(ends - training - validation, 0, test)]
        else:  # of Python's integers, which hold any product
            before = [(ends.astype(object) * size // self.rows).astype(np.int64) for size in (validation, test)]
        return np.stack([ends - before[0] - before[1], *before], axis=1)

    def group(self, k: int) -> Array:
        return _set_of_each(self, k)


@lru_cache(maxsize=16)
def _set_of_each(division: Division, k: int) -> Array:
    """(rows of group k,) the set of each row."""
    _, validation, test = (division.starts[k + 1] - division.starts[k]).tolist()
    count = min(GROUP, division.rows - k * GROUP)
    sets = np.zeros(count, np.int8)
    order = np.arange(count) if division.seed is None else generator(division.seed, "split", k).permutation(count)
    if division.seed is None:
        sets[count - validation - test : count - test] = VALIDATION
        sets[count - test :] = TEST
    else:
        sets[order[:validation]], sets[order[validation : validation + test]] = VALIDATION, TEST
    sets.flags.writeable = False
    return sets


@dataclass(frozen=True, eq=False)
class RowNumbers:
    """The row numbers of a set in ascending order, which stand for an array of them.

    Attributes:
        count: how many there are
        part: the set
        starts: (groups + 1,) how many come before each group
        group: the set of each row of a group, by its number
    """

    count: int
    part: int
    starts: Array
    group: Callable[[int], Array]

    dtype = np.dtype(np.int64)
    ndim = 1

    @property
    def shape(self) -> tuple[int]:
        """(rows,)."""
        return (self.count,)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            which = np.arange(*which.indices(self.count))
        index = np.asarray(which)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        flat = np.where(index < 0, index + self.count, index).ravel()
        if flat.size and not (flat.min() >= 0 and flat.max() < self.count):
            raise IndexError(f"row {which} of a set of {self.count:,}")
        groups = np.searchsorted(self.starts, flat, side="right") - 1
        found = np.empty(len(flat), np.int64)
        for k in np.unique(groups).tolist():
            inside = np.flatnonzero(self.group(k) == self.part)
            here = groups == k
            found[here] = inside[flat[here] - self.starts[k]] + k * GROUP
        return found.reshape(index.shape) if index.ndim else int(found[0])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        if self.count > MOST_NUMBERS:
            what = f"the numbers of {self.count:,} rows are too many for an array"
            raise DataError(f"{what}; this works on data that fits into memory")
        return self[:] if dtype is None else self[:].astype(dtype)
