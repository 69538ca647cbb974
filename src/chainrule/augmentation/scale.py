"""Scale: pictures are made larger or smaller."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.arrays import Array
from chainrule.augmentation.base import Warp, linear, require_number, signed


@dataclass(frozen=True)
class Scale(Warp):
    """Each picture is made larger or smaller about its centre, with bilinear interpolation; of a
    smaller one, the edge is repeated.

    Attributes:
        by: the largest share by which its height and width change, less than 1: 0.1 for a factor
            from 0.9 to 1.1
    """

    by: float

    notation = "scale"
    formula = r"x'_{p} = x_{p / s}, \quad s \in [1 - b, 1 + b]"

    def __post_init__(self) -> None:
        require_number("scale", "largest share", self.by, most=0.95)

    def maps(self, size: tuple[int, int], u: Array) -> Array:
        return linear(len(u), 1 / (1 + signed(u[:, 0], self.by)))
