"""Where a training step runs: `numpy` is the definition; a faster engine means the same."""

from __future__ import annotations

from chainrule.engine.base import Done, Engine, Position, Work
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import unknown

ENGINES = {"numpy": NumpyEngine}


def engine(name: str | None, work: Work) -> Engine:
    """The engine of this name for this work; without a name the one that suits it."""
    if name is not None and name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name or "numpy"](work)


__all__ = ["Done", "Engine", "Position", "Work", "engine"]
