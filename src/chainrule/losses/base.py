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
    """A loss function. Subclasses define each sample's loss and its derivative; the loss of a
    batch is the mean of the samples' losses times their weights.

    Predictions have the shape (samples, outputs). The weighted sum is divided by the number of
    samples, not by the sum of their weights, so that a mini-batch of lightly weighted samples
    takes a small step.
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

    def samples(self, prediction: Array, target: Array) -> Array:
        """The loss of each sample, of shape (samples,)."""
        raise NotImplementedError

    def slopes(self, prediction: Array, target: Array) -> Array:
        """The derivative of each sample's loss, in the shape of the prediction."""
        raise NotImplementedError

    def outputs(self, width: int) -> int:
        """The number of outputs that the network needs for `width` target columns or classes."""
        return width

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
        """The loss of a batch: the mean over its samples of weight times loss."""
        losses = self.samples(prediction, target)
        if sample_weight is not None:
            losses = losses * _weights(sample_weight, losses)
        return float(np.mean(losses, dtype=np.float64))

    def derivative(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Array:
        """The derivative of the batch's loss with respect to the prediction, in its shape."""
        slopes = self.slopes(prediction, target) / prediction.dtype.type(len(prediction))
        if sample_weight is None:
            return slopes
        return slopes * _weights(sample_weight, slopes).reshape(-1, *(1,) * (slopes.ndim - 1))


def _weights(sample_weight: Array, like: Array) -> Array:
    weights = np.asarray(sample_weight)
    if weights.shape != (len(like),):
        raise ShapeError(f"the sample weights have the shape {weights.shape}; it must be ({len(like)},)")
    return weights.astype(like.dtype, copy=False)


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
