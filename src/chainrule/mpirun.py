"""A process that mpirun has started: how it ends, and with it all others.

MPICH's mpirun ends all ranks when one is killed, but says so in a page of its own, and does nothing
when one ends with an error before it has reached MPI. So the process that mpirun starts only waits
for a child, which does the work, inherits the connection to mpirun, and is the rank. If the child
is killed, the waiting process says by which signal in one line; if it fails in any other way, the
child has said why. Then mpirun is asked to end all ranks with the exit code. MPI is not needed for
this, and not imported.

What mpirun tells a rank is in the environment. The request is a line of PMI-1, the protocol between
MPICH's process manager and its processes (Balaji et al., PMI: A scalable parallel
process-management interface for extreme-scale systems, EuroMPI 2010). Under other launchers a rank
that fails ends with its exit code, and what happens to the others is the launcher's business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from chainrule.heartbeats import Address, Link, Mark

COUNTS = {"OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE", "PMI_RANK": "PMI_SIZE", "PMIX_RANK": "SLURM_NTASKS"}
"""The variables with the rank and with the number of ranks: those of Open MPI (which may have been
started by another process manager, whose variables its ranks see), of MPICH, Intel MPI and Slurm's
PMI, and of Slurm's PMIx.
"""
LOCAL = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
"""The variables with the number of ranks on this machine."""

THREADS = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")
"""The variables with the number of threads of a process."""

PATIENCE = 3.0
"""Seconds that a rank with an error waits for the first rank to report the same error for all."""
ARRIVAL = 0.2
"""Seconds that mpirun gets to forward a line before it is asked to end all ranks."""

LOST = 1
"""The exit code where a rank is stopped or lost, or does not come."""
ERRORS = [2]
"""The number of the file that is the real standard error."""

PARENT_DEATH_SIGNAL = 1
"""Linux' prctl option PR_SET_PDEATHSIG."""

_link: Link | None = None
"""What this rank shares with the process that waits for it."""


def place() -> tuple[int, int]:
    """The rank of this process and the number of ranks; (0, 1) without mpirun.

    Examples:
        >>> place()
        (0, 1)
    """
    for rank, count in COUNTS.items():
        if os.environ.get(rank, "").isdecimal() and os.environ.get(count, "").isdecimal():
            return int(os.environ[rank]), int(os.environ[count])
    return 0, 1


def refusal() -> str:
    """Why several processes would train without knowing of each other; empty if they would not."""
    told = next((pair for pair in COUNTS.items() if pair[0] in os.environ), None)
    if told is not None:
        numbers = [os.environ.get(name, "") for name in told]
        if all(number.isdecimal() for number in numbers) and int(numbers[0]) < int(numbers[1]):
            return ""
        found = " and ".join(f"{name} is {os.environ.get(name, 'missing')}" for name in told)
        return f"this is not a rank that mpirun has started: {found}; start it with mpirun, or unset {told[0]}"
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "")
    if tasks.isdecimal() and int(tasks) > 1:
        separate = "SLURM_STEP_NUM_TASKS=1 lets each train by itself"
        return f"srun has started {tasks} processes, but not as ranks of MPI: start them by mpirun ({separate})"
    return ""


def on_this_machine() -> int:
    """The number of ranks on this machine; 1 without mpirun."""
    told = [os.environ[name] for name in LOCAL if os.environ.get(name, "").isdecimal()]
    return max(1, int(told[0])) if told and place()[1] > 1 else 1


def name() -> str:
    """What this rank is called in messages, counted from 0."""
    import socket  # which takes long to import

    rank, count = place()
    return f"rank {rank} of {count} on {socket.gethostname()}"


def begin(together: bool) -> None:
    """Begin as one of several ranks, if mpirun has started several.

    Goes on in a child process, for which this one waits. The child of a rank but the first prints
    nothing and leaves Ctrl-C to the first.

    Args:
        together: whether the ranks work together; else the first works as without mpirun, and the
            others end here
    """
    rank, count = place()
    if together and (problem := refusal()):
        _write(problem)
        os._exit(2)
    if count == 1:
        return
    if not together:
        if rank:
            os._exit(0)
        for name in COUNTS:
            os.environ.pop(name, None)
        return
    from chainrule.heartbeats import Link

    global _link
    waiting, _link = os.getpid(), Link(rank == 0, on_this_machine() == count)
    child = os.fork()
    if child:
        _wait(child, _link)
    _link.of_rank()
    _die_with(waiting)
    _divide_cores()
    end_all_on_exceptions()
    if rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout, sys.stderr = _nowhere(), _nowhere()


