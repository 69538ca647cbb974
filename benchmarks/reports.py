"""How large reports are, and how long they take: of every kind of run.

    python benchmarks/reports.py [--runs NAME ...] [--folder FOLDER]

Trains each run in a temporary folder, or takes those that are in FOLDER already, and writes its
report as `chainrule report` does. Prints a table for docs/figures.md: sizes, processor time (of all
threads, which other programs disturb least), time, and the sections that took most of it.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import polars as pl

import chainrule
from chainrule.cli import run as command
from chainrule.runs import Run

LARGEST = 3.0
"""The most megabytes that a report is to have."""
RUNS = {
    "iris": ["iris"],
    "diabetes": ["diabetes"],
    "digits": ["digits"],
    "shapes": ["shapes", "--epochs", "4"],
    "moons, 3 tanh": ["moons", "--network", "3 tanh", "--epochs", "30"],
    "table": ["houses.csv", "--target", "price"],
    "names of 10,000 characters": ["names.parquet", "--target", "y", "--network", "2 tanh", "--epochs", "5"],
    "two labels": ["houses.csv", "--target", "garden", "--target", "lake", "--task", "multilabel"],
    "series": ["load.csv", "--time", "date", "--target", "load", "--horizon", "24"],
    "text": ["book.txt", "--epochs", "3"],
    "3 million weights": ["digits", "--network", "2000 relu, 1500 relu", "--epochs", "3"],
}
"""The arguments of `chainrule train` for each run."""


def write_data(folder: Path) -> None:
    """A table with all kinds of columns, one with long names, a series, and a text."""
    random, rows = np.random.default_rng(0), 600
    area, rooms = random.normal(100, 30, rows).round(1), random.integers(1, 7, rows)
    adverts = np.array(["sunny balcony near the lake", "dark basement", "quiet street, garden", "renovated kitchen"])
    pl.DataFrame({
        "area": [None if hidden else value for value, hidden in zip(area, random.random(rows) < 0.08, strict=True)],
        "rooms": rooms, "city": random.choice(["Bern", "Basel", "Chur", "Sitten"], rows),
        "built": pl.date_range(pl.date(1950, 1, 1), pl.date(1999, 12, 31), "30d", eager=True).head(rows),
        "advert": random.choice(adverts, rows), "garden": random.integers(0, 2, rows),
        "lake": (area > 95).astype(int), "price": (area * 3000 + rooms * 20_000).round(-2),
    }).write_csv(folder / "houses.csv")  # fmt: skip
    long = {f"<b>{k}{'name ' * 2000}": random.normal(size=rows) for k in range(4)}
    pl.DataFrame({**long, "y": np.where(area > 100, "a" * 10_000, "</td>" * 2000)}).write_parquet(
        folder / "names.parquet"
    )
    hours = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 3, 31), "1h", eager=True)
    load = 100 + 20 * np.sin(np.arange(len(hours)) / 24 * 2 * np.pi) + random.normal(0, 2, len(hours))
    pl.DataFrame({"date": hours, "load": load}).write_csv(folder / "load.csv")
    words = random.choice(["the", "lake", "was", "quiet", "and", "a", "boat", "went", "home", "slowly.\n"], 4000)
    (folder / "book.txt").write_text(" ".join(words))


def measured(run: Path) -> list[str]:
    """A row of the table for this run."""
    taken: dict[str, float] = {}
    section, since = "opening the run", time.process_time()

    def tell(words: str, _: float) -> None:
        nonlocal section, since
        now, title = time.process_time(), words.partition(":")[0]
        taken[section] = taken.get(section, 0) + now - since
        section, since = title, now

    began, processor = time.perf_counter(), time.process_time()
    report = chainrule.report(run, progress=tell)
    page = report.html.encode()
    tell("", 1)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    most = sorted((name for name in taken if taken[name] > 0.1 * processor), key=taken.__getitem__, reverse=True)
    found = Run.open(run)
    megabytes = len(page) / 1e6
    return [
        f"{found.trained.plan.network.parameters.size:,}", f"{found.manifest['steps']:,}",
        f"{megabytes:.2f}{'' if megabytes < LARGEST else ' (too large)'}", f"{processor:.1f} s", f"{seconds:.1f} s",
        ", ".join(f"{name} {taken[name]:.1f} s" for name in most[:3]),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=RUNS)
    parser.add_argument("--folder", type=Path, help="where runs are kept")
    chosen = parser.parse_args(arguments)
    print(
        "| run | weights | steps | MB | processor time | time | of which |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        write_data(folder)
        for name in chosen.runs:
            data, *settings = RUNS[name]
            source = str(folder / data) if (folder / data).exists() else data
            run = folder / name.replace(",", "").replace(" ", "-")
            if not run.exists():
                with redirect_stdout(io.StringIO()):
                    ending = command(["train", source, *settings, "-o", str(run), "--json"])
                if ending != 0:
                    return ending
            print(f"| {name} | {' | '.join(measured(run))} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
