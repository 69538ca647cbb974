"""Reading files: CSV, TSV, Parquet, NPZ, and a folder of pictures with a folder for each class."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.source import Source, check_finite, fingerprint, from_table
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MOST_COLUMNS = 20_000
"""A table with more columns is surely no table: it is refused before it fills the memory."""

MISSING = ["", "NA", "N/A", "null", "NULL", "None", "?"]
"""What an empty cell may be written as."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read(
    path: Path,
    target: str | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
) -> Source:
    """The data in a file or a folder of pictures; raises DataError with file, row and column for what can't be used."""
    if path.is_dir():
        return read_pictures(path, image_size)
    if path.suffix.lower() == ".npz":
        return read_npz(path, task)
    content = read_bytes(path)
    frame = read_frame(path, content)
    return from_table(str(path), frame, target, drop, task, fingerprint(content))


def read_samples(path: Path, image_size: Shape | None = None) -> Source:
    """The same without a target: samples to predict something of. Pictures may lie in the folder itself, or be a
    single file.
    """
    if path.is_dir() or path.suffix.lower() in PICTURES:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [file for file in files if file.suffix.lower() in PICTURES]
        return Source(str(path), _stack(path, files, image_size), None)
    if path.suffix.lower() == ".npz":
        return replace(read_npz(path), target=None)
    frame = read_frame(path, read_bytes(path))
    check_finite(str(path), frame)
    return Source(str(path), frame, None)


