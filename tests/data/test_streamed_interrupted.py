"""What is prepared is killed, finds a full disk, or loses its files: it goes on where it was, to the
same bits.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chainrule import cli
from chainrule.data import load
from chainrule.data.streamed import cache, conversion, preparing, table_files
from chainrule.errors import DataError
from waiting import WAIT, until

ROWS = 1000
SMALL = "1KB"

SCRIPT = """
import sys
from chainrule.data import load
from chainrule.data.streamed import cache, conversion, preparing, table_files
table_files.FEWEST_ROWS = table_files.MOST_ROWS = conversion.MOST_ROWS = 50
conversion.PIECE, conversion.SAVED_EVERY, preparing.SAVED_EVERY = 2000, 2, 4000
save, saved = cache.save_progress, []

def halted(building, progress):
    save(building, progress)
    saved.append(building)
    if len(saved) == int(sys.argv[2]):  # until it is killed
        (building.parent / "halted").touch()
        sys.stdin.read()

cache.save_progress = halted
print(load(sys.argv[1], target="y", memory="1KB").training.path.read_bytes().hex())
"""


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """Small blocks and pieces, and a cache of its own."""
    for room in (table_files, conversion):
        monkeypatch.setattr(room, "MOST_ROWS", 50)
    monkeypatch.setattr(table_files, "FEWEST_ROWS", 50)
    monkeypatch.setattr(conversion, "PIECE", 2000)
    monkeypatch.setattr(conversion, "SAVED_EVERY", 2)
    monkeypatch.setattr(preparing, "SAVED_EVERY", 4000)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


def table(rows: int = ROWS) -> pl.DataFrame:
    """Numbers, categories, and a column that is of numbers in its first half."""
    random = np.random.default_rng(0)
    code = [str(k) if k < rows // 2 else f"A{k}" for k in range(rows)]
    return pl.DataFrame({"x": random.normal(size=rows), "c": np.array(["a", "b"])[random.integers(0, 2, rows)],
                         "code": code, "y": random.normal(size=rows)})  # fmt: skip


@pytest.fixture
def parquet(tmp_path) -> Path:
    """A folder of two files."""
    (tmp_path / "sales").mkdir()
    table().drop("code")[:400].write_parquet(tmp_path / "sales" / "0.parquet")
    table().drop("code")[400:].write_parquet(tmp_path / "sales" / "1.parquet")
    return tmp_path / "sales"


@pytest.fixture
def csv(tmp_path) -> Path:
    """A folder of two CSV files."""
    (tmp_path / "sales").mkdir()
    table()[:400].write_csv(tmp_path / "sales" / "0.csv")
    table()[400:].write_csv(tmp_path / "sales" / "1.csv")
    return tmp_path / "sales"


@pytest.mark.parametrize(("kind", "saves"), [("parquet", 3), ("csv", 5), ("csv", 20)])
def test_what_was_killed_goes_on_to_the_same_bytes(request, kind, saves, tmp_path, monkeypatch):
    """While the cache is filled; in the first pass of a conversion; in its second one."""
    folder = request.getfixturevalue(kind)
    whole = load(folder, target="y", memory=SMALL).training.path.read_bytes()
    cache.clear()
    command = [sys.executable, "-c", SCRIPT, str(folder), str(saves)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        until(lambda: (tmp_path / "cache" / "halted").exists() or process.poll() is not None)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(WAIT) == -signal.SIGKILL
    (building,) = (tmp_path / "cache").glob("*" + cache.BUILDING)
    progress = json.loads((building / cache.PROGRESS).read_text())
    read: list[int] = []
    if kind == "parquet":
        sources = preparing.Reading.sources
        counted = lambda self, start=0: read.append(start) or sources(self, start)  # noqa: E731
        monkeypatch.setattr(preparing.Reading, "sources", counted)
    else:
        parsed = conversion.read_csv
        monkeypatch.setattr(conversion, "read_csv", lambda *args, **kw: read.append(0) or parsed(*args, **kw))
    assert load(folder, target="y", memory=SMALL).training.path.read_bytes() == whole
    if kind == "parquet":
        assert read == [progress["rows"]]
        assert progress["rows"] > 100
    else:
        pieces = len(list(folder.parent.glob("cache/*/piece-*")))
        assert len(progress["passes"]) == (1 if saves == 5 else 2)
        left = [pieces - len(one["pieces"]) for one in progress["passes"]]
        assert len(read) == left[0] + (left[1] if len(left) > 1 else pieces)
        assert min(left[-1], pieces - left[-1]) > 2


def full_after(monkeypatch, times: int) -> list[int]:
    """The disk is full from the file on that has this number; empty the list to free it."""
    sync, calls = os.fsync, [0]

    def fsync(file):
        if calls:
            calls[0] += 1
            if calls[0] > times:
                raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


@pytest.mark.parametrize(("kind", "option", "times"), [
    ("csv", "--drop=code", 5),  # while files are converted
    ("parquet", "--weight=x2", 1),  # while the preparation is saved
    ("parquet", "--split=time:x", 0),  # while the sets are written
    ("parquet", "--drop=c", 6),  # while the cache is filled
])  # fmt: skip
def test_a_full_disk_is_one_line_and_the_next_start_goes_on(
    request, kind, option, times, tmp_path, monkeypatch, capsys
):
    folder = request.getfixturevalue(kind)
    if "x2" in option:
        for path in sorted(folder.iterdir()):
            pl.read_parquet(path).with_columns(x2=pl.lit(1.0)).write_parquet(path)
    command = ["train", str(folder), "--target", "y", option, "--memory", "20KB", "--network", "2 relu", "--epochs",
               "1", "--batch-size", "50"]  # fmt: skip
    disk = full_after(monkeypatch, times)
    assert cli.run([*command, "-o", str(tmp_path / "run")]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"chainrule: {tmp_path / 'cache'}: the disk is full, so that the cache can't be written;")
    assert line.endswith("(what was prepared is kept, to go on from there)")
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cache").rglob("*.partial"))
    disk.clear()
    assert cli.run([*command, "-o", str(tmp_path / "run")]) == 0
    assert all(entry.is_whole for entry in cache.entries())


def changes(path: Path) -> dict[str, object]:
    """Ways in which a file may change."""
    content, status = path.read_bytes(), path.stat()

    def replaced() -> None:
        path.write_bytes(content[:40] + content[40:60][::-1] + content[60:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 10**9))  # of the same size, and older

    return {"appended": lambda: path.write_bytes(content + content), "removed": path.unlink, "replaced": replaced}


@pytest.mark.parametrize("how", ["appended", "removed", "replaced"])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_that_change_while_they_are_read_first_are_one_line(request, kind, how, monkeypatch):
    """Whichever file changes, read already or not: nothing of it is kept."""
    folder = request.getfixturevalue(kind)
    problem = "it is missing; put it back" if how == "removed" else "it has changed since it was first read; restore it"
    for path, after in ((sorted(folder.iterdir())[0], 10), (sorted(folder.iterdir())[1], 2)):
        content, calls, change = path.read_bytes(), [], changes(path)[how]
        read, parsed = table_files.TableFiles._read, conversion.read_csv

        def counted(function, calls=calls, change=change, after=after):
            def called(*args, **settings):
                calls.append(function)
                if len(calls) == after:
                    change()
                return function(*args, **settings)

            return called

        with monkeypatch.context() as patch:
            patch.setattr(table_files.TableFiles, "_read", counted(read))
            if kind == "csv":
                patch.setattr(conversion, "read_csv", counted(parsed))
            with pytest.raises(DataError, match=re.escape(f"{path}: {problem}")):
                load(folder, target="y", memory=SMALL)
        assert not any(entry.is_whole for entry in cache.entries())
        path.write_bytes(content)


def test_files_that_change_during_training_end_it_and_the_run_stays_whole(parquet, tmp_path, monkeypatch, capsys):
    from chainrule.data.streamed.stored import StoredSamples

    path = parquet / "1.parquet"
    content, status, verify, calls = path.read_bytes(), path.stat(), StoredSamples.verify, []

    def verified(self):
        calls.append(self)
        if len(calls) == 3:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 10**9))  # an older one of the same size
        verify(self)

    command = ["train", str(parquet), "--target", "y", "--memory", "20KB", "--network", "2 relu", "--epochs", "4",
               "--batch-size", "50"]  # fmt: skip
    assert cli.run([*command, "-o", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(StoredSamples, "verify", verified)
        assert cli.run([*command, "-o", str(tmp_path / "run")]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"chainrule: {path}: it has changed since it was first read; restore it")
    assert cli.run(["train", "--resume", str(tmp_path / "run"), "--epochs", "4"]) == 2
    assert "the file 1.parquet has another size, or was written at another time" in capsys.readouterr().err
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cli.run(["train", "--resume", str(tmp_path / "run"), "--epochs", "4"]) == 0
    states = [sorted((tmp_path / name).glob("state-*"))[-1].read_bytes() for name in ("whole", "run")]
    assert states[0] == states[1]


def test_thousands_of_files_need_few_of_them_open(tmp_path):
    (tmp_path / "many").mkdir()
    for k in range(150):
        table(4).drop("code").write_parquet(tmp_path / "many" / f"{k}.parquet")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len([*Path("/proc/self/fd").iterdir()]) if Path("/proc/self/fd").exists() else 100
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 60, limits[1]))
        data = load(tmp_path / "many", target="y", memory=SMALL, split="time:x")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sum(data.sizes.values()) == 600
