"""Ranks beside threads: two processes of one thread each, beside one process with two threads.

    python benchmarks/ranks.py [--times N] [--networks NAME ...] [--ranks N] [--messages]

Trains the networks of benchmarks/compare.py in turns, within one mpirun, so that what else the machine
does hits both. While the one process trains, the other rank sleeps. The goal: ranks reach at least 0.9
of the speed of threads, for the medium and the large network. Needs the extra "mpi".

--messages measures the path of several machines instead: how much of what sums by messages take is hidden
behind the backward pass. Beside it are the same messages begun only after the backward pass, and ranks that
share memory. On one machine messages are copies that a rank's own core makes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chainrule import mpirun, processes
from chainrule.arrays import Vector
from chainrule.engine import Position, native
from chainrule.engine.native import NativeEngine
from chainrule.engine.ranks import Sums
from chainrule.processes import ALONE, Processes
from chainrule.training.loop import start
from comparison.problems import NETWORKS, Problem, problem

TURN = 0.15
"""Seconds of a turn, at least."""
GOAL, OF_GOAL = 0.9, ("medium", "large")


class Turns:
    """Epochs of one network by one engine, each from where the last ended."""

    def __init__(self, p: Problem, threads: int, world: Processes) -> None:
        self.p, self.engine = p, NativeEngine(p.plan.problem(len(p.x)), threads, world=world)
        self.position: Position = start(p.plan).position
        self.epoch = 0

    def take(self, epochs: int) -> float:
        """Seconds per step of these epochs."""
        began = time.perf_counter()
        for _ in range(epochs):
            for chunk in self.engine.chunks(self.position, self.p.plan.batches(self.epoch, self.p.data.training)):
                self.position = chunk.after
                del chunk
            self.epoch += 1
        return (time.perf_counter() - began) / (epochs * self.p.steps)


class Late(Sums):
    """Begins to send all parts of the gradient only once all are derived."""

    def start(self, numbers: Vector) -> None:
        """Take note of the next part."""
        self.late = [*getattr(self, "late", []), numbers]

    def finish(self) -> None:
        """Send them, and wait."""
        late, self.late = self.late, []
        for numbers in late:
            super().start(numbers)
        super().finish()


def measure_messages(name: str, times: int, world: Processes) -> bool:
    """Print what messages take for a network, and how much of it is hidden."""
    p, apart = problem(*NETWORKS[name]), replace(world, is_local=False)
    variants = [Turns(p, 1, world), Turns(p, 1, apart), Turns(p, 1, apart)]
    for variant, sums in zip(variants, (Sums, Sums, Late), strict=True):
        native.Sums = sums  # type: ignore[misc]
        variant.take(1)
    epochs = world.broadcast(max(1, round(TURN / (variants[0].take(2) * p.steps))))
    taken = []
    for _ in range(times):
        world.wait()
        taken.append([variant.take(epochs) for variant in variants])
    shared, sent, late = (statistics.median(each) * 1e3 for each in zip(*taken, strict=True))
    if world.rank == 0:
        print(
            f"{name:8} {shared:.3f} ms a step in shared memory, {sent:.3f} ms by messages during the backward pass,"
            f" {late:.3f} ms by messages after it: {(late - sent) / (late - shared):.0%} of what they take is hidden",
            flush=True,
        )
    return True


def rest(world: Processes) -> None:
    """Wait for the other ranks, asleep: MPI's own waiting takes a core."""
    request = world.communicator.Ibarrier()
    while not request.Test():
        time.sleep(0.001)


def measure(name: str, times: int, world: Processes) -> bool:
    """Print a line for a network; whether it reaches the goal."""
    p = problem(*NETWORKS[name])
    threads, ranks = Turns(p, world.count, ALONE), Turns(p, 1, world)
    epochs = 1
    if world.rank == 0:
        threads.take(1)
        epochs = max(1, round(TURN / (threads.take(2) * p.steps)))
    epochs = world.broadcast(epochs)
    ranks.take(epochs)
    taken: list[tuple[float, float]] = []
    for _ in range(times):
        one = threads.take(epochs) if world.rank == 0 else 0.0
        rest(world)
        taken.append((one, ranks.take(epochs)))
        rest(world)
    if world.rank:
        return True
    one, many = (statistics.median(each) for each in zip(*taken, strict=True))
    ratios = sorted(a / b for a, b in taken)
    middle = statistics.median(ratios)
    quarters = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    print(
        f"{name:8} {p.plan.network.parameters.size:9,} parameters: {one * 1e3:7.3f} ms a step by {world.count} threads,"
        f" {many * 1e3:7.3f} ms by {world.count} ranks: {middle:.2f} of the speed (half between {quarters[0]:.2f} and"
        f" {quarters[1]:.2f})",
        flush=True,
    )
    return middle >= GOAL or name not in OF_GOAL


def main() -> int:
    """Measure, under mpirun; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=25)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--messages", action="store_true", help="the path of several machines")
    arguments = parser.parse_args()
    if mpirun.place()[1] == 1:
        beside = Path(sys.executable).parent / "mpirun"
        program = str(beside) if beside.exists() else shutil.which("mpirun")
        if program is None:
            parser.error("there is no mpirun: pip install 'chainrule[mpi]'")
        command = [program, "-n", str(arguments.ranks), sys.executable, __file__, *sys.argv[1:]]
        return subprocess.run(command, check=False).returncode
    world = processes.start()
    of_network = measure_messages if arguments.messages else measure
    reached = [of_network(name, arguments.times, world) for name in arguments.networks]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
