"""One of the ranks that measured.py starts: prints what the first of them measures, as JSON.

mpirun -n 2 python benchmarks/cluster/rank.py messages 8 1024
mpirun -n 4 python benchmarks/cluster/rank.py sum 8
mpirun -n 2 python benchmarks/cluster/rank.py steps medium
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))

TIMES = 25


def messages(sizes: list[int]) -> list[float]:
    """The median seconds of a message of each size, from the first rank to the second and back."""
    world, found = MPI.COMM_WORLD, []
    for size in sizes:
        buffer, taken = np.zeros(size, np.uint8), []
        for _ in range(TIMES):
            world.Barrier()
            began = time.perf_counter()
            for _ in range(4):
                if world.rank == 0:
                    world.Send(buffer, 1)
                    world.Recv(buffer, 1)
                elif world.rank == 1:
                    world.Recv(buffer, 0)
                    world.Send(buffer, 0)
            taken.append((time.perf_counter() - began) / 8)
        found.append(statistics.median(taken))
    return found


def sums(sizes: list[int]) -> list[float]:
    """The median seconds of summing a buffer of each size over all ranks."""
    found = []
    for size in sizes:
        buffer, taken = np.zeros(size // 4, np.float32), []
        for _ in range(TIMES):
            MPI.COMM_WORLD.Barrier()
            began = time.perf_counter()
            for _ in range(4):
                MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, buffer)
            taken.append((time.perf_counter() - began) / 4)
        found.append(statistics.median(taken))
    return found


def main() -> None:
    """Measure, and print."""
    what, *rest = sys.argv[1:]
    if what == "steps":
        from chainrule import processes
        from cluster.measured import problem, seconds_per_step

        processes.start()
        found = [seconds_per_step(problem(name)) for name in rest]
    else:
        found = {"messages": messages, "sum": sums}[what]([*map(int, rest)])
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
