"""The cache: what is expensive to prepare is kept on disk, in a folder for each prepared data set.

A folder is built under another name and renamed when it is whole, so that nothing half-written is
taken for whole; what was built before a crash is built further. Folders that nobody uses are
removed, those first that have not been used for longest, where a new one needs their room.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.data.memory import most_memory
from chainrule.errors import DataError, setting

FORMAT = 2
"""Another format is another key."""

ABOUT, PROGRESS, BUILDING, LOCK, PARTIAL = "about.json", "progress.json", ".building", ".lock", ".partial"

SEAL, SEALED = "seal", (".json", ".safetensors")
"""What a record ends with, a hash of it and of the files of these kinds: what has another hash was
damaged, and is prepared again. Files of samples are too large to be read for that.
"""

TRIES = 1000
"""How often a damaged folder is looked at again while another process uses it, for 10 s in all."""

RESERVE = 500_000_000
"""The bytes of a disk that the cache leaves free."""

VARIABLE = "CHAINRULE_CACHE"
"""The environment variable that says where the cache is."""


def folder() -> Path:
    """Where the cache is: $CHAINRULE_CACHE, else chainrule in $XDG_CACHE_HOME, else in ~/.cache."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chainrule"


def key_of(*parts: Any) -> str:
    """The name of a folder: a hash of everything that its content depends on."""
    return hashlib.sha256(json.dumps([FORMAT, *parts], sort_keys=True, default=str).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """A folder of the cache.

    Attributes:
        path: where it is
        about: what it says of itself
        bytes: how large it is
        used: when it was last used, in seconds since 1970
        is_whole: whether it is; otherwise it is being built, or building it was interrupted
        in_use: whether a process uses it
    """

    path: Path
    about: dict[str, Any]
    bytes: int
    used: float
    is_whole: bool
    in_use: bool

    @property
    def what(self) -> str:
        """What it holds, in words."""
        return str(self.about.get("what", "prepared samples"))


def entries() -> list[Entry]:
    """All folders of the cache, those first that were used last."""
    found = []
    for path in sorted(folder().glob("*")) if folder().is_dir() else []:
        if path.is_dir() and len(path.name.removesuffix(BUILDING)) == 32:
            with contextlib.suppress(OSError, ValueError):
                found.append(_entry(path))
    return sorted(found, key=lambda entry: -entry.used)


def _entry(path: Path) -> Entry:
    is_whole = path.suffix != BUILDING
    record = path / (ABOUT if is_whole else PROGRESS)
    about = {}
    with contextlib.suppress(OSError, ValueError):
        about = _read(record)
    size = sum(file.stat().st_size for file in path.iterdir())
    used = record.stat().st_mtime if record.exists() else path.stat().st_mtime
    return Entry(path, about, size, used, is_whole, _is_locked(path))


def clear() -> int:
    """Remove every folder that no process uses; returns how many bytes that freed."""
    freed = 0
    for entry in entries():
        if not entry.in_use:
            freed += entry.bytes
            _remove(entry.path)
    return freed


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        _lock_of(path).unlink()


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(BUILDING) + LOCK)


def _is_locked(path: Path) -> bool:
    try:
        file = _lock_of(path).open("ab")
    except OSError:
        return False
    with file:
        return not _lock(file.fileno(), exclusive=True, wait=False)


def _lock(file: int, exclusive: bool, wait: bool) -> bool:
    """Lock a file; True where there are no locks, too."""
    if sys.platform == "win32":
        return True
    import fcntl

    how = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


class Held:
    """A folder of the cache in use: it is not removed as long as this object exists."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, os.open(_lock_of(path), os.O_RDWR | os.O_CREAT, 0o644)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)


@contextmanager
def _errors(root: Path) -> Iterator[None]:
    """Within the block, errors of the operating system become a DataError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (28, 122):  # no space left, quota exceeded
            kept = "what was prepared is kept, to go on from there"
            remedy = f"free some space, or remove it with 'chainrule cache --clear'; {elsewhere()}"
            raise DataError(
                f"{root}: the disk is full, so that the cache can't be written; {remedy} ({kept})"
            ) from None
        raise DataError(f"{root}: the cache can't be written ({error.strerror}); {elsewhere()}") from None


def elsewhere() -> str:
    """What to do to have the cache elsewhere."""
    return f"for another folder set {VARIABLE}"


