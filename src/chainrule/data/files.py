"""Reading CSV, TSV, Parquet and NPZ files, and folders of images in one subfolder per class."""

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

from chainrule.arrays import Array, Shape, pack
from chainrule.data.source import Source, check_finite, fingerprint, from_table
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MOST_COLUMNS = 20_000
"""More columns are almost certainly a mistake; the file is rejected before it fills the memory."""

MISSING = ["", "NA", "N/A", "null", "NULL", "None", "?"]
"""Text that marks a missing value."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read(
    path: Path,
    target: str | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
) -> Source:
    """Raw samples from a file, or from a folder of images.

    Args:
        path: a CSV, TSV, Parquet or NPZ file, or a folder
        target: a table's target column; by default the last
        drop: a table's columns to leave out
        task: "classification" or "regression", if known
        image_size: (height, width) to which images are resized

    Raises:
        DataError: with file, row and column, for data that can't be used
    """
    if path.is_dir():
        return read_pictures(path, image_size)
    if path.suffix.lower() == ".npz":
        return read_npz(path, task)
    content = read_bytes(path)
    frame = read_frame(path, content)
    return from_table(str(path), frame, target, drop, task, fingerprint(content))


def read_samples(path: Path, image_size: Shape | None = None) -> Source:
    """Raw samples without targets, for prediction.

    Takes what `read` takes, and also a folder of images without subfolders, or a single image.
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
    """The content of a file; raises DataError if it is missing, empty or unreadable."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; 'chainrule data' lists the built-in data sets") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check its permissions") from None
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content


def read_frame(path: Path, content: bytes) -> pl.DataFrame:
    """A table from the content of a CSV, TSV or Parquet file."""
    import polars as pl

    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        try:
            frame = pl.read_parquet(io.BytesIO(content))
        except Exception as error:
            raise DataError(f"{path}: not a readable Parquet file ({_first_line(error)})") from None
    elif kind in (".csv", ".tsv", ".txt", ".tab"):
        frame = _read_csv(path, content)
    else:
        known = "use CSV, TSV, Parquet, NPZ or a folder of images"
        raise DataError(f"{path}: can't read {f'{kind} files' if kind else 'a file without an extension'}; {known}")
    _check_width(path, frame.width)
    if frame.height == 0:
        raise DataError(f"{path}: there is a header but no rows")
    return frame


def _check_width(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise DataError(f"{path}: it has {columns:,} columns; at most {MOST_COLUMNS:,} are supported")


def _read_csv(path: Path, content: bytes) -> pl.DataFrame:
    import polars as pl

    _check_encoding(path, content)
    content = content.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")
    header, _, _ = content.partition(b"\n")
    candidates = "\t" if path.suffix.lower() in (".tsv", ".tab") else ",;\t|"
    separator = max(candidates, key=lambda s: header.count(s.encode()))
    _check_width(path, header.count(separator.encode()) + 1)
    names = next(csv.reader([header.decode().rstrip("\r")], delimiter=separator))
    _check_header(path, names)
    _check_rows(path, content, separator, len(names))
    if b'"' not in content and (b"\n\n" in content or b"\n\r\n" in content):
        content = re.sub(rb"(\r?\n)+", b"\n", content)  # otherwise read as missing values
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            separator=separator,
            infer_schema_length=None,
            try_parse_dates=True,
            null_values=MISSING,
        )
    except Exception as error:
        raise DataError(f"{path}: can't be read as a table ({_first_line(error)})") from None
    return frame.with_columns(_as_numbers(column) for column in frame.iter_columns())


def _as_numbers(column: pl.Series) -> pl.Series:
    """A text column as numbers if all its values are numbers, NaN or infinity; else unchanged."""
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
        hint = f"save it as UTF-8, for example with 'iconv -f latin1 -t utf-8 {path.name}'"
        raise DataError(f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); {hint}") from None
    if b"\x00" in content:
        raise DataError(f"{path}: it contains null bytes; is it a binary file?")


def _check_header(path: Path, names: list[str]) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{path}, line 1: column {position} has no name; name every column")
        if name in seen:
            raise DataError(f"{path}, line 1: two columns are named {name!r}; rename one of them")
        seen.add(name)


def _check_rows(path: Path, content: bytes, separator: str, columns: int) -> None:
    """Raise DataError for a row with more or fewer fields than the header (shifted values)."""
    if b'"' in content:  # only a parser can tell which separators are quoted
        rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), delimiter=separator)
        try:
            for row in rows:
                if row:
                    _check_fields(path, rows.line_num, len(row), columns)
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from None
        return
    text = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    fields = np.diff(np.searchsorted(np.flatnonzero(text == ord(separator)), ends), prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    blank = (lengths == 0) | ((lengths == 1) & (text[np.maximum(ends - 1, 0)] == ord("\r")))
    for line in np.flatnonzero((fields != columns) & ~blank)[:1].tolist():
        _check_fields(path, line + 1, fields[line], columns)


def _check_fields(path: Path, line: int, fields: int, columns: int) -> None:
    if fields != columns:
        raise DataError(f"{path}, line {line}: {fields} fields, but the header has {columns}; correct the line")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def read_npz(path: Path, task: str | None = None) -> Source:
    """Raw samples from an NPZ file.

    The samples are the first array named x, X, data, images or features; the targets the first
    named y, Y, target, targets or labels. Raises DataError for a file without samples, or with
    pickled objects.
    """
    content = read_bytes(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: not an NPZ file of plain arrays ({_first_line(error)})") from None
    x = _first_of(arrays, ("x", "X", "data", "images", "features"))
    y = _first_of(arrays, ("y", "Y", "target", "targets", "labels"))
    if x is None:
        raise DataError(f"{path}: no array named 'x' for the samples; the arrays are: {', '.join(arrays) or 'none'}")
    return source_from_arrays(x, y, str(path), task, fingerprint(content))


def _first_of(arrays: dict[str, Array], names: Sequence[str]) -> Array | None:
    return next((arrays[name] for name in names if name in arrays), None)


def source_from_arrays(x: Any, y: Any, name: str = "arrays", task: str | None = None, fingerprint: str = "") -> Source:
    """A source from arrays.

    Args:
        x: numbers of shape (samples, ...), or (samples,) for a single feature; a tuple of arrays
            for a network with several inputs
        y: targets of shape (samples,) or (samples, outputs); None if there are none
        name: used in error messages
        task: "classification" or "regression", if known
        fingerprint: hash of the content; computed if empty

    Raises:
        DataError: x is not numeric, a value is not finite, or a shape is wrong
    """
    several = isinstance(x, tuple) and all(isinstance(part, np.ndarray) for part in x)
    x = pack(x) if several else np.asarray(x)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim == 0 or x.dtype.kind not in "buif":
        raise DataError(f"{name}: x must be a numeric array with a row per sample, not {x.dtype} of shape {x.shape}")
    _check_finite(name, "x", x)
    if y is not None:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim not in (1, 2):
            raise DataError(f"{name}: y must have the shape (samples,) or (samples, outputs), not {y.shape}")
        _check_finite(name, "y", y)
    return Source(name, x, y, "y", task, fingerprint)


def _check_finite(name: str, which: str, array: Array) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        column = f", column {', '.join(map(str, index[1:]))}" if len(index) > 1 else ""
        problem = f"{array[index]} is not a finite number; correct the value or remove the row"
        raise DataError(f"{name}, {which}, row {index[0]}{column}: {problem}")


def read_pictures(folder: Path, size: Shape | None = None) -> Source:
    """Images in subfolders named after their classes.

    A sample has the shape (height, width), or (height, width, 3) if any image is in colour. All
    must have the same size unless `size`, (height, width), is given, to which they are resized.
    """
    classes = sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))
    files = [(file, sub.name) for sub in classes for file in sorted(sub.iterdir()) if file.suffix.lower() in PICTURES]
    x = _stack(folder, [file for file, _ in files], size)
    y = np.array([label for _, label in files])
    names = repr([str(file.relative_to(folder)) for file, _ in files]).encode()
    return Source(str(folder), x, y, "class", "classification", fingerprint(names, x))


def _stack(folder: Path, files: list[Path], size: Shape | None) -> Array:
    """The images as one array; grayscale ones are converted to RGB if any is in colour."""
    if not files:
        kinds = ", ".join(PICTURES)
        raise DataError(f"{folder}: there are no images; it takes a subfolder for each class with {kinds} files")
    images = [_image(file, size) for file in files]
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            shape, first = (" x ".join(map(str, i.shape[:2])) for i in (image, images[0]))
            hint = "resize all, for example with --image-size 32x32"
            raise DataError(f"{file}: {shape} pixels, but {files[0]} has {first}; {hint}")
    return np.stack(images)


def _image(file: Path, size: Shape | None) -> Array:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            image = opened.convert("L" if opened.mode in ("1", "L", "I", "I;16", "F") else "RGB")
            return np.asarray(image.resize((size[1], size[0])) if size else image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{file}: not a readable image ({_first_line(error)})") from None
