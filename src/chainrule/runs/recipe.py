"""A plan as JSON, and back.

An object is written as its kind and its settings; reading constructs known kinds only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from chainrule import descent, distributions, layers, losses, network, training  # noqa: F401  (their kinds register)
from chainrule.errors import RunError
from chainrule.kinds import REGISTERED, kind_name


def to_json(value: Any) -> Any:
    """A plan, or a part of it, as JSON values; raises RunError for what JSON can't hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        settings = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
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
        if name not in known:
            raise RunError(
                f"there is no kind {name!r}; if it is a class of your own, open the run in Python, with"
                " Run.open(folder, own=[...])"
            )
        try:
            return known[name](**{key: make(item) for key, item in value.items() if key != "kind"})
        except TypeError as error:
            raise RunError(f"the settings of {name} don't fit it ({error})") from None

    return make(value)
