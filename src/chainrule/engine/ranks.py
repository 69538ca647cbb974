"""Sums over the processes of a training (ranks), each of which takes its share of every mini-batch.

The native engine calls it, on each rank in the same order. A sum has one order, that of the ranks,
so all of them get the same bits, and the same number of ranks always gets the same.

The gradient is added up in parts, each in two exchanges, which together move each number twice,
whatever the number of ranks. In the first every rank receives its share of the part from all others
(an all-to-all), and adds it up; this goes on while earlier layers are derived. In the second all
ranks receive what the others have made of their shares (an all-gather): the new weights where an
optimizer steps each weight by itself, so that this work is divided, too (Rajbhandari et al., 2020,
stage 1); otherwise the gradient.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.processes import Processes, wait_for


@dataclass
class Coming:
    """A part of the gradient that is on its way.

    Attributes:
        own: this rank's share of it, where the sum belongs
        received: (ranks, own) what the ranks have for that
        request: the exchange
    """

    own: Vector
    received: Array
    request: Any


@dataclass
class Sums:
    """What an engine asks of MPI.

    Attributes:
        world: the processes
        parts: where the parts of the gradient begin and end, in the order in which they are
            finished
    """

    world: Processes
    parts: Sequence[tuple[int, int]] = ()
    _coming: deque[Coming] = field(default_factory=deque, repr=False)
    _started: int = field(default=0, repr=False)
    _memory: list[Array] = field(default_factory=list, repr=False)
    _agreement: tuple[Vector, Array, Any] | None = field(default=None, repr=False)

    def add(self, numbers: Vector) -> None:
        """Replace a few numbers by their sums over all ranks."""
        gathered, request = self._gathering(numbers)
        wait_for(request)
        add_up(gathered, numbers)

    def agree(self, numbers: Vector) -> None:
        """The same, until `finish`."""
        self._agreement = (numbers, *self._gathering(numbers))

    def start(self, numbers: Vector) -> None:
        """Begin to add up the next part of the gradient."""
        counts, starts = shares(numbers.size, self.world.count)
        received = self._received(numbers)
        own = [counts[self.world.rank]] * self.world.count
        kind = numbers.dtype.char
        request = self.world.for_parts.Ialltoallv([numbers, counts, starts, kind], [received, own, kind])
        start, count = starts[self.world.rank], counts[self.world.rank]
        self._coming.append(Coming(numbers[start : start + count], received, request))
        self._started += 1

    def progress(self) -> None:
        """Let what was begun go on, and add up what has arrived."""
        while self._coming and self._coming[0].request.Test():
            part = self._coming.popleft()
            add_up(part.received, part.own)

    def finish(self) -> None:
        """Wait for it: this rank then has the sums of its shares."""
        while self._coming:
            wait_for(self._coming[0].request)
            self.progress()
        self._started = 0
        assert self._agreement is not None
        numbers, gathered, request = self._agreement
        wait_for(request)
        add_up(gathered, numbers)

    def gather(self, numbers: Vector, good: bool) -> bool:
        """Receive the others' shares of a vector; whether all is good on all ranks."""
        from mpi4py import MPI

        votes, request = self._gathering(np.array([good], dtype=np.float64))
        requests = [request]
        for start, stop in self.parts:
            part = numbers[start:stop]
            counts, starts = shares(part.size, self.world.count)
            requests.append(self.world.for_parts.Iallgatherv(MPI.IN_PLACE, [part, counts, starts, part.dtype.char]))
        for request in requests:
            wait_for(request)
        return bool(votes.all())

    def _gathering(self, numbers: Vector) -> tuple[Array, Any]:
        """What all ranks have of a few numbers, once the request is done."""
        gathered = np.empty((self.world.count, numbers.size), dtype=numbers.dtype)
        return gathered, self.world.communicator.Iallgather(numbers, gathered)

    def _received(self, numbers: Vector) -> Array:
        """Memory for what arrives of the part that begins now, the same in each step."""
        if self._started == len(self._memory):
            own = shares(numbers.size, self.world.count)[0][self.world.rank]
            self._memory.append(np.empty((self.world.count, own), dtype=numbers.dtype))
        return self._memory[self._started]


def shares(size: int, count: int) -> tuple[list[int], list[int]]:
    """How many numbers of a part of this size each rank adds up, and where they begin."""
    ends = [size * k // count for k in range(count + 1)]
    return [stop - start for start, stop in pairwise(ends)], ends[:-1]


def add_up(of_ranks: Array | Sequence[Array], to: Vector) -> None:
    """Add up what the ranks have, in their order."""
    np.add(of_ranks[0], of_ranks[1], out=to)
    for numbers in of_ranks[2:]:
        np.add(to, numbers, out=to)
