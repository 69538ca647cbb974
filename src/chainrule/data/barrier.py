"""What stands between a file and the process that reads it.

Files are read with suspicion: whatever a library raises becomes a `DataError`, a budget is checked
before anything is decoded, and what could crash a decoder is decoded in a process of its own.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from chainrule.errors import ChainruleError, DataError

if TYPE_CHECKING:
    import polars as pl

SECONDS = 300
"""How long decoding a file may take."""


@dataclass(frozen=True)
class Limits:
    """How much a file may contain.

    Attributes:
        cells: the maximum of rows x columns, or of numbers in arrays and pictures
        memory: bytes that decoding in a process of its own may take
        in_child: whether everything is decoded there; otherwise all but CSV is
    """

    cells: int
    memory: int
    in_child: bool = False

    @property
    def text(self) -> int:
        """Bytes of text, or of XML, that may come out of a compressed file."""
        return self.memory // 4


FILE = Limits(200_000_000, 8_000_000_000)
"""For the user's own files. Training needs up to 12 bytes for each number."""
UPLOAD = Limits(10_000_000, 1_000_000_000, in_child=True)
"""For files from a page, which must not take the server down."""


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Within the block, whatever a library raises becomes a DataError that begins with `what`.

    That includes panics of polars, which derive from BaseException, and RecursionError.
    """
    try:
        yield
    except (ChainruleError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise DataError(f"{what}: it takes more memory than there is") from None
    except BaseException as error:
        raise DataError(f"{what} ({first_line(error)})") from None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def check_budget(name: str, rows: int, columns: int, limits: Limits = FILE, hint: str = "use fewer rows") -> None:
    """Raise DataError for more rows x columns than the limit."""
    if rows * columns > limits.cells:
        raise DataError(f"{name}: {rows:,} x {columns:,} is more than {limits.cells:,} numbers; {hint}")


def read_in_child(path: Path, kind: str, content: bytes, limits: Limits, texts: Collection[str] = ()) -> pl.DataFrame:
    """A table, decoded in a process of its own, whose memory is limited.

    Args:
        path: the file's name, for messages and its extension
        kind: what it is, one of the values of `formats.KINDS`
        content: what the file contains
        limits: how much it may contain
        texts: columns of a CSV file to leave as text

    Raises:
        DataError: if it can't be decoded, or if decoding it takes too much memory or crashes
    """
    import polars as pl

    request = {
        "path": str(path), "kind": kind, "texts": list(texts),
        "memory": limits.memory, "cells": limits.cells, "text": limits.text,
    }  # fmt: skip
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as decoded:
        source.write(content)
        source.seek(0)
        try:
            code = run_child(request, source, decoded)
        except subprocess.TimeoutExpired:
            raise DataError(f"{path}: decoding it takes longer than {SECONDS} seconds; is it damaged?") from None
        decoded.seek(0)
        answer = decoded.read()
    if code == 2:
        raise DataError(answer.decode())
    if code != 0:
        most = f"{limits.memory / 1e9:g} GB of memory"
        raise DataError(f"{path}: decoding it crashes, or takes more than {most}; is it damaged, or too large?")
    return pl.read_ipc(io.BytesIO(answer))


def run_child(request: dict[str, Any], source: IO[bytes], decoded: IO[bytes]) -> int:
    """The exit code of a child process that decodes a table, from one file into another.

    Raises subprocess.TimeoutExpired if that takes too long.
    """
    # Not `-m`: with the package's own imports, it would start twice as slowly.
    command = [sys.executable, "-P", str(Path(__file__).with_name("child.py")), json.dumps(request)]
    with subprocess.Popen(command, stdin=source, stdout=decoded, stderr=subprocess.DEVNULL) as process:
        try:
            return process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
