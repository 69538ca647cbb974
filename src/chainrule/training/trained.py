"""Training in one call, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Dataset, Preparation, Prepared, Samples, Target, find, find_samples, load, prepare
from chainrule.descent import Optimizer
from chainrule.engine import Chunk, StepRecord, make_engine
from chainrule.errors import DataError, unknown
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.training import loop
from chainrule.training import metrics as measures
from chainrule.training.class_weights import ClassWeight
from chainrule.training.loop import History, Listener, Progress
from chainrule.training.plan import AUTO, Plan, make_plan

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class HeldOut:
    """Predictions for samples that were held out.

    Attributes:
        rows: (samples,) their numbers in what was read, counted from 1; None if that isn't known
        targets: (samples,) the classes by name, or quantities in their own units; (samples,
            columns) if there are several
        predictions: the same, as they were predicted
        probabilities: (samples, classes) of each class; None for quantities, or where the loss
            speaks of none
    """

    rows: Array | None
    targets: Array
    predictions: Array
    probabilities: Array | None


@dataclass(frozen=True)
class Trained:
    """A network that was trained, with all that belongs to it.

    Attributes:
        plan: what was trained, and how
        target, preparation: what its numbers mean, and how samples become numbers
        parameters, statistics: the weights that training gave back
        progress: where training ended; it can go on from there
        data: what it was trained on; None if it was read from a run
        reason: why it ended: "complete", "early", "interrupted" or "diverged"
        span: the last steps that were taken, unless training was broken off
    """

    plan: Plan
    target: Target
    preparation: Preparation | None
    parameters: Vector
    statistics: Vector
    progress: Progress
    data: Dataset | None = None
    reason: str = "complete"
    chunk: Chunk | None = field(default=None, repr=False)

    @property
    def last(self) -> StepRecord | None:
        """The last step that was taken, with its gradient and update."""
        return None if self.chunk is None else self.chunk.last

    @property
    def history(self) -> History:
        """What was measured after each epoch."""
        return self.progress.history

    def raw(self, x: Any) -> Array:
        """The network's output for samples in any form that `find_samples` takes.

        A part of a Dataset, and its array `x`, are prepared already and taken as they are.
        """
        x = np.asarray(self._prepared(x))
        return make_engine(self.plan.engine, self.plan.problem(1)).predict(self.parameters, x, self.statistics)

    def _prepared(self, x: Any) -> Array:
        if isinstance(x, Samples):
            return x.x
        if self.preparation is None or isinstance(x, Prepared):
            return np.asarray(x)
        return self.preparation.apply(find_samples(x))

    def predict(self, x: Any) -> Array:
        """(samples,) the predicted classes by name, or quantities in their own units; (samples, columns) if there are
        several.
        """
        return self.decoded(self.raw(x))

    def probabilities(self, x: Any) -> Array | None:
        """(samples, classes) the probability of each class; None where the loss speaks of none."""
        return self.plan.loss.probabilities(self.raw(x))

    def decoded(self, prediction: Array) -> Array:
        """The network's output as predictions for people."""
        if self.target.task == "classification":
            return self.target.decode(self.plan.loss.classes(prediction))
        values = self.target.decode(self.plan.loss.point(prediction))
        return values[:, 0] if values.shape[1] == 1 else values

    def held_out(self, part: str = "test", data: Dataset | None = None) -> HeldOut:
        """Predictions for the "test" or "validation" part, with rows and targets.

        `data` is what it was trained on, if it was read from a run: `run.trained.held_out("test",
        run.load_data())`.

        Examples:
            >>> trained = train("8 tanh", "iris", epochs=20)
            >>> held = trained.held_out("test")
            >>> held.rows[:3].tolist(), held.targets[:3].tolist()
            ([4, 6, 8], ['setosa', 'setosa', 'setosa'])
            >>> bool((held.predictions == held.targets).mean() == trained.evaluate()["accuracy"])
            True
        """
        if part not in HELD_OUT:
            raise unknown("held-out part", part, HELD_OUT)
        data = self.data if data is None else data
        samples = None if data is None else getattr(data, part)
        if data is None or samples is None:
            missing = "the data is not at hand; give it" if data is None else f"there is no {part} part"
            raise DataError(f"no predictions for what was held out: {missing}")
        raw = self.raw(samples)
        rows = getattr(data, f"{part}_rows")
        return HeldOut(
            None if rows is None else rows + 1,
            self._targets(data, np.asarray(samples.y), rows),
            self.decoded(raw),
            self.plan.loss.probabilities(raw) if self.target.task == "classification" else None,
        )

    def _targets(self, data: Dataset, y: Array, rows: Array | None) -> Array:
        """What was to be predicted, as it was read; decoded where that isn't known."""
        if self.target.task == "classification":
            return self.target.decode(y if y.ndim == 1 else y.argmax(axis=1))
        read = None if rows is None or data.source is None else data.source.target
        values = self.target.decode(y.reshape(len(y), -1)) if read is None else read[rows].astype(np.float64)
        return values.reshape(len(y)) if values.size == len(y) else values

    def evaluate(self, what: Any = None) -> dict[str, float]:
        """The loss and every metric: of the part that was held out for testing, or of data in any form that `find`
        takes, or of a part of a Dataset.
        """
        if what is not None:
            part = self._part(what)
        elif self.data is not None and self.data.test is not None:
            part = self.data.test
        else:
            raise DataError("no part was held out to test on; give the data to evaluate on")
        chosen = measures.names(self.target.task)
        return loop.evaluate(self.plan, self.target, part, self.parameters, self.statistics, chosen)

    def _part(self, what: Any) -> Samples:
        if isinstance(what, Samples):
            return what
        if self.preparation is None:
            x, y = what
            return Samples(np.asarray(x), np.asarray(y))
        if isinstance(what, tuple | list) and len(what) == 2 and any(isinstance(array, Prepared) for array in what):
            x, y = what
            y = y if isinstance(y, Prepared) else self.target.encode(np.asarray(y), "the targets")
            return Samples(self._prepared(x), y)
        column = self.target.name if self.preparation.kind == "table" else None
        return prepare(self.preparation, find(what, target=column, task=self.target.task))


