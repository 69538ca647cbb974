"""Where training steps run: `numpy` is the definition, `native` the same in compiled kernels, `jax`
the same compiled by XLA, on accelerators, too.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import Any

from chainrule.engine.base import Batches, Chunk, Engine, Position, Predictor, Problem, StepRecord, Watched
from chainrule.engine.native import NativeEngine, is_built
from chainrule.engine.numpy import NumpyEngine
from chainrule.engine.together import MOST, Repeated
from chainrule.errors import SettingError, require, require_package, setting, unknown
from chainrule.processes import ALONE, Processes
from chainrule.threads import most_threads

Devices = tuple[str, int]
"""The kind of the devices that the JAX engine computes on, such as "cpu", and their number."""


ENGINES = ("native", "numpy", "jax")


def make_engine(
    name: str | None, problem: Problem, threads: int | None = None, devices: Devices | None = None,
    compute: str | None = None, world: Processes = ALONE, ranks: int = 1,
) -> Engine:  # fmt: skip
    """The engine of this name for a problem; by default the fastest one available on processors.

    Args:
        name: of the engine. Where it is not installed another one stands in for it, and says so:
            the results are the same up to rounding
        problem: what is trained
        threads: the most threads of the native engine; NumPy and JAX have settings of their own
        devices: what the JAX engine computes on; by default one device
        compute: the dtype of the JAX engine's products; by default that of the weights
        world: the processes that take each step together, each on its share of the mini-batch
        ranks: how many processes took the steps that one process repeats, to the same bits

    Raises SettingError for an unknown name.
    """
    most_threads(threads)
    chosen = engine_name(name)
    if chosen == "native":
        engine = NativeEngine(problem, threads, world=world)
        if 1 < ranks <= MOST and world.count == 1:
            return Repeated(engine, ranks, lambda world: NativeEngine(problem, 1, world=world))
        return engine
    if chosen == "jax":
        from chainrule.engine.jax import JaxEngine  # which imports JAX

        return JaxEngine(problem, devices, compute, world)
    if world.count > 1:
        raise SettingError("the engine numpy trains in one process; several take the native engine, or JAX's")
    return NumpyEngine(problem)


def engine_name(name: str | None) -> str:
    """The name of the engine that is used on this machine."""
    if name is not None and name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name == "jax":
        if has_jax():
            return name
        _warn(WITHOUT_JAX)
    if name == "numpy" or is_built():
        return "numpy" if name == "numpy" else "native"
    _warn(WITHOUT_NATIVE)
    return "numpy"


def require_engine(name: str | None) -> str:
    """The name of the engine for a new training; raises SettingError for one that is named but not
    installed, or can't be imported.
    """
    if name == "jax":
        require_package("jax", "jax", "engine='jax'")
        try:
            importlib.import_module("jax")
        except (ImportError, ValueError, RuntimeError) as error:  # as for a JAX_ENABLE_X64 that it can't read
            raise SettingError(f"JAX can't be imported: {' '.join(str(error).split())}") from None
    chosen = engine_name(name)
    missing, compiler = f"the engine {name} was not built when chainrule was installed", "a C++ compiler (GCC or Clang)"
    require(name in (None, chosen), f"{missing}; reinstall it where there is {compiler}, or don't choose an engine")
    return chosen


def precision(engine: str, dtype: str, devices: int | None) -> dict[str, Any]:
    """What a plan records of this precision and number of devices: the dtype of the weights, and
    `devices` and `compute` of make_engine.

    Raises SettingError for what another engine than JAX can't do, or if there are not so many
    devices.
    """
    if engine == "jax":
        from chainrule.engine.jax.placement import available

        weights, compute = ("float32", HALF) if dtype == HALF else (dtype, None)
        return {"dtype": weights, "devices": available(devices), "compute": compute}
    rule = "choose {}, or leave it out".format(setting("engine", "jax"))
    require(dtype != HALF, f"{setting('dtype', HALF)} is for the engine jax; {rule}")
    require(devices is None, f"{setting('devices', devices)} is for the engine jax; {rule}")
    return {"dtype": dtype, "devices": None, "compute": None}


HALF = "bfloat16"
"""The precision with products in bfloat16 and weights in float32."""

WITHOUT_NATIVE = (
    "chainrule trains with NumPy, which is slower: its native engine was not built when it was installed. Install it"
    " again where there is a C++ compiler: GCC or Clang (Debian: apt install g++; macOS: xcode-select)."
)
WITHOUT_JAX = (
    "this was trained by the engine jax, and JAX is not installed: another engine stands in for it, with the same"
    " results up to rounding. For the same bits: pip install 'chainrule[jax]'"
)


def has_jax() -> bool:
    """Whether JAX is installed."""
    return importlib.util.find_spec("jax") is not None


@cache
def _warn(message: str) -> None:
    """Say something once."""
    logging.getLogger("chainrule").warning(message)


__all__ = [
    "Batches", "Chunk", "Devices", "Engine", "Position", "Predictor", "Problem", "StepRecord", "Watched", "engine_name",
    "make_engine", "precision", "require_engine",
]  # fmt: skip
