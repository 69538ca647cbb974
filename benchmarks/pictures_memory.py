"""The memory that pictures take: those of an array, beside the array itself, and those of a folder
that is ten times as large, decoded, as the memory that the process may have.

    python benchmarks/pictures_memory.py [--count 50000] [--limit 500]

The pictures of the array are 32 x 32 pixels of three channels, each a byte. Loading runs in a
process of its own, whose peak memory counts, less what it has with the array alone.

The pictures of the folder are JPEG files of 256 x 256 pixels. A process whose memory the system
limits (RLIMIT_DATA) trains on them for two epochs, evaluates, and is compared, bit for bit, with one
that has no limit and keeps them in memory. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import chainrule
from chainrule.data import load
from chainrule.threads import in_threads

SHAPE = (32, 32, 3)
SIDE, CLASSES = 256, ("dark", "grey", "light")
NETWORK = "conv 16 8x8 stride=8 relu, max_pool 4, flatten, 32 relu"


def memory(name: str) -> float:
    """This process's memory in megabytes: VmRSS, now, or VmHWM, the peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def beside(count: int) -> float:
    """Load so many pictures, and tell the peak memory less what there was before, in megabytes."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8), np.arange(count) % 10
    load((x[:100], y[:100]))  # imports what loading needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
    before = memory("VmRSS")
    data = load((x, y))
    assert data.input_shape == SHAPE
    return memory("VmHWM") - before


def write(folder: Path, count: int) -> None:
    """Write JPEG files of blurred noise, whose brightness depends on the class."""
    for name in CLASSES:
        (folder / name).mkdir()

    def one(k: int) -> None:
        random, label = np.random.default_rng(k), k % len(CLASSES)
        small = (random.integers(0, 130, (16, 16, 3)) + 20 * label).astype(np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE)).save(folder / CLASSES[label] / f"{k:06d}.jpg")

    in_threads(one, range(count))


def train(folder: str, limit: float) -> None:
    """Train with so many megabytes (0: no limit); print a hash of all results, the peak and times."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e6), int(limit * 1e6)))
    began = time.perf_counter()
    data = load(folder, memory=None if limit else "1TB")
    loaded = time.perf_counter()
    trained = chainrule.train(NETWORK, data, epochs=2, patience=None)
    ended = time.perf_counter()
    results = repr((trained.history, trained.evaluate())).encode() + trained.parameters.tobytes()
    print(hashlib.sha256(results).hexdigest(), memory("VmHWM"), loaded - began, ended - loaded, data.training.x.on_disk)


def again(*arguments: object) -> list[str]:
    """What this script prints in a new process."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def main() -> int:
    """Measure in new processes and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50_000, help="how many pictures the array has")
    parser.add_argument("--limit", type=float, default=500, help="the memory of the process in MB; 0: only the array")
    parser.add_argument("--array", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.array:
        print(beside(options.count))
        return 0
    if options.folder:
        train(options.folder, options.limit)
        return 0
    peak, size = float(again("--array", "--count", options.count)[0]), options.count * np.prod(SHAPE) / 1e6
    print(f"chainrule {chainrule.__version__}: {peak:.0f} MB beside an array of {size:.0f} MB", flush=True)
    reached = peak <= 2 * size
    if options.limit:
        count = round(10 * options.limit * 1e6 / (SIDE * SIDE * 3))
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), count)
            print(f"{count:,} pictures of {SIDE} x {SIDE} pixels, {10 * options.limit / 1e3:g} GB decoded", flush=True)
            hashes = []
            for limit in (options.limit, 0):
                own, peak_text, loading, training, on_disk = again("--folder", folder, "--limit", limit)
                hashes.append(own)
                which = f"of at most {limit:g} MB" if limit else "without a limit"
                times = f"read and checked in {float(loading):.1f} s, two epochs in {float(training):.1f} s"
                print(f"  a process {which}: peak {float(peak_text):.0f} MB, {times}", flush=True)
                reached &= on_disk == str(limit > 0)
        print("  the same bits" if len({*hashes}) == 1 else "  not the same bits")
        reached &= len({*hashes}) == 1
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
