"""How each column of a table becomes numbers, fitted on the training set: an encoder for each role.

A number is itself, and a date its year, month, day, hour and time. A category is one input for each
of its values. A text of several words is one input for each word and pair of words, by TF-IDF. Any
other text with many values that seldom occur twice, such as a name, is the parts of its words by
TF-IDF, reduced to some numbers by a singular value decomposition (latent semantic analysis:
Deerwester et al., 1990).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired, TypedDict

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import (
    CATEGORIES,
    MANY,
    OFTEN,
    TEXT,
    check_cells,
    converted,
    most_inputs,
    prose,
    recurs,
    without_short_years,
)
from chainrule.data.tables import NO_WORDS, has_either_first
from chainrule.errors import RunError

if TYPE_CHECKING:
    import polars as pl

DAYS = ("%m/%d/%Y", "%m-%d-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y",
        "%d/%m/%y", "%d.%m.%y", "%d-%m-%y", "%m/%d/%y", "%m-%d-%y")  # fmt: skip
TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
FORMATS = ("", *DAYS, *(f"{day} {time}" for day in DAYS for time in TIMES))
"""How dates are written, in the order in which they are tried. The empty text stands for all that
`converted` knows: ISO 8601, and the day before the month, with years of four digits.
"""

Part = Literal["year", "month", "day", "hour", "total_seconds"]


class EncoderRecipe(TypedDict):
    """An encoder as JSON; what an array holds is elsewhere."""

    role: Literal["number", "category", "date", "text", "tokens"]
    marks_missing: NotRequired[bool]
    values: NotRequired[list[str | None]]
    written: NotRequired[str]
    parts: NotRequired[list[Part]]
    ambiguous: NotRequired[bool]
    vocabulary: NotRequired[list[str]]
    words: NotRequired[bool]
    tokens: NotRequired[Literal["words", "characters", "bpe"]]
    length: NotRequired[int]
    merges: NotRequired[list[tuple[str, str]]]


class Encoder:
    """How a column becomes inputs.

    Attributes:
        role: "number", "category", "date", "text" or "tokens"
        is_index: whether the inputs are no quantities, but numbers by which something is looked up
        marks_missing: whether one more input says that a value is missing
    """

    role: ClassVar[str]
    is_index: ClassVar[bool] = False
    marks_missing: bool = False

    @property
    def arrays(self) -> Mapping[str, Array]:
        """What is kept as arrays rather than as JSON."""
        return {}

    def as_json(self) -> EncoderRecipe:
        """Everything else that is needed to make the encoder again."""
        raise NotImplementedError

    def names(self, column: str) -> list[str]:
        """The names of the inputs, other than the one for a missing value."""
        raise NotImplementedError

    @property
    def is_sparse(self) -> bool:
        """Whether there may be thousands of inputs, most of which are 0 in a row; they are not
        scaled, so that those that are rare count less.
        """
        return False

    def encode(self, name: str, values: pl.Series) -> Iterable[Array]:
        """(rows,) float64 for each of these inputs, NaN where the value is missing; one after the
        other if there may be thousands.

        `name` is used in error messages. Raises DataError for a value of another form than those of
        the training set.
        """
        raise NotImplementedError

    def input_names(self, column: str) -> list[str]:
        """The names of all inputs."""
        return [*self.names(column), *([missing(column)] if self.marks_missing else [])]

    def inputs(self, name: str, values: pl.Series) -> Iterator[Array]:
        """(rows,) float64 for each of them."""
        missing = None
        for encoded in self.encode(name, values):
            missing = np.isnan(encoded) if self.marks_missing and missing is None else missing
            yield encoded
        if missing is not None:
            yield missing.astype(np.float64)


@dataclass(frozen=True)
class Number(Encoder):
    """A number, or true (1) and false (0)."""

    role: ClassVar[str] = "number"
    marks_missing: bool = False

    def as_json(self) -> EncoderRecipe:
        return {"role": "number", "marks_missing": self.marks_missing}

    def names(self, column: str) -> list[str]:
        return [column]

    def encode(self, name: str, values: pl.Series) -> list[Array]:
        return [_floats(values)]


@dataclass(frozen=True)
class Date(Encoder):
    """A date or a time, or a text that is written like one.

    Attributes:
        written: how a text is written, one of FORMATS; None for a column of dates
        parts: the inputs
        marks_missing: whether one more input says that a value is missing
        ambiguous: whether the day was taken to come before the month, although the dates that it
            was fitted to can be read either way
    """

    role: ClassVar[str] = "date"
    written: str | None
    parts: tuple[Part, ...]
    marks_missing: bool = False
    ambiguous: bool = False

    def as_json(self) -> EncoderRecipe:
        fields: EncoderRecipe = {"role": "date", "marks_missing": self.marks_missing, "parts": list(self.parts)}
        if self.written is not None:
            fields["written"] = self.written
        if self.ambiguous:
            fields["ambiguous"] = True
        return fields

    def names(self, column: str) -> list[str]:
        return [f"{column}_{part}" for part in self.parts]

    def encode(self, name: str, values: pl.Series) -> list[Array]:
        if self.written is not None:
            texts = cleaned(values)
            values = as_dates(texts, self.written)
            problem = "{value!r} is not written like the dates of the training data"
            check_cells(name, texts, values.is_null() & texts.is_not_null(), problem)
        seconds = values.dt.epoch("s")
        return [_floats(seconds if part == "total_seconds" else getattr(values.dt, part)()) for part in self.parts]


@dataclass(frozen=True)
class Category(Encoder):
    """One of several values: an input for each says whether it is the one. Of two values, the
    second has an input. A value that does not occur in the training set is none of them.

    Attributes:
        values: the values, in the order of the inputs; None, the last, for a missing value
    """

    role: ClassVar[str] = "category"
    values: tuple[str | None, ...]

    def as_json(self) -> EncoderRecipe:
        return {"role": "category", "values": list(self.values)}

    def names(self, column: str) -> list[str]:
        return [missing(column) if value is None else f"{column}_{value}" for value in self.values[self._first :]]

    @property
    def is_sparse(self) -> bool:
        return len(self.values) > CATEGORIES + 1

    def encode(self, name: str, values: pl.Series) -> Iterator[Array]:
        return self.of_codes(self.codes(values))

    def codes(self, values: pl.Series) -> Array:
        """(rows,) the number of each value; that of a missing one follows the last, and -1 is a
        value that does not occur in the training set.
        """
        import polars as pl

        known = [value for value in self.values if value is not None]
        texts = cleaned(values)
        numbers = texts.replace_strict(known, range(len(known)), default=-1, return_dtype=pl.Int32)
        return numbers.set(texts.is_null(), len(known)).to_numpy()

    def of_codes(self, codes: Array) -> Iterator[Array]:
        """(rows,) float64 for each input, of values with these numbers."""
        return ((codes == k).astype(np.float64) for k in range(self._first, len(self.values)))

    @property
    def _first(self) -> int:
        """The first value that has an input."""
        return int(len(self.values) == 2)


@dataclass(frozen=True)
class Text(Encoder):
    """A text, by its words and pairs of words if it has several, or else by parts of words: runs of
    three and of four letters.

    Attributes:
        vocabulary: the words or parts of words
        weights: (vocabulary,) how much each counts, by how rare it is: its inverse document
            frequency
        directions: (inputs, vocabulary) those in which the training set varies most; None if the
            words themselves are the inputs
        words: whether it is taken apart into words
    """

    role: ClassVar[str] = "text"
    vocabulary: tuple[str, ...]
    weights: Array
    directions: Array | None
    words: bool = False

    @property
    def arrays(self) -> Mapping[str, Array]:
        return {"weights": self.weights} | ({} if self.directions is None else {"directions": self.directions})

    def as_json(self) -> EncoderRecipe:
        recipe: EncoderRecipe = {"role": "text", "vocabulary": list(self.vocabulary)}
        return {**recipe, "words": True} if self.words else recipe

    def names(self, column: str) -> list[str]:
        if self.directions is None:
            return [f"{column}_{word}" for word in self.vocabulary]
        return [f"{column}_{k:02d}" for k in range(len(self.directions))]

    @property
    def is_sparse(self) -> bool:
        return self.directions is None

    def encode(self, name: str, values: pl.Series) -> Iterator[Array]:
        texts = _texts(values)
        if not any(texts):  # no need to import scikit-learn
            return iter([np.zeros(len(texts))] * len(self.names(name)))
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(**_taken_apart(self.words), vocabulary=self.vocabulary)
        vectorizer.idf_ = self.weights
        weighted = vectorizer.transform(texts)
        if self.directions is not None:
            return iter(np.ascontiguousarray((weighted @ self.directions.T).T))
        by_word = weighted.tocsc()
        return (_dense(by_word, k) for k in range(len(self.vocabulary)))


def _dense(matrix: Any, k: int) -> Array:
    """Column k of a sparse matrix in the format CSC; indexing it takes ten times as long."""
    column, cells = np.zeros(matrix.shape[0]), slice(*matrix.indptr[k : k + 2])
    column[matrix.indices[cells]] = matrix.data[cells]
    return column


def _taken_apart(words: bool) -> dict[str, Any]:
    """How a text is taken apart, in the terms of scikit-learn."""
    if words:
        return {"ngram_range": (1, 2), "sublinear_tf": True, "token_pattern": r"\b\w+\b"}
    return {"analyzer": "char_wb", "ngram_range": (3, 4)}


def fit_encoder(
    column: pl.Series, kind: str, rows: Array, as_tokens: Callable[[pl.Series], Encoder | None] | None = None
) -> Encoder:
    """The encoder of a column.

    Args:
        column: all its values, which decide whether a text consists of dates
        kind: what it is read as
        rows: row numbers of the training set, by which everything else is decided
        as_tokens: what makes an encoder from the texts of the training set, if texts are to be read
            as tokens; None for those that are not
    """
    if kind not in ("date", "time", "text", "category"):
        return Number(column.null_count() > 0 and column[rows].null_count() > 0)
    training = column[rows]
    if kind in ("date", "time"):
        return Date(None, date_parts(training), training.null_count() > 0)
    texts = cleaned(training)
    written = date_format(cleaned(column)) if kind == "text" else None
    if written is not None:
        dates = as_dates(texts, written)
        return Date(written, date_parts(dates), texts.null_count() > 0, is_ambiguous(cleaned(column), written))
    values = texts.drop_nulls().unique().sort().to_list()
    is_prose = as_tokens is not None and OFTEN * len(values) > len(texts) - texts.null_count() and prose(texts)
    if is_prose or (len(values) > CATEGORIES and not recurs(texts, len(values))):
        return (None if as_tokens is None else as_tokens(texts)) or fit_text(texts)
    return Category((*values, None) if texts.null_count() else tuple(values))


def roles(kind: str, is_written: bool) -> tuple[str, ...]:
    """The roles that a column of this kind can have; `is_written` says whether it is a text that is
    written like a date.
    """
    if kind in ("date", "time"):
        return () if is_written else ("date",)
    if kind == "text" and is_written:
        return ("date",)
    return ("category", "text", "tokens") if kind in ("text", "category") else ("number",)


def from_json(recipe: EncoderRecipe, arrays: Mapping[str, Array]) -> Encoder:
    """The inverse of `as_json` and `arrays`; raises RunError for what doesn't fit together."""
    role, marks_missing = recipe["role"], recipe.get("marks_missing", False)
    if role == "number":
        return Number(marks_missing)
    if role == "date":
        written, parts = recipe.get("written"), tuple(recipe.get("parts", ()))
        if (written is not None and written not in FORMATS) or not parts or len({*parts}) < len(parts):
            raise RunError(f"dates written as {written!r}, with the parts {parts}, are unknown; it was altered")
        return Date(written, parts, marks_missing, recipe.get("ambiguous", False))
    if role == "category":
        values = tuple(recipe.get("values", ()))
        if not 2 <= len(values) <= MANY + 1 or len(set(values)) < len(values) or None in values[:-1]:
            raise RunError("the values of a category must be several and differ; it was altered")
        return Category(values)
    vocabulary, weights, directions = (tuple(recipe.get("vocabulary", ())), *map(arrays.get, ("weights", "directions")))
    words = recipe.get("words", False)
    is_whole = weights is not None and (directions is not None or (words and len(vocabulary) <= MANY))
    if not vocabulary or weights is None or not is_whole or len(set(vocabulary)) < len(vocabulary):
        raise RunError("a text needs a vocabulary, weights and directions; it was altered")
    shapes = [(weights, (len(vocabulary),))]
    if directions is not None:
        shapes.append((directions, (*directions.shape[:1], len(vocabulary))))
    for array, shape in shapes:
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise RunError("the arrays of a text do not fit its vocabulary; it was altered")
    return Text(vocabulary, weights, directions, words)


