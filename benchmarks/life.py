"""The life of a weight, against the training that it replays: `python benchmarks/life.py`.

A network of 100,000 weights is trained for 4,000 steps and recorded, then the life of some of its
weights is read. Both are timed in this process, in turn, so the ratio depends little on what else
the machine does. The goal is a ratio of at most 3. `python benchmarks/life.py all` takes other
layers, optimizers and the NumPy engine, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import train
from chainrule.data import Dataset, from_arrays
from chainrule.influence import life
from chainrule.runs import Recorder, Run

GOAL = 3.0
INPUTS, CLASSES, ROWS = 100, 10, 2000


@dataclass(frozen=True)
class Case:
    """A network of about 100,000 weights, how it is trained, and which weights are followed."""

    network: str
    shape: tuple[int, ...]
    weights: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


DENSE, IN_THE_MIDDLE = "264 relu, 264 relu", ("dense_2.W[10, 20]",)
CASES = {
    "dense": Case(DENSE, (INPUTS,), ("dense_1.W[3, 2]", *IN_THE_MIDDLE, "dense_3.b[4]")),
    "convolutional": Case(
        "conv 32 3, batch_norm, relu, max_pool 2, conv 64 3 relu, max_pool 2, flatten, 300 relu",
        (16, 16, 3),
        ("conv_1.W[1, 1, 0, 3]", "batch_norm_1.scale[4]", "conv_2.W[1, 1, 2, 3]", "dense_1.W[3, 2]"),
    ),
    "recurrent": Case("lstm 140", (12, 30), ("lstm_1.state.U[1, 4]", "lstm_1.input.W[2, 9]")),
    "clipped": Case(DENSE, (INPUTS,), IN_THE_MIDDLE, {"optimizer": "adam 0.001 clip=1"}),
    "lamb": Case(DENSE, (INPUTS,), IN_THE_MIDDLE, {"optimizer": "lamb"}),
    "muon": Case(DENSE, (INPUTS,), IN_THE_MIDDLE, {"optimizer": "muon"}),
    "numpy": Case(DENSE, (INPUTS,), IN_THE_MIDDLE, {"engine": "numpy"}),
}


def made(shape: tuple[int, ...]) -> Dataset:
    """Classes that a random linear map gives random inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, *shape)).astype(np.float32)
    flat = x.reshape(ROWS, -1)
    return from_arrays(x, (flat @ rng.normal(size=(flat.shape[1], CLASSES))).argmax(axis=1))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measured(name: str, case: Case, steps: int, size: int, repeats: int) -> bool:
    """Print the ratio for each weight; whether all reach the goal."""
    data = made(case.shape)
    epochs = max(1, round(steps * size / len(data.training.x)))
    settings = {"epochs": epochs, "batch_size": size, "patience": None, **case.settings}
    ratios: dict[str, list[float]] = {weight: [] for weight in case.weights}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "run"
            trained, _ = seconds(partial(train, case.network, data, callbacks=[Recorder(folder)], **settings))
            run = Run.open(folder)
            for weight in case.weights:
                read, found = seconds(partial(life, run, weight, data))
                ratios[weight].append(read / trained)
    weights, count = run.trained.plan.network.parameters.size, run.manifest["steps"]
    print(f"{name}: {weights:,} weights, {count:,} steps of {size} rows, {os.cpu_count()} cores: {trained:.1f} s")
    for weight, each in ratios.items():
        ratio = statistics.median(each)
        print(f"  {weight:<22} {ratio:.2f} times the training (goal: {GOAL:g}); remainder {found.remainder:.1e}")
    sys.stdout.flush()
    return max(map(statistics.median, ratios.values())) <= GOAL


def main() -> int:
    """Print the ratios; 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["dense"], help=f"what is trained: {', '.join(CASES)}, or all")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 128], help="sizes of mini-batches")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    names = CASES if arguments.cases == ["all"] else arguments.cases
    life_of_one = Case("4 relu", (3,), ("dense_1.b[0]",))
    with redirect_stdout(StringIO()):  # imports everything
        measured("", life_of_one, 10, 32, 1)
    reached = [
        measured(name, CASES[name], arguments.steps, size, arguments.repeats)
        for name in names
        for size in arguments.batch
    ]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
