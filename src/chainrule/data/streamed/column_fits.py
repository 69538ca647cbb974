"""Encoders of a table's columns, fitted block by block: as `encoders.fit_encoder`, whose results
they are up to the rounding of sums.

Other than in memory, texts that are no categories are fitted, with the scale of their inputs, to
SAMPLE rows of the training set, drawn by chance; all of them if there are no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import encoders
from chainrule.data.columns import CATEGORIES, INDEX, MANY, OFTEN, WORDS, as_kind, check_cells, kind_of, most_inputs
from chainrule.data.encoders import Category, Date, Encoder, Number, as_dates, cleaned
from chainrule.data.preparation import SAME, mean_and_deviation_of, with_one_deviation
from chainrule.data.streamed.statistics import Counts, Drawn, Moments
from chainrule.data.tables import NO_WORDS
from chainrule.errors import DataError, setting
from chainrule.generators import generator

if TYPE_CHECKING:
    import polars as pl

SAMPLE = 50_000
"""The rows of the training set to which texts that are no categories are fitted."""

WIDE = 1000
"""The values that a category may have however many rows there are: a record has one number for it.
In memory it has all inputs, so that there may be fewer in many rows.
"""

Scale = list[tuple[float, float]]
"""The mean and the deviation, which may be 0, of each input."""

MarksOf = Callable[["pl.Series"], Encoder | None]


class OtherFormatError(Exception):
    """Later dates show that a text's dates are written otherwise than the first ones seemed to be:
    all blocks must be read again.
    """


class ColumnFit:
    """What is known of a column after some blocks.

    Attributes:
        name: its name
        kind: what it is read as; None as long as all its values are missing
        missing: how many training rows lack a value, and their weight
    """

    def __init__(self, name: str, seed: int, formats: tuple[str, ...]) -> None:
        self.name = name
        self.kind: str | None = None
        self._rows = self._nulls = 0
        self._first: Any = None
        self._differs = False
        self._last: Any = None
        self._is_index = name in INDEX
        self._training, self._weight = 0, 0.0
        self.missing, self._weight_missing = 0, 0.0
        self._of_kind: _Numbers | _Dates | _Texts | None = None
        self._seed, self._formats = seed, formats

    def add(self, place: str, column: pl.Series, row: int, training: Array, weight: Array | None) -> None:
        """Take a block into account.

        Args:
            place: the name of the file, for messages
            column: its values
            row: the number of its first row
            training: the rows of the block that are for training
            weight: (training rows,) their weights
        """
        rows, nulls = len(column), column.null_count()
        self._watch(column, nulls)
        self._rows, self._nulls = self._rows + rows, self._nulls + nulls
        self._training += len(training)
        self._weight += len(training) if weight is None else float(weight.sum())
        if nulls == rows:
            self._miss(np.ones(len(training), bool), weight)
            return
        kind = str(kind_of(column))
        if self.kind is None:
            self.kind, self._of_kind = kind, self._start(kind)
        assert self._of_kind is not None
        if kind != self.kind:
            raise DataError(f"{place}, column {self.name!r}: it is a {kind} here, but a {self.kind} in earlier rows")
        values = as_kind(place, column, kind, "which it is read as")
        self._miss(self._of_kind.add(place, values, row, training, weight), weight)

    def _start(self, kind: str) -> _Numbers | _Dates | _Texts:
        if kind in ("text", "category"):
            return _Texts(kind, self.name, self._seed, self._formats)
        return _Dates() if kind in ("date", "time") else _Numbers()

    def _miss(self, missing: Array, weight: Array | None) -> None:
        count = int(missing.sum())
        self.missing += count
        if count:
            self._weight_missing += count if weight is None else float(weight[missing].sum())

    def _watch(self, column: pl.Series, nulls: int) -> None:
        """Look for what makes a column useless: no differences, or the numbers of its rows."""
        if not self._rows:
            self._first = column[0]
        if not self._differs:
            is_same = column[0] == self._first or (column[0] is None and self._first is None)
            self._differs = not is_same or column[-1] != column[0] or column.n_unique() > 1
        if self._is_index:
            rises = column.dtype.is_integer() and not nulls and bool((column.diff().drop_nulls() > 0).all())
            self._is_index = rises and (self._last is None or column[0] > self._last)
            self._last = column[-1]

    @property
    def useless(self) -> str:
        """Why the column can't be learned from; empty if it can."""
        if self._nulls == self._rows:
            return "it is empty"
        if not self._differs and self._rows > 1:
            return "every row has the same value"
        return "it is the row index that pandas writes" if self._is_index else ""

    def fitted(self, as_tokens: MarksOf | None) -> tuple[Encoder, Scale]:
        """The encoder, and the scale of its inputs.

        Raises DataError for numbers that differ, but have the deviation 0.
        """
        assert self._of_kind is not None
        of = _Training(self.name, self._training, self._weight, self.missing, self._weight_missing)
        return self._of_kind.fitted(of, as_tokens)

    @property
    def moments(self) -> Moments | None:
        """Those of a column of numbers; None for others."""
        return self._of_kind.moments if isinstance(self._of_kind, _Numbers) else None

    @property
    def is_whole(self) -> bool:
        """Whether all are whole numbers."""
        return isinstance(self._of_kind, _Numbers) and self._of_kind.is_whole

    @property
    def years(self) -> tuple[int, int] | None:
        """The first and the last year of a column of dates, in all rows."""
        return self._of_kind.years if isinstance(self._of_kind, _Dates | _Texts) else None

    @property
    def read_as_missing(self) -> dict[str, int]:
        """How often texts that mark a missing value occur."""
        return self._of_kind.marks if isinstance(self._of_kind, _Texts) else {}


