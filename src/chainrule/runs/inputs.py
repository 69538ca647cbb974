"""What a trained network is used on: samples in any form, as the network takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Array, Scaled, as_read, pack
from chainrule.data import Preparation, Prepared, Samples, Source, Target, find, find_samples, prepare
from chainrule.data.barrier import guarded
from chainrule.data.dataframes import as_array, as_polars, is_frame
from chainrule.errors import DataError, require


def inputs(preparation: Preparation | None, x: Any) -> Array | Scaled:
    """(samples, ...) what the network takes, of samples in any form."""
    if isinstance(x, Samples):
        return as_read(x.x)
    if isinstance(x, Scaled):
        return x
    if preparation is None or isinstance(x, Prepared):
        return np.asarray(_numbers(x))
    return as_read(preparation.apply(find_samples(x, preparation.image_size, list(preparation.texts))))


def labelled(preparation: Preparation | None, target: Target, what: Any) -> Samples:
    """Samples with their targets, in any form, as the network and its loss take them."""
    if isinstance(what, Samples):
        return what
    is_pair = isinstance(what, tuple | list) and len(what) == 2
    if preparation is None or (is_pair and any(isinstance(array, Prepared | Scaled) for array in what)):
        require(is_pair, "to evaluate a network that was trained on arrays, pass a pair of arrays (x, y)")
        x, y = what
        is_encoded = isinstance(y, Prepared) or (preparation is None and target.task == "regression")
        y = _numbers(y) if is_encoded else target.encode(np.asarray(y), "the targets")
        return Samples(inputs(preparation, x), y)
    column = target.in_table if preparation.kind == "table" else None
    return prepare(
        preparation,
        find(what, target=column, task=target.task, image_size=preparation.image_size, read=preparation.texts),
    )


def _numbers(x: Any) -> Array:
    """This as an array; raises DataError unless it is one of numbers."""
    with guarded("the samples are no array"):
        if is_frame(x):
            frame = as_polars(x)
            return np.asarray(as_array(Source("table", frame, None), (), (frame.width,)))
        array = pack(x) if isinstance(x, tuple) else np.asarray(x)
    if array.dtype.kind not in "buif":
        raise DataError(f"an array of numbers is needed, not {array.dtype} of shape {array.shape}")
    return array
