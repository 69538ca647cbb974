"""Kills trainings at random moments, resumes them, and compares the bits.

    python campaigns/kills.py --count 2000 --jobs 4 --minutes 60

Each training of a small network is killed at a random moment, and its resumption often again.
Whatever the moment, the run is missing or holds a complete state; no second process can write
while the first lives; in the end the weights, the optimizer's state and the history are bit for
bit those of an uninterrupted training, and no other file is left. Anything else is a finding:
the program prints it, and exits with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from chainrule import Recorder, Run, train
from chainrule.errors import ChainruleError, RunError
from chainrule.runs import folder as files
from chainrule.runs import recorder
from chainrule.runs.lock import InUseError, Lock

EPOCHS, MOST_KILLS = 30, 4


def begin(folder: Path) -> None:
    """Train; every epoch and every chunk of steps saves a state."""
    train("6 tanh, dropout 0.2, batchnorm", "iris", optimizer="adam 0.01", epochs=EPOCHS, batch_size=8,
          callbacks=[Recorder(folder), lambda _: owner_of(folder).touch()])  # fmt: skip


def go_on(folder: Path) -> None:
    """Resume the training."""
    Run.open(folder).resume(callbacks=[lambda _: owner_of(folder).touch()])


def owner_of(folder: Path) -> Path:
    """A file that a training creates once it has the lock of its run."""
    return folder.parent.parent / f"owner-of-{folder.name}"


def start(task: Callable[[Path], None], folder: Path) -> int:
    """The number of a process that does this task."""
    child = os.fork()
    if child == 0:
        recorder.STATE_SPACING = recorder.CHECKPOINT_SPACING = recorder.WITHIN_EPOCH = 0.0  # save at every opportunity
        code = 1
        try:
            task(folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return child


def ended(child: int) -> int:
    """The exit code of a process, negative for a signal, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    """The state and the history that a run ended with."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith(("state-", "history-"))}


def attempt(folder: Path, rng: random.Random, span: list[float], expected: dict[str, bytes], seen: Counter[str]) -> str:
    """Train in this folder with kills; what went wrong, or nothing.

    `span` holds the time within which a process is killed.
    """
    for kills in range(MOST_KILLS + 1):
        is_run = (folder / files.MANIFEST).exists()
        if is_run and Run.open(folder).manifest["status"] == "complete":
            break
        owner_of(folder).unlink(missing_ok=True)
        child = start(go_on if is_run else begin, folder)
        if kills < MOST_KILLS and (kills == 0 or rng.random() < 0.7):
            time.sleep(rng.random() * span[0])
            os.kill(child, signal.SIGSTOP)
            time.sleep(0.002)
            if owner_of(folder).exists() and (folder / files.LOCK).exists():
                try:
                    Lock(folder)
                    return "a second process got the lock"
                except InUseError:
                    seen["refused a second writer"] += 1
            os.kill(child, signal.SIGKILL)
            was_alive = ended(child) == -signal.SIGKILL
            span[0] *= 1.1 if was_alive else 0.8  # follows the time that a training takes on this machine
            if was_alive:
                seen["kills"] += 1
                seen[
                    "kills before the run was complete" if not (folder / files.MANIFEST).exists() else "kills of a run"
                ] += 1
        elif (code := ended(child)) != 0:
            return f"the process ended with {code}"
        if (folder / files.MANIFEST).exists():
            Run.open(folder)
    if Run.open(folder).manifest["status"] != "complete":
        return f"the run is {Run.open(folder).manifest['status']}"
    if contents(folder) != expected:
        return "other bits than without a kill"
    return f"litter: {litter(folder)}" if litter(folder) and not swept(folder) else ""


def litter(folder: Path) -> list[str]:
    """The files in a run's folder that don't belong to it."""
    return sorted({path.name for path in folder.iterdir()} - {files.MANIFEST, *Run.open(folder).manifest["files"]})


def swept(folder: Path) -> bool:
    """Whether resuming a complete run, which is refused, removes what a process left that was killed
    between writing the last manifest and its end.
    """
    try:
        Run.open(folder).resume()
    except RunError:
        return not litter(folder)
    return False


def campaign(seed: int, kills: int, minutes: float) -> Counter[str]:
    """Kill trainings so many times; prints what it finds, and counts what it saw."""
    rng, seen, end = random.Random(seed), Counter[str](), time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as temporary:
        home, span = Path(temporary) / "runs", [1.0]
        begin(home / "warm-up")  # imports what the processes below share
        for k in range(2):
            begun = time.monotonic()
            assert ended(start(begin, home / f"whole-{k}")) == 0
            span = [time.monotonic() - begun]
        expected = contents(home / "whole-0")
        assert contents(home / "whole-1") == expected
        names = {"warm-up", "whole-0", "whole-1"}
        while seen["kills"] < kills and time.monotonic() < end:
            name = f"run-{seen['trainings']}"
            try:
                problem = attempt(home / name, rng, span, expected, seen)
            except ChainruleError as error:
                problem = f"refused: {error}"
            names.add(name)
            beside = {path.name for path in home.iterdir()} - names
            problem = problem or (f"litter: {sorted(beside)}" if beside else "")
            seen["trainings"] += 1
            seen["good"] += not problem
            if problem:
                print(json.dumps({"training": name, "seed": seed, "found": problem}), flush=True)
            else:
                shutil.rmtree(home / name)
                names.remove(name)
    return seen


def main() -> int:
    """Run the campaign; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="how many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20, help="stop after this time")
    parser.add_argument(
        "--jobs", type=int, default=1, help="how many trainings at a time; most of them wait for the disk"
    )
    options = parser.parse_args()
    share = -(-options.count // options.jobs)
    with ProcessPoolExecutor(options.jobs) as pool:
        parts = [pool.submit(campaign, options.seed + k, share, options.minutes) for k in range(options.jobs)]
        seen = sum((part.result() for part in parts), Counter[str]())
    for what, count in seen.items():
        print(f"{what:40}{count:8,}")
    return 0 if seen["good"] == seen["trainings"] else 1


if __name__ == "__main__":
    sys.exit(main())
