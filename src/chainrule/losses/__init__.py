"""Loss functions, their derivatives with respect to the prediction, and weight penalties."""

from __future__ import annotations

from collections.abc import Callable

from chainrule import notation
from chainrule.kinds import named
from chainrule.losses.base import Loss, soft_targets
from chainrule.losses.classification import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Focal,
    Hinge,
    KullbackLeibler,
    SquaredHinge,
)
from chainrule.losses.distributional import GaussianNegativeLogLikelihood, Quantile, Quantiles
from chainrule.losses.ordinal import Ordinal
from chainrule.losses.penalties import Penalty, elastic, l1, l2
from chainrule.losses.regression import (
    Cosine,
    HalfSquares,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
)

NAMED: dict[str, Callable[..., Loss]] = named(Loss)
"""The losses by name."""


def loss(what: str | Loss) -> Loss:
    """Return a loss as it is, or make one from a text: "huber 0.5", "quantile level=0.9" or
    "quantiles 0.05 0.5 0.95".
    """
    if isinstance(what, Loss):
        return what
    return notation.make("loss", notation.parse("loss", what), NAMED)


def penalty(what: str | Penalty) -> Penalty:
    """Return a penalty as it is, or make one from a text: "l1 0.001" or "elastic 0.001 0.001"."""
    if isinstance(what, Penalty):
        return what
    makers: dict[str, Callable[..., Penalty]] = {"l1": l1, "l2": l2, "elastic": elastic}
    return notation.make("penalty", notation.parse("penalty", what), makers)


__all__ = [
    "NAMED", "BinaryCrossEntropy", "CategoricalCrossEntropy", "Cosine", "Focal", "GaussianNegativeLogLikelihood",
    "HalfSquares", "Hinge", "Huber", "KullbackLeibler", "LogCosh", "Loss", "MeanAbsoluteError", "MeanSquaredError",
    "Ordinal", "Penalty", "Poisson", "Quantile", "Quantiles", "SquaredHinge", "elastic", "l1", "l2", "loss", "penalty",
    "soft_targets",
]  # fmt: skip
