"""The lock of a run: only the process that holds it may write. Reading needs no lock.

The operating system releases a lock when its process ends, however it ends, so no lock is ever
stale: the lock file that a killed process leaves behind is not locked, and the next process
reuses it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO

from chainrule.errors import RunError
from chainrule.runs.folder import unwritable

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".lock"
"""The lock file in a run's folder, while the run is written to; the manifest does not list it."""


class Lock:
    """The exclusive right to write into a run's folder, until `release`.

    Raises RunError if another process holds the lock, or if the folder can't be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file = self._open(folder)
        while not self._is_current():  # the last holder removed the file after it was opened here
            self._file.close()
            self._file = self._open(folder)

    def _open(self, folder: Path) -> IO[bytes]:
        try:
            file = self._path.open("ab")
        except OSError as error:
            raise unwritable(folder, error) from None
        if not _lock(file):
            file.close()
            raise RunError(f"{folder}: the run is in use by another process; wait until that one ends, or stop it")
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
