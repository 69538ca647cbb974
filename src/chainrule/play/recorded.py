"""A recorded run as a whole: its history, the path it took, and what any weight did in it.

Reading a run takes as long as its training took, in the worst case, so it happens in a thread of
its own.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.explain.surface import Surface, surface_of
from chainrule.play.so_far import history
from chainrule.play.surface import Path
from chainrule.play.trainer import SHOWN
from chainrule.runs import Run

MOST_STEPS, MOST_BYTES = 400, 64_000_000
"""The maximum number of steps that are read, and of bytes that their vectors take."""
MOST_EPOCHS = 1000
"""The maximum number of epochs in the curves."""
GRID, COARSE = 31, 11
"""Grid points per side of the run's loss surface: as in `chainrule descend`; of a large network's.
"""
AFFORDED, FEWEST = 1e11, 32
"""About how many multiply-adds the loss surface may take, and the fewest predictions it is measured
on, of which a sequence may have many: that of a large network is coarser, and is measured on fewer
samples than SHOWN, as everything waits for it.
"""


@dataclass(frozen=True)
class Reading:
    """What a run's steps were.

    Attributes:
        steps: (steps,) the numbers of the steps that were read
        weights, gradients, updates: (steps, weights) the weights before each of them, the gradient
            of its mini-batch, and what it subtracted
        path: the path through them, with the weights after the last
        surface: the loss surface around it
    """

    steps: Array
    weights: Array
    gradients: Array
    updates: Array
    path: Path
    surface: Surface


class Recorded:
    """A recorded run that is being read.

    Args:
        run: the run
        data: its data
        done: called from another thread once the run is read, or can't be

    Attributes:
        run: the run
        reading: what was read; None before that is complete
        problem: why the run can't be read; empty if it can
    """

    def __init__(self, run: Run, data: Dataset, done: Callable[[], object]) -> None:
        self.run, self._data, self._done = run, data, done
        self.reading: Reading | None = None
        self.problem = ""
        self._closed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()

    def _read(self) -> None:
        try:
            self.reading = self._all()
        except ChainruleError as error:
            self.problem = str(error)
        except Exception:  # a bug must not go unnoticed
            logging.getLogger(__name__).exception("a recorded run can't be read")
            self.problem = "chainrule itself failed; see the terminal for details"
        if not self._closed.is_set():
            self._done()

    def _all(self) -> Reading | None:
        """Read the steps; None if the page was closed meanwhile, or there are no steps."""
        run, plan = self.run, self.run.trained.plan
        most = max(20, min(MOST_STEPS, MOST_BYTES // (12 * plan.network.parameters.size)))
        steps, vectors = [], []
        last = None
        for last in run.each(_thinned(run.steps_along(most), most), self._data):
            if self._closed.is_set():
                return None
            steps.append(last.before.step)
            vectors.append((last.before.parameters, last.gradient, last.update))
        if last is None:
            return None
        weights, gradients, updates = (np.array(vector) for vector in zip(*vectors, strict=True))
        points = np.vstack([weights, last.after.parameters]).astype(np.float64)
        path = Path(str(run.folder.name), np.array([*steps, last.after.step]), points).thinned()
        cost = sum(node.layer.cost(node.built) for node in plan.network.nodes)
        fewest = math.ceil(FEWEST / math.prod(self._data.target.positions))
        grid = GRID if fewest * cost * GRID**2 <= AFFORDED else COARSE
        samples = self._data.training.thinned(int(np.clip(AFFORDED / (cost * grid**2), fewest, SHOWN)))
        surface = surface_of(plan, samples, path.steps, path.points, grid=grid)
        return Reading(np.array(steps), weights, gradients, updates, path, surface)

    def curves(self) -> dict[str, Any]:
        """The message with the recorded losses and, once the run is read, sizes of gradients."""
        history, plan = self.run.trained.history, self.run.trained.plan
        length = plan.steps_per_epoch(len(self._data.training.x))
        names = {"loss": "training loss, mean over each epoch", "validation_loss": "validation loss"}
        shown = history[:: max(1, len(history) // MOST_EPOCHS)]
        curves = [
            {"name": words, "points": [[int(epoch["epoch"]) * length, epoch[key]] for epoch in shown]}
            for key, words in names.items() if shown and key in shown[0]
        ]  # fmt: skip
        return {"type": "recorded", "curves": curves, "sizes": self._sizes()}

    def _sizes(self) -> list[dict[str, Any]]:
        """The root mean square of the gradient of each array of weights over the steps."""
        reading = self.reading
        if reading is None:
            return []
        entries = [entry for entry in self.run.trained.plan.network.parameters.entries if entry.name.endswith(".W")]
        sizes = [np.sqrt(np.mean(np.square(reading.gradients[:, e.place], dtype=float), axis=1)) for e in entries]
        return [
            {"name": entry.name, "points": np.column_stack([reading.steps, size]).tolist()}
            for entry, size in zip(entries, sizes, strict=True)
        ]

    def weight(self, name: str) -> dict[str, Any] | None:
        """The message with one weight through all steps that were read; None before that."""
        reading, count = self.reading, self.run.manifest["steps"]
        if reading is None:
            return None
        place = self.run.trained.plan.network.parameters.find(name)
        read = len(reading.steps)
        which = f"all {count:,} steps" if read == count else f"{read:,} of the run's {count:,} steps"
        columns = [reading.weights[:, place], reading.gradients[:, place], -reading.updates[:, place]]
        return history(name, reading.steps.tolist(), columns, f"{name} in {which}")


def _thinned(steps: list[int], most: int) -> list[int]:
    """At most this many of the steps, with the first and the last."""
    return sorted({steps[round(k)] for k in np.linspace(0, len(steps) - 1, most)}) if steps else steps
