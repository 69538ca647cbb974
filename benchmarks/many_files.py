"""A folder of thousands of small files, streamed with few of them open: how long it takes, and how
much memory.

    python benchmarks/many_files.py --kind csv
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from chainrule.data import load
from chainrule.data.streamed import cache

OPEN = 256
"""The most files that may be open at a time."""


def write(folder: Path, kind: str, files: int, rows: int) -> None:
    """Files of the same table, of numbers and a category."""
    random = np.random.default_rng(0)
    for k in range(files):
        numbers = {f"x{j}": random.normal(size=rows) for j in range(5)}
        categories = np.array(["a", "b", "c"])[random.integers(0, 3, rows)]
        table = pl.DataFrame({**numbers, "c": categories, "y": random.normal(size=rows)})
        getattr(table, f"write_{kind}")(folder / f"part-{k:05}.{kind}")


def main() -> None:
    """Write the files, and stream them twice: prepared, and from the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--rows", type=int, default=40, help="of each file")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN, OPEN))
    with tempfile.TemporaryDirectory() as place:
        os.environ[cache.VARIABLE] = str(Path(place) / "cache")
        folder = Path(place) / "table"
        folder.mkdir()
        write(folder, given.kind, given.files, given.rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for what in ("prepared", "from the cache"):
            start, used = time.perf_counter(), time.process_time()
            data = load(folder, target="y", memory="1MB")
            assert data.on_disk
            took, cpu = time.perf_counter() - start, time.process_time() - used
            print(
                f"{given.files:,} files, {what}: {took:.1f} s, {1000 * cpu / given.files:.1f} ms of CPU for each file"
            )
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"memory: {before / 1024:.0f} MB before, {grown / 1024:.0f} MB more; at most {OPEN} files open")


if __name__ == "__main__":
    main()
