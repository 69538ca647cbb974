"""The timeline of a training: any step of it, replayed from the nearest checkpoint, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chainrule.arrays import Samples
from chainrule.engine import Batches, Engine, Position, Problem, StepRecord, make_engine
from chainrule.training.plan import Plan


@dataclass(frozen=True)
class Timeline:
    """Any step of a training, replayed from the nearest checkpoint before it.

    Attributes:
        samples: the training set
        plans: from which step on which plan holds; a resumed run may have several
        checkpoints: positions that were kept, by step
        history: what was measured after each epoch, as far as the optimizer was told
    """

    samples: Samples
    plans: Sequence[tuple[int, Plan]]
    checkpoints: Mapping[int, Position]
    history: Sequence[Mapping[str, float]] = ()
    _engines: dict[int, Engine] = field(default_factory=dict, repr=False, compare=False)

    def problem_at(self, step: int) -> Problem:
        """What is solved at a step, with the schedules of the plan that holds there."""
        return self.plans[self._plan_number(step)][1].problem(len(self.samples.x))

    def position(self, step: int) -> Position:
        """Where training stood before a step."""
        return self._advance(self.checkpoints[self._nearest(step)], step)

    def record(self, step: int) -> StepRecord:
        """A step as it was taken."""
        return next(self.each([step]))

    def each(self, steps: Iterable[int]) -> Iterator[StepRecord]:
        """Several steps, in order; what lies between two checkpoints is replayed once only."""
        position: Position | None = None
        for step in sorted(set(steps)):
            nearest = self._nearest(step)
            if position is None or nearest > position.step:
                position = self.checkpoints[nearest]
            record = next(self.records(self._advance(position, step), 1))
            yield record
            position = record.after

    def records(self, position: Position, count: int) -> Iterator[StepRecord]:
        """So many steps from a position on, one by one."""
        stop = position.step + count
        while position.step < stop:
            taking, position, batches = self._next(position, stop)
            for record in taking.steps(position, batches):
                yield record
                position = record.after

    def _advance(self, position: Position, step: int) -> Position:
        """The position before a step, reached from an earlier one as fast as the engine can."""
        while position.step < step:
            taking, position, batches = self._next(position, step)
            for chunk in taking.chunks(position, batches):
                position = chunk.after
        return position

    def _next(self, position: Position, stop: int) -> tuple[Engine, Position, Batches]:
        """The mini-batches up to a step, to the end of the epoch or to the next plan."""
        number = self._plan_number(position.step)
        plan = self.plans[number][1]
        length = plan.steps_per_epoch(len(self.samples.x))
        epoch, first = divmod(position.step, length)
        if first == 0 and 0 < epoch <= len(self.history):  # the optimizer was told how the epoch ended
            measured = self.history[epoch - 1]
            states = plan.optimizer.observe(position.states, measured.get("validation_loss", measured["loss"]))
            position = replace(position, states=states)
        ends = [stop, (epoch + 1) * length, *(start for start, _ in self.plans[number + 1 :])]
        batches = plan.batches(epoch, self.samples).cut(first, first + min(ends) - position.step)
        if number not in self._engines:
            self._engines[number] = make_engine(plan.engine, plan.problem(len(self.samples.x)))
        return self._engines[number], position, batches

    def _plan_number(self, step: int) -> int:
        return max(k for k, (start, _) in enumerate(self.plans) if start <= step)

    def _nearest(self, step: int) -> int:
        return max(kept for kept in self.checkpoints if kept <= step)
