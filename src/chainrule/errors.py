"""Errors that are meant for the person: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable


class ChainruleError(Exception):
    """What was wrong, where, and what to do, in one line. The command line prints it and exits with 2."""


class DataError(ChainruleError):
    """The data can't be used as it is: the message names the file, row or column."""


class ShapeError(ChainruleError):
    """Shapes that don't fit: the message names the layer or the array."""


class SettingError(ChainruleError):
    """A setting that has no meaning, such as a negative learning rate or an unknown optimizer."""


class RunError(ChainruleError):
    """A run folder that is missing, incomplete, altered, or can't be written."""


class NonFiniteError(ChainruleError):
    """A quantity became infinite or NaN while training.

    `step` counts from 0, `layer` is the layer's name (or "loss"), `quantity` says which of its arrays went wrong first.
    """

    def __init__(self, step: int, layer: str, quantity: str, remedy: str) -> None:
        super().__init__(f"step {step}: {quantity} of {layer} is not finite; {remedy}")
        self.step = step
        self.layer = layer
        self.quantity = quantity


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, if one is near."""
    lower = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return lower[near[0]] if near else None


def unknown(kind: str, name: str, known: Iterable[str]) -> SettingError:
    """The error for a name that doesn't exist, with the nearest one that does."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean {near!r}?" if near else "there are: " + ", ".join(names)
    return SettingError(f"unknown {kind} {name!r}; {hint}")


def require(condition: bool, message: str) -> None:
    """Raise a SettingError with this message unless the condition holds."""
    if not condition:
        raise SettingError(message)


def require_package(package: str, extra: str, what: str) -> None:
    """Raise a SettingError unless a package is installed that only `what` needs, and that this extra brings."""
    message = f"{what} needs {package}: pip install 'chainrule[{extra}]'"
    require(importlib.util.find_spec(package) is not None, message)
