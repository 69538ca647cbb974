"""How the columns of a table are read: kinds, conversions between them, and what is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from chainrule.data.barrier import FILE, Limits, guarded
from chainrule.data.places import at_row
from chainrule.data.tables import NO_VALUES, numbers
from chainrule.errors import DataError, nearest, setting, unknown

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["number", "boolean", "date", "time", "clock", "duration", "text", "category"]
"""What a column can be read as. A run keeps it."""

_WORDS = ("number", "true or false", "date", "date and time", "time of day", "duration", "text", "category")
KINDS = dict(zip(get_args(Kind), _WORDS, strict=True))
"""What a column can be read as, in words."""

EARLIER = {"truth": "boolean"}
"""Kinds by the names that they have in runs of earlier versions."""

READ = ("number", "category", "date", "time", "boolean")
"""What a column can be read as on request. A category, unlike text, is not examined any further."""

CATEGORIES, TEXT, MANY = 40, 30, 4000
"""The inputs that a text becomes: one for each value if there are at most CATEGORIES; at most MANY
for each value if each occurs often, or for each word if it has several; else TEXT.
"""

OFTEN = 2
"""How often each of more values occurs, on average, where they have an input each."""

NUMBERS = 40_000_000
"""The most numbers that the inputs of a text take in all rows."""

WORDS = 6
"""The words, on average, from which a text is taken apart into words rather than parts of words."""

INPUT, LETTER = 16, 40
"""Bytes of memory that it takes to prepare an input of a row, and a letter of a text, about."""

LONGEST = 60
"""The most characters of a cell in a message."""

INDEX = ("", "Unnamed: 0", "__index_level_0__")
"""The names that pandas gives to its row index in files."""


def kind_of(column: pl.Series) -> str | None:
    """What a column was read as, one of KINDS; None if its values are of no use."""
    import polars as pl

    dtype = column.dtype
    if dtype.is_numeric():
        return "number"
    kinds: dict[Any, str] = {
        pl.Boolean: "boolean",
        pl.Date: "date",
        pl.Datetime: "time",
        pl.Time: "clock",
        pl.Duration: "duration",
    }
    texts, categories = (pl.String, pl.Null), (pl.Categorical, pl.Enum)
    kinds |= dict.fromkeys(texts, "text") | dict.fromkeys(categories, "category")
    return kinds.get(dtype.base_type())


def left_out(column: pl.Series) -> str:
    """Why a column can't be learned from; empty if it can."""
    if column.null_count() == len(column):
        return "it is empty"
    if len(column) > 1 and column[0] == column[-1] and column.n_unique() == 1:  # which takes long
        return "every row has the same value"
    is_index = column.name in INDEX and column.dtype.is_integer() and column.n_unique() == len(column)
    return "it is the row index that pandas writes" if is_index else ""


