"""The base class of composites that create their layers from settings."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.errors import is_integer, is_number, require
from chainrule.layers.graph import Composite


@dataclass(frozen=True)
class Block(Composite, register=False):
    """A composite that creates its layers from settings, so that a text can name it."""

    in_text = True

    def require_integers(self, *names: str) -> None:
        """Raise SettingError unless these settings are integers above 0."""
        for name in names:
            value = getattr(self, name)
            require(is_integer(value) and value > 0, f"{self.word}: {name} is {value!r}; it takes an integer above 0")

    def require_booleans(self, *names: str) -> None:
        """Raise SettingError unless these settings are True or False."""
        for name in names:
            value = getattr(self, name)
            require(isinstance(value, bool), f"{self.word}: {name} is {value!r}; it is True or False")

    def require_rate(self) -> None:
        """Raise SettingError unless the rate of dropout is one."""
        rate = getattr(self, "dropout", 0)
        fits = is_number(rate, least=0, below=1)
        require(fits, f"{self.word}: dropout is {rate!r}; it must be at least 0 and less than 1")
