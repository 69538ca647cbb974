"""Rotate: pictures are turned about their centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.augmentation.base import Warp, linear, require_number, signed


@dataclass(frozen=True)
class Rotate(Warp):
    """Each picture is turned about its centre by an angle of up to so many degrees, either way,
    with bilinear interpolation.

    Attributes:
        degrees: the largest angle, at most 180
    """

    degrees: float

    notation = "rotate"
    formula = (
        r"x'_{p} = x_{M p}, \quad M = \begin{pmatrix} \cos \varphi & -\sin \varphi \\ \sin \varphi & \cos \varphi"
        r" \end{pmatrix}, \quad \varphi \in [-d, d]"
    )

    def __post_init__(self) -> None:
        require_number("rotate", "largest angle", self.degrees, most=180)

    def maps(self, size: tuple[int, int], u: Array) -> Array:
        angle = signed(u[:, 0], np.deg2rad(self.degrees))
        maps = linear(len(u), np.cos(angle))
        maps[:, 1, 0] = np.sin(angle)
        maps[:, 0, 1] = -maps[:, 1, 0]
        return maps
