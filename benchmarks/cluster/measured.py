"""What the model takes from this machine: time per step, and what sending between two ranks costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.engine import make_engine
from chainrule.processes import world
from chainrule.training.loop import start
from cluster.model import Link, Work
from comparison import pictures, problems, sequences
from comparison.problems import Training

TURN, TURNS = 0.1, 5
"""Seconds that steps are timed for at least, and how often; the median counts."""
LEAST, MOST_PARTS = 64 * 1024, 16
"""How many numbers a part of the gradient has at least, and about how many parts there are at most,
as the native engine plans them (Engine::plan_parts).
"""
RANK = Path(__file__).with_name("rank.py")
PATIENCE = 600
"""Seconds after which a measurement under mpirun is given up."""


def module_of(name: str) -> Any:
    """The module of comparison/ that has a network."""
    return next(module for module in (problems, pictures, sequences) if name in module.NETWORKS)


def batch_of(name: str) -> int:
    """The batch size of a network."""
    return module_of(name).NETWORKS[name][-2]


def problem(name: str, batch: int | None = None) -> Training:
    """What is trained: a network of the benchmarks, with this batch size or its own."""
    module = module_of(name)
    whole = module.problem(*module.NETWORKS[name])
    size = batch or whole.batch
    return replace(whole, batch=size, plan=replace(whole.plan, batch_size=size))


def seconds_per_step(p: Training, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median seconds of a step with one thread, over turns after one that is not timed.

    Args:
        p: what is trained
        clock: gives the time
    """
    engine = make_engine("native", p.plan.problem(len(p.x)), 1, world=world())
    position, batches, taken = start(p.plan).position, p.plan.batches(0, p.data.training), []
    for turn in range(TURNS + 1):
        began, steps = clock(), 0
        while world().broadcast(steps == 0 or clock() - began < TURN):  # all ranks take as many steps
            for chunk in engine.chunks(position, batches):
                position, steps = chunk.after, steps + len(chunk.batches)
        if turn:
            taken.append((clock() - began) / steps)
    return statistics.median(taken)


def work(name: str) -> Work:
    """The work of a network, with one thread: for its batch size, half of it, and so on. Measured
    in seconds of the processor, which other programs hardly change.
    """
    sizes = [size for k in range(12) if (size := batch_of(name) >> k)][::-1]
    seconds = [seconds_per_step(problem(name, size), time.thread_time) for size in sizes]
    return Work(sizes, seconds, parts(problem(name)))


def parts(p: Training) -> list[tuple[float, float]]:
    """The bytes and the products of each part of the gradient, from the last to the first. Those of
    one layer are finished together.
    """
    network, sizes = p.plan.network, defaultdict[str, float](float)
    for name, view in network.parameters.views(network.draw(0)):
        sizes[name.rpartition(".")[0]] += view.nbytes
    costs = defaultdict[str, float](float)
    for node in network.graph.nodes:
        costs[node.owner] += node.layer.cost(node.built)
    least = max(LEAST, network.parameters.size // MOST_PARTS) * np.dtype(network.dtype).itemsize
    found, size, cost = [], 0.0, 0.0
    for owner in reversed(sizes):
        size, cost = size + sizes[owner], cost + float(costs[owner])
        if size >= least:
            count = int(size // least)
            found += [(size / count, cost * (k == 0)) for k in range(count)]
            size = cost = 0.0
    return [*found, (size, cost)] if size else found


def under_mpirun(ranks: int, *arguments: str) -> Any:
    """What the first of so many ranks measures, as JSON."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [mpirun(), "-n", str(ranks), sys.executable, str(RANK), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise SystemExit(f"scaling: {' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def mpirun() -> str:
    """The mpirun of mpi4py's MPI, which the extra mpi installs beside it."""
    import mpi4py

    beside = Path(mpi4py.__file__).parents[4] / "bin" / "mpirun"
    return str(beside) if beside.exists() else "mpirun"


def link(cores: int) -> tuple[Link, float]:
    """What a meeting of two ranks in shared memory takes, copying and adding; and what a meeting
    takes longer for each rank that has no core of its own. The network is so small that meetings
    are nearly all of its steps.
    """
    alone, few, many = (under_mpirun(ranks, "tiny")[0] for ranks in (1, 2, 2 * cores))
    addition, copying = per_byte()
    return Link(max(0.0, few - alone), 1 / copying, addition, True), max(0.0, many - few) / cores


def per_byte() -> tuple[float, float]:
    """Seconds to add a number to another one, and to copy it, per byte of one of them."""
    a, b = np.ones(1 << 18, np.float32), np.ones(1 << 18, np.float32)
    added, copied = [], []
    for _ in range(99):
        began = time.perf_counter()
        np.add(a, b, out=b)
        between = time.perf_counter()
        np.copyto(b, a)
        added.append((between - began) / a.nbytes)
        copied.append((time.perf_counter() - between) / a.nbytes)
    return statistics.median(added), statistics.median(copied)
