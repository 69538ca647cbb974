"""Samples on a disk are evaluated some at a time.

Of predictions that fit into memory all are kept, and measured as those of samples in memory. Of
more, the loss and what is a sum over the samples (accuracy and what follows from a confusion
matrix, the log loss, R2, mean absolute and root mean squared errors) are added up over all of them;
every other metric is measured on evenly spaced ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data import Target
from chainrule.engine import Predictor
from chainrule.losses import Loss
from chainrule.rows import Rows
from chainrule.threads import ahead
from chainrule.training import metrics as measures
from chainrule.training.catalog import METRICS, NEGATED, PER_CLASS
from chainrule.training.metrics import Chosen
from chainrule.training.scores import Classified

MOST_NUMBERS = 6_000_000
"""The numbers of predictions and targets that are kept."""
PART_NUMBERS = 2_000_000
"""The numbers of samples that are read at a time."""
MOST_CLASSES = 1000
"""With more classes there are too many cells of a confusion matrix."""

OF_ERRORS = ("mae", "rmse", "r2")


class Kept(NamedTuple):
    """Predictions that were kept.

    Attributes:
        prediction: (samples, outputs) what the network predicts
        y: (samples, ...) the targets
        weight: (samples,) the weights; None for equal ones
        step: of every how many samples one was kept
    """

    prediction: Array
    y: Array
    weight: Array | None
    step: int


def parts(samples: Rows, numbers: int = PART_NUMBERS) -> Iterator[tuple[int, Samples]]:
    """All samples, some consecutive rows at a time with the first row's number, the next in a
    thread.
    """
    count, size = len(samples.x), max(1, numbers // max(1, math.prod(samples.shape[1:])))
    return ahead(lambda k: (k, samples.read(k, min(k + size, count))), range(0, count, size))


def kept_step(samples: Rows, outputs: int) -> int:
    """Of every how many samples the prediction of so many outputs is kept."""
    return -(-len(samples.x) * (outputs + math.prod(samples.y.shape[1:])) // MOST_NUMBERS)


def predict_in_parts(
    samples: Rows, predict: Predictor, outputs: int, loss: Loss, sums: Sums | None = None
) -> tuple[Kept, float]:
    """The predictions, as many as are kept, and the loss of all samples.

    Args:
        samples: what to predict
        predict: predicts them
        outputs: how many outputs it has
        loss: the loss
        sums: what to add each part to
    """
    step, kept, total = max(1, kept_step(samples, outputs)), list[tuple[Array, Array, Array | None]](), 0.0
    for first, (x, y, weight) in parts(samples):
        prediction = predict(x)
        with np.errstate(over="ignore", invalid="ignore"):  # such a loss is infinite
            total += loss.value(prediction, y, weight) * len(y)
            if sums is not None:
                sums.add(prediction, y, weight)
        own = slice(-first % step, None, step)
        kept.append((prediction[own], y[own], None if weight is None else weight[own]))
    weights = [weight for _, _, weight in kept if weight is not None]
    found = Kept(
        np.concatenate([prediction for prediction, _, _ in kept]), np.concatenate([y for _, y, _ in kept]),
        np.concatenate(weights) if weights else None, step,
    )  # fmt: skip
    if step == 1:  # to the same bits as of samples in memory
        with np.errstate(over="ignore", invalid="ignore"):
            return found, loss.value(*found[:3])
    return found, total / len(samples.x)


@dataclass
class Sums:
    """What metrics are computed from that are sums over samples.

    Attributes:
        target: what is predicted
        loss: turns outputs into classes or values
        threshold: from which probability on the second of two classes is predicted
    """

    target: Target
    loss: Loss
    threshold: float | None = None
    _cells: Array | None = None
    _logs: float = 0.0
    _errors: list[Array] = field(default_factory=list)

    def add(self, prediction: Array, y: Array, weight: Array | None) -> None:
        """Take these samples into account."""
        if self.target.task == "regression" and not self.target.positions:
            self._add_errors(prediction, y, weight)
        elif self._counts_classes:
            width = self.target.width
            found = measures.classify(width, self.loss, prediction, y, weight, self.threshold)
            self._cells = found.confusion if self._cells is None else self._cells + found.confusion
            self._logs += found.log_loss() * float(found.weight.sum())

    @property
    def _counts_classes(self) -> bool:
        is_one = self.target.task in ("classification", "ordinal") and not self.target.positions
        return is_one and self.target.width <= MOST_CLASSES

    def _add_errors(self, prediction: Array, y: Array, weight: Array | None) -> None:
        """Of each quantity the weight, and the sums of absolute and squared errors, and of the
        target and its square, from the mean of the training set.
        """
        truth = self.target.decode(y.reshape(-1, self.target.width)).astype(np.float64)
        error = self.target.decode(self.loss.point(prediction).reshape(len(truth), -1)) - truth
        truth -= np.array(self.target.mean)
        each = np.ones(len(truth)) if weight is None else weight
        sums = [np.broadcast_to(each.sum(), truth.shape[1:])]
        sums += [each @ values for values in (abs(error), error**2, truth, truth**2)]
        self._errors = [np.add(a, b) for a, b in zip(self._errors, sums, strict=True)] if self._errors else sums

    def knows(self, metric: Chosen) -> bool:
        """Whether a metric can be computed from them."""
        if not isinstance(metric, str):
            return False
        name = NEGATED.get(metric, metric)
        if self._errors:
            return name in OF_ERRORS
        bare = name.rpartition("_")[0]
        is_counted = name in PER_CLASS or bare in PER_CLASS or (name in METRICS and not METRICS[name].of_probabilities)
        return self._cells is not None and (is_counted or name == "log_loss")

    def metric(self, metric: str) -> float:
        """Its value."""
        if metric in NEGATED:
            return -self.metric(NEGATED[metric])
        if self._errors:
            return self._of_errors(metric)
        assert self._cells is not None
        if metric == "log_loss":
            return self._logs / float(self._cells.sum())
        truth, guess = (places.ravel() for places in np.indices(self._cells.shape))
        counted = Classified(self.target.width, truth, guess, None, self._cells.ravel())
        return measures.of_classes(metric, self.target, counted, weighted=True)

    def _of_errors(self, metric: str) -> float:
        weight, absolute, squared, sums, squares = self._errors
        if not np.isfinite(squared).all():
            return math.nan
        if metric == "mae":
            return float((absolute / weight).mean())
        if metric == "rmse":
            return float(np.sqrt(squared / weight).mean())
        variance = squares / weight - (sums / weight) ** 2
        unexplained = np.where(variance > 0, squared / weight / np.where(variance > 0, variance, 1.0), squared > 0)
        return float(np.mean(1 - unexplained))


def measure_in_parts(
    chosen: Sequence[Chosen], target: Target, loss: Loss, samples: Rows, predict: Predictor, outputs: int,
    threshold: float | None = None,
) -> tuple[Kept, dict[str, float]]:  # fmt: skip
    """The predictions that are kept, and the loss and the metrics of the samples; the arguments are
    those of `metrics.measure`.
    """
    sums = Sums(target, loss, threshold) if kept_step(samples, outputs) > 1 else None
    kept, value = predict_in_parts(samples, predict, outputs, loss, sums)
    summed = [metric for metric in chosen if sums is not None and sums.knows(metric)]
    others = [metric for metric in chosen if metric not in summed]
    found = measures.measure(others, target, loss, kept.prediction, kept.y, kept.weight, threshold)
    if sums is not None:
        found |= {measures.name_of(metric): sums.metric(measures.name_of(metric)) for metric in summed}
    in_order = {measures.name_of(metric): found[measures.name_of(metric)] for metric in chosen if
                measures.name_of(metric) in found}  # fmt: skip
    return kept, {"loss": value if math.isfinite(value) else math.inf} | in_order


def sampled(chosen: Sequence[Chosen], target: Target, loss: Loss, samples: Rows | None, outputs: int) -> str:
    """A note on the metrics that are measured on a part of these samples; empty if there are
    none.
    """
    step = 1 if samples is None or not samples.on_disk else kept_step(samples, outputs)
    if samples is None or step <= 1:
        return ""
    sums = Sums(target, loss)
    sums.add(np.zeros((2, outputs), np.float32), np.asarray(samples.y[:2]), None)
    names = [measures.name_of(metric) for metric in chosen if not sums.knows(metric)]
    rows = -(-len(samples.x) // step)
    some = f"measured on {rows:,} of the {len(samples.x):,} validation rows, evenly spaced"
    return f"{', '.join(names)}: {some}" if names else ""
