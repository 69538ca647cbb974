"""The tables of `matrix.py`: the kinds of columns, and what must become of each."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

ROWS = 64
FILES = {"csv": ".csv", "semicolons": ".csv", "tsv": ".tsv", "parquet": ".parquet"}
"""The containers that are files, with their extensions."""
TEXTUAL = ("csv", "semicolons", "tsv")
CONTAINERS = (*FILES, "polars", "pandas")
TYPED = ("parquet", "polars", "pandas")
"""The containers whose columns have types."""

CLASSES, QUANTITY = "classification", "regression"
MISSING, DATE, MANY = "the target is missing", "can't be the target", "are too many to learn"
NOT_FINITE, LARGE, LITTLE = "not a finite number", "too large", "differ too little"
NO_NUMBER, NO_VALUES, ONE_VALUE = "is not a number", "can't be predicted", "every row has the"


@dataclass(frozen=True)
class Column:
    """A kind of column.

    Attributes:
        values: its values, ROWS of them
        target: as the target: the task; or words of the message that refuses it
        feature: as a feature: its role; or words of the message that refuses it
        containers: what can hold it
        other: target and feature for the containers where they differ
        name: its name as a feature, and as the target
    """

    values: pl.Series
    target: str
    feature: str
    containers: tuple[str, ...] = CONTAINERS
    other: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    name: str = ""

    def expected(self, container: str) -> tuple[str, str]:
        """What becomes of it in this container, as the target and as a feature."""
        return self.other.get(container, (self.target, self.feature))


def _columns() -> dict[str, Column]:
    """The kinds of columns, by name."""
    rng = np.random.default_rng(0)
    noise, counts = rng.normal(size=ROWS), rng.integers(0, 4, ROWS)
    whole = (rng.permutation(ROWS) * 7 - 30).tolist()
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(k)) for k in rng.integers(0, 300, ROWS)]
    moments = [datetime.datetime(2024, 1, 1) + datetime.timedelta(minutes=int(k)) for k in rng.integers(0, 9e5, ROWS)]
    words = rng.choice(["red", "green", "blue", "Old Rose"], ROWS).tolist()
    odd = rng.choice(["[/red]", 'a "b", c', "ä;é\t–", "=1+1 "], ROWS).tolist()
    texts = [f"{rng.choice(['a', 'the'])} {rng.choice(['flat', 'house'])} at number {k}" for k in range(ROWS)]
    commas = [f"{value:.2f}".replace(".", ",") for value in noise]
    thousands = [f"{value:,.1f}" for value in 1500 + 400 * noise]

    def gaps(values: list[Any]) -> list[Any]:
        return [None if k % 9 == 4 else value for k, value in enumerate(values)]

    def with_one(values: list[Any], value: Any) -> list[Any]:
        return [value if k == 7 else str(v) if isinstance(value, str) else v for k, v in enumerate(values)]

    def series(values: Any, dtype: Any = None) -> pl.Series:
        return pl.Series("x", values, dtype)

    nested = {"containers": ("parquet", "polars")}
    digits = rng.choice(["01", "02", "03"], ROWS).tolist()
    return {
        "number": Column(series(noise), QUANTITY, "number"),
        "float32": Column(series(noise, pl.Float64).cast(pl.Float32), QUANTITY, "number"),
        "whole": Column(series(whole), QUANTITY, "number"),
        "large whole": Column(series([10**15 * k for k in whole]), QUANTITY, "number"),
        "int16": Column(series(whole, pl.Int16), QUANTITY, "number", TYPED),
        "count": Column(series(counts), CLASSES, "number"),
        "count as float": Column(series(counts).cast(pl.Float64), CLASSES, "number"),
        "zero or one": Column(series(counts % 2), CLASSES, "number"),
        "truth": Column(series(counts > 1), CLASSES, "number"),
        "decimal": Column(series(noise).cast(pl.Decimal(12, 4)), QUANTITY, "number"),
        "two words": Column(series(["yes" if k else "no" for k in counts % 2]), CLASSES, "category"),
        "words": Column(series(words), CLASSES, "category"),
        "categorical": Column(series(words, pl.Categorical), CLASSES, "category"),
        "enum": Column(series(words, pl.Enum(sorted(set(words)))), CLASSES, "category", nested["containers"]),
        "unusual words": Column(series(odd), CLASSES, "category"),
        "digits as text": Column(series(digits), CLASSES, "number"),
        "text": Column(series(texts), MANY, "text"),
        "decimal commas": Column(series(commas), QUANTITY, "number"),
        "thousands": Column(series(thousands), QUANTITY, "number"),
        "numbers as text": Column(series([str(value) for value in noise]), QUANTITY, "number"),
        "date": Column(series(days), DATE, "date"),
        "moment": Column(series(moments), DATE, "date"),
        "zoned moment": Column(series(moments).dt.replace_time_zone("Europe/Zurich"), DATE, "date", TYPED),
        "time of day": Column(series([moment.time() for moment in moments]), DATE, "number"),
        "duration": Column(series(moments) - moments[0], DATE, "number", TYPED),
        "gaps in numbers": Column(series(gaps(noise.tolist())), MISSING, "number"),
        "gaps in counts": Column(series(gaps(counts.tolist())), MISSING, "number"),
        "gaps in truth": Column(series(gaps((counts > 1).tolist())), MISSING, "number"),
        "gaps in words": Column(series(gaps(words)), MISSING, "category"),
        "gaps in texts": Column(series(gaps(texts)), MISSING, "text"),
        "gaps in dates": Column(series(gaps(days)), MISSING, "date"),
        "constant": Column(series([1.5] * ROWS), ONE_VALUE, "left out"),
        "constant word": Column(series(["red"] * ROWS), ONE_VALUE, "left out"),
        "empty": Column(series([None] * ROWS, pl.String), MISSING, "left out"),
        "untyped": Column(series([None] * ROWS, pl.Null), MISSING, "left out", nested["containers"]),
        "huge": Column(series(noise * 1e300), LARGE, LARGE),
        "one huge": Column(series(with_one(noise.tolist(), 1e39)), LARGE, LARGE),
        "tiny": Column(series(noise * 1e-300), LITTLE, LITTLE),
        "infinite": Column(series(with_one(noise.tolist(), np.inf)), "not finite", NOT_FINITE),
        "NaN": Column(series(with_one(noise.tolist(), np.nan)), MISSING, NOT_FINITE, other={"pandas": (MISSING, "number")}),
        "number, once a word": Column(series(with_one(noise.tolist(), "abc")), NO_NUMBER, NO_NUMBER),
        "number, once a date": Column(series(with_one(noise.tolist(), "2024-01-05")), NO_NUMBER, NO_NUMBER),
        "date, once a word": Column(series(with_one(days, "soon")), MANY, "is not a date"),
        "list": Column(series([[k] for k in whole]), NO_VALUES, "left out", (*nested["containers"], "pandas")),
        "array": Column(series([[k] for k in whole], pl.Array(pl.Int64, 1)), NO_VALUES, "left out", **nested),
        "struct": Column(series([{"a": k} for k in whole]), NO_VALUES, "left out", **nested),
        "binary": Column(series([b"%d" % k for k in whole]), NO_VALUES, "left out", (*nested["containers"], "pandas")),
        "index": Column(series(range(ROWS)), "", "left out", name="Unnamed: 0"),
        "unnamed index": Column(series(range(ROWS)), "", "left out", name=""),
        "unusual name": Column(series(noise), QUANTITY, "number", name='[/x] {0} "km/h", ä;%s\t'),
    }  # fmt: skip


COLUMNS = _columns()


@dataclass(frozen=True)
class Arrays:
    """Arrays to train on: the task, or words of the message that refuses them."""

    x: Any
    y: Any
    expected: str


def arrays() -> dict[str, Arrays]:
    """Kinds of arrays, as features and as targets, by name."""
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(ROWS, 3)), rng.integers(0, 3, ROWS)
    y = x[:, 0] - x[:, 1]
    pictures = rng.integers(0, 256, (ROWS, 4, 5), dtype=np.uint8)
    found = {
        f"x of {kind}": Arrays(array, labels, CLASSES)
        for kind, array in {
            "floats": x, "float32": x.astype(np.float32), "float16": x.astype(np.float16), "integers": (9 * x).astype(int),
            "truth": x > 0, "bytes": (9 + x).astype(np.uint8), "one feature": x[:, 0], "constants": np.ones_like(x),
            "pictures": pictures, "colours": rng.integers(0, 256, (ROWS, 4, 5, 3), dtype=np.uint8),
            "fractions in pictures": pictures / 255, "one channel": pictures[..., None],
            "four channels": rng.normal(size=(ROWS, 4, 5, 4)), "sequences": rng.normal(size=(ROWS, 1, 6)),
            "volumes": rng.normal(size=(ROWS, 2, 2, 2, 2)), "other byte order": x.astype(">f8"),
            "columns in memory": np.asfortranarray(x), "a constant column": np.c_[x, np.ones(ROWS)],
        }.items()
    }  # fmt: skip
    found |= {
        "x of text": Arrays(np.array(["a"] * ROWS), labels, "must be a numeric array"),
        "x of dates": Arrays(np.zeros((ROWS, 2), "M8[D]"), labels, "must be a numeric array"),
        "x of complex numbers": Arrays(x + 1j, labels, "must be a numeric array"),
        "x without samples": Arrays(x[:0], labels[:0], "there are no samples"),
        "x without features": Arrays(x[:, :0], labels, "every size must be above 0"),
        "x of one number": Arrays(np.array(1.0), labels, "must be a numeric array"),
        "x of 1e39": Arrays(x * 1e39, labels, LARGE),
        "x of tiny numbers": Arrays(x * 1e-300, labels, LITTLE),
        "x with NaN": Arrays(np.where(x > 2, np.nan, x), labels, NOT_FINITE),
        "x with infinity": Arrays(np.where(x > 2, np.inf, x), labels, NOT_FINITE),
        "x longer than y": Arrays(x, labels[:-1], "each sample needs one"),
    }
    targets: dict[str, tuple[Any, str]] = {
        "floats": (y, QUANTITY), "integers": (np.arange(ROWS) * 3, QUANTITY), "labels": (labels, CLASSES),
        "labels as floats": (labels * 1.0, CLASSES), "labels as uint8": (labels.astype(np.uint8), CLASSES),
        "truth": (labels > 0, CLASSES), "text": (np.array(["a", "ä", "[/c]"])[labels], CLASSES),
        "byte strings": (np.array([b"a", b"b", b"c"])[labels], CLASSES), "one column": (y[:, None], QUANTITY),
        "columns": (x[:, :2], QUANTITY), "columns of 0 and 1": (np.eye(3)[labels], QUANTITY),
        "too many texts": (np.array([f"t{k}" for k in range(ROWS)]), MANY), "one value": (np.ones(ROWS), ONE_VALUE),
        "1e300": (y * 1e300, LARGE), "tiny numbers": (y * 1e-300, LITTLE), "NaN": (np.where(y > 1, np.nan, y), NOT_FINITE),
        "infinity": (np.where(y > 1, np.inf, y), NOT_FINITE), "dates": (np.zeros(ROWS, "M8[D]"), "must be numbers or text"),
        "complex numbers": (y + 1j, "must be numbers or text"), "a cube": (np.zeros((ROWS, 2, 2)), "must have the shape"),
        "no columns": (x[:, :0], "must have the shape"), "one number": (np.array(1.0), "must have the shape"),
        "a constant column": (np.c_[y, np.ones(ROWS)], QUANTITY),
    }  # fmt: skip
    return found | {f"y of {kind}": Arrays(x, values, expected) for kind, (values, expected) in targets.items()}


# Bad cells: a table of one column of each kind, to train on; what another may have instead

KINDS = {
    "number": "number", "whole": "whole", "truth": "truth", "category": "words", "text": "text",
    "date": "date", "time": "moment", "clock": "time of day",
}  # fmt: skip
"""The columns of that table, each with its values."""

ANY = ("category", "text")
CELLS: dict[str, tuple[str, ...]] = {
    "": tuple(KINDS), "soon": ANY, "yes": ANY, "1,5": (*ANY, "whole"), "1e39": ANY, "inf": ANY, "-inf": ANY, "nan": ANY,
    "-3": (*ANY, "number", "whole"), "1": (*ANY, "number", "whole", "truth"), "1.0": (*ANY, "number", "whole"),
    "0.5": (*ANY, "number", "whole"), "9" * 25: (*ANY, "number", "whole"), "true": (*ANY, "truth"),
    "True": (*ANY, "truth"), "2024-13-01": ANY, "2024-02-03": (*ANY, "date", "time"), "02/03/2024": ANY,
    "2024-02-03T10:00:00": (*ANY, "time"), "12:30:00": (*ANY, "clock"), "25:00:00": ANY, "[/x] {0}": ANY,
    " ": ANY, "é" * 3000: ANY,
}  # fmt: skip
"""Texts in one cell, each with the columns that take it; the others refuse it with its row."""

NUMERIC = ("number", "whole")
SWAPS: dict[str, tuple[str, ...]] = {
    "number": (*NUMERIC, *ANY), "whole": (*NUMERIC, *ANY), "float32": (*NUMERIC, *ANY), "int16": (*NUMERIC, *ANY),
    "decimal": (*NUMERIC, *ANY), "zero or one": (*NUMERIC, *ANY, "truth"), "truth": (*NUMERIC, *ANY, "truth"),
    "words": ANY, "categorical": ANY, "enum": ANY, "numbers as text": (*NUMERIC, *ANY),
    "decimal commas": (*NUMERIC, *ANY), "date": (*ANY, "date", "time"), "moment": (*ANY, "date", "time"),
    "zoned moment": (*ANY, "date", "time"), "time of day": (*ANY, "clock"), "duration": (), "list": (), "array": (),
    "struct": (), "binary": (), "empty": tuple(KINDS), "untyped": tuple(KINDS),
}  # fmt: skip
"""Columns of other types, each with the columns that take them; the others refuse them."""
