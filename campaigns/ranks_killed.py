"""What happens to trainings under mpirun when a rank, a machine or mpirun itself fails.

    python campaigns/ranks_killed.py --rounds 2

In each round everything of FAILURES happens once, to a random rank of two to four, at a random
moment: from the first imports on, or while it trains. Then all processes must end within 10 seconds;
mpirun must return the exit code and print one line with the reason; no shared memory may be left once
the next training has begun, and no temporary files; and the run, if it had begun, must open and have
its last step repeated to the same bits. The next training resumes it. In the end it is resumed on 1,
2, 3 and 4 ranks. Anything else is a finding: the program prints it, and exits with 1. Needs the extra
mpi.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chainrule import Run
from chainrule.errors import ChainruleError

AT_ONCE = (2, 3, 4)
"""The numbers of ranks."""
WITHIN = 10.0
"""Seconds within which all processes end after a failure."""
PATIENCE = 120.0
"""Seconds after which a training is given up that does not begin, or does not end."""
ENDLESS = 10_000_000
"""The epochs of a training that does not end by itself."""
NETWORK = ("--network", "6 tanh, dropout 0.2, batchnorm", "--batch-size", "8", "--patience", "none")
SHARED, OLD = Path("/dev/shm"), 10.0
LEFT = set[str]()
"""Shared memory that was left by ranks that ended before they had met: the next training after OLD seconds
removes it."""

ON_ONE_RANK = (
    "import os, resource; from chainrule import __main__; rank = int(os.environ['PMI_RANK']); {0}; __main__.main()"
)
"""A program that does something before the command begins."""
WITH_CALLBACK = (
    "import os; from chainrule import Recorder, processes, train; processes.start(); events = []\n"
    "def count(event):\n"
    "    events.append(event)\n"
    "    if len(events) > 40: raise ValueError('a mistake')\n"
    "train('iris', network='4 tanh', epochs=1000, patience=None, callbacks=[Recorder('own'), count])"
)
"""A user's program whose callback, which the first rank calls, fails."""


def shared() -> set[str]:
    """The memory that MPICH's processes share, by name."""
    return {path.name for path in SHARED.glob("mpich*")}


def mpirun() -> str:
    """The mpirun beside this Python, or the one that is found."""
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if beside.exists() else "mpirun"