def kept(key: str, needed: int, bound: int | None, build: Callable[[Path, dict[str, Any]], Mapping[str, Any]]) -> Held:
    """A folder of the cache, which is built unless it is there.

    Args:
        key: its name, as `key_of` returns
        needed: how many bytes it takes, about
        bound: how many bytes the cache may take; None for what is free
        build: writes its files into a folder, given what `progress` saved there before it was
            interrupted, and returns what the folder says of itself

    Raises DataError if it can't be written, or there is no room.
    """
    root = folder()
    whole, building = root / key, root / (key + BUILDING)
    with _errors(root):
        root.mkdir(parents=True, exist_ok=True)
        held = Held(whole)
        file = held.file
        tries = 0
        while not is_whole(whole) and not _lock(file, exclusive=True, wait=False):
            # Another process builds it, and holds it while it uses it: so this lock is shared.
            _lock(file, exclusive=False, wait=True)
            tries += 1
            if tries > TRIES:
                raise DataError(f"{whole}: it is damaged, and another process uses it; end that, or {elsewhere()}")
            time.sleep(0.01 * (tries > 1))
        if not is_whole(whole):
            if whole.exists():
                shutil.rmtree(whole)
            building.mkdir(exist_ok=True)
            _make_room(needed, bound, building)
            about = build(building, _progress(building))
            for partial in building.glob("*" + PARTIAL):  # of a process that was killed
                partial.unlink()
            about = {**about, "files": {path.name: path.stat().st_size for path in building.iterdir()
                                        if path.name != PROGRESS}}  # fmt: skip
            _write(building / ABOUT, about)
            with contextlib.suppress(FileNotFoundError):
                (building / PROGRESS).unlink()
            building.rename(whole)
        _lock(file, exclusive=False, wait=True)
        with contextlib.suppress(OSError):
            os.utime(whole / ABOUT, (time.time(), time.time()))
    return held


def is_whole(path: Path) -> bool:
    """Whether a folder has all its files, each of its size, and those that are sealed as they were
    written.
    """
    try:
        return all((path / name).stat().st_size == size for name, size in _read(path / ABOUT)["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def about(path: Path) -> dict[str, Any]:
    """What a folder says of itself."""
    return _read(path / ABOUT)


def _progress(building: Path) -> dict[str, Any]:
    try:
        return _read(building / PROGRESS)
    except (OSError, ValueError):
        return {}


def save_progress(building: Path, progress: Mapping[str, Any]) -> None:
    """Save how far building has come; the files it speaks of must be on the disk by now."""
    _write(building / PROGRESS, progress)


def _write(record: Path, said: Mapping[str, Any]) -> None:
    said = json.loads(json.dumps(said))
    write(record, json.dumps({**said, SEAL: _seal(record, said)}).encode())


def _read(record: Path) -> dict[str, Any]:
    """What a record says; raises ValueError if it or a file that it seals was damaged."""
    said = json.loads(record.read_text())
    if not isinstance(said, dict) or said.pop(SEAL, None) != _seal(record, said):
        raise ValueError(f"{record}: it was altered")
    return said


def _seal(record: Path, said: Mapping[str, Any]) -> str:
    found = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    files = said.get("files")
    for name in sorted(files) if isinstance(files, dict) else []:
        if name.endswith(SEALED):
            found.update(record.with_name(name).read_bytes())
    return found.hexdigest()


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is whole or not there."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def most(chosen: int | str | None) -> int | None:
    """The bytes that the cache may take: these, or a text such as "20GB"; None for what is free."""
    return None if chosen is None else most_memory(chosen, "cache")


def _make_room(needed: int, bound: int | None, building: Path) -> None:
    """Remove folders that nobody uses until there is room; raises DataError if there is none."""
    others = [
        entry for entry in entries() if entry.path.name.removesuffix(BUILDING) != building.name.removesuffix(BUILDING)
    ]
    used = sum(entry.bytes for entry in others)
    there = sum(path.stat().st_size for path in building.iterdir())

    def lacking() -> int:
        free = shutil.disk_usage(building).free - RESERVE
        beyond = 0 if bound is None else used + needed - bound
        return max(needed - there - free, beyond)

    for entry in reversed(others):
        if lacking() <= 0:
            return
        if not entry.in_use:
            used -= entry.bytes
            _remove(entry.path)
    if lacking() > 0:
        what = f"what is prepared takes about {needed / 1e9:.1f} GB in the cache {building.parent}"
        if bound is not None and used + needed > bound:
            room, remedy = (
                f"which may take {bound / 1e9:g} GB",
                f"allow more ({setting('cache', _size(used + needed))})",
            )
        else:
            free = max(shutil.disk_usage(building).free - RESERVE, 0)
            room, remedy = f"where {free / 1e9:.1f} GB are free", f"free some space; {elsewhere()}"
        raise DataError(f"{what}, {room}; {remedy}, or use fewer rows or columns")


def _size(size: float) -> str:
    return f"{-int(-size // 10**9)}GB"
