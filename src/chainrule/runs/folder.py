"""A run's folder. A crash leaves the last complete state; files are verified when they are read.

    manifest.json              format, how training ended, file hashes; replaced last, atomically
    recipe*.json               plan, data and its fingerprint, versions
    preparation.*              fitted preparation of samples
    state-STEP.safetensors     weights, optimizer state, best weights
    history-STEP.json          what was measured after each epoch
    samples-STEP.json          what a language model wrote after some epochs
    frame-STEP.safetensors     checkpoint: weights and optimizer state before a step

A new state is written under new names. Only when it is on disk does the manifest name it, and only
then are the old files removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from chainrule.errors import RunError, check_writable, elsewhere, setting

FORMAT = 1
LOCK = ".lock"
"""The lock file, while the run is written to; the manifest does not list it."""
FILE = re.compile(
    r"recipe(-[0-9a-f]{8})?\.json|preparation\.(json|skops|safetensors)|(history|samples)-\d{8,18}\.json"
    r"|(state|frame)-\d{8,18}\.safetensors"
)
"""The names of a run's files."""
MANIFEST = "manifest.json"
REMEDY = "copy the run again, or train again"
MISSING = f"the file is missing from the run; {REMEDY}"
COPY = "copy the run to where you may write, and resume the copy"
"""What to do if a run that is resumed can't be written."""


def hash_of(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def encoded(value: Any) -> bytes:
    """JSON as the bytes of a file."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_whole(path: Path, content: bytes | Iterable[bytes], remedy: str | None = None) -> None:
    """Write a file atomically, its content or the parts of it; raises RunError, with the remedy, if
    it can't be written or the disk is full.

    A symbolic link stays one; what is not a regular file, such as a pipe, is written to. A
    file that may not be written to is not replaced either.
    """
    temporary, parts = None, [content] if isinstance(content, bytes) else content
    try:
        place = path.resolve()
        if place.exists() and not place.is_file() and not place.is_dir():
            with place.open("wb") as pipe:
                pipe.writelines(parts)
            return
        if place.is_file() and not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is read-only")
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(place)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise unwritable(path, error, remedy) from None


def check_file(path: Path, remedy: str) -> None:
    """Raise RunError if it can be told beforehand that no file can be written at this path."""
    try:
        place = path.resolve()
        if place.is_dir() or not place.parent.is_dir():
            raise OSError(errno.EISDIR, "it is a folder" if place.is_dir() else f"there is no folder {path.parent}")
        is_new = place.is_file() or not place.exists()  # a device or a pipe is written to, not replaced
        if is_new and not os.access(place.parent, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, f"no permission in {path.parent}")
    except OSError as error:
        raise unwritable(path, error, remedy) from None


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def unwritable(path: Path, error: OSError, remedy: str | None = None) -> RunError:
    """The error for a file or folder that can't be written."""
    remedy = remedy or elsewhere()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{path}: the disk is full; free some space, or {remedy}")
    return RunError(f"{path}: it can't be written ({error.strerror}); {remedy}")


def unreadable(path: Path, error: OSError) -> RunError:
    """The error for a file or folder that can't be read."""
    hint = "; check its permissions" if isinstance(error, PermissionError) else ""
    return RunError(f"{path}: it can't be read ({error.strerror}){hint}")


def check_free(folder: Path) -> None:
    """Raise RunError unless a run can be created at this path."""
    try:
        is_taken = folder.is_symlink() or (folder.exists() and not is_unfinished(folder))
    except OSError as error:
        raise unwritable(folder, error) from None
    if is_taken:
        raise taken(folder)
    check_writable(folder)


def taken(folder: Path) -> RunError:
    """The error for a folder that exists."""
    return RunError(f"{folder}: it exists already; {elsewhere()}, or resume its run ({setting('resume')})")


def is_unfinished(folder: Path) -> bool:
    """Whether this is what a killed process left of a run that it was creating."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return LOCK in names and MANIFEST not in names and all(map(is_own, names))


def is_own(name: str) -> bool:
    """Whether chainrule gives files in a run's folder such names, also while it writes them."""
    whole = name[1:].rpartition(".")[0] if name.startswith(".") else name
    return name == LOCK or whole == MANIFEST or FILE.fullmatch(whole) is not None


def sweep(folder: Path, names: Container[str]) -> None:
    """Remove what killed processes left in a run of these files; only for who holds its lock."""
    for path in folder.iterdir():
        if path.name not in names and path.name not in (LOCK, MANIFEST) and is_own(path.name):
            path.unlink(missing_ok=True)


def advance(folder: Path, manifest: Mapping[str, Any], before: Mapping[str, Any], remedy: str | None = None) -> None:
    """Replace the manifest by this one, all of whose files are written; then remove the files that
    only the one before names.
    """
    write_whole(folder / MANIFEST, encoded(manifest), remedy)
    remove(folder, before["files"].keys() - manifest["files"].keys())


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove these files of a run."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def path_of(folder: Path, manifest: Mapping[str, Any], prefix: str) -> Path:
    """The file whose name starts with this prefix; raises RunError unless there is exactly one."""
    names = [name for name in manifest["files"] if name.startswith(prefix)]
    if len(names) != 1:
        raise RunError(f"{folder / MANIFEST}: it names no file {prefix}*; it was altered")
    return folder / names[0]


def read_file(folder: Path, manifest: Mapping[str, Any], prefix: str) -> bytes:
    """The content of that file; raises RunError if it is missing, cut or altered."""
    path = path_of(folder, manifest, prefix)
    try:
        content = content_of(path)
    except FileNotFoundError:
        raise RunError(f"{path}: {MISSING}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if hash_of(content) != manifest["files"][path.name]:
        raise RunError(f"{path}: the file was cut or altered since it was written; {REMEDY}")
    return content


def size_of(path: Path) -> int:
    """The size of a run's file in bytes; raises RunError if it is missing."""
    try:
        return path.stat().st_size
    except OSError:
        raise RunError(f"{path}: {MISSING}") from None


def content_of(path: Path) -> bytes:
    """The content of a regular file; OSError for anything else, such as a pipe, which may be
    endless.
    """
    with open(path, "rb", opener=open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read()


def open_at_once(path: str, flags: int) -> int:
    """Opens without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(folder: Path, manifest: Mapping[str, Any], prefix: str, finite: bool = True) -> Any:
    """The value of that file, for JSON; unless it is `finite`, NaN and infinity are numbers."""
    try:
        return parsed(read_file(folder, manifest, prefix), finite)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path_of(folder, manifest, prefix)}: it can't be read ({error}); it was altered") from None


def parsed(content: bytes, finite: bool = True) -> Any:
    """The value of JSON; raises ValueError or RecursionError for what can't be read."""
    return json.loads(content, parse_constant=_refuse if finite else None)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def checkpoint_name(step: int) -> str:
    """The file of the checkpoint before a step."""
    return f"frame-{step:08d}.safetensors"


def checkpoint_steps(names: Iterable[str]) -> list[int]:
    """The steps of the checkpoints among these files, in ascending order."""
    return sorted(int(name[len("frame-") :].partition(".")[0]) for name in names if name.startswith("frame-"))
