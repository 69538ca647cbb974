"""The progress of a training: a bar in a notebook or a terminal, lines of text elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from chainrule.summary import fragment, one_line
from chainrule.training import history
from chainrule.training.loop import Ended, EpochEnded, Event, Listener, Sampled, Started

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL = 0.1
"""The least number of seconds between two updates of a bar in a notebook."""
LINES = 10
"""The number of lines of text, about."""
ENDINGS = {"complete": "", "early": "stopped early", "interrupted": "interrupted", "diverged": "diverged"}


class _View(Protocol):
    """Where progress is shown."""

    def update(self, event: Event, epochs: float, measured: list[str]) -> None:
        """Show how many epochs are complete, and what was measured."""

    def show(self, line: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Leave what is shown as it is, or remove it."""


class ProgressBar:
    """Shows the progress of a training: `train(..., callbacks=[ProgressBar()])`.

    In a notebook that is a bar below the cell, in a terminal a bar on stderr that disappears in the
    end, elsewhere about ten lines on stderr. In a notebook `train` shows one on its own, unless it
    is called with `progress=False`.

    Args:
        console: the console to write to instead
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._view: _View | None = None

    def __call__(self, event: Event) -> None:
        """Show the progress that the event reports."""
        if isinstance(event, Started):
            self._view = self._opened(event)
        if self._view is None:
            return
        if isinstance(event, Sampled):
            self._view.show(event.sample.line)
            return
        length = event.plan.steps_per_epoch(len(event.data.training.x))
        epochs = max(event.progress.epoch, min(event.progress.position.step / length, event.plan.epochs))
        self._view.update(event, epochs, _measured(event))
        if isinstance(event, Ended):
            self.close()

    def _opened(self, event: Event) -> _View:
        from rich.console import Console

        if self._console is None and in_notebook():
            return _Notebook()
        # A text of the user's, such as a metric's name, is no markup.
        console = self._console or Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
        return _Terminal(console, event) if console.is_terminal else _Lines(console)

    def close(self) -> None:
        """Restore the terminal; called when training is over, even if it fails."""
        if self._view is not None:
            self._view.close()
            self._view = None


def _measured(event: Event) -> list[str]:
    """What was measured last, a text for each number; as wide after every epoch."""
    measured = event.progress.history[-1] if event.progress.history else {}
    return [
        one_line(f"{history.label(name, event.data.target)} {history.number(name, value):<8}")
        for name, value in measured.items()
        if name != "epoch"
    ]


class _Lines:
    """About ten lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, event: Event, epochs: float, measured: list[str]) -> None:
        epoch, total = event.progress.epoch, event.plan.epochs
        if isinstance(event, EpochEnded) and (epoch == total or epoch % max(total // LINES, 1) == 0):
            self._console.print(f"epoch {epoch}/{total}  {'  '.join(measured).rstrip()}")

    def show(self, line: str) -> None:
        self._console.print(line)

    def close(self) -> None:
        pass


class _Terminal:
    """A bar that disappears in the end."""

    def __init__(self, console: Console, event: Event) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            "epoch {task.fields[epoch]}/{task.total}",
            BarColumn(bar_width=15),
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task("", total=event.plan.epochs, epoch=0, text="")
        self._bar.start()

    def update(self, event: Event, epochs: float, measured: list[str]) -> None:
        text = "  ".join(measured).replace("validation accuracy", "accuracy").rstrip()
        self._bar.update(self._task, completed=epochs, epoch=event.progress.epoch, text=text)

    def show(self, line: str) -> None:
        self._bar.console.print(line)

    def close(self) -> None:
        self._bar.stop()


class _Notebook:
    """A bar below the cell; it stays, with how training ended."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = 0.0
        self._lines: list[str] = []

    def update(self, event: Event, epochs: float, measured: list[str]) -> None:
        now = time.monotonic()
        if not isinstance(event, Started | Ended) and now - self._shown < INTERVAL:
            return
        self._shown = now
        ending = ENDINGS.get(event.reason, event.reason) if isinstance(event, Ended) else ""
        total = event.plan.epochs
        words = " \u00b7 ".join(
            filter(None, (f"epoch {event.progress.epoch}/{total}", *map(str.rstrip, measured), ending))
        )
        bar = f'<progress max="{total}" value="{epochs:.4g}"></progress> {escape(words)}'
        shown = "".join(f"<p>{escape(line)}</p>" for line in self._lines)
        content = {"text/plain": words, "text/html": fragment(f"{shown}<p>{bar}</p>")}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def show(self, line: str) -> None:
        self._lines.append(line)

    def close(self) -> None:
        pass


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def with_progress(callbacks: Sequence[Listener], wanted: bool | None) -> Sequence[Listener]:
    """The callbacks with a bar; if that is left open, in a notebook alone. None gets a second."""
    if wanted is False or (wanted is None and not in_notebook()):
        return callbacks
    if not isinstance(callbacks, Sequence) or any(isinstance(callback, ProgressBar) for callback in callbacks):
        return callbacks
    return [*callbacks, ProgressBar()]
