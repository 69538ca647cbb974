"""Where training steps run: `numpy` is the definition, `native` the same in compiled kernels."""

from __future__ import annotations

import logging
from functools import cache

from chainrule.engine.base import Batches, Chunk, Engine, Position, Predictor, Problem, StepRecord, Watched
from chainrule.engine.native import NativeEngine, is_built
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError, unknown
from chainrule.processes import ALONE, Processes
from chainrule.threads import most_threads

ENGINES: dict[str, type[NumpyEngine] | type[NativeEngine]] = {"numpy": NumpyEngine, "native": NativeEngine}


def make_engine(name: str | None, problem: Problem, threads: int | None = None, world: Processes = ALONE) -> Engine:
    """The engine of this name for a problem; by default the fastest one available. It takes steps
    together with the other processes of `world`.

    It uses at most so many threads, if it is native; NumPy has settings of its own.

    If the native engine was not built, NumPy's stands in for it: the results are the same up to
    rounding. Raises SettingError for an unknown name.
    """
    most_threads(threads)
    if engine_name(name) == "native":
        return NativeEngine(problem, threads, world=world)
    if world.count > 1:
        raise SettingError("NumPy's engine trains in one process; several ranks take the native engine")
    return NumpyEngine(problem)


def engine_name(name: str | None) -> str:
    """The name of the engine that is used on this machine."""
    if name is not None and name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name == "numpy" or is_built():
        return name or "native"
    _warn_not_built()
    return "numpy"


WITHOUT_NATIVE = (
    "chainrule trains with NumPy, which is slower: its native engine was not built when it was installed. Install it"
    " again where there is a C++ compiler: GCC or Clang (Debian: apt install g++; macOS: xcode-select)."
)


@cache
def _warn_not_built() -> None:
    """Explain, once, how to get the native engine."""
    logging.getLogger("chainrule").warning(WITHOUT_NATIVE)


__all__ = [
    "Batches", "Chunk", "Engine", "Position", "Predictor", "Problem", "StepRecord", "Watched", "engine_name",
    "make_engine",
]  # fmt: skip
