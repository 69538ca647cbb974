"""A plan as JSON, and back.

An object is written as its kind and its settings; reading constructs known kinds only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from reprlib import repr as brief
from typing import Any, get_type_hints

from chainrule import (  # noqa: F401  (their kinds register)
    augmentation,
    descent,
    distributions,
    layers,
    losses,
    network,
    training,
)
from chainrule.errors import RunError
from chainrule.kinds import REGISTERED, kind_name
from chainrule.typed import misfit


def to_json(value: Any) -> Any:
    """A plan, or a part of it, as JSON values; raises RunError for what JSON can't hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        settings = {name: to_json(getattr(value, name)) for name in _recorded(type(value))}
        return {"kind": kind_name(type(value))} | {k: v for k, v in settings.items() if k != "name" or v is not None}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = type(value).__name__
    raise RunError(f"a run can't save {value!r} of {kind}: settings must be numbers, strings or known kinds")


def from_json(value: Any, own: Iterable[type] = ()) -> Any:
    """The inverse of `to_json`.

    Args:
        value: the JSON values
        own: kinds from outside chainrule that may be constructed, such as your own layers

    Raises RunError for an unknown kind, or for settings that a kind does not have.
    """
    known = REGISTERED | {kind_name(kind): kind for kind in own}

    def make(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(make(item) for item in value)
        if not isinstance(value, Mapping):
            return value
        name = value.get("kind")
        if not isinstance(name, str) or name not in known:
            raise RunError(
                f"there is no kind {brief(name)}; if it is a class of your own, open the run in Python, with"
                " Run.open(folder, own=[...])"
            )
        settings = EARLIER.get(name, {}) | {key: make(item) for key, item in value.items() if key != "kind"}
        problem = None if name.startswith("own.") else _unfit(known[name], settings)
        try:
            if problem is None:
                return known[name](**settings)
        except TypeError as error:
            problem = str(error)
        raise RunError(f"the settings of {name} don't fit it ({problem})")

    made = make(value)
    if not _is_kept(value, to_json(made)):
        raise RunError("it holds settings in a form that no run is written in")
    return made


def _recorded(kind: Any) -> list[str]:
    """The settings of a kind that a recipe has: all but functions."""
    return [field.name for field in dataclasses.fields(kind) if field.metadata.get("recorded", True)]


LATER = {
    "name",
    "calls",
    "monitor",
    "min_delta",
    "threshold",
    "selection",
    "augment",
    "blocks",
    "devices",
    "compute",
    "ranks",
}
"""Settings that a recipe may lack: a name where there is none, and what older versions lacked."""

EARLIER: dict[str, dict[str, Any]] = {
    "layers.Seasonal": {"scaled": False, "sized": False},
    "losses.GaussianNegativeLogLikelihood": {"floor": 0.0},
}
"""Settings of a kind that older versions lacked, and what these did."""


def _unfit(kind: type, settings: Mapping[str, Any]) -> str | None:
    """How settings differ from those of one of chainrule's own kinds; None if they don't."""
    names, hints = {*_recorded(kind)}, get_type_hints(kind, include_extras=True)
    for key in settings.keys() ^ names:
        if key not in LATER or key not in names:
            return f"{key} is {'unknown' if key in settings else 'missing'}"
    return next(filter(None, (misfit(item, hints[key], key) for key, item in settings.items())), None)


def _is_kept(value: Any, made: Any) -> bool:
    """Whether what was made of a value is written as that value."""
    if isinstance(value, Mapping):
        return isinstance(made, Mapping) and all(k in made and _is_kept(v, made[k]) for k, v in value.items())
    if isinstance(value, list):
        return isinstance(made, list) and len(value) == len(made) and all(map(_is_kept, value, made))
    return type(value) is type(made) and value == made
