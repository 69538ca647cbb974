"""The fitted scikit-learn pipeline that prepares a table: how it is made, written and read."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.arrays import Shape
from chainrule.data.barrier import FILE, check_budget, guarded
from chainrule.errors import DataError, RunError

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


def blank() -> Any:
    """A pipeline that is not fitted yet."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skrub import StringEncoder, TableVectorizer

    vectorizer = TableVectorizer(high_cardinality=StringEncoder(random_state=0))
    return make_pipeline(vectorizer, SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())


def to_bytes(pipeline: Any) -> bytes:
    """A fitted pipeline as skops.

    Of a column of text it knows up to millions of parts of words. skops takes kilobytes for each in
    a dictionary, and a few bytes in an array, so they are written as one, in the order of their
    numbers. What only fitting needs is left out: skops takes half a second for it.
    """
    import skops.io

    in_place_of: dict[int, Any] = dict.fromkeys(map(id, _only_for_fitting(pipeline)), ())
    for vectorizer in _vectorizers(pipeline):
        numbered = vectorizer.vocabulary_
        parts = sorted(numbered, key=numbered.__getitem__)
        array = np.array(parts, dtype=np.str_)
        if array.tolist() == parts:  # an array loses null characters at the end
            in_place_of[id(numbered)] = array
    return skops.io.dumps(copy.deepcopy(pipeline, in_place_of), compression=zipfile.ZIP_DEFLATED)


def from_bytes(content: bytes, shape: Shape) -> Any:
    """A fitted pipeline from skops; raises RunError for untrusted classes, DataError for damage.

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
        for vectorizer in _vectorizers(pipeline):
            if isinstance(vectorizer.vocabulary_, np.ndarray):
                vectorizer.vocabulary_ = {part: k for k, part in enumerate(vectorizer.vocabulary_.tolist())}
        if not isinstance(pipeline, Pipeline) or len(pipeline.get_feature_names_out()) != shape[0]:
            raise DataError("preparation.skops does not fit preparation.json")
    return pipeline


def _only_for_fitting(pipeline: Any) -> Iterator[Any]:
    """What a fitted table vectorizer holds and `transform` doesn't use: its steps again in lists,
    and the parameters of the steps' encoders, which choose columns.
    """
    vectorizer = pipeline.steps[0][1]
    for name in ("_preprocessors", "_encoders", "_named_encoders", "_postprocessors"):
        if hasattr(vectorizer, name):
            yield getattr(vectorizer, name)
    for _, step in vectorizer._pipeline.steps:
        if hasattr(step, "cols"):
            yield step.cols


def _vectorizers(pipeline: Any) -> Iterator[Any]:
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
