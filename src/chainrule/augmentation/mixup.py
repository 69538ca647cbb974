"""Mixup: each sample is mixed with another one, and so are their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.augmentation.base import Augmentation, require_number


@dataclass(frozen=True)
class Mixup(Augmentation):
    """Each sample is mixed with another one of the mini-batch, in random proportions, and its
    target with the other's: for classes these are probabilities (Zhang et al., 2018). A sample's
    weight remains its own.

    Attributes:
        alpha: how much is mixed: the proportions have the distribution Beta(alpha, alpha)
    """

    alpha: float = 0.2

    notation = "mixup"
    numbers = 2
    needs_pictures = False
    mixes_targets = True
    formula = r"x'_n = \lambda_n x_n + (1 - \lambda_n) x_m, \quad y'_n = \lambda_n y_n + (1 - \lambda_n) y_m"

    def __post_init__(self) -> None:
        require_number("mixup", "alpha", self.alpha)

    def apply(self, samples: Samples, u: Array) -> Samples:
        from scipy.special import betaincinv

        share = betaincinv(self.alpha, self.alpha, u[:, 0])
        # In a random cycle, every sample has another one as its partner.
        order = np.argsort(u[:, 1], kind="stable")
        partner = np.empty_like(order)
        partner[order] = np.roll(order, -1)

        def mixed(values: Array) -> Array:
            own = share.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
            return own * values + (1 - own) * values[partner]

        return samples._replace(x=mixed(np.asarray(samples.x)), y=mixed(samples.y))
