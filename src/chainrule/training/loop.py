"""The training loop, as a stream of events that listeners follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Vector
from chainrule.data import Dataset, Samples, Target
from chainrule.engine import Batches, Chunk, Engine, Position, make_engine
from chainrule.errors import NonFiniteError
from chainrule.training import metrics as measures
from chainrule.training.diagnosis import diagnose
from chainrule.training.plan import Plan

History = tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Best:
    """The weights with the lowest validation loss so far.

    Attributes:
        loss: that validation loss
        epoch: the epoch after which it was measured, counted from 1
        parameters, statistics: the weights and running statistics after that epoch
    """

    loss: float
    epoch: int
    parameters: Vector
    statistics: Vector


@dataclass(frozen=True)
class Progress:
    """Everything that training needs in order to continue.

    Attributes:
        position: the next step, the weights before it and the optimizer's state
        history: what was measured after each epoch
        loss_sum: the loss of this epoch so far, summed over its samples
        seen: the number of those samples
        best: the best weights so far; None without a validation set
        waited: the number of epochs since then
    """

    position: Position
    history: History = ()
    loss_sum: float = 0.0
    seen: int = 0
    best: Best | None = None
    waited: int = 0

    @property
    def epoch(self) -> int:
        """The number of complete epochs."""
        return len(self.history)


@dataclass(frozen=True)
class Event:
    """Something that happened during training.

    Attributes:
        plan: what is trained, and how
        data: what it is trained on
        progress: where training stands after the event
    """

    plan: Plan
    data: Dataset
    progress: Progress


@dataclass(frozen=True)
class Started(Event):
    """Training is about to start, or to resume."""


@dataclass(frozen=True)
class Stepped(Event):
    """Steps were taken.

    Attributes:
        chunk: the steps, as many as suit the engine; `chunk.steps()` replays them one by one,
            with their gradients and updates
    """

    chunk: Chunk


@dataclass(frozen=True)
class EpochEnded(Event):
    """An epoch is complete.

    Attributes:
        measured: the loss and, on the validation set, validation_loss and the metrics
    """

    measured: dict[str, float]


@dataclass(frozen=True)
class Ended(Event):
    """Training is over.

    Attributes:
        reason: "complete", "early" (early stopping), "interrupted" or "diverged"
        last: the last steps; None if training was interrupted or diverged
    """

    reason: str
    last: Chunk | None = None


Listener = Callable[[Event], Any]
"""Called with every event."""


def start(plan: Plan) -> Progress:
    """The progress before the first step: initial weights, a fresh optimizer."""
    parameters = plan.network.draw(plan.seed)
    states = plan.optimizer.start(parameters, plan.network.parameters)
    return Progress(Position(0, parameters, plan.network.start_statistics(), states))


def final_weights(plan: Plan, progress: Progress) -> tuple[Vector, Vector]:
    """The parameters and statistics that training returns: with early stopping those of the best
    epoch, else the last, averaged if the optimizer averages.
    """
    if progress.best is not None and plan.patience is not None:
        return progress.best.parameters, progress.best.statistics
    return _current_weights(plan, progress.position)


def _current_weights(plan: Plan, position: Position) -> tuple[Vector, Vector]:
    average = plan.optimizer.average(position.states)
    return (position.parameters if average is None else average), position.statistics


def run(plan: Plan, data: Dataset, progress: Progress, listeners: Sequence[Listener] = ()) -> Ended:
    """Train to the end of the plan, call the listeners with every event, and return the last one.

    Ctrl-C ends training after the last whole step, as "interrupted". Raises NonFiniteError at the
    first step where a quantity is not finite, after an Ended event ("diverged") with the progress
    before that step.
    """

    def notify(event: Event) -> None:
        for listener in listeners:
            listener(event)

    last: Chunk | None = None
    try:
        with np.errstate(all="ignore"):  # every step is checked for non-finite values, which are named
            notify(Started(plan, data, progress))
            stream = events(plan, data, progress)
            while True:
                try:
                    event = next(stream)
                except StopIteration as stop:
                    last = stop.value
                    break
                progress = event.progress
                notify(event)
                del event  # the memory of its first position is reused for the next steps
        reason = "early" if progress.epoch < plan.epochs else "complete"
    except KeyboardInterrupt:
        reason = "interrupted"
    except NonFiniteError:
        notify(Ended(plan, data, progress, "diverged"))
        raise
    end = Ended(plan, data, progress, reason, last)
    notify(end)
    return end


def events(plan: Plan, data: Dataset, progress: Progress) -> Generator[Event, None, Chunk | None]:
    """Yield the steps and epochs up to the end of training; return the last steps."""
    training, problem = data.training, plan.problem(len(data.training.x))
    engine, length = make_engine(plan.engine, problem), plan.steps_per_epoch(len(training.x))
    last: Chunk | None = None
    with ThreadPoolExecutor(1) as executor:
        shuffled: Future[Batches] | None = None
        while progress.epoch < plan.epochs and (plan.patience is None or progress.waited < plan.patience):
            batches = shuffled.result() if shuffled else plan.batches(progress.epoch, training)
            batches = batches.cut(progress.position.step - progress.epoch * length, length)
            if engine.leaves_a_core(batches):  # shuffle the next epoch during this one
                shuffled = executor.submit(plan.batches, progress.epoch + 1, training)
            last, left = None, len(batches)
            for chunk in engine.chunks(progress.position, batches):
                if not chunk.finite:
                    diagnose(problem, chunk.last, training)
                progress, left = _add_chunk(progress, chunk), left - len(chunk.batches)
                last = None if left else chunk
                yield Stepped(plan, data, progress, chunk)
                del chunk
            progress = _end_epoch(plan, data, progress, engine)
            yield EpochEnded(plan, data, progress, progress.history[-1])
    return last


def _add_chunk(progress: Progress, chunk: Chunk) -> Progress:
    """The progress after these steps.

    The losses are added one by one, so the sum does not depend on how the steps were chunked.
    """
    size, rows = chunk.batches.size, len(chunk.batches.order)
    sums = chunk.losses * size
    sums[-1] = chunk.losses[-1] * (rows - size * (len(sums) - 1))
    sums[0] += progress.loss_sum
    total = float(sums.cumsum()[-1])
    return Progress(chunk.after, progress.history, total, progress.seen + rows, progress.best, progress.waited)


def _end_epoch(plan: Plan, data: Dataset, progress: Progress, engine: Engine) -> Progress:
    """Measure, keep the best weights, and let the optimizer observe the loss."""
    position, best, waited = progress.position, progress.best, progress.waited
    watched = progress.loss_sum / max(progress.seen, 1)
    measured: dict[str, float] = {"epoch": progress.epoch + 1, "loss": watched}
    if data.validation is not None:
        parameters, statistics = _current_weights(plan, position)
        scores = evaluate(plan, data.target, data.validation, parameters, statistics, engine=engine)
        measured |= {f"validation_{name}": value for name, value in scores.items()}
        watched, waited = scores["loss"], waited + 1
        if best is None or watched < best.loss:
            best, waited = Best(watched, progress.epoch + 1, parameters, statistics), 0
    states = plan.optimizer.observe(position.states, watched)
    position = Position(position.step, position.parameters, position.statistics, states)
    return Progress(position, (*progress.history, measured), best=best, waited=waited)


def evaluate(
    plan: Plan,
    target: Target,
    samples: Samples,
    parameters: Vector,
    statistics: Vector,
    metrics: Sequence[str] | None = None,
    engine: Engine | None = None,
    scores: bool = False,
) -> dict[str, float]:
    """The loss, without penalties, and the metrics of these samples.

    Args:
        plan: the network and the loss
        target: what the numbers in `samples.y` mean
        samples: what to evaluate on, as the network and the loss take it
        parameters, statistics: the weights and running statistics
        metrics: which; by default those of the plan
        engine: what computes the predictions; by default a new engine of the plan's kind
        scores: whether to add the loss's own scores of a predicted distribution
    """
    x, y = np.asarray(samples.x), np.asarray(samples.y)
    engine = engine or make_engine(plan.engine, plan.problem(1))
    prediction = engine.predict(parameters, x, statistics)
    with np.errstate(over="ignore", invalid="ignore"):  # such a loss is infinite
        loss = plan.loss.value(prediction, y, samples.weight)
    chosen = plan.metrics if metrics is None else metrics
    found = measures.measure(chosen, target, plan.loss, prediction, y, samples.weight)
    if scores:
        found |= plan.loss.scores(prediction, y, np.array(target.deviation), samples.weight)
    return {"loss": loss if math.isfinite(loss) else math.inf} | found
