"""Several processes, on one machine or on many, whose devices compute together by jax.distributed.

Each process runs the same command; the first one, the coordinator, tells the others where everybody
is, and notices when one has died. Sums over the processes are made by XLA: between CPUs by Gloo,
between GPUs by NCCL, between TPUs by their own links.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

import jax
import numpy as np
from jax.experimental import multihost_utils

from chainrule import mpirun
from chainrule.errors import DataError, SettingError, require, setting
from chainrule.processes import Processes

SILENCE = 8
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
BINDING = "JAX_COORDINATOR_BIND_ADDRESS"
"""The environment variable with the address at which process 0 listens, if that is another one."""


@contextmanager
def noticed(world: Processes) -> Iterator[None]:
    """Turn what XLA says of a process that is lost into a DataError of one line; and leave without
    a meeting at the end, for which the others would be waited for.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # either may say it, with the status of XLA's
        if world.count == 1 or not re.match("[A-Z_]+: ", str(error)):
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

    bound = _bound(at)
    if devices is not None:
        divide_cpu(devices)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call]
    # Else JAX takes SIGTERM for itself, and processes go on.
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            at.coordinator, at.processes, at.process, initialization_timeout=PATIENCE, coordinator_bind_address=bound,
            heartbeat_timeout_seconds=SILENCE, shutdown_timeout_seconds=PATIENCE,
        )  # fmt: skip
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"process {at.process} of {at.processes} at {at.coordinator}: {reason}") from None
    mpirun.end_all_on_exceptions()  # at an ordinary exit JAX would wait for the others
    counts = [len([one for one in jax.devices() if one.process_index == k]) for k in range(at.processes)]
    if len({*counts}) > 1:
        told = ", ".join(map(str, counts))
        raise SettingError(f"each process needs the same number of devices; those of the processes are {told}")
    return Hosts(at.process, at.processes)


def _bound(at: Meeting) -> str | None:
    """Where the first process listens: at the coordinator's address alone, not at all of this
    machine's, as JAX does by default; None for the other processes.

    Raises SettingError if there is no such host, or nothing can listen there.
    """
    host, _, port = at.coordinator.rpartition(":")
    where = f"process {at.process} of {at.processes}: the coordinator {at.coordinator}"
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise SettingError(f"{where}: there is no such host and port ({error})") from None
    if at.process:
        return None
    if BINDING in os.environ:
        return os.environ[BINDING]
    try:
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingError(f"{where}: another program listens at port {port}; choose another one") from None
        rule = f"it must be an address of the machine of process 0 ({error.strerror})"
        raise SettingError(f"{where}: {rule}; {BINDING} names one to listen at instead") from None
    return f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"


def keep_streams() -> None:
    """Leave standard output and error to this program. Gloo writes on the one whom it is connected
    to, and XLA on the other, on many lines, that another process is lost, before it aborts; of that
    one line is left. Where TF_CPP_MIN_LOG_LEVEL=0 is in the environment, what XLA says is shown.
    """
    sys.stdout, _ = _moved(sys.stdout, 1)
    if os.environ.get(LOG_LEVEL) == "0":
        return
    sys.stderr, mpirun.ERRORS[0] = _moved(sys.stderr, 2)

    def aborted(number: int) -> None:
        mpirun.report(
            "another process has ended or can't be reached, or XLA has failed;"
            f" {LOG_LEVEL}=0 in the environment shows its report"
        )
        _leave()

    _HANDLERS.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted))
    ctypes.CDLL(None).signal(signal.SIGABRT, _HANDLERS[-1])


LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""The environment variable with which XLA's messages are shown."""
_HANDLERS: list[Any] = []
"""What C calls, which Python must not free."""


def _moved(stream: TextIO, number: int) -> tuple[TextIO, int]:
    """A stream of Python's on a copy of its file, and the number of that; the file itself leads
    nowhere. A stream that leads elsewhere already stays.
    """
    stream.flush()
    copy = os.dup(number)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    is_own = stream.fileno() == number
    os.dup2(nowhere, number)
    os.close(nowhere)
    if not is_own:
        return stream, copy
    return os.fdopen(copy, "w", encoding=stream.encoding, errors=stream.errors, buffering=1), copy


def introduce(world: Processes, devices: int | None = None) -> None:
    """Let JAX know the processes that MPI has started; they meet where the first one is."""
    if jax.distributed.is_initialized():
        return
    address = _own_address(world)
    with socket.create_server((address, 0)) as probe:
        own = f"{address}:{probe.getsockname()[1]}"
    join(Meeting(world.broadcast(own), world.count, world.rank), devices)


def _own_address(world: Processes) -> str:
    """The address at which the others reach this process. That of its host's name may be one of the
    loopback, as on Debian.
    """
    if world.is_local:
        return "127.0.0.1"
    own = socket.gethostname()
    names = world.gather(own)
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((next(name for name in names if name != own), 9))  # which sends nothing
        return str(probe.getsockname()[0])
    return socket.gethostbyname(own)
