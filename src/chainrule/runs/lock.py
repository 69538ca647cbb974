"""The lock of a run: only the process that holds it may write. Reading needs no lock.

The operating system releases a lock when its process ends, however it ends, so no lock is ever
stale: the lock file that a killed process leaves behind is not locked, and the next process
reuses it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Container
from pathlib import Path
from typing import IO

from chainrule.errors import RunError
from chainrule.runs import folder as files

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class InUseError(RunError):
    """Another process holds the lock."""


class Lock:
    """The exclusive right to write into a run's folder, until `release`.

    Raises InUseError if another process holds the lock, RunError if the folder can't be written to.
    """

    def __init__(self, folder: Path, remedy: str | None = None) -> None:
        self._path, self._remedy = folder / files.LOCK, remedy
        self._file = self._open(folder)
        while not self._is_current():  # the last holder removed the file after it was opened here
            self._file.close()
            self._file = self._open(folder)

    def _open(self, folder: Path) -> IO[bytes]:
        try:
            file = open(self._path, "ab", opener=files.open_at_once)  # noqa: SIM115 (held until release)
        except OSError as error:
            raise files.unwritable(folder, error, self._remedy) from None
        if not _lock(file):
            file.close()
            raise InUseError(f"{folder}: the run is in use by another process; wait until that one ends, or stop it")
        return file

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let other processes write; does nothing the second time."""
        if self._file.closed:
            return
        if sys.platform == "win32":  # an open file can't be removed there
            self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._file.close()


def claim(folder: Path, numbered: bool) -> tuple[Path, Lock]:
    """A folder for a new run, and its lock.

    Args:
        folder: its path
        numbered: whether to append the first free number to its name, as in folder-1

    Raises RunError if the folder exists, unless numbered, or can't be written. What a killed
    process left of a run that it was creating is no obstacle.
    """
    for number in itertools.count(1):
        name = folder.with_name(f"{folder.name}-{number}") if numbered else folder
        try:
            if not files.is_unfinished(name) and (numbered or not name.exists()):
                name.mkdir(parents=True)
            lock = Lock(name)
        except (FileExistsError, InUseError):
            if numbered:
                continue
            raise files.taken(name) from None
        except OSError as error:
            raise files.unwritable(name, error) from None
        try:
            files.check_free(name)  # another process may have completed a run there before this one had the lock
            files.sweep(name, ())
        except RunError:
            lock.release()
            if not numbered:
                raise
            continue
        return name, lock
    raise AssertionError("unreachable")


def sweep_left(folder: Path, names: Container[str]) -> None:
    """Remove what a killed process left in a run of these files, its lock file too; nothing while
    the run is in use, or where it can't be written to.
    """
    with contextlib.suppress(RunError, OSError):
        lock = Lock(folder)
        try:
            files.sweep(folder, names)
        finally:
            lock.release()


def _lock(file: IO[bytes]) -> bool:
    """Lock a file; False if another process has locked it, True on file systems without locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True
