"""Reading tables from CSV and TSV files."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.barrier import FILE, Limits, check_budget, guarded
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MOST_COLUMNS = 20_000
"""More columns are almost certainly a mistake; the file is rejected before it fills the memory."""

SAMPLE = 10_000
"""The first rows, by which the types of columns are told if all others agree: telling them by all
takes five times as long as reading.
"""

HEAD = 100_000
"""The first bytes of the rows, which tell of most files that not all values are numbers."""

PIECE = 2**18
"""The bytes that are looked at at a time."""

PROBE = 100
"""The first values of a text that are tried as dates before the others are."""

MISSING = ["", "NA", "N/A", "null", "NULL", "None", "?"]
"""Text that marks a missing value."""

NO_VALUES = [*MISSING, " ", ".", "-", "...", "none", "n/a", "#N/A", "#NA", "<NA>"]
"""Text that marks a missing value where all others are numbers, dates or words."""

NO_WORDS = [*NO_VALUES, "nan", "NaN", "-nan", "-NaN"]
"""The same where all others are words. Among numbers, NaN is refused, as an infinite one is."""

# Numbers as they are written in much of Europe, 1.234,5, and with English thousands, 1,234.5.
COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?([eE][+-]?\d+)?$"
POINT = r"^[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?([eE][+-]?\d+)?$"
MAYBE_NUMBER = r"(?i)^[^a-df-z]*$|inf|nan"
"""A text that may be a number: it has no letter but that of an exponent."""

AMBIGUOUS = r"^[+-]?[1-9]\d{0,2},\d{3}$"
"""1,234 may be either."""

SIGNS = {"$": 1.0, "€": 1.0, "£": 1.0, "¥": 1.0, "%": 0.01}
"""Signs before or after each number of a column, with the factor that they stand for."""

LEADING_ZERO = r"^0\d+$"
"""An integer that is no quantity: a code, such as a postal code, whose zeros count."""

EITHER_FIRST = r"^\s*\d{1,2}([/-])\d{1,2}[/-]\d{4}\b"
"""A date that may have the day or the month first."""


def check_width(path: Path, columns: int) -> None:
    """Raise DataError for more columns than are supported."""
    if columns > MOST_COLUMNS:
        raise DataError(f"{path}: it has {columns:,} columns; at most {MOST_COLUMNS:,} are supported")


def read_csv(path: Path, content: bytes, limits: Limits = FILE, texts: Collection[str] = ()) -> pl.DataFrame:
    """A table from the content of a CSV or TSV file, decoded here; see `formats.read_frame`."""
    import polars as pl

    check_encoding(path, content)
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\r", b"\n")) or content.endswith((b"\n\n", b"\n\r\n", b"\r")):  # else it is no copy
        content = content.strip(b"\r\n")
    if b"\n" not in content:  # line ends of old Macs
        content = content.replace(b"\r", b"\n")
    header = content[: content.index(b"\n")] if b"\n" in content else content
    is_tabbed = {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes[-2:]}
    candidates = "\t" if is_tabbed else ",;\t|"
    separator = max(candidates, key=lambda s: header.count(s.encode()))
    check_width(path, header.count(separator.encode()) + 1)
    if len(content) > limits.cells:  # a cell takes a byte or more
        rows = content.count(b"\n") - content.endswith(b"\n")
        check_budget(str(path), rows, header.count(separator.encode()) + 1, limits)
    if header.count(b'"') % 2:
        raise DataError(f"{path}, line 1: a column's name has a line break; write it in one line")
    with guarded(f"{path}, line 1: can't be read as a table"):
        names = next(csv.reader([header.decode().rstrip("\r")], delimiter=separator))
    _check_header(path, names)
    with guarded(f"{path}: can't be read as a table"):
        frame = _by_first_rows(content, separator, names, texts)
        if not _has_whole_rows(frame, content, separator) and not _is_regular(content, separator, len(names)):
            _check_rows(path, content, separator, len(names))
            if b'"' not in content and (b"\n\n" in content or b"\n\r\n" in content):
                content = re.sub(rb"(\r?\n)+", b"\n", content)  # otherwise read as missing values
                frame = _by_first_rows(content, separator, names, texts)
        frame = _by_all_rows(content, separator, names, texts) if frame is None else frame
        if any(dtype.is_integer() for dtype in frame.dtypes) and _has_codes(content, separator):
            is_code = [_has_leading_zeros(content, separator, column) for column in frame.iter_columns()]
            codes = [name for name, found in zip(names, is_code, strict=True) if found]
            texts = [*texts, *codes]
            again = _by_first_rows(content, separator, names, texts)
            frame = _by_all_rows(content, separator, names, texts) if again is None else again
        frame.columns = names
        words = (column for column in frame.iter_columns() if column.dtype == pl.String and column.name not in texts)
        return frame.with_columns(_as_dates(_as_numbers(column, separator)) for column in words)


def _by_first_rows(content: bytes, separator: str, names: Sequence[str], texts: Collection[str]) -> pl.DataFrame | None:
    """The table with types that the first rows tell, with these columns left as text; None if all
    rows must be looked at to tell them.
    """
    import polars as pl

    if _has_odd_numbers(content, separator):
        return None
    # Looking for texts that mark a missing value takes time. Each has a letter that no number has.
    start = content.find(b"\n")
    has_marks = _may_have_marks(content[: start + HEAD], start)
    with contextlib.suppress(pl.exceptions.PolarsError):  # a later value is of another type, or a row is too long
        frame = _parsed(content, separator, names, texts, SAMPLE, has_marks)
        if not has_marks and not all(dtype.is_numeric() for dtype in frame.dtypes) and _may_have_marks(content, start):
            frame = _parsed(content, separator, names, texts, SAMPLE, True)
        if not any(_is_unknown(column) for column in frame.iter_columns()):
            return frame
    return None


def _by_all_rows(content: bytes, separator: str, names: Sequence[str], texts: Collection[str]) -> pl.DataFrame:
    """The table with types that all rows tell, with these columns left as text."""
    import polars as pl

    large: set[int] = set()
    has_marks = _may_have_marks(content, content.find(b"\n"))
    while True:
        try:
            return _parsed(content, separator, names, texts, None, has_marks, large)
        except pl.exceptions.ComputeError as error:  # before version 2: integers of more than 64 bits
            found = re.search(r"as dtype `i64` at column .*\(column number (\d+)\)", str(error), re.DOTALL)
            if found is None or int(found[1]) - 1 in large or names[int(found[1]) - 1] in texts:
                raise
            large.add(int(found[1]) - 1)


def _parsed(
    content: bytes, separator: str, names: Sequence[str], texts: Collection[str], rows: int | None, has_marks: bool,
    large: Collection[int] = (),
) -> pl.DataFrame:  # fmt: skip
    """The table as polars reads it, with types that so many rows tell."""
    import polars as pl

    quoted = [name.replace('"', '""') for name in names]  # polars leaves quotes within a name doubled
    types: dict[str, Any] = {quoted[k]: pl.String for k, name in enumerate(names) if name in texts}
    types |= {quoted[k]: pl.Float64 for k in large}
    marks = MISSING if has_marks else None
    return pl.read_csv(
        content, separator=separator, infer_schema_length=rows, null_values=marks, schema_overrides=types
    )


def _may_have_marks(content: bytes, start: int) -> bool:
    """Whether texts after this byte may mark a missing value: all that do have such a letter."""
    return any(content.find(letter, start) >= 0 for letter in (b"N", b"n", b"?"))


def _has_whole_rows(frame: pl.DataFrame | None, content: bytes, separator: str) -> bool:
    """Whether it is certain that all rows have as many fields as the header: there are as many
    separators as that takes, and polars, which ends shorter rows and blank lines with missing
    values, has found none in the last column. (There is no frame of rows with quotes.)
    """
    if frame is None or frame.width < 2 or frame.to_series(-1).null_count():
        return False
    text, mark = np.frombuffer(content, dtype=np.uint8), ord(separator)
    separators = sum(int(np.count_nonzero(text[k : k + PIECE] == mark)) for k in range(0, len(text), PIECE))
    return separators == (frame.width - 1) * (frame.height + 1)


def _has_codes(content: bytes, separator: str) -> bool:
    """Whether some field begins with a 0 and another digit, as a postal code may."""
    text = np.frombuffer(content, dtype=np.uint8)
    for k in range(0, len(text), PIECE):
        piece = text[k : k + PIECE + 2]
        before, after = piece[:-2], piece[2:]
        starts = (before == ord(separator)) | (before == ord("\n")) | (before == ord('"'))
        if (starts & (piece[1:-1] == ord("0")) & (after - ord("0") < 10)).any():  # uint8: no difference is negative
            return True
    return False


def _has_leading_zeros(content: bytes, separator: str, column: pl.Series) -> bool:
    """Whether a column of integers has values that are written with a 0 before them."""
    import polars as pl

    if not column.dtype.is_integer():
        return False
    name = column.name
    written = pl.read_csv(content, separator=separator, columns=[name], schema_overrides={name: pl.String})
    return bool(written.to_series().str.contains(LEADING_ZERO).any())


def _has_odd_numbers(content: bytes, separator: str) -> bool:
    """Whether there may be numbers that polars reads, but doesn't take for numbers where it tells
    types: with quotes, signs or spaces around them.
    """
    if b'"' in content or b"+" in content:
        return True
    edges = (separator.encode(), b"\n", b"\r") if b" " in content else ()
    return any(edge + b" " in content or b" " + edge in content for edge in edges) or content.endswith(b" ")


def _is_unknown(column: pl.Series) -> bool:
    """Whether the first SAMPLE values did not tell the type of a column."""
    return SAMPLE <= column.null_count() < len(column) and column[:SAMPLE].null_count() == SAMPLE


def _as_dates(column: pl.Series) -> pl.Series:
    """A text column as dates, dates with times or times of day, if all its values are; else
    unchanged. (If polars tries this while it reads, reading takes thirty times as long.)
    """
    import polars as pl

    if column.dtype != pl.String or not first_texts(column).str.contains(r"\d.*\d").all():
        return column
    known = column.filter(~column.is_in(NO_VALUES))  # null is not in the list, and is no value either
    if len(known) == 0:
        return column
    for kind in ("to_date", "to_datetime", "to_time"):
        few = _converted(known[:PROBE], kind)
        if few.null_count() or _has_short_years(few):  # polars takes the year 24 literally
            continue
        found = _converted(column, kind)
        if found.null_count() == len(column) - len(known):
            # Dates among dates with times may be a mistake; as text they are checked. Where the day
            # and the month can't be told apart, the encoder of the text remembers that it guessed.
            is_mixed = kind == "to_datetime" and _converted(known, "to_date").null_count() < len(known)
            return column if is_mixed or (kind != "to_time" and has_either_first(known, found)) else found
    return column


def has_either_first(texts: pl.Series, dates: pl.Series) -> bool:
    """Whether dates that were read with the day first would be others with the month first."""
    if not texts.str.contains(EITHER_FIRST).all():
        return False
    days, months = dates.dt.day(), dates.dt.month()
    return bool((days <= 12).all() and (days != months).any())


def _converted(texts: pl.Series, kind: str) -> pl.Series:
    """Texts by this function of polars, null where it can't."""
    import polars as pl

    with contextlib.suppress(pl.exceptions.ComputeError):  # no value looks like one
        return getattr(texts.str, kind)(strict=False)
    return pl.Series(texts.name, [None], pl.Date).new_from_index(0, len(texts))


