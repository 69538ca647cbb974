"""The definitions of chainrule's own metrics, in NumPy.

They are written here because importing scikit-learn would take longer than most trainings of a
small network, and its checks longer than a measurement, of which there is one after each epoch.
Tests compare them with scikit-learn's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array

BINS = 10
"""The number of bins, of equal width from 0 to 1, of a reliability diagram."""


class Reliability(NamedTuple):
    """Predicted probabilities compared with how often they came true, in bins of equal width.

    Attributes:
        weight: (bins,) the samples in each bin, or the sum of their weights
        confidence: (bins,) the mean probability that was predicted for them; NaN without samples
        frequency: (bins,) the share of them for which it came true; NaN without samples
    """

    weight: Array
    confidence: Array
    frequency: Array

    @property
    def error(self) -> float:
        """The expected calibration error: the mean difference between confidence and frequency
        over the bins, each weighted by its samples (Naeini et al., 2015).
        """
        filled = self.weight > 0
        if not filled.any():
            return math.nan
        gaps = np.abs(self.confidence - self.frequency)[filled]
        return float(np.average(gaps, weights=self.weight[filled]))


class Areas(NamedTuple):
    """How well scores rank positive samples above negative ones.

    Attributes:
        roc: the area under the ROC curve: the probability that a positive sample has a higher score
            than a negative one, a tie counting half (Hanley and McNeil, 1982); NaN if there are not
            both
        precision: the average precision, which is the area under the steps of the precision-recall
            curve: the mean precision at the scores of the positive samples; NaN if there are none
    """

    roc: float
    precision: float


@dataclass(frozen=True)
class Classified:
    """Classes that were predicted, beside the true ones.

    Attributes:
        width: the number of classes
        truth, guess: (samples,) the true and the predicted classes, as numbers from 0
        probabilities: (samples, classes); None if there are none, or not all are finite
        weight: (samples,) how much each sample counts
    """

    width: int
    truth: Array
    guess: Array
    probabilities: Array | None
    weight: Array
    _areas: dict[int, Areas] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def confusion(self) -> Array:
        """(classes, classes) the weight of the samples of each class (rows) that were predicted as
        each class (columns).
        """
        cells = np.bincount(self.truth * self.width + self.guess, self.weight, minlength=self.width**2)
        return cells.reshape(self.width, self.width)

    def per_class(self, name: str) -> Array:
        """(classes,) precision, recall, F1 or the Jaccard index of each class; 0 for 0 / 0."""
        return ratio(name, np.diagonal(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0))

    def averaged(self, name: str, average: str) -> float:
        """Such a metric of all classes. Those that neither occur nor are predicted don't count.

        Args:
            name: one of `per_class`
            average: "binary" (of the second class), "macro" (the mean over classes), "weighted"
                (by the samples of each class) or "micro" (of all decisions about classes, counted
                together)
        """
        scores = self.per_class(name)
        if average == "binary":
            return float(scores[1])
        occurring, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        if average == "micro":
            right, total = np.trace(self.confusion), occurring.sum()
            return float(right / (2 * total - right if name == "jaccard" else total))
        counted = (occurring + predicted > 0) * (occurring if average == "weighted" else 1.0)
        return float(np.average(scores, weights=counted)) if counted.any() else math.nan

    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that occur."""
        return float(np.mean(self.per_class("recall")[self.confusion.sum(axis=1) > 0]))

    def log_loss(self) -> float:
        """The mean negative logarithm of the true class's probability."""
        if self.probabilities is None:
            return math.nan
        of_truth = self.probabilities[np.arange(len(self.truth)), self.truth]
        return float(-np.average(np.log(np.maximum(of_truth, np.finfo(float).eps)), weights=self.weight))

    def areas(self, k: int) -> Areas:
        """How the probability of a class ranks its samples above the others."""
        if self.probabilities is None:
            return Areas(math.nan, math.nan)
        if k not in self._areas:
            self._areas[k] = areas(self.truth == k, self.probabilities[:, k], self.weight)
        return self._areas[k]

    def roc_auc(self) -> float:
        """The area under the ROC curve of the second of two classes, else the mean over all, each
        against the rest.
        """
        return self._mean_area(0)

    def average_precision(self) -> float:
        """The average precision of the second of two classes, else the mean over all."""
        return self._mean_area(1)

    def _mean_area(self, which: int) -> float:
        return float(np.mean([self.areas(k)[which] for k in ([1] if self.width == 2 else range(self.width))]))

    def reliability(self) -> Reliability | None:
        """Of the second of two classes, its probability and how often it is the true class; of
        more classes, the largest probability and how often that class is the true one (Guo et al.,
        2017). None without probabilities.
        """
        if self.probabilities is None:
            return None
        if self.width == 2:
            confidence, came_true = self.probabilities[:, 1], self.truth == 1
        else:
            confidence, came_true = self.probabilities.max(axis=1), self.truth == self.probabilities.argmax(axis=1)
        return reliability(confidence, came_true, self.weight)

    def calibration_error(self) -> float:
        """The expected calibration error; see `Reliability`."""
        reliability = self.reliability()
        return math.nan if reliability is None else reliability.error


