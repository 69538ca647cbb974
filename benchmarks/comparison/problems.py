"""The model of every comparison: a classifier with ReLU, softmax cross-entropy, Adam, float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.data import Dataset, from_arrays
from chainrule.layers import Dense
from chainrule.training import Plan, make_plan

RATE = 0.001
NETWORKS = {
    "tiny": ((2, 8, 8, 2), 10, 1000),
    "small": ((30, 64, 32, 2), 32, 400),
    "medium": ((784, 128, 64, 10), 128, 40),
    "large": ((784, 1024, 1024, 10), 256, 6),
}
"""The widths from input to output, the batch size, and the steps per epoch."""


@dataclass(frozen=True)
class Training:
    """What is trained, on what.

    Attributes:
        batch: the batch size
        data: the samples
        plan: chainrule's plan for it
    """

    batch: int
    data: Dataset
    plan: Plan

    @property
    def x(self) -> np.ndarray:
        return np.asarray(self.data.training.x)

    @property
    def y(self) -> np.ndarray:
        return np.asarray(self.data.training.y)

    @property
    def steps(self) -> int:
        return len(self.x) // self.batch

    def order(self, epoch: int) -> np.ndarray:
        """The rows of each mini-batch of an epoch, of shape (steps, batch)."""
        return self.plan.batches(epoch, self.data.training).order.reshape(self.steps, self.batch)


@dataclass(frozen=True)
class Problem(Training):
    """What every library trains.

    Attributes:
        widths: the units of each layer, from input to output
        weights: the initial (W, b) of each layer, W of shape (inputs, units)
    """

    widths: tuple[int, ...]
    weights: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def products(self) -> float:
        """Multiplications and additions of a step's matrix products: one forward and two backward
        per layer, except that the first layer's input needs no derivative.
        """
        each = [a * b for a, b in zip(self.widths, self.widths[1:], strict=False)]
        return 2.0 * self.batch * (3 * sum(each) - each[0])


def problem(widths: tuple[int, ...], batch: int, steps: int) -> Problem:
    """A network of these widths from input to output, and samples for this many steps per epoch."""
    random = np.random.default_rng(0)
    x = random.normal(size=(batch * steps, widths[0])).astype(np.float32)
    y = (x @ random.normal(size=(widths[0], widths[-1]))).argmax(axis=1)
    layers = [Dense(width, activation="relu") for width in widths[1:-1]]
    data = from_arrays(x, y, task="classification")
    plan = make_plan(
        [*layers, Dense(widths[-1])], data, loss="cross_entropy", optimizer=f"adam {RATE}", batch_size=batch,
        epochs=10**6, patience=None,
    )  # fmt: skip
    views = dict(plan.network.parameters.views(plan.network.draw(0)))
    weights = tuple((views[f"dense_{k}.W"].copy(), views[f"dense_{k}.b"].copy()) for k in range(1, len(widths)))
    return Problem(batch, data, plan, widths, weights)
