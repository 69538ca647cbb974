"""The training loop, as a stream of events that listeners follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event as Flag
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array, Deferred, Vector, as_read
from chainrule.data import Dataset, Target
from chainrule.engine import Chunk, Engine, Position, Predictor
from chainrule.errors import DataError, NonFiniteError
from chainrule.processes import ALONE, Processes, world
from chainrule.rows import Rows
from chainrule.summary import one_line
from chainrule.training import metrics as measures
from chainrule.training.blocks import Shuffled
from chainrule.training.catalog import has_unit
from chainrule.training.diagnosis import diagnose
from chainrule.training.divided import divided
from chainrule.training.generation import TEMPERATURE, Reader, is_time_to_write, write
from chainrule.training.metrics import Chosen
from chainrule.training.naive import against_naive
from chainrule.training.parts import Kept, measure_in_parts, predict_in_parts
from chainrule.training.plan import Plan
from chainrule.training.position_scores import joined, score_positions
from chainrule.training.stopping import is_better

History = tuple[dict[str, float], ...]

PROMPT, SAMPLE = 20, 120
"""The tokens that a language model continues for a sample, and those that it writes."""


@dataclass(frozen=True)
class Best:
    """The weights with the best value of the watched metric so far.

    Attributes:
        value: that value, on the validation set
        epoch: the epoch after which it was measured, counted from 1
        parameters, statistics: the weights and running statistics after that epoch
    """

    value: float
    epoch: int
    parameters: Vector
    statistics: Vector


class WrittenSample(NamedTuple):
    """What a language model wrote.

    Attributes:
        epoch: after which epoch, counted from 1
        prompt: the text that it continued: the beginning of a window of the validation set
        text: what it wrote
    """

    epoch: int
    prompt: str
    text: str

    @property
    def line(self) -> str:
        """All of it in a line."""
        prompt, text = one_line(self.prompt), one_line(self.text)
        return f"epoch {self.epoch} continues \u201c{prompt}\u201d: \u201c{text}\u201d"


@dataclass(frozen=True)
class Progress:
    """Everything that training needs in order to continue.

    Attributes:
        position: the next step, the weights before it and the optimizer's state
        history: what was measured after each epoch
        loss_sum: the loss of this epoch so far, summed over its samples
        seen: the number of those samples
        best: the best weights so far; None without a validation set, and as long as the watched
            metric is undefined
        waited: the number of epochs since the watched metric improved by more than `min_delta`
        samples: what a language model wrote after some epochs
    """

    position: Position
    history: History = ()
    loss_sum: float = 0.0
    seen: int = 0
    best: Best | None = None
    waited: int = 0
    samples: tuple[WrittenSample, ...] = ()

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
        stopping: set to end training; the same object in all events of a training
    """

    plan: Plan
    data: Dataset
    progress: Progress
    stopping: Flag = field(default_factory=Flag, kw_only=True, repr=False, compare=False)

    def stop(self) -> None:
        """End training after this event, as "stopped"; a recorded run can be resumed from here.

        The other callbacks still get this event, and then `Ended`.
        """
        self.stopping.set()


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
class Sampled(Event):
    """A language model wrote a sample: after the first epoch, the second, the fourth and so on, and
    the last.

    Attributes:
        sample: what it wrote
    """

    sample: WrittenSample


@dataclass(frozen=True)
class Ended(Event):
    """Training is over.

    Attributes:
        reason: "complete", "early" (early stopping), "stopped" (by a callback), "interrupted" or
            "diverged"
        last: the last steps; None if training was interrupted or diverged
        threshold: from which probability on the second of two classes is predicted, if the plan
            asks for one
    """

    reason: str
    last: Chunk | None = None
    threshold: float | None = None


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


def run(
    plan: Plan, data: Dataset, progress: Progress, listeners: Sequence[Listener] = (), threads: int | None = None
) -> Ended:
    """Train to the end of the plan with at most so many threads, call the listeners with every
    event, and return the last one.

    Ctrl-C ends training after the last whole step, as "interrupted". After an Ended event with the
    progress before that step, raises DataError ("interrupted") where a picture on disk can't be
    read any more, and NonFiniteError ("diverged") where a quantity is not finite.
    """

    def notify(event: Event) -> None:
        for listener in listeners:
            listener(event)

    last, stopping = None, Flag()
    try:
        with np.errstate(all="ignore"):  # every step is checked for non-finite values, which are named
            notify(Started(plan, data, progress, stopping=stopping))
            stream = events(plan, data, progress, stopping, threads)
            while True:
                try:
                    event = next(stream)
                except StopIteration as stop:
                    last = stop.value
                    break
                progress = event.progress
                notify(event)
                del event  # the memory of its first position is reused for the next steps
        unfinished = "stopped" if stopping.is_set() else "early"
        reason = unfinished if progress.epoch < plan.epochs else "complete"
    except KeyboardInterrupt:
        reason = "interrupted"
    except DataError:  # a picture can't be read any more: the run keeps all steps before it
        notify(Ended(plan, data, progress, "interrupted", stopping=stopping))
        raise
    except NonFiniteError:
        notify(Ended(plan, data, progress, "diverged", threshold=threshold(plan, data, progress), stopping=stopping))
        raise
    end = Ended(plan, data, progress, reason, last, threshold(plan, data, progress), stopping=stopping)
    notify(end)
    return end


