"""Layers of weighted sums, which an activation may follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from chainrule.layers.activations import activation
from chainrule.layers.base import Layer


@dataclass(frozen=True)
class Activated(Layer, register=False):
    """A layer with the setting `activation`: with one, it stands for itself and then that layer.

    So the derivative that arrives at its own output is always its delta.
    """

    output_symbol = "z"
    local_symbol = "w"

    @property
    def parts(self) -> tuple[Layer, ...]:
        own: Any = self
        return (self,) if own.activation is None else self._pair

    @cached_property
    def _pair(self) -> tuple[Layer, Layer]:
        own: Any = self
        return replace(own, activation=None), activation(own.activation)
