"""What every log holds: the settings, numbers after each epoch, and the metrics in the end.

A log is a callback. Its steps are epochs, counted from 1, so that a training that is resumed goes
on where it stopped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chainrule.data import Dataset
from chainrule.engine import Chunk, StepRecord
from chainrule.kinds import described
from chainrule.training import Ended, EpochEnded, Event, Plan, Sampled, Started, Stepped
from chainrule.training.catalog import by_default
from chainrule.training.history import HELD_OUT
from chainrule.training.loop import evaluate, final_weights

MOST_NORMS = 100
"""About how often the norms of gradients and updates are logged; each time takes one more step."""
LONGEST = 500
"""Longer settings are cut."""

Setting = str | int | float


class Log:
    """Follows a training and writes its settings and numbers. Subclasses write them somewhere.

    Logged after each epoch: `training/loss`, `validation/loss` and the other metrics of the
    validation set, and `learning_rate`, that of the epoch's first step. About a hundred times:
    `gradient_norm/dense_1.W` and `update_norm/dense_1.W`, the Euclidean norms of each parameter
    array's gradient and update in the epoch's first step (of an epoch in which training was
    interrupted, the first step after that, if there is one). Of a language model also `sample`,
    what it writes after some epochs. In the end: `test/loss`, and every
    metric for the task on the test set.

    Args:
        norms: whether to log the norms, which takes one more training step each time
    """

    def __init__(self, *, norms: bool = True) -> None:
        self._norms = norms
        self._of_epoch: dict[str, float] = {}
        self._epoch = -1

    def __call__(self, event: Event) -> None:
        """Log what an event led to."""
        epoch = event.progress.epoch
        if isinstance(event, Started):
            self.open(event, settings(event.plan, event.data))
        elif isinstance(event, Stepped) and self._epoch != epoch:
            self._epoch, self._of_epoch = epoch, self._first_step(event)
        elif isinstance(event, EpochEnded):
            self.write(epoch, _by_part(event.measured) | self._of_epoch)
        elif isinstance(event, Sampled):
            self.write_text(epoch, event.sample.prompt + event.sample.text)
        elif isinstance(event, Ended):
            tested = {} if event.reason == "diverged" else _tested(event)
            self.end(epoch, tested, event.reason)

    def _first_step(self, event: Stepped) -> dict[str, float]:
        """Numbers of the first step of an epoch."""
        chunk, optimizer = event.chunk, event.plan.problem(len(event.data.training.x)).optimizer
        rate = optimizer.rate(chunk.before.states)
        numbers = {} if rate is None else {"learning_rate": rate}
        if self._norms and event.progress.epoch % max(event.plan.epochs // MOST_NORMS, 1) == 0:
            numbers |= _norms(event.plan, _replayed(chunk))
        return numbers

    def open(self, event: Started, settings: dict[str, Setting]) -> None:
        """Begin the log, or continue it after `event.progress.epoch` epochs."""
        raise NotImplementedError

    def write(self, epoch: int, numbers: dict[str, float]) -> None:
        """Add the numbers of an epoch."""
        raise NotImplementedError

    def write_text(self, epoch: int, text: str) -> None:
        """Add what a language model wrote after an epoch; by default nothing."""

    def end(self, epoch: int, tested: dict[str, float], reason: str) -> None:
        """Add the metrics of the test set, and how training ended."""
        raise NotImplementedError

    def close(self) -> None:
        """End the log; called when training is over, even if it fails."""


def settings(plan: Plan, data: Dataset) -> dict[str, Setting]:
    """The settings of a training by name: those of the plan, and what it is trained on."""
    chosen: dict[str, Setting] = {
        "data": data.name,
        "target": data.target.described,
        "layers": " > ".join(described(replace(node.layer, name=None)) for node in plan.network.graph.distinct),
        "weights": plan.network.parameters.size,
        "loss": described(plan.loss),
        "optimizer": " > ".join(map(described, plan.optimizer.stages)),
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "seed": plan.seed,
        "patience": "none" if plan.patience is None else plan.patience,
        "penalties": ", ".join(map(described, plan.penalties)) or "none",
        "dtype": plan.network.dtype,
        "engine": plan.engine or "fastest",
    }
    chosen |= {f"{part}_samples": count for part, count in data.sizes.items()}
    return {name: _cut(value) if isinstance(value, str) else value for name, value in chosen.items()}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def _by_part(measured: dict[str, float]) -> dict[str, float]:
    """The measurements after an epoch as part/metric."""
    return {
        f"validation/{name.removeprefix(HELD_OUT)}" if name.startswith(HELD_OUT) else f"training/{name}": value
        for name, value in measured.items()
        if name != "epoch"
    }


def _replayed(chunk: Chunk) -> StepRecord:
    """The first of these steps, with its gradient and update."""
    return next(iter(chunk.replay(chunk.before, chunk.batches.cut(0, 1))))


def _norms(plan: Plan, record: StepRecord) -> dict[str, float]:
    layout = plan.network.parameters
    vectors = {"gradient_norm": record.gradient, "update_norm": record.update}
    return {
        f"{what}/{name}": float(np.linalg.norm(array.astype(np.float64)))
        for what, vector in vectors.items()
        for name, array in layout.views(vector)
    }


def _tested(event: Ended) -> dict[str, float]:
    """The loss and every metric on the test set, with the weights that training returns."""
    plan, data = event.plan, event.data
    if data.test is None:
        return {}
    weights = final_weights(plan, event.progress)
    metrics = dict.fromkeys((*by_default(data.target), *plan.metrics))
    measured = evaluate(plan, data.target, data.test, *weights, tuple(metrics), threshold=event.threshold)
    return {f"test/{name}": value for name, value in measured.items()}
