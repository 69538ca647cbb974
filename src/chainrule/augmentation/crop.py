"""Crop: a part of each picture, enlarged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.augmentation.base import Warp, linear, require_number


@dataclass(frozen=True)
class Crop(Warp):
    """A part of each picture at a random place, enlarged to its size with bilinear interpolation
    (after Szegedy et al., 2015, with the proportions of the picture).

    Attributes:
        least: the smallest share of its height and width that the part has, less than 1
    """

    least: float

    notation = "crop"
    numbers = 3
    formula = r"x'_{p} = x_{r p + t}, \quad r \in [c, 1], \quad |t_k| \le \tfrac{1}{2} (1 - r) (n_k - 1)"

    def __post_init__(self) -> None:
        require_number("crop", "smallest share", self.least, most=0.999)

    def maps(self, size: tuple[int, int], u: Array) -> Array:
        share = self.least + (1 - self.least) * u[:, 0]
        maps = linear(len(u), share)
        maps[:, :, 2] = (u[:, 1:] - 0.5) * (1 - share)[:, None] * (np.array(size) - 1)
        return maps
