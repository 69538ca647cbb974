"""Training on a busy machine: one thread against as many as chainrule chooses.

    python benchmarks/busy.py                  # 4 busy processes, 7 turns
    python benchmarks/busy.py --load 0

Trains networks whose steps are long enough for several threads, in turns with threads=1 and with the
default, while other processes keep the cores busy; the same weights must result. Prints the median
time of each and the median of the ratios within a turn.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import chainrule
from chainrule.data import from_arrays

NETWORKS = {
    "512 relu, batches of 128": ("512 relu, 512 relu", 128, 4),
    "256 relu, batches of 256": ("256 relu, 256 relu", 256, 12),
    "1024 relu, batches of 32": ("1024 relu, 1024 relu", 32, 1),
}
"""Hidden layers, batch size and epochs."""
ROWS, INPUTS = 2048, 100


def spin(parent: int) -> None:
    """Keep a core busy until the parent process ends."""
    while os.getppid() == parent:
        sum(range(100_000))


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Within the block, so many processes keep the cores busy."""
    busy = [multiprocessing.Process(target=spin, args=(os.getpid(),), daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.terminate()
            process.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=int, default=4, help="busy processes")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    data = from_arrays(random.normal(size=(ROWS, INPUTS)).astype(np.float32), random.integers(0, 10, ROWS))
    print(f"{options.load} busy processes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    print(f"{'':<28}{'one thread':>12}{'default':>12}{'ratio':>8}   ratios")
    with load(options.load):
        for name, (hidden, batch_size, epochs) in NETWORKS.items():
            times: dict[int | None, list[float]] = {1: [], None: []}
            weights = []
            for turn in range(options.turns):
                for threads in ((1, None), (None, 1))[turn % 2]:
                    start = time.perf_counter()
                    trained = chainrule.train(
                        hidden, data, batch_size=batch_size, epochs=epochs, optimizer="adam 0.001", threads=threads
                    )
                    times[threads].append(time.perf_counter() - start)
                    weights.append(trained.parameters)
            assert all(np.array_equal(weights[0], other) for other in weights), "the weights differ"
            ratios = [default / one for one, default in zip(times[1], times[None], strict=True)]
            one, default = (statistics.median(times[threads]) for threads in (1, None))
            listed = " ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
            print(f"{name:<28}{one:>10.2f} s{default:>10.2f} s{statistics.median(ratios):>8.2f}   {listed}", flush=True)


if __name__ == "__main__":
    main()
