"""Shift: pictures are moved by whole pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.augmentation.base import Warp, linear
from chainrule.errors import is_integer, require


@dataclass(frozen=True)
class Shift(Warp):
    """Each picture is moved by up to so many pixels, down or up and right or left; at the side from
    which it moves away, its edge is repeated.

    Attributes:
        pixels: the most rows and columns
    """

    pixels: int

    notation = "shift"
    numbers = 2
    is_exact = True
    formula = r"x'_{ij} = x_{i + a,\, j + b}, \quad a, b \in \{-n, \dots, n\}"

    def __post_init__(self) -> None:
        least = is_integer(self.pixels) and self.pixels >= 1
        require(least, f"augmentation shift: {self.pixels!r} pixels; it must be a whole number, at least 1")

    def maps(self, size: tuple[int, int], u: Array) -> Array:
        maps = linear(len(u))
        maps[:, :, 2] = np.floor(u * (2 * self.pixels + 1)) - self.pixels
        return maps
