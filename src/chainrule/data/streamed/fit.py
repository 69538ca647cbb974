"""A preparation fitted block by block, in one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chainrule.data import token_columns
from chainrule.data.columns import check_kinds
from chainrule.data.encoders import FORMATS
from chainrule.data.preparation import PIXELS, Preparation
from chainrule.data.streamed.column_fits import ColumnFit, OtherFormatError, kept
from chainrule.data.streamed.divisions import TRAINING, Sets
from chainrule.data.streamed.reading import Reading
from chainrule.data.streamed.target_fit import TargetFit, check_targets
from chainrule.errors import DataError

Watch = Callable[[int], None]
"""Is told how many rows have been read."""


@dataclass(frozen=True)
class Wanted:
    """What is to be fitted.

    Attributes:
        task: what is predicted, if it was chosen
        likely_task: the task to assume if the target is ambiguous
        order: the classes of an ordinal target, from the lowest
        scale_target: whether to standardize a numeric target
        tokens: how columns of text are to be read as tokens, if they are
        seed: of the rows to which texts are fitted
    """

    task: str | None = None
    likely_task: str | None = None
    order: Sequence[Any] | None = None
    scale_target: bool = True
    tokens: token_columns.Wanted | None = None
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Attributes:
        preparation: how rows become inputs, and the target
        marks: by column, how often texts occur that were read as missing
    """

    preparation: Preparation
    marks: dict[str, dict[str, int]]


def fit(reading: Reading, division: Sets, wanted: Wanted, watch: Watch | None = None) -> Fitted:
    """Fit a preparation to the training rows, as `fit_preparation` does in memory.

    Raises DataError, with file, row and column, for a cell that can't be used.
    """
    formats: dict[str, tuple[str, ...]] = {}
    while True:
        try:
            return _fit(reading, division, wanted, formats, watch)
        except OtherFormatError as error:
            column, left = error.args
            formats[column] = left


def _fit(
    reading: Reading, division: Sets, wanted: Wanted, formats: dict[str, tuple[str, ...]], watch: Watch | None
) -> Fitted:
    columns: dict[str, ColumnFit] = {}
    target, weights = TargetFit(), np.zeros(3)
    for row, source in reading.sources():
        sets = division.sets(row, row + len(source))
        training = np.flatnonzero(sets == TRAINING)
        check_kinds(source.name, source.features)
        for column in source.features.iter_columns():
            if column.name not in columns:
                columns[column.name] = ColumnFit(column.name, wanted.seed, formats.get(column.name, FORMATS))
            weight = None if source.weight is None else source.weight[training]
            columns[column.name].add(source.name, column, row, training, weight)
        target.add(source, training)
        if wanted.task:
            check_targets(wanted.task, source)
        if source.weight is not None:
            weights += np.bincount(sets, source.weight, minlength=3)
        if watch is not None:
            watch(row + len(source))
    if reading.weight is not None:
        _check_weights(reading.files.name, weights, division)
    ranks = wanted.order or target.order_of_categories(wanted.task, wanted.likely_task)
    task = "ordinal" if ranks else target.task(wanted.task, wanted.likely_task)
    fitted = target.fitted(reading.files.name, task, wanted.scale_target, ranks or None)
    as_tokens = None if wanted.tokens is None else partial(token_columns.fit, wanted.tokens)
    found, unused = kept(columns, as_tokens)
    reasons = tuple((name, unused[name]) for name in columns if name in unused)
    if not found:
        why = "; ".join(f"{column!r}: {reason}" for column, reason in reasons)
        raise DataError(f"{reading.files.name}: no column is left to learn from ({why})")
    mean, deviation = np.array([one for *_, scale in found for one in scale]).T.copy()
    if _are_pixels([columns[name] for name, *_ in found]):
        deviation[:] = np.sqrt(np.mean(deviation**2))
    preparation = Preparation(
        "table", mean.shape, fitted, mean, deviation, tuple((name, str(kind)) for name, kind, *_ in found),
        tuple(encoder for *_, encoder, _ in found), reasons, tuple(columns), reading.weight,
    )  # fmt: skip
    marks = {name: column.read_as_missing for name, column in columns.items() if column.read_as_missing}
    return Fitted(preparation, marks)


def _are_pixels(columns: list[ColumnFit]) -> bool:
    """Whether the columns are pixels; as `preparation._pixels`."""
    if len(columns) < PIXELS or any(one.moments is None or one.missing for one in columns):
        return False
    moments = [one.moments for one in columns if one.moments is not None]
    brightest = max(one.high for one in moments)
    are_whole = all(one.is_whole for one in columns) and not any(one.low for one in moments)
    return are_whole and float(np.mean([one.high >= 0.9 * brightest for one in moments])) >= 0.5


def _check_weights(name: str, weights: Any, division: Sets) -> None:
    for part, what in enumerate(("training", "validation", "test")):
        if division.sizes[part] and not weights[part]:
            raise DataError(f"{name}: all samples of the {what} set have the weight 0; split it differently")
