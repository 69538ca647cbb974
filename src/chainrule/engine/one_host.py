"""Sums over ranks that are on one machine: they read each other's gradient in shared memory.

Nothing is sent: when all have derived, each adds up its share of the gradient from the memory of
all of them, in the order of ranks, so the bits are those of `Sums`. There are two windows of
memory, which steps use in turns, so that no rank overwrites what another one still reads: that one
is at most a step behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.engine.buffers import PADDING, aligned
from chainrule.engine.ranks import Sums, add_up, shares

NOTES = 8
"""Numbers with which ranks tell each other what they agree on."""


@dataclass
class SharedSums(Sums):
    """What an engine asks of MPI on one machine.

    Attributes:
        windows: for each turn, the gradients of all ranks
    """

    windows: list[list[Vector]] = field(default_factory=list, repr=False)
    _notes: list[list[Vector]] = field(default_factory=list, repr=False)
    _turn: int = field(default=1, repr=False)
    _agreed: Vector | None = field(default=None, repr=False)
    _ready: list[Vector] = field(default_factory=list, repr=False)
    _is_new: bool = field(default=False, repr=False)
    _memory_of_all: Any = field(default=None, repr=False)

    def share(self, parts: Sequence[tuple[int, int]], size: int, dtype: Any) -> list[Vector]:
        """Get memory for gradients of this size, which all see: this rank's, for each turn."""
        from mpi4py import MPI

        self.parts, world = parts, self.world
        room = (size + 2 * PADDING) * np.dtype(dtype).itemsize
        notes = NOTES * 8
        window = MPI.Win.Allocate_shared(2 * (room + notes), 1, comm=world.communicator)
        window.Lock_all()
        self._memory_of_all = window
        memory: list[Any] = [window.Shared_query(rank)[0] for rank in range(world.count)]
        all_bytes = [np.frombuffer(one, dtype=np.uint8) for one in memory]
        for turn in range(2):
            at = 2 * notes + turn * room
            self._notes.append([own[turn * notes : (turn + 1) * notes].view(np.float64) for own in all_bytes])
            gradients = [own[at : at + room].view(dtype) for own in all_bytes]
            starts = world.gather(aligned(gradients[world.rank]))
            self.windows.append([own[start : start + size] for own, start in zip(gradients, starts, strict=True)])
        return [turn[world.rank] for turn in self.windows]

    def agree(self, numbers: Vector) -> None:
        """Replace a few numbers by their sums over all ranks, until `finish`: a turn begins."""
        self._turn = 1 - self._turn
        self._agreed = numbers

    def start(self, numbers: Vector) -> None:
        """Take note of the next part of the gradient."""
        start, stop = self.parts[len(self._ready)]
        own = self._own[start:stop]
        if not np.shares_memory(own, numbers):  # a line search has a gradient of its own
            own[:] = numbers
        self._ready.append(numbers)

    def progress(self) -> None:
        """Nothing: the others read what is ready."""

    def finish(self) -> None:
        """Wait for all ranks, and add up this one's shares."""
        assert self._agreed is not None
        self._say(self._agreed)
        self._meet()
        for numbers, (start, stop) in zip(self._ready, self.parts, strict=True):
            counts, starts = shares(stop - start, self.world.count)
            begin = start + starts[self.world.rank]
            place = slice(begin, begin + counts[self.world.rank])
            gradients = [theirs[place] for theirs in self.windows[self._turn]]
            total = gradients[0] + gradients[1]
            for gradient in gradients[2:]:
                np.add(total, gradient, out=total)
            numbers[place.start - start : place.stop - start] = total
        self._ready.clear()
        add_up(self._said(self._agreed.size), self._agreed)
        self._is_new = True

    def gather(self, numbers: Vector, good: bool) -> bool:
        """Receive the others' shares of a vector; whether all is good on all ranks."""
        if not self._is_new:  # the others may still read the vector before this one
            self._meet()
        self._is_new = False
        for place in self._places(self.world.rank):
            self._own[place] = numbers[place]
        self._notes[self._turn][self.world.rank][-1] = good
        self._meet()
        for rank, theirs in enumerate(self.windows[self._turn]):
            if rank != self.world.rank:
                for place in self._places(rank):
                    numbers[place] = theirs[place]
        if np.shares_memory(numbers, self._own):  # which will be written to
            self._meet()
        return all(note[-1] for note in self._notes[self._turn])

    @property
    def _own(self) -> Vector:
        return self.windows[self._turn][self.world.rank]

    def _places(self, rank: int) -> list[slice]:
        """Where a rank's shares are."""
        places = []
        for start, stop in self.parts:
            counts, starts = shares(stop - start, self.world.count)
            places.append(slice(start + starts[rank], start + starts[rank] + counts[rank]))
        return places

    def _say(self, numbers: Vector) -> None:
        self._notes[self._turn][self.world.rank][: numbers.size] = numbers

    def _said(self, size: int) -> list[Array]:
        return [note[:size] for note in self._notes[self._turn]]

    def _meet(self) -> None:
        self._memory_of_all.Sync()
        self.world.wait()
        self._memory_of_all.Sync()