def watch(broadcast: Callable[[Address | None], Address]) -> Mark | None:
    """Let the waiting processes watch over all ranks, which have met; where this one marks that it
    waits. None if nobody waits for it, as for a user's program.

    Args:
        broadcast: gives all ranks what the first passes
    """
    address = broadcast(None if _link is None else _link.address)
    if _link is None or address is None:
        return None
    _link.meet(address)
    return _link.mark


def report(message: str) -> None:
    """Write an error in one line: from the first rank as it is, from another one with its name, and
    only if the first does not end all ranks meanwhile, as it does with the same error. Without
    mpirun it is printed.
    """
    rank, count = place()
    if count == 1:
        print(f"chainrule: {message}", file=sys.stderr)
        return
    if rank:
        time.sleep(PATIENCE)
        message = f"{name()}: {message}"
    _write(message)


def leave(code: int) -> None:
    """End this rank now, and with it all others, with this exit code."""
    if _link is not None:
        _link.mark.leave()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _end_all(code)


def end_all_on_exceptions() -> None:
    """From now on an exception that ends Python ends all ranks, as it does on the command line: for
    the user's own programs under mpirun.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if place()[0]:
            report(" ".join(f"{kind.__name__}: {error}".split()))
        else:
            shown(kind, error, trace)
        leave(1)

    shown, sys.excepthook = sys.excepthook, hook


def _divide_cores() -> None:
    """Let the ranks on this machine share its cores, unless the user says how many threads each
    takes. NumPy's BLAS and Polars read these variables when they are imported.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = str(max(1, cores // on_this_machine()))
    for name in THREADS:
        os.environ.setdefault(name, share)


RESUMED = "the run, if it had begun, keeps its last state, and --resume continues it"


def _wait(child: int, link: Link) -> None:
    """Wait for the rank, and end as it did; or end it, if another one is lost."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the child gets, too

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    rank, count = place()
    from chainrule.heartbeats import Problem, Watch  # only where ranks train

    ended = Watch(rank, count, name(), child, link).until_end()
    if isinstance(ended, Problem):
        os.kill(child, signal.SIGKILL)
        if ended.is_known:
            time.sleep(PATIENCE)
        _write(f"{ended.text}; {RESUMED}")
        _end_all(LOST)
    code = os.waitstatus_to_exitcode(ended)
    if code < 0:
        told = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        because = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
        if rank and code == -signal.SIGTERM:  # all get it, and the first says so
            time.sleep(PATIENCE)
        _write(f"{name()} (process {child}) was ended by {told}{because}; {RESUMED}")
        code = 128 - code
    elif code and not link.mark.has_left:
        time.sleep(PATIENCE)
        _write(f"{name()} (process {child}) ended with exit code {code}, and without a reason; {RESUMED}")
    if code:
        _end_all(code)
    os._exit(0)


def _end_all(code: int) -> NoReturn:
    """Ask mpirun to end all ranks with this exit code, and end."""
    connection = os.environ.get("PMI_FD", "")
    if connection.isdecimal() and "MPI_LOCALRANKID" in os.environ:  # it is MPICH's own
        time.sleep(ARRIVAL)
        with contextlib.suppress(OSError):
            os.write(int(connection), b"cmd=abort exitcode=%d\n" % code)
            time.sleep(PATIENCE)  # until it does
    os._exit(code)


def _die_with(parent: int) -> None:
    """Have this process killed when its parent ends; only Linux knows how."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _write(message: str) -> None:
    """Write a line to the real standard error at once: no other rank's line gets into it."""
    with contextlib.suppress(OSError):
        os.write(ERRORS[0], f"chainrule: {message}\n".encode(errors="backslashreplace"))


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")
