"""The tables of `matrix.py`: the kinds of columns, and what must become of each."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
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

CLASSES, QUANTITY, LABELS = "classification", "regression", "multilabel"
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
        name: its name, if that is what is special about it
    """

    values: pl.Series
    target: str
    feature: str
    containers: tuple[str, ...] = CONTAINERS
    name: str = ""

    def expected(self, container: str) -> tuple[str, str]:
        """What becomes of it in this container, as the target and as a feature."""
        is_missing = container == "pandas" and self.feature == NOT_FINITE and self.target == MISSING
        return self.target, "number" if is_missing else self.feature  # NaN is missing in pandas


def _values() -> dict[str, Any]:
    """The values of simple kinds of columns, by name."""
    rng = np.random.default_rng(0)
    noise, counts = rng.normal(size=ROWS), rng.integers(0, 4, ROWS)
    start = datetime.datetime(2024, 1, 1)
    moments = [start + datetime.timedelta(minutes=int(k)) for k in rng.integers(0, 9e5, ROWS)]
    words = rng.choice(["red", "green", "blue", "Old Rose"], ROWS).tolist()
    return {
        "number": noise.tolist(),
        "whole": (rng.permutation(ROWS) * 7 - 30).tolist(),
        "count": counts.tolist(),
        "truth": (counts > 1).tolist(),
        "two words": ["yes" if count % 2 else "no" for count in counts],
        "words": words,
        "unusual words": rng.choice(["[/red]", 'a "b", c', "ä;é\t–", "=1+1 "], ROWS).tolist(),
        "digits as text": rng.choice(["01", "02", "03"], ROWS).tolist(),
        "text": [f"{words[k]} {rng.choice(['flat', 'house'])} at number {k}" for k in range(ROWS)],
        "decimal commas": [f"{value:.2f}".replace(".", ",") for value in noise],
        "thousands": [f"{value:,.1f}" for value in 1500 + 400 * noise],
        "numbers as text": [str(value) for value in noise.tolist()],
        "date": [(start + datetime.timedelta(days=int(k))).date() for k in rng.integers(0, 300, ROWS)],
        "moment": moments,
        "time of day": [moment.time() for moment in moments],
    }


def _with(values: list[Any], value: Any, every: int = ROWS, as_text: bool = False) -> list[Any]:
    """These values with another in the eighth row, and every so many rows after it."""
    return [value if k % every == 7 else str(v) if as_text else v for k, v in enumerate(values)]


def _columns() -> dict[str, Column]:
    """The kinds of columns, by name."""
    plain = _values()
    series = {name: pl.Series(name, values) for name, values in plain.items()}
    noise, whole, words, moments = (series[name] for name in ("number", "whole", "words", "moment"))
    nested, frames = ("parquet", "polars"), ("parquet", "polars", "pandas")
    roles = {
        **dict.fromkeys(("number", "whole", "decimal commas", "thousands", "numbers as text"), (QUANTITY, "number")),
        **dict.fromkeys(("count", "truth", "digits as text"), (CLASSES, "number")),
        **dict.fromkeys(("two words", "words", "unusual words"), (CLASSES, "category")),
        "text": (MANY, "text"), "date": (DATE, "date"), "moment": (DATE, "date"), "time of day": (DATE, "number"),
    }  # fmt: skip
    found = {name: Column(series[name], *roles[name]) for name in series}
    found |= {
        "float32": Column(noise.cast(pl.Float32), QUANTITY, "number"),
        "large whole": Column(whole * 10**15, QUANTITY, "number"),
        "int16": Column(whole.cast(pl.Int16), QUANTITY, "number", frames),
        "count as float": Column(series["count"].cast(pl.Float64), CLASSES, "number"),
        "zero or one": Column(series["count"] % 2, CLASSES, "number"),
        "decimal": Column(noise.cast(pl.Decimal(12, 4)), QUANTITY, "number"),
        "categorical": Column(words.cast(pl.Categorical), CLASSES, "category"),
        "enum": Column(words.cast(pl.Enum(sorted(set(words)))), CLASSES, "category", nested),
        "zoned moment": Column(moments.dt.replace_time_zone("Europe/Zurich"), DATE, "date", frames),
        "duration": Column(moments - moments[0], DATE, "number", frames),
        "constant": Column(noise * 0 + 1.5, ONE_VALUE, "left out"),
        "constant word": Column(pl.Series(["red"] * ROWS), ONE_VALUE, "left out"),
        "empty": Column(pl.Series([None] * ROWS, dtype=pl.String), MISSING, "left out"),
        "untyped": Column(pl.Series([None] * ROWS, dtype=pl.Null), MISSING, "left out", nested),
        "huge": Column(noise * 1e300, LARGE, LARGE),
        "one huge": Column(pl.Series(_with(plain["number"], 1e39)), LARGE, LARGE),
        "tiny": Column(noise * 1e-300, LITTLE, LITTLE),
        "infinite": Column(pl.Series(_with(plain["number"], np.inf)), "not finite", NOT_FINITE),
        "NaN": Column(pl.Series(_with(plain["number"], np.nan)), MISSING, NOT_FINITE),
        "list": Column(pl.Series([[k] for k in whole]), NO_VALUES, "left out", frames),
        "array": Column(pl.Series([[k] for k in whole], dtype=pl.Array(pl.Int64, 1)), NO_VALUES, "left out", nested),
        "struct": Column(pl.Series([{"a": k} for k in whole]), NO_VALUES, "left out", nested),
        "binary": Column(pl.Series([b"%d" % k for k in whole]), NO_VALUES, "left out", frames),
        "index": Column(pl.Series(range(ROWS)), "", "left out", name="Unnamed: 0"),
        "unnamed index": Column(pl.Series(range(ROWS)), "", "left out", name=""),
        "unusual name": Column(noise, QUANTITY, "number", name='[/x] {0} "km/h", ä;%s\t'),
    }  # fmt: skip
    for name, kind, word in (("word", "number", "abc"), ("date", "number", "2024-01-05"), ("word", "date", "soon")):
        problem = NO_NUMBER if kind == "number" else MANY, f"is not a {kind}"
        found[f"{kind}, once a {name}"] = Column(pl.Series(_with(plain[kind], word, as_text=True)), *problem)
    for name in ("number", "count", "truth", "words", "text", "date", "time of day"):
        gaps = pl.Series(_with(plain[name], None, every=9))
        found[f"{name} with gaps"] = Column(gaps, MISSING, found[name].feature)
    return found


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
    of_x = {f"x of {kind}": Arrays(values, labels, expected) for kind, (values, expected) in _features(rng, x).items()}
    of_y = {f"y of {kind}": Arrays(x, values, expected) for kind, (values, expected) in _targets(x, labels).items()}
    return of_x | of_y