def _has_short_years(column: pl.Series) -> bool:
    """Whether a column has dates whose years were written with two digits."""
    import polars as pl

    return isinstance(column.dtype, pl.Date | pl.Datetime) and bool((column.dt.year() < 100).any())


def first_texts(column: pl.Series) -> pl.Series:
    """Some of the first values of a text, which tell of most what they are not."""
    some = column[: 10 * PROBE]
    return some.filter(~some.is_in(NO_VALUES))[:PROBE]


def _as_numbers(column: pl.Series, separator: str) -> pl.Series:
    """A text column as numbers if all its values are numbers, NaN or infinity, and none is a code;
    else unchanged.
    """
    import polars as pl

    if column.dtype != pl.String or not first_texts(column).str.contains(MAYBE_NUMBER).all():
        return column
    known = column.set(column.is_in(NO_VALUES), None)
    if known.str.contains(LEADING_ZERO).any():
        return column
    converted = numbers(known, commas_are_decimal=separator != ",")
    return converted if converted.null_count() == known.null_count() < len(column) else column


def numbers(column: pl.Series, commas_are_decimal: bool = False) -> pl.Series:
    """The numbers in a text column; null where a value is none.

    They may be written as 1234.5, or in the whole column as 1.234,5 or as 1,234.5, and in the whole
    column with the same sign of SIGNS.

    Args:
        column: the text
        commas_are_decimal: how to read 1,234 where no other value decides it; otherwise not at all
    """
    import polars as pl

    sign = _sign(column)
    if sign:
        column = column.str.replace(rf"^\s*([+-]?)\s*[{sign}]\s*|\s*[{sign}]\s*$", "${1}")
    factor = SIGNS.get(sign, 1.0)
    plain = column.cast(pl.Float64, strict=False)
    if plain.null_count() == column.null_count() or not column.str.contains(",", literal=True).any():
        return plain * factor
    comma, point = column.str.contains(COMMA), column.str.contains(POINT)
    by_comma, by_point = comma.sum(), point.sum()
    if by_comma == by_point and not commas_are_decimal:
        return plain * factor
    if by_comma >= by_point:
        text, fits = column.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True), comma
    else:
        text, fits = column.str.replace_all(",", "", literal=True), point
    return text.cast(pl.Float64, strict=False).set(~fits, None) * factor