class Training:
    """A training in a folder, from the beginning or resumed."""

    def __init__(self, folder: Path, ranks: int, program: str = "", epochs: int = ENDLESS) -> None:
        self.folder, self.ranks, self.errors = folder, ranks, folder / "errors"
        begun = (folder / "run" / "manifest.json").exists()
        what = ("--resume", "run") if begun else ("iris", *NETWORK, "-o", "run")
        python = (sys.executable, *(("-c", program) if program else ("-m", "chainrule")))
        command = [mpirun(), "-n", str(ranks), *python, "train", *what, "--epochs", str(epochs)]
        self.steps_before = self.steps
        self.memory_before = shared()
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, "RANKS_KILLED": str(folder)}, stdout=subprocess.DEVNULL,
                stderr=errors, start_new_session=True,
            )  # fmt: skip

    @property
    def steps(self) -> int:
        """The steps that the run keeps; 0 if it has not begun."""
        manifest = self.folder / "run" / "manifest.json"
        return json.loads(manifest.read_text())["steps"] if manifest.exists() else 0

    @property
    def lines(self) -> list[str]:
        """What was printed about a failure: neither the introduction nor the progress."""
        text = self.errors.read_text(errors="replace")
        return [line for line in re.split("[\r\n]+", text) if re.match("chainrule:|=|BAD|Abort|Fatal", line)]

    def processes(self, rank: int | None = None) -> list[int]:
        """Those of this rank, first the one that waits; of all ranks without one."""
        marks = {f"RANKS_KILLED={self.folder}".encode()} | (
            {f"PMI_RANK={rank}".encode()} if rank is not None else set()
        )
        found: dict[int, int] = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX" and marks <= {*(path / "environ").read_bytes().split(b"\0")}:
                    found[int(path.name)] = int(parent)
            except OSError:
                continue
        return sorted(found, key=lambda process: found[process] in found)

    def until(self, condition: Callable[[], object]) -> bool:
        """Wait until the condition holds, or the training has ended, or PATIENCE is over."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if condition():
                return True
            if self.process.poll() is not None:
                return bool(condition())
            time.sleep(0.02)
        return False

    def until_ended(self) -> bool:
        """Wait until mpirun and all ranks have ended; whether they do."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None or self.processes():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def end(self) -> None:
        """End what is left of it."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def send(number: int) -> Callable[[Training, int], None]:
    """Send a signal to the process that works as a rank."""
    return lambda training, rank: os.kill(training.processes(rank)[-1], number)


def stop_machine(training: Training, rank: int) -> None:
    """Stop all processes of a rank: to the others it looks as if its machine were lost."""
    for process in training.processes(rank):
        os.kill(process, signal.SIGSTOP)


def fill_disk(training: Training, rank: int) -> None:
    """Let a rank write no more to any file."""
    resource.prlimit(training.processes(rank)[-1], resource.RLIMIT_FSIZE, (0, 0))


def end_mpirun(number: int) -> Callable[[Training, int], None]:
    """Send a signal to mpirun itself."""
    return lambda training, _: os.kill(training.process.pid, number)


@dataclass
class Failure:
    """Something that fails.

    Attributes:
        strike: makes it fail; None if the program does so by itself
        code: the exit code of mpirun; None: any but 0
        told: what the line says, as a pattern with {rank} and {ranks}; "" for none
        rank: which rank fails, or any
        early: whether it may also fail before training begins
        program: what runs in place of the command
    """

    strike: Callable[[Training, int], None] | None
    code: int | None
    told: str
    rank: int | None = None
    early: bool = False
    program: str = ""


NAMED = r"rank {rank} of {ranks} on \S+"
FAILURES = {
    "SIGKILL": Failure(send(signal.SIGKILL), 137, NAMED + r" .*was ended by SIGKILL, perhaps", early=True),
    "SIGTERM": Failure(send(signal.SIGTERM), 143, NAMED + r" .*was ended by SIGTERM;", early=True),
    "SIGSEGV": Failure(send(signal.SIGSEGV), 139, NAMED + r" .*was ended by SIGSEGV;", early=True),
    "SIGABRT": Failure(send(signal.SIGABRT), 134, NAMED + r" .*was ended by SIGABRT;", early=True),
    "SIGSTOP": Failure(send(signal.SIGSTOP), 1, NAMED + r" .*has been stopped for 6 s;", early=True),
    "a stopped or lost machine": Failure(stop_machine, 1, NAMED + r" has not been heard of for 6 s: it or its machine"),
    "a full disk on rank 0": Failure(fill_disk, 2, "run.*", rank=0),
    "out of memory": Failure(
        None, None, r"rank 1 of {ranks} on \S+",
        program="rank == 1 and resource.setrlimit(resource.RLIMIT_AS, (rng_bytes, rng_bytes))",
    ),
    "no data on rank 1": Failure(
        None, 2, r"rank 1 of {ranks} on \S+: run: .+", program="rank == 1 and os.chdir('/')",
    ),
    "a rank that does not come": Failure(
        None, 1, r"the other ranks have waited for rank 1 of {ranks} on \S+ for 5 s, which is alive",
        program="import time; from chainrule.runs import fitting; os.environ['CHAINRULE_PATIENCE'] = '5'; "
        "fitting.agree = fitting.agree if rank != 1 else lambda *_: time.sleep(1000)",
    ),
    "an exception in a callback": Failure(None, 1, "", program=WITH_CALLBACK),
    "Ctrl-C": Failure(end_mpirun(signal.SIGINT), 0, ""),
    "SIGTERM to mpirun": Failure(end_mpirun(signal.SIGTERM), 143, r"rank 0 of {ranks} on \S+ .*was ended by SIGTERM;"),
    "SIGKILL to mpirun": Failure(end_mpirun(signal.SIGKILL), -signal.SIGKILL, ""),
}  # fmt: skip


@dataclass
class Seen:
    """What was seen of a failure: how often, and the seconds until all had ended, at most."""

    count: int = 0
    longest: float = 0.0
    codes: set[int] = field(default_factory=set)
    whole: int = 0


def attempt(folder: Path, failure: Failure, rng: random.Random, seen: Seen) -> str:
    """Train until this fails; what went wrong, or nothing."""
    ranks, program = rng.choice(AT_ONCE), failure.program.replace("rng_bytes", str(rng.randrange(4, 16) * 10_000_000))
    rank = rng.randrange(ranks) if failure.rank is None else failure.rank
    if program and program != WITH_CALLBACK:
        program = ON_ONE_RANK.format(program)
    training = Training(folder, ranks, program)
    try:
        began = time.monotonic()
        if failure.strike is not None:
            is_early = failure.early and rng.random() < 0.4
            if not training.until(lambda: len(training.processes(rank)) >= 2):
                return f"rank {rank} did not begin: {training.lines}"
            if not is_early and not training.until(lambda: training.steps > training.steps_before):
                return f"training did not begin: {training.lines}"
            time.sleep(rng.random() * 2)
            began = time.monotonic()
            failure.strike(training, rank)
        elif not training.until(lambda: training.lines or training.process.poll() is not None):
            return "it goes on"
        else:
            began = time.monotonic()
        if not training.until_ended():
            return f"processes are left: {training.processes()}"
        return ended(training, failure, rank, time.monotonic() - began, seen) or whole(folder, seen)
    finally:
        training.end()


def ended(training: Training, failure: Failure, rank: int, taken: float, seen: Seen) -> str:
    """What is wrong with how it ended."""
    code, lines = training.process.returncode, training.lines
    seen.count, seen.longest, seen.codes = seen.count + 1, max(seen.longest, taken), seen.codes | {code}
    if taken > WITHIN:
        return f"it took {taken:.1f} s until all had ended"
    if code == 0 if failure.code is None else code != failure.code:
        return f"rank {rank} of {training.ranks}: exit code {code}, {lines}"
    told = failure.told.format(rank=rank, ranks=training.ranks)
    if told and (len(lines) != 1 or not re.match(f"chainrule: {told}", lines[0])):
        return f"rank {rank} of {training.ranks}: not the one line {told!r}, but {lines}"
    if not told and lines:
        return f"lines without a reason: {lines}"
    LEFT.update(shared() - training.memory_before)
    return ""


def whole(folder: Path, seen: Seen) -> str:
    """What is wrong with the run, if it has begun."""
    if not (folder / "run" / "manifest.json").exists():
        return ""
    run = Run.open(folder / "run")
    if steps := run.manifest["steps"]:
        again = run.at(steps - 1).after.parameters
        if not np.array_equal(again, run.trained.progress.position.parameters):
            return f"step {steps - 1} is repeated to other bits"
    seen.whole += 1
    return ""


def resumed(folder: Path, ranks: int) -> str:
    """Resume the run for two epochs on so many ranks; what is wrong with it."""
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    training = Training(folder, ranks, epochs=manifest["epochs"] + 2)
    try:
        if training.process.wait(PATIENCE):
            return f"on {ranks} ranks it ended with {training.process.returncode}, {training.lines}"
    finally:
        training.end()
    allowed = {*json.loads((folder / "run" / "manifest.json").read_text())["files"], "manifest.json", "lock"}
    if left := {path.name for path in (folder / "run").iterdir()} - allowed:
        return f"files are left: {left}"
    return whole(folder, Seen())


def main() -> int:
    """Run the campaign; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="how often everything happens")
    parser.add_argument("--only", choices=FAILURES, action="append", help="only this")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, seen, findings = random.Random(options.seed), defaultdict[str, Seen](Seen), 0

    def say(what: str, problem: str) -> int:
        if problem:
            print(f"found, with seed {options.seed}: {what}: {problem}", flush=True)
        return int(bool(problem))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what in (options.only or [*FAILURES]) * options.rounds:
            try:
                problem = attempt(folder, FAILURES[what], rng, seen[what])
            except ChainruleError as error:
                problem = f"refused: {error}"
            findings += say(what, problem)
        if (folder / "run" / "manifest.json").exists():
            time.sleep(OLD)
            for ranks in (1, 2, 3, 4):
                findings += say("resuming", resumed(folder, ranks))
        findings += say("shared memory", ", ".join(LEFT & shared()))
    for what, one in seen.items():
        codes = ", ".join(map(str, sorted(one.codes)))
        print(f"{what:28} {one.count:3} times, all ended within {one.longest:4.1f} s, exit code {codes}", flush=True)
    print(f"{sum(one.whole for one in seen.values())} times the run was whole; {findings} findings")
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