def events(
    plan: Plan, data: Dataset, progress: Progress, stopping: Flag | None = None, threads: int | None = None
) -> Generator[Event, None, Chunk | None]:
    """Yield the steps and epochs up to the end of training; return the last steps."""
    training, problem, stopping = data.training, plan.problem(len(data.training.x)), stopping or Flag()
    engine, length = plan.make_engine(problem, threads, world()), plan.steps_per_epoch(len(training.x))
    last: Chunk | None = None
    shuffled = Shuffled(plan, training, engine)
    while _goes_on(plan, progress) and not _stops(stopping):
        first, last = progress.position.step - progress.epoch * length, None
        left = length - first
        for batches in shuffled.epoch(progress.epoch, first):
            for chunk in engine.chunks(progress.position, batches):
                if not chunk.finite:
                    diagnose(problem, chunk.last, training)
                progress, left = _add_chunk(progress, chunk), left - len(chunk.batches)
                last = None if left else chunk
                yield Stepped(plan, data, progress, chunk, stopping=stopping)
                if _stops(stopping):
                    return chunk
                del chunk
            del batches  # a block on a disk: while the next one is used, the one after it is read
        progress = _end_epoch(plan, data, progress, engine)
        yield EpochEnded(plan, data, progress, progress.history[-1], stopping=stopping)
        if data.target.tokens and is_time_to_write(progress.epoch, plan.epochs):
            sample = _sample(plan, data, progress, engine)
            progress = replace(progress, samples=(*progress.samples, sample))
            yield Sampled(plan, data, progress, sample, stopping=stopping)
    return last


def _stops(stopping: Flag) -> bool:
    """Whether a callback ended training: those of the first of several processes decide for all."""
    if world().count > 1 and world().broadcast(stopping.is_set()):
        stopping.set()
    return stopping.is_set()


def _goes_on(plan: Plan, progress: Progress) -> bool:
    """Whether there is another epoch to train."""
    return progress.epoch < plan.epochs and (plan.patience is None or progress.waited < plan.patience)


def _add_chunk(progress: Progress, chunk: Chunk) -> Progress:
    """The progress after these steps.

    The losses are added one by one, so the sum does not depend on how the steps were chunked.
    """
    size, rows = chunk.batches.size, len(chunk.batches.order)
    sums = chunk.losses * size
    sums[-1] = chunk.losses[-1] * (rows - size * (len(sums) - 1))
    sums[0] += progress.loss_sum
    total = float(sums.cumsum()[-1])
    return replace(progress, position=chunk.after, loss_sum=total, seen=progress.seen + rows)


def _end_epoch(plan: Plan, data: Dataset, progress: Progress, engine: Engine) -> Progress:
    """Measure, keep the best weights, and let the optimizer observe the loss."""
    position, best, waited = progress.position, progress.best, progress.waited
    loss = progress.loss_sum / max(progress.seen, 1)
    measured: dict[str, float] = {"epoch": progress.epoch + 1, "loss": loss}
    if data.validation is not None:
        weights = _current_weights(plan, position)
        how: dict[str, Any] = {"engine": engine, "threshold": plan.fixed_threshold, "world": world()}
        scores = evaluate(plan, data.target, data.validation, *weights, **how)
        scores = world().broadcast(scores)  # on processors of other kinds the last bits may differ
        measured |= {f"validation_{name}": value for name, value in scores.items()}
        loss, value = scores["loss"], scores[plan.monitor]
        if not math.isnan(value) and (best is None or is_better(value, best.value, plan.monitors_greater)):
            best = Best(value, progress.epoch + 1, *weights)
        waited = 0 if _improves(plan, progress, value) else waited + 1
    states = plan.optimizer.observe(position.states, loss)
    position = Position(position.step, position.parameters, position.statistics, states)
    return Progress(position, (*progress.history, measured), best=best, waited=waited, samples=progress.samples)


def _sample(plan: Plan, data: Dataset, progress: Progress, engine: Engine) -> WrittenSample:
    """What the network writes now, after the beginning of the validation set."""
    assert data.preparation is not None
    assert data.preparation.tokens is not None
    tokens, window = data.preparation.tokens, np.asarray((data.validation or data.training).x[0])
    context = [int(number) for number in window[:PROMPT]]
    reader = Reader.of(engine, plan.network, *_current_weights(plan, progress.position))
    drawn = write(reader, plan.loss, context, SAMPLE, TEMPERATURE, None, [(plan.seed, "sample", progress.epoch)])
    text = tokens.decode([one.number for (one,) in drawn])
    return WrittenSample(progress.epoch, tokens.decode(context), text)


