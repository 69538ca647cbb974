"""A run is written to by one process at a time: the one that holds its lock. Reading takes none.

The system releases a lock when its process ends, however it ends. So no lock is ever stale: a lock
file that a killed process left behind is not locked, and the next one takes it over.
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
"""The lock file in a run's folder: there while the run is written to, named by no manifest."""


class Lock:
    """The exclusive right to write into a run's folder, until `release`.

    Raises RunError if another process has it, or if the folder can't be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file: IO[bytes] | None = None
        while self._file is None:
            try:
                file = self._path.open("ab")
            except OSError as error:
                raise unwritable(folder, error) from None
            if not _locked(file):
                file.close()
                raise RunError(f"{folder}: the run is in use by another process; wait until that one ends, or stop it")
            # Its last holder may have removed the file after it was opened here.
            if _is_at(file, self._path):
                self._file = file
            else:
                file.close()

    def release(self) -> None:
        """Let others write."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if sys.platform == "win32":  # where an open file can't be removed
            file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        file.close()


def _locked(file: IO[bytes]) -> bool:
    """Lock a file; False if another process has. Where the file system has no locks: True."""
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


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
