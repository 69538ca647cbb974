"""The notation of settings given as text: a name, then values by position or by name.

`dropout 0.2`, `adam 0.001 beta1=0.95`, `normal 0 0.5`, `huber delta=2`: networks, optimizers,
losses, distributions and penalties are all written like that.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import repr as brief
from typing import Any

from chainrule.errors import SettingError, unknown

SEVERAL = "tuple[float, ...]"
"""The annotation of a first parameter that takes every value that is given by position."""
SIZES = "Sizes"
"""The annotation of a size along each axis, such as 3x3, or one number for all."""


@dataclass(frozen=True)
class Call:
    """A name with its values, as strings.

    Attributes:
        text: the whole text, for error messages
        name: the name in lower case, with _ for -
        values: positional values
        settings: values by name
    """

    text: str
    name: str
    values: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def parse(what: str, text: str) -> Call:
    """Parse a text; `what` is what it names, such as "optimizer", for error messages.

    Examples:
        >>> parse("optimizer", "adam 0.001 beta1=0.95").settings
        {'beta1': '0.95'}
    """
    if not isinstance(text, str):
        raise SettingError(f"the {what} is {brief(text)}; pass it as text, or as one of chainrule's own objects")
    words = text.split()
    if not words:
        raise SettingError(f"the {what} is empty; give its name")
    values, settings = [], dict[str, str]()
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            values.append(word)
        elif key.replace("-", "_") in settings:
            raise SettingError(f"{what} {text!r}: {key} is set twice")
        else:
            settings[key.replace("-", "_")] = value
    return Call(text, words[0].lower().replace("-", "_"), tuple(values), settings)


def make(what: str, call: Call, makers: Mapping[str, Callable[..., Any]], extras: Sequence[str] = ()) -> Any:
    """Call the maker of this name with the values, each converted to the parameter's type.

    `extras` are settings that are handled elsewhere, for error messages. Raises SettingError for an
    unknown name or setting and for a value of the wrong type, with the valid ones.
    """
    if call.name not in makers:
        raise unknown(what, call.name, makers)
    maker = makers[call.name]
    parameters = [p for p in inspect.signature(maker).parameters.values() if p.kind != p.KEYWORD_ONLY]
    if parameters and parameters[0].kind == inspect.Parameter.VAR_POSITIONAL:  # any number of sizes
        return maker(*(number(what, call.text, word) for word in call.values))
    known = {p.name: p for p in parameters}
    for key in call.settings:
        if key not in known:
            raise unknown(f"setting of {call.name}", key, [*known, *extras])
    takes_several = bool(parameters) and parameters[0].annotation == SEVERAL
    if len(call.values) > len(known) and not takes_several:
        takes = f"at most {len(known)} values: {', '.join(known)}" if known else "no values"
        raise SettingError(f"{what} {call.text!r}: {call.name} takes {takes}")
    given: dict[str, Any] = dict(zip(known, call.values, strict=False))
    if takes_several and call.values:
        given = {parameters[0].name: call.values}
    for key, word in call.settings.items():
        if key in given:
            raise SettingError(f"{what} {call.text!r}: {key} is set twice")
        given[key] = word
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in given]
    if missing:
        raise SettingError(f"{what} {call.text!r}: {call.name} needs {' and '.join(missing)}")
    return maker(**{key: _converted(what, call.text, known[key], word) for key, word in given.items()})


def _converted(what: str, text: str, parameter: inspect.Parameter, word: Any) -> Any:
    """A value, or several, converted to the type of the parameter's annotation."""
    if parameter.annotation == SEVERAL:
        return tuple(number(what, text, one) for one in ([word] if isinstance(word, str) else word))
    kind = parameter.annotation if isinstance(parameter.annotation, str) else parameter.annotation.__name__
    if SIZES in kind.split(" | ") and as_sizes(word) is not None:
        return as_sizes(word)
    if kind == "Any" or "str" in kind.split(" | "):
        return word if as_number(word) is None else as_number(word)
    if kind == "bool":
        if word.lower() not in ("true", "false"):
            raise SettingError(f"{what} {text!r}: {parameter.name} is {word!r}; it is true or false")
        return word.lower() == "true"
    value = number(what, text, word)
    if kind == "int" and not isinstance(value, int):
        raise SettingError(f"{what} {text!r}: {parameter.name} is {word}; it is a whole number")
    return value


def number(what: str, text: str, word: str) -> Any:
    """An int or a float; raises SettingError for anything else, and for what is not finite."""
    value = as_number(word)
    if value is None:
        raise SettingError(
            f"{what} {text!r}: {word!r} should be a number; settings are written name=value, parts separated by commas"
        )
    if not math.isfinite(value):
        raise SettingError(f"{what} {text!r}: {word} is not finite")
    return value


def as_number(word: str) -> int | float | None:
    """The number that a word is, if it is one."""
    try:
        return int(word)
    except ValueError:
        try:
            return float(word)
        except ValueError:
            return None


def as_sizes(word: str) -> int | tuple[int, ...] | None:
    """The sizes that a word is, if it is any: 3x5 is (3, 5).

    Examples:
        >>> as_sizes("3x5"), as_sizes("3"), as_sizes("same")
        ((3, 5), 3, None)
    """
    try:
        sizes = tuple(map(int, word.split("x")))
    except ValueError:
        return None
    return sizes[0] if len(sizes) == 1 else sizes


def split(text: str, separator: str) -> list[str]:
    """Split at the separators that are not inside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth != 0:
        raise SettingError(f"network {text!r}: a parenthesis is missing its partner")
    return [part.strip() for part in parts]
