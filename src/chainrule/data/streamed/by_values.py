"""Sets that follow from the values of a column: the latest times, or whole groups.

Passes over the column alone count its values; another one writes the set of each row into a file of
the cache, a byte for each. The sets are those of `splits.divide`, row by row.

By group, groups are known by a hash of 64 bits of their texts. Where there are more than
MOST_GROUPS, those whose hashes begin with the same 20 bits count as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import encoders, notes
from chainrule.data.columns import kind_of
from chainrule.data.encoders import FORMATS, as_dates
from chainrule.data.splits import Split, check_enough, sets_of_groups, too_few, wanted_rows
from chainrule.data.streamed import cache, divisions
from chainrule.data.streamed.column_fits import OtherFormatError
from chainrule.data.streamed.divisions import Sets
from chainrule.data.streamed.fit import Watch
from chainrule.data.streamed.intervals import in_time
from chainrule.data.streamed.reading import Reading
from chainrule.generators import generator

if TYPE_CHECKING:
    import polars as pl

MOST_GROUPS = 1 << 22
"""The most groups that are told apart."""

RECENT = 1 << 16
"""The groups that are looked up in a dictionary, before they are sorted into the others."""

FILE = "sets.npy"


@dataclass(frozen=True, eq=False)
class SetsByValue(Sets):
    """The set of each row, read from a file of the cache.

    Attributes:
        rows: how many there are
        held: what keeps the file in the cache
        found: what to know about the sets, in a line each
    """

    rows: int
    held: cache.Held
    found: tuple[str, ...] = ()

    @property
    def about(self) -> Any:
        return self.held.path.name

    @cached_property
    def starts(self) -> Array:
        groups = range(-(-self.rows // divisions.GROUP))
        sizes = [np.bincount(self.group(k), minlength=3) for k in groups]
        return np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(sizes, axis=0)])

    @property
    def sizes(self) -> tuple[int, int, int]:
        training, validation, test = self.starts[-1].tolist()
        return training, validation, test

    @cached_property
    def _file(self) -> Array:
        sets: Array = np.load(self.held.path / FILE, mmap_mode="r", allow_pickle=False)
        return sets

    def group(self, k: int) -> Array:
        return np.array(self._file[k * divisions.GROUP : (k + 1) * divisions.GROUP])


def sets_by(
    by: Split, reading: Reading, shares: tuple[float, float], seed: int, bound: int | None, watch: Watch | None
) -> SetsByValue:
    """The sets by the values of a column, found now unless they are in the cache.

    Args:
        by: how rows are divided
        reading: how they are read
        shares: of the validation and of the test set
        seed: of the order of the groups
        bound: the most bytes that the cache may take; None for what is free
        watch: is told how many rows have been looked at

    Raises DataError, with file and row, for a cell that is missing or no time.
    """
    rows, name = len(reading.files), reading.files.name
    counts = wanted_rows(rows, *shares)
    if rows - sum(counts) < 2:
        raise too_few(name, rows)
    by.cells(replace(reading, drop=[one for one in reading.drop if one != by.column], numbers=set()).source(
        name, reading.files[:1]))  # fmt: skip
    targets = [reading.target] if isinstance(reading.target, str) else list(reading.target)
    read = {column: kind for column, kind in reading.read.items() if column in (*targets, by.column)}
    own = Reading(reading.files, reading.target, (), reading.task, read)

    def build(folder: Path, _: Mapping[str, Any]) -> dict[str, Any]:
        column = _Column(by, own, [*targets, by.column], watch)
        division = _by_time(column, counts) if by.by == "time" else _by_group(column, counts, seed)
        sizes, first = _write(folder / FILE, rows, division)
        if sizes[0] < 2:
            raise too_few(name, rows)
        lines = notes.of_sets(by, division.groups or first, sizes, division.largest, shares)
        return {"what": "a division into sets", "source": str(Path(name).absolute()), "found": lines}

    drawn = seed if by.by == "group" else None
    key = cache.key_of("sets", reading.files.fingerprint, own.about, by.by, by.column, shares, drawn)
    held = cache.kept(key, rows, bound, build)
    return SetsByValue(rows, held, tuple(cache.about(held.path)["found"]))


@dataclass
class _Column:
    """The values by which rows are divided, pass by pass.

    Attributes:
        by: how rows are divided
        reading: how the column is read
        columns: what is read for it
        watch: is told how many rows have been looked at
        formats: in which all texts may be dates, as the passes before have shown
    """

    by: Split
    reading: Reading
    columns: list[str]
    watch: Watch | None
    formats: tuple[str, ...] = field(default=FORMATS)

    def cells(self) -> Iterator[tuple[int, str, pl.Series]]:
        """The cells of each block, with the number of its first row and its file."""
        for row, place, frame in self.reading.files.blocks(self.columns):
            yield row, place, self.by.cells(self.reading.source(place, frame))
            if self.watch is not None:
                self.watch(row + len(frame))

    def times(self) -> Iterator[tuple[int, pl.Series]]:
        """The times of each block, with the number of its first row; raises OtherFormatError where
        a text shows that all before it were read wrongly.
        """
        chosen: str | None = None
        for row, place, values in self.cells():
            if kind_of(values) != "text":
                yield row, values
                continue
            distinct = values.unique()
            left = tuple(written for written in self.formats if encoders.are_dates(distinct, written))
            are_dates = bool(left) and (chosen is not None or encoders.date_format(values) is not None)
            self.by.check_usable(place, are_dates)
            if chosen is not None and chosen != left[0]:
                raise OtherFormatError(self.by.column, left)
            self.formats, chosen = left, left[0]
            yield row, as_dates(values, chosen)


@dataclass
class _Divided:
    """How a column divides its rows.

    Attributes:
        sets: makes a pass: the values of each block, and the set of each row
        largest: how many rows the most frequent value has
        groups: how many groups each set has; None for times
    """

    sets: Callable[[], Iterator[tuple[pl.Series, Array]]]
    largest: int
    groups: list[int] | None = None


def _numbers(values: pl.Series) -> Array:
    """Times as numbers in the same order."""
    return (values if kind_of(values) == "number" else values.to_physical()).to_numpy()


def _by_time(column: _Column, counts: list[int]) -> _Divided:
    """The latest times for the test, those before them for validation."""
    while True:
        try:
            intervals, first = in_time(lambda: (_numbers(values) for _, values in column.times()), counts)
            break
        except OtherFormatError as error:
            column.formats = error.args[1]
    check_enough(column.reading.files.name, column.by, len(intervals), counts)

    def sets() -> Iterator[tuple[pl.Series, Array]]:
        for _, values in column.times():
            numbers = _numbers(values)
            found = np.zeros(len(numbers), np.int8)
            for begin in first:
                if begin < len(intervals):
                    found += numbers >= intervals.low[begin]
            yield values, found

    return _Divided(sets, int(intervals.count[intervals.are_single].max(initial=0)))


def _by_group(column: _Column, counts: list[int], seed: int) -> _Divided:
    """Whole groups, in random order."""
    groups = Groups()
    for *_, values in column.cells():
        groups.add(*_hashed(values))
    check_enough(column.reading.files.name, column.by, len(groups.sizes), counts)
    part_of = sets_of_groups(groups.sizes, counts, generator(seed, "split")).astype(np.int8)

    def sets() -> Iterator[tuple[pl.Series, Array]]:
        for *_, values in column.cells():
            hashes, index = _hashed(values)
            yield values, part_of[groups.numbers(hashes)][index]

    return _Divided(sets, int(groups.sizes.max()), np.bincount(part_of, minlength=3).tolist())


def _hashed(values: pl.Series) -> tuple[Array, Array]:
    """(values,) a hash of each different value, in the order of their first rows; (rows,) which
    value each row has.
    """
    import polars as pl

    if values.dtype.is_integer():
        distinct_numbers, first, which = np.unique(values.to_numpy(), return_index=True, return_inverse=True)
        order = np.argsort(first)
        return _mixed(distinct_numbers[order].astype(np.uint64)), _ranks(order)[which]
    texts = values.cast(pl.String)
    distinct = texts.unique(maintain_order=True)
    index = texts.replace_strict(distinct, range(len(distinct)), return_dtype=pl.Int64).to_numpy()
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in distinct.to_list())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64), index


def _mixed(numbers: Array) -> Array:
    """A hash of whole numbers, which differs if they do: the last steps of SplitMix64 (Steele, Lea
    and Flood, 2014).
    """
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _ranks(order: Array) -> Array:
    """(values,) at which place each value is in an order."""
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


class Groups:
    """Groups in the order in which they first occur, known by their hashes.

    Attributes:
        sizes: (groups,) how many rows each has
    """

    def __init__(self, most: int = 0) -> None:
        self._most = most or MOST_GROUPS
        self._hashes, self._numbers = np.empty(0, np.uint64), np.empty(0, np.int64)  # by their hashes
        self._recent: dict[int, int] = {}
        self._sizes = np.zeros(RECENT, np.int64)
        self._shift = np.uint64(0)

    def __len__(self) -> int:
        return len(self._hashes) + len(self._recent)

    @property
    def sizes(self) -> Array:
        return self._sizes[: len(self)]

    def add(self, hashes: Array, index: Array) -> None:
        """Count the rows of a block, as `_hashed` returns them."""
        numbers = self.numbers(hashes)
        for k in np.flatnonzero(numbers < 0).tolist():
            numbers[k] = self._recent.setdefault(int(hashes[k] >> self._shift), len(self))
        if len(self) > len(self._sizes):
            self._sizes = np.concatenate([self._sizes, np.zeros(len(self), np.int64)])
        self._sizes[: len(self)] += np.bincount(numbers[index], minlength=len(self))
        if len(self._recent) >= RECENT:
            self._sort()
        if len(self) > self._most and not self._shift:
            self._put_together()

    def numbers(self, hashes: Array) -> Array:
        """(hashes,) the number of each group, -1 for one that has not occurred."""
        keys = hashes >> self._shift
        at = np.searchsorted(self._hashes, keys)
        found = np.full(len(keys), -1, np.int64)
        known = np.flatnonzero(at < len(self._hashes))
        known = known[self._hashes[at[known]] == keys[known]]
        found[known] = self._numbers[at[known]]
        for k in np.flatnonzero(found < 0).tolist() if self._recent else ():
            found[k] = self._recent.get(int(keys[k]), -1)
        return found

    def _sort(self) -> None:
        keys = np.concatenate([self._hashes, np.fromiter(self._recent, np.uint64, len(self._recent))])
        numbers = np.concatenate([self._numbers, np.fromiter(self._recent.values(), np.int64, len(self._recent))])
        order = np.argsort(keys)
        self._hashes, self._numbers, self._recent = keys[order], numbers[order], {}

    def _put_together(self) -> None:
        """Those whose hashes begin with the same 20 bits are one group from now on."""
        self._sort()
        self._shift = np.uint64(44)
        keys = np.empty(len(self), np.uint64)
        keys[self._numbers] = self._hashes >> self._shift
        distinct, first, which = np.unique(keys, return_index=True, return_inverse=True)
        rank = _ranks(np.argsort(first))
        self._sizes = np.bincount(rank[which], self.sizes).astype(np.int64)
        self._hashes, self._numbers = distinct, rank


def _write(path: Path, rows: int, division: _Divided) -> tuple[list[int], list[Any]]:
    """Write the set of each row; returns how many rows each set has, and its earliest value."""
    sizes = np.zeros(3, np.int64)
    first: list[Any] = [None] * 3
    with path.open("wb") as file:
        header = {"descr": "|i1", "fortran_order": False, "shape": (rows,)}
        np.lib.format.write_array_header_2_0(file, header)
        for values, found in division.sets():
            file.write(found.tobytes())
            sizes += np.bincount(found, minlength=3)
            for part in np.unique(found).tolist() if division.groups is None else ():
                lowest = values.filter(found == part).min()
                first[part] = lowest if first[part] is None else min(first[part], lowest)
    return sizes.tolist(), first
