"""The state of a training: a safetensors file of a few vectors and a JSON file of its history.

Files are not trusted: they must hold exactly the plan's arrays, with the right shapes and types,
and numbers that a training can lead to.
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
    """Weights, running statistics, optimizer state and the best weights so far, bit for bit."""
    return _save(_progress_arrays(progress))


def position_to_bytes(position: Position) -> bytes:
    """A position without the rest of the progress."""
    return _save(_checkpoint_arrays(position))


def position_from_bytes(content: bytes, plan: Plan, name: str = "the run's checkpoint") -> Position:
    """The inverse; raises RunError, which starts with `name`, for what does not fit the plan."""
    arrays = _load(content, name)
    _check(arrays, _checkpoint_arrays(_first(plan)), name)
    return _position(arrays, int(arrays["step"][0]), plan, name)


def from_bytes(content: bytes, history: Any, plan: Plan, name: str = "the run's state") -> Progress:
    """The inverse of `to_bytes`; raises RunError, which starts with `name`, for what does not
    fit.
    """
    arrays, first, best = _load(content, name), _first(plan), None
    if "best.loss" in arrays and "best.value" not in arrays:  # as earlier versions called what they watched
        arrays["best.value"] = arrays.pop("best.loss")
    if any(key.startswith("best.") for key in arrays):
        best = Best(0.0, 0, first.parameters, first.statistics)
    _check(arrays, _progress_arrays(Progress(first, best=best)), name)
    step, seen, waited = arrays["progress"].tolist()
    position = _position(arrays, step, plan, name)
    try:
        records = tuple(dict(record) for record in history)
    except (TypeError, ValueError) as error:
        raise _altered(name, f"its history can't be read ({error})") from None
    if best is not None:
        epoch = int(arrays["best.epoch"][0])
        if not 1 <= epoch <= len(records):
            raise _altered(name, f"best.epoch is {epoch}, but the run has {len(records)} epochs")
        best = Best(float(arrays["best.value"][0]), epoch, arrays["best.parameters"], arrays["best.statistics"])
    return Progress(position, records, float(arrays["loss_sum"][0]), seen, best, waited)


def _position_arrays(position: Position) -> dict[str, Array]:
    arrays: dict[str, Array] = {"parameters": position.parameters, "statistics": position.statistics}
    for k, state in enumerate(position.states):
        arrays |= {f"optimizer.{k}.{name}": array for name, array in state.items()}
    return arrays


def _checkpoint_arrays(position: Position) -> dict[str, Array]:
    return _position_arrays(position) | {"step": np.array([position.step], dtype=np.int64)}


def _progress_arrays(progress: Progress) -> dict[str, Array]:
    position, best = progress.position, progress.best
    arrays = _position_arrays(position)
    arrays["progress"] = np.array([position.step, progress.seen, progress.waited], dtype=np.int64)
    arrays["loss_sum"] = np.array([progress.loss_sum])
    if best is not None:
        arrays |= {"best.parameters": best.parameters, "best.statistics": best.statistics}
        arrays |= {"best.value": np.array([best.value]), "best.epoch": np.array([best.epoch])}
    return arrays


def _first(plan: Plan) -> Position:
    """A position before the first step of a plan, for the shapes and types of its arrays."""
    parameters = np.zeros(plan.network.parameters.size, dtype=plan.network.dtype)
    states = plan.optimizer.start(parameters, plan.network.parameters)
    return Position(0, parameters, plan.network.start_statistics(), states)


def _save(arrays: dict[str, Array]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def _load(content: bytes, name: str) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:  # also types NumPy lacks
        raise RunError(f"{name}: it can't be read ({error}); it was altered or cut") from None


def _altered(name: str, reason: str) -> RunError:
    return RunError(f"{name}: {reason}; it was altered, or written by another version")


def _check(arrays: dict[str, Array], expected: dict[str, Array], name: str) -> None:
    """Raise RunError unless names, shapes and types are as expected and the numbers possible."""
    for key in expected | arrays:
        misfit = f"it does not fit its {'optimizer' if key.startswith('optimizer.') else 'network'}: the array {key}"
        if key not in arrays or key not in expected:
            raise _altered(name, f"{misfit} is {'missing' if key not in arrays else 'unknown'}")
        array, first = arrays[key], expected[key]
        if (array.shape, array.dtype) != (first.shape, first.dtype):
            types = f"{array.dtype} of shape {array.shape} instead of {first.dtype} of shape {first.shape}"
            raise _altered(name, f"{misfit} is {types}")
        _check_numbers(key, array, first, name)


def _check_numbers(key: str, array: Array, first: Array, name: str) -> None:
    """Counts never fall below where they start. Weights are finite. What an optimizer or a layer
    accumulates, such as a mean of squares, may overflow to infinity but is never NaN.
    """
    if array.dtype.kind == "i":
        if (array < np.minimum(first, 0)).any():
            raise _altered(name, f"the array {key} has a count below its first")
        return
    may_be_infinite = key.startswith(("optimizer.", "statistics", "best.statistics", "best.value"))
    invalid = ~(array > -np.inf) if may_be_infinite else ~np.isfinite(array)
    if invalid.any():
        raise _altered(name, f"the array {key} has a number that is not finite ({array[invalid][0]})")


def _check_variances(arrays: Mapping[str, Array], plan: Plan, name: str) -> None:
    """Raise RunError for a running variance below 0, of which there is no root."""
    for key in ("statistics", "best.statistics"):
        for entry in plan.network.statistics.entries if key in arrays else ():
            if entry.own_name == "variance" and (arrays[key][entry.place] < 0).any():
                raise _altered(name, f"the array {key} has a variance below 0, in {entry.name}")


def _position(arrays: Mapping[str, Array], step: int, plan: Plan, name: str) -> Position:
    """The position in checked arrays; raises RunError for counts beyond its step."""
    states: list[dict[str, Array]] = [{} for _ in plan.optimizer.stages]
    for key, array in arrays.items():
        if key.startswith("optimizer."):
            _, k, own_key = key.split(".", 2)
            states[int(k)][own_key] = array
            if array.dtype.kind == "i" and (array > step).any():
                raise _altered(name, f"the array {key} counts more than the run's {step} steps")
    _check_variances(arrays, plan, name)
    return Position(step, arrays["parameters"], arrays["statistics"], tuple(states))
