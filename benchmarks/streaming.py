"""Training on data that is larger than the memory, beside the same training in memory.

    python benchmarks/streaming.py [--gb 20] [--limit 1000] [--folder DIR] [--keep]

Generates a folder of Parquet files: numbers, some of them missing, categories and dates. Then, in
processes of their own:

1. A network of 128 and 64 units is trained on the folder for an epoch, in a process whose memory the
   system limits to so many megabytes (RLIMIT_DATA). Printed are the time of the first pass, which
   fits and fills the cache, the rows trained on per second, and the peak of the resident memory and
   of the part of it that is no file's.
2. The same process, with the same limit, is to read a part of the folder into memory: it is to fail.
3. A part of the folder that fits is trained on streamed and in memory, alternately, without a limit:
   the ratio of the rows per second, the median of three.

The folder and the cache are removed at the end unless --keep is given. Exits with 1 if a goal is
missed: the limit, and 80 % of the speed in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

NUMBERS = 20
ROWS = 1_000_000
"""The rows of a file, about 170 MB."""

NETWORK, BATCH, SHARE = "128 relu, 64 relu", 256, 0.01
GOAL = 0.8


def write(folder: Path, gigabytes: float) -> int:
    """Write files until the folder is so large; returns the number of rows."""
    import polars as pl

    folder.mkdir(parents=True, exist_ok=True)
    size, file = 0, 0
    while size < gigabytes * 1e9:
        path = folder / f"part-{file:05}.parquet"
        if not path.exists():
            random = np.random.default_rng(file)
            numbers = random.standard_normal((NUMBERS, ROWS))
            city, kind = random.integers(0, 6, ROWS), random.integers(0, 3, ROWS)
            seconds = random.integers(0, 1000 * 86400, ROWS)
            y = numbers[0] * numbers[1] + city - kind + np.sin(numbers[2]) + 0.3 * random.standard_normal(ROWS)
            columns: dict[str, Any] = {f"n{k:02}": values for k, values in enumerate(numbers)}
            for k in (3, 7):
                columns[f"n{k:02}"] = pl.Series(values=numbers[k]).set(pl.Series(random.random(ROWS) < 0.05), None)
            columns["city"] = np.array(["Basel", "Bern", "Chur", "Genf", "Sion", "Zug"])[city]
            columns["kind"] = np.array(["flat", "house", "loft"])[kind]
            columns["sold"] = (np.datetime64("2020-01-01", "s") + seconds).astype("datetime64[us]")
            partial = path.with_suffix(".partial")
            pl.DataFrame({**columns, "y": y}).write_parquet(partial, compression="lz4")
            partial.rename(path)
        size += path.stat().st_size
        file += 1
    return file * ROWS


def memory(name: str) -> float:
    """This process's memory in megabytes, by a name in /proc/self/status."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def limited(megabytes: float) -> None:
    """Limit this process's memory: what it allocates beyond that fails."""
    if megabytes:
        resource.setrlimit(resource.RLIMIT_DATA, (int(megabytes * 1e6),) * 2)


