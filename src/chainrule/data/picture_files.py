"""Files of pictures: what they are, and their pixels, which are decoded in threads."""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chainrule.arrays import Array, Deferred, Shape
from chainrule.data.barrier import check_budget, first_line
from chainrule.errors import DataError, setting
from chainrule.threads import in_threads

if TYPE_CHECKING:
    from PIL import Image

GRAY = ("1", "L", "I", "F")
"""The modes of pictures that are read without colours."""

BYTES = "integers of 8 bits"

ORIENTATION = 0x0112
"""The tag of EXIF that says how a camera was held."""
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
"""What turns the picture upright, by the value of this tag."""
ON_ITS_SIDE = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")

Stamp: TypeAlias = tuple[int, int]
"""A file's size in bytes and the time when it was modified in ns, which tell whether it changed."""

AT_A_TIME = 4_000_000
"""The numbers that are decoded at a time where all pictures are looked at."""


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before that is decoded.

    Attributes:
        height, width: its size in pixels, upright
        kind: what its pixels are: "integers of 8 bits" or "of 16 bits", or "numbers of 32 bits"
        in_colour: whether it has three channels
        stamp: the file's size and time
        digest: SHA-256 hash of the file; empty if that was not asked for
    """

    height: int
    width: int
    kind: str
    in_colour: bool
    stamp: Stamp
    digest: bytes = b""


@dataclass(frozen=True, eq=False)
class PictureFiles(Deferred):
    """Pictures in files, which stand for an array: what an index asks for is decoded.

    Attributes:
        folder: where they are
        names: (samples,) the names of the files within it
        stamps: (samples, 2) their sizes and times when they were listed
        shape: (samples, height, width) or (samples, height, width, 3)
        dtype: that of the pixels: integers of 8 bits as they are, others as float32
        resized: (height, width) to which they are resized; None if they have one size
        marked: the type of array to return
    """

    folder: Path
    names: Array
    stamps: Array
    shape: Shape
    dtype: np.dtype[Any]
    resized: Shape | None = None
    marked: type[Array] = field(default=np.ndarray, repr=False)

    on_disk = True

    def only(self, rows: Array) -> PictureFiles:
        """The pictures in these rows, not yet decoded."""
        names = self.names[rows]
        return replace(self, names=names, stamps=self.stamps[rows], shape=(len(names), *self.shape[1:]))

    def between(self, start: int, stop: int) -> Array:
        """The pictures in the rows from `start` up to `stop`."""
        return self._decoded(self.names[start:stop], self.stamps[start:stop])

    def take(self, rows: Array, axis: int = 0) -> Array:
        """The pictures in these rows."""
        assert axis == 0
        return self._decoded(self.names[rows], self.stamps[rows])

    def parts(self) -> Iterator[Array]:
        """All pictures, decoded some at a time."""
        step = max(1, AT_A_TIME // max(1, math.prod(self.shape[1:])))
        return (self[k : k + step] for k in range(0, len(self), step))

    def verify(self) -> None:
        """Decode all; raises DataError for the first that can't be."""
        for _ in self.parts():
            pass

    def _decoded(self, names: Any, stamps: Any) -> Array:
        x = np.empty((len(names), *self.shape[1:]), self.dtype)

        def decode(k: int) -> None:
            pixels = read_pixels(self.folder / names[k], self.resized, tuple(stamps[k]))
            if pixels.ndim < x.ndim - 1:
                pixels = pixels[:, :, None]  # grey among pictures in colour
            if pixels.shape[:2] != x.shape[1:3] or pixels.dtype != x.dtype or pixels.shape[2:] not in ((), (1,), (3,)):
                raise _changed(self.folder / names[k])
            x[k] = pixels

        in_threads(decode, range(len(names)))
        return x.view(self.marked)