def train(
    network: Any = None,
    data: Any = "digits",
    *,
    loss: str | Loss | None = None,
    class_weight: ClassWeight | None = None,
    optimizer: str | Optimizer | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    validation: Any = 0.1,
    test: float = 0.2,
    patience: int | str | None = AUTO,
    metrics: Sequence[str] | None = None,
    penalties: Sequence[Penalty] = (),
    callbacks: Sequence[Listener] = (),
    dtype: str = "float32",
    engine: str | None = None,
) -> Trained:
    """Train a network on data, and give it back with the best weights.

    Args:
        network: the hidden layers as a text ("64 relu, dropout 0.2"), to which the output layer
            that suits the target is added; or all layers as a list, or a Network, which are taken
            as they are
        data: what `load` takes (a built-in's name, a file, (x, y), a frame), or a Dataset
        loss: one, or its name; by default cross-entropy for classes and the mean squared error for
            quantities
        class_weight: what the loss of each class's samples is multiplied by: by label ({"setosa":
            2.0}, the others having 1), in class order, or "balanced" (samples / (classes * samples
            of the class), counted on the training rows)
        optimizer: one, or a text such as "adam 0.001"
        epochs: how often all samples are seen, at most
        batch_size: how many samples a step looks at; by default 32, or all for an optimizer that
            wants whole batches
        seed: of the split, the weights, the order of the samples and dropout
        validation: the share of the rows to validate on, or data of its own; a Dataset is split
            already
        test: the share of the rows to test on
        patience: training ends after so many epochs without a better validation loss, and gives
            back the weights of the best; None never ends early; "auto" is 25, or None where there
            are fewer than 50 validation rows
        metrics: what is measured of the validation part after each epoch, besides the loss
        penalties: such as `losses.l2(1e-4)`
        callbacks: functions that are called with every event; `Recorder(folder)` keeps the run
        dtype: "float32" or "float64"
        engine: which engine takes the steps; by default the one that suits

    Raises:
        DataError, ShapeError, SettingError: for what can't be trained, before anything is written
        NonFiniteError: at the step where a quantity stops being finite

    Examples:
        >>> trained = train("8 tanh", "moons", epochs=60, batch_size=100, optimizer="adam 0.05")
        >>> trained.evaluate()["accuracy"] > 0.95
        True
    """
    if not isinstance(data, Dataset):
        data = load(data, validation=validation, test=test, seed=seed, **for_loss(loss))
    made = make_plan(
        network, data, loss=loss, class_weight=class_weight, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
        seed=seed, penalties=penalties, patience=patience, metrics=metrics, dtype=dtype, engine=engine,
    )  # fmt: skip
    return follow(made, data, loop.start(made), callbacks)


def for_loss(loss: str | Loss | None) -> dict[str, Any]:
    """What a loss that was chosen says about how data is to be loaded."""
    if loss is None:
        return {}
    chosen = named_loss(loss)
    return {"scale_target": chosen.scales_target, "likely_task": chosen.task}


def follow(made: Plan, data: Dataset, progress: Progress, callbacks: Sequence[Listener] = ()) -> Trained:
    """Train as planned, from this progress on. Callbacks that have a method `close` are closed when
    training is over, whatever ended it.
    """
    try:
        ended = loop.run(made, data, progress, callbacks)
    finally:
        for callback in callbacks:
            if hasattr(callback, "close"):
                callback.close()
    parameters, statistics = loop.chosen(made, ended.progress)
    return Trained(
        made, data.target, data.preparation, parameters, statistics, ended.progress, data, ended.reason, ended.last
    )