class Peak(Thread):
    """The peak of the memory that is no file's, by a look ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous, self._ended = 0.0, Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.anonymous = max(self.anonymous, memory("RssAnon"))

    def end(self) -> float:
        """The peak in megabytes."""
        self._ended.set()
        self.join()
        return self.anonymous


def train(folder: str, allowed: str | None, megabytes: float, epochs: int) -> None:
    """Train in this process, and print what was measured as JSON."""
    limited(megabytes)
    import chainrule
    from chainrule.training import EpochEnded

    peak, began, ends = Peak(), time.perf_counter(), []
    data = chainrule.load(folder, target="y", memory=allowed, validation=SHARE, test=SHARE)
    loaded = time.perf_counter() - began

    def listen(event: Any) -> None:
        if isinstance(event, EpochEnded):
            ends.append(time.perf_counter())

    started = time.perf_counter()
    trained = chainrule.train(
        NETWORK, data, batch_size=BATCH, epochs=epochs, patience=None, callbacks=[listen], progress=False
    )
    seconds = [b - a for a, b in zip([started, *ends], ends, strict=False)]
    print(json.dumps({
        "rows": len(data.training.x), "inputs": data.input_shape[0], "streamed": data.memory is not None,
        "loading": loaded, "epochs": seconds, "peak": memory("VmHWM"), "anonymous": peak.end(),
        "r2": trained.history[-1].get("validation_r2"), "loss": trained.history[-1]["loss"],
    }))  # fmt: skip


def run(cache: Path, folder: Path, allowed: str | None, limit: float, epochs: int = 1) -> dict[str, Any] | None:
    """Train in a process of its own; None if it fails."""
    environment = os.environ | {"CHAINRULE_CACHE": str(cache)}
    arguments = [str(folder), allowed or "", str(limit), str(epochs)]
    found = subprocess.run(
        [sys.executable, __file__, "--child", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if found.returncode:
        print(f"  ended with {found.returncode}: {(found.stderr.strip().splitlines() or ['-'])[-1][:150]}")
        return None
    return dict(json.loads(found.stdout.splitlines()[-1]))


def main() -> int:
    """Measure, and print; 1 if the limit did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=20.0, help="the size of the folder")
    parser.add_argument("--limit", type=float, default=1000.0, help="the megabytes that the process may take")
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep the folder and the cache")
    parser.add_argument("--part", type=int, default=3, help="the files that are trained on in memory, too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=4)
    chosen = parser.parse_args()
    if chosen.child:
        folder, allowed, limit, epochs = chosen.child
        train(folder, allowed or None, float(limit), int(epochs))
        return 0
    root = chosen.folder or Path(tempfile.mkdtemp(prefix="streaming-"))
    table, part, cache = root / "table", root / "part", root / "cache"
    try:
        began = time.perf_counter()
        rows = write(table, chosen.gb)
        size = sum(path.stat().st_size for path in table.iterdir()) / 1e9
        print(f"{size:.1f} GB of Parquet, {rows:,} rows, written in {time.perf_counter() - began:.0f} s", flush=True)
        whole = run(cache, table, None, chosen.limit)
        if whole is None:
            return 1
        cached = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 1e9
        print(f"streamed, {chosen.limit:g} MB allowed: peak {whole['peak']:.0f} MB resident, "
              f"{whole['anonymous']:.0f} MB of it no file's")  # fmt: skip
        print(f"first pass {whole['loading']:.0f} s ({rows / whole['loading']:,.0f} rows/s), cache {cached:.1f} GB")
        print(f"an epoch of {whole['rows']:,} rows of {whole['inputs']} inputs: {whole['epochs'][0]:.0f} s, "
              f"{whole['rows'] / whole['epochs'][0]:,.0f} rows/s; loss {whole['loss']:.3f}", flush=True)  # fmt: skip
        part.mkdir(exist_ok=True)
        for path in sorted(table.iterdir())[: chosen.part]:
            if not (part / path.name).exists():
                os.link(path, part / path.name)
        print(f"{chosen.part} files in memory, {chosen.limit:g} MB allowed:", flush=True)
        fails = run(cache, part, "100GB", chosen.limit) is None
        ratios = []
        for _ in range(chosen.repeats):
            speeds = []
            for allowed in ("400MB", "100GB"):
                one = run(cache, part, allowed, 0, epochs=2)
                assert one is not None
                assert one["streamed"] == (allowed == "400MB")
                speeds.append(one["rows"] / min(one["epochs"]))
            ratios.append(speeds[0] / speeds[1])
            print(
                f"  streamed {speeds[0]:,.0f} rows/s, in memory {speeds[1]:,.0f} rows/s: {ratios[-1]:.2f}", flush=True
            )
        ratio, peak = statistics.median(ratios), whole["peak"]
        print(f"speed streamed / in memory: {ratio:.2f} (goal {GOAL}); peak {peak:.0f} MB (goal {chosen.limit:g})")
        return 0 if fails and ratio >= GOAL and peak <= chosen.limit else 1
    finally:
        if not chosen.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