def read_header(file: Path, size: Shape | None, hashed: bool) -> Header:
    """What a file says of its picture, without decoding it.

    Args:
        file: the file
        size: (height, width) to which it is going to be resized
        hashed: whether to hash it

    Raises:
        DataError: if it can't be read, or is no picture or too large a one
    """
    from PIL import Image

    with _opened(file) as (stream, stamp):
        content = stream.read() if hashed else b""
        with Image.open(io.BytesIO(content) if hashed else stream) as opened:
            check_budget(str(file), opened.width, opened.height)
            height, width = size or _upright_size(opened)
            if size is not None:
                check_budget(setting("image_size", size), width, height, hint="choose a smaller size")
            in_colour = not _is_gray(opened.mode)
            return Header(height, width, _kind(opened.mode), in_colour, stamp, hash_of(content))


def hash_of(content: bytes) -> bytes:
    """SHA-256 hash; empty for no content."""
    return hashlib.sha256(content).digest() if content else b""


def read_pixels(file: Path, size: Shape | None, stamp: Stamp) -> Array:
    """The pixels of a picture, upright: 0 to 255 from integers of 8 or 16 bits, others unchanged.

    Raises DataError if it can't be decoded, is no longer the file of this stamp, or a pixel is not
    finite.
    """
    from PIL import Image

    with _opened(file, stamp) as (stream, _), Image.open(stream) as opened:
        check_budget(str(file), opened.width, opened.height)
        image: Image.Image = opened
        turn = _turn(opened)
        if opened.mode.startswith("I;16"):
            image = Image.fromarray(np.asarray(opened).astype(np.float32) / 257)
        elif opened.mode in ("I", "F"):
            image = opened.convert("F")
        else:
            mode = "L" if _is_gray(opened.mode) else "RGB"
            image = opened if opened.mode == mode else opened.convert(mode)
        if turn is not None:
            image = image.transpose(Image.Transpose[turn])
        if size is not None:
            image = image.resize((size[1], size[0]))
        pixels = np.array(image)
    if not np.isfinite(pixels).all():
        row, column = np.argwhere(~np.isfinite(pixels))[0].tolist()
        raise DataError(f"{file}, pixel row {row + 1}, column {column + 1}: {pixels[row, column]} is not finite")
    return pixels


@contextmanager
def _opened(file: Path, before: Stamp | None = None) -> Iterator[tuple[IO[bytes], Stamp]]:
    """A regular file and its stamp; raises DataError if that is not the one `before`."""
    with _readable(file), open(file, "rb", opener=_without_waiting) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{file}: it is not a regular file; save the picture in one")
        stamp = status.st_size, status.st_mtime_ns
        if before not in (None, stamp):
            raise _changed(file)
        if status.st_size == 0:
            raise DataError(f"{file}: not a readable image (it is empty); replace or remove it")
        yield stream, stamp


def _without_waiting(name: str, flags: int) -> int:
    """Open a file; a named pipe, whose writer would be waited for, at once."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _changed(file: Path) -> DataError:
    return DataError(f"{file}: it has changed since it was first read; restore it")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Within the block, whatever the system or Pillow raises becomes a DataError."""
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"):  # of large pictures, which the budget limits
            yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{file}: it is missing; put it back") from None
    except PermissionError as error:
        raise DataError(f"{file}: can't be read ({error.strerror}); check its permissions") from None
    except UnidentifiedImageError:  # whose message names the stream
        raise DataError(f"{file}: not a readable image (its format is unknown); replace or remove it") from None
    except (Exception, RecursionError) as error:
        raise DataError(f"{file}: not a readable image ({first_line(error)}); replace or remove it") from None


def _upright_size(image: Image.Image) -> Shape:
    size = image.height, image.width
    return size[::-1] if _turn(image) in ON_ITS_SIDE else size


def _turn(image: Image.Image) -> str | None:
    """What turns a picture upright, by EXIF; it is not decoded for that, as a PNG file's own method
    would.
    """
    from PIL import Image

    return TURNS.get(Image.Image.getexif(image).get(ORIENTATION, 1))


def _is_gray(mode: str) -> bool:
    return mode in GRAY or mode.startswith("I;16")


def _kind(mode: str) -> str:
    if mode.startswith("I;16"):
        return "integers of 16 bits"
    return "numbers of 32 bits" if mode in ("I", "F") else BYTES
