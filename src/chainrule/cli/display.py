"""What the command line shows: progress, numbers, tables, a curve."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress

if TYPE_CHECKING:
    from chainrule.training import Event

out = Console(highlight=False, soft_wrap=True)
"""Results."""
err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Everything that is not a result: progress and errors."""

WORDS = {
    "loss": "loss",
    "validation_loss": "validation loss",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "r2": "R2",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}
SHARES = ("accuracy", "balanced_accuracy")


def number(name: str, value: float) -> str:
    """A metric for people: a share as a percentage, NaN as a dash."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:.1f} %" if name.removeprefix("validation_") in SHARES else f"{value:.4g}"


def word(name: str) -> str:
    """A metric's name for people."""
    bare = name.removeprefix("validation_")
    return ("validation " if bare != name else "") + WORDS.get(bare, bare)


def print_json(value: Any) -> None:
    """A result for scripts; what is not finite becomes null, which is what JSON has for it."""
    print(json.dumps(finite(value), indent=1))


def finite(value: Any) -> Any:
    """The same with null where a number is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TrainingProgress:
    """A listener that shows how training goes: a bar in a terminal, else a line at every tenth of the way."""

    def __init__(self) -> None:
        columns = ("epoch {task.completed}/{task.total}", BarColumn(bar_width=15), "{task.fields[record]}")
        self._bar = Progress(*columns, console=err)
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
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
        """Leave the terminal as it was found."""
        if self._task is not None:
            self._bar.stop()
            self._task = None


def _record(record: Mapping[str, float]) -> str:
    parts = (f"{word(name)} {number(name, value):<8}" for name, value in record.items() if name != "epoch")
    return "  ".join(parts).rstrip()


def curve(lines: Mapping[str, Sequence[float]], width: int = 60, height: int = 8) -> list[str]:
    """Lines of numbers as rows of braille dots on a logarithmic scale, each with its name where it ends.

    Small enough to be ours: the libraries for it bring pictures and films along.
    """
    finite = [v for line in lines.values() for v in line if math.isfinite(v) and v > 0]
    if not finite:
        return []
    low, high = math.log(min(finite)), math.log(max(finite))
    cells = [[0] * width for _ in range(height)]
    ends: dict[int, list[str]] = {}
    for name, line in lines.items():
        before = None
        for x in range(2 * width):
            value = line[round(x * (len(line) - 1) / (2 * width - 1))]
            if not (math.isfinite(value) and value > 0):
                before = None
                continue
            share = (math.log(value) - low) / (high - low) if high > low else 0.5
            now = round((1 - share) * (4 * height - 1))
            for y in range(min(now, before or now), max(now, before or now) + 1):
                cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
            before = now
        if before is not None:
            ends.setdefault(before // 4, []).append(name)
    labels = {0: f"{math.exp(high):.3g}", height - 1: f"{math.exp(low):.3g}"}
    rows = ("".join(chr(0x2800 + dots) for dots in row) for row in cells)
    return [f"{labels.get(k, ''):>9} {row} {', '.join(ends.get(k, []))}".rstrip() for k, row in enumerate(rows)]


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Which bit each dot of a braille character is, by row and column."""
