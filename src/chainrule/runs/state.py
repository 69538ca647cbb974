"""Where training stands, as one safetensors file of a few vectors and one JSON file of the history.

A file is read with suspicion: it must hold the arrays of the plan, each of its shape and type, and
numbers that a training can lead to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.engine import Position
from chainrule.errors import RunError
from chainrule.training import Plan, Progress
from chainrule.training.loop import Best


def to_bytes(progress: Progress) -> bytes:
    """Weights, statistics, optimizer state and the best weights so far; exact to the bit."""
    position, best = progress.position, progress.best
    arrays = _position_arrays(position)
    arrays["progress"] = np.array([position.step, progress.seen, progress.waited], dtype=np.int64)
    arrays["loss_sum"] = np.array([progress.loss_sum])
    if best is not None:
        arrays |= {"best.parameters": best.parameters, "best.statistics": best.statistics}
        arrays |= {"best.loss": np.array([best.loss]), "best.epoch": np.array([best.epoch])}
    return _saved(arrays)


def position_to_bytes(position: Position) -> bytes:
    """A position alone."""
    return _saved(_position_arrays(position) | {"step": np.array([position.step], dtype=np.int64)})


def position_from_bytes(content: bytes, plan: Plan, name: str = "the run's frame") -> Position:
    """The reverse; raises RunError, beginning with `name`, where it does not fit the plan."""
    arrays = _loaded(content, name)
    _check(arrays, _expected(plan) | {"step": np.zeros(1, dtype=np.int64)}, name)
    return _position(arrays, int(arrays["step"][0]), plan, name)


def from_bytes(content: bytes, history: Any, plan: Plan, name: str = "the run's state") -> Progress:
    """What `to_bytes` kept; raises RunError, naming `name`, where it does not fit the plan."""
    arrays = _loaded(content, name)
    expected = _expected(plan) | {"progress": np.zeros(3, dtype=np.int64), "loss_sum": np.zeros(1)}
    if any(array.startswith("best.") for array in arrays):
        expected |= {f"best.{vector}": expected[vector] for vector in ("parameters", "statistics")}
        expected |= {"best.loss": np.zeros(1), "best.epoch": np.zeros(1, dtype=np.int64)}
    _check(arrays, expected, name)
    step, seen, waited = (int(number) for number in arrays["progress"])
    position, best = _position(arrays, step, plan, name), None
    try:
        records = tuple(dict(record) for record in history)
    except (TypeError, ValueError) as error:
        raise _altered(name, f"its history can't be read ({error})") from None
    if "best.loss" in arrays:
        loss, epoch = float(arrays["best.loss"][0]), int(arrays["best.epoch"][0])
        if not 1 <= epoch <= len(records):
            raise _altered(name, f"best.epoch is {epoch}, but the run has {len(records)} epochs")
        best = Best(loss, epoch, arrays["best.parameters"], arrays["best.statistics"])
    return Progress(position, records, float(arrays["loss_sum"][0]), seen, best, waited)


def _position_arrays(position: Position) -> dict[str, Array]:
    arrays: dict[str, Array] = {"parameters": position.parameters, "statistics": position.statistics}
    for k, state in enumerate(position.states):
        arrays |= {f"optimizer.{k}.{name}": array for name, array in state.items()}
    return arrays


def _expected(plan: Plan) -> dict[str, Array]:
    """The arrays of a position of this plan, such as they are before the first step."""
    parameters = np.zeros(plan.network.parameters.size, dtype=plan.network.dtype)
    states = plan.optimizer.start(parameters, plan.network.parameters)
    return _position_arrays(Position(0, parameters, plan.network.start_statistics(), states))


def _saved(arrays: dict[str, Array]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def _loaded(content: bytes, name: str) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:  # of types NumPy lacks, too
        raise RunError(f"{name}: it can't be read ({error}); it was altered or cut") from None


def _altered(name: str, what: str) -> RunError:
    return RunError(f"{name}: {what}; it was altered, or written by another version")


def _check(arrays: Mapping[str, Array], expected: Mapping[str, Array], name: str) -> None:
    """Raise RunError unless names, shapes and types are the expected ones, and numbers can be."""
    for array in (*expected, *arrays):
        of = "optimizer" if array.startswith("optimizer.") else "network"
        if array not in arrays or array not in expected:
            what = "is missing" if array not in arrays else "is unknown"
            raise _altered(name, f"it does not fit its {of}: the array {array} {what}")
        found, wanted = arrays[array], expected[array]
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise _altered(
                name,
                f"it does not fit its {of}: the array {array} is {found.dtype} of shape {found.shape} instead of"
                f" {wanted.dtype} of shape {wanted.shape}",
            )
        _check_numbers(array, found, wanted, name)


def _check_numbers(array: str, found: Array, first: Array, name: str) -> None:
    """Counts go on from where they began. Weights are finite; of what an optimizer or a layer
    gathers, such as a mean of squares, a training can come to infinity, but never to NaN.
    """
    if found.dtype.kind == "i":
        if (found < np.minimum(first, 0)).any():
            raise _altered(name, f"the array {array} has a count below its first")
        return
    can_be_infinite = array.startswith(("optimizer.", "statistics", "best.statistics", "best.loss"))
    bad = np.isnan(found) if can_be_infinite else ~np.isfinite(found)
    if bad.any():
        raise _altered(name, f"the array {array} has a number that is not finite ({found[bad][0]})")


def _position(arrays: Mapping[str, Array], step: int, plan: Plan, name: str) -> Position:
    """The position that checked arrays hold; raises RunError for counts beyond its step."""
    states: list[dict[str, Array]] = [{} for _ in plan.optimizer.stages]
    for full, array in arrays.items():
        if full.startswith("optimizer."):
            _, k, key = full.split(".", 2)
            states[int(k)][key] = array
            if array.dtype.kind == "i" and (array > step).any():
                raise _altered(name, f"the array {full} counts more than the run's {step} steps")
    return Position(step, arrays["parameters"], arrays["statistics"], tuple(states))
