"""The life of a weight, against the training that it replays: `python benchmarks/life.py`.

A network of 100,000 weights is trained for 4,000 steps and recorded, then the life of one of its
weights in the first, the second and the last layer is read. Both are timed in this process, in
turn, so the ratio depends little on what else the machine does. The goal is a ratio of at most 3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import train
from chainrule.data import Dataset, from_arrays
from chainrule.influence import life
from chainrule.runs import Recorder, Run

GOAL = 3.0
WEIGHTS = ("dense_1.W[3, 2]", "dense_2.W[10, 20]", "dense_3.b[4]")
NETWORK, INPUTS, CLASSES, ROWS = "264 relu, 264 relu", 100, 10, 2000


def made() -> Dataset:
    """Classes that a random linear map gives random inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return from_arrays(x, (x @ rng.normal(size=(INPUTS, CLASSES))).argmax(axis=1))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> int:
    """Print the ratio for each weight; 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 128], help="sizes of mini-batches")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    data, missed = made(), False
    for size in arguments.batch:
        epochs = round(arguments.steps * size / ROWS)
        ratios: dict[str, list[float]] = {name: [] for name in WEIGHTS}
        for _ in range(arguments.repeats):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "run"
                settings: dict[str, Any] = {"epochs": epochs, "batch_size": size, "patience": None}
                trained, _ = seconds(partial(train, NETWORK, data, callbacks=[Recorder(folder)], **settings))
                run = Run.open(folder)
                for name in WEIGHTS:
                    read, found = seconds(partial(life, run, name, data))
                    ratios[name].append(read / trained)
        weights, steps = run.trained.plan.network.parameters.size, run.manifest["steps"]
        print(f"{weights:,} weights, {steps:,} steps of {size} rows, {os.cpu_count()} cores: {trained:.1f} s")
        for name, each in ratios.items():
            ratio = statistics.median(each)
            missed |= ratio > GOAL
            print(f"  {name:<20} {ratio:.2f} times the training (goal: {GOAL:g}); remainder {found.remainder:.1e}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
