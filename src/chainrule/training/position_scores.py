"""Metrics of targets that have a class at each position, such as the next character of a text.

Of each position three numbers are kept, instead of a probability for each class, so that a long
text is scored in parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.data.tokens import lengths
from chainrule.losses import Loss
from chainrule.losses.base import rows_of
from chainrule.training.scores import Classified

BITS = "bits_per_character"
NAMES = ("accuracy", "log_loss", "neg_log_loss", BITS)
"""Those that are means over positions; others are measured on the classes alone."""


@dataclass(frozen=True)
class PositionScores:
    """What was predicted at some positions, of any samples.

    Attributes:
        truth, guess: (positions,) the true and the predicted classes
        log_probability: (positions,) the logarithm of the probability of the true class; NaN
            without probabilities
        weight: (positions,) how much each counts
    """

    truth: Array
    guess: Array
    log_probability: Array
    weight: Array

    def mean(self, values: Array) -> float:
        """The mean over the positions that count; NaN if none does."""
        total = self.weight.sum()
        return float((values * self.weight).sum() / total) if total else math.nan

    def classified(self, width: int) -> Classified:
        """The predicted classes, of so many, at the positions that count, without probabilities."""
        counts = self.weight > 0
        return Classified(width, self.truth[counts], self.guess[counts], None, self.weight[counts])

    def metric(self, name: str, target: Target) -> float:
        """The value of a metric of NAMES.

        The bits per character of a text are -log2 of the probabilities of its tokens, divided by
        the number of its characters: of one in N equally probable characters, log2(N).
        """
        if name == "accuracy":
            return self.mean(self.truth == self.guess)
        if name == BITS:
            characters = self.mean(lengths(target.tokens, target.classes)[self.truth])  # type: ignore[arg-type]
            return self.mean(-self.log_probability) / math.log(2) / characters if characters else math.nan
        return self.mean(self.log_probability) * (1 if name == "neg_log_loss" else -1)


def score_positions(loss: Loss, prediction: Array, y: Array, weight: Array | None = None) -> PositionScores:
    """The scores of predictions (samples, positions..., outputs) for classes y (samples,
    positions...), or their probabilities.

    Args:
        loss: turns outputs into classes and probabilities
        prediction: the network's outputs
        y: the targets
        weight: (samples,) or (samples, positions...) how much each counts; all the same by default
    """
    rows, targets = rows_of(prediction, y)
    truth = np.asarray(targets if targets.ndim == 1 else loss.classes(targets), dtype=np.intp)
    weights = np.ones(prediction.shape[:-1])
    if weight is not None:
        weights *= weight.reshape(weight.shape + (1,) * (weights.ndim - weight.ndim))
    probabilities = loss.probabilities(rows)
    log_probability = np.full(len(rows), math.nan)
    if probabilities is not None:
        of_truth = probabilities[np.arange(len(rows)), truth].astype(np.float64)
        log_probability = np.log(np.maximum(of_truth, np.finfo(float).eps))
    return PositionScores(truth, loss.classes(rows), log_probability, weights.ravel())


def joined(parts: Sequence[PositionScores]) -> PositionScores:
    """The scores of several parts of the samples."""
    return PositionScores(*(np.concatenate(each) for each in zip(*(vars(p).values() for p in parts), strict=True)))
