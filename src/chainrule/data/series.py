"""Time series as they are read: the frequency of their times, and a row for each step of it.

Times lie on a grid, which the frequency describes: every so many seconds, days or months, certain
days of the week, or whole numbers. On it, times are consecutive numbers, so that a season ago is a
difference of numbers, whatever the length of a month, and a missing row is a missing number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import as_kind, check_cells, kind_of, shortened
from chainrule.data.encoders import as_dates, date_format
from chainrule.data.tables import NO_WORDS
from chainrule.errors import DataError, setting

if TYPE_CHECKING:
    import polars as pl

SECOND, HOUR, DAY = 10**6, 3600 * 10**6, 86400 * 10**6
"""In microseconds."""
EVERY_DAY, WEEKEND = "1111111", "1111100"
"""Days of the week from Monday, as NumPy takes them: 1 for those that occur."""
FEWEST_DAYS = 14
"""From so many days on, days of the week that never occur are taken to have no rows."""
OTHER_FORMATS = ("%Y-%m", "%Y/%m", "%b %Y", "%b %d %Y", "%Y%m%d")
"""How times may be written, besides `encoders.FORMATS`; months are taken to begin on the first."""
UNITS = (("day", DAY), ("hour", HOUR), ("minute", 60 * SECOND), ("second", SECOND))
CYCLES = ("hour", "day_of_week", "day_of_year")
"""The parts of a calendar that repeat themselves."""


@dataclass(frozen=True)
class Frequency:
    """How far apart the times of a series are.

    Attributes:
        unit: "number" (whole numbers), "time" (microseconds), "day" (days of the week) or "month"
        step: how many of them are from a time to the next
        offset: where the grid begins: a number or a time modulo the step; for months that of the
            month
        day: of months the day in which the times lie, 31 for the last one
        week: of days those of the week that occur, from Monday, such as "1111100"
        is_date: whether times are written as dates
        zone: the time zone in which times are written, and have their hours; empty if they have
            none
    """

    unit: Literal["number", "time", "day", "month"]
    step: int = 1
    offset: int = 0
    day: int = 1
    week: str = EVERY_DAY
    is_date: bool = False
    zone: str = ""

    def numbers(self, times: Array) -> Array:
        """The numbers of these times on the grid; -2**62 for one that is not on it.

        Args:
            times: (rows,) whole numbers, or datetime64[us], in UTC if there is a zone
        """
        off = np.int64(-(2**62))
        if self.unit == "day":
            days = times.astype("datetime64[D]")
            fits = (days == times) & np.is_busday(days, weekmask=self.week)
            return np.where(fits, np.busday_count("1970-01-01", days, weekmask=self.week), off)
        if self.unit == "month":
            months = times.astype("datetime64[M]")
            fits = self._in_month(months).astype(times.dtype) == times
            counted, rest = np.divmod(months.astype(np.int64) - self.offset, self.step)
            return np.where(fits & (rest == 0), counted, off)
        counted, rest = np.divmod(times.astype(np.int64) - self.offset, self.step)
        return np.where(rest == 0, counted, off)

    def times(self, numbers: Array) -> Array:
        """The times with these numbers, the inverse of `numbers`."""
        if self.unit == "day":
            days = np.busday_offset("1970-01-01", numbers, roll="forward", weekmask=self.week)
            return days.astype("datetime64[us]")
        if self.unit == "month":
            months = (numbers * self.step + self.offset).astype("datetime64[M]")
            return self._in_month(months).astype("datetime64[us]")
        at = numbers * self.step + self.offset
        return at if self.unit == "number" else at.astype("datetime64[us]")

    def _in_month(self, months: Array) -> Array:
        """The day of each month in which the times lie."""
        last = (months + 1).astype("datetime64[D]") - 1
        return np.minimum(months.astype("datetime64[D]") + (self.day - 1), last)

    def local(self, times: Array) -> Array:
        """Times as a clock in their zone shows them."""
        if not self.zone:
            return times
        import polars as pl

        shown = pl.Series(times).dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)
        return shown.dt.replace_time_zone(None).to_numpy()

    def written(self, numbers: Array) -> list[str]:
        """The times with these numbers as text."""
        import polars as pl

        times = self.times(np.asarray(numbers, dtype=np.int64))
        if self.unit == "number":
            return [str(time) for time in times.tolist()]
        shown = pl.Series(times)
        if self.zone:
            shown = shown.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)
        whole = self.unit != "time" or self.step % (60 * SECOND) == 0 == self.offset % (60 * SECOND)
        clock = "" if self.is_date else " %H:%M" if whole else " %H:%M:%S%.f"
        return shown.dt.strftime(f"%Y-%m-%d{clock}{'%:z' if self.zone else ''}").to_list()

    @property
    def words(self) -> str:
        """In words, such as "every 15 minutes"."""
        if self.unit == "day":
            days = [name for name, occurs in zip(WEEKDAYS, self.week, strict=True) if occurs == "1"]
            return f"{days[0]} to {days[-1]}" if "01" not in self.week.strip("0") else ", ".join(days)
        count, unit = self.step, "step"
        if self.unit == "month":
            count, unit = (count // 12, "year") if count % 12 == 0 else (count, "month")
        elif self.unit == "time":
            fitting = ((unit, count // size) for unit, size in UNITS if count % size == 0)
            unit, count = next(fitting, ("microsecond", count))
            unit, count = ("week", count // 7) if unit == "day" and count % 7 == 0 else (unit, count)
        return f"every {unit}" if count == 1 else f"every {count:,} {unit}s"

    @property
    def season(self) -> int:
        """After how many steps such a series usually repeats itself: a day, a week or a year; 1 if
        that is unknown.
        """
        if self.unit == "day":
            return self.week.count("1")
        if self.unit == "month":
            return max(1, 12 // self.step) if 12 % self.step == 0 else 1
        if self.unit == "number":
            return 1
        for cycle in (DAY, 7 * DAY):
            if self.step < cycle and cycle % self.step == 0:
                return cycle // self.step
        return 52 if self.step == 7 * DAY else 1

    @property
    def cycles(self) -> tuple[str, ...]:
        """The parts of the calendar in which its times differ."""
        if self.unit in ("number", "month"):
            return ("day_of_year",) if self.unit == "month" and self.step < 12 else ()
        step = DAY if self.unit == "day" else self.step
        return tuple(name for name, size in zip(CYCLES, (DAY, 7 * DAY, 365 * DAY), strict=True) if step < size)

    def calendar(self, numbers: Array, cycles: Sequence[str]) -> dict[str, Array]:
        """Where the times with these numbers are in each cycle of the calendar, as points of a
        circle.
        """
        local, found = self.local(self.times(numbers)), dict[str, Array]()
        days = local.astype("datetime64[D]")
        for cycle in cycles:
            if cycle == "hour":
                share = (local - days).astype(np.int64) / DAY
            elif cycle == "day_of_week":
                share = (days.astype(np.int64) + 3) % 7 / 7  # 1970 began on a Thursday
            else:
                years = local.astype("datetime64[Y]")
                share = (days - years.astype("datetime64[D]")).astype(np.int64) / 365.25
            found |= {f"{cycle}_sin": np.sin(2 * np.pi * share), f"{cycle}_cos": np.cos(2 * np.pi * share)}
        return found

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def frequency_of(where: str, times: Sequence[Array], zone: str = "", is_date: bool = False) -> Frequency:
    """The frequency of these times, which are those of each series in ascending order.

    Raises DataError if there are too few, or if they are not on a common grid.
    """
    apart = np.concatenate([np.diff(each) for each in times]).astype(np.int64)
    if not len(apart):
        raise DataError(f"{where}: a frequency takes two times of a series or more")
    steps, counts = np.unique(apart, return_counts=True)
    step, every = int(steps[counts.argmax()]), np.concatenate(times)
    if every.dtype.kind != "M":
        found = Frequency("number", step, int(every[0] % step))
    else:
        found = _of_days(every, step, zone, is_date) or Frequency(
            "time", step, int(every[0].astype(np.int64) % step), is_date=is_date, zone=zone
        )
    off = np.flatnonzero(found.numbers(every) == -(2**62))
    if len(off):
        one = every[off[0]] if every.dtype.kind != "M" else str(every[off[0]]).replace("T", " ").removesuffix(".000000")
        problem = f"its times are {found.words}, mostly, but {one} is between two of them"
        raise DataError(f"{where}: {problem}; correct the times, or round them")
    return found


def _of_days(times: Array, step: int, zone: str, is_date: bool) -> Frequency | None:
    """The frequency of dates that are months, or days of a week, apart; None for others."""
    days = times.astype("datetime64[D]")
    if zone or (days != times).any():
        return None
    if step >= 28 * DAY:
        months = days.astype("datetime64[M]")
        in_month, last = (days - months.astype("datetime64[D]")).astype(np.int64) + 1, _is_last(days)
        day = 31 if last.all() else int(in_month.max())
        numbers = np.unique(months.astype(np.int64))
        if len(numbers) > 1 and ((in_month == day) | last).all():
            gaps, counts = np.unique(np.diff(numbers), return_counts=True)
            apart = int(gaps[counts.argmax()])
            return Frequency("month", apart, int(numbers[0] % apart), day, is_date=is_date)
    distinct = np.unique(days)
    found = np.bincount((distinct.astype(np.int64) + 3) % 7, minlength=7) > 0
    if step == DAY and len(distinct) >= FEWEST_DAYS and not found.all():
        return Frequency("day", week="".join(str(int(occurs)) for occurs in found), is_date=is_date)
    return None


def _is_last(days: Array) -> Array:
    """Whether each is the last day of a month."""
    return (days + 1).astype("datetime64[M]") != days.astype("datetime64[M]")


class Times(NamedTuple):
    """A column of times.

    Attributes:
        values: (rows,) whole numbers, or datetime64[us], in UTC if there is a zone
        zone: the time zone; empty if there is none
        is_date: whether they are dates, without a time of day
    """

    values: Array
    zone: str
    is_date: bool


def times_in(name: str, column: pl.Series, zone: str = "") -> Times:
    """A column as times; raises DataError, with the row, for a cell that is none.

    Args:
        name: used in error messages
        column: the column, of dates, of times, of whole numbers, or of texts that are written as
            dates
        zone: the time zone of the times, if the column lacks it, which then are in UTC
    """
    import polars as pl

    where = f"{name}, column {shortened(column.name)!r}"
    texts, kind = column, kind_of(column)
    if kind == "number" and column.dtype.is_integer() and _are_dates(column):
        texts, kind = column.cast(pl.String), "text"
    if kind == "number":
        check_cells(name, column, column.is_null(), "the time is missing; fill it in, or remove the row")
        whole = column.cast(pl.Float64)
        check_cells(name, column, whole != whole.round(), "{value} is no time; use whole numbers, or dates")
        return Times(whole.cast(pl.Int64).to_numpy(), "", False)
    if kind == "text":
        texts = column.cast(pl.String)
        texts = texts.set(texts.is_in(NO_WORDS), None)
        column, kind = _parsed(name, texts), "time"
    if kind not in ("date", "time"):
        raise DataError(f"{where}: it holds no times, but {column.dtype}; name another ({setting('time')})")
    check_cells(name, texts, column.is_null(), "the time is missing; fill it in, or remove the row")
    if getattr(column.dtype, "time_zone", None):
        zone = zone or str(column.dtype.time_zone)  # type: ignore[attr-defined]
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    values = column.cast(pl.Datetime("us")).to_numpy()
    return Times(values, zone, bool((values == values.astype("datetime64[D]")).all()) and not zone)


def _are_dates(column: pl.Series) -> bool:
    """Whether whole numbers are dates such as 20241231."""
    if column.null_count() or not column.is_between(10**7, 10**8).all():
        return False
    return column.cast(str).str.to_datetime("%Y%m%d", strict=False, time_unit="us").null_count() == 0


def _parsed(name: str, texts: pl.Series) -> pl.Series:
    """Texts as times, in UTC where they have an offset; raises DataError for one that is none."""
    written = date_format(texts)
    if written is not None:
        dates = as_dates(texts, written)
        return dates.dt.replace_time_zone("UTC") if written == "" and _has_offsets(name, texts) else dates
    for other in OTHER_FORMATS:
        full = texts + " 1" if "%d" not in other else texts
        dates = full.str.to_datetime(other if "%d" in other else f"{other} %d", strict=False, time_unit="us")
        if dates.null_count() == texts.null_count():
            return dates
    dates = as_dates(texts, "")
    few = dates.null_count() - texts.null_count() < len(texts) / 2
    problem = "{value!r} is no date" + (", unlike others" if few else "")
    check_cells(name, texts, dates.is_null() & texts.is_not_null(), f"{problem}; write dates as 2024-12-31 23:59")
    return as_kind(name, texts, "time", "which it is read as")


def _has_offsets(name: str, texts: pl.Series) -> bool:
    """Whether the times say how far they are from UTC; raises DataError if only some do."""
    have = texts.str.contains(r"\d([+-]\d\d:?\d\d|Z)$")
    if have.any() and not have.all():
        row = int(have.not_().arg_max() or 0)
        problem = f"{texts[row]!r} has no offset from UTC, unlike others; write it for all times, or for none"
        raise DataError(f"{name}, row {row + 1}, column {shortened(texts.name)!r}: {problem}")
    return bool(have.all())


@dataclass(frozen=True)
class Series:
    """How a table is read as series, and what is forecast.

    Attributes:
        time, target: the columns of times, and of what is forecast
        by: the column that names the series; None for a single one
        horizon: the number of steps that are forecast
        length: the steps of a window, from which they are forecast
        season: after how many steps the series usually repeats itself
        frequency: how far apart the times are
        cycles: the parts of the calendar that are inputs
        marks_missing: whether an input says where a value of the target is missing
    """

    time: str
    target: str
    by: str | None
    horizon: int
    length: int
    season: int
    frequency: Frequency
    cycles: tuple[str, ...] = ()
    marks_missing: bool = False

    @property
    def later(self) -> str:
        """What the time `horizon` steps later is called, such as "date+24"."""
        return f"{self.time}+{self.horizon}"

    def as_json(self) -> dict[str, Any]:
        """The fields, with lists for tuples."""
        return {**asdict(self), "cycles": list(self.cycles)}

    @staticmethod
    def from_json(fields: Any) -> Series:
        """The inverse of `as_json`."""
        frequency = Frequency(**fields["frequency"])
        return Series(**{**fields, "frequency": frequency, "cycles": tuple(fields["cycles"])})
