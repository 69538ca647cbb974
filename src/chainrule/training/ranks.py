"""Metrics of classes in order, which count how many ranks a prediction is off."""

from __future__ import annotations

import math

import numpy as np

from chainrule.arrays import Array


def rank_mae(classes: Array, guesses: Array, weight: Array) -> float:
    """The mean number of ranks between the true and the predicted class."""
    return float(np.average(np.abs(classes - guesses), weights=weight))


def quadratic_kappa(classes: Array, guesses: Array, weight: Array) -> float:
    """1 - the mean squared number of ranks off / what it would be if predictions and true classes
    were paired at random (Cohen, 1968): 1 is perfect, 0 no better than chance; NaN if all of both
    are one class.
    """
    observed = np.average((classes - guesses) ** 2, weights=weight)
    (mean, variance), (of_guesses, variance_of_guesses) = (_moments(x, weight) for x in (classes, guesses))
    by_chance = variance + variance_of_guesses + (mean - of_guesses) ** 2
    return float(1 - observed / by_chance) if by_chance > 0 else math.nan


def _moments(ranks: Array, weight: Array) -> tuple[float, float]:
    mean = np.average(ranks, weights=weight)
    return float(mean), float(np.average((ranks - mean) ** 2, weights=weight))


RANKED = {"rank_mae": rank_mae, "quadratic_kappa": quadratic_kappa}
