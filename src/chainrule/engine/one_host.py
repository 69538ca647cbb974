"""Memory that all ranks on one machine share, where they add up gradients without messages.

The native engine does the rest (native/shared_ranks.h): when all have derived, each adds up its
share of the gradient from the memory of all of them, in the order of ranks, so the bits are those
of `Sums`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Vector
from chainrule.engine.buffers import CACHE_LINE, aligned
from chainrule.processes import Processes, nap


@dataclass
class SharedMemory:
    """Memory of all ranks, by MPI.

    Attributes:
        world: the processes, all on one machine
    """

    world: Processes
    _windows: list[Any] = field(default_factory=list, repr=False)

    def of_ranks(self, size: int) -> list[Vector]:
        """So many float64 numbers of each rank, 0 at first, which all see."""
        from mpi4py import MPI

        window = MPI.Win.Allocate_shared(size * 8 + CACHE_LINE, 1, comm=self.world.communicator)
        window.Lock_all()
        self._windows.append(window)
        memory: list[Any] = [window.Shared_query(rank)[0] for rank in range(self.world.count)]
        numbers = [np.frombuffer(one, dtype=np.float64, count=size + CACHE_LINE // 8) for one in memory]
        numbers[self.world.rank][:] = 0
        window.Sync()
        starts = self.world.gather(aligned(numbers[self.world.rank]))
        return [own[start : start + size] for own, start in zip(numbers, starts, strict=True)]

    def pause(self) -> None:
        """Wait a moment for the others: let MPI go on, and Python handle signals."""
        self.world.communicator.Iprobe()
        nap()
