"""The logs that `--log` asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.errors import SettingError, require

if TYPE_CHECKING:
    from chainrule.logs import Log
    from chainrule.runs import Recorder

KINDS = ("tensorboard", "mlflow")
NONE = ["none"]
"""What to choose in order to resume a run without its logs."""


def check_logs(chosen: list[str] | None) -> None:
    """Raise an error for a log that can't be written, before anything is."""
    require(chosen != NONE, "--log none resumes a run without its log; a new run has none unless --log asks for one")
    for kind, where in map(_parts, chosen or ()):
        if kind == "tensorboard" and where:
            from chainrule.logs.tensorboard import check_empty

            check_empty(Path(where))
    make_logs(chosen, Path("runs"))


def make_logs(chosen: list[str] | None, run: Recorder | Path) -> list[Log]:
    """The logs of a run, given by its recorder or its folder."""
    if not chosen or chosen == NONE:
        return []
    from chainrule.logs import MLflow, TensorBoard
    from chainrule.logs.tensorboard import FOLDER

    within = run / FOLDER if isinstance(run, Path) else run
    logs = map(_parts, chosen)
    return [TensorBoard(where or within) if kind == "tensorboard" else MLflow(where or None) for kind, where in logs]


def _parts(text: str) -> tuple[str, str]:
    """The kind of log, and where it goes; empty if that is left out."""
    kind, colon, where = text.partition(":")
    if kind not in KINDS:
        raise SettingError(
            f"--log {text!r}: write 'tensorboard', 'tensorboard:FOLDER', 'mlflow' or 'mlflow:EXPERIMENT'"
        )
    require(bool(where) or not colon, f"--log {text!r}: there is nothing after the colon")
    return kind, where
