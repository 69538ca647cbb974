"""What was measured after each epoch, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainrule.data import Target
from chainrule.training import report_text

HELD_OUT = "validation_"


def label(name: str, target: Target | None = None) -> str:
    """The name of a measurement for display, such as "validation ROC AUC"; with a target also of
    what it is the mean, such as "validation F1 (macro)".
    """
    bare = name.removeprefix(HELD_OUT)
    return ("validation " if bare != name else "") + report_text.label(bare, target)


def number(name: str, value: float) -> str:
    """A measurement for display."""
    return report_text.number(name.removeprefix(HELD_OUT), value)


def words(measured: Mapping[str, float], target: Target | None = None) -> dict[str, str]:
    """The measurements of an epoch, by their names for display."""
    names = {name: "training loss" if name == "loss" else label(name, target) for name in measured if name != "epoch"}
    return {shown: number(name, measured[name]) for name, shown in names.items()}


def curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The losses over the epochs, by their names for display."""
    losses = {"loss": "training loss", "validation_loss": "validation loss"}
    drawn = {shown: name for name, shown in losses.items() if history and name in history[0]}
    return {shown: [record[name] for record in history] for shown, name in drawn.items()}
