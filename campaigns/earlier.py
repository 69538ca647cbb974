"""Preparations of tables as earlier versions recorded them: a pipeline of skrub in skops."""

from __future__ import annotations

import copy
import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chainrule.data import Preparation, load
from chainrule.data.columns import conform
from chainrule.data.pipelines import vectorizers


def contents(data: pl.DataFrame | Path, numbered: bool = False) -> dict[str, bytes]:
    """The files of the preparation that would have been fitted.

    The parts of words in a text were recorded as an array, or, before that, as a dictionary with
    their numbers.
    """
    import skops.io
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skrub import StringEncoder, TableVectorizer

    loaded = load(data)
    assert loaded.preparation is not None
    assert loaded.source is not None
    assert loaded.rows is not None
    training = conform("table", loaded.source.features[loaded.rows.tolist()], loaded.preparation.columns)
    vectorizer = TableVectorizer(high_cardinality=StringEncoder(random_state=0))
    pipeline = make_pipeline(vectorizer, SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about columns that skrub handles anyway
        pipeline.fit(training)
        inputs = pipeline.transform(training[:1]).shape[1]
    in_place_of: dict[int, Any] = dict.fromkeys(map(id, _only_for_fitting(pipeline)), ())
    for fitted in () if numbered else vectorizers(pipeline):
        parts = sorted(fitted.vocabulary_, key=fitted.vocabulary_.__getitem__)
        in_place_of[id(fitted.vocabulary_)] = np.array(parts, dtype=np.str_)
    about = json.loads(loaded.preparation.contents()["preparation.json"])
    del about["encoders"]
    about["shape"] = [inputs]
    return {
        "preparation.json": json.dumps(about).encode(),
        "preparation.skops": skops.io.dumps(copy.deepcopy(pipeline, in_place_of), compression=zipfile.ZIP_DEFLATED),
    }


def _only_for_fitting(pipeline: Any) -> Iterator[Any]:
    """What a fitted vectorizer holds and `transform` doesn't use, for which skops takes long: its steps
    again in lists, and the parameters of the steps' encoders, which choose columns.
    """
    vectorizer = pipeline.steps[0][1]
    for name in ("_preprocessors", "_encoders", "_named_encoders", "_postprocessors"):
        yield getattr(vectorizer, name)
    for _, step in vectorizer._pipeline.steps:
        if hasattr(step, "cols"):
            yield step.cols


def preparation(data: pl.DataFrame | Path) -> Preparation:
    """The preparation, as it is read."""
    return Preparation.from_contents(contents(data))
