"""Dropout masks: the bits of the definition's keyed generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.arrays import Shape
from chainrule.engine.lowering import NoKernel


def keep(words: Sequence[int], threshold: int, step: Any, shape: Shape) -> Any:
    """True where a unit is kept."""
    raise NoKernel("dropout")
