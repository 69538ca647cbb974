"""Lowering of losses to the native engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainrule import losses
from chainrule.arrays import Shape
from chainrule.engine.lowering.missing import NoKernel

LOSSES: dict[type[losses.Loss], tuple[str, tuple[str, ...]]] = {
    losses.CategoricalCrossEntropy: ("categorical", ("smoothing", "class_weights")),
    losses.BinaryCrossEntropy: ("binary", ("smoothing", "class_weights")),
    losses.Focal: ("focal", ("focus", "class_weights")),
    losses.Hinge: ("hinge", ()),
    losses.SquaredHinge: ("squared_hinge", ()),
    losses.KullbackLeibler: ("kullback_leibler", ()),
    losses.MeanSquaredError: ("squared", ()),
    losses.HalfSquares: ("half_squares", ()),
    losses.MeanAbsoluteError: ("absolute", ()),
    losses.Huber: ("huber", ("delta",)),
    losses.LogCosh: ("log_cosh", ()),
    losses.Quantile: ("quantile", ("level",)),
    losses.Poisson: ("poisson", ()),
    losses.GaussianNegativeLogLikelihood: ("gaussian", ("log_floor",)),
    losses.Cosine: ("cosine", ()),
    losses.Quantiles: ("quantiles", ("levels", "base")),
    losses.Ordinal: ("ordinal", ("class_weights",)),
}
"""The name in native/losses and engine/jax/losses.py, and the attributes that are its settings."""


def target_form(loss: losses.Loss, outputs: int, y_shape: Shape) -> tuple[bool, int]:
    """Whether a target of this shape (of one sample) is a class index, and how many numbers it has.

    Raises NoKernel if the target does not fit: the definition then reports what is wrong.
    """
    per_sample = math.prod(y_shape)
    if isinstance(loss, losses.Ordinal):
        if per_sample != 1:
            raise NoKernel("this target")
        return True, 1
    by_class = isinstance(loss, losses.CategoricalCrossEntropy | losses.Focal | losses.KullbackLeibler) or (
        isinstance(loss, losses.Hinge) and outputs > 1
    )
    if by_class and y_shape != (outputs,):
        if per_sample != 1 or (outputs == 1 and not isinstance(loss, losses.Focal)):
            raise NoKernel("this target")
        return True, 1
    if by_class and outputs == 1:
        return True, 1
    per_column = loss.outputs(1) if isinstance(loss, DISTRIBUTIONS) else 1
    if per_sample * per_column != outputs:
        raise NoKernel("this target")
    return False, per_sample


DISTRIBUTIONS = (losses.GaussianNegativeLogLikelihood, losses.Quantiles)
"""Losses with several outputs for a number."""


@dataclass(frozen=True)
class LoweredLoss:
    """A loss in the form that engines take.

    Attributes:
        name: its name in native/losses, and in the JAX engine
        settings: its settings there
        width: how many numbers a row's target has
        classes: whether that is the number of a class
    """

    name: str
    settings: Mapping[str, Any]
    width: int
    classes: bool


def lowered_loss(loss: losses.Loss, output_shape: Shape, y_shape: Shape) -> LoweredLoss:
    """The loss of each row of outputs, for targets of this shape (of one sample); raises NoKernel
    for a user's loss, and for a target that does not fit.
    """
    if type(loss) not in LOSSES:
        raise NoKernel(type(loss).__name__)
    positions, outputs = output_shape[:-1], output_shape[-1]
    if positions and y_shape[: len(positions)] == positions:
        y_shape = y_shape[len(positions) :]
    elif positions and math.prod(y_shape) == math.prod(output_shape):
        y_shape = (outputs,)
    elif positions:
        raise NoKernel("this target")
    classes, width = target_form(loss, outputs, y_shape)
    name, attributes = LOSSES[type(loss)]
    settings = {attribute: getattr(loss, attribute) for attribute in attributes}
    if "class_weights" in settings:
        given, expected = settings["class_weights"] or (), loss.width(outputs)
        if isinstance(loss, losses.BinaryCrossEntropy):
            given, expected = given * outputs if len(given) == 2 else given, 2 * outputs
        elif outputs == 1 and not isinstance(loss, losses.Ordinal):
            expected = 2
        if len(given) not in (0, expected):
            raise NoKernel("these class weights")
        settings["class_weights"] = given
    return LoweredLoss(name, settings, width, classes)


def lower_loss(engine: Any, loss: losses.Loss, output_shape: Shape, y_shape: Shape) -> None:
    """Set the native engine's loss, of each row of outputs; raises NoKernel if it has no kernel."""
    lowered = lowered_loss(loss, output_shape, y_shape)
    engine.loss(lowered.name, lowered.settings, lowered.width, lowered.classes)