def _improves(plan: Plan, progress: Progress, value: float) -> bool:
    """Whether the watched metric is better, by more than `min_delta`, than when it last was."""
    last = progress.epoch - progress.waited
    if last == 0:
        return not math.isnan(value)
    before = progress.history[last - 1][f"validation_{plan.monitor}"]
    return is_better(value, before, plan.monitors_greater, plan.min_delta)


def threshold(plan: Plan, data: Dataset, progress: Progress) -> float | None:
    """The plan's threshold between two classes, chosen on the validation set with the weights that
    training returns; None if it asks for none.
    """
    if plan.threshold is None or plan.fixed_threshold is not None:
        return plan.fixed_threshold
    assert isinstance(plan.threshold, str)
    return choose_threshold(plan, data, plan.metric(plan.threshold), *final_weights(plan, progress))


def choose_threshold(plan: Plan, data: Dataset, metric: Chosen, parameters: Vector, statistics: Vector) -> float:
    """The threshold between two classes at which a metric of the validation set is best."""
    samples = data.validation
    assert samples is not None
    predict = plan.make_engine(plan.problem(1)).predictor(parameters, statistics)
    with np.errstate(all="ignore"):  # just before a divergence
        if samples.on_disk:
            prediction, y, weight, _ = predict_in_parts(samples, predict, plan.outputs, plan.loss)[0]
        else:
            prediction, y, weight = predict(as_read(samples.x)), np.asarray(samples.y), samples.weight
    return measures.best_threshold(metric, data.target, plan.loss, prediction, y, weight)


def evaluate(
    plan: Plan,
    target: Target,
    samples: Rows,
    parameters: Vector,
    statistics: Vector,
    metrics: Sequence[Chosen] | None = None,
    engine: Engine | None = None,
    threshold: float | None = None,
    scores: bool = False,
    world: Processes = ALONE,
) -> dict[str, float]:
    """The loss, without penalties, and the metrics of these samples.

    Args:
        plan: the network and the loss
        target: what the numbers in `samples.y` mean
        samples: what to evaluate on, as the network and the loss take it
        parameters, statistics: the weights and running statistics
        metrics: which; by default those of the plan
        engine: what computes the predictions; by default a new engine of the plan's kind
        threshold: from which probability on the second of two classes is predicted
        scores: whether to add the loss's own scores of a predicted distribution; of several
            quantities those without a unit; and of a forecast how it compares with the naive one
        world: the processes that evaluate the same together, each of which predicts its share
    """
    engine = engine or plan.make_engine(plan.problem(1))
    chosen = plan.metrics if metrics is None else metrics

    def predict_own(part: Array | Deferred) -> Array:
        return engine.predict(parameters, part, statistics)

    predict = divided(predict_own, world, plan.engine)
    if target.positions and target.is_class:
        return _evaluate_positions(plan, target, samples, chosen, predict)
    predicted, found = measured(plan, target, samples, predict, chosen, threshold)
    if scores:
        own = plan.loss.scores(predicted.prediction, predicted.y, np.array(target.deviation), predicted.weight)
        is_one = target.width == 1 or target.season > 0
        found |= {name: value for name, value in own.items() if is_one or not has_unit(name)}
        if target.season:
            found |= against_naive(as_read(samples.x), predicted.y, target, found.get("mae"))
    return found


def measured(
    plan: Plan, target: Target, samples: Rows, predict: Predictor, metrics: Sequence[Chosen],
    threshold: float | None = None,
) -> tuple[Kept, dict[str, float]]:  # fmt: skip
    """The predictions of samples, of very many on a disk those of evenly spaced ones, and the loss
    and the metrics; the arguments are those of `evaluate`.
    """
    if samples.on_disk:
        return measure_in_parts(metrics, target, plan.loss, samples, predict, plan.outputs, threshold)
    x, y, weight = as_read(samples.x), np.asarray(samples.y), samples.weight
    prediction = predict(x)
    with np.errstate(over="ignore", invalid="ignore"):  # such a loss is infinite
        loss = plan.loss.value(prediction, y, weight)
    found = measures.measure(metrics, target, plan.loss, prediction, y, weight, threshold)
    return Kept(prediction, y, weight, 1), {"loss": loss if math.isfinite(loss) else math.inf} | found


MOST_OUTPUTS = 8_000_000
"""The numbers that are predicted at a time where there is a class at each position."""


def _evaluate_positions(
    plan: Plan, target: Target, samples: Rows, metrics: Sequence[Chosen], predict: Predictor
) -> dict[str, float]:
    """The same where there is a class at each position, some samples at a time."""
    size = max(1, MOST_OUTPUTS // math.prod(plan.network.output_shape))
    losses, scored = [], []
    for k in range(0, max(len(samples.x), 1), size):
        x, y, weight = samples.read(k, k + size)
        prediction = predict(as_read(x))
        with np.errstate(over="ignore", invalid="ignore"):
            losses.append(plan.loss.value(prediction, np.asarray(y), weight) * len(y))
        scored.append(score_positions(plan.loss, prediction, np.asarray(y), weight))
    loss = sum(losses) / len(samples.x)
    return {"loss": loss if math.isfinite(loss) else math.inf} | measures.at_positions(metrics, target, joined(scored))
