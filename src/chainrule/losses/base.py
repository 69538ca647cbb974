"""The base class of losses, and helpers for targets and class weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import SettingError, ShapeError, setting
from chainrule.kinds import Kind


@dataclass(frozen=True)
class Loss(Kind, register=False):
    """A loss function. Subclasses define the loss of a row of outputs, and its derivative.

    Predictions have the shape (samples, outputs), a row for each sample, or (samples, positions...,
    outputs), a row for each position of a sequence. The loss of a sample is the mean of its rows'
    losses, by weight if the positions have weights: a position of weight 0 does not count. The loss
    of a batch is the mean of the samples' losses times their weights.

    The weighted sum over samples is divided by their number, not by the sum of their weights, so
    that a mini-batch of lightly weighted samples takes a small step.
    """

    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    """The tasks that it is for, of "regression", "classification", "ordinal" and "multilabel"."""
    takes_mixed: ClassVar[bool] = True
    """Whether a target may be a mixture: probabilities for classes."""

    scales_target: ClassVar[bool] = True
    """Whether a regression target may be standardized for training."""

    least_target: ClassVar[float] = -math.inf
    """The smallest target that it is defined for."""

    averages_outputs: ClassVar[bool] = False
    """Whether a sample's loss is the mean over its outputs."""

    probability_symbol: ClassVar[str] = "softmax(z)"
    """How the probabilities of several classes follow from the outputs z."""

    @property
    def task(self) -> str | None:
        """The task that this loss suggests: the first; None if regression is one of several."""
        return None if "regression" in self.tasks[1:] else self.tasks[0]

    @property
    def formula(self) -> tuple[str, str]:
        """A sample's loss and its derivative, in LaTeX; y is the prediction, t the target."""
        raise NotImplementedError

    def row_losses(self, prediction: Array, target: Array) -> Array:
        """(rows,) the loss of each row, of a prediction (rows, outputs)."""
        raise NotImplementedError

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        """(rows, outputs) the derivative of each row's loss."""
        raise NotImplementedError

    def samples(self, prediction: Array, target: Array, weight: Array | None = None) -> Array:
        """(samples,) the loss of each sample.

        Args:
            prediction: (samples, outputs), or (samples, positions..., outputs)
            target: (samples, ...), or (samples, positions..., ...)
            weight: (samples, positions...) how much each position counts; by default all the same
        """
        if prediction.ndim < 3:
            return self.row_losses(prediction, target)
        losses = self.row_losses(*rows_of(prediction, target)).reshape(prediction.shape[:-1])
        return (losses * position_shares(prediction, weight)).reshape(len(prediction), -1).sum(axis=1)

    def slopes(self, prediction: Array, target: Array, weight: Array | None = None) -> Array:
        """The derivative of each sample's loss, in the shape of the prediction; the arguments are
        those of `samples`.
        """
        if prediction.ndim < 3:
            return self.row_slopes(prediction, target)
        slopes = self.row_slopes(*rows_of(prediction, target)).reshape(prediction.shape)
        return slopes * position_shares(prediction, weight)[..., None]

    def outputs(self, width: int) -> int:
        """The number of outputs that the network needs for `width` target columns or classes."""
        return width

    def first_of_point(self, width: int) -> int | None:
        """The first of the outputs that are the point predictions of `width` target columns; None
        if these are no outputs themselves, such as those of a mean that is exp(z).
        """
        z = np.linspace(-1.0, 1.0, self.outputs(width))[None]
        point = self.point(z)
        found = np.flatnonzero(np.isclose(z[0], point[0, 0]))
        first = int(found[0]) if len(found) else 0
        return first if np.allclose(point, z[:, first : first + width]) else None

    def width(self, outputs: int) -> int:
        """The number of target columns or classes that so many outputs are for."""
        return outputs

    def probabilities(self, prediction: Array) -> Array | None:
        """The predicted probabilities, of shape (samples, classes) or (samples, labels); None if it
        has none.
        """
        return None

    def output_probabilities(self, prediction: Array) -> Array | None:
        """The probability that each output stands for, in the shape of the prediction: that of its
        class, of the second class for a single output. None if it has none.
        """
        probabilities = self.probabilities(prediction)
        return None if probabilities is None else probabilities[:, -prediction.shape[1] :]

    def point(self, prediction: Array) -> Array:
        """The point prediction, of shape (samples, columns), in units of the (scaled) target."""
        return prediction

    def deviation(self, prediction: Array) -> Array | None:
        """The predicted standard deviation, of shape (samples, columns), in units of the (scaled)
        target; None if it predicts none.
        """
        return None

    def quantiles(self, prediction: Array, levels: Sequence[float]) -> Array:
        """The quantiles of these levels, of shape (samples, levels, columns), in units of the
        (scaled) target.

        Raises SettingError, with the losses to train with, if it does not predict them.
        """
        raise SettingError(f"the loss {type(self).__name__} predicts no quantiles; {to_train(levels)}")

    # The chain rule through what a prediction means, for explanations: what these say of a
    # prediction (samples, outputs), given the derivatives with respect to what they say.

    def through_point(self, prediction: Array, slopes: Array) -> Array:
        """(samples, outputs) the derivatives with respect to the outputs, from those with respect
        to the `point` prediction, (samples, columns).
        """
        return slopes

    def through_probabilities(self, prediction: Array, slopes: Array) -> Array:
        """The same from the derivatives with respect to the `probabilities`."""
        raise SettingError(f"the loss {type(self).__name__} predicts no probabilities")

    def through_deviation(self, prediction: Array, slopes: Array) -> Array:
        """The same from the derivatives with respect to the `deviation`."""
        raise SettingError(f"the loss {type(self).__name__} predicts no deviation")

    def through_quantiles(self, prediction: Array, levels: Sequence[float], slopes: Array) -> Array:
        """The same from the derivatives with respect to the `quantiles` of these levels, (samples,
        levels, columns).
        """
        raise SettingError(f"the loss {type(self).__name__} predicts no quantiles; {to_train(levels)}")

    def scores(self, prediction: Array, target: Array, unit: Array, weight: Array | None = None) -> dict[str, float]:
        """How good a predicted distribution is, beyond the metrics of its point prediction.

        Args:
            prediction: (samples, outputs) the network's outputs
            target: (samples, columns) the targets, as the loss takes them
            unit: (columns,) what the (scaled) target is a multiple of: scores are in its units
            weight: (samples,) how much each sample counts; by default all count the same
        """
        return {}

    def meaning(self, prediction: Array, output: int) -> str:
        """What the loss makes of one output of one sample, of which the prediction is, such as
        "quantile 0.9 = 1.2"; empty if that is the output itself, or a probability.
        """
        return ""

    def classes(self, prediction: Array) -> Array:
        """The predicted classes, of shape (samples,): argmax, or the sign of a single output."""
        return prediction.argmax(axis=1) if prediction.shape[1] > 1 else (prediction[:, 0] > 0).astype(np.intp)

    def value(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> float:
        """The loss of a batch: the mean over its samples of weight times loss.

        Args:
            prediction: (samples, outputs), or (samples, positions..., outputs)
            target: in a shape that the loss takes
            sample_weight: (samples,) of each sample, or (samples, positions...) of each position
                within its sample
        """
        of_samples, of_positions = _weights(sample_weight, prediction)
        losses = self.samples(prediction, target, *of_positions)
        return float(np.mean(losses if of_samples is None else losses * of_samples, dtype=np.float64))

    def derivative(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Array:
        """The derivative of the batch's loss with respect to the prediction, in its shape."""
        of_samples, of_positions = _weights(sample_weight, prediction)
        slopes = self.slopes(prediction, target, *of_positions) / prediction.dtype.type(len(prediction))
        return slopes if of_samples is None else slopes * of_samples.reshape(-1, *(1,) * (slopes.ndim - 1))


def _weights(sample_weight: Array | None, like: Array) -> tuple[Array | None, tuple[Array, ...]]:
    """The weights of the samples, if there are any, and those of the positions."""
    if sample_weight is None:
        return None, ()
    weights = np.asarray(sample_weight)
    if weights.shape not in (like.shape[:1], like.shape[:-1]):
        by_position = f", or {like.shape[:-1]} by position" if like.ndim > 2 else ""
        must = f"it must be ({len(like)},){by_position}"
        raise ShapeError(f"the sample weights have the shape {weights.shape}; {must}")
    weights = weights.astype(like.dtype, copy=False)
    return (weights, ()) if weights.ndim == 1 else (None, (weights,))


def rows_of(prediction: Array, target: Array) -> tuple[Array, Array]:
    """A prediction (samples, positions..., outputs) and its target with a row for each position of
    each sample; raises ShapeError for a target that is not one for each position.
    """
    rows, target = prediction.reshape(-1, prediction.shape[-1]), np.asarray(target)
    lead = prediction.ndim - 1
    if target.shape[:lead] == prediction.shape[:-1]:
        return rows, target.reshape(len(rows), *target.shape[lead:])
    if target.shape[:1] == prediction.shape[:1] and target.size == prediction.size:
        return rows, target.reshape(rows.shape)
    shapes = f"the target has the shape {target.shape}, but the prediction {prediction.shape}"
    raise ShapeError(f"{shapes}; pass a target for each position")


def position_shares(prediction: Array, weight: Array | None = None) -> Array:
    """(samples, positions...) the share that each position has in its sample's loss; 0 for all
    positions of a sample of which none counts.
    """
    shape = prediction.shape[:-1]
    if weight is None:
        return np.full(shape, 1 / max(1, math.prod(shape[1:])), prediction.dtype)
    total = weight.reshape(len(weight), -1).sum(axis=1).reshape(-1, *(1,) * (weight.ndim - 1))
    return (weight / np.where(total > 0, total, 1)).astype(prediction.dtype, copy=False)


def mean_of_outputs(values: Array) -> Array:
    """The mean over all axes but the first, of shape (samples,)."""
    return values.reshape(len(values), -1).mean(axis=1)


def of_mean(slopes: Array) -> Array:
    """The derivatives of the outputs' mean loss, from those of each output's loss."""
    return slopes / slopes.dtype.type(slopes[:1].size or 1)


def weighted_mean(values: Array, weight: Array | None) -> float:
    """The mean over samples, by weight, and over everything else."""
    return float(np.average(mean_of_outputs(values.astype(np.float64)), weights=weight))


def like(prediction: Array, target: Array) -> Array:
    """The target in the prediction's shape and dtype; raises ShapeError if their sizes differ."""
    target = np.asarray(target)
    if target.size != prediction.size:
        shapes = f"the target has the shape {target.shape}, but the prediction {prediction.shape}"
        raise ShapeError(f"{shapes}; the network's last layer must fit the target")
    return target.reshape(prediction.shape).astype(prediction.dtype, copy=False)


def one_hot(prediction: Array, target: Array) -> Array:
    """The target one-hot encoded, of shape (samples, classes).

    A target of this shape already holds class probabilities and is returned as it is. Raises
    ShapeError if the target doesn't fit the prediction.
    """
    target = np.asarray(target)
    samples, classes = prediction.shape
    if target.shape == (samples, classes) and classes > 1:
        return target.astype(prediction.dtype, copy=False)
    if target.size != samples:
        raise ShapeError(f"the target has the shape {target.shape}; pass a class number for each of {samples} samples")
    numbers = target.ravel().astype(np.intp)
    if samples and (numbers.min() < 0 or numbers.max() >= classes):
        classes_of_target = f"the target's classes run from {numbers.min()} to {numbers.max()}"
        raise ShapeError(f"{classes_of_target}, but the network distinguishes {classes} classes (0 to {classes - 1})")
    encoded = np.zeros(prediction.shape, dtype=prediction.dtype)
    encoded[np.arange(samples), numbers] = 1
    return encoded


def soft_targets(target: Array, output_shape: tuple[int, ...], dtype: str) -> Array:
    """Targets that can be mixed: class numbers as probabilities, anything else as numbers."""
    if target.dtype.kind in "biu" and target.ndim == 1 and output_shape[-1] > 1:
        return one_hot(np.empty((len(target), output_shape[-1]), dtype), target)
    return target.astype(dtype)


def class_weight_tuple(weights: Any) -> tuple[float, ...] | None:
    """Class weights as a tuple, from a sequence or a mapping of class numbers; None stays None.

    Raises SettingError for weights that aren't finite and non-negative, and for those that depend
    on the data: by label, or "balanced".
    """
    if weights is None:
        return None
    if isinstance(weights, str) or (isinstance(weights, Mapping) and set(weights) != set(range(len(weights)))):
        what = repr(weights) if isinstance(weights, str) else f"given for {', '.join(map(repr, weights))}"
        remedy = f"give them to train, as {setting('class_weight')}, or list them in class order"
        raise SettingError(f"class weights are {what}, which takes the data: {remedy}")
    if isinstance(weights, Mapping):
        weights = [weights[number] for number in range(len(weights))]
    numbers = list(weights) if isinstance(weights, Iterable) else None
    if numbers is None or not all(isinstance(number, Real) for number in numbers):
        raise SettingError(f"class weights are {weights!r}; they are numbers, one for each class")
    ordered = tuple(float(number) for number in numbers)
    if not all(math.isfinite(weight) and weight >= 0 for weight in ordered) or not any(ordered):
        rule = "they must be finite, none may be negative, and not all may be 0"
        raise SettingError(f"class weights are {ordered}; {rule}")
    return ordered


def class_weight_array(class_weights: tuple[float, ...] | None, classes: int, dtype: np.dtype) -> Array:
    """The class weights, or ones, of shape (classes,); raises SettingError for a wrong number."""
    if class_weights is None:
        return np.ones(classes, dtype=dtype)
    if len(class_weights) != classes:
        raise SettingError(f"there are {len(class_weights)} class weights for {classes} classes; pass one for each")
    return np.array(class_weights, dtype=dtype)


def to_train(levels: Sequence[float]) -> str:
    """Which losses predict the quantiles of these levels."""
    wanted = " ".join(f"{level:g}" for level in sorted({*(round(float(level), 6) for level in levels), 0.5}))
    return f"for {listed(levels)}, train with the loss 'quantiles {wanted}', or with 'gaussian'"


def listed(levels: Sequence[float]) -> str:
    """Levels as text: "0.05, 0.5 and 0.95"."""
    texts = [f"{round(float(level), 6):g}" for level in levels]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
