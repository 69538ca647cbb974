"""Whose loss is traced through a training: one sample, or a whole set."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples, Vector, as_read
from chainrule.backprop import backward_pass, forward_pass
from chainrule.data import Data, Dataset, Target
from chainrule.descent import Optimizer
from chainrule.engine import Position
from chainrule.errors import DataError, RunError, at_least, require, setting, unknown
from chainrule.losses import Loss
from chainrule.network import Network
from chainrule.rows import Rows, in_memory
from chainrule.runs import Run, Trained
from chainrule.runs.inputs import labelled

PART = 2048
"""The samples that are predicted at a time."""
MOST_JUDGES = 500
"""The rows of a set by which all others are judged, at most."""


class Look(NamedTuple):
    """A subject's loss at a position, for the weights that would predict there.

    Attributes:
        weights: those weights: the position's, or their moving average
        statistics: the running statistics
        loss: the loss
        slope: its derivative with respect to every parameter
    """

    weights: Vector
    statistics: Vector
    loss: float
    slope: Vector


@dataclass(frozen=True, eq=False)
class Subject:
    """Some samples with targets, and their mean loss in evaluation mode: without dropout and
    penalties, with the running statistics.

    Attributes:
        name: what they are, in words
        samples: the samples
        network: the network in the precision of training, in which inputs are rounded
        loss: the loss
        shown: the one sample's target and prediction in words; empty for several
        judges: whether they are rows whose class is predicted right, by which others are judged
    """

    name: str
    samples: Samples
    network: Network
    loss: Loss
    shown: str = ""
    judges: bool = False
    _parts: list[tuple[float, Samples]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.samples.x)
        x, y, weight = as_read(self.samples.x), np.asarray(self.samples.y), self.samples.weight
        for start in range(0, count, PART):
            some = slice(start, start + PART)
            part = Samples(self.network.fit_input(x[some]), y[some], None if weight is None else weight[some])
            self._parts.append((len(part.y) / count, part))

    @cached_property
    def exact(self) -> Network:
        """The network in float64."""
        return replace(self.network, dtype="float64")

    def value(self, parameters: Vector, statistics: Vector) -> float:
        """The mean loss with these weights."""
        return sum(loss for loss, _ in self._each(parameters, statistics, wants_slope=False))

    def at(self, optimizer: Optimizer, position: Position) -> Look:
        """The mean loss at a position and its slope; raises RunError for a loss that is not
        finite.
        """
        average = optimizer.average(position.states)
        weights = np.asarray(position.parameters if average is None else average, dtype=np.float64)
        statistics = position.statistics.astype(np.float64)
        losses, slopes = zip(*self._each(weights, statistics, wants_slope=True), strict=True)
        if not math.isfinite(sum(losses)):
            raise RunError(f"{self.name}: before step {position.step} the loss is {sum(losses)}, which can't be split")
        return Look(weights, statistics, sum(losses), sum(slopes[1:], start=slopes[0]))

    def _each(self, parameters: Vector, statistics: Vector, wants_slope: bool) -> Iterator[tuple[float, Vector]]:
        """The share of each part in the loss and, if wanted, in its derivative."""
        network = self.exact
        for share, (x, y, weight) in self._parts:
            tape = forward_pass(network, parameters, x, statistics, only_output=not wants_slope)
            slope: Array = np.empty(0)
            if wants_slope:
                slope = share * backward_pass(network, tape, self.loss.derivative(tape.output, y, weight))[0]
            yield share * self.loss.value(tape.output, y, weight), slope


PARTS = ("validation", "test", "training")
"""The sets of a run's own data."""


def subject_of(run: Run, data: Dataset, what: Data | Rows | None, row: int | None, part: str | None) -> Subject:
    """The subject that is asked for; the arguments are those of `teachers`.

    Raises:
        DataError: where there is no such row or set
        SettingError: for arguments that exclude each other
    """
    if row is not None:
        at_least(f"{row!r} as the row: rows are counted from 1", row, 1)
    if what is not None:
        require(part is None, f"{setting('part')} is for a set of the run's own data; leave it out, or the data")
        samples, name = labelled(run.trained.preparation, run.trained.target, what), _name(what)
        if row is None:
            some = in_memory(samples, MOST_JUDGES)
            return _subject(run, some, f"the {len(some.y):,} rows of {name}")
        require(row <= len(samples.y), f"there is no row {row} in {name}; it has {len(samples.y):,}")
        return _subject(run, samples.take(np.array([row - 1])), f"row {row} of {name}")
    if row is not None:
        require(part is None, f"{setting('part')} is for a whole set; leave it out, or the row")
        found, number = _own_row(data, row)
        return _subject(run, getattr(data, found).take(np.array([number])), f"row {row} of {data.name} ({found} set)")
    if part is None:
        return _judges(run, data)
    if part not in PARTS:
        raise unknown("set", part, PARTS)
    samples = getattr(data, part)
    if samples is None:
        raise DataError(f"{data.name}: there is no {part} set; choose another ({setting('part', 'training')})")
    looked_at, count = in_memory(samples, MOST_JUDGES), len(samples.y)
    rows = f"{len(looked_at.y):,} of its {count:,}" if len(looked_at.y) < count else f"{count:,}"
    return _subject(run, looked_at, f"the {part} set of {data.name} ({rows} rows)")