def _features(rng: np.random.Generator, x: Any) -> dict[str, tuple[Any, str]]:
    """Kinds of features, each with what becomes of it."""
    pictures = rng.integers(0, 256, (ROWS, 4, 5), dtype=np.uint8)
    used = {
        "floats": x, "float32": x.astype(np.float32), "float16": x.astype(np.float16), "truth": x > 0,
        "integers": (9 * x).astype(int), "bytes": (9 + x).astype(np.uint8), "one feature": x[:, 0],
        "constants": np.ones_like(x), "a constant column": np.c_[x, np.ones(ROWS)], "pictures": pictures,
        "fractions in pictures": pictures / 255, "one channel": pictures[..., None],
        "colours": rng.integers(0, 256, (ROWS, 4, 5, 3), dtype=np.uint8),
        "four channels": rng.normal(size=(ROWS, 4, 5, 4)),
        "sequences": rng.normal(size=(ROWS, 1, 6)), "volumes": rng.normal(size=(ROWS, 2, 2, 2, 2)),
        "other byte order": x.astype(">f8"), "columns in memory": np.asfortranarray(x),
    }  # fmt: skip
    return {kind: (values, CLASSES) for kind, values in used.items()} | {
        "text": (np.full((ROWS, 2, 2), "a"), "must be a numeric array"),
        "dates": (np.zeros((ROWS, 2), "M8[D]"), "must be a numeric array"),
        "complex numbers": (x + 1j, "must be a numeric array"),
        "no samples": (x[:0], "each sample needs one"),
        "no features": (x[:, :0], "every size must be above 0"),
        "one number": (np.array(1.0), "must be a numeric array"),
        "1e39": (x * 1e39, LARGE),
        "tiny numbers": (x * 1e-300, LITTLE),
        "NaN": (np.where(x > 2, np.nan, x), NOT_FINITE),
        "infinity": (np.where(x > 2, np.inf, x), NOT_FINITE),
        "fewer samples": (x[:-1], "each sample needs one"),
    }


def _targets(x: Any, labels: Any) -> dict[str, tuple[Any, str]]:
    """Kinds of targets, each with what becomes of it."""
    y = x[:, 0] - x[:, 1]
    return {
        "floats": (y, QUANTITY), "integers": (np.arange(ROWS) * 3, QUANTITY), "labels": (labels, CLASSES),
        "labels as floats": (labels * 1.0, CLASSES), "labels as uint8": (labels.astype(np.uint8), CLASSES),
        "truth": (labels > 0, CLASSES), "text": (np.array(["a", "ä", "[/c]"])[labels], CLASSES),
        "byte strings": (np.array([b"a", b"b", b"c"])[labels], CLASSES), "one column": (y[:, None], QUANTITY),
        "columns": (x[:, :2], QUANTITY), "one-hot columns": (np.eye(3)[labels], CLASSES),
        "columns of 0 and 1": (np.eye(3)[labels] + np.eye(3)[(labels + 1) % 3], LABELS),
        "a constant column": (np.c_[y, np.ones(ROWS)], QUANTITY),
        "too many texts": (np.array([f"t{k}" for k in range(ROWS)]), MANY), "one value": (np.ones(ROWS), ONE_VALUE),
        "1e300": (y * 1e300, LARGE), "tiny numbers": (y * 1e-300, LITTLE),
        "NaN": (np.where(y > 1, np.nan, y), NOT_FINITE), "infinity": (np.where(y > 1, np.inf, y), NOT_FINITE),
        "dates": (np.zeros(ROWS, "M8[D]"), "must be numbers or text"), "complex": (y + 1j, "must be numbers or text"),
        "a cube": (np.zeros((ROWS, 2, 2)), "must have the shape"), "no columns": (x[:, :0], "must have the shape"),
        "one number": (np.array(1.0), "must have the shape"),
    }  # fmt: skip


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
    " ": tuple(KINDS), "n/a": tuple(KINDS), "$5": ANY, "5%": ANY, "é" * 3000: ANY,
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
