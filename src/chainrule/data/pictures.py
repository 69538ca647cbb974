"""Reading folders of pictures in one subfolder per class, and single pictures.

Few pictures are decoded into memory, more are decoded where they are read (`PictureFiles`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.formats import PICTURES
from chainrule.data.memory import most_memory
from chainrule.data.picture_files import BYTES, Header, PictureFiles, read_header
from chainrule.data.source import Source, fingerprint
from chainrule.errors import DataError, setting
from chainrule.threads import in_threads

COPIES = 3
"""How often pictures are in memory: as they are read, as they are divided into sets and, unless
they are bytes, as they are prepared.
"""


def read_pictures(folder: Path, size: Shape | None = None, memory: int | str | None = None) -> Source:
    """Images in subfolders named after their classes, and in subfolders of these.

    A sample has the shape (height, width), or (height, width, 3) if any image is in colour. All
    must have the same size unless `size`, (height, width), is given, to which they are resized.
    They stay on disk if in memory they would take more than `memory` (see `most_memory`).
    """
    names, labels = _of_classes(folder)
    headers = _headers(folder, names, size, hashed=True)
    x = _as_array(folder, names, headers, size, memory)
    own = fingerprint(repr(names).encode(), b"".join(header.digest for header in headers))
    return Source(str(folder), x, np.array(labels), "class", "classification", own, names=np.array(names, dtype=object))


def read_unlabelled(path: Path, size: Shape | None = None) -> Source:
    """A single image, or all images in a folder, without targets."""
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: it is not a regular file; save the picture in one")
    folder, files = (path, _pictures(_within(path))) if path.is_dir() else (path.parent, [path])
    names = [str(file.relative_to(folder)) for file in files]
    x = _as_array(folder, names, _headers(folder, names, size), size)
    return Source(str(path), x, None, names=np.array(names, dtype=object))


def fingerprint_of_pixels(folder: Path, size: Shape | None = None) -> str:
    """The fingerprint of a folder in runs of earlier versions, for which it is decoded."""
    names, _ = _of_classes(folder)
    x = _files(folder, names, _headers(folder, names, size), size)
    digest = hashlib.sha256(repr(names).encode() + repr((x.shape, x.dtype.str)).encode())
    for part in x.parts():
        digest.update(part.tobytes())
    return digest.hexdigest()


def _of_classes(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the pictures in subfolders, within the folder, and the classes."""
    classes = sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))
    for sub in classes:
        _check_name(sub)
        if folder.resolve().is_relative_to(sub.resolve()):
            raise DataError(f"{sub}: this link leads to {sub.resolve()}, which contains all classes; remove it")
    files = [(file, sub.name) for sub in classes for file in _pictures(_within(sub))]
    return [str(file.relative_to(folder)) for file, _ in files], [label for _, label in files]


def _check_name(folder: Path) -> None:
    """Raise DataError for the folder of a class whose name can't be written to a run."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(folder).decode(errors="backslashreplace")
        raise DataError(f"{escaped}: the name has bytes that are not UTF-8; rename the folder") from None


def _within(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders; OSError for a subfolder that can't be read."""

    def fail(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=fail):
        yield from (Path(place, name) for name in names)


def _pictures(paths: Iterable[Path]) -> list[Path]:
    """Those that are files with pictures, sorted; a named pipe, for example, is none."""
    return sorted(path for path in paths if path.suffix.lower() in PICTURES and path.is_file())


def _headers(folder: Path, names: Sequence[str], size: Shape | None, hashed: bool = False) -> list[Header]:
    """What the files say of their pictures; raises DataError unless they go together."""
    if not names:
        kinds = ", ".join(PICTURES)
        raise DataError(
            f"{folder}: there are no images; it takes a subfolder for each class with {kinds} files, or tables in files"
            " of Parquet, Arrow or CSV"
        )
    headers = in_threads(lambda name: read_header(folder / name, size, hashed), names)
    first, of_first = headers[0], folder / names[0]
    for name, header in zip(names, headers, strict=True):
        if (header.height, header.width) != (first.height, first.width):
            sizes = f"{header.width} x {header.height} pixels, but {of_first} has {first.width} x {first.height}"
            raise DataError(f"{folder / name}: {sizes}; resize all, for example with {setting('image_size', (32, 32))}")
        if header.kind != first.kind:
            kinds = f"its pixels are {header.kind}, but those of {of_first} are {first.kind}"
            raise DataError(f"{folder / name}: {kinds}; convert one")
    return headers


def _files(folder: Path, names: Sequence[str], headers: Sequence[Header], size: Shape | None) -> PictureFiles:
    """The pictures, not yet decoded; grey ones have three channels if any is in colour."""
    first, in_colour = headers[0], any(header.in_colour for header in headers)
    shape = (len(names), first.height, first.width, *([3] if in_colour else []))
    dtype = np.dtype(np.uint8 if first.kind == BYTES else np.float32)
    stamps = np.array([header.stamp for header in headers], dtype=object)
    return PictureFiles(folder, np.array(names, dtype=object), stamps, shape, dtype, size)


def _as_array(
    folder: Path, names: Sequence[str], headers: Sequence[Header], size: Shape | None, memory: int | str | None = None
) -> Array | PictureFiles:
    """The pictures as one array if they fit into the memory; else their files."""
    files, most = _files(folder, names, headers, size), most_memory(memory)
    needed = COPIES * files.size * files.dtype.itemsize
    if needed <= most:
        return files[:]
    if files.dtype == np.uint8:
        return files
    takes = f"{needed / 1e9:.2g} GB in memory, of {most / 1e9:.2g} GB that they may take"
    remedy = f"convert them to 8 bits, which can stay on disk, resize them ({setting('image_size')})"
    raise DataError(f"{folder}: pictures of {headers[0].kind} take {takes}; {remedy}, or use fewer")