class _Training:
    """The training rows of a column."""

    def __init__(self, name: str, rows: int, weight: float, missing: int, weight_missing: float) -> None:
        self.name, self.rows, self.weight, self.missing = name, rows, weight, missing
        self._share = weight_missing / weight if weight else 0.0

    def scale(self, moments: Moments) -> tuple[float, float]:
        """The mean and the deviation of an input."""
        deviation = moments.deviation(self.weight)
        if not deviation and moments.count and moments.low < moments.high:
            problem = "its numbers differ too little to be scaled; use another unit"
            raise DataError(f"column {self.name!r}: {problem}")
        return moments.mean, deviation

    @property
    def of_missing(self) -> Scale:
        """The scale of the input that says that a value is missing, if there is one."""
        return [of_share(self._share)] if self.missing else []


def of_share(share: float) -> tuple[float, float]:
    """The mean and the deviation of an input that is 1 in this share of the rows, and else 0."""
    return share, float(np.sqrt(share * (1 - share)))


class _Numbers:
    """Numbers, and true (1) and false (0)."""

    def __init__(self) -> None:
        self.moments, self.is_whole = Moments(), True

    def add(self, place: str, values: pl.Series, row: int, training: Array, weight: Array | None) -> Array:
        import polars as pl

        floats = values.cast(pl.Float64).to_numpy()[training]
        missing = np.isnan(floats)
        known, weight = (floats[~missing], _where(weight, ~missing)) if missing.any() else (floats, weight)
        self.is_whole = self.is_whole and np.array_equal(known, np.rint(known))
        self.moments.add(known, weight)
        return missing

    def fitted(self, of: _Training, as_tokens: MarksOf | None) -> tuple[Encoder, Scale]:
        return Number(of.missing > 0), [of.scale(self.moments), *of.of_missing]


class _Dates:
    """Dates, and dates with times."""

    PARTS = ("year", "month", "day", "hour", "total_seconds")

    def __init__(self) -> None:
        self._moments = {part: Moments() for part in self.PARTS}
        self._has_times = False
        self.years: tuple[int, int] | None = None

    def add(self, place: str, values: pl.Series, row: int, training: Array, weight: Array | None) -> Array:
        low, high = values.dt.year().min(), values.dt.year().max()
        if isinstance(low, int) and isinstance(high, int):
            before = self.years or (low, high)
            self.years = min(before[0], low), max(before[1], high)
        chosen = values[training]
        if len(chosen):
            self._has_times = self._has_times or "hour" in encoders.date_parts(chosen)
        missing = chosen.is_null().to_numpy()
        is_date = str(values.dtype) == "Date"
        for part, floats in zip(self.PARTS, _parts(chosen, is_date), strict=True):
            if part == "hour" and is_date:
                continue
            known, own = (floats[~missing], _where(weight, ~missing)) if missing.any() else (floats, weight)
            self._moments[part].add(known, own)
        return missing

    def fitted(self, of: _Training, as_tokens: MarksOf | None, written: str | None = None,
               ambiguous: bool = False) -> tuple[Encoder, Scale]:  # fmt: skip
        parts: Any = tuple(part for part in self.PARTS if part != "hour" or self._has_times)
        scale = [of.scale(self._moments[part]) for part in parts]
        return Date(written, parts, of.missing > 0, ambiguous), scale + of.of_missing


def _parts(dates: pl.Series, is_date: bool) -> list[Array]:
    """The numbers of each of the parts of dates."""
    without = ("year", "month", "day", "total_seconds")
    parts: Any = without if is_date else _Dates.PARTS
    found = Date(None, parts).encode("", dates)
    return [*found[:3], np.zeros(len(dates)), found[3]] if is_date else list(found)


def _where(weight: Array | None, rows: Array) -> Array | None:
    return None if weight is None else weight[rows]


