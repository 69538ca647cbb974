"""Flip: pictures are mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.augmentation.base import Warp, linear
from chainrule.errors import require

AXES = ("horizontal", "vertical", "both")


@dataclass(frozen=True)
class Flip(Warp):
    """Half of the pictures are mirrored: left to right, top to bottom, or each at random.

    Attributes:
        axis: "horizontal" (left to right), "vertical" or "both"
    """

    axis: str = "horizontal"

    notation = "flip"
    numbers = 2
    is_exact = True
    formula = r"x'_{ij} = x_{i,\, W - 1 - j} \text{ with probability } \tfrac{1}{2}"

    def __post_init__(self) -> None:
        require(self.axis in AXES, f"augmentation flip: the axis is {self.axis!r}; it must be {', '.join(AXES)}")

    def maps(self, size: tuple[int, int], u: Array) -> Array:
        maps = linear(len(u))
        for k, axis in enumerate(("vertical", "horizontal")):
            if self.axis in (axis, "both"):
                maps[:, k, k] = np.where(u[:, k] < 0.5, -1, 1)
        return maps