def _judges(run: Run, data: Dataset) -> Subject:
    """The rows by which all others are judged: of the validation and the training set those that
    are predicted right, since a wrong label would count against the rows that contradict it. Both
    sets weigh the same: the one has not been fitted, the other has more rows.
    """
    predicting, when = _before_memorization(run)
    parts, names = list[Samples](), list[str]()
    for name in ("validation", "training"):
        samples: Samples | None = getattr(data, name)
        if samples is None:
            continue
        of_set = samples.thinned(MOST_JUDGES)
        right = of_set.take(np.flatnonzero(_is_right(predicting, of_set)))
        if len(right.y):
            parts.append(right)
            names.append(f"{len(right.y):,} of the {name} set")
    if not parts:
        raise DataError(
            f"{data.name}: none of its rows is predicted right, to judge the others; choose {setting('row')}"
        )
    of_positions = any(one.weight is not None and one.weight.ndim > 1 for one in parts)
    require(
        not of_positions, f"{data.name}: its weights are of positions; choose a set ({setting('part', 'training')})"
    )
    weights = [np.full(len(one.y), 1 / len(one.y)) * (1.0 if one.weight is None else one.weight) for one in parts]
    count = sum(len(one.y) for one in parts)
    x, y = (np.concatenate([np.asarray(getattr(one, name)) for one in parts]) for name in ("x", "y"))
    judges = Samples(x, y, np.concatenate(weights) * count / len(parts))
    of_classes = _has_classes(run.trained.target)
    which = f" predicted right{when}" if of_classes else ""
    return _subject(run, judges, f"the rows of {data.name}{which} ({' and '.join(names)})", of_classes)


def _before_memorization(run: Run) -> tuple[Trained, str]:
    """The network after its best epoch on the validation set, and when that was, in words.

    A network learns what rows have in common before it memorizes single wrong labels (Arpit
    et al., 2017). After that, rows with a wrong label are predicted "right", too.
    """
    trained = run.trained
    best = trained.progress.best
    if best is None or trained.plan.patience is not None:  # then its weights are those of the best epoch
        return trained, ""
    return replace(trained, parameters=best.parameters, statistics=best.statistics), f" after epoch {best.epoch}"


def _has_classes(target: Target) -> bool:
    return target.is_class and not target.positions


def _is_right(trained: Trained, samples: Samples) -> Array:
    """(samples,) whether the network predicts the target; of targets that are no classes True."""
    if not _has_classes(trained.target):
        return np.ones(len(samples.y), bool)
    predicted = trained.decoded(trained.raw(samples))
    return np.asarray(predicted) == np.array(values_of(trained.target, np.asarray(samples.y)), predicted.dtype)


def _own_row(data: Dataset, row: int) -> tuple[str, int]:
    """The set that a row of the run's own data is in, and its number there."""
    rows = {"training": data.rows, "validation": data.validation_rows, "test": data.test_rows}
    if data.rows is None:
        rows = {"training": np.arange(len(data.training.y))}
    for name, numbers in rows.items():
        if numbers is not None and (found := _place_of(row - 1, numbers, data.on_disk)) is not None:
            return name, found
    count = sum(len(numbers) for numbers in rows.values() if numbers is not None)
    raise DataError(f"{data.name}: row {row} is in none of its sets, which have {count:,} rows")


def _place_of(row: int, numbers: Array, ascending: bool) -> int | None:
    """Where a row is among these numbers; None if it is not."""
    if not ascending:
        found = np.flatnonzero(numbers == row)
        return int(found[0]) if len(found) else None
    place = bisect_left(numbers, row)
    return place if place < len(numbers) and numbers[place] == row else None


def _name(what: Any) -> str:
    """What data is called in messages."""
    return str(what) if isinstance(what, str | Path) else getattr(what, "name", None) or "the data"


def _subject(run: Run, samples: Samples, name: str, judges: bool = False) -> Subject:
    trained = run.trained
    shown = _shown(run, samples) if len(samples.y) == 1 else ""
    return Subject(name, samples, trained.plan.network, trained.plan.loss, shown, judges)


def _shown(run: Run, samples: Samples) -> str:
    """One sample's target and prediction in words."""
    trained = run.trained
    if trained.target.positions or trained.target.season:
        return ""
    raw = trained.raw(samples)
    (target,), (predicted,) = values_of(trained.target, np.asarray(samples.y)), trained.decoded(raw).tolist()
    probabilities = trained.plan.loss.probabilities(raw) if trained.target.is_class else None
    sure = ""
    if probabilities is not None:
        sure = f" with probability {probabilities[0, trained.target.classes.index(predicted)]:.3g}"
    return f"{trained.target.name} is {worded(target)}, predicted is {worded(predicted)}{sure}"


def values_of(target: Target, y: Array) -> list[Any]:
    """The targets of samples as the user's: a class, a number, or a list of several; None for
    targets at positions.
    """
    if target.positions or target.season:
        return [None] * len(y)
    if target.is_class:
        return target.decode(y if y.ndim == 1 else y.argmax(axis=-1)).tolist()
    values = target.decode(y.reshape(len(y), -1))
    return (values[:, 0] if values.shape[1] == 1 else values).tolist()


def worded(value: Any) -> str:
    """A target in a few characters."""
    if isinstance(value, list):
        return ", ".join(map(worded, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