def _sign(column: pl.Series) -> str:
    """The one of SIGNS that each value of a column of text has once; empty if there is none."""
    known = column.drop_nulls()
    found = [sign for sign in SIGNS if len(known) and sign in known[0]]
    return found[0] if len(found) == 1 and (known.str.count_matches(found[0], literal=True) == 1).all() else ""


def check_encoding(path: Path, content: bytes) -> None:
    """Raise DataError, with the line, for what is not UTF-8, or has null bytes."""
    try:
        if not content.isascii():
            content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        hint = f"save it as UTF-8, for example with 'iconv -f latin1 -t utf-8 {path.name}'"
        raise DataError(f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); {hint}") from None
    check_null(path, b"\x00" in content)


def check_null(path: Path, found: bool) -> None:
    """Raise DataError for a file in which null characters were found."""
    if found:
        raise DataError(f"{path}: it contains null bytes; is it a binary file?")


def _check_header(path: Path, names: list[str]) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name.strip() and position > 1:  # the first may be the row index that pandas writes
            raise DataError(f"{path}, line 1: column {position} has no name; name every column")
        if name in seen:
            raise DataError(f"{path}, line 1: two columns are named {name!r}; rename one of them")
        seen.add(name)


def _is_regular(content: bytes, separator: str, columns: int) -> bool:
    """Whether there is nothing to look for: all rows have as many fields as the header, and there
    are no blank lines and no quotes. Much faster than looking for those that differ.
    """
    if columns < 2:
        return False
    marks = separator.encode() + b'"\r\n'
    found = content.translate(None, bytes(set(range(256)) - set(marks)))
    row = marks[:1] * (columns - 1) + (b"\r\n" if found[columns - 1 : columns] == b"\r" else b"\n")
    return (found if content.endswith(b"\n") else found + row[columns - 1 :]) == row * -(-len(found) // len(row))


def _check_rows(path: Path, content: bytes, separator: str, columns: int) -> None:
    """Raise DataError for a row with more or fewer fields than the header (shifted values)."""
    if b'"' in content:  # only a parser can tell which separators are quoted
        rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), delimiter=separator)
        try:
            for row in rows:
                if row:
                    _check_fields(path, rows.line_num, len(row), columns)
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from None
        return
    text = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    fields = np.diff(np.searchsorted(np.flatnonzero(text == ord(separator)), ends), prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    blank = (lengths == 0) | ((lengths == 1) & (text[np.maximum(ends - 1, 0)] == ord("\r")))
    for line in np.flatnonzero((fields != columns) & ~blank)[:1].tolist():
        _check_fields(path, line + 1, int(fields[line]), columns)


def _check_fields(path: Path, line: int, fields: int, columns: int) -> None:
    if fields != columns:
        count = f"{fields} field{'s' * (fields != 1)}"
        raise DataError(f"{path}, line {line}: {count}, but the header has {columns}; correct the line")
