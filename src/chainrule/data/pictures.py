"""Reading folders of pictures in one subfolder per class, and single pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.data.barrier import check_budget, first_line
from chainrule.data.source import Source, fingerprint
from chainrule.errors import DataError, setting

GRAY = ("1", "L", "I", "F")
"""The modes of pictures that are read without colours."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read_pictures(folder: Path, size: Shape | None = None) -> Source:
    """Images in subfolders named after their classes.

    A sample has the shape (height, width), or (height, width, 3) if any image is in colour. All
    must have the same size unless `size`, (height, width), is given, to which they are resized.
    """
    classes = sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))
    files = [(file, sub.name) for sub in classes for file in _pictures(sub.iterdir())]
    x = _stack(folder, [file for file, _ in files], size)
    y = np.array([label for _, label in files])
    names = repr([str(file.relative_to(folder)) for file, _ in files]).encode()
    return Source(str(folder), x, y, "class", "classification", fingerprint(names, x))


def read_unlabelled(path: Path, size: Shape | None = None) -> Source:
    """A single image, or all images in a folder, without targets."""
    files = _pictures(_within(path)) if path.is_dir() else [path]
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: it is not a regular file; save the picture in one")
    return Source(str(path), _stack(path, files, size), None)


def _within(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders; OSError for a subfolder that can't be read."""

    def fail(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=fail):
        yield from (Path(place, name) for name in names)


def _pictures(paths: Iterable[Path]) -> list[Path]:
    """Those that are files with pictures, sorted; a named pipe, for example, is none."""
    return sorted(path for path in paths if path.suffix.lower() in PICTURES and path.is_file())


def _stack(folder: Path, files: list[Path], size: Shape | None) -> Array:
    """The images as one array; grayscale ones are converted to RGB if any is in colour."""
    if not files:
        kinds = ", ".join(PICTURES)
        raise DataError(f"{folder}: there are no images; it takes a subfolder for each class with {kinds} files")
    images: list[Array] = []
    numbers: list[str] = []
    for file in files:
        pixels, kind = _image(file, size, folder, len(files))
        images.append(pixels)
        numbers.append(kind)
        if size is None and images[-1].shape[:2] != images[0].shape[:2]:
            (height, width), (first_height, first_width) = (image.shape[:2] for image in (images[-1], images[0]))
            sizes = f"{width} x {height} pixels, but {files[0]} has {first_width} x {first_height}"
            raise DataError(f"{file}: {sizes}; resize all, for example with {setting('image_size', (32, 32))}")
        if kind != numbers[0]:
            raise DataError(f"{file}: its pixels are {kind}, but those of {files[0]} are {numbers[0]}; convert one")
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    return np.stack(images)


def _image(file: Path, size: Shape | None, folder: Path, count: int) -> tuple[Array, str]:
    """The pixels, and what they are: 0 to 255 from integers of 8 or 16 bits, others unchanged.

    Raises DataError, before the pixels are decoded, if so many such pictures are too much.
    """
    from PIL import Image

    try:
        # Pillow warns of large pictures, which the budget limits.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as opened:
            check_budget(str(file), opened.width, opened.height)
            height, width = size or (opened.height, opened.width)
            if size is not None:
                check_budget(setting("image_size", size), width, height, hint="choose a smaller size")
            numbers = height * width * (1 if opened.mode in GRAY or opened.mode.startswith("I;16") else 3)
            check_budget(
                str(folder), count, numbers, hint=f"use fewer pictures, or smaller ones ({setting('image_size')})"
            )
            if opened.mode.startswith("I;16"):
                image, kind = Image.fromarray(np.asarray(opened).astype(np.float32) / 257), "integers of 16 bits"
            elif opened.mode in ("I", "F"):
                image, kind = opened.convert("F"), "numbers of 32 bits"
            else:
                kind = "integers of 8 bits"
                mode = "L" if opened.mode in ("1", "L") else "RGB"
                image = opened if opened.mode == mode else opened.convert(mode)  # which copies, in any case
            if size is not None:
                image = image.resize((size[1], size[0]))
            pixels = np.array(image)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{file}: can't be read ({error.strerror}); check its permissions") from None
    except (Exception, RecursionError) as error:
        raise DataError(f"{file}: not a readable image ({first_line(error)})") from None
    if not np.isfinite(pixels).all():
        row, column = np.argwhere(~np.isfinite(pixels))[0].tolist()
        raise DataError(f"{file}, pixel row {row + 1}, column {column + 1}: {pixels[row, column]} is not finite")
    return pixels, kind
