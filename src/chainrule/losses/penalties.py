"""Weight penalties, which are added to the loss; their derivatives are added to the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Vector
from chainrule.errors import require
from chainrule.kinds import Kind
from chainrule.layout import Layout


@dataclass(frozen=True)
class Penalty(Kind):
    """l1 * sum |w| + l2 / 2 * sum w^2, with the derivative l1 * sign(w) + l2 * w.

    l1 alone is the lasso (Tibshirani, 1996), l2 alone ridge regression (Hoerl and Kennard, 1970),
    both the elastic net (Zou and Hastie, 2005).

    Attributes:
        l1: the coefficient of the absolute values
        l2: the coefficient of the squares
        on: a glob of parameter names, such as "dense_1.*"; by default the weights, not the biases
    """

    l1: float = 0.0
    l2: float = 0.0
    on: str | None = None

    def __post_init__(self) -> None:
        named = self.on is None or isinstance(self.on, str)
        require(named, f"penalty: on is {self.on!r}; it takes a glob of parameter names, such as 'dense_1.*'")
        rule = "both are finite, and neither can be negative"
        fits = all(isinstance(x, int | float) and 0 <= x < math.inf for x in (self.l1, self.l2))
        require(fits, f"penalty: l1 is {self.l1!r} and l2 is {self.l2!r}; {rule}")

    def value(self, parameters: Vector, layout: Layout) -> float:
        """The penalty of these parameters."""
        weights = self._mask(layout) * parameters
        squares = (weights.astype(np.float64) ** 2).sum()
        return float(self.l1 * np.abs(weights).sum(dtype=np.float64) + self.l2 / 2 * squares)

    def gradient(self, parameters: Vector, layout: Layout) -> Vector:
        """The derivative with respect to every parameter; 0 for those that are not penalized."""
        weights = self._mask(layout) * parameters
        return self.l1 * np.sign(weights) + self.l2 * weights

    def terms(self, layout: Layout, place: int, w: float) -> list[tuple[str, float]]:
        """The terms in the gradient of the weight w at this index: formula and value of each."""
        if layout.entry_at(place) not in layout.matching(self.on):
            return []
        lasso = ("L1 penalty, l1 x sign(w)", f"{self.l1:g} x {float(np.sign(w)):g}", self.l1 * float(np.sign(w)))
        ridge = ("L2 penalty, l2 x w", f"{self.l2:g} x {w:.6g}", self.l2 * w)
        return [(f"{what} = {numbers}", value) for what, numbers, value in (lasso, ridge) if value]

    def _mask(self, layout: Layout) -> Vector:
        mask = np.zeros(layout.size, dtype=np.float32)
        for entry in layout.matching(self.on):
            mask[entry.place] = 1
        return mask


def l1(strength: float, on: str | None = None) -> Penalty:
    """strength * sum |w|, which drives weights to exactly 0."""
    return Penalty(l1=strength, on=on)


def l2(strength: float, on: str | None = None) -> Penalty:
    """strength / 2 * sum w^2, which keeps weights small."""
    return Penalty(l2=strength, on=on)


def elastic(l1: float, l2: float, on: str | None = None) -> Penalty:
    """The elastic net: both penalties."""
    return Penalty(l1, l2, on)
