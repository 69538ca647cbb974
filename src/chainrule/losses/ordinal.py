"""The loss of classes in order, such as low, medium and high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.losses.base import Loss, class_weight_array, class_weight_tuple, one_hot
from chainrule.losses.ladder import rungs, softplus, through_rungs
from chainrule.special import expit


@dataclass(frozen=True)
class Ordinal(Loss):
    """-ln p_t, where cumulative logits g_k say how probable a higher class than k is:
    P(t > k) = sigmoid(g_k) (McCullagh, 1980; Cao et al., 2020, predict the same probabilities).

    For C classes the network has C - 1 outputs z. The one in the middle is a cumulative logit
    itself; each of the others gives, by softplus, how far the next one lies away from it. So
    g_0 >= g_1 >= ..., and every class has a probability, p_c = sigmoid(g_(c-1)) - sigmoid(g_c).
    Because the difference of two rungs is a softplus, that is a product of three sigmoids,
    p_c = sigmoid(g_(c-1)) sigmoid(-g_c) sigmoid(z), with the z of the step between them, and its
    logarithm is never computed from a difference.

    Attributes:
        class_weights: a factor for each class
    """

    notation = "ordinal"

    class_weights: tuple[float, ...] | None = None

    tasks = ("ordinal",)
    takes_mixed = False
    probability_symbol = "σ(g of the class below) − σ(g of the class)"

    formula = (
        r"-\ln p_t, \quad p_c = \sigma(g_{c-1})\,\sigma(-g_c)\,\sigma(z_c), \quad "
        r"g_k = z_b \mp \sum_{m \,\text{up to}\, k} \ln(1 + e^{z_m})",
        r"\frac{\partial}{\partial z_b} = \sum_k s_k, \quad \frac{\partial}{\partial z_m} = \mp\sigma(z_m) "
        r"\sum_{k \,\text{from}\, m} s_k - [z_m \,\text{is}\, z_t]\,\sigma(-z_m), \quad "
        r"s_{t-1} = -\sigma(-g_{t-1}),\; s_t = \sigma(g_t)",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", class_weight_tuple(self.class_weights))

    def outputs(self, width: int) -> int:
        return width - 1

    def width(self, outputs: int) -> int:
        return outputs + 1

    def cumulative(self, prediction: Array) -> Array:
        """(samples, classes - 1) the logit of the probability of a higher class, for each class
        but the last.
        """
        return rungs(prediction, _base(prediction), direction=-1)

    def probabilities(self, prediction: Array) -> Array:
        return np.exp(self._log_probabilities(prediction))

    def through_probabilities(self, prediction: Array, slopes: Array) -> Array:
        return -self._through(prediction, slopes * self.probabilities(prediction))

    def output_probabilities(self, prediction: Array) -> Array:
        """(samples, classes - 1) the probability of a higher class, for each class but the last."""
        return expit(self.cumulative(prediction))

    def classes(self, prediction: Array) -> Array:
        """The most probable class of each sample."""
        return self._log_probabilities(prediction).argmax(axis=1)

    def meaning(self, prediction: Array, output: int) -> str:
        return f"P(class > {output}) = {self.output_probabilities(prediction)[0, output]:.4g}"

    def row_losses(self, prediction: Array, target: Array) -> Array:
        log_p = self._log_probabilities(prediction)
        return -(self._weighted(log_p, target) * log_p).sum(axis=1)

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        return self._through(prediction, self._weighted(self._log_probabilities(prediction), target))

    def _through(self, prediction: Array, share: Array) -> Array:
        """The derivatives of minus the sum of share times ln p."""
        g, base = self.cumulative(prediction), _base(prediction)
        of_steps = -share[:, 1:-1] * expit(-np.delete(prediction, base, axis=1))
        slopes = through_rungs(prediction, base, share[:, :-1] * expit(g) - share[:, 1:] * expit(-g), direction=-1)
        return slopes + np.insert(of_steps, base, 0, axis=1)

    def _log_probabilities(self, prediction: Array) -> Array:
        """(samples, classes) ln p: the sum of the logarithms of three sigmoids."""
        g, steps = self.cumulative(prediction), np.delete(prediction, _base(prediction), axis=1)
        log_p = np.zeros((len(g), g.shape[1] + 1), dtype=g.dtype)
        log_p[:, 1:] -= softplus(-g)
        log_p[:, :-1] -= softplus(g)
        log_p[:, 1:-1] -= softplus(-steps)
        return log_p

    def _weighted(self, log_p: Array, target: Array) -> Array:
        """The target one-hot encoded, times the class weights."""
        return class_weight_array(self.class_weights, log_p.shape[1], log_p.dtype) * one_hot(log_p, target)


def _base(prediction: Array) -> int:
    """The number of the output that is a cumulative logit itself: the one in the middle."""
    return (prediction.shape[1] - 1) // 2
