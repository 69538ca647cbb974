"""The loop: batches -> backpropagation -> descent, as a stream of events that everyone else listens to."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
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
    """The weights with the best validation loss so far."""

    loss: float
    epoch: int
    parameters: Vector
    statistics: Vector


@dataclass(frozen=True)
class Progress:
    """All that it takes to go on: where training stands, and what happened so far.

    `loss_sum` and `seen` are the loss, times the samples, and the samples of the epoch that is under way.
    """

    position: Position
    history: History = ()
    loss_sum: float = 0.0
    seen: int = 0
    best: Best | None = None
    waited: int = 0

    @property
    def epoch(self) -> int:
        """How many epochs are complete."""
        return len(self.history)


@dataclass(frozen=True)
class Event:
    """Something that happened while training; `progress` is what it led to."""

    plan: Plan
    data: Dataset
    progress: Progress


@dataclass(frozen=True)
class Started(Event):
    """Training is about to begin, or to go on."""


@dataclass(frozen=True)
class Stepped(Event):
    """Steps were taken, as many as suit the engine; `span.steps()` shows each with its gradient and update."""

    chunk: Chunk


@dataclass(frozen=True)
class EpochEnded(Event):
    """An epoch is complete; `record` is what was measured: loss, validation_loss, and the metrics of the validation
    part.
    """

    measured: dict[str, float]


@dataclass(frozen=True)
class Ended(Event):
    """Training is over. `reason` is "complete", "early" (no better validation loss), "interrupted" or "diverged".
    `last` are the last steps, unless it was broken off.
    """

    reason: str
    last: Chunk | None = None


Listener = Callable[[Event], Any]


def start(plan: Plan) -> Progress:
    """Before the first step: weights drawn, optimizer fresh."""
    parameters = plan.network.draw(plan.seed)
    states = plan.optimizer.start(parameters, plan.network.parameters)
    return Progress(Position(0, parameters, plan.network.start_statistics(), states))


def chosen(plan: Plan, progress: Progress) -> tuple[Vector, Vector]:
    """The parameters and statistics that training gives back: the best, where there was a validation part; else the
    last, averaged if asked.
    """
    if progress.best is not None and plan.patience is not None:
        return progress.best.parameters, progress.best.statistics
    return _current(plan, progress.position)


def _current(plan: Plan, position: Position) -> tuple[Vector, Vector]:
    average = plan.optimizer.average(position.states)
    return (position.parameters if average is None else average), position.statistics


def run(plan: Plan, data: Dataset, progress: Progress, listeners: Sequence[Listener] = ()) -> Ended:
    """Train until the plan is fulfilled, tell the listeners of every event, and give the last.

    Ctrl-C ends it after the last whole step, as "interrupted". Raises NonFiniteError, after an event "diverged", at
    the step where a quantity stops being finite; the progress is that before the step.
    """

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    reason, error, last = "complete", None, None
    stream = events(plan, data, progress)
    try:
        with np.errstate(all="ignore"):  # what is not finite is looked for after every step, and named
            tell(Started(plan, data, progress))
            while True:
                try:
                    event = next(stream)
                except StopIteration as over:
                    last = over.value
                    break
                progress = event.progress
                tell(event)
                del event  # the memory of where its steps began is used for the next ones
        reason = "early" if progress.epoch < plan.epochs else "complete"
    except KeyboardInterrupt:
        reason = "interrupted"
    except NonFiniteError as found:
        reason, error = "diverged", found
    ended = Ended(plan, data, progress, reason, last)
    tell(ended)
    if error is not None:
        raise error
    return ended


def events(plan: Plan, data: Dataset, progress: Progress) -> Generator[Event, None, Chunk | None]:
    """The steps and epochs from here to the end of training, and in the end the last steps once more."""
    part, problem = data.training, plan.problem(len(data.training.x))
    taking, length = make_engine(plan.engine, problem), plan.steps_per_epoch(len(part.x))
    last: Chunk | None = None
    with ThreadPoolExecutor(1) as ahead:
        shuffled: Future[Batches] | None = None
        while progress.epoch < plan.epochs and not _is_over(plan, progress):
            batches = shuffled.result() if shuffled else plan.batches(progress.epoch, part)
            batches = batches.cut(progress.position.step - progress.epoch * length, length)
            if taking.leaves_a_core(batches):  # the next epoch is shuffled while this one is under way
                shuffled = ahead.submit(plan.batches, progress.epoch + 1, part)
            last, left = None, len(batches)
            for chunk in taking.chunks(progress.position, batches):
                error = None if chunk.sound else diagnose(problem, chunk.last, part)
                if error is not None:
                    raise error
                progress, left = _counted(progress, chunk), left - len(chunk.batches)
                last = None if left else chunk
                yield Stepped(plan, data, progress, chunk)
                del chunk
            progress, measured = _end_epoch(plan, data, progress, taking)
            yield EpochEnded(plan, data, progress, measured)
    return last


def _counted(progress: Progress, chunk: Chunk) -> Progress:
    """The progress after a span. Losses are added step by step, so that the sum does not depend on the span."""
    size, rows = chunk.batches.size, len(chunk.batches.order)
    sums = chunk.losses * size
    sums[-1] = chunk.losses[-1] * (rows - size * (len(sums) - 1))
    sums[0] += progress.loss_sum
    return replace(progress, position=chunk.after, loss_sum=float(sums.cumsum()[-1]), seen=progress.seen + rows)


def _is_over(plan: Plan, progress: Progress) -> bool:
    return plan.patience is not None and progress.waited >= plan.patience


def _end_epoch(plan: Plan, data: Dataset, progress: Progress, taking: Engine) -> tuple[Progress, dict[str, float]]:
    """Measure, remember the best weights, and let the optimizer know."""
    measured: dict[str, float] = {"epoch": progress.epoch + 1, "loss": progress.loss_sum / max(progress.seen, 1)}
    position, best, waited = progress.position, progress.best, progress.waited
    if data.validation is not None:
        parameters, statistics = _current(plan, position)
        held = evaluate(plan, data.target, data.validation, parameters, statistics, taking=taking)
        measured |= {f"validation_{name}": value for name, value in held.items()}
        loss = held["loss"]
        if best is None or loss < best.loss:
            best, waited = Best(loss, progress.epoch + 1, parameters, statistics), 0
        else:
            waited += 1
    watched = measured.get("validation_loss", measured["loss"])
    position = replace(position, states=plan.optimizer.observe(position.states, watched))
    history = (*progress.history, measured)
    return Progress(position, history, 0.0, 0, best, waited), measured


def evaluate(
    plan: Plan,
    target: Target,
    part: Samples,
    parameters: Vector,
    statistics: Vector,
    metrics: Sequence[str] | None = None,
    taking: Engine | None = None,
) -> dict[str, float]:
    """The loss, without penalties, and the metrics of a part of the data; by the engine that is at hand, if one is."""
    x, y = np.asarray(part.x), np.asarray(part.y)
    prediction = (taking or make_engine(plan.engine, plan.problem(1))).predict(parameters, x, statistics)
    loss = plan.loss.value(prediction, y, part.weight)
    found = measures.measure(plan.metrics if metrics is None else metrics, target, plan.loss, prediction, y)
    return {"loss": loss if math.isfinite(loss) else math.inf} | found
