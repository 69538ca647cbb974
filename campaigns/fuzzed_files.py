"""Damaged files of every format: each is read correctly, or refused in a line that names it.

    python campaigns/fuzzed_files.py --count 100000 --seconds 3600

Small CSV, Parquet, Arrow, Excel, NPZ, picture and skops files are damaged at random: bytes changed,
cut out, repeated or inserted; in archives and compressed files mostly before they are compressed.
Each is read in a process with at most 1 GB of memory; of the tables, which take a hundred times as
long to prepare as to read, each tenth is prepared and previewed, too. A crash, a traceback, an
answer after more than 60 seconds, an error of several lines and a prepared number that is not
finite are findings; their files are saved in tests/data/damaged, which the tests read. Exits with 1
if there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parents[1] / "tests" / "data" / "damaged"
MEMORY = 1_000_000_000
SECONDS = 60
FORMATS = {
    "csv": ".csv", "gzip": ".csv.gz", "zstd": ".csv.zst", "parquet": ".parquet", "arrow": ".arrow",
    "feather": ".feather", "stream": ".ipc", "excel": ".xlsx", "npz": ".npz", "picture": ".png", "skops": ".skops",
}  # fmt: skip
TABLES = ("csv", "gzip", "zstd", "parquet", "arrow", "feather", "stream", "excel")
GOOD = ("good", "refused")
BATCH = 5000
PREPARED = 10
"""One table in so many is prepared, too."""
FORKED = 50
"""A child process that decodes files is replaced after so many."""
TOKENS = (b"\n", b"\r", b",", b";", b'"', b"\x00", b"\xff", b"1e39", b"1e-320", b"nan", b"-inf", b"2024-13-01", b"True",
          b"9" * 30, b"1,5", b"NA")  # fmt: skip


def seeds(kind: str) -> list[bytes]:
    """Small valid files of a format."""
    import numpy as np
    import polars as pl
    from PIL import Image

    random, rows, content = np.random.default_rng(0), 40, io.BytesIO()
    day = datetime.datetime(2024, 1, 1, 12)
    table = pl.DataFrame({
        "size": random.normal(size=rows),
        "rooms": [None if k % 9 == 0 else k % 5 for k in range(rows)],
        "kind": random.choice(["flat", "house"], rows),
        "lift": random.choice([True, False], rows),
        "sold": [day.date() + datetime.timedelta(days=k) for k in range(rows)],
        "seen": [day + datetime.timedelta(hours=k) for k in range(rows)],
        "at": [datetime.time(k % 24) for k in range(rows)],
        "price": random.normal(size=rows),
    })  # fmt: skip
    if kind == "csv":
        plain = table.write_csv().encode()
        return [plain, plain.replace(b",", b";").replace(b".", b","), plain.replace(b"flat", b'"a ""flat"", small"')]
    if kind in ("gzip", "zstd"):
        return [packed(kind, text) for text in seeds("csv")]
    if kind == "excel":
        content = io.BytesIO()
        table.write_excel(content)
        return [content.getvalue()]
    if kind in ("arrow", "feather", "stream"):
        files = []
        for compression in ("uncompressed", "lz4", "zstd"):
            content = io.BytesIO()
            nested = table.with_columns(
                tags=pl.Series([[k] for k in range(rows)]), kind=pl.col("kind").cast(pl.Categorical)
            )
            nested = nested.select(pl.exclude("price"), "price")
            (nested.write_ipc_stream if kind == "stream" else nested.write_ipc)(content, compression=compression)
            files.append(content.getvalue())
        return files
    if kind == "parquet":
        files = []
        for compression in ("zstd", "snappy", "uncompressed"):
            content = io.BytesIO()
            nested = table.with_columns(tags=pl.Series([[k] for k in range(rows)]), raw=pl.lit(b"x")).select(
                pl.exclude("price"), "price"
            )
            nested.write_parquet(content, compression=compression)
            files.append(content.getvalue())
        return files
    if kind == "npz":
        files = []
        for save in (np.savez, np.savez_compressed):
            content = io.BytesIO()
            save(content, x=random.normal(size=(rows, 3)), y=random.choice(["a", "b"], rows))
            files.append(content.getvalue())
        return files
    if kind == "picture":
        files = []
        for mode, suffix in (
            ("L", "png"),
            ("RGB", "jpeg"),
            ("I;16", "tiff"),
            ("P", "gif"),
            ("RGB", "webp"),
            ("L", "bmp"),
        ):
            content, pixels = io.BytesIO(), random.integers(0, 255, (12, 10, 3)).astype(np.uint8)
            image = (
                Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels)
            )
            (image if mode == "I;16" else image.convert(mode)).save(content, suffix)
            files.append(content.getvalue())
        return files
    return [recorded()["preparation.skops"]]


def damaged(content: bytes, seed: int, number: int) -> bytes:
    """A file with one to four damages, which the seed and the number determine."""
    import random

    draw = random.Random(f"{seed} {number}")
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at, length = draw.randrange(len(content) + 1), draw.choice((1, 1, 2, 8, 40))
        # The ends hold the headers of most formats.
        at = draw.choice(
            (
                at,
                at,
                draw.randrange(min(200, len(content) + 1)),
                len(content) - draw.randrange(min(300, len(content) + 1)),
            )
        )
        rest = content[at + length :]
        way = draw.randrange(6)
        if way == 0:
            content = content[:at] + draw.randbytes(length) + rest
        elif way == 1:
            content = content[:at] + draw.choice((b"\x00", b"\x13", b"\x7f", b"\x80", b"\xff")) * length + rest
        elif way == 2:
            content = content[:at] + rest
        elif way == 3:
            content = content[: at + length] + content[at : at + length] * draw.choice((1, 5)) + rest
        elif way == 4:
            content = content[:at] + draw.choice(TOKENS) + content[at:]
        else:
            flipped = bytes(byte ^ (1 << draw.randrange(8)) for byte in content[at : at + 1])
            content = content[:at] + flipped + content[at + 1 :]
        if not content:
            return b"\x00"
    return content


def packed(kind: str, content: bytes) -> bytes:
    """A compressed file with this content."""
    import gzip

    from backports import zstd

    return gzip.compress(content, mtime=0) if kind == "gzip" else zstd.compress(content)


def unpacked(content: bytes) -> bytes:
    """The content of a compressed file."""
    import gzip

    from backports import zstd

    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else zstd.decompress(content)


def rezipped(content: bytes, seed: int, number: int) -> bytes:
    """A ZIP archive one of whose members is damaged, with checksums that fit."""
    import random
    import zipfile

    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = random.Random(f"{number} {seed}").choice(old.namelist())
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, damaged(member, seed, number) if name == chosen and member else member)
    return changed.getvalue()


def mutant(kind: str, originals: list[bytes], seed: int, number: int) -> bytes:
    """The damaged file of a number."""
    original = originals[number % len(originals)]
    if kind in ("gzip", "zstd") and number % 4 != 0:
        return packed(kind, damaged(unpacked(original), seed, number))
    inside = kind in ("npz", "skops", "excel") and number % 4 != 0
    return (rezipped if inside else damaged)(original, seed, number)


def read(kind: str, content: bytes, folder: Path, prepares: bool = True) -> str:
    """Read a damaged file; returns "good" or "refused", or raises what is a finding.

    `prepares` says whether a table is also prepared and previewed.
    """
    import numpy as np

    from chainrule.data import find_samples, load
    from chainrule.data.columns import kind_of
    from chainrule.data.finding import find
    from chainrule.data.preparation import Preparation
    from chainrule.errors import ChainruleError
    from chainrule.play.upload import Choice, Upload

    path = folder / f"damaged{FORMATS[kind]}"
    path.write_bytes(content)
    try:
        if kind == "skops":
            found = Preparation.from_contents({**recorded(), "preparation.skops": content})
            x = found.apply(find_samples(table()))
            _ = found.uses, found.names
        elif kind == "picture":
            x = find_samples(path).features
        elif kind in TABLES and not prepares:
            x = [0.0] if find(path).features.width else []
        else:
            source = find(path)
            if source.is_table:  # lists and bytes, which are read, are refused as inputs
                usable = [column.name for column in source.features.iter_columns() if kind_of(column) is not None]
                source = replace(source, features=source.features.select(usable))
            data = load(source)
            if kind == "csv":
                Upload("name", data.source.features).preview(Choice(0))
            x = data.training.x
        assert np.isfinite(np.asarray(x)).all(), "a prepared number is not finite"
    except ChainruleError as error:
        text = str(error)
        assert "\n" not in text.strip(), f"several lines: {text}"
        assert len(text) < 1500, f"a long message: {text[:200]}"
        assert kind == "skops" or str(path) in text, f"it does not name the file: {text}"
        return "refused"
    return "good"


@cache
def table() -> Any:
    """A few columns of the valid CSV file."""
    from chainrule.data.tables import read_csv

    return read_csv(Path("valid.csv"), seeds("csv")[0]).select("rooms", "kind", "sold", "price")


@cache
def recorded() -> dict[str, bytes]:
    """The files of the preparation that an earlier version fitted on it."""
    import earlier

    return earlier.contents(table())


def fork_children(folder: Path) -> None:
    """Have the child processes that decode files forked from one that has imported what they need,
    instead of started, which takes ten times as long.
    """
    from chainrule.data import barrier

    command = [sys.executable, __file__, "--fork", str(folder)]
    forks = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_child(request: dict[str, Any], source: Any, decoded: Any) -> int:
        assert forks.stdin is not None
        assert forks.stdout is not None
        (folder / "source").write_bytes(source.read())
        print(json.dumps(request), file=forks.stdin, flush=True)
        code = int(forks.stdout.readline())
        decoded.write((folder / "decoded").read_bytes())
        return code

    barrier.run_child = run_child


def fork(folder: Path) -> None:
    """Have forked child processes carry out the requests on stdin, each as many as it survives, up to
    FORKED, and print the exit code of each request.
    """
    import fastexcel  # noqa: F401 (for the child processes)
    import polars  # noqa: F401

    import chainrule.data.excel  # noqa: F401

    context = multiprocessing.get_context("fork")
    process, served = None, 0
    for request in sys.stdin:
        if process is None:
            ours, theirs = context.Pipe()
            process, served = context.Process(target=decode_each, args=(ours, theirs, folder)), 0
            process.start()
            theirs.close()
        ours.send(request)
        try:
            code, served = ours.recv(), served + 1
        except EOFError:
            process.join()
            code, process = process.exitcode, None
        print(code, flush=True)
        if process is not None and served == FORKED:
            ours.close()
            process.join()
            process = None


def decode_each(of_parent: Any, requests: Any, folder: Path) -> None:
    """Decode a file at each request, and answer with the exit code."""
    from chainrule.data import child

    of_parent.close()  # this process's copy of it, so that closing the other ends the requests
    with contextlib.suppress(EOFError):
        while True:
            request = json.loads(requests.recv())
            signal.alarm(SECONDS)
            with (folder / "source").open() as sys.stdin, (folder / "decoded").open("w") as sys.stdout:
                code = child.main(request)
            requests.send(code)


def batch(files: list[tuple[str, int]], seed: int, seconds: float) -> None:
    """Read these damaged files, with a line of JSON before and after each, for so many seconds.

    A file that takes too long ends the process by an alarm.
    """
    import resource

    # No thread of a library may take the memory that the files are measured by.
    resource.setrlimit(resource.RLIMIT_AS, (3 * MEMORY, 3 * MEMORY))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    if any(kind == "skops" for kind, _ in files):
        recorded()
    originals = {kind: seeds(kind) for kind, _ in files}
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fork_children(folder)
        for k, (kind, number) in enumerate(files):
            if k and time.monotonic() > end:
                break
            print(json.dumps("reads"), flush=True)
            signal.alarm(SECONDS)
            try:
                content = mutant(kind, originals[kind], seed, number)
                print(json.dumps(read(kind, content, folder, number % PREPARED == 0)), flush=True)
            except BaseException as error:
                print(json.dumps(f"{type(error).__name__}: {str(error)[:300]}"), flush=True)


def campaign(counts: dict[str, int], seed: int, seconds: float) -> dict[tuple[str, int], str]:
    """What became of so many files of each format: "good", "refused", or a finding."""
    results: dict[tuple[str, int], str] = {}
    files = [(kind, number) for kind, count in counts.items() for number in range(count)]
    end = time.monotonic() + seconds
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
    while len(results) < len(files) and time.monotonic() < end:
        some = files[len(results) : len(results) + BATCH]
        command = [sys.executable, __file__, "--batch", str(seed), str(end - time.monotonic())]
        with tempfile.TemporaryFile("w+") as asked, tempfile.TemporaryFile("w+") as lines:
            json.dump(some, asked)
            asked.seek(0)
            code = subprocess.run(
                command, stdin=asked, stdout=lines, stderr=subprocess.DEVNULL, env=environment
            ).returncode
            lines.seek(0)
            said = [json.loads(line) for line in lines.read().splitlines() if line.endswith('"')]
        if not said:
            raise SystemExit(f"a batch of files did not start: {json.dumps(some[:3])[:-1]}, ...] | {' '.join(command)}")
        became = [what for what in said if what != "reads"]
        if said[-1] == "reads":
            became.append(f"the process ended with {code}")
        results |= dict(zip(some, became, strict=False))
    return results


def main() -> int:
    """Run the campaign, print a table, save what was found; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="files of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600, help="the most time for each format")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--batch", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--fork", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fork:
        fork(options.fork)
        return 0
    if options.batch:
        batch([(kind, number) for kind, number in json.load(sys.stdin)], int(options.batch[0]), float(options.batch[1]))
        return 0
    print(f"{'format':<10}{'tried':>8}{'good':>8}  of which read")
    failed = False
    for kind in options.formats:
        results = campaign({kind: options.count}, options.seed, options.seconds)
        findings = {number: what for (_, number), what in results.items() if what not in GOOD}
        was_read = sum(what == "good" for what in results.values())
        print(f"{kind:<10}{len(results):>8,}{len(results) - len(findings):>8,}{was_read:>8,}", flush=True)
        for number, what in findings.items():
            FOUND.mkdir(exist_ok=True)
            path = FOUND / f"{kind}-{options.seed}-{number}{FORMATS[kind]}"
            path.write_bytes(mutant(kind, seeds(kind), options.seed, number))
            print(f"  {path.name}: {what}")
        failed = failed or bool(findings) or not results
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
