"""JSON values checked against type annotations, before anything is built from them.

The annotations are those of the classes that the values are for, or of typed dictionaries.
"""

from __future__ import annotations

import math
import reprlib
import sys
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict


@dataclass(frozen=True)
class Range:
    """The smallest and the largest number that a value may be."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Matching:
    """A regular expression that a whole text must match."""

    pattern: str

    def __str__(self) -> str:
        return f"of the form {self.pattern}"


Count = Annotated[int, Range(0, sys.maxsize)]
Positive = Annotated[int, Range(1, sys.maxsize)]


def misfit(value: Any, hint: Any, path: str = "it") -> str | None:
    """What is wrong with a value, starting with its path; None if it is of the annotated type.

    Numbers must be finite; an integer may stand for a float, but True and False are not numbers.
    Lists stand for tuples and sequences, too.

    Examples:
        >>> misfit({"steps": [1, "2"]}, dict[str, list[int]])
        "steps[1] is '2'; it must be int"
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return misfit(value, arguments[0], path) or (None if _obeys(value, arguments[1]) else _wrong(value, hint, path))
    if origin in (Union, types.UnionType):
        problems = []
        for option in arguments:
            problem = misfit(value, option, path)
            if problem is None:
                return None
            problems.append(problem)
        inner = [problem for problem in problems if not problem.startswith(f"{path} is ")]
        return next(iter(inner), _wrong(value, hint, path))
    if is_typeddict(hint):
        return _wrong(value, dict, path) if not isinstance(value, dict) else _entries(value, hint, path)
    if origin is dict:
        if not isinstance(value, dict):
            return _wrong(value, hint, path)
        pairs = ((misfit(key, arguments[0], path), misfit(v, arguments[1], _at(path, key))) for key, v in value.items())
        return _first(problem for pair in pairs for problem in pair)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list | tuple):
            return _wrong(value, hint, path)
        hints = arguments if origin is tuple and arguments[-1] is not ... else arguments[:1] * len(value)
        if len(hints) != len(value):
            return f"{path} has {len(value)} values; it must have {len(hints)}"
        return _first(misfit(v, h, f"{path}[{k}]") for k, (v, h) in enumerate(zip(value, hints, strict=True)))
    return None if _is_plain(value, hint, arguments) else _wrong(value, hint, path)


def _is_plain(value: Any, hint: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether a value is of a type without parts."""
    if hint is Any:
        return True
    if arguments:  # a Literal
        return any(value == option and type(value) is type(option) for option in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if hint is str:
        return isinstance(value, str) and (
            value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
        )
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _entries(value: dict[str, Any], hint: Any, path: str) -> str | None:
    hints = _hints(hint)
    for key in hints.keys() | value.keys():
        if key not in hints:
            return f"{_at(path, key)} is unknown"
        if key not in value and get_origin(hints[key]) is not NotRequired:
            return f"{_at(path, key)} is missing"
    return _first(misfit(value[key], _bare(inner), _at(path, key)) for key, inner in hints.items() if key in value)


@cache
def _hints(hint: Any) -> dict[str, Any]:
    """The annotations of a typed dictionary; a file may hold thousands of the same."""
    return get_type_hints(hint, include_extras=True)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is NotRequired else hint


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _at(path: str, key: Any) -> str:
    name = key if isinstance(key, str) and key.isidentifier() else reprlib.repr(key)
    return name if path == "it" else f"{path}.{name}"


def _obeys(value: Any, rule: Range | Matching) -> bool:
    import re

    return (
        re.fullmatch(rule.pattern, value) is not None if isinstance(rule, Matching) else rule.low <= value <= rule.high
    )


def _wrong(value: Any, hint: Any, path: str) -> str:
    return f"{path} is {reprlib.repr(value)}; it must be {_words(hint)}"


def _words(hint: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_words(arguments[0])} {arguments[1]}"
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, arguments))
    return "None" if hint is type(None) else getattr(origin or hint, "__name__", str(hint))
