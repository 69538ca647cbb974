"""One sample, as the user knows it and as the network reads it: which of the network's inputs
belong to which column, pixel, token or time step, and the value there in the user's own unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Deferred, as_read
from chainrule.data import BUILTIN, Dataset, Preparation, Prepared, Source, find, find_samples
from chainrule.data.dataframes import as_array, as_table, without_target
from chainrule.data.finding import Data, Unlabelled
from chainrule.data.series_loading import find_table, grid_of, rows_of
from chainrule.data.series_windows import windows
from chainrule.data.text_windows import find_text, windows_of
from chainrule.data.token_columns import TokenColumn
from chainrule.errors import DataError, at_least, setting
from chainrule.rows import Rows
from chainrule.runs import Trained
from chainrule.runs.inputs import inputs

if TYPE_CHECKING:
    import polars as pl

Sampled = Data | Dataset | Unlabelled
"""What a sample can be a row of."""


@dataclass(frozen=True)
class Part:
    """Something of a sample that counts as one: a column of a table, a feature, a token.

    Attributes:
        name: what it is called
        kind: "number", "category", "date", "text", "tokens", "feature", "pixel", "step" or "token"
        entries: which entries of the flattened sample it becomes
        value: the user's own value, as text
        unit: of a number how much of the user's own unit one of the network's is, its standard
            deviation in the training set; 0 for whatever is no number
        number: of a number the user's own value
        options: of a category its values
        labels: the names of its entries, such as the tokens of a text or the parts of a date
    """

    name: str
    kind: str
    entries: Array
    value: str = ""
    unit: float = 0.0
    number: float | None = None
    options: tuple[str | None, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A sample.

    Attributes:
        name: what it was read from
        row: its row there, counted from 1
        kind: "table", "numbers", "pictures", "sequences", "series", "text", or "arrays" for what
            was trained on as it is
        x: (*input_shape) what the network reads
        parts: what counts as one
        about: what else to know of it, such as its window; empty if nothing
        target: its true target, as text, where that is known
        source: the source of a table or of arrays, with this row alone
    """

    name: str
    row: int
    kind: str
    x: Array
    parts: tuple[Part, ...]
    about: str = ""
    target: str = ""
    source: Source | None = None


def subject(trained: Trained, what: Sampled, row: int) -> Subject:
    """A sample, by its row.

    Args:
        trained: the network that is to read it
        what: samples in any form that `predict` takes, or a Dataset, of which all rows are meant
        row: the row, counted from 1; of series the window that ends with this step, of a text the
            window of this number

    Raises DataError for a row that is not there.
    """
    row = at_least(f"the row is {row!r}; rows are counted from 1 ({setting('row')})", row, 1)
    preparation = trained.preparation
    if isinstance(what, Dataset):
        source = what.source
        if source is None or source.series is not None or source.tokens is not None:
            return _of_dataset(trained, what, row)
        what = source
    if what is None:
        raise DataError("there are no samples; pass the data")
    if preparation is None or isinstance(what, Rows | Deferred | Prepared):
        return _of_arrays(preparation, what, row)
    if preparation.kind == "text":
        text = find_text(what, wanted=True)
        assert text is not None
        samples = windows_of(preparation, text)
        x = np.asarray(samples.x[_within(text.name, row, len(samples.x), "windows")])
        return _window(preparation, text.name, row, x, np.asarray(samples.y[row - 1]))
    if preparation.kind == "series":
        return _of_series(preparation, what, row)
    if isinstance(what, str) and what in BUILTIN:
        return _of_source(preparation, find(what), row)
    return _of_source(preparation, find_samples(what, preparation.image_size, preparation.texts), row)  # type: ignore[arg-type]


def _within(name: str, row: int, count: int, what: str = "rows") -> int:
    """The row counted from 0; raises DataError if there are fewer."""
    if row > count:
        raise DataError(f"{name}: it has no row {row:,}; it has {count:,} {what} ({setting('row')})")
    return row - 1


