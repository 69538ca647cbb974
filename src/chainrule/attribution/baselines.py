"""What a sample is compared with: the mean of the training set, a black picture, unknown tokens, or
another row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.attribution.function import Function, Point
from chainrule.attribution.subject import Sampled, Subject, shown, subject
from chainrule.data import Preparation
from chainrule.data.token_columns import TokenColumn
from chainrule.errors import DataError, is_integer, require, setting
from chainrule.runs import Trained

MEAN, ZERO = "mean", "zero"


@dataclass(frozen=True)
class Baseline:
    """What a sample is compared with.

    Attributes:
        name: what it is, in words
        point: what the network reads of it
        values: the value of each part of the sample there, as text; empty where it has none
    """

    name: str
    point: Point
    values: tuple[str, ...]


def baseline_of(
    trained: Trained, function: Function, sample: Subject, what: Sampled, choice: str | int | None = None
) -> Baseline:
    """The baseline of a sample.

    Args:
        trained: the trained network
        function: the same as a function
        sample: the sample
        what: where it is from
        choice: "mean" (of the training set), "zero" (a black picture), or the number of another
            row; by default "zero" for pictures, else "mean"

    Raises SettingError for anything else, and where the choice makes no sense.
    """
    if choice is None:
        choice = ZERO if sample.kind == "pictures" else MEAN
    if isinstance(choice, str) and choice.removeprefix("row ").isdecimal():
        choice = int(choice.removeprefix("row "))
    rule = f"it is {MEAN!r}, {ZERO!r}, or the number of another row"
    require(choice in (MEAN, ZERO) or is_integer(choice), f"the baseline is {choice!r}; {rule} ({setting('baseline')})")
    if is_integer(choice):
        require(int(choice) >= 1, f"the baseline is {choice!r}; rows are counted from 1 ({setting('baseline')})")
        try:
            other = subject(trained, what, int(choice))
        except DataError as error:  # which speaks of the row that is explained
            raise DataError(str(error).replace(setting("row"), setting("baseline"))) from None
        return _row(function, sample, other)
    zero = choice == ZERO
    require(not zero or sample.kind != "table", f"a table's columns have no zero in common; {rule}")
    x, name = _zero(trained, sample) if zero else _mean(trained, sample)
    x = np.where(function.fixed.reshape(x.shape), sample.x, x)
    words = _tokens(trained)
    if function.lookups:
        point = Point(x, tuple(_unread(trained, function, k) for k in range(len(function.lookups))))
        name = words if function.fixed.all() else f"{name}; of tokens {words}"
    else:
        point = function.point(x)
    return Baseline(name, point, tuple(_values(trained, sample, zero, x)))


def _row(function: Function, sample: Subject, other: Subject) -> Baseline:
    name = f"row {other.row:,}"
    x = np.asarray(other.x, np.float64)
    looked_up = np.zeros(x.size, bool)
    for lookup in function.lookups:
        looked_up[lookup.entries.ravel()] = True
    lengths = (function.fixed & ~looked_up).reshape(x.shape)
    if (np.asarray(sample.x)[lengths] != x[lengths]).any():
        name += ", as if it were as long as this one"
    embedded = function.point(x).embedded
    point = Point(np.where(function.fixed.reshape(x.shape), sample.x, x), embedded)
    return Baseline(name, point, tuple(part.value for part in other.parts))


def _mean(trained: Trained, sample: Subject) -> tuple[Array, str]:
    shape, preparation = sample.x.shape, trained.preparation
    if preparation is not None and (preparation.kind == "text" or is_standardized(preparation)):
        return np.zeros(shape), "the mean of the training set"
    if trained.data is not None:
        return np.asarray(trained.data.training.x, np.float64).mean(axis=0), "the mean of the training set"
    return np.zeros(shape), "0 in every input"


def is_standardized(preparation: Preparation) -> bool:
    """Whether inputs have mean 0 and deviation 1 in the training set, unlike those of an imported
    network, which reads numbers as they are.
    """
    mean, deviation = preparation.mean, preparation.deviation
    if mean is None or deviation is None:
        return preparation.pipeline is not None
    return bool(mean.any() or (deviation != 1).any())


def _zero(trained: Trained, sample: Subject) -> tuple[Array, str]:
    preparation, name = trained.preparation, "a black picture" if sample.kind == "pictures" else "0 in every input"
    if preparation is None or preparation.mean is None or preparation.deviation is None:
        return np.zeros(sample.x.shape), name
    if preparation.mean.shape == sample.x.shape or sample.kind == "series":
        return np.broadcast_to(-preparation.mean / preparation.deviation, sample.x.shape).copy(), name
    return np.zeros(sample.x.shape), name


def _unread(trained: Trained, function: Function, number: int) -> Array:
    """What an embedding gives where no token is known: the row of unknown tokens, if there is one,
    or the mean of all rows.
    """
    lookup = function.lookups[number]
    if trained.preparation is not None and trained.preparation.texts_as_tokens:
        return function.rows_of(lookup, np.zeros(lookup.entries.shape))
    row = function.mean_row(lookup)
    return np.broadcast_to(row, (*lookup.entries.shape, len(row))).copy()


def _tokens(trained: Trained) -> str:
    if trained.preparation is not None and trained.preparation.texts_as_tokens:
        return "unknown tokens, as many"
    return "the mean of all tokens at each position"


def _values(trained: Trained, sample: Subject, zero: bool, x: Array) -> list[str]:
    """The value of each part at the baseline; x is what the network reads there."""
    preparation = trained.preparation
    mean = None if preparation is None or preparation.mean is None else np.ravel(preparation.mean)
    encoders = () if preparation is None else preparation.encoders
    are_columns = sample.kind == "table" or (sample.kind == "arrays" and bool(encoders))
    found = []
    for k, part in enumerate(sample.parts):
        if are_columns and isinstance(encoders[k], TokenColumn):
            found.append("unknown tokens")
        elif part.unit and mean is not None and (len(part.entries) == 1 or part.kind == "number"):
            found.append(shown(0.0 if zero else float(mean[part.entries[0]] + x.ravel()[part.entries[0]])))
        elif zero or part.unit:
            found.append("0" if zero or mean is None else "")
        else:
            found.append({"category": "as often as in training", "date": "the mean date"}.get(part.kind, ""))
    return found
