"""The seasonal naive forecast, with which every forecast is compared: each step is as it was a
season before, or, beyond the first season, as the naive forecast a season before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array, Deferred
from chainrule.data import Target

PART = 4096
"""The windows that are read at a time."""


def naive_forecast(x: Array | Deferred, target: Target) -> Array:
    """(samples, horizon) the naive forecasts of windows (samples, length, features), whose first
    feature is what is forecast.

    Examples:
        >>> week = np.arange(7.0).reshape(1, 7, 1)
        >>> naive_forecast(week, Target("regression", mean=(0.0,) * 5, season=3))
        array([[4., 5., 6., 4., 5.]])
    """
    steps = x.shape[1] - target.season + np.arange(target.width) % target.season
    return np.concatenate([part[:, steps, 0] for part in _parts(x)])


def _parts(x: Array | Deferred) -> Iterator[Array]:
    for k in range(0, max(len(x), 1), PART):
        yield np.asarray(x[k : k + PART])


def against_naive(x: Array | Deferred, y: Array, target: Target, mae: float | None) -> dict[str, float]:
    """How good the naive forecast of these windows is, and a forecast with such a mean absolute
    error compared with it: its skill is the share of the naive forecast's error that it avoids, 1 -
    mae / naive_mae (Murphy, 1988); 0 is as good as that, 1 is perfect.

    Args:
        x: (samples, length, features) the windows
        y: (samples, horizon) the targets, as the loss takes them
        target: what they mean
        mae: the mean absolute error of the forecasts, in the unit of the target; None to leave the
            skill out
    """
    errors = np.abs(naive_forecast(x, target) - np.asarray(y)) * np.array(target.deviation)
    found = {"naive_mae": float(errors.mean(dtype=np.float64))}
    if mae is not None:
        found["skill"] = skill(mae, found["naive_mae"])
    return found


def skill(mae: float, naive_mae: float) -> float:
    """1 - mae / naive_mae; NaN if the naive forecast is perfect."""
    return 1 - mae / naive_mae if naive_mae > 0 else float("nan")