def read_bytes(path: Path) -> bytes:
    """All of a file; raises DataError if there is none, it is empty or can't be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; 'chainrule data' lists the built-in data sets") from None
    except OSError as error:
        raise DataError(f"{path}: it can't be read ({error.strerror}); check its permissions") from None
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content


def read_frame(path: Path, content: bytes) -> pl.DataFrame:
    """A table from the bytes of a CSV, TSV or Parquet file."""
    import polars as pl

    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        try:
            frame = pl.read_parquet(io.BytesIO(content))
        except Exception as error:
            raise DataError(f"{path}: it is no Parquet file that can be read ({_first_line(error)})") from None
    elif kind in (".csv", ".tsv", ".txt", ".tab"):
        frame = _read_csv(path, content)
    else:
        raise DataError(
            f"{path}: don't know how to read {kind or 'a file without an ending'}; CSV, TSV, Parquet, NPZ and folders"
            " of pictures can be read"
        )
    if len(frame.columns) > MOST_COLUMNS:
        raise DataError(f"{path}: it has {len(frame.columns):,} columns; more than {MOST_COLUMNS:,} can't be used")
    if frame.height == 0:
        raise DataError(f"{path}: it has a header but no rows")
    return frame


def _read_csv(path: Path, content: bytes) -> pl.DataFrame:
    import polars as pl

    _check_encoding(path, content)
    content = content.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")
    header, _, _ = content.partition(b"\n")
    separator = (
        "\t" if path.suffix.lower() in (".tsv", ".tab") else max(",;\t|", key=lambda s: header.count(s.encode()))
    )
    columns = header.count(separator.encode()) + 1
    if columns > MOST_COLUMNS:
        raise DataError(f"{path}: it has {columns:,} columns; more than {MOST_COLUMNS:,} can't be used")
    names = next(csv.reader([header.decode().rstrip("\r")], delimiter=separator))
    _check_header(path, names)
    _check_rows(path, content, separator, len(names))
    if b'"' not in content and (b"\n\n" in content or b"\n\r\n" in content):
        content = re.sub(rb"(\r?\n)+", b"\n", content)  # a blank line is no row of missing values
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            separator=separator,
            infer_schema_length=None,
            try_parse_dates=True,
            null_values=MISSING,
        )
    except Exception as error:
        raise DataError(f"{path}: it can't be read as a table ({_first_line(error)})") from None
    return frame.with_columns(_as_numbers(column) for column in frame.iter_columns())


def _as_numbers(column: pl.Series) -> pl.Series:
    """A column of texts that all say numbers, nan and inf among them, as these numbers; any other column as it is."""
    import polars as pl

    if column.dtype != pl.String:
        return column
    numbers = column.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == column.null_count() < len(column) else column


def _check_encoding(path: Path, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: it is not UTF-8 text (byte 0x{content[error.start]:02x}); save it as UTF-8, for"
            f" example with 'iconv -f latin1 -t utf-8 {path.name}'"
        ) from None
    if b"\x00" in content:
        raise DataError(f"{path}: it holds zero bytes, so it is no text; is it really a table of text?")


def _check_header(path: Path, names: list[str]) -> None:
    seen: set[str] = set()
    for place, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{path}, line 1: column {place} has no name; give every column one")
        if name in seen:
            raise DataError(f"{path}, line 1: two columns are called {name!r}; give one of them another name")
        seen.add(name)


def _check_rows(path: Path, content: bytes, separator: str, columns: int) -> None:
    """Every row must have as many fields as the header: a missing one would shift all that follow."""
    if b'"' in content:  # only a parser knows which separators stand inside quotes
        rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), delimiter=separator)
        try:
            for row in rows:
                if len(row) not in (columns, 0):
                    _refuse_row(path, rows.line_num, len(row), columns)
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from None
        return
    text = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    fields = np.diff(np.searchsorted(np.flatnonzero(text == ord(separator)), ends), prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    blank = (lengths == 0) | ((lengths == 1) & (text[np.maximum(ends - 1, 0)] == ord("\r")))
    bad = np.flatnonzero((fields != columns) & ~blank)
    if len(bad):
        _refuse_row(path, int(bad[0]) + 1, int(fields[bad[0]]), columns)


def _refuse_row(path: Path, line: int, fields: int, columns: int) -> None:
    raise DataError(f"{path}, line {line}: it has {fields} fields, but the header has {columns}; correct the line")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def read_npz(path: Path, task: str | None = None) -> Source:
    """Arrays from an NPZ file: the samples called x, the targets called y (or X, data, images, features; target,
    labels).
    """
    content = read_bytes(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: it is no NPZ file of plain arrays ({_first_line(error)})") from None
    x = _first_of(arrays, ("x", "X", "data", "images", "features"))
    y = _first_of(arrays, ("y", "Y", "target", "targets", "labels"))
    if x is None:
        raise DataError(
            f"{path}: it has no array called 'x' for the samples; it has {', '.join(arrays) or 'none at all'}"
        )
    return source_from_arrays(x, y, str(path), task, fingerprint(content))


def _first_of(arrays: dict[str, Array], names: Sequence[str]) -> Array | None:
    return next((arrays[name] for name in names if name in arrays), None)


def source_from_arrays(x: Any, y: Any, name: str = "arrays", task: str | None = None, fingerprint: str = "") -> Source:
    """A source from arrays: x of shape (samples, ...), y of shape (samples,) or (samples, columns), or None."""
    x = np.asarray(x)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim == 0 or x.dtype.kind not in "buif":
        raise DataError(
            f"{name}: the samples must be an array of numbers, one row each; they are {x.dtype} of shape {x.shape}"
        )
    _check_finite(name, "x", x)
    if y is not None:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim not in (1, 2):
            raise DataError(
                f"{name}: the targets have the shape {y.shape}; they must be one number or name a sample, or one row of"
                " numbers"
            )
        _check_finite(name, "y", y)
    return Source(name, x, y, "y", task, fingerprint)


def _check_finite(name: str, which: str, array: Array) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0]
        column = f", column {', '.join(str(int(k)) for k in place[1:])}" if len(place) > 1 else ""
        what = "NaN" if np.isnan(array[tuple(place)]) else "infinity"
        raise DataError(
            f"{name}, {which}, row {int(place[0])}{column}: {what} is no number to learn from; remove the row or fill"
            " the value in"
        )


def read_pictures(folder: Path, size: Shape | None = None) -> Source:
    """Pictures of one size in folders named after their classes: grey ones as (height, width), coloured ones as
    (height, width, 3).

    `size`, (height, width), brings all of them to one size.
    """
    classes = sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))
    files = [(file, sub.name) for sub in classes for file in sorted(sub.iterdir()) if file.suffix.lower() in PICTURES]
    x = _stack(folder, [file for file, _ in files], size)
    y = np.array([label for _, label in files])
    names = repr([str(file.relative_to(folder)) for file, _ in files]).encode()
    return Source(str(folder), x, y, "class", "classification", fingerprint(names, x))


def _stack(folder: Path, files: list[Path], size: Shape | None) -> Array:
    """All pictures as one array; grey ones take on colours if others have them."""
    if not files:
        raise DataError(
            f"{folder}: there are no pictures in it; it takes a folder for each class with {', '.join(PICTURES)} files"
        )
    pictures = [_picture(file, size) for file in files]
    if any(p.ndim == 3 for p in pictures):
        pictures = [p if p.ndim == 3 else np.repeat(p[:, :, None], 3, axis=2) for p in pictures]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            shapes = [" x ".join(str(n) for n in p.shape[:2]) for p in (picture, pictures[0])]
            raise DataError(
                f"{file}: it is {shapes[0]} pixels, but {files[0]} is {shapes[1]}; bring all to one size with"
                " --image-size 32x32, say"
            )
    return np.stack(pictures)


def _picture(file: Path, size: Shape | None) -> Array:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            picture = opened.convert("L" if opened.mode in ("1", "L", "I", "I;16", "F") else "RGB")
            return np.asarray(picture.resize((size[1], size[0])) if size else picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{file}: it is no picture that can be read ({_first_line(error)})") from None
