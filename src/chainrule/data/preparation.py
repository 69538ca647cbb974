"""From what was read to what a network takes, fitted on the training part alone; and back again, for people.

A table goes through skrub's TableVectorizer (numbers, categories, dates and text become numbers), missing values are
filled with their column's mean and marked, and every column is brought to mean 0 and deviation 1. Of arrays each
feature is; of pictures the brightness of all pixels together, so that a pixel that hardly ever changes isn't blown
up.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.prepared import Prepared, prepared
from chainrule.data.source import Source
from chainrule.errors import DataError, RunError

if TYPE_CHECKING:
    import polars as pl

TRUSTED = [
    "numpy.dtype",
    "skrub._apply_to_each_col.ApplyToEachCol",
    "skrub._check_input.CheckInputDataFrame",
    "skrub._clean_categories.CleanCategories",
    "skrub._clean_null_strings.CleanNullStrings",
    "skrub._dataframe._common.is_any_date",
    "skrub._dataframe._common.is_categorical",
    "skrub._dataframe._common.is_numeric",
    "skrub._datetime_encoder.DatetimeEncoder",
    "skrub._drop_uninformative.DropUninformative",
    "skrub._duration_to_float.DurationToFloat",
    "skrub._string_encoder.StringEncoder",
    "skrub._table_vectorizer.PassThrough",
    "skrub._table_vectorizer.ShortReprDict",
    "skrub._table_vectorizer.TableVectorizer",
    "skrub._table_vectorizer._created_by_predicate",
    "skrub._to_categorical.ToCategorical",
    "skrub._to_datetime.ToDatetime",
    "skrub._to_float.ToFloat",
    "skrub._to_str.ToStr",
    "skrub.selectors._base.All",
    "skrub.selectors._base.And",
    "skrub.selectors._base.Cols",
    "skrub.selectors._base.Filter",
    "skrub.selectors._base.Or",
    "skrub.selectors._base.Sub",
    "skrub.selectors._selectors._cardinality_below",
    *(
        f"polars.datatypes.classes.{kind}"
        for kind in ("Boolean", "Categorical", "Date", "Datetime", "Float32", "Float64", "String", "Time")
    ),
    *(f"polars.datatypes.classes.{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
]
"""The classes that a kept table preparation may consist of, besides scikit-learn's that skops trusts by itself.
Nothing else is loaded.
"""


@dataclass(frozen=True)
class Target:
    """What is predicted: the classes in order, or columns of numbers with the mean and deviation that they are scaled
    by.
    """

    task: str
    name: str = "target"
    classes: tuple[Any, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)

    @property
    def width(self) -> int:
        """How many classes, or columns, there are."""
        return len(self.classes) if self.task == "classification" else len(self.mean)

    def as_json(self) -> dict[str, Any]:
        """It as what JSON can hold."""
        return {
            "task": self.task,
            "name": self.name,
            "classes": list(self.classes),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Target:
        """What `as_json` gave."""
        classes, mean, deviation = (tuple(told[name]) for name in ("classes", "mean", "deviation"))
        return Target(told["task"], told["name"], classes, mean, deviation)

    def encode(self, values: Array, name: str) -> Array:
        """Class numbers (samples,), or scaled quantities (samples, columns)."""
        if self.task == "regression":
            numbers = quantities(values, name, self.name)
            if numbers.shape[1] != self.width:
                raise DataError(
                    f"{name}: the target has {numbers.shape[1]} columns; the network was trained for {self.width}"
                )
            return (numbers - self.mean) / self.deviation
        places = {label: k for k, label in enumerate(self.classes)}
        # A file may give the number 1 where another gave the text "1".
        texts = {str(label): k for k, label in enumerate(self.classes)}
        places_of: list[int] = []
        for row, label in enumerate(values.tolist(), start=1):
            found = places.get(label, texts.get(str(label)))
            if found is None:
                raise DataError(
                    f"{name}, row {row}, column {self.name!r}: {label!r} is none of the classes:"
                    f" {_shortened(self.classes)}"
                )
            places_of.append(found)
        return np.array(places_of, dtype=np.int64)

    def decode(self, numbers: Array) -> Array:
        """The reverse: the classes' names (samples,), or quantities in their own units (samples, columns)."""
        if self.task == "regression":
            return np.asarray(numbers, dtype=np.float64) * self.deviation + self.mean
        return np.array(self.classes)[numbers]


