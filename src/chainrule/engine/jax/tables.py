"""The table of all operations, which the modules here fill."""

from __future__ import annotations

from chainrule.engine.jax import by_definition, elementwise, linear, normalization, recurrence, sequences, windows
from chainrule.engine.jax.operations import OPERATIONS

MODULES = (by_definition, elementwise, linear, normalization, recurrence, sequences, windows)
"""The modules that register operations."""

__all__ = ["MODULES", "OPERATIONS"]
