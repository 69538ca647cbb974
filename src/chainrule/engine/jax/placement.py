"""On which devices arrays lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from chainrule.errors import require, setting

Devices = tuple[str, int]
"""The kind of the devices, such as "cpu", and their number."""


def available(count: int | None) -> Devices:
    """The devices for a new training: so many of those that JAX uses by default; if no number is
    given, one. Raises SettingError if there are not so many.
    """
    kind, most = jax.default_backend(), jax.local_device_count()
    count = 1 if count is None else count
    require(1 <= count <= most, f"{setting('devices', count)}: JAX has {most} device{'s' * (most > 1)} here ({kind})")
    return kind, count


@dataclass(frozen=True)
class Placement:
    """The devices of an engine.

    Attributes:
        devices: their kind and number; by default one of those that JAX uses by default
    """

    devices: Devices | None = None

    @property
    def note(self) -> str | None:
        """What the user has to know about them."""
        return None

    def replicated(self, tree: Any) -> Any:
        """Arrays that every device has."""
        return jax.device_put(tree, jax.local_devices()[0])

    def batch(self, array: Any, axis: int) -> Any:
        """An array of which each device has some of the samples, along this axis."""
        return jax.device_put(array, jax.local_devices()[0])
