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
    from safetensors.numpy import save

    position, best = progress.position, progress.best
    arrays: dict[str, Array] = {"parameters": position.parameters, "statistics": position.statistics}
    for k, state in enumerate(position.states):
        arrays |= {f"optimizer.{k}.{name}": array for name, array in state.items()}
    arrays["progress"] = np.array([position.step, progress.seen, progress.waited], dtype=np.int64)
    arrays["loss_sum"] = np.array([progress.loss_sum])
    if best is not None:
        arrays |= {"best.parameters": best.parameters, "best.statistics": best.statistics}
        arrays |= {"best.loss": np.array([best.loss]), "best.epoch": np.array([best.epoch])}
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def from_bytes(content: bytes, history: Any, plan: Plan) -> Progress:
    """The reverse; raises RunError where it does not fit the plan."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        step, seen, waited = (int(number) for number in arrays["progress"])
        states: list[dict[str, Array]] = [{} for _ in plan.optimizer.stages]
        for name, array in arrays.items():
            if name.startswith("optimizer."):
                _, k, key = name.split(".", 2)
                states[int(k)][key] = array
        position = Position(step, arrays["parameters"], arrays["statistics"], tuple(states))
        best = None
        if "best.loss" in arrays:
            loss, epoch = float(arrays["best.loss"][0]), int(arrays["best.epoch"][0])
            best = Best(loss, epoch, arrays["best.parameters"], arrays["best.statistics"])
        progress = Progress(position, tuple(dict(r) for r in history), float(arrays["loss_sum"][0]), seen, best, waited)
    except (SafetensorError, KeyError, ValueError, IndexError, TypeError) as error:
        raise RunError(f"the run's state can't be read ({error}); it was altered or cut") from None
    for array, layout in (
        (position.parameters, plan.network.parameters),
        (position.statistics, plan.network.statistics),
    ):
        if array.shape != (layout.size,):
            raise RunError(
                f"the run's state has {array.size} numbers where the network takes {layout.size}; it was altered"
            )
    return progress
