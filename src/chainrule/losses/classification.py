"""Losses for classification. They take logits and stay finite however large these are.

Targets are class numbers from 0, of shape (samples,), or class probabilities, of shape (samples,
classes). For two classes a single output is enough; its sign decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import is_number, require
from chainrule.layers.softmax import log_softmax, softmax
from chainrule.losses.base import Loss, class_weight_array, class_weight_tuple, like, one_hot
from chainrule.special import expit, xlogy


def _with_zero(z: Array) -> Array:
    """Expand a single logit z to the equivalent logits 0 and z of two classes."""
    return np.concatenate([np.zeros_like(z), z], axis=1) if z.shape[1] == 1 else z


def _through_softmax(z: Array, slopes: Array) -> Array:
    """The derivatives with respect to z, from those with respect to p = softmax z:
    p_k (s_k - sum_j p_j s_j).
    """
    p = softmax(z)
    return p * (slopes - (p * slopes).sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class _OneOutputForTwo(Loss, register=False):
    """A classification loss for which a single output is enough for two classes."""

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    takes_mixed: ClassVar[bool] = False

    def outputs(self, width: int) -> int:
        return 1 if width == 2 else width


@dataclass(frozen=True)
class CrossEntropy(Loss, register=False):
    """The settings of both cross-entropies.

    Attributes:
        smoothing: label smoothing, in [0, 1) (Szegedy et al., 2016)
        class_weights: a factor for each class
    """

    smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def __post_init__(self) -> None:
        require(
            is_number(self.smoothing, least=0, below=1), f"label smoothing is {self.smoothing!r}; it must be in [0, 1)"
        )
        object.__setattr__(self, "class_weights", class_weight_tuple(self.class_weights))


@dataclass(frozen=True)
class BinaryCrossEntropy(_OneOutputForTwo, CrossEntropy):
    """-t ln p - (1 - t) ln(1 - p) with p = sigmoid(z), from the logit z; several outputs are
    independent labels, whose losses are averaged.

    Attributes:
        smoothing: label smoothing, which moves the target from 0 and 1 towards 1/2
        class_weights: the factors of the classes 0 and 1; of several labels those of all, or of the
            first label, the second and so on
    """

    notation = "binary_cross_entropy"

    tasks = ("classification", "multilabel")
    takes_mixed = True

    formula = (r"-t \ln \sigma(z) - (1 - t) \ln(1 - \sigma(z))", r"\sigma(z) - t")

    def probabilities(self, prediction: Array) -> Array | None:
        p = expit(prediction)
        return np.concatenate([expit(-prediction), p], axis=1) if prediction.shape[1] == 1 else p

    def through_probabilities(self, prediction: Array, slopes: Array) -> Array:
        of_second = slopes[:, 1:] - slopes[:, :1] if prediction.shape[1] == 1 else slopes
        return of_second * expit(prediction) * expit(-prediction)

    def row_losses(self, prediction: Array, target: Array) -> Array:
        no, yes = self._weighted(prediction, target)
        # -ln sigmoid(z) = ln(1 + exp(-z)), which logaddexp computes without overflow.
        return (yes * np.logaddexp(0, -prediction) + no * np.logaddexp(0, prediction)).mean(axis=1)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        no, yes = self._weighted(prediction, target)
        return (no * expit(prediction) - yes * expit(-prediction)) / prediction.dtype.type(prediction.shape[1])

    def _weighted(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """The weighted targets of the classes 0 and 1."""
        t = like(prediction, target) * (1 - self.smoothing) + self.smoothing / 2
        shared = self.class_weights is None or len(self.class_weights) == 2
        weights = class_weight_array(self.class_weights, 2 if shared else 2 * t.shape[1], t.dtype)
        no, yes = weights.reshape(-1, 2).T
        return no * (1 - t), yes * t


@dataclass(frozen=True)
class CategoricalCrossEntropy(CrossEntropy):
    """-sum_k t_k ln p_k with p = softmax(z), from the logits z.

    Attributes:
        smoothing: label smoothing, the fraction of the target spread evenly over all classes
        class_weights: a factor for each class's term
    """

    notation = "cross_entropy"

    formula = (r"-\sum_k t_k \ln \operatorname{softmax}(z)_k", r"\operatorname{softmax}(z)_k - t_k")

    def probabilities(self, prediction: Array) -> Array | None:
        return softmax(prediction)

    def through_probabilities(self, prediction: Array, slopes: Array) -> Array:
        return _through_softmax(prediction, slopes)

    def row_losses(self, prediction: Array, target: Array) -> Array:
        return -(self._weighted(prediction, target) * log_softmax(prediction)).sum(axis=1)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        weighted = self._weighted(prediction, target)
        return softmax(prediction) * weighted.sum(axis=1, keepdims=True) - weighted

    def _weighted(self, prediction: Array, target: Array) -> Array:
        t = one_hot(prediction, target) * (1 - self.smoothing) + self.smoothing / prediction.shape[1]
        return class_weight_array(self.class_weights, prediction.shape[1], prediction.dtype) * t


@dataclass(frozen=True)
class Focal(_OneOutputForTwo):
    """-(1 - p)^focus ln p, where p is the predicted probability of the true class (softmax, or
    sigmoid for a single output): well-classified samples count little (Lin et al., 2017).

    Attributes:
        focus: the exponent, at least 0; 0 gives the cross-entropy
        class_weights: a factor for each class
    """

    notation = "focal"

    focus: float = 2.0
    class_weights: tuple[float, ...] | None = None

    formula = (
        r"-(1 - p_t)^\gamma \ln p_t, \quad p = \operatorname{softmax}(z)",
        r"\big(\gamma p_t (1 - p_t)^{\gamma - 1} \ln p_t - (1 - p_t)^\gamma\big)([k = t] - p_k)",
    )

    def __post_init__(self) -> None:
        require(is_number(self.focus, least=0), f"focal: the focus is {self.focus!r}; it can't be negative")
        object.__setattr__(self, "class_weights", class_weight_tuple(self.class_weights))

    def probabilities(self, prediction: Array) -> Array | None:
        return softmax(_with_zero(prediction))

    def through_probabilities(self, prediction: Array, slopes: Array) -> Array:
        return _through_softmax(_with_zero(prediction), slopes)[:, -prediction.shape[1] :]

    def row_losses(self, prediction: Array, target: Array) -> Array:
        log_p, rest, weight, _ = self._true_class(prediction, target)
        return -weight * rest**self.focus * log_p

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        log_p, rest, weight, hot = self._true_class(prediction, target)
        slope = -(rest**self.focus)
        if self.focus:
            slope = slope + self.focus * np.exp(log_p) * rest ** (self.focus - 1) * log_p
        slopes = (weight * slope)[:, None] * (hot - softmax(_with_zero(prediction)))
        return slopes[:, -prediction.shape[1] :]

    def _true_class(self, prediction: Array, target: Array) -> tuple[Array, Array, Array, Array]:
        """ln p and 1 - p of the true class, its weight, and its one-hot encoding."""
        z = _with_zero(prediction)
        hot = one_hot(z, target)
        log_p = (hot * log_softmax(z)).sum(axis=1)
        rest = np.maximum(-np.expm1(log_p), np.finfo(z.dtype).tiny)
        return log_p, rest, (hot * class_weight_array(self.class_weights, z.shape[1], z.dtype)).sum(axis=1), hot


@dataclass(frozen=True)
class Hinge(_OneOutputForTwo):
    """max(0, 1 - margin), summed over the wrong classes, where the margin is the true class's
    output minus the wrong one's (Weston and Watkins, 1999). With a single output, the margin is
    the output itself for class 1 and its negative for class 0 (Cortes and Vapnik, 1995).
    """

    notation = "hinge"

    squared: ClassVar[bool] = False
    """Whether 1 - margin is squared."""

    formula = (
        r"\sum_{k \ne t} \max(0, 1 + z_k - z_t)",
        r"[1 + z_k - z_t > 0] \;(k \ne t), \quad -\sum_{j \ne t}[1 + z_j - z_t > 0] \;(k = t)",
    )

    def row_losses(self, prediction: Array, target: Array) -> Array:
        short, _ = self._shortfall(prediction, target)
        return (short**2 if self.squared else short).sum(axis=1)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        short, sign = self._shortfall(prediction, target)
        slope = 2 * short if self.squared else (short > 0).astype(short.dtype)
        return -sign * slope if sign.shape[1] == 1 else slope - sign * slope.sum(axis=1, keepdims=True)

    @staticmethod
    def _shortfall(z: Array, target: Array) -> tuple[Array, Array]:
        """max(0, 1 - margin), and the target: -1 or 1 (single output), or one-hot encoded."""
        if z.shape[1] == 1:
            sign = 2 * like(z, target) - 1
            return np.maximum(0, 1 - sign * z), sign
        hot = one_hot(z, target)
        lead = (hot * z).sum(axis=1, keepdims=True) - z
        return np.maximum(0, 1 - lead) * (1 - hot), hot


@dataclass(frozen=True)
class SquaredHinge(Hinge):
    """max(0, 1 - margin)^2, with the margins of the hinge loss."""

    notation = "squared_hinge"
    squared = True

    formula = (
        r"\sum_{k \ne t} \max(0, 1 + z_k - z_t)^2",
        r"2\max(0, 1 + z_k - z_t) \;(k \ne t), \quad -2\sum_{j \ne t}\max(0, 1 + z_j - z_t) \;(k = t)",
    )


@dataclass(frozen=True)
class KullbackLeibler(Loss):
    """sum_k t_k (ln t_k - y_k), the divergence of the target from the prediction, which holds log
    probabilities, such as those of a LogSoftmax (Kullback and Leibler, 1951).
    """

    notation = "kullback_leibler"

    tasks = ("classification",)

    formula = (r"\sum_k t_k (\ln t_k - y_k)", r"-t_k")

    def probabilities(self, prediction: Array) -> Array | None:
        return np.exp(prediction)

    def through_probabilities(self, prediction: Array, slopes: Array) -> Array:
        return slopes * np.exp(prediction)

    def row_losses(self, prediction: Array, target: Array) -> Array:
        t = one_hot(prediction, target)
        return (xlogy(t, t) - t * prediction).sum(axis=1)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return -one_hot(prediction, target)
