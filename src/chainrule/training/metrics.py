"""Metrics of predictions, from scikit-learn, in the target's own units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from reprlib import repr as brief
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.errors import require, unknown
from chainrule.losses import Loss

CLASSIFICATION = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss")
REGRESSION = ("r2", "mae", "rmse")


def names(task: str) -> tuple[str, ...]:
    """The metrics for a task, the default one first."""
    return CLASSIFICATION if task == "classification" else REGRESSION


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
    classes = y if y.ndim == 1 else loss.classes(y)
    guesses = loss.classes(prediction)
    probabilities = loss.probabilities(prediction)
    return {name: _classification(name, target.width, classes, guesses, probabilities, weight) for name in chosen}


def _regression(name: str, truth: Array, guess: Array, weight: Array | None) -> float:
    from sklearn import metrics

    if not np.isfinite(guess).all() or (name == "r2" and len(truth) < 2):
        return math.nan
    scores: dict[str, Callable[..., Any]] = {
        "r2": metrics.r2_score, "mae": metrics.mean_absolute_error, "rmse": metrics.root_mean_squared_error,
    }  # fmt: skip
    return float(scores[name](truth, guess, sample_weight=weight))


def _classification(
    name: str, width: int, classes: Array, guesses: Array, probabilities: Array | None, weight: Array | None
) -> float:
    from sklearn import metrics

    every = np.arange(width)
    if name == "accuracy":
        return float(metrics.accuracy_score(classes, guesses, sample_weight=weight))
    if name in ("f1", "balanced_accuracy"):
        # Balanced accuracy is the mean recall over the classes that occur; scikit-learn's own
        # function for it warns of predicted classes that do not.
        score, labels = (metrics.f1_score, every) if name == "f1" else (metrics.recall_score, np.unique(classes))
        settings: dict[str, Any] = {"labels": labels, "average": "macro", "zero_division": 0.0}
        return float(score(classes, guesses, sample_weight=weight, **settings))
    if probabilities is None or not np.isfinite(probabilities).all():
        return math.nan
    probabilities = probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if name == "log_loss":
        return float(metrics.log_loss(classes, probabilities, labels=every, sample_weight=weight))
    if len(np.unique(classes)) < width:
        return math.nan
    scores = probabilities[:, 1] if width == 2 else probabilities
    return float(metrics.roc_auc_score(classes, scores, multi_class="ovr", labels=every, sample_weight=weight))


def default(task: str, loss: Loss) -> tuple[str, ...]:
    """The metric shown during training; raises SettingError if the loss is for another task."""
    tasks = " and ".join(loss.tasks)
    require(task in loss.tasks, f"the loss {type(loss).__name__} is for {tasks}, but the target asks for {task}")
    return names(task)[:1]
