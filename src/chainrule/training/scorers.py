"""scikit-learn's scorers, applied to predictions that are already made.

Only what asks for a scorer that chainrule does not define imports this module, and scikit-learn.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from chainrule.arrays import Array
from chainrule.data import Target


class _Predicted(BaseEstimator):  # type: ignore[misc]
    """An estimator whose predictions are given, whatever the samples."""

    def __init__(self, prediction: Array) -> None:
        self.prediction = prediction
        self.is_fitted_ = True

    def predict(self, _: Any) -> Array:
        return self.prediction


class _Quantities(RegressorMixin, _Predicted):  # type: ignore[misc]
    """One that predicts quantities."""


class _Classes(ClassifierMixin, _Predicted):  # type: ignore[misc]
    """One that predicts classes."""

    def __init__(self, prediction: Array, classes: Any) -> None:
        super().__init__(prediction)
        self.classes_ = classes


class _Probabilities(_Classes):
    """One that predicts the probabilities of classes as well."""

    def __init__(self, prediction: Array, classes: Any, probabilities: Array) -> None:
        super().__init__(prediction, classes)
        self.probabilities = probabilities

    def predict_proba(self, _: Any) -> Array:
        return self.probabilities


def names() -> list[str]:
    """The names of all scorers."""
    return list(get_scorer_names())


def of_classes(
    scorer: Any, classes: Array, truth: Array, guess: Array, probabilities: Array | None, weight: Array | None
) -> float:
    """A scorer's value for a classifier that made these predictions; NaN where it is undefined.

    Args:
        scorer: its name, or what `make_scorer` returned
        classes: (classes,) the labels
        truth, guess: (samples,) the true and predicted labels
        probabilities: (samples, classes); None if there are none
        weight: (samples,) sample weights
    """
    estimator = _Classes(guess, classes) if probabilities is None else _Probabilities(guess, classes, probabilities)
    return _value(scorer, estimator, truth, weight)


def of_labels(scorer: Any, truth: Array, guess: Array, probabilities: Array | None, weight: Array | None) -> float:
    """The same for (samples, labels) labels, 0 or 1, and their probabilities."""
    return _value(scorer, _labels(guess, probabilities), truth, weight)


def _labels(guess: Array, probabilities: Array | None) -> _Classes:
    """A classifier of several labels, each of which has two classes."""
    classes = [np.arange(2)] * guess.shape[1]
    return _Classes(guess, classes) if probabilities is None else _Probabilities(guess, classes, probabilities)


def of_quantities(scorer: Any, truth: Array, guess: Array, weight: Array | None) -> float:
    """The same for a regressor and (samples,) or (samples, outputs) quantities."""
    return _value(scorer, _Quantities(guess), truth, weight)


def _value(scorer: Any, estimator: Any, truth: Array, weight: Array | None) -> float:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = float(_score(scorer, estimator, truth, weight))
    except (ValueError, ArithmeticError, AttributeError):  # such as one class where there must be two
        return math.nan
    return value if math.isfinite(value) else math.nan


def _score(scorer: Any, estimator: Any, truth: Array, weight: Array | None) -> Any:
    scorer, samples = get_scorer(scorer), np.zeros((len(truth), 1))
    if weight is None:
        return scorer(estimator, samples, truth)
    try:
        return scorer(estimator, samples, truth, sample_weight=weight)
    except TypeError:  # some, such as the maximum error, are defined without weights
        return scorer(estimator, samples, truth)


def misfit(name: str, target: Target) -> str | None:
    """Why a scorer is not for this target, found by trying it; None if it is."""
    is_for_quantities = _failure(name, _Quantities(np.array([1.5, 2.5, 4.0])), np.array([1.25, 3.0, 3.5])) is None
    if target.task == "regression":
        several = np.linspace(1, 2, 3 * target.width).reshape(3, target.width)
        truth = several[:, 0] if target.width == 1 else several
        if not is_for_quantities:
            return "it is for classification"
        return _refused(_failure(name, _Quantities(truth[::-1] + 0.125), truth), f"{target.width} quantities")
    if is_for_quantities:
        return "it is for regression"
    if target.task == "multilabel":
        # Probabilities that don't sum to 1, as those of labels, are refused by a warning.
        truth = np.eye(target.width, dtype=int)
        return _refused(_failure(name, _labels(truth, 0.4 + truth / 2), truth), f"{target.width} labels")
    truth = np.repeat(np.arange(target.width), 2)
    shares = (np.eye(target.width)[truth] + 1) / (target.width + 1)
    predicted = _Probabilities(np.roll(truth, 1), np.arange(target.width), shares)
    return _refused(_failure(name, predicted, truth, ()), f"{target.width} classes")


def _refused(failure: str | None, what: str) -> str | None:
    return None if failure is None else f"scikit-learn refuses {what}: {failure}"


def needs_probabilities(name: str) -> bool:
    """Whether a scorer judges the probabilities of classes, instead of the classes."""
    return _failure(name, _Classes(np.array([0, 1, 1]), np.arange(2)), np.array([0, 0, 1]), ()) is not None


def _failure(
    name: str, estimator: Any, truth: Array, refused: tuple[type[Warning], ...] = (UserWarning,)
) -> str | None:
    """What a scorer objects to, in one line; None if nothing. A warning of these kinds counts: what
    compares clusterings only warns of quantities.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for category in refused:
                warnings.simplefilter("error", category)
            _score(name, estimator, truth, None)
    except (ValueError, ArithmeticError, AttributeError, UserWarning) as error:
        return " ".join(str(error).split())
    return None
