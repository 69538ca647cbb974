"""The decision between two classes: from which probability on the second one is predicted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.errors import require
from chainrule.losses import Loss

MOST_CANDIDATES = 1000
"""The most thresholds that are tried."""


def decide(loss: Loss, prediction: Array, threshold: float | None = None) -> Array:
    """(samples,) the predicted classes: with a threshold the second of two classes from this
    probability on, else the most probable class.
    """
    if threshold is None:
        return loss.classes(prediction)
    probabilities = loss.probabilities(prediction)
    assert probabilities is not None
    return (probabilities[:, 1].astype(np.float64) >= threshold).astype(np.intp)


class Decision(NamedTuple):
    """Which class is predicted for a sample, by a threshold.

    Attributes:
        label: the class
        words: from what it follows, in a sentence
    """

    label: Any
    words: str


def decision(loss: Loss, target: Target, prediction: Array, threshold: float) -> Decision:
    """The decision about one sample, of which the prediction (1, outputs) is."""
    probabilities = loss.probabilities(prediction)
    assert probabilities is not None
    label = target.classes[int(decide(loss, prediction, threshold)[0])]
    second, p, first = target.classes[1], float(probabilities[0, 1]), target.classes[0]
    side = "at least" if label == second else "less than"
    rule = f"{side} the threshold {threshold:.4g}, from which on {second} is predicted instead of {first}"
    return Decision(label, f"{label} is predicted: {second} has the probability {p:.4g}, {rule}")


def require_two_classes(target: Target, loss: Loss) -> None:
    """Raise SettingError unless a threshold can decide between the classes."""
    rule = "a threshold decides between two classes by their probabilities"
    others = {
        "classification": f"{target.width} classes", "ordinal": f"{target.width} classes in order",
        "multilabel": f"labels ({target.name})",
    }  # fmt: skip
    number = others.get(target.task, f"quantities ({target.name})")
    require(target.task == "classification" and target.width == 2, f"{rule}; there are {number}")
    has_probabilities = loss.probabilities(np.zeros((1, loss.outputs(2)))) is not None
    require(has_probabilities, f"{rule}; the loss {type(loss).__name__} has none")


def choose(score: Callable[[float], float], probabilities: Array) -> float:
    """The threshold with the highest score, among those halfway between two probabilities that
    follow each other; of equally good ones the nearest to 0.5, and 0.5 if every score is NaN.

    Args:
        score: the score of a threshold; the higher the better
        probabilities: (samples,) of the second class
    """
    each = np.unique(probabilities[np.isfinite(probabilities)].astype(np.float64))
    between = (each[:-1] + each[1:]) / 2
    if len(between) > MOST_CANDIDATES:
        between = between[np.linspace(0, len(between) - 1, MOST_CANDIDATES).round().astype(np.intp)]
    candidates = sorted([0.5, *between.tolist()], key=lambda candidate: abs(candidate - 0.5))
    values = np.array([score(candidate) for candidate in candidates])
    return candidates[int(np.nanargmax(values))] if np.isfinite(values).any() else 0.5
