"""Mini-batches on the devices, as blocks that compiled steps read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples, Scaled
from chainrule.engine.base import Batches, Problem
from chainrule.engine.jax.placement import Placement
from chainrule.threads import ahead

MOST_STEPS, MOST_NUMBERS = 1024, 4_000_000
"""How many mini-batches are in a block; and how many numbers, where the host gathers them."""


class Block(NamedTuple):
    """Consecutive mini-batches of the same size.

    Attributes:
        batches: the mini-batches
        arrays: x, y and weight (or None) on the devices: of all samples, or gathered for each step,
            (steps, samples, ...)
        rows: (steps, samples) the rows of each mini-batch; None if they are gathered. Only the
            first len(batches) steps are of use
        scale: what bytes are multiplied by, and what is then added; None for numbers
    """

    batches: Batches
    arrays: tuple[Any, Any, Any]
    rows: Any
    scale: tuple[Any, Any] | None


@dataclass
class Feed:
    """Blocks of mini-batches. Samples in memory are put on the devices once, where each step
    gathers its own; others are gathered here, while the devices are busy.

    Attributes:
        problem: what is trained
        placement: the devices
    """

    problem: Problem
    placement: Placement
    _source: tuple[Any, Any, Any] | None = field(default=None, repr=False)
    _resident: Any = field(default=None, repr=False)

    def blocks(self, step: int, batches: Batches) -> Iterator[Block]:
        """The mini-batches from this step on."""
        whole = len(batches.order) // batches.size
        is_gathered = bool(self.problem.augment) or batches.on_disk
        most = self._most(batches, batches.size) if is_gathered else MOST_STEPS
        parts = [(step + k, batches.cut(k, min(k + most, whole))) for k in range(0, whole, most)]
        if whole < len(batches):
            last = batches.cut(whole, whole + 1)
            parts.append(
                (step + whole, Batches(last.x, last.y, last.weight, last.order, len(last.order), last.numbers))
            )
        if is_gathered:
            yield from (ahead if batches.on_disk else map)(self._gathered, parts)
            return
        self._put(batches)
        for _, part in parts:
            yield self._on_device(part)

    def _most(self, batches: Batches, size: int) -> int:
        """The steps in a block, which depend on the shape of mini-batches alone."""
        row = math.prod(batches.x.shape[1:]) + math.prod(batches.y.shape[1:])
        return max(1, min(MOST_STEPS, MOST_NUMBERS // max(1, size * row)))

    # Samples in memory

    def _put(self, batches: Batches) -> None:
        """Put the samples on the devices, unless they are there."""
        source = batches.x, batches.y, batches.weight
        if self._source is not None and all(a is b for a, b in zip(source, self._source, strict=True)):
            return
        self._resident = None  # frees it before the next is there
        x = batches.x.raw if isinstance(batches.x, Scaled) else batches.x
        arrays = tuple(None if a is None else self._plain(a) for a in (x, batches.y, batches.weight))
        self._resident, self._source = self.placement.replicated(arrays), source

    def _on_device(self, part: Batches) -> Block:
        rows = np.zeros((MOST_STEPS, part.size), np.int32)
        rows.reshape(-1)[: len(part.order)] = part.order
        return Block(part, self._resident, self.placement.batch(rows, 1), self._scale(part.x))

    # Samples that are read, or changed in each step

    def _gathered(self, part: tuple[int, Batches]) -> Block:
        step, batches = part
        if self.problem.augment:
            each = [self.problem.gather(batches.data, batches.rows(k), step + k) for k in range(len(batches))]
            scale = None
        else:
            raw = batches.x.raw if isinstance(batches.x, Scaled) else batches.x
            each = [Samples(raw, batches.y, batches.weight).take(batches.rows(k)) for k in range(len(batches))]
            scale = self._scale(batches.x)
        most = self._most(batches, batches.size)
        arrays = [self._stacked(parts, most) for parts in zip(*each, strict=True)]
        return Block(batches, tuple(self.placement.batch(a, 1) for a in arrays), None, scale)

    def _stacked(self, parts: Any, most: int) -> Array | None:
        """An array of each mini-batch as one of a whole block."""
        if parts[0] is None:
            return None
        plain = [self._plain(part) for part in parts]
        stacked = np.zeros((most, *plain[0].shape), plain[0].dtype)
        stacked[: len(plain)] = plain
        return stacked

    def _plain(self, array: Any) -> Array:
        """Numbers in the dtype of the network, integers and bytes as such."""
        array = np.asarray(array)
        if array.dtype.kind == "f":
            return array.astype(self.problem.network.dtype, copy=False)
        return array.astype(np.uint8 if array.dtype in (np.uint8, np.bool_) else np.int64, copy=False)

    def _scale(self, x: Any) -> tuple[Any, Any] | None:
        return (x.scale, x.offset) if isinstance(x, Scaled) else None
