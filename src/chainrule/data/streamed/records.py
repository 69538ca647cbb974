"""How a prepared sample is written into the cache: as a record of fixed size, from which exactly
the float32 inputs come back.

Numbers are kept as they were prepared. What has few different values, such as a category, its
inputs for each value, a month, or whether a value is missing, is kept as a code of one or two
bytes: its inputs are a row of a table, which the same preparation has made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data.columns import conform
from chainrule.data.encoders import Category, Date
from chainrule.data.preparation import Preparation, scaled
from chainrule.data.prepared import prepared
from chainrule.data.source import check_finite
from chainrule.data.targets import Target

if TYPE_CHECKING:
    import polars as pl

FEW, MANY = 1 << 8, 1 << 16
"""How many codes one byte has, and two."""

PART = 2048
"""The samples that are expanded at a time, so that they stay in the processor's cache."""

SMALL = {"month": 13, "day": 32, "hour": 24}
"""The parts of dates that are kept as codes, with how many values they may have."""


@dataclass(frozen=True)
class Coded:
    """Inputs that are kept as a code.

    Attributes:
        encoder: the number of the column's encoder
        first, stop: the first of the inputs, and the one after the last
        table: (codes, inputs) float32 their values for each code
    """

    encoder: int
    first: int
    stop: int
    table: Array


