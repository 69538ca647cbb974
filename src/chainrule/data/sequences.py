"""Sequences of numbers: samples of the shape (time, features), whose lengths may differ.

With lengths, a sample is one row of numbers: its time steps one after another, and then how many of
them are valid. What follows the last valid one only fills the row. Without lengths a sample keeps
its shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.arrays import Array, Deferred, Shape
from chainrule.data.targets import is_one_hot
from chainrule.errors import DataError, setting, unknown

SEQUENCES, PICTURES = "sequences", "pictures"
SIDE = 6
"""The fewest rows and columns of a picture that is not of bytes."""


def told(name: str, x: Array | Deferred, wanted: str | None) -> tuple[str, str]:
    """What samples with two axes are, "sequences" or "pictures", and how that was told, in a line;
    empty for other samples, and without a line where nothing was guessed.

    Bytes are pictures. Of other numbers, a picture has at least 6 rows and columns, as many columns
    as rows, and no negative number; a sequence has fewer than 6 rows or columns, or neither of the
    other two properties.

    Raises DataError for samples that have one of these two properties, and can be either.

    Examples:
        >>> told("x", np.ones((10, 50, 3)), None)[0], told("x", np.ones((10, 8, 8)), None)[0]
        ('sequences', 'pictures')
    """
    if wanted not in (None, SEQUENCES, PICTURES):
        raise unknown("kind of samples", wanted, (SEQUENCES, PICTURES))
    if wanted is not None:
        axes = (2, 3) if wanted == SEQUENCES else (3, 4, 5)
        if x.ndim not in axes:
            known = "(samples, time, features)" if wanted == SEQUENCES else "(samples, height, width, channels)"
            raise DataError(f"{name}: {wanted} have the shape {known}, not {x.shape}")
        return wanted, ""
    if x.ndim != 3 or x.dtype == np.uint8 or x.size == 0:
        return "", ""
    steps, features = x.shape[1:]
    choice = {kind: setting("samples", kind) for kind in (SEQUENCES, PICTURES)}
    as_sequences = f"sequences of {steps:,} time steps of {features:,} features"
    as_pictures = f"pictures of {features:,} x {steps:,} pixels"
    if min(steps, features) >= SIDE:
        is_square, is_negative = steps == features, bool(x.min() < 0)
        if is_square is is_negative:
            both = f"samples of {steps:,} x {features:,} numbers may be {as_sequences}, or {as_pictures}"
            raise DataError(f"{name}: {both}; choose {choice[SEQUENCES]} or {choice[PICTURES]}")
        if is_square:
            return PICTURES, f"taken for {as_pictures}; if they are {as_sequences}, choose {choice[SEQUENCES]}"
    return SEQUENCES, f"taken for {as_sequences}; if they are {as_pictures}, choose {choice[PICTURES]}"


def fit_whole(x: Array) -> tuple[Array, Array]:
    """(time, features) the mean and the deviation that scale sequences without lengths: those of
    each feature, over all time steps.
    """
    values = x.reshape(-1, x.shape[-1]).astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation[deviation == 0] = 1.0
    return np.broadcast_to(mean, x.shape[1:]).copy(), np.broadcast_to(deviation, x.shape[1:]).copy()


def at_steps(y: Array, steps: int) -> Array:
    """Targets of sequences of so many time steps; if there is one at each step, of the shape
    (samples, time, columns).
    """
    are_at_steps = y.ndim == 2 and y.shape[1] == steps > 1 and not is_one_hot(y)
    return y[..., None] if are_at_steps else y


def valid_targets(y: Array, lengths: Array, steps: int) -> tuple[Array, Array | None]:
    """Targets of sequences with lengths; those at each time step with the weight of each: 1 while a
    sequence lasts, and 0 after it, where they may be anything. None for one target each.
    """
    y = at_steps(y, steps)
    if y.ndim != 3 or y.shape[:2] != (len(lengths), steps):
        return y, None
    valid = np.arange(steps) < lengths.reshape(-1, 1)
    return np.where(valid[..., None], y, y[:1, :1]), valid.astype(np.float64)


def packed(name: str, x: Array, lengths: Any) -> Array:
    """(samples, time * features + 1) sequences with their lengths; what is not valid is 0.

    Raises DataError for samples that are no sequences, and for lengths that do not fit them.
    """
    if x.dtype.kind not in "buif" or x.ndim not in (2, 3) or 0 in x.shape[1:]:
        shape = f"not {x.dtype} of shape {x.shape}"
        raise DataError(f"{name}: with lengths, x must be numbers of shape (samples, time, features), {shape}")
    x = x.reshape(*x.shape[:2], -1)
    lengths, (samples, steps) = np.asarray(lengths), x.shape[:2]
    if lengths.shape not in ((samples,), (samples, 1)):
        raise DataError(f"{name}: lengths has the shape {lengths.shape}; it must be ({samples},), one for each sample")
    lengths = lengths.reshape(samples)
    fits = lengths.dtype.kind in "iuf" and np.isfinite(lengths).all()
    wrong = np.flatnonzero((lengths < 1) | (lengths > steps) | (lengths != np.floor(lengths))) if fits else [0]
    if len(wrong):
        rule = f"it must be a whole number of time steps, from 1 to {steps}"
        raise DataError(f"{name}, lengths, row {int(wrong[0])}: {lengths[wrong[0]]!s} is no length; {rule}")
    valid = np.arange(steps) < lengths[:, None].astype(np.intp)
    x = np.where(valid[..., None], x, x.dtype.type(0))  # padding may be NaN
    return np.concatenate([x.reshape(samples, -1), lengths[:, None]], axis=1, dtype=np.result_type(x, np.float32))


def names(shape: Shape) -> tuple[str, ...]:
    """The names of the numbers of a packed sample: x[time step, feature], and the length."""
    steps, features = shape
    return (*(f"x[{t}, {k}]" for t in range(steps) for k in range(features)), "length")


def fit(x: Array, shape: Shape) -> tuple[Array, Array]:
    """(numbers of a sample,) the mean and the deviation that scale packed sequences: those of each
    feature, over all valid time steps; a length stays as it is.
    """
    steps, features = shape
    valid = np.arange(steps) < x[:, -1:]
    values = x[:, :-1].reshape(-1, steps, features)[valid].astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation[deviation == 0] = 1.0
    return np.append(np.tile(mean, steps), 0.0), np.append(np.tile(deviation, steps), 1.0)


def is_fit(scale: Array, shape: Shape) -> bool:
    """Whether a mean or a deviation is the same for a feature at all time steps, as of `fit`."""
    steps = scale[:-1].reshape(shape)
    return bool((steps == steps[0]).all())


def fitted_to(name: str, x: Array, shape: Shape, trained: Shape) -> Array:
    """Packed sequences of this shape as those of the training set: shorter ones are filled up.

    Raises DataError for longer ones, and for another number of features.
    """
    (steps, features), (most, known) = shape, trained
    if features != known:
        raise DataError(f"{name}: {features} features at each time step, but {known} in the training data")
    if steps > most:
        longest = int(x[:, -1].max(initial=0))
        if longest > most:
            raise DataError(f"{name}: a sequence of {longest} time steps, but at most {most} in the training data")
    values, lengths = x[:, :-1][:, : most * features], x[:, -1:]
    filled = np.zeros((len(x), math.prod(trained)), x.dtype)
    filled[:, : values.shape[1]] = values
    return np.concatenate([filled, lengths], axis=1)
