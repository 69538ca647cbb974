"""Metrics of predictions in the target's own units, as scikit-learn defines them.

They are computed here because importing scikit-learn would take longer than most trainings of a
small network, and its checks longer than a measurement, of which there is one after each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from reprlib import repr as brief

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.errors import require, unknown
from chainrule.losses import Loss
from chainrule.training.ranks import RANKED

CLASSIFICATION = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss")
ORDINAL = ("accuracy", "rank_mae", "quadratic_kappa", "balanced_accuracy", "log_loss")
REGRESSION = ("r2", "mae", "rmse")
MULTILABEL = ("accuracy", "f1", "roc_auc", "hamming_loss")
NAMES = {"classification": CLASSIFICATION, "ordinal": ORDINAL, "regression": REGRESSION, "multilabel": MULTILABEL}


def names(task: str) -> tuple[str, ...]:
    """The metrics for a task, the default one first."""
    return NAMES[task]


def check(chosen: str | Sequence[str], task: str) -> tuple[str, ...]:
    """These metrics, or this one; raises SettingError for one that the task does not have."""
    chosen = (chosen,) if isinstance(chosen, str) else chosen
    message = f"the metrics are {brief(chosen)}; pass their names, such as {list(names(task)[:2])}"
    require(isinstance(chosen, Iterable), message)
    chosen = tuple(chosen)
    for name in chosen:
        if name not in names(task):
            raise unknown(f"metric for {task}", name, names(task))
    require(len(set(chosen)) == len(chosen), f"the metrics are {brief(chosen)}; name each once")
    return chosen


def measure(
    chosen: Sequence[str], target: Target, loss: Loss, prediction: Array, y: Array, weight: Array | None = None
) -> dict[str, float]:
    """The value of each of these metrics.

    NaN where a metric is undefined, such as ROC AUC where only one class occurs.

    Args:
        chosen: the names of the metrics
        target: what the numbers in y mean
        loss: turns the network's outputs into classes, probabilities or values
        prediction: (samples, outputs) the network's outputs
        y: (samples, ...) the targets, as the loss takes them
        weight: (samples,) how much each sample counts; by default all count the same
    """
    if target.task == "regression":
        truth = target.decode(np.asarray(y).reshape(len(y), -1))
        guess = target.decode(loss.point(prediction).reshape(len(y), -1))
        return {name: _regression(name, truth, guess, weight) for name in chosen}
    if target.task == "multilabel":
        guess, scores = prediction > 0, loss.probabilities(prediction)
        return {name: _multilabel(name, np.asarray(y) > 0.5, guess, scores, weight) for name in chosen}
    classes = y if y.ndim == 1 else loss.classes(y)
    guesses = loss.classes(prediction)
    probabilities = loss.probabilities(prediction)
    return {name: _classification(name, target.width, classes, guesses, probabilities, weight) for name in chosen}


def _regression(name: str, truth: Array, guess: Array, weight: Array | None) -> float:
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


def _classification(
    name: str, width: int, classes: Array, guesses: Array, probabilities: Array | None, weight: Array | None
) -> float:
    weight = np.ones(len(classes)) if weight is None else weight
    if name in RANKED:
        return RANKED[name](classes, guesses, weight)
    if name == "accuracy":
        return float(np.average(classes == guesses, weights=weight))
    if name in ("f1", "balanced_accuracy"):
        occurring, predicted, right = (
            np.bincount(indices, weight * counts, minlength=width)
            for indices, counts in ((classes, 1.0), (guesses, 1.0), (classes, classes == guesses))
        )
        if name == "f1":  # the mean over all classes; 0 for one that neither occurs nor is predicted
            return float(np.mean(2 * right / np.maximum(occurring + predicted, np.finfo(float).tiny)))
        occurs = occurring > 0
        return float(np.mean(right[occurs] / occurring[occurs]))
    if probabilities is None or not np.isfinite(probabilities).all():
        return math.nan
    probabilities = probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if name == "log_loss":
        of_truth = probabilities[np.arange(len(classes)), classes]
        return float(-np.average(np.log(np.maximum(of_truth, np.finfo(float).eps)), weights=weight))
    scored = [1] if width == 2 else range(width)
    return float(np.mean([_area(classes == k, probabilities[:, k], weight) for k in scored]))


def _multilabel(name: str, truth: Array, guess: Array, scores: Array | None, weight: Array | None) -> float:
    """The accuracy counts samples of which every label is right; F1 and ROC AUC are means over the
    labels; the Hamming loss is the share of single labels that are wrong.
    """
    if name == "accuracy":
        return float(np.average((truth == guess).all(axis=1), weights=weight))
    if name == "hamming_loss":
        return float(np.average((truth != guess).mean(axis=1), weights=weight))
    weight = np.ones(len(truth)) if weight is None else weight
    if name == "f1":
        both, either = weight @ (truth & guess), weight @ (truth.astype(float) + guess)
        return float(np.mean(2 * both / np.maximum(either, np.finfo(float).tiny)))
    if scores is None or not np.isfinite(scores).all():
        return math.nan
    return float(np.mean([_area(truth[:, k], scores[:, k], weight) for k in range(truth.shape[1])]))


def _area(is_positive: Array, scores: Array, weight: Array) -> float:
    """The area under the ROC curve: the probability that a positive sample has a higher score than
    a negative one, a tie counting half (Hanley and McNeil, 1982); NaN if there are not both.
    """
    _, rank = np.unique(scores, return_inverse=True)
    positive, negative = (np.bincount(rank, weight * chosen) for chosen in (is_positive, ~is_positive))
    pairs = positive.sum() * negative.sum()
    lower = np.cumsum(negative) - negative / 2
    return float((positive * lower).sum() / pairs) if pairs else math.nan


def default(task: str, loss: Loss) -> tuple[str, ...]:
    """The metric shown during training; raises SettingError if the loss is for another task."""
    tasks = " and ".join(loss.tasks)
    require(task in loss.tasks, f"the loss {type(loss).__name__} is for {tasks}, but the target asks for {task}")
    return names(task)[:1]