class _Texts:
    """Texts and categories: dates if all are written as dates, categories if there are few values,
    or each occurs often, and else texts.
    """

    def __init__(self, kind: str, name: str, seed: int, formats: tuple[str, ...]) -> None:
        self._kind, self._name, self._seed = kind, name, seed
        self._counts, self._drawn = Counts(MANY), Drawn(SAMPLE)
        self._words = self._known = 0
        self._is_weighted = False
        self.marks: dict[str, int] = {}
        self.formats: tuple[str, ...] | None = None
        self._allowed, self._dates, self._ambiguous = formats, _Dates(), True

    @property
    def years(self) -> tuple[int, int] | None:
        return self._dates.years if self.formats else None

    def add(self, place: str, values: pl.Series, row: int, training: Array, weight: Array | None) -> Array:
        import polars as pl

        texts = cleaned(values)
        if texts.null_count() > values.null_count():
            self._mark(values)
        if self._kind == "text" and self.formats != ():
            self._as_dates(place, texts, row, training, weight)
        chosen = texts[training]
        missing = chosen.is_null().to_numpy()
        self._known += int((~missing).sum())
        self._words += int(chosen.drop_nulls().str.count_matches(r"\s").sum())
        self._is_weighted, weights = weight is not None, np.ones(len(chosen)) if weight is None else weight
        if not self._counts.too_many:
            frame = pl.DataFrame({"value": chosen, "weight": weights})
            by_value = frame.drop_nulls("value").group_by("value").agg(pl.len(), pl.col("weight").sum())
            self._counts.add(*(by_value[name].to_list() for name in ("value", "len", "weight")))
        self._drawn.add(generator(self._seed, "texts", self._name, row), chosen, weights)
        return missing

    def _mark(self, values: pl.Series) -> None:
        import polars as pl

        if values.dtype != pl.String:
            return
        found = values.filter(values.is_in(NO_WORDS) & (values.str.strip_chars() != "")).value_counts()
        for value, count in found.rows():
            self.marks[value] = self.marks.get(value, 0) + count

    def _as_dates(self, place: str, texts: pl.Series, row: int, training: Array, weight: Array | None) -> None:
        """Find out in which formats all texts are dates so far."""
        known = texts.drop_nulls()
        if not len(known):
            return
        if self.formats is None and encoders.date_format(texts) is None:
            self.formats = ()
            return
        distinct = known.unique()
        before = self.formats
        left = tuple(w for w in (before or self._allowed) if encoders.are_dates(distinct, w))
        if before and left and left[0] != before[0]:
            raise OtherFormatError(self._name, left)
        if before and not left:
            bad = as_dates(texts, before[0]).is_null() & texts.is_not_null()
            remedy = setting("read", {self._name: "category"})
            problem = "{value!r} is not written like the dates before it; correct the cell, or read all as text ("
            check_cells(place, texts, bad, problem, f"{remedy})")
        self.formats = left
        if left:
            self._ambiguous = self._ambiguous and encoders.is_ambiguous(texts, left[0])
            self._dates.add(place, as_dates(texts, left[0]), row, training, weight)

    def fitted(self, of: _Training, as_tokens: MarksOf | None) -> tuple[Encoder, Scale]:
        if self.formats:
            return self._dates.fitted(of, as_tokens, self.formats[0], self._ambiguous)
        many, values = self._counts.too_many, len(self._counts.of)
        is_prose = self._words + self._known >= WORDS * max(self._known, 1)
        is_narrow = values < max(most_inputs(of.rows), WIDE)
        recurs = not many and OFTEN * values <= self._known and is_narrow and not is_prose
        is_told = as_tokens is not None and is_prose and (many or OFTEN * values > self._known)
        if is_told or ((many or values > CATEGORIES) and not recurs):
            return self._as_text(as_tokens)
        return self._as_category(of)

    def _as_category(self, of: _Training) -> tuple[Encoder, Scale]:
        values = sorted(self._counts.of)
        category = Category((*values, None) if of.missing else tuple(values))
        scale = [of_share(self._counts.of[value][1] / of.weight if of.weight else 0.0) for value in values]
        scale = (scale + of.of_missing)[int(len(category.values) == 2) :]
        if category.is_sparse:  # rare ones should count less
            scale = [(mean, float(deviation > 0)) for mean, deviation in scale]
        return category, scale

    def _as_text(self, as_tokens: MarksOf | None) -> tuple[Encoder, Scale]:
        import polars as pl

        texts = pl.Series(self._name, self._drawn.values, pl.String)
        encoder = (None if as_tokens is None else as_tokens(texts)) or encoders.fit_text(texts)
        if encoder.is_index:
            return encoder, [(0.0, 1.0)] * len(encoder.names(self._name))
        inputs, weights = encoder.inputs(self._name, texts), self._drawn.weights if self._is_weighted else None
        scale = [mean_and_deviation_of(self._name, self._name, one, weights) for one in inputs]
        if encoder.is_sparse:
            return encoder, [(mean, float(deviation > 0)) for mean, deviation in scale]
        return encoder, with_one_deviation(scale)


def kept(columns: dict[str, ColumnFit], as_tokens: MarksOf | None) -> tuple[list[Any], dict[str, str]]:
    """(name, kind, encoder, scale) of each column that differs in the training rows, tokens last,
    and why the others are left out.
    """
    unused = {name: why for name, column in columns.items() if (why := column.useless)}
    found, texts = [], []
    for name, column in columns.items():
        if name in unused:
            continue
        encoder, scale = column.fitted(as_tokens)
        if encoder.is_index:
            texts.append((name, column.kind, encoder, scale))
        elif any(deviation for _, deviation in scale):
            found.append((name, column.kind, encoder, [(mean, deviation or 1.0) for mean, deviation in scale]))
        else:
            unused[name] = SAME
    return found + texts, unused