def fit_text(texts: pl.Series) -> Text:
    """The encoder of texts that are no categories, fitted to these."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words, rows = prose(texts), _texts(texts)
    limits = {"min_df": 2 if len(rows) >= 100 else 1, "max_features": most_inputs(len(rows))} if words else {}
    vectorizer = TfidfVectorizer(**_taken_apart(words), **limits)
    weighted = vectorizer.fit_transform(rows)
    vocabulary = tuple(sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__))
    if words:
        return Text(vocabulary, vectorizer.idf_, None, words)
    directions = TruncatedSVD(min(TEXT, *weighted.shape), random_state=0).fit(weighted).components_
    return Text(vocabulary, vectorizer.idf_, np.ascontiguousarray(directions, dtype=np.float64))


def missing(column: str) -> str:
    """The name of the input that says that a value is missing."""
    return f"{column} (missing)"


def cleaned(values: pl.Series) -> pl.Series:
    """A column of text, null where it says that the value is missing, or of categories, as text."""
    import polars as pl

    texts = values.cast(pl.String)
    return texts if values.dtype != pl.String else texts.set(texts.is_in(NO_WORDS), None)


def date_format(texts: pl.Series) -> str | None:
    """The first of FORMATS that all these texts are written in; None if there is none."""
    if not texts[:1000].drop_nulls().str.contains(r"\d.*\d.*\d").all():  # a day, a month and a year
        return None
    distinct = texts.drop_nulls().unique()
    if len(distinct) == 0:
        return None
    few = [written for written in FORMATS if are_dates(distinct[:20], written)]  # most are told by these
    return next((written for written in few if are_dates(distinct, written)), None)


def is_ambiguous(texts: pl.Series, written: str) -> bool:
    """Whether texts that are written like this might have the month before the day as well."""
    known = texts.drop_nulls()
    if not written:
        return has_either_first(known, as_dates(known, written))
    month_first = written.translate(str.maketrans("dm", "md"))
    return written.startswith(("%d/%m", "%d-%m")) and are_dates(known, month_first)


def as_dates(texts: pl.Series, written: str) -> pl.Series:
    """Dates and times from text, null where a text is not written so."""
    if written:
        dates = texts.str.to_datetime(written, strict=False, time_unit="us")
        return without_short_years(dates)
    dates = converted(texts, "date")
    times = dates if dates.null_count() == texts.null_count() else converted(texts, "time")
    return converted(times, "time")  # without a time zone


def are_dates(texts: pl.Series, written: str) -> bool:
    """Whether all these texts are dates that are written like this."""
    return as_dates(texts, written).null_count() == 0


def date_parts(dates: pl.Series) -> tuple[Part, ...]:
    """The inputs that dates become: the hour only if some are at another time than midnight."""
    import polars as pl

    has_times = dates.dtype == pl.Datetime and (dates.drop_nulls().dt.time() != datetime.time(0)).any()
    return ("year", "month", "day", "hour", "total_seconds") if has_times else ("year", "month", "day", "total_seconds")


def _texts(values: pl.Series) -> list[str]:
    return cleaned(values).fill_null("").to_list()


def _floats(values: pl.Series) -> Array:
    import polars as pl

    return values.cast(pl.Float64).to_numpy()