def _of_source(preparation: Preparation, source: Source, row: int) -> Subject:
    if preparation.kind != "table":
        source = without_target(source, preparation.features, preparation.shape, preparation.target)
    one = source.take(np.array([_within(source.name, row, len(source))]))
    x = np.asarray(as_read(preparation.apply(one)))[0]
    own = one.target
    target = "" if own is None else shown(own.tolist()[0])
    if preparation.kind == "table":
        read = preparation.features or tuple(column for column, _ in preparation.columns)
        frame = as_table(one, read, dict(preparation.columns))
        name = preparation.target.name
        if not target and name in frame.columns:
            target = shown(frame[name].to_list()[0])
        parts = _columns(preparation, frame, x)
        return Subject(source.name, row, "table", x, parts, target=target, source=one)
    parts = tuple(_features(preparation, one, x))
    about = "" if one.names is None else str(one.names[0])
    return Subject(source.name, row, preparation.kind, x, parts, about, target, one)


def _columns(preparation: Preparation, frame: pl.DataFrame, x: Array) -> tuple[Part, ...]:
    """A part for each column of a table."""
    if preparation.pipeline is not None:
        return tuple(Part(name, "feature", np.array([k])) for k, name in enumerate(preparation.names))
    parts, first = list[Part](), 0
    assert preparation.deviation is not None
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        count = len(encoder.input_names(column))
        value, unit, number = frame[column].to_list()[0], 0.0, None
        if encoder.role == "number":
            unit = float(preparation.deviation[first])
            number = None if value is None else float(value)
        options = tuple(getattr(encoder, "values", ()))
        entries = np.arange(first, first + count)
        labels = tuple(encoder.input_names(column))
        if isinstance(encoder, TokenColumn):
            labels = (*encoder.positions(x[entries]), labels[-1])
        parts.append(Part(column, encoder.role, entries, shown(value), unit, number, options, labels))
        first += count
    return tuple(parts)


def _features(preparation: Preparation, one: Source, x: Array) -> list[Part]:
    """A part for each number of an array."""
    raw = np.asarray(as_array(one, preparation.features, preparation.shape))[0]
    assert preparation.deviation is not None
    units = np.ravel(preparation.deviation)
    if x.ndim == 1:
        names = preparation.features or (tuple(one.features.columns) if one.is_table else one.columns)
        names = names if len(names) == x.size else tuple(f"x[{k}]" for k in range(x.size))
        own: list[Any] = [float(v) for v in raw.ravel()] if raw.size == x.size else [None] * x.size
        return [
            Part(name, "feature", np.array([k]), shown(v), float(units[k]), v)
            for k, (name, v) in enumerate(zip(names, own, strict=True))
        ]
    kind = "pixel" if preparation.kind == "pictures" else "step"
    positions = math.prod(x.shape[:-1]) if kind == "step" or x.shape[2:] else x.size
    each = np.arange(x.size).reshape(positions, -1)
    at = list(np.ndindex(x.shape[:-1] if positions < x.size else x.shape))
    values = raw.reshape(positions, -1) if raw.size == x.size else None
    return [
        Part(
            f"{kind} {', '.join(map(str, at[k]))}", kind, entries,
            "" if values is None else ", ".join(map(shown, values[k].tolist()[:4])), float(units[entries[0]]),
            float(values[k, 0]) if values is not None and len(entries) == 1 else None,
        )
        for k, entries in enumerate(each)
    ]  # fmt: skip


def _of_series(preparation: Preparation, what: Any, row: int) -> Subject:
    series = preparation.series
    assert series is not None
    found = find_table(what, series.time)
    grid = grid_of(found, series, preparation.texts)
    end = _within(found.name, row, len(grid.times), "steps")
    of = int(np.searchsorted(grid.starts, end, side="right")) - 1
    first = end - series.length + 1
    if first < grid.starts[of]:
        least = f"{series.length:,} steps of a series, of which row {row:,} is the {end - grid.starts[of] + 1:,}."
        raise DataError(f"{found.name}: a window takes {least}; choose a later row ({setting('row')})")
    x = np.asarray(windows(rows_of(found.name, preparation, grid), np.array([first]), series.length)[0])
    times = grid.frequency.written(grid.times[first : end + 1])
    of_series = f" of {grid.names[of]}" if series.by else ""
    about = f"the window from {times[0]} to {times[-1]}{of_series}"
    return Subject(found.name, row, "series", x, _steps(preparation, x, times), about)


