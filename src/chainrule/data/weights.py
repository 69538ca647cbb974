"""Sample weights: an array, or a column of the table."""

from __future__ import annotations

from dataclasses import replace
from reprlib import repr as brief
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.columns import check_cells, kind_of
from chainrule.data.source import Source
from chainrule.errors import DataError, setting, unknown

FLOAT32 = np.finfo(np.float32).tiny, np.finfo(np.float32).max
"""The smallest weight above 0 and the largest: training has float32 numbers."""


def weighted_by(source: Source, column: str, is_part: bool = False) -> Source:
    """The source with the weights in this column, which is no input; of a part of all rows the
    weights may all be 0.

    Raises DataError, with row and column, for what can't be a weight.
    """
    if not source.is_table:
        raise DataError(f"{source.name}: it is not a table with a column of weights; leave {setting('weight')} out")
    if column in (source.target_name, *source.target_columns):
        problem = f"is the target and can't hold the weights, too; name the target ({setting('target')})"
        raise DataError(f"{source.name}: {column!r} {problem}")
    if column not in source.features.columns:
        raise DataError(f"{source.name}: {unknown('column', column, source.features.columns)}, for the weights")
    values = source.features[column]
    if kind_of(values) not in ("number", "boolean"):
        problem = "its values are no numbers, and so no weights"
        raise DataError(f"{source.name}, column {column!r}: {problem}; name another column ({setting('weight')})")
    values = values.cast(float)
    check_cells(source.name, values, values.is_null() | values.is_nan(), "the weight is missing; fill it in")
    check_cells(source.name, values, values < 0, "{value} is no weight; it must be 0 or greater")
    small, remedy = (values > 0) & (values < float(FLOAT32[0])), "; use 0, or multiply all weights"
    check_cells(source.name, values, small, "{value} is too small a weight for float32, which takes it for 0", remedy)
    features = source.features.drop(column)
    if not features.width:
        raise DataError(f"{source.name}: there is no feature besides {column!r}, which holds the weights")
    weight = values.to_numpy() if is_part and not (values > 0).any() else checked_weight(values.to_numpy())
    return replace(source, features=features, weight=weight, content_hash=source.fingerprint)


def checked_weight(weight: Any, positions: Shape = ()) -> Array | None:
    """(samples,) these weights, or (samples, positions...); raises DataError unless they are finite
    and at least 0.
    """
    if weight is None:
        return None
    rule = "pass one finite number, 0 or greater, for each sample"
    try:
        weight = np.asarray(weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"the sample weights are {brief(weight)}; {rule}") from None
    fits = weight.ndim > 0 and weight.shape[1:] in ((), positions)
    if not fits or not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError(f"the sample weights are not all usable; {rule}")
    if not weight.any():
        raise DataError("the sample weights are all 0, so that no sample counts; leave them out")
    smallest, largest = FLOAT32
    beyond = weight[((weight > 0) & (weight < smallest)) | (weight > largest)]
    if beyond.size:
        rule = f"multiply them such that all are 0 or from {smallest:.2g} to {largest:.2g}"
        raise DataError(f"the sample weights have one that float32 can't hold, {beyond[0]:.3g}; {rule}")
    return weight


def check_weights(weight: Array, where: str, first: int) -> bool:
    """Whether a weight is above 0 among some weights, from row `first` on; raises DataError, with
    the row, for one that is not finite, less than 0, or can't be one of float32.
    """
    smallest, largest = FLOAT32
    fits = np.isfinite(weight) & ((weight == 0) | ((weight >= smallest) & (weight <= largest)))
    if not fits.all():
        row = int(np.argmin(fits))
        rule = f"it must be 0, or from {smallest:.2g} to {largest:.2g}"
        raise DataError(f"{where}, row {first + row}: {weight[row]} is no weight; {rule}")
    return bool(weight.any())
