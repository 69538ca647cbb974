"""Metrics in words, for tables and lines of progress."""

from __future__ import annotations

import math

WORDS = {"f1": "F1", "roc": "ROC", "auc": "AUC", "r2": "R2"}
NAMES = {"mae": "mean absolute error", "rmse": "root mean squared error"}
PERCENTAGES = ("accuracy", "balanced_accuracy")


def label(metric: str) -> str:
    """A metric's name in words."""
    return NAMES.get(metric, " ".join(WORDS.get(word, word) for word in metric.split("_")))


def number(metric: str, value: float) -> str:
    """A metric's value: accuracies in percent, NaN as a dash."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:.1f} %" if metric in PERCENTAGES else f"{value:.4g}"
