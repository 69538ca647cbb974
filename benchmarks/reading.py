"""The CPU time of everything around learning, against goals.

    python benchmarks/reading.py                # all
    python benchmarks/reading.py --only large   # a CSV file of 96 MB

large: a million rows are read and prepared within 1.5 times what polars takes to read them and NumPy to
scale them, in turns within one process; the median of the ratios counts. commands: `chainrule train`
with its defaults, as a process of its own, and `predict` of a row. learning: reading, preparing and
recording take less CPU time than 100 epochs. Medians of --times runs. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROWS, NUMBERS = 1_000_000, 10
WIDE = {"penguins": (344, 8, 1.5, None), "663 columns": (200, 663, 3.0, None), "2,308 columns": (63, 2308, 5.0, None),
        "4,000 columns": (100, 4000, 10.0, 1000)}  # fmt: skip
"""Rows and columns of a table, the most CPU seconds, and the most megabytes."""


def table(rows: int, columns: int, seed: int = 0) -> pl.DataFrame:
    """Numbers, of which the last column is a noisy sum of some of the others."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, columns - 1)).round(6)
    y = (x[:, :5].sum(axis=1) + random.normal(size=rows)).round(4)
    return pl.DataFrame({**{f"x{k}": x[:, k] for k in range(columns - 1)}, "y": y})


def penguins() -> pl.DataFrame:
    """A table like that of the Palmer penguins: categories, numbers with gaps, and three classes."""
    random = np.random.default_rng(0)
    species = random.integers(0, 3, 344)

    def gaps(numbers: Any) -> list[float | None]:
        return [None if k % 170 == 3 else float(n) for k, n in enumerate(numbers)]

    return pl.DataFrame({
        "island": random.choice(["Biscoe", "Dream", "Torgersen"], 344),
        "bill_length": gaps((39 + 5 * species + random.normal(size=344)).round(1)),
        "bill_depth": gaps((18 - species + random.normal(size=344)).round(1)),
        "flipper_length": gaps((190 + 12 * species + 5 * random.normal(size=344)).round()),
        "mass": gaps((3700 + 600 * species + 300 * random.normal(size=344)).round()),
        "sex": [None if k % 33 == 5 else ("male", "female")[k % 2] for k in range(344)],
        "year": 2007 + random.integers(0, 3, 344),
        "species": [("Adelie", "Chinstrap", "Gentoo")[k] for k in species],
    })  # fmt: skip


def cpu(work: Callable[[], Any]) -> float:
    """The CPU time that this takes, in all threads of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def large(folder: Path, times: int) -> bool:
    """Whether a large file is read and prepared as fast as it should be."""
    import chainrule

    path = folder / "large.csv"
    table(ROWS, NUMBERS + 1).write_csv(path)

    def least() -> None:
        numbers = pl.read_csv(path)
        x = numbers.drop("y").to_numpy()
        ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)

    pairs = []
    for turn in range(times + 1):
        measured = {}
        for work in ((least, lambda: chainrule.load(path)), (lambda: chainrule.load(path), least))[turn % 2]:
            measured[work is least] = cpu(work)
        if turn:  # the first warms everything up
            pairs.append((measured[True], measured[False]))
    ratio = statistics.median(ours / other for other, ours in pairs)
    other, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    size = path.stat().st_size / 1e6
    print(
        f"large: {size:.0f} MB: polars and NumPy {other:.2f} s, chainrule {ours:.2f} s: {ratio:.2f} times (goal: 1.5)"
    )
    return ratio <= 1.5


def command(*words: str) -> tuple[float, float]:
    """The CPU seconds and the megabytes of a command in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from chainrule.cli import main; main()", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said.decode())
    return used.ru_utime + used.ru_stime, used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def commands(folder: Path, times: int) -> bool:
    """Whether whole commands are as fast as they should be."""
    passed = True
    for name, (rows, columns, most, megabytes) in WIDE.items():
        frame = penguins() if name == "penguins" else table(rows, columns)
        path, row = folder / f"{name.split()[0]}.csv", folder / "row.csv"
        frame.write_csv(path)
        frame[:1].drop(frame.columns[-1]).write_csv(row)
        trainings, predictions = [], []
        for k in range(times):
            run = folder / f"{path.stem}-{k}"
            trainings.append(command("train", str(path), "--output", str(run)))
            predictions.append(command("predict", str(run), str(row)))
        seconds, size = (statistics.median(column) for column in zip(*trainings, strict=True))
        one = statistics.median(seconds for seconds, _ in predictions)
        passed &= seconds <= most and one <= 1 and (megabytes is None or size <= megabytes)
        print(
            f"commands: {name:<14} train {seconds:.2f} s (goal: {most:g}), {size:.0f} MB"
            f"{f' (goal: {megabytes:,})' if megabytes else ''}; predict a row {one:.2f} s (goal: 1)",
            flush=True,
        )
    return passed


def learning(folder: Path, times: int) -> bool:
    """Whether everything around 100 epochs takes less than they do."""
    import chainrule

    passed = True
    for rows in (5_000, 50_000):
        path = folder / f"{rows}.csv"
        table(rows, NUMBERS + 1).write_csv(path)
        around, epochs = [], []
        for k in range(times + 1):
            began = time.process_time()
            data = chainrule.load(path)
            loaded = time.process_time() - began
            bare = cpu(lambda data=data: chainrule.train(None, data, patience=None))
            recorder = chainrule.Recorder(folder / f"run-{rows}-{k}")
            with_recorder = cpu(
                lambda data=data, recorder=recorder: chainrule.train(None, data, patience=None, callbacks=[recorder])
            )
            if k:
                around.append(loaded + max(with_recorder - bare, 0))
                epochs.append(bare)
        took, learned = statistics.median(around), statistics.median(epochs)
        passed &= took < learned
        print(
            f"learning: {rows:,} rows: {learned:.2f} s for 100 epochs, {took:.2f} s around them (goal: less)",
            flush=True,
        )
    return passed


PARTS = {"commands": commands, "learning": learning, "large": large}  # first what a large parent would distort


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        passed = [PARTS[name](Path(place), options.times) for name in options.only]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"load {os.getloadavg()[0]:.1f}; this process took at most {peak:,.0f} MB")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
