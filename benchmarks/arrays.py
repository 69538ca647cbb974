"""Training on arrays in NPY files that are larger than the memory, beside the same in memory.

    python benchmarks/arrays.py [--gb 3] [--limit 600] [--folder DIR]

Writes pictures of 28 x 28 bytes, and rows of 100 numbers of float32, each with labels. Then, in
processes of their own, a network of 128 and 64 units is trained on each for an epoch: on the whole,
in a process whose memory the system limits to so many megabytes (RLIMIT_DATA), and on a tenth,
streamed and in memory, alternately without a limit: the ratio of the rows per second, the median of
three. Printed are also the peaks of the resident memory. Exits with 1 if the limit or 80 % of the
speed in memory is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from streaming import Peak, limited, memory

KINDS = {"pictures": ((28, 28), "u1", "flatten, 128 relu, 64 relu"), "numbers": ((100,), "f4", "128 relu, 64 relu")}
GOAL = 0.8
PART = 20_000
"""The rows that are written at a time."""


def write(folder: Path, kind: str, size: float) -> int:
    """Write arrays of so many bytes; returns the number of rows."""
    shape, dtype, _ = KINDS[kind]
    folder.mkdir(parents=True)
    rows = int(size / (np.prod(shape) * np.dtype(dtype).itemsize)) // PART * PART
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", dtype, (rows, *shape))
    random = np.random.default_rng(0)
    y = random.integers(0, 10, rows)
    values = random.integers(0, 256, (PART, *shape), dtype=np.uint8)
    for k in range(0, rows, PART):
        part = values // 2 + (y[k : k + PART] * 12).astype(np.uint8).reshape(-1, *[1] * len(shape))
        x[k : k + PART] = np.roll(part, k, axis=-1)
    x.flush()
    np.save(folder / "y.npy", y)
    return rows


def train(folder: str, network: str, allowed: str, megabytes: float) -> None:
    """Train in this process, and print what was measured as JSON."""
    limited(megabytes)
    import chainrule
    from chainrule.training import EpochEnded

    peak, began, ends = Peak(), time.perf_counter(), []
    data = chainrule.load(folder, memory=allowed, validation=0.01, test=0.01)
    loaded = time.perf_counter() - began

    def listen(event: Any) -> None:
        if isinstance(event, EpochEnded):
            ends.append(time.perf_counter())

    ends.append(time.perf_counter())
    chainrule.train(network, data, batch_size=256, epochs=2 - bool(megabytes), patience=None, callbacks=[listen])
    seconds = min(b - a for a, b in pairwise(ends))
    print(json.dumps({
        "rate": len(data.training.x) / seconds, "streamed": data.on_disk, "loading": loaded, "peak": memory("VmHWM"),
        "anonymous": peak.end(),
    }))  # fmt: skip


def run(folder: Path, kind: str, allowed: str, limit: float) -> dict[str, Any]:
    """Train in a process of its own."""
    arguments = [sys.executable, __file__, "--child", str(folder), KINDS[kind][2], allowed, str(limit)]
    return dict(json.loads(subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout))


def main() -> int:
    """Measure, print and compare with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=3.0, help="the size of each array")
    parser.add_argument("--limit", type=float, default=600.0, help="the megabytes that the process may take")
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary folder")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=4)
    chosen = parser.parse_args()
    if chosen.child:
        folder, network, allowed, limit = chosen.child
        train(folder, network, allowed, float(limit))
        return 0
    reached = True
    with tempfile.TemporaryDirectory(dir=chosen.folder) as root:
        for kind in chosen.kind or KINDS:
            whole, part = Path(root) / kind, Path(root) / f"{kind}-part"
            rows = write(whole, kind, chosen.gb * 1e9)
            found = run(whole, kind, "200MB", chosen.limit)
            print(f"{kind}: {rows:,} rows, {chosen.gb:g} GB; {chosen.limit:g} MB allowed: peak {found['peak']:.0f} MB, "
                  f"{found['anonymous']:.0f} MB of it no file's; fitted in {found['loading']:.1f} s, "
                  f"{found['rate']:,.0f} rows/s", flush=True)  # fmt: skip
            write(part, kind, chosen.gb * 1e8)
            ratios = []
            for _ in range(chosen.repeats):
                streamed, in_memory = (run(part, kind, allowed, 0) for allowed in ("80MB", "100GB"))
                assert (streamed["streamed"], in_memory["streamed"]) == (True, False)
                ratios.append(streamed["rate"] / in_memory["rate"])
                print(f"  streamed {streamed['rate']:,.0f} rows/s, in memory {in_memory['rate']:,.0f} rows/s: "
                      f"{ratios[-1]:.2f}", flush=True)  # fmt: skip
            print(f"  speed streamed / in memory: {statistics.median(ratios):.2f} (goal {GOAL})", flush=True)
            reached &= statistics.median(ratios) >= GOAL and found["streamed"]
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
