"""The formats of tables: what a file's name says, and how its content becomes a table.

CSV is parsed in this process; Parquet, Arrow and Excel are decoded in one of their own. What is
compressed is decompressed up to a limit, so that no file can fill the memory.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from chainrule.data.barrier import FILE, Limits, guarded, read_in_child
from chainrule.data.tables import check_width, read_csv
from chainrule.errors import DataError, SettingError, require_package

if TYPE_CHECKING:
    import polars as pl

KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".tab"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".xlsx", ".xlsm"), "excel"),
}
"""The kind of a table by its extension."""

PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff")
"""The extensions of pictures."""

COMPRESSED = (".gz", ".zst")
"""The extensions of compressed files; a file of text may have one after its own."""

KNOWN = "use CSV, TSV, Parquet, Arrow, Excel, NPZ, x.npy with y.npy, or a folder of images"

PIECE = 1 << 22
"""Bytes that are decompressed at a time."""


def is_table(path: Path) -> bool:
    """Whether the file's name is that of a table, which may be compressed."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.suffix.lower() in KINDS


def kind_of_file(path: Path) -> str:
    """The kind of a table, one of the values of KINDS; raises DataError if there is none."""
    is_compressed = path.suffix.lower() in COMPRESSED
    inner = path.with_suffix("") if is_compressed else path
    suffix = inner.suffix.lower()
    if suffix not in KINDS:
        what = f"{suffix}{path.suffix if is_compressed else ''} files" if suffix else "a file without an extension"
        if is_compressed and not suffix:
            what = f"{path.suffix} files that don't say what is compressed, as {path.stem}.csv{path.suffix} does"
        raise DataError(f"{path}: can't read {what}; {KNOWN}")
    if is_compressed and KINDS[suffix] != "csv":
        raise DataError(f"{path}: {suffix} files are compressed already; decompress it, and pass {inner.name}")
    return KINDS[suffix]


def name_for_run(what: str) -> str:
    """A name for what was trained on the data of this name, without folders and extensions, such
    as "sales" for "data/sales-*.csv.gz".
    """
    path = Path(what)
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return re.sub(r"[*?\[\]]+", "", path.stem).strip("-_. ") or "run"


def read_bytes(path: Path, limits: Limits = FILE) -> bytes:
    """The content of a file, decompressed unless that is left to a child process.

    Raises DataError if it is missing, empty or unreadable, or if there is too much in it.
    """
    if path.exists() and not path.is_file():  # a named pipe, for example, could wait forever
        raise DataError(f"{path}: it is not a regular file; save the data in one")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; 'chainrule data' lists the built-in data sets") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check its permissions") from None
    if path.suffix.lower() in COMPRESSED and not limits.in_child:
        content = decompressed(path, content, limits)
    if not content[:PIECE].strip() and not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content


def decompressed(path: Path, content: bytes, limits: Limits) -> bytes:
    """What a compressed file contains; raises DataError if that is more than the limit allows."""
    if not content:
        return content
    whole, size = io.BytesIO(), 0
    with guarded(f"{path}: it can't be decompressed; is it damaged?"), opened(path, io.BytesIO(content)) as file:
        while piece := file.read(PIECE):
            size += whole.write(piece)
            if size > limits.text:
                most = f"{limits.text / 1e9:g} GB"
                raise DataError(f"{path}: it is more than {most} once decompressed; use fewer rows, or Parquet")
    return whole.getvalue()


def opened(path: Path, content: IO[bytes]) -> Any:
    """The content of a file, opened to read what is compressed in it."""
    if path.suffix.lower() == ".gz":
        import gzip

        return gzip.GzipFile(fileobj=content)
    try:
        from compression import zstd
    except ImportError:  # before Python 3.14
        try:
            from backports import zstd
        except ImportError:
            problem = "reading .zst files needs backports.zstd: pip install 'chainrule[zstd]'"
            raise SettingError(f"{path}: {problem}") from None
    return zstd.ZstdFile(content)


def read_frame(path: Path, content: bytes, limits: Limits = FILE, texts: Collection[str] = ()) -> pl.DataFrame:
    """A table from the content of a file.

    Args:
        path: the file's name, for messages and its extension
        content: what `read_bytes` returns for the same limits
        limits: how much it may contain
        texts: columns of a CSV file to leave as text, even if all values are numbers or dates
    """
    kind = kind_of_file(path)
    if kind == "csv" and not limits.in_child:
        frame = read_csv(path, content, limits, texts)
    else:
        check_start(path, kind, content)
        if kind == "excel":
            require_package("fastexcel", "excel", f"{path}: reading Excel files")
        frame = read_in_child(path, kind, content, limits, texts)
    check_width(path, frame.width)
    if frame.height == 0:
        raise DataError(f"{path}: there is a header but no rows")
    return frame


def check_start(path: Path, kind: str, content: bytes) -> None:
    """Raise DataError for content that can't be of this kind."""
    if kind == "parquet" and not (content.startswith(b"PAR1") and content.endswith(b"PAR1")):
        raise DataError(f"{path}: not a readable Parquet file (it has to begin and end with PAR1)")
    if kind == "arrow" and content.startswith(b"FEA1"):
        raise DataError(f"{path}: it is a Feather file of version 1; save it as version 2, which is Arrow's format")
    if kind == "arrow" and not content.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        raise DataError(f"{path}: not a readable Arrow file (it has to begin with ARROW1)")
    if kind == "excel" and not content.startswith(b"PK"):
        raise DataError(f"{path}: not a readable Excel file, which is a ZIP archive; save it as .xlsx again")
