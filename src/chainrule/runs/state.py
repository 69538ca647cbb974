"""Where training stands, as one safetensors file of a few vectors and one JSON file of the history."""

from __future__ import annotations

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


def position_from_bytes(content: bytes, plan: Plan) -> Position:
    """The reverse; raises RunError where it does not fit the plan."""
    arrays = _loaded(content)
    return _position(arrays, int(arrays["step"][0]), plan)


def _position_arrays(position: Position) -> dict[str, Array]:
    arrays: dict[str, Array] = {"parameters": position.parameters, "statistics": position.statistics}
    for k, state in enumerate(position.states):
        arrays |= {f"optimizer.{k}.{name}": array for name, array in state.items()}
    return arrays


def _saved(arrays: dict[str, Array]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def _loaded(content: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except SafetensorError as error:
        raise _altered(error) from None


def _altered(error: Exception) -> RunError:
    return RunError(f"the run's state can't be read ({error}); it was altered or cut")


def _position(arrays: dict[str, Array], step: int, plan: Plan) -> Position:
    states: list[dict[str, Array]] = [{} for _ in plan.optimizer.stages]
    try:
        for name, array in arrays.items():
            if name.startswith("optimizer."):
                _, k, key = name.split(".", 2)
                states[int(k)][key] = array
        position = Position(step, arrays["parameters"], arrays["statistics"], tuple(states))
    except (KeyError, ValueError, IndexError) as error:
        raise _altered(error) from None
    layouts = ((position.parameters, plan.network.parameters), (position.statistics, plan.network.statistics))
    for array, layout in layouts:
        if array.shape != (layout.size,):
            raise RunError(
                f"the run's state has {array.size} numbers where the network takes {layout.size}; it was altered"
            )
    for state, fresh in zip(states, plan.optimizer.start(position.parameters, plan.network.parameters), strict=True):
        if {name: a.shape for name, a in state.items()} != {name: a.shape for name, a in fresh.items()}:
            raise RunError("the run's state does not fit its optimizer; it was altered, or written by another version")
    return position


def from_bytes(content: bytes, history: Any, plan: Plan) -> Progress:
    """What `to_bytes` kept; raises RunError where it does not fit the plan."""
    arrays = _loaded(content)
    try:
        step, seen, waited = (int(number) for number in arrays["progress"])
        position, best = _position(arrays, step, plan), None
        if "best.loss" in arrays:
            loss, epoch = float(arrays["best.loss"][0]), int(arrays["best.epoch"][0])
            best = Best(loss, epoch, arrays["best.parameters"], arrays["best.statistics"])
        records = tuple(dict(record) for record in history)
        return Progress(position, records, float(arrays["loss_sum"][0]), seen, best, waited)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise _altered(error) from None
