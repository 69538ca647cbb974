"""Where a training step runs: `numpy` is the definition; `native` means the same, by compiled kernels."""

from __future__ import annotations

import logging
from functools import cache

from chainrule.engine.base import Batches, Chunk, Engine, Position, Problem, StepRecord
from chainrule.engine.native import NativeEngine, is_built
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import unknown

ENGINES: dict[str, type[NumpyEngine] | type[NativeEngine]] = {"numpy": NumpyEngine, "native": NativeEngine}


def make_engine(name: str | None, problem: Problem) -> Engine:
    """The engine of this name for this work; without a name the fastest that there is.

    Where the native engine was not built, the definition stands in for it: it means the same, to rounding. Raises
    SettingError for a name that doesn't exist.
    """
    return ENGINES[engine_name(name)](problem)


def engine_name(name: str | None) -> str:
    """The name of the engine that is taken on this machine."""
    if name is not None and name not in ENGINES:
        raise unknown("make_engine", name, ENGINES)
    if name == "numpy" or is_built():
        return name or "native"
    _say_how_to_build()
    return "numpy"


@cache
def _say_how_to_build() -> None:
    """Once: how to get the fast engine."""
    logging.getLogger("chainrule").warning(
        "chainrule trains with NumPy, which is slower: its native engine was not built when it was installed. Install"
        " it again where there is a C++ compiler: GCC or Clang (Debian: apt install g++; macOS: xcode-select)."
    )


__all__ = ["Batches", "Chunk", "Engine", "Position", "Problem", "StepRecord", "engine_name", "make_engine"]
