"""What a network's outputs mean: predictions in the target's own labels and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data import Target
from chainrule.errors import SettingError, is_number, require
from chainrule.losses import Loss
from chainrule.training.threshold import decide


@dataclass(frozen=True)
class HeldOut:
    """Predictions for the samples of a held-out set.

    Attributes:
        rows: (samples,) their rows in what was read, counted from 1; None if unknown
        targets: (samples,) the true classes, or the true quantities in their own units; (samples,
            columns) for several quantities, and for labels, as 0 and 1
        predictions: the predicted ones, in the same shape
        probabilities: (samples, classes) of each class, or (samples, labels); None for quantities,
            and for losses without probabilities
    """

    rows: Array | None
    targets: Array
    predictions: Array
    probabilities: Array | None


class Interval(NamedTuple):
    """Predicted intervals, in the target's own units.

    Attributes:
        lower: (samples,) their lower ends; (samples, columns) for several quantities
        point: the point predictions, in the same shape
        upper: their upper ends
    """

    lower: Array
    point: Array
    upper: Array


def ends(share: float) -> tuple[float, float]:
    """The levels of the quantiles between which this share of a distribution lies."""
    require(is_number(share, above=0, below=1), f"the interval is {share!r}; pass a share between 0 and 1, such as 0.9")
    return (1 - share) / 2, (1 + share) / 2


@dataclass(frozen=True)
class Meaning:
    """What a network's outputs mean.

    Attributes:
        target: what is predicted
        loss: turns outputs into classes, quantities, quantiles and deviations
        threshold: from which probability on the second of two classes is predicted; None for the
            more probable class
    """

    target: Target
    loss: Loss
    threshold: float | None = None

    def decoded(self, raw: Array) -> Array:
        """The outputs as classes, as labels, or as quantities in their own units."""
        if self.target.positions and self.target.is_class:
            rows = replace(self, target=replace(self.target, positions=())).decoded(raw.reshape(-1, raw.shape[-1]))
            return rows.reshape(raw.shape[:-1])
        if self.target.is_class:
            return self.target.decode(decide(self.loss, raw, self.threshold))
        if self.target.task == "multilabel":
            return self.target.decode(raw > 0)  # a probability of more than 1/2
        return self._of_columns(self.target.decode(self.loss.point(raw)))

    def probabilities(self, raw: Array) -> Array | None:
        """(samples, classes) the probabilities, or of positions (samples, positions, classes); None
        if the loss has none.
        """
        found = self.loss.probabilities(raw.reshape(-1, raw.shape[-1]))
        return None if found is None else found.reshape(*raw.shape[:-1], found.shape[-1])

    def interval(self, raw: Array, share: float) -> Interval:
        """Between which values a target lies with this probability, and the point prediction."""
        lower, upper = self.quantiles(raw, ends(share)).swapaxes(0, 1)
        return Interval(lower, self.decoded(raw), upper)

    def interval_scores(self, raw: Array, samples: Samples, share: float) -> dict[str, float]:
        """Which share of the targets the intervals hold, and their mean width: of classes in order
        in ranks.
        """
        y = np.asarray(samples.y)
        lower, upper = self.quantiles(raw, ends(share)).swapaxes(0, 1)
        if self.target.task == "ordinal":
            targets = y if y.ndim == 1 else y.argmax(axis=1)
            lower, upper = self._classes_at(raw, ends(share)).swapaxes(0, 1)
        else:
            targets = self._of_columns(self.target.decode(y.reshape(len(raw), -1)))
        inside = (lower <= targets) & (targets <= upper)
        measured = {f"coverage_{share:g}": inside, f"interval_width_{share:g}": upper - lower}
        means = {name: values.reshape(len(raw), -1).mean(axis=1) for name, values in measured.items()}
        return {name: float(np.average(values, weights=samples.weight)) for name, values in means.items()}

    def quantiles(self, raw: Array, levels: Sequence[float]) -> Array:
        """(samples, levels) quantiles; (samples, levels, columns) for several quantities. For
        classes in order the first class up to which the probability is at least the level.
        """
        name, task = self.target.name, self.target.task
        have = task in ("regression", "ordinal")
        require(have, f"{name} is no quantity and has no quantiles; see its probabilities")
        known = isinstance(levels, Sequence | np.ndarray) and all(is_number(q, above=0, below=1) for q in levels)
        require(known, f"the levels are {brief(levels)}; pass numbers between 0 and 1, such as [0.05, 0.95]")
        if task == "ordinal":
            return self.target.decode(self._classes_at(raw, levels))
        return self._of_columns(self.loss.quantiles(raw, levels) * self.target.deviation + self.target.mean)

    def _classes_at(self, raw: Array, levels: Sequence[float]) -> Array:
        """(samples, levels) the class up to which the probabilities add up to a level."""
        probabilities = self.loss.probabilities(raw)
        if probabilities is None:
            raise SettingError(f"the loss {type(self.loss).__name__} predicts no probabilities; train with 'ordinal'")
        up_to = np.cumsum(probabilities, axis=1, dtype=np.float64)[:, :-1]
        return (up_to[:, None] < np.reshape(levels, (1, -1, 1))).sum(axis=-1)

    def deviations(self, raw: Array) -> Array:
        """(samples,) standard deviations; (samples, columns) for several quantities."""
        deviation = self.loss.deviation(raw)
        if deviation is None:
            raise SettingError(f"the loss {type(self.loss).__name__} predicts no deviation; train with 'gaussian'")
        return self._of_columns(deviation * np.array(self.target.deviation))

    def _of_columns(self, values: Array) -> Array:
        """These values without the last axis, the target's columns, if there is one column."""
        return values[..., 0] if self.target.width == 1 else values
