"""Cutout: a square of each picture is covered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.augmentation.base import Augmentation
from chainrule.errors import is_integer, require


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square at a random place becomes 0, which is the mean of all pixels. Its centre is any
    pixel, so that a part of it may be outside (DeVries and Taylor, 2017).

    Attributes:
        size: the pixels of a side
    """

    size: int

    notation = "cutout"
    numbers = 2
    formula = r"x'_{ij} = 0 \text{ for } a \le i < a + n, \; b \le j < b + n"

    def __post_init__(self) -> None:
        least = is_integer(self.size) and self.size >= 1
        require(least, f"augmentation cutout: {self.size!r} pixels; it must be a whole number, at least 1")

    def apply(self, samples: Samples, u: Array) -> Samples:
        covered = [
            (places >= start[:, None]) & (places < start[:, None] + self.size)
            for places, start in (
                (np.arange(n), np.floor(u[:, k] * n) - self.size // 2) for k, n in enumerate(samples.x.shape[1:3])
            )
        ]
        x = samples.x.copy()
        x[covered[0][:, :, None] & covered[1][:, None, :]] = 0
        return samples._replace(x=x)
