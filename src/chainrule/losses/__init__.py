"""Losses: one number for how wrong a prediction is, its derivative with respect to the prediction, and penalties on
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.errors import SettingError, unknown
from chainrule.losses.base import Loss
from chainrule.losses.classification import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Focal,
    Hinge,
    KullbackLeibler,
    SquaredHinge,
)
from chainrule.losses.penalties import Penalty, elastic, l1, l2
from chainrule.losses.regression import (
    Cosine,
    GaussianNegativeLogLikelihood,
    HalfSquares,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
)

NAMED: dict[str, Callable[..., Loss]] = {
    "mse": MeanSquaredError,
    "half_squares": HalfSquares,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "log_cosh": LogCosh,
    "quantile": Quantile,
    "poisson": Poisson,
    "gaussian": GaussianNegativeLogLikelihood,
    "cosine": Cosine,
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CategoricalCrossEntropy,
    "focal": Focal,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "kullback_leibler": KullbackLeibler,
}
"""Every loss there is, by its short name. A new one is added here."""

KINDS: tuple[Any, ...] = (*NAMED.values(), Penalty)


def loss(what: str | Loss) -> Loss:
    """The loss that is meant: one itself, or its name and its numbers in order, such as "huber 0.5" or "quantile
    0.9".
    """
    if isinstance(what, Loss):
        return what
    name, *numbers = what.split()
    key = name.lower().replace("-", "_")
    if key not in NAMED:
        raise unknown("loss", name, NAMED)
    try:
        return NAMED[key](*(float(number) for number in numbers))
    except (TypeError, ValueError):
        raise SettingError(f"loss {what!r}: {' '.join(numbers)} are no settings of {key}") from None


__all__ = [
    "KINDS", "NAMED", "BinaryCrossEntropy", "CategoricalCrossEntropy", "Cosine", "Focal",
    "GaussianNegativeLogLikelihood", "HalfSquares", "Hinge", "Huber", "KullbackLeibler", "LogCosh", "Loss",
    "MeanAbsoluteError", "MeanSquaredError", "Penalty", "Poisson", "Quantile", "SquaredHinge", "elastic", "l1", "l2",
    "loss",
]  # fmt: skip
