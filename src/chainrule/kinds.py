"""Kinds: classes of settings that a text can name and a recipe can store.

A layer, a loss, a stage or a distribution is a dataclass of settings. chainrule's own classes
register themselves here when they are defined, so that a recipe can name them ("layers.Dense").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

K = TypeVar("K")
F = TypeVar("F", bound=Callable[..., Any])

REGISTERED: dict[str, type] = {}
"""chainrule's own kinds by the names that recipes use."""


class Kind:
    """A class of settings; its subclasses register themselves."""

    notation: ClassVar[str | None] = None
    """Its name in a text, if it has one."""

    def __init_subclass__(cls, register: bool = True, **also: Any) -> None:
        """register=False is for base classes, and for classes that a recipe never holds."""
        super().__init_subclass__(**also)
        if cls.__module__.startswith("chainrule.") and register:
            REGISTERED[kind_name(cls)] = cls


def kind_name(cls: type) -> str:
    """The room and the name, as in "layers.Dense"; "own.Name" for a class outside chainrule."""
    package, _, rest = cls.__module__.partition(".")
    room = rest.partition(".")[0] if package == "chainrule" else "own"
    return f"{room}.{cls.__name__}"


def named(base: type[K]) -> dict[str, Any]:
    """chainrule's own kinds that derive from this class and have a notation, by it."""
    return {cls.notation: cls for cls in kinds_of(base) if cls.notation is not None}  # type: ignore[attr-defined]


class Named(dict[str, Callable[..., Any]]):
    """Functions that return kinds, by name; used as a decorator, it adds one."""

    def __call__(self, function: F) -> F:
        self[function.__name__] = function
        return function


def kinds_of(base: type[K]) -> list[type[K]]:
    """chainrule's own kinds that derive from this class."""
    return [cls for cls in REGISTERED.values() if issubclass(cls, base) and cls is not base]


def described(value: Any) -> str:
    """A kind in a few words: its class, and the settings that differ from their defaults.

    Examples:
        >>> from chainrule.losses import Huber
        >>> described(Huber()), described(Huber(0.5))
        ('Huber', 'Huber(delta=0.5)')
    """
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(described, value))}]"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return repr(value)
    given = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if not _is_default(value, f))
    settings = ", ".join(f"{name}={described(setting)}" for name, setting in given)
    return f"{type(value).__name__}({settings})" if settings else type(value).__name__


def _is_default(value: Any, setting: dataclasses.Field[Any]) -> bool:
    factory = setting.default_factory
    default = setting.default if factory is dataclasses.MISSING else factory()
    return bool(getattr(value, setting.name) == default)
