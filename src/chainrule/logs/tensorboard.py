"""TensorBoard's event files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from chainrule.errors import RunError, check_writable, require_package
from chainrule.logs.base import Log, Setting
from chainrule.training import Started

FOLDER = "tensorboard"
"""Where the log is within a run's folder."""
FLUSH = 1.0
"""The least number of seconds between two flushes."""


class Recording(Protocol):
    """A recorder: it has the folder of a run."""

    folder: Path


class TensorBoard(Log):
    """Logs a training for TensorBoard: `train(..., callbacks=[TensorBoard("logs/first")])`.

    `tensorboard --logdir logs` shows the logs of all trainings in subfolders of `logs`. What is
    logged is said in `Log`; the settings appear under HParams. Needs the extra `tensorboard`.

    A recorded run that is resumed continues its log by itself.
    A log that is in the folder already is continued after the epochs that the training has behind
    it; what it says of later ones is no longer shown.

    Args:
        folder: the folder to write to; of a Recorder that stands before it among the callbacks,
            the folder `tensorboard` in the run's folder
        norms: whether to log the norms of gradients and updates

    Raises RunError if the folder can't be written.
    """

    kind = "tensorboard"

    def __init__(self, folder: str | Path | Recording, *, norms: bool = True) -> None:
        require_package("tensorboardX", "tensorboard", "a log for TensorBoard")
        super().__init__(norms=norms)
        self._place, self._flushed = folder, 0.0
        self._writer: Any = None
        if isinstance(folder, str | Path):
            check_writable(Path(folder) / "events")

    @property
    def folder(self) -> Path:
        """The folder; for a Recorder with numbered runs, once training has started."""
        return Path(self._place) if isinstance(self._place, str | Path) else self._place.folder / FOLDER

    def recipe(self, folder: Path) -> dict[str, Any]:
        """What a run in this folder keeps about the log."""
        run, own = folder.absolute(), self.folder.absolute()
        where = str(own.relative_to(run)) if own.is_relative_to(run) else str(own)
        return {"kind": self.kind, "where": where, "norms": self._norms}

    def open(self, event: Started, settings: dict[str, Setting]) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        epoch = event.progress.epoch
        # What is in the folder about later epochs, by a process that was killed, is no longer
        # shown. The names of files have the second alone, and so may be the same.
        self._writer = SummaryWriter(str(self.folder), purge_step=epoch + 1, filename_suffix=f".{epoch:08d}")
        for summary in hparams(settings, {}):
            self._writer.file_writer.add_summary(summary)
        self._writer.flush()

    def write(self, epoch: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch)
        if time.monotonic() - self._flushed >= FLUSH:
            self._writer.flush()
            self._flushed = time.monotonic()

    def write_text(self, epoch: int, text: str) -> None:
        self._writer.add_text("sample", _preformatted(text), epoch)

    def end(self, epoch: int, tested: dict[str, float], reason: str) -> None:
        for name, value in tested.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.add_text("ended", reason, epoch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _preformatted(text: str) -> str:
    """A text as a block of Markdown, which TensorBoard shows, with its line breaks and as it is."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def check_empty(folder: Path) -> None:
    """Raise RunError if there is the log of a training in this folder."""
    if any(folder.glob("events.out.tfevents.*")):
        raise RunError(f"{folder}: it has the log of another training; choose another folder for TensorBoard")
