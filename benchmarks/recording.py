"""The cost of recording, and the time to replay a step: medians, in turns, in one process.

    python benchmarks/recording.py

Exits with 1 if recording adds more than 5 % to the training time on digits, or if replaying a step
takes more than a second.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import chainrule

TIMES = 9


def seconds(data: chainrule.data.Dataset, network: str, folder: Path | None) -> float:
    """The time of one training, recorded in the folder if there is one."""
    recorders = [] if folder is None else [chainrule.Recorder(folder)]
    began = time.perf_counter()
    chainrule.train(network, data, callbacks=recorders, patience=None, epochs=100)
    return time.perf_counter() - began


def main() -> int:
    """Measure and print."""
    data, passed = chainrule.load("digits"), True
    seconds(data, "64 relu, 64 relu", None)  # the first run warms everything up
    with tempfile.TemporaryDirectory() as place:
        bare, recorded = [], []
        for k in range(TIMES):
            bare.append(seconds(data, "64 relu, 64 relu", None))
            recorded.append(seconds(data, "64 relu, 64 relu", Path(place, str(k))))
        cost = statistics.median(b / a for a, b in zip(bare, recorded, strict=True)) - 1
        passed &= cost <= 0.05
        print(
            f"training on digits   {statistics.median(bare):.2f} s, recorded {statistics.median(recorded):.2f} s:"
            f" {cost:+.1%}"
        )
        for name, network in (("9,000 weights", "64 relu, 64 relu"), ("100,000 weights", "400 relu, 180 relu")):
            folder = Path(place, name)
            seconds(data, network, folder)
            run = chainrule.Run.open(folder)
            taken = []
            for step in np.random.default_rng(0).integers(0, run.manifest["steps"], 25):
                began = time.perf_counter()
                run.at(int(step), data)
                taken.append(time.perf_counter() - began)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            passed &= max(taken) <= 1
            print(
                f"replay, {name:15} {statistics.median(taken):.2f} s, at most {max(taken):.2f} s; folder {size:.1f} MB"
            )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
