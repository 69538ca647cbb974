"""Kills ranks of trainings under mpirun at random moments, resumes them on other numbers of ranks, and
checks that the run is whole.

    python campaigns/ranks_killed.py --count 20 --minutes 30

Each time all ranks must end within 10 seconds, mpirun must return the killed rank's exit code and
print one line with its reason, and the run, if it had begun, must open and have its last step
repeated to the same bits; the training that is resumed in the end must complete. Anything else is a
finding: the program prints it, and exits with 1. Needs the extra mpi.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from chainrule import Run
from chainrule.errors import ChainruleError

EPOCHS, AT_ONCE = 400, (2, 3, 4)
"""The epochs of a training, and the numbers of ranks."""
WITHIN = 10.0
"""Seconds within which all ranks end after one has died."""
LATEST = 6.0
"""Seconds after which a rank is killed at the latest."""
PATIENCE = 300
"""Seconds after which a training is given up."""


def mpirun() -> str:
    """The mpirun beside this Python, or the one that is found."""
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if beside.exists() else "mpirun"


def started(folder: Path, ranks: int) -> subprocess.Popen[str]:
    """Training in this folder, from the beginning or resumed, on so many ranks."""
    new = ("iris", "--network", "6 tanh, dropout 0.2, batchnorm", "--batch-size", "8", "--patience", "none")
    what = ("--resume", "run") if (folder / "run" / "manifest.json").exists() else (*new, "-o", "run")
    command = [mpirun(), "-n", str(ranks), sys.executable, "-m", "chainrule", "train", *what, "--epochs", str(EPOCHS)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, text=True, env={**os.environ, "RANKS_KILLED": str(folder)}, **pipes)


def working(folder: Path, rank: int) -> int | None:
    """The process that is this rank: the child of the one that mpirun started; None if there is none."""
    marks, found = {f"RANKS_KILLED={folder}".encode(), f"PMI_RANK={rank}".encode()}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if marks <= {*(path / "environ").read_bytes().split(b"\0")}:
                found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return next((process for process, parent in found.items() if parent in found), None)


def attempt(folder: Path, rng: random.Random, seen: Counter[str]) -> str:
    """Train with a kill; what went wrong, or nothing."""
    ranks = rng.choice(AT_ONCE)
    training, rank = started(folder, ranks), rng.randrange(ranks)
    time.sleep(rng.random() * LATEST)
    process = working(folder, rank)
    if process is None:
        seen["not there yet, or no more"] += 1
        return "" if training.wait(PATIENCE) == 0 else f"not killed, and ended with {training.returncode}"
    os.kill(process, signal.SIGKILL)
    began = time.monotonic()
    _, printed = training.communicate(timeout=PATIENCE)
    taken = time.monotonic() - began
    seen["kills"] += 1
    told = re.findall(rf"^chainrule: rank {rank} of {ranks} .* was ended by SIGKILL", printed, re.MULTILINE)
    if training.returncode == 0:
        return ""  # it had just completed
    if taken > WITHIN:
        return f"the others took {taken:.1f} s to end"
    if training.returncode != 128 + signal.SIGKILL or len(told) != 1 or printed.count("chainrule:") != 1:
        return f"rank {rank} of {ranks} was killed: exit code {training.returncode}, {printed[-500:]!r}"
    return whole(folder, seen)


def whole(folder: Path, seen: Counter[str]) -> str:
    """What is wrong with the run, if it has begun."""
    if not (folder / "run" / "manifest.json").exists():
        seen["before the run had begun"] += 1
        return ""
    run = Run.open(folder / "run")
    steps = run.manifest["steps"]
    if steps:
        again = run.at(steps - 1).after.parameters
        if not np.array_equal(again, run.trained.progress.position.parameters):
            return f"step {steps - 1} is repeated to other bits"
    seen["runs that are whole"] += 1
    return ""


def main() -> int:
    """Run the campaign; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=8, help="how many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10, help="stop after this time")
    options = parser.parse_args()
    rng, seen, findings = random.Random(options.seed), Counter[str](), 0
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        while seen["kills"] < options.count and time.monotonic() < end and not findings:
            try:
                problem = attempt(Path(folder), rng, seen)
            except ChainruleError as error:
                problem = f"refused: {error}"
            if problem:
                findings += 1
                print(f"found, with seed {options.seed}: {problem}", flush=True)
            elif (Path(folder) / "run").exists() and Run.open(Path(folder) / "run").manifest["status"] == "complete":
                (Path(folder) / "run").rename(Path(folder) / f"run-{seen['kills']}-{seen.total()}")
        last = started(Path(folder), 2)
        if last.wait(PATIENCE) != 0:
            findings += 1
            print(f"the last resumption ended with {last.returncode}: {last.stderr and last.stderr.read()[-500:]}")
    for what, count in seen.items():
        print(f"{what:40}{count:8,}")
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
