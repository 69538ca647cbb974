"""The fitted pipeline that prepares a table in a run by an earlier version: skrub's vectorizer, an
imputer and a scaler, in the format of skops. It is read and applied, but no longer made.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.barrier import FILE, check_budget, guarded
from chainrule.data.columns import check_cells
from chainrule.data.tables import MISSING
from chainrule.errors import DataError, RunError, require_package

if TYPE_CHECKING:
    import polars as pl

TRUSTED = [
    "numpy.dtype",
    "skrub._apply_to_each_col.ApplyToEachCol",
    "skrub._check_input.CheckInputDataFrame",
    "skrub._clean_categories.CleanCategories",
    "skrub._clean_null_strings.CleanNullStrings",
    *(f"skrub._dataframe._common.is_{what}" for what in ("any_date", "categorical", "numeric")),
    "skrub._datetime_encoder.DatetimeEncoder",
    "skrub._drop_uninformative.DropUninformative",
    "skrub._duration_to_float.DurationToFloat",
    "skrub._string_encoder.StringEncoder",
    *(f"skrub._table_vectorizer.{name}" for name in ("PassThrough", "ShortReprDict", "TableVectorizer")),
    "skrub._table_vectorizer._created_by_predicate",
    "skrub._to_categorical.ToCategorical",
    "skrub._to_datetime.ToDatetime",
    "skrub._to_float.ToFloat",
    "skrub._to_str.ToStr",
    *(f"skrub.selectors._base.{name}" for name in ("All", "And", "Cols", "Filter", "Or", "Sub")),
    "skrub.selectors._selectors._cardinality_below",
    *(
        f"polars.datatypes.classes.{kind}"
        for kind in ("Boolean", "Categorical", "Date", "Datetime", "Float32", "Float64", "String", "Time")
    ),
    *(f"polars.datatypes.classes.{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
]
"""What a saved pipeline may contain besides the scikit-learn classes that skops trusts by default.

A file with anything else is not loaded.
"""

PLAIN = ("builtins", "collections", "functools", "numpy", "datetime", "types", "typing", "operator")
"""Modules whose classes hold plain values; skops itself decides which of them it trusts."""

MODULES = (
    *(f"sklearn.{name}" for name in ("pipeline", "impute", "preprocessing", "feature_extraction", "decomposition")),
    "scipy.sparse",
)
"""Where the fitted classes of a preparation are from, other than skrub."""


VALUE = 100
"""Bytes of memory that a value in JSON takes, about, in addition to its text."""


ROLES = {"numeric": "number", "datetime": "date", "low_cardinality": "category", "high_cardinality": "text"}
"""The roles of columns by skrub's names for them."""


@dataclass(frozen=True)
class Pipeline:
    """A fitted pipeline.

    Attributes:
        fitted: the pipeline of scikit-learn
    """

    fitted: Any

    @staticmethod
    def from_bytes(content: bytes, shape: Shape) -> Pipeline:
        """A pipeline that prepares samples of this shape; raises RunError for untrusted classes,
        DataError for damage.
        """
        require_package("skrub", "earlier", "this run of an earlier version")
        require_package("skops", "earlier", "this run of an earlier version")
        return Pipeline(_read(content, shape))

    @property
    def names(self) -> list[str]:
        """The names of the inputs."""
        return [str(name) for name in self.fitted.get_feature_names_out()]

    @property
    def inputs(self) -> dict[str, tuple[str, list[str], bool]]:
        """The role of each column, the names of its inputs, and whether one more says that a value
        is missing.
        """
        with guarded("the run's preparation can't be read"):
            vectorizer, names = self.fitted.steps[0][1], set(self.names)
            of_column = {}
            for column, kind in vectorizer.column_to_kind_.items():
                inputs = list(vectorizer.input_to_outputs_.get(column, ()))
                marks_missing = bool(inputs) and f"missingindicator_{inputs[0]}" in names
                of_column[column] = ROLES.get(kind, "number"), inputs, marks_missing
            return of_column

    def apply(self, name: str, frame: pl.DataFrame) -> Array:
        """(samples, inputs) in float32; `name` is used in error messages."""
        self._check_texts(name, frame)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unseen categories, which are encoded as zeros
            return np.asarray(self.fitted.transform(frame), dtype=np.float32)

    def _check_texts(self, name: str, frame: pl.DataFrame) -> None:
        """Raise DataError for a text that would count as missing where the vectorizer itself
        recognized dates or numbers.
        """
        import polars as pl

        steps_of = self.fitted.steps[0][1].all_processing_steps_
        for values in frame.iter_columns():
            for step in steps_of.get(values.name, ()) if values.dtype == pl.String else ():
                if type(step).__name__ in ("ToDatetime", "ToFloat"):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # about what is checked here
                        lost = step.transform(values).is_null()
                    problem = "{value!r} is not written like the dates or numbers of the training data"
                    check_cells(name, values, lost & values.is_not_null() & ~values.is_in(MISSING), problem)


