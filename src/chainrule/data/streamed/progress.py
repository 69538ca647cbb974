"""How far the passes over a table's rows are, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watch = Callable[[int], None]
"""Is told how much has been done."""

Progress = Callable[[str, int, int], None]
"""Is told what is done now, how many rows (of CSV, bytes) are done, and of how many."""

_PROGRESS: ContextVar[Progress | None] = ContextVar("_PROGRESS", default=None)


@contextmanager
def progress_shown(progress: Progress) -> Iterator[None]:
    """Within the block, the passes over the rows tell how far they are."""
    token = _PROGRESS.set(progress)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def watch_of(what: str, rows: int) -> Watch | None:
    """Tells whoever shows progress how many rows are done; None if nobody does."""
    progress = _PROGRESS.get()
    return None if progress is None else lambda done: progress(what, done, rows)
