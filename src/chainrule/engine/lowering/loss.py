"""Lowering of losses to the native engine."""

from __future__ import annotations

import math
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
    losses.GaussianNegativeLogLikelihood: (13, "log_floor"),
    losses.Cosine: (14, None),
    losses.Quantiles: (15, "base"),
    losses.Ordinal: (16, None),
}
"""The number in LossKind of native/kernels.h, and the name of the hyperparameter."""


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

ANY_SHAPE = (
    losses.MeanSquaredError, losses.HalfSquares, losses.MeanAbsoluteError, losses.Huber, losses.LogCosh,
    losses.Quantile, losses.Poisson,
)  # fmt: skip
"""Losses of predictions of any shape; the others take one row of outputs per sample."""


def lower_loss(engine: Any, loss: losses.Loss, output_shape: Shape, y_shape: Shape) -> None:
    """Set the native engine's loss; raises NoKernel if it has no kernel."""
    if type(loss) not in LOSSES:
        raise NoKernel(type(loss).__name__)
    if len(output_shape) != 1 and type(loss) not in ANY_SHAPE:
        raise NoKernel("this loss of predictions that are not a vector")
    number, setting = LOSSES[type(loss)]
    outputs = math.prod(output_shape)
    classes, width = target_form(loss, outputs, y_shape)
    numbers = loss.levels if isinstance(loss, losses.Quantiles) else getattr(loss, "class_weights", None) or ()
    weights = 2 if outputs == 1 and not isinstance(loss, losses.Ordinal) else loss.width(outputs)
    if isinstance(loss, losses.BinaryCrossEntropy):
        weights = 2 * outputs
        numbers = numbers * outputs if len(numbers) == 2 else numbers
    if hasattr(loss, "class_weights") and len(numbers) not in (0, weights):
        raise NoKernel("these class weights")
    engine.loss(number, getattr(loss, setting) if setting else 0.0, list(numbers), classes, width)
