"""The command cache, and the progress of what fills it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson
from chainrule.processes import is_first

EVERY = 60.0
"""The seconds between two lines that say how far something is."""


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that no process uses.")] = False,
    json: AsJson = False,
) -> None:
    """Show what the cache on disk holds, in which tables larger than the memory are prepared, or
    clear it. What is removed is prepared again when it is needed. The environment variable
    CHAINRULE_CACHE says where it is; by default it is ~/.cache/chainrule.

    Examples:

      chainrule cache

      chainrule cache --clear
    """
    from chainrule.data.streamed import cache as stored
    from chainrule.data.streamed.choosing import written

    freed = stored.clear() if clear else 0
    found = stored.entries()
    if json:
        display.print_json({
            "folder": str(stored.folder()), "freed": freed,
            "entries": [{
                "folder": entry.path.name, "what": entry.what, "source": entry.about.get("source"),
                "bytes": entry.bytes, "used": entry.used, "whole": entry.is_whole, "in_use": entry.in_use,
            } for entry in found],
        })  # fmt: skip
        return
    if clear:
        display.out.print(f"removed {written(freed)}")
    total = sum(entry.bytes for entry in found)
    display.out.print(display.bold(str(stored.folder())) + f": {written(total)} in {len(found)} folders")
    for entry in found:
        state = ", in use" if entry.in_use else "" if entry.is_whole else ", unfinished"
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        source = f" of {entry.about['source']}" if "source" in entry.about else ""
        display.out.print(f"  {written(entry.bytes):>9}  {used}  {entry.what}{source}{state}")


@contextmanager
def first_pass_shown(hidden: bool) -> Iterator[None]:
    """Within the block, a bar shows how far reading and preparing a streamed table is; where there
    is no terminal, as in a log, a line when each begins, and one a minute.
    """
    from chainrule.data.streamed.progress import progress_shown

    if hidden or not is_first():
        yield
    elif display.err.is_terminal:
        with display.progress_bar("reading") as move, progress_shown(lambda what, done, rows: move(done, rows, what)):
            yield
    else:
        with progress_shown(_Lines()):
            yield


class _Lines:
    """Prints how far something is, now and then."""

    def __init__(self) -> None:
        self._what, self._told = "", 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if what != self._what or now - self._told >= EVERY:
            self._what, self._told = what, now
            unit = "bytes" if what.startswith("converting") else "rows"
            display.err.print(f"{what}: {done:,} of {of:,} {unit}")
