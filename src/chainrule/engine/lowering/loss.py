"""Losses as the native engine takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from chainrule import losses
from chainrule.arrays import Shape
from chainrule.engine.lowering.missing import NoKernel

LOSSES: dict[type[losses.Loss], tuple[int, str | None]] = {
    losses.CategoricalCrossEntropy: (0, "smoothing"),
    losses.BinaryCrossEntropy: (1, "smoothing"),
    losses.Focal: (2, "focus"),
    losses.Hinge: (3, None),
    losses.SquaredHinge: (4, None),
    losses.KullbackLeibler: (5, None),
    losses.MeanSquaredError: (6, None),
    losses.HalfSquares: (7, None),
    losses.MeanAbsoluteError: (8, None),
    losses.Huber: (9, "delta"),
    losses.LogCosh: (10, None),
    losses.Quantile: (11, "level"),
    losses.Poisson: (12, None),
    losses.GaussianNegativeLogLikelihood: (13, None),
    losses.Cosine: (14, None),
}
"""The number in native/kernels.h's LossKind, and the setting that it takes."""


@dataclass(frozen=True)
class Target:
    """How a loss reads its target: class numbers, or so many numbers for each sample."""

    classes: bool
    width: int


def target_of(loss: losses.Loss, outputs: int, y_shape: Shape) -> Target:
    """How this loss reads a target of this shape of a sample; raises NoKernel where the definition knows better what is
    wrong.
    """
    per_sample = math.prod(y_shape)
    by_class = isinstance(loss, losses.CategoricalCrossEntropy | losses.Focal | losses.KullbackLeibler) or (
        isinstance(loss, losses.Hinge) and outputs > 1
    )
    if by_class and y_shape != (outputs,):
        if per_sample != 1 or (outputs == 1 and not isinstance(loss, losses.Focal)):
            raise NoKernel("this target")
        return Target(True, 1)
    if by_class and outputs == 1:
        return Target(True, 1)
    width = outputs // 2 if isinstance(loss, losses.GaussianNegativeLogLikelihood) else outputs
    if per_sample != width or (isinstance(loss, losses.GaussianNegativeLogLikelihood) and outputs % 2):
        raise NoKernel("this target")
    return Target(False, width)


ANY_SHAPE = (
    losses.MeanSquaredError, losses.HalfSquares, losses.MeanAbsoluteError, losses.Huber, losses.LogCosh,
    losses.Quantile, losses.Poisson,
)  # fmt: skip
"""Losses that take predictions of any shape; the others take one row of outputs a sample."""


def lower_loss(made: Any, loss: losses.Loss, output_shape: Shape, y_shape: Shape) -> None:
    """Tell the native engine the loss."""
    if type(loss) not in LOSSES:
        raise NoKernel(type(loss).__name__)
    if len(output_shape) != 1 and type(loss) not in ANY_SHAPE:
        raise NoKernel("this loss of predictions that are no list")
    number, setting = LOSSES[type(loss)]
    outputs = math.prod(output_shape)
    target = target_of(loss, outputs, y_shape)
    weights = getattr(loss, "class_weights", None) or ()
    binary = isinstance(loss, losses.BinaryCrossEntropy) or outputs == 1
    if weights and len(weights) != (2 if binary else outputs):
        raise NoKernel("these class weights")
    made.loss(number, getattr(loss, setting) if setting else 0.0, list(weights), target.classes, target.width)
