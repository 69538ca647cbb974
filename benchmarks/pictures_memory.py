"""The memory that loading pictures takes, beside the array that they are in.

    python benchmarks/pictures_memory.py [--count 50000]

The pictures are 32 x 32 pixels of three channels, each a byte. Loading runs in a process of its own,
whose peak memory counts, less what it has with the array alone. Exits with 1 if that is more than
twice the size of the array.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

import chainrule
from chainrule.data import load

SHAPE = (32, 32, 3)


def memory(name: str) -> float:
    """This process's memory in megabytes: VmRSS, now, or VmHWM, the peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def measure(count: int) -> float:
    """Load so many pictures, and tell the peak memory less what there was before, in megabytes."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8), np.arange(count) % 10
    load((x[:100], y[:100]))  # imports what loading needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
    before = memory("VmRSS")
    data = load((x, y))
    assert data.input_shape == SHAPE
    return memory("VmHWM") - before


def main() -> int:
    """Measure in a new process and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50_000, help="how many pictures")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(measure(options.count))
        return 0
    again = [sys.executable, __file__, "--inside", "--count", str(options.count)]
    beside = float(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
    size = options.count * np.prod(SHAPE) / 1e6
    print(f"chainrule {chainrule.__version__}: {beside:.0f} MB beside an array of {size:.0f} MB")
    return 0 if beside <= 2 * size else 1


if __name__ == "__main__":
    sys.exit(main())
