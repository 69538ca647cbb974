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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress
from rich.text import Text

from chainrule.cli.options import OUTPUT, elsewhere

if TYPE_CHECKING:
    from chainrule.training import Event

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """A text with control characters, other than line breaks and tabs, as escape sequences."""
    return text.translate(CONTROLS)


def one_line(name: object) -> str:
    """A name without control characters and line breaks."""
    return visible(str(name)).replace("\n", "\\n")


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


LABELS = {
    "f1": "F1", "roc_auc": "ROC AUC", "r2": "R2", "mae": "mean absolute error", "rmse": "root mean squared error",
    "rank_mae": "mean absolute error in ranks", "quadratic_kappa": "quadratic weighted kappa",
    "pinball": "pinball loss", "negative_log_likelihood": "negative log-likelihood",
}  # fmt: skip
PERCENTAGES = ("accuracy", "balanced_accuracy")


def number(name: str, value: float) -> str:
    """A metric's value for display: accuracies and coverage in percent, NaN as a dash."""
    if math.isnan(value):
        return "-"
    bare = name.removeprefix("validation_")
    return f"{100 * value:.1f} %" if bare in PERCENTAGES or bare.startswith("coverage") else f"{value:.4g}"


def label(name: str) -> str:
    """A metric's name for display."""
    bare = name.removeprefix("validation_")
    return ("validation " if bare != name else "") + LABELS.get(bare, bare.replace("_", " "))


def print_json(value: Any) -> None:
    """Print a result as JSON, with null for NaN and infinity."""
    print(json.dumps(finite(value), indent=1))


def write(path: Path, content: bytes, what: str = "", names: Sequence[str] = OUTPUT) -> None:
    """Write the file that the option with these names gives, and print that `what` was written."""
    from chainrule.runs.folder import write_whole

    write_whole(path, content, elsewhere(*names))
    err.print(f"{what} written to {path}".strip())


def finite(value: Any) -> Any:
    """The value with None for every number that is not finite, which JSON can't represent."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TrainingProgress:
    """A listener that shows progress: a bar in a terminal, otherwise about ten lines."""

    def __init__(self) -> None:
        columns = ("epoch {task.completed}/{task.total}", BarColumn(bar_width=15), "{task.fields[record]}")
        self._bar = Progress(*columns, console=err)
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Show the progress that the event reports."""
        from chainrule.training import Ended, EpochEnded, Started

        total = event.plan.epochs
        if isinstance(event, Started) and err.is_terminal:
            self._task = self._bar.add_task("", total=total, completed=event.progress.epoch, record="")
            self._bar.start()
        elif isinstance(event, EpochEnded):
            epoch, text = event.progress.epoch, _record(event.measured)
            if self._task is not None:
                self._bar.update(self._task, completed=epoch, record=text.replace("validation accuracy", "accuracy"))
            elif epoch == total or epoch % max(total // 10, 1) == 0:
                err.print(f"epoch {epoch}/{total}  {text}")
        elif isinstance(event, Ended):
            self.stop()

    def stop(self) -> None:
        """Remove the bar and restore the terminal."""
        if self._task is not None:
            self._bar.stop()
            self._task = None


def _record(record: Mapping[str, float]) -> str:
    metrics = (f"{label(name)} {number(name, value):<8}" for name, value in record.items() if name != "epoch")
    return "  ".join(metrics).rstrip()


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
                cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
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


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character (Unicode block 2800), by row and column."""