def _read(content: bytes, shape: Shape) -> Any:
    """A fitted pipeline from skops.

    Besides its own list, skops trusts all of scikit-learn and SciPy, parts of which crash on
    damaged state; only MODULES, which a preparation consists of, are loaded.
    """
    import skops.io
    from sklearn.pipeline import Pipeline
    from skops.io.exceptions import UntrustedTypesFoundException

    with guarded("preparation.skops can't be read; it is damaged, or library versions differ"):
        unknown = sorted(f"{module}.{name}" for module, name in _classes(content) if not _is_known(module, name))
        if unknown:
            names = ", ".join(unknown[:5])
            raise RunError(f"preparation.skops has classes that are not trusted; it is not loaded ({names})")
        try:
            pipeline = skops.io.loads(content, trusted=TRUSTED)
        except UntrustedTypesFoundException as error:
            raise RunError(f"preparation.skops has classes that are not trusted; it is not loaded ({error})") from None
        for vectorizer in vectorizers(pipeline):
            if isinstance(vectorizer.vocabulary_, np.ndarray):
                vectorizer.vocabulary_ = {part: k for k, part in enumerate(vectorizer.vocabulary_.tolist())}
        if not isinstance(pipeline, Pipeline) or len(pipeline.get_feature_names_out()) != shape[0]:
            raise DataError("preparation.skops does not fit preparation.json")
    return pipeline


def vectorizers(pipeline: Any) -> Iterator[Any]:
    """What encodes the columns of text in a fitted pipeline."""
    from sklearn.feature_extraction.text import CountVectorizer

    seen, waiting = set(), [pipeline]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, CountVectorizer):
            if hasattr(value, "vocabulary_"):
                yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif type(value).__module__.startswith(("sklearn.", "skrub.")):
            waiting.extend(getattr(value, "__dict__", {}).values())


def _classes(content: bytes) -> set[tuple[str, str]]:
    """The modules and names of all classes in skops; DataError if it takes too much memory."""
    found, waiting = set(), [_schema(content)]
    while waiting:  # a recursion could be too deep
        value = waiting.pop()
        if isinstance(value, dict):
            if "__module__" in value:
                found.add((str(value["__module__"]), str(value.get("__class__"))))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def _schema(content: bytes) -> Any:
    """What an archive of skops consists of, once its size is known to be within the budget."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = _size(archive)
        check_budget("preparation.skops", size // 8, 1, hint="it is damaged")
        for name in archive.namelist():
            if name.endswith(".npz"):  # sparse matrices are archives themselves
                with zipfile.ZipFile(io.BytesIO(archive.read(name))) as inner:
                    size += _size(inner)
        schema = archive.read("schema.json")
    values = sum(map(schema.count, (b",", b"[", b"{")))
    if size + 2 * len(schema) + VALUE * values > FILE.memory:
        raise DataError(f"it takes more than {FILE.memory / 1e9:g} GB of memory")
    return json.loads(schema)


def _size(archive: zipfile.ZipFile) -> int:
    """The bytes of an archive's files once they are decompressed, by its directory."""
    return sum(entry.file_size for entry in archive.infolist())


def _is_known(module: str, name: str) -> bool:
    return f"{module}.{name}" in TRUSTED or module.split(".")[0] in PLAIN or module.startswith(MODULES)
