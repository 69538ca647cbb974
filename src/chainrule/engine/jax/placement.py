"""On which devices arrays lie: mini-batches are divided among them, everything else is on each.

A step is written once, for any number of devices: XLA divides what follows from the samples as the
samples are divided, and adds up what a sum over samples needs, such as a gradient or a mean of
BatchNorm. A mini-batch whose size the devices do not divide is padded by XLA, which leaves the
padding out of every sum.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from chainrule.errors import SettingError, is_integer, require, setting

Devices = tuple[str, int]
"""The kind of the devices, such as "cpu", and their number, in all processes together."""
SAMPLES = "samples"
"""The name of the axis along which devices lie."""
MOST_CPU_DEVICES = 256
"""In how many devices a CPU is divided, at most."""


def available(count: int | None) -> Devices:
    """The devices for a new training: so many of this process, of the kind that JAX uses by
    default, and as many of each of the others that train with it. If no number is given, all GPUs
    or TPUs of this process, or the CPU as one device.

    Raises SettingError if there are not so many, or none that JAX could use.
    """
    valid = count is None or (is_integer(count) and count >= 1)
    require(valid, f"{setting('devices', count)}: it is a whole number, at least 1")
    if count is not None:
        divide_cpu(count)
    try:
        kind, most = jax.default_backend(), jax.local_device_count()
    except RuntimeError as error:  # as for JAX_PLATFORMS that there are not
        raise SettingError(f"JAX finds no devices to compute on: {' '.join(str(error).split())}") from None
    if count is None:
        count = 1 if kind == "cpu" else most
    require(count <= most, f"{setting('devices', count)}: JAX has {most} here ({kind}){_remedy(kind, count)}")
    return kind, count * jax.process_count()


def divide_cpu(count: int) -> None:
    """Let JAX see the CPU as so many devices, if it has not started yet and has fewer."""
    if 1 < count <= MOST_CPU_DEVICES:
        with suppress(RuntimeError):  # it has started, and keeps what it has
            jax.config.update("jax_num_cpu_devices", count)  # type: ignore[no-untyped-call]


def _remedy(kind: str, count: int) -> str:
    if kind != "cpu":
        return ""
    if count > MOST_CPU_DEVICES:
        return f"; a CPU is divided into at most {MOST_CPU_DEVICES}"
    flag = f"XLA_FLAGS=--xla_force_host_platform_device_count={count}"
    return f", which started with so many; start Python anew, with {flag} in the environment"


@dataclass(frozen=True)
class Placement:
    """The devices of an engine. If there are fewer than those, or none of the kind, as when a run
    is replayed on another machine, it takes what there is: results are the same up to rounding.

    Attributes:
        devices: their kind and number; by default one of those that JAX uses by default, in each
            process
        processes: of how many processes they are; 1 for those of this one alone
    """

    devices: Devices | None = None
    processes: int = 1

    @cached_property
    def chosen(self) -> list[Any]:
        """The devices, as many of each process."""
        kind, count = self.devices or (None, self.processes)
        if kind == "cpu":
            divide_cpu(-(-count // self.processes))
        find = jax.devices if self.processes > 1 else jax.local_devices
        try:
            there = find(backend=kind)
        except RuntimeError:  # none of this kind
            there = find()
        each = max(1, count // self.processes)
        own = [[one for one in there if one.process_index == k][:each] for k in range(jax.process_count())]
        return [device for devices in own for device in devices]

    @property
    def note(self) -> str | None:
        """What the user has to know about them."""
        found = self.chosen[0].platform, len(self.chosen)
        if self.devices in (None, found):
            return None
        (kind, count), (other, fewer) = self.devices, found
        asked = f"{count} {kind} device{'s' * (count > 1)}"
        return f"these steps were planned for {asked}; {fewer} of {other} stand in, the same results up to rounding"

    @property
    def many(self) -> bool:
        """Whether there are several."""
        return len(self.chosen) > 1

    @cached_property
    def mesh(self) -> Mesh:
        return Mesh(np.array(self.chosen), (SAMPLES,))

    @cached_property
    def everywhere(self) -> Any:
        """The sharding of what is on every device; None if there is one device."""
        return self._sharding() if self.many else None

    def divided(self, axis: int) -> Any:
        """The sharding of arrays of which each device has some of the samples, along this axis."""
        return self._sharding(*[None] * axis, SAMPLES)

    def replicated(self, tree: Any) -> Any:
        """Arrays that every device has."""
        if not self.many:
            return jax.device_put(tree, self.chosen[0])
        return jax.tree.map(lambda array: _put(array, self.everywhere), tree)

    def batch(self, array: Any, axis: int) -> Any:
        """An array of which each device has some of the samples, along this axis; all of them if
        they can't be divided evenly.
        """
        if array is None or not self.many:
            return jax.device_put(array, self.chosen[0])
        is_even = array.shape[axis] % len(self.chosen) == 0
        return _put(array, self.divided(axis) if is_even else self.everywhere)

    def split(self, array: Any) -> Any:
        """In a compiled step: the samples of a mini-batch divided among the devices, as evenly as
        they can be.
        """
        if array is None or not self.many:
            return array
        return jax.lax.with_sharding_constraint(array, self.divided(0))  # type: ignore[no-untyped-call]

    def _sharding(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _put(array: Any, sharding: NamedSharding) -> Any:
    """An array that all processes have, as one of all of their devices."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return array if array.sharding.is_equivalent_to(sharding, array.ndim) else jax.device_put(array, sharding)
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
