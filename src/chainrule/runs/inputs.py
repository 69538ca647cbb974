"""What a trained network is used on: samples in any form, as the network takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Array, Deferred, as_read, pack
from chainrule.data import Preparation, Prepared, Samples, Source, Target, Text, find, find_samples, prepare
from chainrule.data.barrier import guarded
from chainrule.data.dataframes import as_array, as_polars, is_frame
from chainrule.data.finding import Data, Unlabelled
from chainrule.data.series_loading import labelled_windows, last_windows
from chainrule.data.text_windows import find_text, windows_of
from chainrule.data.weights import checked_weight, weighted_by
from chainrule.errors import DataError, require, setting
from chainrule.rows import Rows


def inputs(preparation: Preparation | None, x: Unlabelled) -> Array | Deferred:
    """(samples, ...) what the network takes, of samples in any form."""
    if x is None:
        raise DataError("there are no samples: the data set has no such part")
    if isinstance(x, Rows):
        return as_read(x.x)
    if isinstance(x, Deferred):
        return x
    if preparation is None or isinstance(x, Prepared):
        return np.asarray(_numbers(x))
    if preparation.kind == "text":
        return _of_text(preparation, x).x if isinstance(x, str | Path | Text) else np.asarray(_numbers(x))
    if preparation.kind == "series":
        return as_read(last_windows(preparation, x)[1]) if _is_table(x) else np.asarray(_numbers(x))
    return as_read(preparation.apply(find_samples(x, preparation.image_size, preparation.texts)))


def _is_table(x: Any) -> bool:
    return isinstance(x, str | Path) or is_frame(x)


def _of_text(preparation: Preparation, what: Any) -> Samples:
    """The windows of a text."""
    text = find_text(what, wanted=True)
    assert text is not None
    return windows_of(preparation, text)


def labelled(
    preparation: Preparation | None, target: Target, what: Data | Rows, weight: Array | str | None = None
) -> Rows:
    """Samples with their targets, in any form, as the network and its loss take them.

    Args:
        preparation: the fitted preparation; None for arrays that are used as they are
        target: what is predicted
        what: the samples
        weight: how much each counts, an array or the name of a column; by default their own
            weights or, in a table, the column by which training samples were weighed, if it has it
    """
    if isinstance(weight, str):
        return _labelled(preparation, target, what, weight)
    samples, own = _labelled(preparation, target, what, None), checked_weight(weight)
    if own is None:
        return samples
    count = len(as_read(samples.x))
    require(len(own) == count, f"there are {len(own):,} weights for {count:,} samples; pass one for each")
    if not isinstance(samples, Samples):
        raise DataError("samples on a disk have the weights that they were read with; name a column of the data")
    return samples._replace(weight=own)


def _labelled(preparation: Preparation | None, target: Target, what: Any, column: str | None) -> Rows:
    """Samples with their targets, weighed by this column or, by default, as in training."""
    is_pair = isinstance(what, tuple | list) and len(what) == 2
    is_ready = is_pair and any(isinstance(array, Prepared | Deferred) for array in what)
    if isinstance(what, Rows) or preparation is None or is_ready:
        require(column is None, f"these samples have no columns, such as {column!r}; pass the weights as an array")
    if isinstance(what, Rows):
        return what
    if preparation is None or is_ready:
        require(is_pair, "to evaluate a network that was trained on arrays, pass a pair of arrays (x, y)")
        x, y = what
        is_encoded = isinstance(y, Prepared) or (preparation is None and target.task == "regression")
        y = _numbers(y) if is_encoded else target.encode(np.asarray(y), "the targets")
        return Samples(inputs(preparation, x), y)
    if preparation.kind == "text":
        require(column is None, f"a text has no columns, such as {column!r}; pass the weights as an array")
        return _of_text(preparation, what)
    if preparation.kind == "series":
        require(column is None, f"the windows of series have no weights, such as {column!r}; leave them out")
        return labelled_windows(preparation, what)
    targets = target.in_table if preparation.kind == "table" else None
    read = preparation.texts if is_pair else preparation.reading
    from chainrule.data.streamed.using import stored_of

    if (samples := stored_of(what, preparation, column)) is not None:
        return samples
    source = find(what, target=targets, task=target.task, image_size=preparation.image_size, read=read)
    if column is None and source.weight is None and source.is_table and preparation.weight in source.features.columns:
        column = preparation.weight
    is_feature = any(column == name for name, _ in preparation.columns)
    if is_feature and source.is_table and column in source.features.columns:
        problem = "is a feature that the network was trained on, and can't hold the weights, too; name another column"
        raise DataError(f"{source.name}: {column!r} {problem} ({setting('weight')})")
    return prepare(preparation, source if column is None else weighted_by(source, column))


def _numbers(x: Any) -> Array:
    """This as an array; raises DataError unless it is one of numbers."""
    array = np.asarray(x) if isinstance(x, np.ndarray) else _array_of(x)
    if array.dtype.kind not in "buif":
        raise DataError(f"an array of numbers is needed, not {array.dtype} of shape {array.shape}")
    return array


def _array_of(x: Any) -> Array:
    with guarded("the samples are no array"):
        if is_frame(x):
            frame = as_polars(x)
            return np.asarray(as_array(Source("table", frame, None), (), (frame.width,)))
        return pack(x) if isinstance(x, tuple) else np.asarray(x)
