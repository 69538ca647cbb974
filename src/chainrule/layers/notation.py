"""A network in one line of text: "64 relu, dropout 0.2, residual(64 relu, 64), 32 relu".

Parts are separated by commas. A number is a Dense layer of so many units, after it may come its activation and what
its weights are drawn from; anything else is a layer's name and its numbers. `residual(...)` holds such a text,
`branches(... | ... )` several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.errors import SettingError, unknown
from chainrule.layers.activations import activation
from chainrule.layers.base import Layer
from chainrule.layers.combinators import Branches, Residual
from chainrule.layers.dense import Dense
from chainrule.layers.dropout import Dropout
from chainrule.layers.embedding import Embedding
from chainrule.layers.normalization import BatchNorm, LayerNorm
from chainrule.layers.shaping import Flatten, Reshape

_MAKERS: dict[str, Callable[..., Layer]] = {
    "dense": Dense,
    "dropout": Dropout,
    "batchnorm": BatchNorm,
    "layernorm": LayerNorm,
    "embedding": Embedding,
    "flatten": Flatten,
    "reshape": lambda *sizes: Reshape(sizes),
}


def parse(text: str) -> list[Layer]:
    """The layers that this text names; an empty text names none.

    Examples:
        >>> [type(layer).__name__ for layer in parse("64 relu, dropout 0.2")]
        ['Dense', 'Dropout']
    """
    return [_layer(part) for part in _split(text, ",") if part]


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand in no parentheses."""
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


def _layer(part: str) -> Layer:
    head, opened, rest = part.partition("(")
    if opened:
        inner, kind = rest.rstrip()[:-1], head.strip().lower()
        if kind == "residual":
            return Residual(parse(inner))
        if kind == "branches":
            return Branches([parse(branch) for branch in _split(inner, "|")])
        raise unknown("layer made of layers", kind, ("residual", "branches"))
    first, *others = part.split()
    if _number(first) is not None:
        return _dense(part, first, others)
    kind = first.lower().replace("_", "").replace("-", "")
    try:
        if kind in _MAKERS:
            return _MAKERS[kind](*(_required_number(part, word) for word in others))
        layer = activation(first)
        return type(layer)(*(_required_number(part, word) for word in others)) if others else layer
    except TypeError as error:
        raise SettingError(f"network: in {part!r} the numbers don't fit the layer ({error})") from None
    except SettingError as error:
        if "unknown activation" in str(error):
            raise unknown(
                "layer", first, [*_MAKERS, "residual", "branches", *str(error).partition("there are: ")[2].split(", ")]
            ) from None
        raise


def _dense(part: str, units: str, others: list[str]) -> Dense:
    count = _number(units)
    if not isinstance(count, int) or len(others) > 2:
        raise SettingError(
            f"network: {part!r} is no layer; write the number of units, then an activation if there is one, such as '64"
            " relu'"
        )
    return Dense(count, *others)  # type: ignore[arg-type]


def _number(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return None


def _required_number(part: str, word: str) -> Any:
    number = _number(word)
    if number is None:
        raise SettingError(f"network: in {part!r}, {word!r} should be a number; parts are separated by commas")
    return number