def ratio(name: str, right: Array, occurring: Array, predicted: Array) -> Array:
    """Precision, recall, F1 or the Jaccard index, elementwise; 0 for 0 / 0.

    Args:
        name: one of `PER_CLASS`
        right: the weight of the samples that are of a class and are predicted as it
        occurring: that of the samples that are of it
        predicted: that of the samples that are predicted as it
    """
    above, below = {
        "precision": (right, predicted),
        "recall": (right, occurring),
        "f1": (2 * right, occurring + predicted),
        "jaccard": (right, occurring + predicted - right),
    }[name]
    return np.asarray(above / np.where(below > 0, below, 1.0))


def reliability(confidence: Array, came_true: Array, weight: Array) -> Reliability:
    """Predicted probabilities compared with whether they came true, each of shape (samples,)."""
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    total, predicted, observed = (
        np.bincount(bins, weight * each, minlength=BINS) for each in (1.0, confidence, came_true)
    )
    divisor = np.where(total > 0, total, np.nan)
    return Reliability(total, predicted / divisor, observed / divisor)


def areas(is_positive: Array, scores: Array, weight: Array) -> Areas:
    """The areas under both curves of these scores."""
    _, rank = np.unique(scores, return_inverse=True)
    positive, negative = (np.bincount(rank, weight * chosen) for chosen in (is_positive, ~is_positive))
    if not positive.sum():
        return Areas(math.nan, math.nan)
    pairs = positive.sum() * negative.sum()
    lower = np.cumsum(negative) - negative / 2
    roc = float((positive * lower).sum() / pairs) if pairs else math.nan
    found, both = (np.cumsum(counts[::-1])[::-1] for counts in (positive, positive + negative))
    precision = found / np.where(both > 0, both, 1.0)
    return Areas(roc, float((positive * precision).sum() / positive.sum()))


def regression(name: str, truth: Array, guess: Array, weight: Array | None) -> float:
    """R2, the mean absolute error ("mae") or the root mean squared error ("rmse") of (samples,
    outputs) quantities: the mean over the outputs. NaN where it is undefined.
    """
    if not np.isfinite(guess).all() or (name == "r2" and len(truth) < 2):
        return math.nan
    error = guess - truth
    if name == "mae":
        return float(np.average(abs(error), axis=0, weights=weight).mean())
    squared = np.average(error**2, axis=0, weights=weight)
    if name == "rmse":
        return float(np.sqrt(squared).mean())
    variance = np.average((truth - np.average(truth, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    # Of a constant output, a perfect prediction scores 1, any other 0.
    unexplained = np.where(variance > 0, squared / np.where(variance > 0, variance, 1.0), squared > 0)
    return float(np.mean(1 - unexplained))
