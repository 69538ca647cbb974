"""Brightness: pictures are made brighter or darker."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.arrays import Array, Samples
from chainrule.augmentation.base import Augmentation, require_number, signed


@dataclass(frozen=True)
class Brightness(Augmentation):
    """A number is added to all pixels of a picture.

    Attributes:
        most: the largest such number, in standard deviations of all pixels
    """

    most: float

    notation = "brightness"
    formula = r"x'_{ij} = x_{ij} + d, \quad d \in [-b, b]"

    def __post_init__(self) -> None:
        require_number("brightness", "largest change", self.most)

    def apply(self, samples: Samples, u: Array) -> Samples:
        change = signed(u[:, 0], self.most).astype(samples.x.dtype)
        return samples._replace(x=samples.x + change.reshape(-1, *[1] * (samples.x.ndim - 1)))
