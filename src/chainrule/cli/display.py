"""Output of the command line: progress, metrics, JSON, files and a loss curve.

Names come from the user's files and folders, so nothing that is printed is read as markup, and
control characters, which could command a terminal, and what its encoding lacks are printed as
escape sequences.
"""

from __future__ import annotations

import codecs
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from chainrule.cli.options import OUTPUT, elsewhere
from chainrule.summary import DOTS, one_line, visible

if TYPE_CHECKING:
    from chainrule.data import Target

WIDTH = 100
"""Facts that are longer are broken into lines."""


class _Plain(Console):
    """A console on which texts can't have control characters."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(visible(text), **settings)


out = _Plain(highlight=False, soft_wrap=True, markup=False, emoji=False)
"""For results."""
err = _Plain(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
"""For everything else: progress, notes and errors."""


def bold(text: str) -> Text:
    """A text in bold, whatever characters it has."""
    return Text(one_line(text), style="bold")


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """What an encoding lacks: a file name's bytes that are no text, else an escape sequence."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in characters):
        return bytes(ord(character) - 0xDC00 for character in characters), error.end
    return characters.encode("ascii", "backslashreplace"), error.end


def print_anything() -> None:
    """Let the standard streams print every text, in any encoding."""
    codecs.register_error("escaped", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="escaped")


def number(name: str, value: float) -> str:
    """A metric's value for display: accuracies in percent, NaN as a dash."""
    from chainrule.training.history import number

    return number(name, value)


def label(name: str, target: Target | None = None) -> str:
    """A metric's name for display; with a target also of what it is the mean."""
    from chainrule.training.history import label

    return label(name, target)


def print_json(value: Any) -> None:
    """Print a result as JSON, with null for NaN and infinity."""
    print(json.dumps(finite(value), indent=1))


def write(path: Path, content: bytes, what: str = "", names: Sequence[str] = OUTPUT) -> None:
    """Write the file that the option with these names gives, and print that `what` was written."""
    from chainrule.runs.folder import write_whole

    write_whole(path, content, elsewhere(*names))
    err.print(f"{what} written to {path}".strip())


def write_parts(path: Path, parts: Iterable[bytes], what: Callable[[], str]) -> None:
    """Write a file part by part, and print what `what` says then that was written."""
    from chainrule.runs.folder import write_whole

    write_whole(path, parts, elsewhere(*OUTPUT))
    err.print(f"{what()} written to {path}")


@contextmanager
def progress_bar(what: str, hidden: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on stderr, in a terminal, that the function it gives moves: to how much is done, of how
    much, and, if it is called with a third argument, what comes now. Threads may call it.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=hidden or not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        shown, last = 0.0, what

        def move(done: int, total: int, now: str = what) -> None:
            nonlocal shown, last
            if done == total or now != last or time.monotonic() - shown > 0.1:
                shown, last = time.monotonic(), now
                bar.update(task, completed=done, total=total, description=now)

        yield move


def finite(value: Any) -> Any:
    """The value with None for every number that is not finite, which JSON can't represent."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def curve(lines: Mapping[str, Sequence[float]], width: int = 60, height: int = 8) -> list[str]:
    """A plot in braille characters with a logarithmic y axis; each curve is labelled at its end.

    Written here because plotting libraries for the terminal are far larger than this.

    Args:
        lines: values by name; those that are not finite and positive leave a gap
        width: width of the plot in characters of two dots
        height: height of the plot in characters of four dots

    Returns:
        the lines of text; none if there is nothing to plot
    """
    positive = [v for line in lines.values() for v in line if math.isfinite(v) and v > 0]
    if not positive:
        return []
    low, high = math.log(min(positive)), math.log(max(positive))
    cells = [[0] * width for _ in range(height)]
    ends: dict[int, list[str]] = {}
    for name, line in lines.items():
        previous = None
        for x in range(2 * width):
            value = line[round(x * (len(line) - 1) / (2 * width - 1))]
            if not (math.isfinite(value) and value > 0):
                previous = None
                continue
            fraction = (math.log(value) - low) / (high - low) if high > low else 0.5
            dot = round((1 - fraction) * (4 * height - 1))
            start = dot if previous is None else previous
            for y in range(min(dot, start), max(dot, start) + 1):
                cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]
            previous = dot
        if previous is not None:
            ends.setdefault(previous // 4, []).append(name)
    labels = {0: f"{math.exp(high):.3g}", height - 1: f"{math.exp(low):.3g}"}
    rows = ("".join(map(_cell, row)) for row in cells)
    return [f"{labels.get(k, ''):>9} {row} {', '.join(ends.get(k, []))}".rstrip() for k, row in enumerate(rows)]


def _cell(dots: int) -> str:
    """A character with these dots; a star where the terminal has no braille."""
    try:
        chr(0x2800).encode(out.encoding)
    except (UnicodeError, LookupError):
        return "*" if dots else " "
    return chr(0x2800 + dots)
