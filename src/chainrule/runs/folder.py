"""A run's folder: written so that a crash at any moment leaves the last whole state, and read with suspicion.

    manifest.json              the format, how training ended, and each file's hash; replaced last, in one go
    recipe*.json               the plan, the data and its fingerprint, the versions
    preparation.*              how samples become numbers, fitted
    state-STEP.safetensors     weights, optimizer state, best weights
    history-STEP.json          what was measured after each epoch

A new state gets new names; only when it is on the disk does the manifest name it, and only then do the old files go.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from chainrule.errors import RunError

FORMAT = 1
MANIFEST = "manifest.json"


def hash_of(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def encoded(value: Any) -> bytes:
    """JSON as bytes of a file."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; raises RunError if the disk is full or can't be written."""
    handle, temporary = -1, ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise unwritable(path, error) from None


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def unwritable(path: Path, error: OSError) -> RunError:
    """The error for a file or folder that can't be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{path}: the disk is full; free some space, or choose another folder (--output)")
    return RunError(f"{path}: it can't be written ({error.strerror}); choose another folder (--output)")


def check_free(folder: Path) -> None:
    """Raise RunError unless a run can be created here."""
    if folder.exists():
        raise RunError(
            f"{folder}: it exists already; choose another folder (--output), or go on with the run in it (--resume)"
        )
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Raise RunError unless there can be a folder here."""
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: it can't be written (no permission in {parent}); choose another folder (--output)")


def create(folder: Path, fill: Callable[[Path], Mapping[str, Any]], numbered: bool = False) -> Path:
    """Make a run's folder, and give its path: `fill` writes into a folder at its side, which
    becomes the run once it has a manifest. With `numbered` the run is called folder-1, or -2 and
    so on where these are taken.
    """
    if not numbered:
        check_free(folder)
    side = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        side = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        side.chmod(0o777 & ~_umask())
        manifest = fill(side)
        write_whole(side / MANIFEST, encoded(manifest))
        return _claim(side, folder, numbered)
    except OSError as error:
        raise unwritable(folder, error) from None
    except RunError as error:  # of a file in the folder at the side, of which nobody needs to know
        raise RunError(str(error).replace(str(side), str(folder))) from None
    finally:
        if side is not None and side.exists():
            shutil.rmtree(side, ignore_errors=True)


def _claim(side: Path, folder: Path, numbered: bool) -> Path:
    """Give the folder at the side its name, which no other process can take at the same time: to
    rename it fails where there is a run already.
    """
    for number in itertools.count(1):
        name = folder.with_name(f"{folder.name}-{number}") if numbered else folder
        if not numbered or not name.exists():
            try:
                return side.rename(name)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if not numbered:
                    check_free(folder)
    raise AssertionError("numbers never end")


def advance(folder: Path, manifest: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Let this manifest, all of whose files are written, take the place of the one before; then remove files that it
    no longer names.
    """
    write_whole(folder / MANIFEST, encoded(manifest))
    remove(folder, before["files"].keys() - manifest["files"].keys())


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove these files of a run."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest; raises RunError for what is no run, or one from a newer version."""
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such run; a run is a folder that 'chainrule train' has written")
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        newest, files = int(manifest["format"]), dict(manifest["files"])
        _ = [int(number) for pair in manifest["planned"] for number in pair]
        _ = manifest["status"], int(manifest["epochs"]), int(manifest["steps"]), int(manifest["limit"])
    except FileNotFoundError:
        raise RunError(f"{folder}: it is no run, for it has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: it can't be read ({error}); it was altered or cut") from None
    if newest > FORMAT:
        version = manifest.get("chainrule", "a newer version")
        raise RunError(
            f"{folder}: it was written by chainrule {version}, in a format that is newer than this one's; upgrade"
            " chainrule"
        )
    for name in files:
        if Path(name).name != name or name.startswith("."):
            raise RunError(f"{path}: it names a file outside the run ({name!r}); it was altered")
    return dict(manifest)


def path_of(folder: Path, manifest: Mapping[str, Any], start: str) -> Path:
    """The file whose name starts like this; raises RunError unless the manifest names one."""
    names = [name for name in manifest["files"] if name.startswith(start)]
    if len(names) != 1:
        raise RunError(f"{folder / MANIFEST}: it names no file {start}*; it was altered")
    return folder / names[0]


def read_file(folder: Path, manifest: Mapping[str, Any], start: str) -> bytes:
    """The content of that file; raises RunError if it is missing, cut or altered."""
    path = path_of(folder, manifest, start)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunError(
            f"{path}: the file is missing, though the run had it; copy the run again, or train anew"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: it can't be read ({error.strerror})") from None
    if hash_of(content) != manifest["files"][path.name]:
        raise RunError(f"{path}: the file was cut or altered since it was written; copy the run again, or train anew")
    return content


def read_json(folder: Path, manifest: Mapping[str, Any], start: str) -> Any:
    """The same, for JSON."""
    try:
        return json.loads(read_file(folder, manifest, start))
    except ValueError as error:
        raise RunError(f"{folder}: its {start} can't be read ({error})") from None
