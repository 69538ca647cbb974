"""Preprocessing, fitted on the training set only.

Tables: each column becomes inputs by its encoder. A missing value becomes the mean, and one more
input says that it is missing. Every input is standardized to mean 0 and standard deviation 1.
Arrays: every feature is standardized. Images: every channel is centred, and all are divided by one
common deviation: a picture that is moved is prepared as the moved picture would be. Bytes remain
bytes until they are read (`Scaled`).
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Scaled, Shape
from chainrule.data import encoders, sequences, token_columns
from chainrule.data.barrier import guarded
from chainrule.data.channels import are_pictures, of_channels
from chainrule.data.columns import (
    EARLIER,
    ColumnUse,
    as_kind,
    check_kinds,
    conform,
    describe,
    kind_of,
    left_out,
    summary,
)
from chainrule.data.dataframes import as_array, as_table, without_target
from chainrule.data.encoders import Encoder
from chainrule.data.picture_files import PictureFiles
from chainrule.data.pipelines import Pipeline
from chainrule.data.places import at_row
from chainrule.data.prepared import Prepared, prepared
from chainrule.data.series import Series
from chainrule.data.source import LARGEST, Source, check_finite
from chainrule.data.targets import Target, mean_and_deviation
from chainrule.data.token_columns import TokenColumn, Wanted
from chainrule.data.tokens import Tokens
from chainrule.errors import DataError, RunError

if TYPE_CHECKING:
    import polars as pl

PART = 1_000_000
"""The numbers of arrays that are prepared at a time."""

CACHED = 2**17
"""The numbers of tables that are scaled at a time."""

PIXELS = 64
"""The fewest columns that can be the pixels of a picture."""

RARE = 0.1
"""The share of values that are not 0 below which columns of a sparse matrix are scaled together."""

SAME = "it does not differ within the training set"
"""Why a column is left out, although it differs in all rows."""


@dataclass(frozen=True)
class Preparation:
    """How raw samples become a network's inputs, fitted on the training set.

    Attributes:
        kind: "table", "numbers", "pictures", "sequences", "text" or "series"
        shape: shape of a prepared sample
        target: the fitted target
        mean: an array of this shape, of the encoded samples; of series, of an encoded row
        deviation: the same
        columns: a table's columns, each with its kind
        encoders: a table's fitted encoders, one for each column
        left_out: a table's columns that nothing can be learned from, each with the reason
        features: the names of all columns in which samples were read, in their order; empty for
            arrays without names
        weight: the column that says how much each row counts, where samples have it; it is no input
        image_size: (height, width) to which images were resized; None if they were not
        sequence: (time, features) of samples that are sequences with lengths
        tokens: the vocabulary of a text
        series: how a table is read as time series
        pipeline: what prepares a table instead of encoders, mean and deviation, in a run that was
            recorded before there were encoders
    """

    kind: str
    shape: Shape
    target: Target
    mean: Array | None = None
    deviation: Array | None = None
    columns: tuple[tuple[str, str], ...] = ()
    encoders: tuple[Encoder, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    features: tuple[str, ...] = ()
    weight: str | None = None
    image_size: Shape | None = None
    sequence: Shape | None = None
    tokens: Tokens | None = None
    series: Series | None = None
    pipeline: Pipeline | None = None

    @property
    def texts(self) -> dict[str, str]:
        """A table's columns of text and categories: in other files, too, they are not numbers."""
        return {column: "category" for column, kind in self.columns if kind in ("text", "category")}

    @property
    def reading(self) -> dict[str, str]:
        """What to read columns as where the target is among them: its classes, if they are text,
        are no numbers either.
        """
        labels = self.target.classes if self.kind == "table" and not self.target.columns else ()
        is_text = len(labels) > 0 and all(isinstance(label, str) for label in labels)
        return self.texts | ({self.target.name: "category"} if is_text else {})

    @property
    def uses(self) -> list[ColumnUse]:
        """How each column of a table was read and what becomes of it; empty for arrays."""
        if self.pipeline is not None:
            return describe(self.columns, self.left_out, self.pipeline.inputs)
        fitted = zip(self.columns, self.encoders, strict=False)
        inputs = {column: (e.role, e.names(column), e.marks_missing) for (column, _), e in fitted}
        return describe(self.columns, self.left_out, inputs)

    @property
    def names(self) -> list[str]:
        """A table's feature names once encoded, such as "rooms", "city_Bern"; empty for arrays."""
        if self.pipeline is not None:
            return self.pipeline.names
        fitted = zip(self.columns, self.encoders, strict=False)
        return [name for (column, _), encoder in fitted for name in encoder.input_names(column)]

    @property
    def texts_as_tokens(self) -> list[tuple[str, TokenColumn]]:
        """A table's columns of text that are sequences of tokens: the last of a sample's inputs."""
        fitted = zip(self.columns, self.encoders, strict=False)
        return [(column, encoder) for (column, _), encoder in fitted if isinstance(encoder, TokenColumn)]

    @property
    def notes(self) -> list[str]:
        """How the columns were read, and what was guessed or left out, in one line each."""
        fitted = zip(self.columns, self.encoders, strict=False)
        ambiguous = [column for (column, _), e in fitted if isinstance(e, encoders.Date) and e.ambiguous]
        remedy = "if the month is, write them as 2024-12-31"
        guess = f"the first number of each date is taken to be the day; {remedy}"
        texts = [f"{column}: {encoder.about}" for column, encoder in self.texts_as_tokens]
        return [*summary(self.uses), *(f"{column}: {guess}" for column in ambiguous), *texts]

    def apply(self, source: Source) -> Prepared | Scaled:
        """(samples, *shape) in float32; for pictures of bytes, these with their scale.

        Raises DataError unless columns, types and shape match and every result is finite.
        """
        if self.kind == "table":
            read = self.features or tuple(column for column, _ in self.columns)  # in an earlier version
            x = self.encode(source.name, as_table(source, read, dict(self.columns)))
        else:
            source = without_target(source, self.features, self.shape, self.target)
            raw = self._in_colour(as_array(source, self.features, self.shape))
            if self.kind == "sequences" and self.shape == (*raw.shape[1:], 1):
                raw = np.asarray(raw)[..., None]
            if self.sequence is not None:
                raw = self._sequences(np.asarray(raw), source)
            if raw.dtype == np.uint8 and raw.ndim > 2 and raw.shape[1:] == self.shape:
                return self._bytes(raw)
            raw = np.asarray(raw)
            x = self._of_array(raw, source.name)
            if self.sequence is not None:  # what fills a sample up is 0, as if there were nothing
                steps, features = self.sequence
                x[:, :-1] *= np.repeat(np.arange(steps) < x[:, -1:], features, axis=1)
        if x.shape[1:] != self.shape:
            raise DataError(f"{source.name}: the run's preparation gives the shape {x.shape[1:]}, not {self.shape}")
        self.check_finite(source.name, x, source.columns)
        return prepared(x)

    def encode(self, name: str, frame: pl.DataFrame) -> Array:
        """(rows, inputs) a table's rows in float32; raises DataError for a cell of no use."""
        frame = conform(name, frame, self.columns)
        check_finite(name, frame)
        with guarded(f"{name}: the table can't be prepared"):
            return self._encoded(name, frame)

    def _encoded(self, name: str, frame: pl.DataFrame) -> Array:
        """A table's samples, encoded and scaled: numbers together, other columns one by one."""
        import polars as pl

        if self.pipeline is not None:
            return self.pipeline.apply(name, frame)
        assert self.mean is not None
        assert self.deviation is not None
        rows, k = len(frame), 0
        x = np.empty((rows, self.shape[-1]), np.float32)
        numbers: dict[int, str] = {}
        for encoder, column in zip(self.encoders, frame.columns, strict=True):
            if encoder.role == "number" and not encoder.marks_missing:
                numbers[k] = column
                k += 1
                continue
            for values in encoder.inputs(name, frame[column]):
                x[:, k] = values if encoder.is_index else scaled(values, self.mean[k], self.deviation[k])
                k += 1
        if numbers:
            inputs = list(numbers)
            where = slice(None) if len(inputs) == k else inputs
            table = (frame if len(inputs) == frame.width else frame.select(numbers.values())).cast(pl.Float64)
            for row in range(0, rows, step := max(1, CACHED // len(inputs))):  # so that they stay in the cache
                part = table[row : row + step].to_numpy()
                x[row : row + step, where] = scaled(part, self.mean[where], self.deviation[where])
        return x

    def _of_array(self, raw: Array, name: str) -> Array:
        """An array's samples, centred and scaled; some at a time, since float64 takes memory."""
        if raw.shape[1:] != self.shape:
            raise DataError(f"{name}: {_sizes(raw.shape[1:], self.shape, self.kind)}")
        assert self.mean is not None
        assert self.deviation is not None
        x = np.empty(raw.shape, dtype=np.float32)
        step = max(1, PART // max(1, math.prod(self.shape)))
        with np.errstate(over="ignore"):  # checked next
            for k in range(0, len(raw), step):
                values = np.subtract(raw[k : k + step], self.mean, dtype=np.float64)
                x[k : k + step] = np.divide(values, self.deviation, out=values)
        return x

    def _sequences(self, raw: Array, source: Source) -> Array:
        """Sequences as in the training set; of samples without lengths, all time steps count."""
        assert self.sequence is not None
        shape, lengths = source.sequence, None
        if shape is None:
            if raw.ndim not in (2, 3) or raw.shape[1:] == self.shape:
                return raw
            shape, lengths = (raw.shape[1], math.prod(raw.shape[2:])), np.full(len(raw), raw.shape[1])
            raw = sequences.packed(source.name, raw, lengths)
        return sequences.fitted_to(source.name, raw, shape, self.sequence)

    def _in_colour(self, raw: Array | PictureFiles) -> Array | PictureFiles:
        """Grey pictures with three equal channels, if those of the training set are in colour."""
        if self.kind != "pictures" or (*raw.shape[1:], 3) != self.shape:
            return raw
        if isinstance(raw, PictureFiles):
            return replace(raw, shape=(*raw.shape, 3))
        return np.repeat(raw[..., None], 3, axis=-1)

    def _bytes(self, raw: Array | PictureFiles) -> Scaled:
        """Pictures of bytes, which any mean and deviation leave finite."""
        assert self.mean is not None
        assert self.deviation is not None
        scale, offset = 1 / self.deviation, -self.mean / self.deviation
        same = np.ptp(scale) == 0 and np.ptp(offset, axis=(0, 1)).max() == 0  # in all positions of a channel
        first = (slice(0, 1), slice(0, 1)) if same else ()
        marked = replace(raw, marked=Prepared) if isinstance(raw, PictureFiles) else prepared(raw)
        return Scaled(marked, scale[first].astype(np.float32), offset[first].astype(np.float32))

    def check_finite(self, name: str, x: Array, columns: Sequence[str] = (), inputs: Sequence[int] = ()) -> None:
        """Raise DataError, with the row, for a number that float32 can't hold.

        Args:
            name: used in the message
            x: (samples, *shape) what was prepared
            columns: the names of an array's features
            inputs: the numbers of a table's inputs that these are, if they are not all
        """
        # NaN is neither; minimum and maximum take no memory, unlike a mask.
        if x.size == 0 or (x.min() >= -LARGEST and x.max() <= LARGEST):
            return
        row, *index = np.argwhere(~np.isfinite(x))[0].tolist()
        index = [inputs[index[0]]] if inputs else index
        names = self.names or list(columns)
        column = repr(names[index[0]]) if names else ", ".join(str(k) for k in index)
        problem = "the number is too far from those of the training set for float32; correct it"
        raise DataError(f"{at_row(name, row)}, column {column}: {problem}")

    def contents(self) -> dict[str, bytes]:
        """The preparation as files: contents by file name.

        Raises RunError if an earlier version fitted it.
        """
        from safetensors.numpy import save

        if self.pipeline is not None:
            raise RunError("this preparation is of a run by an earlier version; train again to record it")
        if self.tokens is not None:
            return {"preparation.json": _json(self._of_text(self.tokens))}
        kept = ("kind", "shape", "columns", "left_out", "features", "weight", "image_size")
        about = {name: getattr(self, name) for name in kept}
        about |= {} if self.sequence is None else {"sequence": self.sequence}
        about |= {} if self.series is None else {"series": self.series.as_json()}
        about |= {"target": self.target.as_json(), "encoders": [encoder.as_json() for encoder in self.encoders]}
        arrays = {f"{k}.{name}": array for k, e in enumerate(self.encoders) for name, array in e.arrays.items()}
        assert self.mean is not None
        assert self.deviation is not None
        arrays |= {"mean": self.mean, "deviation": self.deviation}
        return {"preparation.json": _json(about), "preparation.safetensors": save(arrays)}

    def _of_text(self, tokens: Tokens) -> dict[str, Any]:
        """The preparation of a text, as JSON: the target's classes are the tokens."""
        about = {"kind": self.kind, "shape": self.shape, "columns": [], "target": self.target.as_json()}
        return about | ({"merges": tokens.merges} if tokens.merges else {})

    @staticmethod
    def from_contents(contents: Mapping[str, bytes]) -> Preparation:
        """The inverse of `contents`.

        Raises RunError for a pipeline with untrusted classes, and for what can't prepare a sample.
        """
        from safetensors.numpy import load

        about = json.loads(contents["preparation.json"])
        columns = tuple((name, EARLIER.get(kind, kind)) for name, kind in about["columns"])
        shape = tuple(about["shape"])
        left_out = tuple((name, why) for name, why in about.get("left_out", ()))
        target = Target.from_json(about["target"])
        features = tuple(about.get("features", ()))
        size, sequence = about.get("image_size"), about.get("sequence")
        if sequence is not None and (math.prod(sequence) + 1,) != shape:
            raise RunError(f"sequences of shape {tuple(sequence)} do not fit samples of shape {shape}; it was altered")
        preparation = Preparation(
            about["kind"], shape, target, columns=columns, left_out=left_out, features=features,
            weight=about.get("weight"), image_size=None if size is None else tuple(size),
            sequence=None if sequence is None else tuple(sequence),
            series=Series.from_json(about["series"]) if "series" in about else None,
        )  # fmt: skip
        if about["kind"] == "text":
            merges = tuple((first, second) for first, second in about.get("merges", ()))
            tokens = Tokens(target.tokens, target.classes, merges)  # type: ignore[arg-type]
            if not target.tokens or target.positions != shape or (problem := tokens.problem()):
                raise RunError(f"{problem if target.tokens else 'its target has no tokens'}; it was altered")
            return replace(preparation, tokens=tokens)
        if "preparation.skops" in contents:
            pipeline = Pipeline.from_bytes(contents["preparation.skops"], shape)
            return replace(preparation, pipeline=pipeline)._tried_out()
        arrays = load(contents["preparation.safetensors"])
        fitted = []
        for k, (recipe, (_, kind)) in enumerate(zip(about.get("encoders", ()), columns, strict=False)):
            if recipe["role"] not in encoders.roles(kind, "written" in recipe):
                raise RunError(f"a column of the kind {kind!r} can't be a {recipe['role']}; it was altered")
            own = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{k}.")}
            is_tokens = recipe["role"] == TokenColumn.role
            fitted.append(token_columns.from_json(recipe) if is_tokens else encoders.from_json(recipe, own))
        expected = {"mean", "deviation", *(f"{k}.{name}" for k, e in enumerate(fitted) for name in e.arrays)}
        if arrays.keys() != expected:
            raise RunError(f"it must hold the arrays {', '.join(sorted(expected))}; it was altered")
        for name in ("mean", "deviation"):
            array = arrays[name]
            expected_shape = shape if preparation.series is None else shape[-1:]
            numbers = array.dtype == np.float64 and array.shape == expected_shape and np.isfinite(array).all()
            if not numbers or (name == "deviation" and (array <= 0).any()):
                raise RunError(f"the array {name} does not fit samples of shape {shape}; it was altered")
        if len(about.get("encoders", ())) != len(columns):
            raise RunError(f"it has {len(columns)} columns and {len(about['encoders'])} encoders; it was altered")
        if sequence is not None and not all(sequences.is_fit(arrays[name], sequence) for name in ("mean", "deviation")):
            raise RunError("its mean and deviation are not those of each feature; it was altered")
        preparation = replace(preparation, mean=arrays["mean"], deviation=arrays["deviation"], encoders=tuple(fitted))
        return preparation._tried_out() if columns else preparation

    def _tried_out(self) -> Preparation:
        """This preparation of a table; raises RunError unless it prepares a row without values."""
        import polars as pl

        misfit = RunError("it does not prepare samples of the run's shape; it was altered")
        if len(self.names) != self.shape[-1]:
            raise misfit
        with guarded("it can't prepare a sample"):
            numbers = [name for name, kind in self.columns if kind == "number"]
            row = pl.DataFrame(np.full((1, len(numbers)), np.nan), schema=numbers)
            others = {name: [None] for name, kind in self.columns if kind != "number"}
            row = row.hstack(pl.DataFrame(others)) if numbers and others else row if numbers else pl.DataFrame(others)
            one = self._encoded("a blank row", conform("a blank row", row, self.columns))
        if one.shape != (1, self.shape[-1]) or not np.isfinite(one).all():
            raise misfit
        return self


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def scaled(values: Array, mean: Any, deviation: Any) -> Array:
    """Numbers less the mean, in deviations; a missing one is the mean."""
    with np.errstate(over="ignore"):  # checked later
        scaled = (values - mean) / deviation
    missing = np.isnan(scaled)
    if missing.any():
        scaled[missing] = 0.0
    return scaled


def _sizes(shape: Shape, trained: Shape, kind: str) -> str:
    """How the shape of samples differs from that of a run's; pictures as width x height."""
    if kind == "sequences":
        of = "sequences of {} time steps of {} features"
        own = of.format(*shape) if len(shape) == 2 else f"samples of shape {shape}"
        remedy = "to train on sequences of different lengths, pass their lengths"
        return f"{own}, but {of.format(*trained)} in the training data; {remedy}"
    if len(shape) < 2 or len(trained) < 2:
        return f"samples of shape {shape}, but {trained} in the training data"
    (width, height, *colours), (its_width, its_height, *its_colours) = (
        (shape[1], shape[0], *shape[2:]) for shape in (shape, trained)
    )
    if (width, height) == (its_width, its_height):
        kinds = "in colour" if colours else "in grey", "in colour" if its_colours else "in grey"
        return f"pictures {kinds[0]}, but {kinds[1]} in the training data; convert them"
    return f"{width} x {height} pixels, but {its_width} x {its_height} in the training data; resize the pictures"


def fit_preparation(source: Source, training_rows: Array, target: Target, tokens: Wanted | None = None) -> Preparation:
    """Fit a preparation to the training rows; raises DataError if a table can't be encoded.
    `tokens` says how columns of text are to be read as tokens, if they are.
    """
    if source.is_table:
        with guarded(f"{source.name}: the table can't be prepared"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn, about texts that have little in common
            return fit_table(source, training_rows, target, tokens)
    if source.samples == sequences.SEQUENCES:
        mean, deviation = sequences.fit_whole(np.asarray(source.take(training_rows).features))
        return Preparation("sequences", mean.shape, target, mean, deviation)
    if are_pictures(source.features):
        shape = source.features.shape[1:]
        mean, deviation = of_channels(source.features, training_rows)
        mean, deviation = (np.broadcast_to(part, shape).copy() for part in (mean, deviation))
        return Preparation("pictures", shape, target, mean, deviation, features=source.columns)
    training = source.take(training_rows)
    if source.sequence is not None:
        shape = source.features.shape[1:]
        mean, deviation = sequences.fit(np.asarray(training.features), source.sequence)
        return Preparation("numbers", shape, target, mean, deviation, features=source.columns, sequence=source.sequence)
    x = np.asarray(training.features).astype(np.float64)
    if x.ndim > 2:
        mean = x.mean(axis=0)
        x -= mean
        x *= x
        deviation = np.full_like(mean, float(np.sqrt(np.mean(x))) or 1.0)
        return Preparation("pictures", x.shape[1:], target, mean, deviation, features=source.columns)
    mean, deviation = mean_and_deviation(x, f"{source.name}, column", training.weight)
    if source.is_sparse:  # what is rare, such as a word, should count less
        shares = np.count_nonzero(x, axis=0) / len(x)
        rare = shares < RARE
        occurs = rare & (shares > 0)
        deviation[rare] = np.sqrt(np.mean(deviation[occurs] ** 2)) if occurs.any() else 1.0
    return Preparation("numbers", x.shape[1:], target, mean, deviation, features=source.columns)


def fit_table(source: Source, rows: Array, target: Target, tokens: Wanted | None = None) -> Preparation:
    """Fit an encoder for each column that differs in the training rows; tokens come last."""
    name, features = source.name, source.features
    check_kinds(name, features)
    as_tokens = None if tokens is None else partial(token_columns.fit, tokens)
    weight = None if source.weight is None else source.weight[rows]
    unused = {column.name: why for column in features.iter_columns() if (why := left_out(column))}
    columns, fitted, scales, texts = [], [], [], []
    for column in features.iter_columns():
        if column.name in unused:
            continue
        kind = str(kind_of(column))
        values = as_kind(name, column, kind, "which it is read as")
        encoder = encoders.fit_encoder(values, kind, rows, as_tokens)
        if encoder.is_index:
            texts.append((column.name, kind, encoder))
            continue
        if encoder.role == "number":  # a row of which is faster to take from an array
            inputs: Iterable[Array] = [one[rows] for one in encoder.inputs(name, values)]
        else:
            inputs = encoder.inputs(name, values[rows])
        scale = [mean_and_deviation_of(name, column.name, one, weight) for one in inputs]
        if encoder.is_sparse:
            scale = [(mean, float(deviation > 0)) for mean, deviation in scale]  # rare ones should count less
        elif encoder.role == "text":
            scale = with_one_deviation(scale)  # in their proportions: most of the later ones are noise
        if any(deviation for _, deviation in scale):
            columns.append((column.name, kind))
            fitted.append(encoder)
            scales += [(mean, deviation or 1.0) for mean, deviation in scale]
        else:
            unused[column.name] = SAME
    for column_name, kind, encoder in texts:
        columns.append((column_name, kind))
        fitted.append(encoder)
        scales += [(0.0, 1.0)] * len(encoder.names(column_name))
    reasons = tuple((column, unused[column]) for column in features.columns if column in unused)
    if not fitted:
        why = "; ".join(f"{column!r}: {why}" for column, why in reasons)
        raise DataError(f"{name}: no column is left to learn from ({why})")
    mean, deviation = np.array(scales).T.copy()
    pixels = _pixels(features, columns, fitted, rows)
    if pixels:
        deviation[pixels] = np.sqrt(np.mean(deviation[pixels] ** 2))
    read = tuple(features.columns)
    return Preparation("table", mean.shape, target, mean, deviation, tuple(columns), tuple(fitted), reasons, read)


def with_one_deviation(scale: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """These means, each with the root mean square of the deviations."""
    common = math.sqrt(sum(deviation**2 for _, deviation in scale) / len(scale))
    return [(mean, common) for mean, _ in scale]


def _pixels(features: pl.DataFrame, columns: list[tuple[str, str]], fitted: list[Encoder], rows: Array) -> list[int]:
    """The inputs that are pixels, if the table is of pictures: PIXELS or more columns of whole
    numbers from 0, half of which reach the same brightness, nearly.
    """
    if len(columns) < PIXELS or any(encoder.role != "number" or encoder.marks_missing for encoder in fitted):
        return []
    table = features.select([column for column, _ in columns])
    if not all(dtype.is_numeric() for dtype in table.dtypes):
        return []
    values = table.to_numpy()[rows]
    lowest, highest = values.min(axis=0), values.max(axis=0)
    are_whole = np.array_equal(values, np.rint(values)) and not lowest.any()
    is_bright = np.mean(highest >= 0.9 * highest.max()) >= 0.5
    return list(range(len(columns))) if are_whole and is_bright else []


def mean_and_deviation_of(name: str, column: str, values: Array, weight: Array | None) -> tuple[float, float]:
    """Those of an input, a missing value of which becomes the mean; the deviation may be 0. A row
    of weight 2 counts as two rows.

    Raises DataError for numbers that differ, but have the deviation 0.
    """
    missing = np.isnan(values)
    known = values[~missing] if missing.any() else values
    mean = 0.0
    if len(known):
        weights = None if weight is None else weight[~missing]
        mean = float(known.mean() if weights is None or not weights.any() else np.average(known, weights=weights))
    filled = values if known is values else np.where(missing, mean, values)
    deviation = float(filled.std() if weight is None else np.sqrt(np.average((filled - mean) ** 2, weights=weight)))
    if not deviation and len(known) and known.min() < known.max():
        problem = "its numbers differ too little to be scaled; use another unit"
        raise DataError(f"{name}, column {column!r}: {problem}")
    return mean, deviation
