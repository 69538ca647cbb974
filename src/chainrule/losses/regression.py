"""Losses for regression. d is prediction minus target; unless stated otherwise, a sample's loss
is the mean over its outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import is_number, require
from chainrule.losses.base import Loss, like, mean_of_outputs, of_mean


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """d^2."""

    notation = "mse"
    averages_outputs = True

    formula = (r"\frac{1}{K}\sum_j (y_j - t_j)^2", r"\frac{2}{K}(y_j - t_j)")

    def row_losses(self, prediction: Array, target: Array) -> Array:
        return mean_of_outputs((prediction - like(prediction, target)) ** 2)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return of_mean(2 * (prediction - like(prediction, target)))


@dataclass(frozen=True)
class HalfSquares(Loss):
    """d^2 / 2, summed over the outputs, as in textbooks: its derivative is d."""

    notation = "half_squares"

    formula = (r"\tfrac{1}{2}\sum_j (y_j - t_j)^2", r"y_j - t_j")

    def row_losses(self, prediction: Array, target: Array) -> Array:
        difference = (prediction - like(prediction, target)).reshape(len(prediction), -1)
        return (difference**2).sum(axis=1) / 2

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return prediction - like(prediction, target)


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """|d|; at d = 0 its derivative is taken to be 0."""

    notation = "mae"
    averages_outputs = True

    formula = (r"\frac{1}{K}\sum_j |y_j - t_j|", r"\frac{1}{K}\operatorname{sign}(y_j - t_j)")

    def row_losses(self, prediction: Array, target: Array) -> Array:
        return mean_of_outputs(np.abs(prediction - like(prediction, target)))

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return of_mean(np.sign(prediction - like(prediction, target)))


@dataclass(frozen=True)
class Huber(Loss):
    """d^2 / 2 up to |d| = delta, and delta * (|d| - delta / 2) beyond, so that an outlier's
    derivative is at most delta (Huber, 1964).
    """

    notation = "huber"
    averages_outputs = True

    delta: float = 1.0

    formula = (
        r"\frac{1}{K}\sum_j \begin{cases} d_j^2/2 & |d_j| \le \Delta \\"
        r" \Delta(|d_j| - \Delta/2) & |d_j| > \Delta \end{cases}",
        r"\frac{1}{K}\min(\max(d_j, -\Delta), \Delta), \quad d_j = y_j - t_j",
    )

    def __post_init__(self) -> None:
        require(is_number(self.delta, above=0), f"huber: delta is {self.delta!r}; it must be positive")

    def row_losses(self, prediction: Array, target: Array) -> Array:
        size = np.abs(prediction - like(prediction, target))
        return mean_of_outputs(np.where(size <= self.delta, size**2 / 2, self.delta * (size - self.delta / 2)))

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return of_mean(np.clip(prediction - like(prediction, target), -self.delta, self.delta))


@dataclass(frozen=True)
class LogCosh(Loss):
    """ln cosh d: like d^2 / 2 near 0 and like |d| far away."""

    notation = "log_cosh"
    averages_outputs = True

    formula = (r"\frac{1}{K}\sum_j \ln\cosh(y_j - t_j)", r"\frac{1}{K}\tanh(y_j - t_j)")

    def row_losses(self, prediction: Array, target: Array) -> Array:
        d = prediction - like(prediction, target)
        return mean_of_outputs(np.logaddexp(d, -d) - d.dtype.type(math.log(2)))

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return of_mean(np.tanh(prediction - like(prediction, target)))


@dataclass(frozen=True)
class Poisson(Loss):
    """exp(y) - t * y, for counts, where the prediction y is the logarithm of the expected count.

    The term that depends on the target alone, ln t!, is omitted, so the loss may be negative.
    """

    notation = "poisson"
    averages_outputs = True
    scales_target = False
    least_target = 0.0

    formula = (r"\frac{1}{K}\sum_j e^{y_j} - t_j y_j", r"\frac{1}{K}(e^{y_j} - t_j)")

    def row_losses(self, prediction: Array, target: Array) -> Array:
        return mean_of_outputs(np.exp(prediction) - like(prediction, target) * prediction)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return of_mean(np.exp(prediction) - like(prediction, target))

    def point(self, prediction: Array) -> Array:
        return np.exp(prediction)

    def through_point(self, prediction: Array, slopes: Array) -> Array:
        return slopes * np.exp(prediction)


@dataclass(frozen=True)
class Cosine(Loss):
    """1 minus the cosine similarity of prediction and target, which ignores their lengths."""

    notation = "cosine"

    scales_target = False

    formula = (
        r"1 - \frac{y \cdot t}{|y|\,|t|}",
        r"\frac{y_j}{|y|^2} \cdot \frac{y \cdot t}{|y|\,|t|} - \frac{t_j}{|y|\,|t|}",
    )

    def row_losses(self, prediction: Array, target: Array) -> Array:
        return 1 - self._cosine(prediction, like(prediction, target))[0][:, 0]

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        t = like(prediction, target)
        cosine, size, sizes = self._cosine(prediction, t)
        return prediction * cosine / size**2 - t / sizes

    @staticmethod
    def _cosine(y: Array, t: Array) -> tuple[Array, Array, Array]:
        tiny = np.finfo(y.dtype).tiny ** 0.25  # makes the cosine of a zero vector 0
        size = np.maximum(np.linalg.norm(y, axis=1, keepdims=True), tiny)
        sizes = size * np.maximum(np.linalg.norm(t, axis=1, keepdims=True), tiny)
        return (y * t).sum(axis=1, keepdims=True) / sizes, size, sizes