def check_kinds(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError for columns of lists, records or objects."""
    import polars as pl

    unusable = [column for column in frame.iter_columns() if kind_of(column) is None]
    if not unusable:
        return
    what = {pl.List: "lists", pl.Array: "lists", pl.Struct: "records"}
    values = what.get(unusable[0].dtype.base_type(), "lists, records, bytes or objects")
    names = [column.name for column in unusable]
    remedy = f"make columns of numbers or text of them, or leave it out ({setting('drop', names)})"
    raise DataError(f"{name}, column {names[0]!r}: its values are {values}, which are no inputs; {remedy}")


def check_usable(name: str, frame: pl.DataFrame) -> None:
    """Raise DataError for a column without a name, unless it is the row index of pandas."""
    if "" in frame.columns and kind_of(frame[""]) is not None and not left_out(frame[""]):
        raise DataError(f"{name}, line 1: column {frame.columns.index('') + 1} has no name; name every column")


def without_short_years(dates: pl.Series) -> pl.Series:
    """Dates, null where the year was written with two digits, which polars takes literally."""
    return dates.zip_with((dates.dt.year() >= 100).fill_null(True), dates.clear(len(dates)))


def converted(values: pl.Series, kind: str) -> pl.Series:
    """A column as a kind, with null where a value can't be: number and boolean, for example,
    as themselves or from text, but not from dates. Times of day and durations become seconds.
    """
    import polars as pl

    if kind == "category":
        return converted(values, "text").cast(pl.Categorical)
    types: dict[str, Any] = {"boolean": pl.Boolean, "date": pl.Date, "time": pl.Datetime("us"), "text": pl.String}
    found = kind_of(values)
    if found in ("text", "category"):
        values, found = values.cast(pl.String), "text"
    if kind == "text" and found is not None and found != "duration":
        return values.cast(pl.String)
    if kind in ("number", "boolean") and found in ("number", "boolean"):
        figures = values.cast(pl.Float64)
        return figures if kind == "number" else figures.replace_strict({0.0: False, 1.0: True}, default=None)
    if kind in ("clock", "duration") and found == kind:
        nanoseconds = values.cast(pl.Int64) if kind == "clock" else values.cast(pl.Duration("ns")).cast(pl.Int64)
        return nanoseconds / 1e9
    if kind in ("date", "time") and found in ("date", "time"):
        if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return values.cast(types[kind])
    if found == "text":
        if kind == "number":
            return numbers(values)
        if kind == "boolean":
            words = {"true": True, "false": False, "1": True, "0": False}
            return values.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        with contextlib.suppress(pl.exceptions.ComputeError):  # no value looks like a date
            if kind in ("date", "time"):
                text = values.str
                dates = text.to_date(strict=False) if kind == "date" else text.to_datetime(strict=False, time_unit="us")
                return without_short_years(dates)
            if kind == "clock":
                return values.str.to_time(strict=False).cast(pl.Int64) / 1e9
    return pl.Series(values.name, [None], types.get(kind, pl.Float64)).new_from_index(0, len(values))


def shortened(value: Any) -> Any:
    """A value for a message: if it is long, only how its text begins."""
    return value if len(str(value)) <= LONGEST else f"{str(value)[:LONGEST]}…"


def check_cells(name: str, column: pl.Series, bad: pl.Series, problem: str, remedy: str = "") -> None:
    """Raise DataError for the first row in which `bad` is true, if any.

    `problem` is a format string that may refer to the cell's {value}; the remedy follows it.
    """
    import polars as pl

    row = bad.fill_null(False).arg_max()
    if row is not None and bad[row]:
        value = column[row].to_list() if column.dtype.is_nested() and column.dtype != pl.Struct else column[row]
        message = problem.format(value=shortened(value)) + remedy
        raise DataError(f"{at_row(name, row)}, column {shortened(column.name)!r}: {message}")


def as_kind(name: str, values: pl.Series, kind: str, why: str) -> pl.Series:
    """A column as a kind; raises DataError, with the row, for a value that can't be."""
    import polars as pl

    where = f"{name}, column {shortened(values.name)!r}: it can't be read as a {KINDS[kind]}"
    with guarded(where):
        if kind_of(values) == "text" and kind not in ("text", "category"):
            values = values.cast(pl.String)
            values = values.set(values.is_in(NO_VALUES), None)
        result = converted(values, kind)
        if result.null_count() == values.null_count() and kind_of(values) is not None:
            return result  # most are; there is nothing to look for
        # 'true or false' reads badly after "is not a".
        article = "" if kind == "boolean" else "a "
        problem = f"{{value!r}} is not {article}{KINDS[kind]}, {why}"
        check_cells(name, values, result.is_null() & values.is_not_null(), problem)
        if kind_of(values) is None:  # of a Parquet file it comes without its values
            raise DataError(f"{where}: its values are {values.dtype}")
    return result


def prose(texts: pl.Series) -> bool:
    """Whether these texts have several words, about: WORDS or more on average."""
    known = texts.drop_nulls()
    return int(known.str.count_matches(r"\s").sum()) + len(known) >= WORDS * max(len(known), 1)


def most_inputs(rows: int) -> int:
    """The most inputs that a text becomes in a training set of so many rows."""
    return max(TEXT, min(MANY, NUMBERS // max(rows, 1)))


def recurs(texts: pl.Series, values: int) -> bool:
    """Whether these texts are so many values, each of which occurs often, of which a model can
    learn something on its own; prose is not.
    """
    known = len(texts) - texts.null_count()
    return OFTEN * values <= known and values < most_inputs(len(texts)) and not prose(texts)


def check_prepared(name: str, frame: pl.DataFrame, limits: Limits = FILE) -> None:
    """Raise DataError if preparing these features would take more memory than the limit.

    One column can become thousands of inputs, and what is computed from the letters of a text takes
    many times its length.
    """
    rows, kinds = len(frame), {column.name: kind_of(column) for column in frame.iter_columns()}
    most = {"number": 2, "boolean": 1, "clock": 2, "duration": 2, "date": 6, "time": 6}
    inputs = {column: most.get(kind, most_inputs(rows)) for column, kind in kinds.items() if kind is not None}
    texts = [column for column in frame.iter_columns() if kinds[column.name] in ("text", "category")]
    letters = {column.name: int(converted(column, "text").str.len_bytes().sum()) for column in texts}

    def memory() -> int:  # columns are encoded one after the other
        return INPUT * rows * sum(inputs.values()) + LETTER * max(letters.values(), default=0)

    if memory() <= limits.memory:
        return
    for column in texts:  # counting the values of each takes longer
        values, as_text = column.n_unique(), converted(column, "text")
        if values <= CATEGORIES or recurs(as_text, values):
            inputs[column.name] = values
        elif not prose(as_text):
            inputs[column.name] = TEXT
        letters[column.name] *= values > CATEGORIES
    if memory() > limits.memory:
        size = (
            f"{rows:,} rows of {sum(inputs.values()):,} inputs, from up to {max(letters.values(), default=0):,} letters"
        )
        problem = f"preparing {size} in a column, takes more than {limits.memory / 1e9:g} GB of memory"
        raise DataError(f"{name}: {problem}; use fewer rows, or leave columns out ({setting('drop')})")


def conform(name: str, frame: pl.DataFrame, columns: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    """The columns that the preparation was fitted on, cast to their types.

    Raises DataError for a missing column, or for a value of another type.
    """
    import polars as pl

    types, wanted = frame.schema, [column for column, _ in columns]
    for column in wanted:
        if column not in types:
            match = nearest(column, set(types) - set(wanted))
            hint = f"; if it is {shortened(match)!r}, rename that" if match else ""
            raise DataError(f"{name}: column {shortened(column)!r}, which the training data has, is missing{hint}")
    others = [(column, kind) for column, kind in columns if kind != "number" or types[column] != pl.Float64]
    frame = frame if frame.columns == wanted else frame.select(wanted)
    return frame.with_columns(as_kind(name, frame[column], kind, "as in the training data") for column, kind in others)


def reread(name: str, frame: pl.DataFrame, read: Mapping[str, str]) -> pl.DataFrame:
    """The table with these columns read as these kinds, as in `--read price=number`.

    Raises:
        DataError: for an unknown column, or a value that can't be read so
        SettingError: for an unknown kind
    """
    check_read(read)
    for column in read:
        if column not in frame.columns:
            raise DataError(f"{name}: {unknown('column', column, frame.columns)}")
    return frame.with_columns(
        as_kind(name, frame[column], kind, "which it is read as") for column, kind in read.items()
    )


def check_read(read: Mapping[str, str]) -> None:
    """Raise SettingError for an unknown kind to read a column as."""
    for kind in read.values():
        if kind not in READ:
            raise unknown("kind of column", kind, READ)


def texts(read: Mapping[str, str]) -> list[str]:
    """The columns to leave as text where a CSV file is read: their kind is not inferred."""
    return [column for column, kind in read.items() if kind != "number"]


@dataclass(frozen=True)
class ColumnUse:
    """How a column was read, and what becomes of it.

    Attributes:
        name: its name
        type: what it was read as, such as "number" or "date"; empty if it was left out
        use: the inputs that it becomes, or why it was left out
        inputs: the number of these inputs
        role: "number", "category", "date", "text", "tokens" or "left out"
    """

    name: str
    type: str
    use: str
    inputs: int
    role: str


def describe(
    columns: Sequence[tuple[str, str]],
    left_out: Sequence[tuple[str, str]],
    inputs: Mapping[str, tuple[str, list[str], bool]],
) -> list[ColumnUse]:
    """How each column was read, and what becomes of it.

    Args:
        columns: the columns that are used, each with its kind
        left_out: the columns that are not, each with the reason
        inputs: the role of each column, the names of its inputs, and whether one more says that a
            value is missing
    """
    uses = []
    for column, kind in columns:
        role, names, marks_missing = inputs.get(column, ("", [], False))
        if not names:
            uses.append(ColumnUse(column, "", "left out: it does not differ within the training set", 0, "left out"))
            continue
        use = _use(role, column, names, marks_missing)
        uses.append(ColumnUse(column, KINDS[kind], use, len(names) + marks_missing, role))
    return uses + [ColumnUse(column, "", f"left out: {why}", 0, "left out") for column, why in left_out]


def _use(role: str, column: str, inputs: list[str], marks_missing: bool) -> str:
    """What becomes of a column in this role, in words."""
    count = f"{len(inputs)} input" + "s" * (len(inputs) != 1)
    parts = [name.removeprefix(f"{column}_").replace("_", " ") for name in inputs]
    words: dict[str, Any] = {
        "number": f"{count}, scaled to mean 0 and standard deviation 1",
        "date": f"{count}: {', '.join(parts)}",
        "category": f"{count}, one for each value" if len(inputs) > 1 else f"{count}: whether it is {parts[0]}",
        "text": f"{count}, {_of_text(parts)}",
        "tokens": f"up to {len(inputs) - 1:,} tokens, one after another",
    }
    more = "; a missing value becomes the mean, and one more input says that it is missing"
    return str(words[role]) + more * marks_missing


def _of_text(parts: Sequence[str]) -> str:
    if all(part.isdigit() for part in parts):
        return "computed from the letters of the text"
    return "one for each word or pair of words"


def summary(columns: Sequence[ColumnUse], most: int = 6) -> list[str]:
    """How the columns were read, in a line, and what was left out, in a line for each reason."""
    by_role: dict[str, list[str]] = {}
    for column in columns:
        by_role.setdefault(column.use if column.role == "left out" else column.role, []).append(column.name)
    plurals = {
        "number": "numbers",
        "category": "categories",
        "date": "dates",
        "text": "texts",
        "tokens": "texts as tokens",
    }
    read, dropped = [], []
    for role, names in by_role.items():
        shown = ", ".join(name or "the first" for name in names[:most])
        shown += f" and {len(names) - most} more" if len(names) > most else ""
        if role in plurals:
            singular = {"tokens": "text as tokens"}.get(role, role)
            read.append(f"{len(names)} {singular if len(names) == 1 else plurals[role]} ({shown})")
        else:
            dropped.append(f"{role.replace('left out:', f'left out {shown}:', 1)}")
    return ([f"columns: {'; '.join(read)}"] if read else []) + dropped
