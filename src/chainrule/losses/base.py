"""What a loss is: one number for how wrong a prediction is, and its derivative with respect to the prediction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import SettingError, ShapeError
from chainrule.kinds import Kind


@dataclass(frozen=True)
class Loss(Kind, register=False):
    """A loss. Subclasses give each sample's loss and its slopes; the loss of a batch is the mean of the samples'
    losses times their weights.

    Predictions have the shape (samples, outputs). A sample's weight multiplies its loss; the sum is divided by the
    number of samples, not by the sum of the weights, so that a batch that happens to hold light samples takes a short
    step.
    """

    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    """What it is for: "regression", "classification", or both."""

    scales_target: ClassVar[bool] = True
    """Whether a regression target may be shifted and scaled before it is learned."""

    averages_outputs: ClassVar[bool] = False
    """Whether a sample's loss is the mean over its outputs."""

    @property
    def task(self) -> str | None:
        """The task that this loss is for, if there is only one."""
        return self.tasks[0] if len(self.tasks) == 1 else None

    @property
    def formula(self) -> tuple[str, str]:
        """One sample's loss and its derivative, in LaTeX: y is the prediction, t the target."""
        raise NotImplementedError

    def samples(self, prediction: Array, target: Array) -> Array:
        """(samples,) the loss of each sample."""
        raise NotImplementedError

    def slopes(self, prediction: Array, target: Array) -> Array:
        """(samples, outputs) the derivative of each sample's loss with respect to its prediction."""
        raise NotImplementedError

    def outputs(self, width: int) -> int:
        """How many outputs the network needs for `width` target columns, or for so many classes."""
        return width

    def probabilities(self, prediction: Array) -> Array | None:
        """(samples, classes) what the prediction says of the classes; None if it says no probabilities."""
        return None

    def point(self, prediction: Array) -> Array:
        """(samples, columns) the value that is predicted, in the target's (scaled) units."""
        return prediction

    def classes(self, prediction: Array) -> Array:
        """(samples,) the number of the predicted class: the largest output, or the sign of a single one."""
        return prediction.argmax(axis=1) if prediction.shape[1] > 1 else (prediction[:, 0] > 0).astype(np.intp)

    def value(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> float:
        """The loss of a batch: the mean over its samples of weight times loss."""
        losses = self.samples(prediction, target)
        return float(
            np.mean(losses if sample_weight is None else losses * _weights(sample_weight, losses), dtype=np.float64)
        )

    def derivative(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Array:
        """The derivative of the batch's loss with respect to the prediction, in its shape."""
        slopes = self.slopes(prediction, target) / prediction.dtype.type(len(prediction))
        if sample_weight is None:
            return slopes
        weights = _weights(sample_weight, slopes).reshape(-1, *(1,) * (slopes.ndim - 1))
        return slopes * weights


def _weights(sample_weight: Array, of: Array) -> Array:
    weights = np.asarray(sample_weight)
    if weights.shape != (len(of),):
        raise ShapeError(
            f"sample weights have the shape {weights.shape}, but there are {len(of)} samples; give one number for each"
        )
    return weights.astype(of.dtype, copy=False)


def like(prediction: Array, target: Array) -> Array:
    """The target in the prediction's shape and precision; raises ShapeError if it has another number of entries."""
    target = np.asarray(target)
    if target.size != prediction.size:
        raise ShapeError(
            f"the target has the shape {target.shape}, but the prediction {prediction.shape}; the network's last layer"
            " must fit the target"
        )
    return target.reshape(prediction.shape).astype(prediction.dtype, copy=False)


def one_hot(prediction: Array, target: Array) -> Array:
    """(samples, classes) a 1 at each sample's class; a target that has that shape already holds the classes'
    probabilities.
    """
    target = np.asarray(target)
    samples, classes = prediction.shape
    if target.shape == (samples, classes) and classes > 1:
        return target.astype(prediction.dtype, copy=False)
    if target.size != samples:
        raise ShapeError(
            f"the target has the shape {target.shape}, but there are {samples} predictions; give a class number for"
            " each"
        )
    numbers = target.ravel().astype(np.intp)
    if samples and (numbers.min() < 0 or numbers.max() >= classes):
        raise ShapeError(
            f"the target's classes run from {numbers.min()} to {numbers.max()}, but the network tells {classes} classes"
            f" apart (0 to {classes - 1})"
        )
    hot = np.zeros(prediction.shape, dtype=prediction.dtype)
    hot[np.arange(samples), numbers] = 1
    return hot


def class_weight_tuple(weights: Any) -> tuple[float, ...] | None:
    """Weights in class order, from a sequence or by class number from 0; None stays None.

    Raises SettingError for weights that aren't finite numbers of 0 or more, and for those that need
    the data: by label, or "balanced".
    """
    if weights is None:
        return None
    if isinstance(weights, str) or (isinstance(weights, Mapping) and set(weights) != set(range(len(weights)))):
        given = repr(weights) if isinstance(weights, str) else f"given for {', '.join(map(repr, weights))}"
        raise SettingError(
            f"class weights are {given}, which takes the data: give them to train, as class_weight (--class-weight), or"
            " list them in the order of the classes"
        )
    if isinstance(weights, Mapping):
        weights = [weights[number] for number in range(len(weights))]
    numbers = list(weights) if isinstance(weights, Iterable) else None
    if numbers is None or not all(isinstance(number, Real) for number in numbers):
        raise SettingError(f"class weights are {weights!r}; they are numbers, one for each class")
    made = tuple(float(number) for number in numbers)
    if not all(math.isfinite(weight) and weight >= 0 for weight in made) or not any(made):
        raise SettingError(f"class weights are {made}; they must be finite, none may be negative, and not all may be 0")
    return made


def class_weight_array(class_weights: tuple[float, ...] | None, classes: int, dtype: np.dtype) -> Array:
    """(classes,) the weights, or ones; raises SettingError unless there is one for each class."""
    if class_weights is None:
        return np.ones(classes, dtype=dtype)
    if len(class_weights) != classes:
        raise SettingError(f"there are {len(class_weights)} class weights for {classes} classes; give one for each")
    return np.array(class_weights, dtype=dtype)
