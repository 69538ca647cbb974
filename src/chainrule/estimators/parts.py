"""What is a table, and what `partial_fit` is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from chainrule.arrays import Array, Samples
from chainrule.data import Data, Dataset, Source, prepare
from chainrule.data.dataframes import is_frame
from chainrule.descent import Optimizer
from chainrule.descent.schedules import Constant, Schedule
from chainrule.runs import Trained
from chainrule.runs.inputs import labelled


def is_table(X: Any) -> bool:
    """Whether samples are a frame, or an array with texts in it."""
    if is_frame(X) or sparse.issparse(X):
        return is_frame(X)
    array = np.asarray(X)
    return array.ndim == 2 and (array.dtype.kind == "U" or any(isinstance(value, str) for value in _objects(array)))


def _objects(array: Array) -> list[Any]:
    return array.ravel().tolist() if array.dtype == object else []


def prepared(before: Trained, source: Source, validation: float | Data) -> Dataset:
    """A training set of these samples and a validation set, prepared as before."""
    preparation = before.preparation
    assert preparation is not None
    samples, rows = prepare(preparation, source), np.arange(len(source))
    held_out = None if isinstance(validation, int | float) else labelled(preparation, before.target, validation)
    assert held_out is None or isinstance(held_out, Samples)
    return Dataset(
        samples, held_out, None, before.target, preparation, source.name, source.fingerprint, source=source, rows=rows
    )


def endless(optimizer: Optimizer) -> Optimizer:
    """The optimizer at a constant rate instead of a schedule over the whole training, which has no
    end.
    """

    def constant(schedule: Schedule) -> Schedule:
        if hasattr(schedule, "then"):
            return replace(schedule, then=constant(schedule.then))  # type: ignore[call-arg]
        return Constant(schedule.rate) if getattr(schedule, "steps", 0) is None else schedule  # type: ignore[attr-defined]

    return optimizer.scheduled(constant)
