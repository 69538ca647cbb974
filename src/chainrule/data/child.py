"""The child process that decodes one table, so that a crash or an allocation ends only it.

`barrier.read_in_child` starts it with a request as JSON: the file comes in on stdin, the table goes
out on stdout in Arrow's format. Exit code 2 means that stdout has an error message instead.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def main(request: dict[str, Any]) -> int:
    """Decode the table on stdin and return the exit code."""
    _limit(request["memory"])
    path = Path(request["path"])
    try:
        decode = {"csv": _csv, "parquet": _parquet, "arrow": _arrow, "excel": _excel}[request["kind"]]
        decode(path, sys.stdin.buffer.read(), request).write_ipc(sys.stdout.buffer)
    except BaseException as error:  # a panic of polars is no Exception
        lines = str(error).strip().splitlines() or [type(error).__name__]
        is_ours = type(error).__name__ in ("DataError", "SettingError")
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


def _check_cells(path: Path, rows: int, columns: int, cells: int) -> None:
    if rows * columns > cells:
        from chainrule.data.barrier import Limits, check_budget

        check_budget(str(path), rows, columns, Limits(cells, 0))


def _csv(path: Path, content: bytes, request: dict[str, Any]) -> pl.DataFrame:
    from chainrule.data.barrier import Limits
    from chainrule.data.formats import COMPRESSED, decompressed
    from chainrule.data.tables import read_csv

    limits = Limits(request["cells"], request["memory"])
    if path.suffix.lower() in COMPRESSED:
        content = decompressed(path, content, limits)
    return read_csv(path, content, limits, request["texts"])


def _parquet(path: Path, content: bytes, request: dict[str, Any]) -> pl.DataFrame:
    import polars as pl

    schema, lazy = pl.read_parquet_schema(io.BytesIO(content)), pl.scan_parquet(io.BytesIO(content))
    rows = lazy.select(pl.len()).collect().item()
    _check_cells(path, rows, len(schema), request["cells"])
    usable = [name for name, dtype in schema.items() if _is_usable(dtype)]
    return _completed(pl.read_parquet(io.BytesIO(content), columns=usable), rows, schema)


def _arrow(path: Path, content: bytes, request: dict[str, Any]) -> pl.DataFrame:
    """A table from Arrow's file format, which is Feather's too, or from its stream format."""
    import polars as pl

    if not content.startswith(b"ARROW1"):
        frame = pl.read_ipc_stream(io.BytesIO(content))
        _check_cells(path, frame.height, frame.width, request["cells"])
        usable = [name for name, dtype in frame.schema.items() if _is_usable(dtype)]
        return _completed(frame.select(usable), frame.height, frame.schema)
    schema = pl.read_ipc_schema(io.BytesIO(content))
    rows = pl.scan_ipc(io.BytesIO(content)).select(pl.len()).collect().item()
    _check_cells(path, rows, len(schema), request["cells"])
    usable = [name for name, dtype in schema.items() if _is_usable(dtype)]
    return _completed(pl.read_ipc(io.BytesIO(content), columns=usable), rows, schema)


def _is_usable(dtype: pl.DataType) -> bool:
    import polars as pl

    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object))


def _completed(usable: pl.DataFrame, rows: int, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The table with its other columns, which can't be used, as binary ones without values."""
    import polars as pl

    others = [name for name in schema if name not in usable.columns]
    empty = [pl.Series(name, [None], pl.Binary).new_from_index(0, rows) for name in others]
    return usable.with_columns(empty).select(list(schema)) if others else usable


def _excel(path: Path, content: bytes, request: dict[str, Any]) -> pl.DataFrame:
    from chainrule.data.excel import read_excel

    return read_excel(path, content, request["cells"], request["text"])


if __name__ == "__main__":
    code = main(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # without waiting for threads of polars
