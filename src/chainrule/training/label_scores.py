"""The definitions of the metrics of several labels, of which a sample may have any number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chainrule.arrays import Array
from chainrule.training.scores import Areas, Reliability, areas, ratio, reliability


@dataclass(frozen=True)
class Labelled:
    """Labels that were predicted, beside the true ones.

    Attributes:
        truth, guess: (samples, labels) whether each applies, and whether it was predicted
        probabilities: (samples, labels); None if there are none, or not all are finite
        weight: (samples,) how much each sample counts
    """

    truth: Array
    guess: Array
    probabilities: Array | None
    weight: Array

    @cached_property
    def confusion(self) -> Array:
        """(labels, 2, 2) for each label the weight of the samples to which it does not apply and
        applies (rows), and for which it was not predicted and was (columns).
        """
        cells = [[self.weight @ (truth & guess) for guess in (~self.guess, self.guess)]
                 for truth in (~self.truth, self.truth)]  # fmt: skip
        return np.moveaxis(np.array(cells, dtype=float), 2, 0)

    def per_label(self, name: str) -> Array:
        """(labels,) precision, recall, F1 or the Jaccard index of each label; 0 for 0 / 0."""
        c = self.confusion
        return ratio(name, c[:, 1, 1], c[:, 1].sum(axis=1), c[:, :, 1].sum(axis=1))

    def averaged(self, name: str, average: str) -> float:
        """Such a metric of all labels, or of all samples.

        Args:
            name: precision, recall, f1 or jaccard
            average: "macro" (the mean over labels), "weighted" (by the samples of each label),
                "micro" (of all decisions about labels, counted together) or "samples" (the mean
                over samples of the metric of each sample's labels)
        """
        c = self.confusion
        if average == "micro":
            every = c.sum(axis=0)
            return float(ratio(name, every[1, 1], every[1].sum(), every[:, 1].sum()))
        if average == "samples":
            counts = ((self.truth & self.guess).sum(axis=1), self.truth.sum(axis=1), self.guess.sum(axis=1))
            return float(np.average(ratio(name, *counts), weights=self.weight))
        support = c[:, 1].sum(axis=1)
        is_weighted = average == "weighted" and support.any()
        return float(np.average(self.per_label(name), weights=support if is_weighted else None))

    def accuracy(self) -> float:
        """The share of the samples of which every label is right."""
        return float(np.average((self.truth == self.guess).all(axis=1), weights=self.weight))

    def hamming_loss(self) -> float:
        """The share of single labels that are wrong."""
        return float(np.average((self.truth != self.guess).mean(axis=1), weights=self.weight))

    @cached_property
    def areas(self) -> list[Areas]:
        """For each label, how its probability ranks the samples to which it applies."""
        if self.probabilities is None:
            return [Areas(math.nan, math.nan)] * self.truth.shape[1]
        return [areas(t, p, self.weight) for t, p in zip(self.truth.T, self.probabilities.T, strict=True)]

    def roc_auc(self) -> float:
        """The mean over the labels of the area under the ROC curve."""
        return float(np.mean([of_label.roc for of_label in self.areas]))

    def average_precision(self) -> float:
        """The mean over the labels of the average precision."""
        return float(np.mean([of_label.precision for of_label in self.areas]))

    def reliability(self) -> Reliability | None:
        """The probabilities of all labels, together, and how often each label applies. None without
        probabilities.
        """
        if self.probabilities is None:
            return None
        weight = np.repeat(self.weight, self.truth.shape[1])
        return reliability(self.probabilities.ravel(), self.truth.ravel(), weight)

    def calibration_error(self) -> float:
        """The expected calibration error; see `Reliability`."""
        found = self.reliability()
        return math.nan if found is None else found.error