def _steps(preparation: Preparation, x: Array, times: Sequence[str]) -> tuple[Part, ...]:
    """A part for each step of a window of series; the last one is lag 0."""
    assert preparation.deviation is not None
    assert preparation.mean is not None
    own = x[:, 0] * preparation.deviation[0] + preparation.mean[0]  # the first column is what is forecast
    entries = np.arange(x.size).reshape(x.shape)
    return tuple(
        Part(f"lag {len(x) - 1 - t} ({time})", "step", entries[t], shown(float(own[t])), 0.0)
        for t, time in enumerate(times)
    )


def _window(preparation: Preparation, name: str, row: int, x: Array, y: Array) -> Subject:
    """A window of a text."""
    tokens = preparation.tokens
    assert tokens is not None
    parts = tuple(
        Part(f"position {t}", "token", np.array([t]), tokens.shown(int(number))) for t, number in enumerate(x)
    )
    return Subject(
        name, row, "text", x, parts, f"window {row:,}, of {len(x):,} {tokens.word}s", tokens.shown(int(y[-1]))
    )


def _of_dataset(trained: Trained, data: Dataset, row: int) -> Subject:
    """A sample of a Dataset whose samples are windows, or arrays as they are."""
    preparation = trained.preparation
    if data.source is None or preparation is None:
        return _of_arrays(preparation, data.training, row)
    for samples, rows in (
        (data.training, data.rows), (data.validation, data.validation_rows), (data.test, data.test_rows)
    ):  # fmt: skip
        at = [] if samples is None or rows is None else np.flatnonzero(rows == row - 1).tolist()
        if len(at):
            assert samples is not None
            x, y = np.asarray(samples.x[at[0]]), np.asarray(samples.y[at[0]])
            if preparation.kind == "text":
                return _window(preparation, data.name, row, x, y)
            times = data.source.window_times(row - 1)
            about = f"the window from {times[0]} to {times[-1]}"
            return Subject(data.name, row, "series", x, _steps(preparation, x, times), about)
    known = np.concatenate([r for r in (data.rows, data.validation_rows, data.test_rows) if r is not None]) + 1
    near = int(known[np.argmin(np.abs(known - row))])
    raise DataError(f"{data.name}: no sample ends with row {row:,}; the nearest is row {near:,} ({setting('row')})")


def _of_arrays(preparation: Preparation | None, what: Any, row: int) -> Subject:
    """A sample of arrays that the network takes as they are."""
    every = as_read(inputs(preparation, what))
    x = np.asarray(every[_within("the samples", row, len(every))])
    y = np.asarray(what.y[row - 1]) if isinstance(what, Rows) else None
    if preparation is not None and preparation.kind == "text":
        return _window(preparation, "the samples", row, x, np.zeros(1, int) if y is None else np.asarray(y))
    names = [] if preparation is None or x.ndim > 1 else preparation.names or list(preparation.features)
    names = names if len(names) == x.size else [f"x[{', '.join(map(str, at))}]" for at in np.ndindex(x.shape)]
    parts = [
        Part(name, "feature", np.array([k]), shown(float(v)), 1.0, float(v))
        for k, (name, v) in enumerate(zip(names, x.ravel(), strict=True))
    ]
    if preparation is not None and preparation.encoders:
        parts = _grouped(preparation, x)
    return Subject("the samples", row, "arrays", x, tuple(parts))


def _grouped(preparation: Preparation, x: Array) -> list[Part]:
    """A part for each column of a table, of a prepared row."""
    assert preparation.deviation is not None
    assert preparation.mean is not None
    parts, first = list[Part](), 0
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        entries = np.arange(first, first + len(encoder.input_names(column)))
        first += len(entries)
        unit, number = 0.0, None
        if encoder.role == "number":
            unit = float(preparation.deviation[entries[0]])
            number = float(x[entries[0]] * unit + preparation.mean[entries[0]])
        options, labels = tuple(getattr(encoder, "values", ())), tuple(encoder.input_names(column))
        if isinstance(encoder, TokenColumn):
            labels = (*encoder.positions(x[entries]), labels[-1])
        value = "" if number is None else shown(number)
        parts.append(Part(column, encoder.role, entries, value, unit, number, options, labels))
    return parts


def shown(value: Any) -> str:
    """A value as it is shown."""
    if value is None:
        return "missing"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
