"""Which process this is of a training that runs in several, and what they tell each other.

`mpirun -n 4 chainrule train ...` starts four processes, which run the same program. Each has a
rank, counted from 0. All take the same decisions; only the first records, prints and writes. Until
`start` is called there is one process, of rank 0; without mpirun it imports nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import mpirun
from chainrule.errors import SettingError, require_package

if TYPE_CHECKING:
    from chainrule.heartbeats import Mark


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Attributes:
        rank: the number of this one, counted from 0
        count: how many there are
        communicator: mpi4py's communicator of all of them; None if there is one process
        is_local: whether all are on one machine, so that they can share memory
        for_parts: another one, for large exchanges that go on at the same time: on each
            communicator all processes must begin exchanges in the same order
    """

    rank: int = 0
    count: int = 1
    communicator: Any = field(default=None, repr=False, compare=False)
    is_local: bool = False
    for_parts: Any = field(default=None, repr=False, compare=False)

    def gather(self, value: Any) -> list[Any]:
        """What each process passes, in the order of ranks, on every process: anything that JSON
        holds. All processes call it, at the same place.
        """
        if self.count == 1:
            return [value]
        own = np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
        sizes = np.empty(self.count, dtype=np.int64)
        wait_for(self.communicator.Iallgather(np.array([own.size]), sizes))
        texts = np.empty(sizes.sum(), dtype=np.uint8)
        wait_for(self.communicator.Iallgatherv(own, [texts, sizes]))
        ends = sizes.cumsum()
        return [json.loads(texts[end - size : end].tobytes()) for size, end in zip(sizes, ends, strict=True)]

    def broadcast(self, value: Any) -> Any:
        """The value that the first process passes, on every process, as `gather`."""
        return self.gather(value if self.rank == 0 else None)[0]

    def joined(self, rows: Any, counts: Sequence[int]) -> Any:
        """The rows of all processes, in the order of ranks, on every process.

        Args:
            rows: (counts[rank], ...) those of this one: an array of floats
            counts: how many each has
        """
        found = np.empty((sum(counts), *rows.shape[1:]), dtype=rows.dtype)
        width, kind = int(np.prod(rows.shape[1:])), rows.dtype.char
        sizes = [count * width for count in counts]
        own = [np.ascontiguousarray(rows), kind]
        wait_for(self.communicator.Iallgatherv(own, [found, sizes, None, kind]))
        return found

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            wait_for(self.communicator.Ibarrier())


SPINS, YIELDS, NAP = 200, 2000, 5e-5
"""How often a process looks for what it waits for before it lets others have the core, how often
until it sleeps, and for how many seconds.
"""


def wait_for(request: Any) -> None:
    """Wait for an exchange of MPI's, which itself would spin on a core that others may want."""
    looks = 0
    while not request.Test():
        looks += 1
        if looks > YIELDS:
            nap()
        elif looks > SPINS:
            time.sleep(0)


def nap() -> None:
    """Let others have the core, and note that this process waits for the others."""
    if _mark is not None:
        _mark.waits()
    time.sleep(NAP)


ALONE = Processes()
"""One process."""

SHARED = Path("/dev/shm")
"""Where Linux keeps memory that processes share."""

_world = ALONE
_mark: Mark | None = None
"""Where this process notes that it waits for the others."""


def world() -> Processes:
    """The processes that train together: this one alone until `start` is called."""
    return _world


def start() -> Processes:
    """Join the processes that mpirun started, if it did. From then on an exception that ends one of
    them ends all.

    Raises SettingError if there are several, but mpi4py is missing, finds no MPI or another one.
    """
    global _world, _mark
    _, started = mpirun.place()
    if started == 1 or _world.count > 1:
        return _world
    require_package("mpi4py", "mpi", "training in several processes")
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # on which a line below follows
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"mpi4py finds no MPI ({reason}): pip install 'chainrule[mpi]' installs one") from None
    every = MPI.COMM_WORLD
    if every.size != started:
        raise SettingError(
            f"mpirun started {started} processes, but the MPI of mpi4py ({MPI.get_vendor()[0]}) knows of {every.size}:"
            " use the mpirun that belongs to it (the extra mpi installs that of MPICH)"
        )
    mpirun.end_all_on_exceptions()
    near = every.Split_type(MPI.COMM_TYPE_SHARED)
    is_local = all(size == every.size for size in every.allgather(near.size))
    if near.rank == 0:
        _unlink_shared_memory()
    _world = Processes(every.rank, every.size, every.Dup(), is_local, every.Dup())
    _mark = mpirun.watch(_world.broadcast)
    return _world


OLD = 10.0
"""Seconds after which memory that no process has mapped was left behind."""


def _unlink_shared_memory() -> None:
    """Remove the name of the memory that MPICH's processes on a machine share, which all of them
    have mapped by now: MPICH does so when it ends, and leaves it behind when it is killed. And the
    names that this user's processes have left behind which were killed before they came to this.
    """
    with contextlib.suppress(OSError):
        own = _mapped("self")
        named = {path: path.stat() for path in SHARED.glob("mpich_shm_*")}
        old = {path for path, of in named.items() if of.st_uid == os.getuid() and time.time() - of.st_ctime > OLD}
        others = {name for path in Path("/proc").glob("[0-9]*") for name in _mapped(path.name)} if old - own else own
        for path in (named.keys() & own) | (old - others):
            path.unlink(missing_ok=True)


def _mapped(process: str) -> set[Path]:
    """The shared memory that a process has mapped; none if it has ended, or is another user's."""
    try:
        lines = Path("/proc", process, "maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line.split(maxsplit=5)[5]) for line in lines if str(SHARED) in line}


def use(found: Processes) -> Processes:
    """Train together with these processes, which have met in another way than by MPI."""
    global _world
    _world = found
    return _world


def rank() -> int:
    """The number of this process, counted from 0."""
    return _world.rank


def count() -> int:
    """How many processes train together."""
    return _world.count


def is_first() -> bool:
    """Whether this process records, prints and writes."""
    return _world.rank == 0
