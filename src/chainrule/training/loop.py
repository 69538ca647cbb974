"""The loop: batches -> backpropagation -> descent, as a stream of events that everyone else listens to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Dataset, Part, Target
from chainrule.engine import Done, Position, engine
from chainrule.errors import NonFiniteError
from chainrule.training import metrics as measures
from chainrule.training.diagnosis import diagnose, is_sound
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
    """A step was taken."""

    done: Done


@dataclass(frozen=True)
class EpochEnded(Event):
    """An epoch is complete; `record` is what was measured: loss, validation_loss, and the metrics of the validation
    part.
    """

    record: dict[str, float]


@dataclass(frozen=True)
class Ended(Event):
    """Training is over. `reason` is "complete", "early" (no better validation loss), "interrupted" or "diverged"."""

    reason: str
    last: Done | None = None


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

    last: Done | None = None
    reason, error = "complete", None
    try:
        with np.errstate(all="ignore"):  # what is not finite is looked for after every step, and named
            tell(Started(plan, data, progress))
            for event in events(plan, data, progress):
                progress = event.progress
                if isinstance(event, Stepped):
                    last = event.done
                tell(event)
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


def events(plan: Plan, data: Dataset, progress: Progress) -> Iterator[Event]:
    """The steps and epochs from here to the end of training."""
    part, samples = data.training, len(data.training.x)
    work = plan.work(samples)
    taking, length = engine(plan.engine, work), plan.steps_per_epoch(samples)
    while progress.epoch < plan.epochs and not _is_over(plan, progress):
        batches = plan.batches(progress.epoch, samples)[progress.position.step - progress.epoch * length :]
        for done in taking.steps(progress.position, part.x, part.y, part.weight, batches):
            if not is_sound(done):
                error = diagnose(work, done, part)
                if error is not None:
                    raise error
            progress = replace(
                progress,
                position=done.after,
                loss_sum=progress.loss_sum + done.loss * len(done.rows),
                seen=progress.seen + len(done.rows),
            )
            yield Stepped(plan, data, progress, done)
        progress, record = _end_epoch(plan, data, progress)
        yield EpochEnded(plan, data, progress, record)


def _is_over(plan: Plan, progress: Progress) -> bool:
    return plan.patience is not None and progress.waited >= plan.patience


def _end_epoch(plan: Plan, data: Dataset, progress: Progress) -> tuple[Progress, dict[str, float]]:
    """Measure, remember the best weights, and let the optimizer know."""
    record: dict[str, float] = {"epoch": progress.epoch + 1, "loss": progress.loss_sum / max(progress.seen, 1)}
    position, best, waited = progress.position, progress.best, progress.waited
    if data.validation is not None:
        parameters, statistics = _current(plan, position)
        held = evaluate(plan, data.target, data.validation, parameters, statistics)
        record |= {f"validation_{name}": value for name, value in held.items()}
        loss = held["loss"]
        if best is None or loss < best.loss:
            best, waited = Best(loss, progress.epoch + 1, parameters, statistics), 0
        else:
            waited += 1
    watched = record.get("validation_loss", record["loss"])
    position = replace(position, states=plan.optimizer.observe(position.states, watched))
    history = (*progress.history, record)
    return Progress(position, history, 0.0, 0, best, waited), record


def evaluate(
    plan: Plan, target: Target, part: Part, parameters: Vector, statistics: Vector, metrics: Sequence[str] | None = None
) -> dict[str, float]:
    """The loss, without penalties, and the metrics of a part of the data."""
    prediction: Array = plan.network.predict(parameters, part.x, statistics)
    loss = plan.loss.value(prediction, part.y, part.weight)
    found = measures.measure(plan.metrics if metrics is None else metrics, target, plan.loss, prediction, part.y)
    return {"loss": loss if math.isfinite(loss) else math.inf} | found