@dataclass(frozen=True, eq=False)
class Layout:
    """What a record consists of.

    Attributes:
        preparation: what prepares the samples
        weighted: whether samples have weights
    """

    preparation: Preparation
    weighted: bool

    @cached_property
    def coded(self) -> list[Coded]:
        """The inputs that are kept as codes."""
        mean, deviation = self.preparation.mean, self.preparation.deviation
        assert mean is not None
        assert deviation is not None
        found: list[Coded] = []

        def code(encoder: int, first: int, columns: Any) -> None:
            values = [scaled(np.asarray(one, np.float64), mean[first + k], deviation[first + k])
                      for k, one in enumerate(columns)]  # fmt: skip
            table = np.stack(values, axis=1).astype(np.float32)
            found.append(Coded(encoder, first, first + len(values), table))

        k = 0
        for number, encoder in enumerate(self.preparation.encoders):
            count = len(encoder.names("")) + encoder.marks_missing
            if isinstance(encoder, Category):
                codes = np.arange(len(encoder.values) + 2)
                if len(codes) <= MANY:
                    code(number, k, encoder.of_codes(codes))
            elif isinstance(encoder, Date):
                for at, part in enumerate(encoder.parts):
                    if part in SMALL:  # the last code is a missing value
                        code(number, k + at, [[*range(SMALL[part]), np.nan]])
            if encoder.marks_missing:
                code(number, k + count - 1, [[0.0, 1.0]])
            k += count
        return found

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """The inputs that are kept as numbers: the first, the one after the last, and where the
        first is among these numbers; of each run of neighbours.
        """
        inputs, found, at = self.preparation.shape[-1], [], 0
        taken = np.zeros(inputs + 2, bool)
        taken[-1] = taken[0] = True
        for one in self.coded:
            taken[one.first + 1 : one.stop + 1] = True
        edges = np.flatnonzero(np.diff(taken)).reshape(-1, 2)
        for start, stop in edges.tolist():
            found.append((start, stop, at))
            at += stop - start
        return found

    @cached_property
    def numbers(self) -> int:
        """How many inputs are kept as numbers."""
        return sum(stop - start for start, stop, _ in self.runs)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The type of a record, as in a file of NPY."""
        wide = [one for one in self.coded if len(one.table) > FEW]
        narrow = len(self.coded) - len(wide)
        target = self.preparation.target
        fields: list[Any] = [("y", *_of_target(target))]
        fields += [("weight", "<f8")] * self.weighted
        fields += [("x", "<f4", (self.numbers,))] * bool(self.numbers)
        fields += [("wide", "<u2", (len(wide),))] * bool(wide) + [("codes", "u1", (narrow,))] * bool(narrow)
        size = np.dtype(fields).itemsize
        fields += [("rest", f"V{-size % 4}")] * bool(size % 4)  # so that numbers are aligned
        return np.dtype(fields)

    def records(self, name: str, frame: pl.DataFrame, target: Array, weight: Array | None) -> Array:
        """(rows,) records of a table's rows.

        Raises DataError, with the row, for a cell that can't be prepared.
        """
        preparation = self.preparation
        frame = conform(name, frame, preparation.columns)
        check_finite(name, frame)
        found = np.zeros(len(frame), self.dtype)
        found["y"] = preparation.target.encode(target, name).reshape(found["y"].shape)
        if self.weighted:
            found["weight"] = weight
        columns = {one.first: (column, at) for one, column, at in self._places}
        at = dict(zip(self._inputs, range(self.numbers), strict=True))
        for first, values in self._columns(name, frame):
            if first in columns:
                column, k = columns[first]
                found[column][:, k] = values
            else:
                found["x"][:, at[first]] = values
        if self.numbers:
            preparation.check_finite(name, found["x"], inputs=self._inputs)
        return found

    @cached_property
    def _inputs(self) -> list[int]:
        """The inputs that are kept as numbers."""
        return [k for start, stop, _ in self.runs for k in range(start, stop)]

    def _columns(self, name: str, frame: pl.DataFrame) -> Iterator[tuple[int, Array]]:
        """The codes and the numbers of a table's rows, each with the number of its first input."""
        mean, deviation = self.preparation.mean, self.preparation.deviation
        assert mean is not None
        assert deviation is not None
        last, coded = {one.first: len(one.table) - 1 for one in self.coded}, {one.encoder for one in self.coded}
        k = 0
        for number, (encoder, column) in enumerate(zip(self.preparation.encoders, frame.iter_columns(), strict=True)):
            if isinstance(encoder, Category) and number in coded:
                codes = encoder.codes(column)
                yield k, np.where(codes < 0, last[k], codes)
                k += len(encoder.names(""))
                continue
            missing = None
            for values in encoder.encode(name, column):
                missing = np.isnan(values) if encoder.marks_missing and missing is None else missing
                if k in last:  # a part of a date
                    yield k, np.where(np.isnan(values), last[k], values)
                else:
                    yield k, values if encoder.is_index else scaled(values, mean[k], deviation[k])
                k += 1
            if missing is not None:
                yield k, missing
                k += 1

    def _place(self, one: Coded) -> tuple[str, int]:
        """The field of a record in which a code is, and where in it."""
        is_wide = len(one.table) > FEW
        same = [other for other in self.coded if (len(other.table) > FEW) == is_wide]
        return "wide" if is_wide else "codes", same.index(one)

    @cached_property
    def _places(self) -> list[tuple[Coded, str, int]]:
        return [(one, *self._place(one)) for one in self.coded]

    @property
    def of_targets(self) -> np.dtype[Any]:
        """The type of the targets as the loss takes them."""
        return np.dtype(np.int64 if self.preparation.target.is_class else np.float64)

    def empty(self, rows: int) -> Samples:
        """Room for so many samples."""
        x = np.empty((rows, self.preparation.shape[-1]), np.float32)
        y = np.empty((rows, *self.dtype["y"].shape), self.of_targets)
        return Samples(prepared(x), prepared(y), np.empty(rows) if self.weighted else None)

    def samples(self, records: Array) -> Samples:
        """The samples that these records are of."""
        found = self.empty(len(records))
        self.expand(records, found, 0)
        return found

    def expand(self, records: Array, out: Samples, row: int) -> None:
        """Write the samples of these records, from this row on."""
        x, y = np.asarray(out.x).view(np.ndarray), np.asarray(out.y).view(np.ndarray)
        for first in range(0, len(records), PART):
            some = records[first : first + PART]
            rows = slice(row + first, row + first + len(some))
            self._expand(some, x[rows])
            y[rows] = some["y"]
            if out.weight is not None:
                out.weight[rows] = some["weight"]

    def _expand(self, records: Array, x: Array) -> None:
        for start, stop, at in self.runs:
            x[:, start:stop] = records["x"][:, at : at + stop - start]
        for one, field, at in self._places:
            x[:, one.first : one.stop] = one.table.take(records[field][:, at], axis=0)


def _of_target(target: Target) -> tuple[Any, ...]:
    """The type and the shape of a target in a record."""
    if target.is_class:
        return ("u1" if target.width <= FEW else "<u2" if target.width <= MANY else "<u4",)
    return ("<f8" if target.task == "regression" else "u1", (target.width,))
