"""Which process this is of a training that runs in several, and what they tell each other.

`mpirun -n 4 chainrule train ...` starts four processes, which run the same program. Each has a
rank, counted from 0. All take the same decisions; only the first records, prints and writes.
Without mpirun there is one process, of rank 0, and nothing here imports MPI.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from chainrule import mpirun
from chainrule.errors import SettingError, require_package

REST = 0.01
"""Seconds between two looks at whether the others have come."""

RANKS = {  # what process managers set: the rank, and how many processes there are
    "PMI_RANK": "PMI_SIZE",  # MPICH, Intel MPI, and Slurm with them
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE",  # Open MPI
    "PMIX_RANK": "SLURM_NTASKS",
}


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Attributes:
        rank: the number of this one, counted from 0
        count: how many there are
        communicator: mpi4py's communicator of all of them; None if there is one process
    """

    rank: int = 0
    count: int = 1
    communicator: Any = field(default=None, repr=False)

    def broadcast(self, value: Any) -> Any:
        """The value that the first process passes, on every process: anything that JSON holds. All
        processes call it, at the same place.
        """
        if self.count == 1:
            return value
        text = json.dumps(value).encode() if self.rank == 0 else b""
        size = bytearray(len(text).to_bytes(8, "little"))
        self.communicator.Bcast(size)
        buffer = bytearray(text or int.from_bytes(size, "little"))
        self.communicator.Bcast(buffer)
        return json.loads(buffer.decode())

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            self.communicator.Barrier()

    def rest(self) -> None:
        """The same for long: without keeping a core busy."""
        if self.count > 1:
            arrived = self.communicator.Ibarrier()
            while not arrived.Test():
                time.sleep(REST)


@cache
def world() -> Processes:
    """The processes that mpirun started; one without mpirun.

    Raises SettingError if there are several, but mpi4py is missing or belongs to another MPI.
    """
    variable = next((name for name in RANKS if name in os.environ), None)
    started = int(os.environ.get(RANKS[variable], "0")) if variable else 1
    if started == 1:
        return Processes()
    require_package("mpi4py", "mpi", "training in several processes")
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if started and world.size != started:
        raise SettingError(
            f"mpirun started {started} processes, but the MPI of mpi4py ({MPI.get_vendor()[0]}) knows of {world.size}:"
            " use the mpirun that belongs to it (that of MPICH is installed beside chainrule by the extra mpi)"
        )
    if world.size == 1:
        return Processes()
    mpirun.end_all_on_exceptions()
    return Processes(world.rank, world.size, world)


def rank() -> int:
    """The number of this process, counted from 0."""
    return world().rank


def count() -> int:
    """How many processes train together."""
    return world().count


def is_first() -> bool:
    """Whether this process records, prints and writes."""
    return rank() == 0
