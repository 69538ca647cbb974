"""Early stopping: the best value of the watched metric, and when it last improved."""

from __future__ import annotations

import math
from collections.abc import Sequence


def is_better(value: float, other: float, greater: bool, by: float = 0.0) -> bool:
    """Whether a value is better than another, by more than this; NaN never is.

    Args:
        value, other: the values of a metric
        greater: whether more of it is better
        by: what it takes to be better
    """
    return value - other > by if greater else other - value > by


def followed(values: Sequence[float], greater: bool, min_delta: float = 0.0) -> tuple[int, int]:
    """The epoch of the best value so far, counted from 1 (0 if there is none), and the number of
    epochs since a value was better than the last such one by more than min_delta.

    Args:
        values: of the watched metric, after each epoch
        greater: whether more of it is better
        min_delta: what counts as an improvement

    Examples:
        >>> followed([0.7, 0.8, 0.805, 0.79], greater=True, min_delta=0.01)
        (3, 2)
    """
    best = improved = 0
    for epoch, value in enumerate(values, 1):
        if best == 0 or is_better(value, values[best - 1], greater):
            best = best if math.isnan(value) else epoch
        if improved == 0 or is_better(value, values[improved - 1], greater, min_delta):
            improved = improved if math.isnan(value) else epoch
    return best, len(values) - improved
