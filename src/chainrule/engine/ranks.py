"""Sums over the processes of a training (ranks), each of which takes its share of every mini-batch.

The native engine calls it, on each rank in the same order. A sum has one order, that of the ranks, so
all of them get the same bits, and the same number of ranks always gets the same.

A part of the gradient is added up in two exchanges, which together move each number twice, whatever
the number of ranks: every rank receives its share of the part from all others (an all-to-all) and adds
them up, then all receive the sums (an all-gather). Both go on while earlier layers are derived.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.processes import Processes


@dataclass
class Part:
    """A part of the gradient on its way.

    Attributes:
        numbers: this rank's gradient there, then the sum
        received: (ranks, own) what the ranks have for this one's share
        request: the exchange that goes on
    """

    numbers: Vector
    received: Array
    request: Any


@dataclass
class Sums:
    """What the native engine asks of MPI.

    Attributes:
        world: the processes
        scattering, gathering: communicators of their own for the two exchanges, since on each of them
            all ranks must begin exchanges in the same order
    """

    world: Processes
    scattering: Any = field(init=False, repr=False)
    gathering: Any = field(init=False, repr=False)
    _arriving: deque[Part] = field(default_factory=deque, repr=False)
    _leaving: deque[Part] = field(default_factory=deque, repr=False)
    _memory: dict[int, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.scattering, self.gathering = self.world.communicator.Dup(), self.world.communicator.Dup()

    def add(self, numbers: Vector) -> None:
        """Replace a few numbers by their sums over all ranks."""
        gathered = np.empty((self.world.count, numbers.size), dtype=numbers.dtype)
        _wait(self.world.communicator.Iallgather(numbers, gathered))
        _add_up(gathered, numbers)

    def start(self, numbers: Vector) -> None:
        """Begin to add up a part of the gradient."""
        counts, starts = self._shares(numbers.size)
        own = counts[self.world.rank]
        received = self._received(numbers, self.world.count * own)
        request = self.scattering.Ialltoallv(
            [numbers, counts, starts, numbers.dtype.char], [received, [own] * self.world.count]
        )
        self._arriving.append(Part(numbers, received.reshape(self.world.count, own), request))

    def progress(self) -> None:
        """Let what was started go on: the sums of parts that have arrived leave."""
        while self._arriving and self._arriving[0].request.Test():
            self._send(self._arriving.popleft())
        while self._leaving and self._leaving[0].request.Test():
            self._leaving.popleft()

    def finish(self) -> None:
        """Wait for all parts."""
        while self._arriving:
            _wait(self._arriving[0].request)
            self._send(self._arriving.popleft())
        while self._leaving:
            _wait(self._leaving.popleft().request)

    def _send(self, part: Part) -> None:
        counts, starts = self._shares(part.numbers.size)
        start, count = starts[self.world.rank], counts[self.world.rank]
        _add_up(part.received, part.numbers[start : start + count])
        from mpi4py import MPI

        part.request = self.gathering.Iallgatherv(MPI.IN_PLACE, [part.numbers, counts, starts, part.numbers.dtype.char])
        self._leaving.append(part)

    def _shares(self, size: int) -> tuple[list[int], list[int]]:
        """How many numbers of so many each rank adds up, and where they begin."""
        ends = [size * k // self.world.count for k in range(self.world.count + 1)]
        return [stop - start for start, stop in pairwise(ends)], ends[:-1]

    def _received(self, numbers: Vector, size: int) -> Vector:
        """Memory for what arrives of a part, the same in each step."""
        key = numbers.__array_interface__["data"][0]
        if key not in self._memory:
            self._memory[key] = np.empty(size, dtype=numbers.dtype)
        return self._memory[key]


SPINS = 200
"""How often a rank looks for what it waits for before it lets others have the core: some 100 us."""


def _wait(request: Any) -> None:
    """Wait for an exchange. MPI itself would spin, on a core that another rank, or another program,
    may want.
    """
    spins = 0
    while not request.Test():
        spins += 1
        if spins > SPINS:
            time.sleep(0)


def _add_up(of_ranks: Array, to: Vector) -> None:
    """Add up what the ranks have, in their order."""
    np.add(of_ranks[0], of_ranks[1], out=to)
    for numbers in of_ranks[2:]:
        np.add(to, numbers, out=to)
