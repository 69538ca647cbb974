"""The child process that decodes one table, so that a crash or an allocation ends only it.

`barrier.read_in_child` starts it with a request as JSON: the file comes in on stdin, the table goes
out on stdout in Arrow's format. Exit code 2 means that stdout has an error message instead.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def main(request: dict[str, Any]) -> int:
    """Decode the table on stdin and return the exit code."""
    _limit(request["memory"])
    path = Path(request["path"])
    try:
        content = sys.stdin.buffer.read()
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = _parquet(path, content, request["cells"])
        else:
            frame = _csv(path, content, request)
        frame.write_ipc(sys.stdout.buffer)
    except BaseException as error:  # a panic of polars is no Exception
        lines = str(error).strip().splitlines() or [type(error).__name__]
        is_ours = type(error).__name__ == "DataError"
        message = " ".join(lines) if is_ours else f"{path}: it can't be decoded ({lines[0][:200]})"
        sys.stdout.buffer.write(message.encode("utf-8", "replace"))
        return 2
    finally:
        sys.stdout.buffer.flush()
    return 0


def _limit(memory: int) -> None:
    """Limit this process's memory, where the operating system can."""
    os.environ["POLARS_MAX_THREADS"] = "4"  # each reserves some
    try:
        import resource
    except ImportError:  # on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not the address space, of which threads and allocators reserve far more than they use.
    _, most = resource.getrlimit(resource.RLIMIT_DATA)  # the user's own limit may be lower
    memory = memory if most == resource.RLIM_INFINITY else min(memory, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _parquet(path: Path, content: bytes, cells: int) -> pl.DataFrame:
    """A table; columns of types that can't be used come as binary columns without values."""
    import polars as pl

    schema = pl.read_parquet_schema(io.BytesIO(content))
    lazy = pl.scan_parquet(io.BytesIO(content))
    rows = lazy.select(pl.len()).collect().item()
    if rows * len(schema) > cells:
        from chainrule.data.barrier import Limits, check_budget

        check_budget(str(path), rows, len(schema), Limits(cells, 0))
    nested = [name for name, dtype in schema.items() if dtype.is_nested() or dtype in (pl.Binary, pl.Object)]
    usable = pl.read_parquet(io.BytesIO(content), columns=[name for name in schema if name not in nested])
    empty = [pl.Series(name, [None], pl.Binary).new_from_index(0, rows) for name in nested]
    return usable.with_columns(empty).select(list(schema)) if nested else usable


def _csv(path: Path, content: bytes, request: dict[str, Any]) -> pl.DataFrame:
    from chainrule.data.barrier import Limits
    from chainrule.data.tables import read_csv

    return read_csv(path, content, Limits(request["cells"], request["memory"]), request["texts"])


if __name__ == "__main__":
    code = main(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # without waiting for threads of polars
