"""How good predictions are, by scikit-learn's measures, in the target's own units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.errors import SettingError, unknown
from chainrule.losses import Loss

CLASSIFICATION = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss")
REGRESSION = ("r2", "mae", "rmse")
BEST_IS_LOW = ("log_loss", "mae", "rmse")


def names(task: str) -> tuple[str, ...]:
    """The metrics for a task, the usual one first."""
    return CLASSIFICATION if task == "classification" else REGRESSION


def check(chosen: Sequence[str], task: str) -> tuple[str, ...]:
    """The chosen metrics; raises SettingError for one that doesn't exist for the task."""
    for name in chosen:
        if name not in names(task):
            raise unknown(f"metric for {task}", name, names(task))
    return tuple(chosen)


def measure(chosen: Sequence[str], target: Target, loss: Loss, prediction: Array, y: Array) -> dict[str, float]:
    """Each chosen metric of these predictions: (samples, outputs) beside y, as the network gives and the loss takes
    them.

    NaN where a metric has no meaning, such as ROC AUC where only one class is there.
    """
    if target.task == "regression":
        truth = target.decode(np.asarray(y).reshape(len(y), -1))
        guess = target.decode(loss.point(prediction).reshape(len(y), -1))
        return {name: _regression(name, truth, guess) for name in chosen}
    classes = y if y.ndim == 1 else loss.classes(y)
    guesses = loss.classes(prediction)
    return {name: _classification(name, target.width, classes, guesses, loss, prediction) for name in chosen}


def _regression(name: str, truth: Array, guess: Array) -> float:
    from sklearn import metrics

    if not np.isfinite(guess).all():
        return math.nan
    if name == "r2":
        return float(metrics.r2_score(truth, guess)) if len(truth) > 1 else math.nan
    of: dict[str, Callable[..., Any]] = {"mae": metrics.mean_absolute_error, "rmse": metrics.root_mean_squared_error}
    return float(of[name](truth, guess))


def _classification(name: str, width: int, classes: Array, guesses: Array, loss: Loss, prediction: Array) -> float:
    from sklearn import metrics

    if name == "accuracy":
        return float(metrics.accuracy_score(classes, guesses))
    if name == "balanced_accuracy":
        # The mean over the classes that are there; scikit-learn's own function warns of guesses that are not among
        # them.
        return float(
            metrics.recall_score(classes, guesses, labels=np.unique(classes), average="macro", zero_division=0.0)
        )
    if name == "f1":
        return float(metrics.f1_score(classes, guesses, labels=np.arange(width), average="macro", zero_division=0.0))
    shares = loss.probabilities(prediction)
    if shares is None or not np.isfinite(shares).all():
        return math.nan
    shares = shares.astype(np.float64) / shares.sum(axis=1, keepdims=True, dtype=np.float64)
    if name == "log_loss":
        return float(metrics.log_loss(classes, shares, labels=np.arange(width)))
    if len(np.unique(classes)) < width:
        return math.nan
    if width == 2:
        return float(metrics.roc_auc_score(classes, shares[:, 1]))
    return float(metrics.roc_auc_score(classes, shares, multi_class="ovr", labels=np.arange(width)))


def usual(task: str, loss: Loss) -> tuple[str, ...]:
    """The metric that is shown while training."""
    if task not in loss.tasks:
        raise SettingError(
            f"the loss {type(loss).__name__} is for {' and '.join(loss.tasks)}, but the target asks for {task}"
        )
    return names(task)[:1]
