"""On which devices arrays lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Placement:
    """The devices of an engine.

    Attributes:
        devices: how many; by default one
    """

    devices: int | None = None

    @property
    def name(self) -> tuple[str, int]:
        """The kind of the devices, such as "cpu", and their number."""
        return jax.devices()[0].platform, self.devices or 1

    def replicated(self, tree: Any) -> Any:
        """Arrays that every device has."""
        return jax.device_put(tree, jax.devices()[0])

    def batch(self, array: Any, axis: int) -> Any:
        """An array of which each device has some of the samples, along this axis."""
        return jax.device_put(array, jax.devices()[0])
