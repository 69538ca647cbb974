"""A network in one line of text: "64 relu, dropout 0.2, residual(64 relu, 64), 32 relu".

Parts are separated by commas. A number is a Dense layer of that many units, which may be followed
by its activation and the distribution of its weights; anything else is a layer's name and its
settings. `residual(...)` holds such a text, `branches(... | ...)` several, and
`bidirectional(...)` one layer that scans.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chainrule import notation
from chainrule.errors import SettingError, require, unknown
from chainrule.kinds import kinds_of
from chainrule.layers.activations import aliases
from chainrule.layers.base import Layer, snake
from chainrule.layers.combinators import Branches, Residual
from chainrule.layers.dense import Dense
from chainrule.layers.operators import Operator
from chainrule.layers.recurrence import Bidirectional

DEEPEST = 50
"""How deep a text can nest layers."""
COMPOSITES: dict[str, Callable[[str], Layer]] = {
    "residual": lambda inner: Residual(parse(inner)),
    "bidirectional": lambda inner: bidirectional(parse(inner)),
    "branches": lambda inner: Branches([parse(branch) for branch in notation.split(inner, "|")]),
}


def bidirectional(layers: list[Layer]) -> Layer:
    """A Bidirectional of the one layer in this list."""
    one = "network: bidirectional(...) holds one layer that scans, such as bidirectional(lstm 64)"
    require(len(layers) == 1, one)
    return Bidirectional(layers[0])


def named() -> dict[str, Callable[..., Any]]:
    """Every layer that a text can name."""
    kinds = [kind for kind in kinds_of(Layer) if kind.in_text]
    makers = {kind.notation or snake(kind.__name__): getattr(kind, "from_text", kind) for kind in kinds}
    return makers | aliases()


def parse(text: str) -> list[Layer]:
    """The layers that this text names; an empty text names none.

    Examples:
        >>> [layer.kind for layer in parse("64 relu, dropout 0.2")]
        ['Dense', 'Dropout']
    """
    depth = max(itertools.accumulate({"(": 1, ")": -1}.get(character, 0) for character in text), default=0)
    require(
        depth <= DEEPEST, f"network: layers in parentheses are nested {depth:,} deep; at most {DEEPEST} are possible"
    )
    return [_layer(part) for part in notation.split(text, ",") if part]


def _layer(part: str) -> Layer:
    head, opened, rest = part.partition("(")
    if opened:
        name = head.strip().lower()
        if name not in COMPOSITES:
            raise unknown("layer made of layers", name, COMPOSITES)
        return COMPOSITES[name](rest.rstrip()[:-1])
    first = part.split()[0]
    if notation.as_number(first) is not None:
        return _dense(part)
    call = notation.parse("network", part)
    if call.name in COMPOSITES:
        raise SettingError(f"network: {part!r} holds layers in parentheses, such as '{call.name}(64 relu, 64)'")
    makers = named()
    known = {name.replace("_", ""): name for name in makers}  # with underscores or without
    name = call.name.replace("_", "")
    if name in {kind.__name__.lower() for kind in kinds_of(Layer) if issubclass(kind, Operator)}:
        raise SettingError(f"network: {call.name} combines several inputs; write it on symbols, in Python")
    if name not in known:
        raise unknown("layer", first, [*makers, *COMPOSITES])
    layer = notation.make("network", replace(call, name=known[name]), makers)
    _ = layer.parts  # an unknown activation should be known here
    return layer


def _dense(part: str) -> Layer:
    """A Dense layer from its units, its activation and its weights' distribution."""
    units, *others = part.split()
    count = notation.as_number(units)
    if not isinstance(count, int) or len(others) > 2 + sum("=" in word for word in others):
        raise SettingError(
            f"network: {part!r} is no layer; write the number of units, then an activation if there is one, such as '64"
            " relu'"
        )
    layer = notation.make("network", notation.parse("network", f"dense {part}"), {"dense": Dense})
    _ = layer.parts  # an unknown activation should be known here
    return layer
