"""Errors for the user: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final


class ChainruleError(Exception):
    """Base class of all errors here; the command line prints its message and exits with 2.

    The message is one line, whatever line breaks the names in it have.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


class DataError(ChainruleError, ValueError):
    """Data that can't be used; the message names the file, row or column."""


class ShapeError(ChainruleError, ValueError):
    """Shapes that don't match; the message names the layer or the array."""


class SettingError(ChainruleError, ValueError):
    """An invalid setting, such as a negative learning rate or an unknown optimizer."""


class RunError(ChainruleError):
    """A run folder that is missing, incomplete, corrupted or not writable."""


class NonFiniteError(ChainruleError):
    """A quantity became infinite or NaN during training.

    Attributes:
        step: the step, counted from 0
        layer: name of the layer, or "loss"
        quantity: the first of its arrays that is not finite
    """

    def __init__(self, step: int, layer: str, quantity: str, remedy: str) -> None:
        super().__init__(f"step {step}: {quantity} of {layer} is not finite; {remedy}")
        self.step, self.layer, self.quantity = step, layer, quantity


NOTHING: Final = object()
"""No value."""


def setting(name: str, value: Any = NOTHING) -> str:
    """A setting in a message, as the user writes it: an argument in Python, an option on the
    command line, which says so with `settings_written`.

    Examples:
        >>> setting("batch_size"), setting("task", "regression")
        ('batch_size', 'task="regression"')
        >>> setting("read", {"zip": "category"})
        'read={"zip": "category"}'
        >>> setting("shuffle", False), setting("patience", None)
        ('shuffle=False', 'patience=None')
    """
    return _spelling(name, value)


@contextmanager
def settings_written(spelling: Callable[[str, Any], str]) -> Iterator[None]:
    """Within the block, messages name settings in this spelling, in every thread."""
    global _spelling
    before, _spelling = _spelling, spelling
    try:
        yield
    finally:
        _spelling = before


def _as_argument(name: str, value: Any) -> str:
    if value is NOTHING:
        return name
    is_named = value is None or isinstance(value, bool)
    return f"{name}={value if is_named else json.dumps(value, ensure_ascii=False)}"


_spelling: Callable[[str, Any], str] = _as_argument


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The closest match among the known names, ignoring case; None if none is close."""
    lower = {name.lower(): name for name in sorted(known)}
    matches = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return lower[matches[0]] if matches else None


def unknown(kind: str, name: str, known: Iterable[str]) -> SettingError:
    """The error for an unknown name, which suggests the closest known one or lists them all."""
    names = sorted(known)
    match = nearest(name, names) if isinstance(name, str) else None
    hint = f"did you mean {match!r}?" if match else "choose one of " + ", ".join(names)
    return SettingError(f"unknown {kind} {name!r}; {hint}")


def require(condition: bool, message: str) -> None:
    """Raise SettingError with this message unless the condition holds."""
    if not condition:
        raise SettingError(message)


def is_integer(value: Any) -> bool:
    """Whether this is an integer; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any, least: float = -math.inf, above: float = -math.inf, below: float = math.inf) -> bool:
    """Whether this is a real number, at least, above and below these; True and False are not."""
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    return is_real and value >= least and above < value < below


def at_least(message: str, value: Any, least: int) -> int:
    """This value as an int; raises SettingError with this message unless it is an integer and at
    least this one.
    """
    require(is_integer(value) and value >= least, message)
    return int(value)


def integers(what: str, values: Any) -> tuple[int, ...]:
    """These values as a tuple; raises SettingError unless they are a sequence of integers."""
    fits = isinstance(values, list | tuple) and all(map(is_integer, values))
    require(fits, f"{what} is {values!r}; it takes a sequence of integers")
    return tuple(values)


def elsewhere() -> str:
    """What to do if a new folder can't be written."""
    return f"choose another folder ({setting('folder')})"


def check_writable(folder: Path) -> None:
    """Raise RunError unless a folder can be created at this path."""
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: it can't be written (no permission in {parent}); {elsewhere()}")


def require_package(package: str, extra: str, what: str) -> None:
    """Raise SettingError unless a package is installed, which the extra provides."""
    message = f"{what} needs {package}: pip install 'chainrule[{extra}]'"
    require(importlib.util.find_spec(package) is not None, message)
