"""Any step of a training, replayed bit for bit from the nearest checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chainrule.engine import Batches, Engine, Position, Problem, StepRecord, Watched
from chainrule.rows import Rows
from chainrule.training.blocks import some_batches
from chainrule.training.plan import Plan


@dataclass(frozen=True)
class Timeline:
    """The steps of a training, each replayed from the last checkpoint before it.

    Attributes:
        samples: the training set
        plans: (step, plan): the plans, each with the step from which it holds; a resumed run may
            have several
        checkpoints: positions by step
        history: what was measured after each epoch, which the optimizer observed
        threads: the most threads of an engine; None for as many as usual
    """

    samples: Rows
    plans: Sequence[tuple[int, Plan]]
    checkpoints: Mapping[int, Position]
    history: Sequence[Mapping[str, float]] = ()
    threads: int | None = None
    _engines: dict[int, Engine] = field(default_factory=dict, repr=False, compare=False)

    def problem_at(self, step: int) -> Problem:
        """The problem at a step, with the schedules of the plan that holds there."""
        return self.plans[self._plan_number(step)][1].problem(len(self.samples.x))

    def position(self, step: int) -> Position:
        """The position before a step."""
        return self._advance(self.checkpoints[self._nearest(step)], step)

    def onward(self, position: Position, step: int) -> Position:
        """The position before a later step, from this one or from a checkpoint closer to it."""
        nearest = self._nearest(step)  # which is taken at the same step, as it may hold an edited weight
        return self._advance(self.checkpoints[nearest] if nearest >= position.step else position, step)

    def record(self, step: int) -> StepRecord:
        """A step, as it was taken."""
        return next(self.each([step]))

    def each(self, steps: Iterable[int]) -> Iterator[StepRecord]:
        """Several steps, in ascending order; no step is replayed twice."""
        position: Position | None = None
        for step in sorted(set(steps)):
            position = self.position(step) if position is None else self.onward(position, step)
            record = next(self.records(position, 1))
            yield record
            position = record.after

    def records(self, position: Position, count: int) -> Iterator[StepRecord]:
        """The next `count` steps from a position."""
        stop = position.step + count
        while position.step < stop:
            engine, position, batches = self._next(position, stop)
            for record in engine.steps(position, batches):
                yield record
                position = record.after

    def watch(self, position: Position, stop: int, place: int) -> Watched | None:
        """Some of the steps from a position up to `stop`, as the weight at this place sees them;
        None if the engine can't tell.
        """
        engine, position, batches = self._next(position, stop)
        return engine.watch(position, batches, place)

    def _advance(self, position: Position, step: int) -> Position:
        """The position before a step, from an earlier position, as fast as the engine can."""
        while position.step < step:
            engine, position, batches = self._next(position, step)
            for chunk in engine.chunks(position, batches):
                position = chunk.after
        return position

    def _next(self, position: Position, stop: int) -> tuple[Engine, Position, Batches]:
        """The mini-batches up to `stop`, the end of the epoch, or of a block on a disk, or the next
        plan, whichever is first.
        """
        number = self._plan_number(position.step)
        plan, samples = self.plans[number][1], len(self.samples.x)
        length = plan.steps_per_epoch(samples)
        epoch, first = divmod(position.step, length)
        if first == 0 and 0 < epoch <= len(self.history):  # the optimizer observes the loss of the epoch before
            measured = self.history[epoch - 1]
            states = plan.optimizer.observe(position.states, measured.get("validation_loss", measured["loss"]))
            position = replace(position, states=states)
        last = min(stop, (epoch + 1) * length, *(start for start, _ in self.plans[number + 1 :]))
        end = first + last - position.step
        batches = some_batches(plan.order(samples), epoch, first, end, self.samples)
        if number not in self._engines:
            self._engines[number] = plan.make_engine(plan.problem(samples), self.threads)
        return self._engines[number], position, batches

    def _plan_number(self, step: int) -> int:
        return max(number for number, (start, _) in enumerate(self.plans) if start <= step)

    def _nearest(self, step: int) -> int:
        return max(checkpoint for checkpoint in self.checkpoints if checkpoint <= step)
