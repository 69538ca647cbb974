"""JSON values checked against type annotations, before anything is built from them.

The annotations are those of the classes that the values are for, or of typed dictionaries.
"""

from __future__ import annotations

import math
import reprlib
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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

Check = Callable[[Any, str], str | None]
"""What is wrong with a value, which starts with the path that is passed; None if nothing is."""


def misfit(value: Any, hint: Any, path: str = "it") -> str | None:
    """What is wrong with a value, starting with its path; None if it is of the annotated type.

    Numbers must be finite; an integer may stand for a float, but True and False are not numbers.
    Lists stand for tuples and sequences, too.

    Examples:
        >>> misfit({"steps": [1, "2"]}, dict[str, list[int]])
        "steps[1] is '2'; it must be int"
    """
    return _check(hint)(value, path)


@lru_cache(1000)  # a file may hold thousands of values of the same type
def _check(hint: Any) -> Check:
    """The check of values of this type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _of_rule(hint, *arguments)
    if origin in (Union, types.UnionType):
        return _of_options(hint, [_check(option) for option in arguments])
    if is_typeddict(hint):
        return _of_entries(hint)
    if origin is dict:
        return _of_pairs(hint, *map(_check, arguments))
    if origin in (list, tuple, Sequence):
        one_each = origin is tuple and arguments[-1] is not ...
        return _of_values(hint, [_check(argument) for argument in arguments if argument is not ...], one_each)
    return lambda value, path: None if _is_plain(value, hint, arguments) else _wrong(value, hint, path)


def _of_rule(hint: Any, inner: Any, rule: Range | Matching) -> Check:
    check = _check(inner)
    return lambda value, path: check(value, path) or (None if _obeys(value, rule) else _wrong(value, hint, path))


def _of_options(hint: Any, checks: list[Check]) -> Check:
    def check(value: Any, path: str) -> str | None:
        problems = []
        for option in checks:
            problem = option(value, path)
            if problem is None:
                return None
            problems.append(problem)
        inner = [problem for problem in problems if not problem.startswith(f"{path} is ")]
        return next(iter(inner), _wrong(value, hint, path))

    return check


def _of_entries(hint: Any) -> Check:
    """That of a typed dictionary."""
    hints = get_type_hints(hint, include_extras=True)
    required = [key for key, inner in hints.items() if get_origin(inner) is not NotRequired]
    checks = {key: _check(inner if key in required else get_args(inner)[0]) for key, inner in hints.items()}

    def check(value: Any, path: str) -> str | None:
        if not isinstance(value, dict):
            return _wrong(value, dict, path)
        for key, part in value.items():
            if key not in checks:
                return f"{_at(path, key)} is unknown"
            if checks[key](part, path):
                return checks[key](part, _at(path, key))  # again, since making a path takes long
        missing = [key for key in required if key not in value]
        return f"{_at(path, missing[0])} is missing" if missing else None

    return check


def _of_pairs(hint: Any, of_key: Check, of_value: Check) -> Check:
    def check(value: Any, path: str) -> str | None:
        if not isinstance(value, dict):
            return _wrong(value, hint, path)
        return _first(of_key(key, path) or of_value(part, _at(path, key)) for key, part in value.items())

    return check


def _of_values(hint: Any, checks: list[Check], one_each: bool) -> Check:
    def check(value: Any, path: str) -> str | None:
        if not isinstance(value, list | tuple):
            return _wrong(value, hint, path)
        each = checks if one_each else checks * len(value)
        if len(each) != len(value):
            return f"{path} has {len(value)} values; it must have {len(each)}"
        wrong = (k for k, (part, one) in enumerate(zip(value, each, strict=True)) if one(part, path))
        return _first(each[k](value[k], f"{path}[{k}]") for k in wrong)

    return check


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
