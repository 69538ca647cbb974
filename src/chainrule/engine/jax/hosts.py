"""Several processes, on one machine or on many, whose devices compute together by jax.distributed.

Each process runs the same command; the first one, the coordinator, tells the others where everybody
is, and notices when one has died. Sums over the processes are made by XLA: between CPUs by Gloo,
between GPUs by NCCL, between TPUs by their own links.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from chainrule.errors import DataError, SettingError, require, setting
from chainrule.processes import Processes

SILENCE = 10
"""Seconds after which a process that is not heard of is taken to be dead."""
PATIENCE = 120
"""Seconds in which all processes have to be there."""


class Meeting(NamedTuple):
    """Where processes meet.

    Attributes:
        coordinator: the address and port of the first process, host:port
        processes: how many there are
        process: the number of this one, counted from 0
    """

    coordinator: str
    processes: int
    process: int


VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process": "JAX_PROCESS_ID",
}
"""The environment variables that say the same, as JAX names them."""


@contextmanager
def noticed(world: Processes) -> Iterator[None]:
    """Turn what XLA says of a process that is lost into a DataError of one line; and leave without
    a meeting at the end, for which the others would be waited for.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if world.count == 1:
            raise
        atexit.register(_leave)
        reason = str(error).strip().partition("\n")[0][:200]
        where = f"process {world.rank} of {world.count}"
        raise DataError(f"{where}: another process has ended or can't be reached ({reason})") from None


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(2)


@dataclass(frozen=True)
class Hosts(Processes):
    """The processes of jax.distributed; as `Processes`, without MPI."""

    def gather(self, value: Any) -> list[Any]:
        """What each process passes, in the order of ranks, on every process."""
        text = json.dumps(value).encode()
        with noticed(self):
            longest = int(multihost_utils.process_allgather(np.array([len(text)])).max())
            padded = np.zeros(1 << max(6, (longest - 1).bit_length()), np.uint8)  # few sizes are compiled
            padded[: len(text)] = np.frombuffer(text, np.uint8)
            texts = np.asarray(multihost_utils.process_allgather(padded)).reshape(self.count, -1)
        return [json.loads(one.tobytes().rstrip(b"\0")) for one in texts]

    def wait(self) -> None:
        """Wait until all processes are here."""
        with noticed(self):
            multihost_utils.sync_global_devices("chainrule")

    def rest(self) -> None:
        """The same for long."""
        self.wait()


def meeting(coordinator: str | None, processes: int | None, process: int | None) -> Meeting | None:
    """Where this process meets others, from options or else from the environment; None if it is
    alone. Raises SettingError if only a part is given, or a number is out of range.
    """
    options: dict[str, Any] = {"coordinator": coordinator, "processes": processes, "process": process}
    given = {name: os.environ.get(VARIABLES[name]) if value is None else str(value) for name, value in options.items()}
    if all(value is None for value in given.values()):
        return None
    missing = [setting(name) for name, value in given.items() if value is None]
    every = "several processes need --coordinator HOST:PORT, --processes and --process"
    require(not missing, f"{every}: {', '.join(missing)} is missing")
    host, _, port = str(given["coordinator"]).rpartition(":")
    valid = bool(host) and port.isdecimal()
    require(valid, f"{setting('coordinator', given['coordinator'])}: it is the host and port of process 0, host:port")
    numbers = [str(given[name]) for name in ("processes", "process")]
    require(all(text.isdecimal() for text in numbers), f"{every}: the last two are whole numbers")
    count, own = map(int, numbers)
    require(own < count, f"{setting('process', own)}: the processes are counted from 0, up to {count - 1}")
    return Meeting(str(given["coordinator"]), count, own)


def join(at: Meeting, devices: int | None = None) -> Processes:
    """Meet the other processes, each with so many devices; before anything else is done with JAX.

    Raises SettingError if they do not meet.
    """
    from chainrule.engine.jax.placement import divide_cpu

    if devices is not None:
        divide_cpu(devices)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            at.coordinator, at.processes, at.process, initialization_timeout=PATIENCE,
            heartbeat_timeout_seconds=SILENCE, shutdown_timeout_seconds=PATIENCE,
        )  # fmt: skip
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"process {at.process} of {at.processes} at {at.coordinator}: {reason}") from None
    return Hosts(at.process, at.processes)


def keep_stdout() -> None:
    """Leave standard output to this program: Gloo writes there whom it is connected to."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def introduce(world: Processes, devices: int | None = None) -> None:
    """Let JAX know the processes that MPI has started; they meet where the first one is."""
    if jax.distributed.is_initialized():
        return
    with socket.create_server(("", 0)) as probe:
        own = f"{socket.gethostbyname(socket.gethostname())}:{probe.getsockname()[1]}"
    join(Meeting(world.broadcast(own), world.count, world.rank), devices)
