"""Losses for classes. They take logits, the numbers before the softmax or sigmoid, and stay finite however large
these are.

Targets are class numbers from 0, of shape (samples,), or the classes' probabilities, of shape (samples, classes). Two
classes can do with one output, whose sign decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, xlogy

from chainrule.arrays import Array
from chainrule.errors import require
from chainrule.layers.softmax import log_softmax, softmax
from chainrule.losses.base import Loss, class_weight_array, class_weight_tuple, like, one_hot


def _with_zero(z: Array) -> Array:
    """One logit z -> the two logits 0 and z, which say the same."""
    return np.concatenate([np.zeros_like(z), z], axis=1) if z.shape[1] == 1 else z


@dataclass(frozen=True)
class CrossEntropy(Loss, register=False):
    """What both cross-entropies can be told: label smoothing, and weights of the classes."""

    smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    tasks = ("classification",)

    def __post_init__(self) -> None:
        require(0 <= self.smoothing < 1, f"label smoothing is {self.smoothing}; it is a share from 0 up to, but not, 1")
        object.__setattr__(self, "class_weights", class_weight_tuple(self.class_weights))


@dataclass(frozen=True)
class BinaryCrossEntropy(CrossEntropy):
    """-t ln p - (1 - t) ln(1 - p) with p = sigmoid(z), from the logit z; with several outputs each is a question of
    its own, and the loss is their mean.

    `smoothing` moves the target from 0 and 1 towards 1/2 (Szegedy et al., 2016). `class_weights` multiply the loss of
    the classes 0 and 1.
    """

    notation = "binary_cross_entropy"

    formula = (r"-t \ln \sigma(z) - (1 - t) \ln(1 - \sigma(z))", r"\sigma(z) - t")

    def outputs(self, width: int) -> int:
        return 1 if width == 2 else width

    def probabilities(self, prediction: Array) -> Array | None:
        return np.concatenate([expit(-prediction), expit(prediction)], axis=1) if prediction.shape[1] == 1 else None

    def samples(self, prediction: Array, target: Array) -> Array:
        no, yes = self._shares(prediction, target)
        # -ln sigmoid(z) = ln(1 + exp(-z)), which logaddexp takes without overflow.
        return (yes * np.logaddexp(0, -prediction) + no * np.logaddexp(0, prediction)).mean(axis=1)

    def slopes(self, prediction: Array, target: Array) -> Array:
        no, yes = self._shares(prediction, target)
        return (no * expit(prediction) - yes * expit(-prediction)) / prediction.dtype.type(prediction.shape[1])

    def _shares(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """How much of the loss each of the two answers is, with weights."""
        t = like(prediction, target) * (1 - self.smoothing) + self.smoothing / 2
        no, yes = class_weight_array(self.class_weights, 2, prediction.dtype)
        return no * (1 - t), yes * t


@dataclass(frozen=True)
class CategoricalCrossEntropy(CrossEntropy):
    """-sum_k t_k ln p_k with p = softmax(z), from the logits z.

    `smoothing` gives that share of the target to all classes alike (Szegedy et al., 2016). `class_weights` multiply
    each class's part.
    """

    notation = "cross_entropy"

    formula = (r"-\sum_k t_k \ln \operatorname{softmax}(z)_k", r"\operatorname{softmax}(z)_k - t_k")

    def probabilities(self, prediction: Array) -> Array | None:
        return softmax(prediction)

    def samples(self, prediction: Array, target: Array) -> Array:
        return -(self._shares(prediction, target) * log_softmax(prediction)).sum(axis=1)

    def slopes(self, prediction: Array, target: Array) -> Array:
        shares = self._shares(prediction, target)
        return softmax(prediction) * shares.sum(axis=1, keepdims=True) - shares

    def _shares(self, prediction: Array, target: Array) -> Array:
        t = one_hot(prediction, target) * (1 - self.smoothing) + self.smoothing / prediction.shape[1]
        return class_weight_array(self.class_weights, prediction.shape[1], prediction.dtype) * t


@dataclass(frozen=True)
class Focal(Loss):
    """-(1 - p)^focus ln p, p being the softmax's (or, of one output, the sigmoid's) probability of the right class:
    samples that are right already count little (Lin et al., 2017).
    """

    notation = "focal"

    focus: float = 2.0
    class_weights: tuple[float, ...] | None = None

    tasks = ("classification",)

    def __post_init__(self) -> None:
        require(self.focus >= 0, f"focal: the focus is {self.focus}; it can't be negative")
        object.__setattr__(self, "class_weights", class_weight_tuple(self.class_weights))

    @property
    def formula(self) -> tuple[str, str]:
        return (
            r"-(1 - p_t)^\gamma \ln p_t, \quad p = \operatorname{softmax}(z)",
            r"\big(\gamma p_t (1 - p_t)^{\gamma - 1} \ln p_t - (1 - p_t)^\gamma\big)([k = t] - p_k)",
        )

    def outputs(self, width: int) -> int:
        return 1 if width == 2 else width

    def probabilities(self, prediction: Array) -> Array | None:
        return softmax(_with_zero(prediction))

    def samples(self, prediction: Array, target: Array) -> Array:
        log_p, rest, weight = self._right(prediction, target)[:3]
        return -weight * rest**self.focus * log_p

    def slopes(self, prediction: Array, target: Array) -> Array:
        log_p, rest, weight, hot = self._right(prediction, target)
        slope = -(rest**self.focus)
        if self.focus:
            slope = slope + self.focus * np.exp(log_p) * rest ** (self.focus - 1) * log_p
        slopes = (weight * slope)[:, None] * (hot - softmax(_with_zero(prediction)))
        return slopes[:, -prediction.shape[1] :]

    def _right(self, prediction: Array, target: Array) -> tuple[Array, Array, Array, Array]:
        """ln p and 1 - p of the right class, its weight, and where it is."""
        z = _with_zero(prediction)
        hot = one_hot(z, target)
        log_p = (hot * log_softmax(z)).sum(axis=1)
        rest = np.maximum(-np.expm1(log_p), np.finfo(z.dtype).tiny)
        return log_p, rest, (hot * class_weight_array(self.class_weights, z.shape[1], z.dtype)).sum(axis=1), hot


@dataclass(frozen=True)
class Hinge(Loss):
    """max(0, 1 - margin), the margin being by how much the right class's output leads another's; summed over the
    others (Weston and Watkins, 1999). Of one output, the margin is the output itself for class 1 and its negative for
    class 0 (Cortes and Vapnik, 1995).
    """

    notation = "hinge"

    tasks = ("classification",)

    @property
    def formula(self) -> tuple[str, str]:
        return (
            r"\sum_{k \ne t} \max(0, 1 + z_k - z_t)",
            r"[1 + z_k - z_t > 0] \;(k \ne t), \quad -\sum_{j \ne t}[1 + z_j - z_t > 0] \;(k = t)",
        )

    def outputs(self, width: int) -> int:
        return 1 if width == 2 else width

    def samples(self, prediction: Array, target: Array) -> Array:
        return self._cost(self._shortfall(prediction, target)[0]).sum(axis=1)

    def slopes(self, prediction: Array, target: Array) -> Array:
        short, sign = self._shortfall(prediction, target)
        slope = self._slope(short)
        return -sign * slope if sign.shape[1] == 1 else slope - sign * slope.sum(axis=1, keepdims=True)

    @staticmethod
    def _cost(short: Array) -> Array:
        return short

    @staticmethod
    def _slope(short: Array) -> Array:
        return (short > 0).astype(short.dtype)

    @staticmethod
    def _shortfall(z: Array, target: Array) -> tuple[Array, Array]:
        """By how much each margin falls short of 1, and the target as -1 and 1 (one output) or as a 1 at the right
        class (several).
        """
        if z.shape[1] == 1:
            sign = 2 * like(z, target) - 1
            return np.maximum(0, 1 - sign * z), sign
        hot = one_hot(z, target)
        lead = (hot * z).sum(axis=1, keepdims=True) - z
        return np.maximum(0, 1 - lead) * (1 - hot), hot


@dataclass(frozen=True)
class SquaredHinge(Hinge):
    """The hinge's shortfalls, squared."""

    notation = "squared_hinge"

    @property
    def formula(self) -> tuple[str, str]:
        return (
            r"\sum_{k \ne t} \max(0, 1 + z_k - z_t)^2",
            r"2\max(0, 1 + z_k - z_t) \;(k \ne t), \quad -2\sum_{j \ne t}\max(0, 1 + z_j - z_t) \;(k = t)",
        )

    @staticmethod
    def _cost(short: Array) -> Array:
        return short**2

    @staticmethod
    def _slope(short: Array) -> Array:
        return 2 * short


@dataclass(frozen=True)
class KullbackLeibler(Loss):
    """sum_k t_k (ln t_k - y_k): how far the distribution whose logarithms are predicted (by a LogSoftmax, say) is
    from the target's (Kullback and Leibler, 1951).
    """

    notation = "kullback_leibler"

    tasks = ("classification",)

    formula = (r"\sum_k t_k (\ln t_k - y_k)", r"-t_k")

    def probabilities(self, prediction: Array) -> Array | None:
        return np.exp(prediction)

    def samples(self, prediction: Array, target: Array) -> Array:
        t = one_hot(prediction, target)
        return (xlogy(t, t) - t * prediction).sum(axis=1)

    def slopes(self, prediction: Array, target: Array) -> Array:
        return -one_hot(prediction, target)