def quantities(values: Array, name: str, column: str) -> Array:
    """(samples, columns) a target's numbers; raises DataError, with the row, unless all of them are finite numbers."""
    if values.dtype.kind not in "iufb":
        raise DataError(f"{name}, column {column!r}: {values[0]!r} is no number, but the target is to be a quantity")
    numbers = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if not np.isfinite(numbers).all():
        row = int(np.argwhere(~np.isfinite(numbers))[0, 0]) + 1
        raise DataError(f"{name}, row {row}, column {column!r}: the target is not finite; correct it or remove the row")
    return numbers


def _shortened(items: Any, most: int = 10) -> str:
    shown = ", ".join(str(item) for item in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")


def infer_task(source: Source, target: Array) -> str:
    """Names, yes and no, and few different whole numbers are classes; anything else is a quantity."""
    if source.task:
        return source.task
    if target.dtype.kind in "OUSb":
        return "classification"
    if target.ndim > 1 and target.shape[1] > 1:
        return "regression"
    few = len(np.unique(target)) <= min(20, max(2, len(target) // 5))
    return "classification" if few and np.array_equal(target, np.round(target)) else "regression"


def fit_target(source: Source, training_rows: Array, scale: bool) -> Target:
    """The target's classes, or the mean and deviation of its training part."""
    target = source.target
    if target is None:
        raise DataError(
            f"{source.name}: there is nothing to predict in it; give the targets (an array 'y', or a column)"
        )
    task = infer_task(source, target)
    if task == "classification":
        if target.ndim > 1:
            raise DataError(f"{source.name}: the classes must be one a sample; the target has the shape {target.shape}")
        classes = sorted(set(target.tolist()), key=lambda label: (str(type(label)), label))
        if len(classes) < 2:
            raise DataError(
                f"{source.name}, column {source.target_name!r}: every row has the class {classes[0]!r}; it takes at"
                " least two to learn from"
            )
        if len(classes) > min(len(target) // 2, max(20, len(target) // 5)):
            raise DataError(
                f"{source.name}, column {source.target_name!r}: {len(classes)} classes in {len(target)} rows are too"
                " many to learn; is it the right column, or a number (--task regression)?"
            )
        return Target(task, source.target_name, tuple(classes))
    numbers = quantities(target, source.name, source.target_name)
    if (numbers == numbers[0]).all():
        raise DataError(
            f"{source.name}, column {source.target_name!r}: every row has the value {numbers[0, 0]:g}; there is nothing"
            " to learn"
        )
    if not scale:
        return Target(task, source.target_name, mean=(0.0,) * numbers.shape[1], deviation=(1.0,) * numbers.shape[1])
    training = numbers[training_rows]
    deviation = training.std(axis=0)
    return Target(
        task,
        source.target_name,
        mean=tuple(training.mean(axis=0).tolist()),
        deviation=tuple(np.where(deviation > 0, deviation, 1).tolist()),
    )


@dataclass(frozen=True)
class Preparation:
    """How samples become numbers, fitted on the training part.

    `kind` is "table", "numbers" or "pictures". A table has a fitted scikit-learn pipeline and the columns it takes,
    each with its type; the others a mean and a deviation in the sample's shape.
    """

    kind: str
    shape: Shape
    target: Target
    columns: tuple[tuple[str, str], ...] = ()
    pipeline: Any = None
    mean: Array | None = None
    deviation: Array | None = None

    @property
    def names(self) -> list[str]:
        """What a table's prepared numbers are called, such as "rooms" and "city_Bern"; nothing for arrays."""
        return [] if self.pipeline is None else [str(name) for name in self.pipeline.get_feature_names_out()]

    def apply(self, source: Source) -> Prepared:
        """(samples, *shape) in float32; raises DataError for samples of another form than those it was fitted on."""
        if self.kind == "table":
            if not source.is_table:
                raise DataError(f"{source.name}: it holds arrays, but the run was trained on a table")
            return prepared(_transform(self.pipeline, conform(source.name, source.features, self.columns)))
        x = _as_array(source)
        if x.shape[1:] != self.shape:
            raise DataError(
                f"{source.name}: its samples have the shape {x.shape[1:]}, but the run was trained on {self.shape}"
            )
        return prepared(((x - self.mean) / self.deviation).astype(np.float32))

    def contents(self) -> dict[str, bytes]:
        """It as files: their names and contents."""
        about: dict[str, Any] = {"kind": self.kind, "shape": self.shape, "columns": self.columns}
        about["target"] = self.target.as_json()
        made = {"preparation.json": (json.dumps(about, indent=1) + "\n").encode()}
        if self.kind == "table":
            import skops.io

            return made | {"preparation.skops": skops.io.dumps(self.pipeline, compression=zipfile.ZIP_DEFLATED)}
        from safetensors.numpy import save

        assert self.mean is not None
        assert self.deviation is not None
        return made | {"preparation.safetensors": save({"mean": self.mean, "deviation": self.deviation})}

    @staticmethod
    def from_contents(contents: Mapping[str, bytes]) -> Preparation:
        """What `contents` gave; makes no objects but of the trusted classes."""
        about = json.loads(contents["preparation.json"])
        target = Target.from_json(about["target"])
        columns = tuple((name, kind) for name, kind in about["columns"])
        shape = tuple(about["shape"])
        if about["kind"] != "table":
            from safetensors.numpy import load

            arrays = load(contents["preparation.safetensors"])
            return Preparation(about["kind"], shape, target, columns, None, arrays["mean"], arrays["deviation"])
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        try:
            pipeline = skops.io.loads(contents["preparation.skops"], trusted=TRUSTED)
        except UntrustedTypesFoundException as error:
            raise RunError(
                f"preparation.skops holds classes that are not trusted, so it is not loaded ({error})"
            ) from None
        return Preparation("table", shape, target, columns, pipeline)


def fit_preparation(source: Source, training_rows: Array, target: Target) -> Preparation:
    """The preparation fitted on these rows of the source."""
    training = source.take(training_rows)
    if source.is_table:
        columns = tuple((column.name, _kind(column)) for column in training.features.iter_columns())
        pipeline = _pipeline()
        frame = conform(source.name, training.features, columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skrub speaks to programmers of columns that it handles by itself
            try:
                pipeline.fit(frame)
            except Exception as error:  # whatever a library makes of a table that it was not made for
                raise DataError(f"{source.name}: the table can't be prepared ({error})") from None
        shape = _transform(pipeline, frame[:1]).shape[1:]
        return Preparation("table", shape, target, columns, pipeline)
    x = _as_array(training)
    if x.ndim > 2:
        mean = x.mean(axis=0)
        deviation = np.full_like(mean, float(np.sqrt(np.mean((x - mean) ** 2))) or 1.0)
        return Preparation("pictures", x.shape[1:], target, mean=mean, deviation=deviation)
    deviation = x.std(axis=0)
    return Preparation(
        "numbers", x.shape[1:], target, mean=x.mean(axis=0), deviation=np.where(deviation > 0, deviation, 1.0)
    )


def _as_array(source: Source) -> Array:
    if source.is_table:
        raise DataError(f"{source.name}: it holds a table, but the run was trained on arrays")
    return np.asarray(source.features, dtype=np.float64)


def _pipeline() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skrub import StringEncoder, TableVectorizer

    vectorizer = TableVectorizer(high_cardinality=StringEncoder(random_state=0))
    return make_pipeline(vectorizer, SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())


def _transform(pipeline: Any, frame: pl.DataFrame) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a category that was never seen: it counts as none of those that were
        return np.asarray(pipeline.transform(frame), dtype=np.float32)


def _kind(column: pl.Series) -> str:
    """A column's type, as far as a preparation tells types apart."""
    import polars as pl

    if column.dtype == pl.Boolean:
        return "truth"
    if column.dtype.is_numeric():
        return "number"
    if column.dtype == pl.Date:
        return "date"
    return "time" if column.dtype.is_temporal() else "text"


def conform(name: str, frame: pl.DataFrame, columns: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    """The columns that a preparation takes, in its order and types; raises DataError if one is missing or has values
    of another type.
    """
    import polars as pl

    types: dict[str, Any] = {
        "truth": pl.Boolean,
        "number": pl.Float64,
        "date": pl.Date,
        "time": pl.Datetime("us"),
        "text": pl.String,
    }
    made = []
    for column, kind in columns:
        if column not in frame.columns:
            raise DataError(f"{name}: the column {column!r} is missing, which the run was trained on")
        values = frame[column]
        cast = values.cast(types[kind], strict=False)
        bad = cast.is_null() & values.is_not_null()
        if bad.any():
            row = int(bad.arg_max() or 0)
            raise DataError(
                f"{name}, row {row + 1}, column {column!r}: {values[row]!r} is no {kind}, which the run was trained on"
            )
        made.append(cast)
    return pl.DataFrame(made)
