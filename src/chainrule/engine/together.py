"""Ranks that are threads of one process: the steps of several processes, to the same bits.

So a run is replayed and explained on any machine, and the first process of a training repeats a
step while the others wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Deferred, Vector
from chainrule.engine.base import Batches, Chunk, Engine, Position, Predictor, StepRecord, Watched, is_finite
from chainrule.engine.continuation import Continuation
from chainrule.engine.ranks import add_up, shares
from chainrule.processes import Processes

Steps = Callable[[Position, Batches], Iterator[StepRecord]]


class Meeting:
    """Where the threads of a process tell each other something."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.barrier = threading.Barrier(count)
        self._said: list[Any] = [None] * count

    def exchange(self, rank: int, what: Any) -> list[Any]:
        """What each rank passes, in the order of ranks."""
        self._said[rank] = what
        self.barrier.wait()
        said = list(self._said)
        self.barrier.wait()
        return said


@dataclass
class ThreadSums:
    """What `Sums` does, among threads.

    Attributes:
        rank: the number of this one
        meeting: where it meets the others
        parts: where the parts of the gradient begin and end, in the order in which they are
            finished
    """

    rank: int
    meeting: Meeting
    parts: Sequence[tuple[int, int]] = ()
    _coming: list[Vector] = field(default_factory=list, repr=False)
    _agreement: Vector | None = field(default=None, repr=False)

    def add(self, numbers: Vector) -> None:
        """Replace a few numbers by their sums over all ranks."""
        add_up(self.meeting.exchange(self.rank, numbers.copy()), numbers)

    def agree(self, numbers: Vector) -> None:
        """The same, until `finish`."""
        self._agreement = numbers

    def start(self, numbers: Vector) -> None:
        """Begin to add up the next part of the gradient."""
        self._coming.append(numbers)

    def progress(self) -> None:
        """Nothing: all is done in `finish`."""

    def finish(self) -> None:
        """Add up this rank's shares."""
        coming, self._coming = self._coming, []
        for each in zip(*self.meeting.exchange(self.rank, coming), strict=True):
            own = self._share(each[0].size, self.rank)
            total = np.empty_like(each[0][own])
            add_up([numbers[own] for numbers in each], total)
            each[self.rank][own] = total
        assert self._agreement is not None
        self.add(self._agreement)

    def gather(self, numbers: Vector, good: bool) -> bool:
        """Receive the others' shares of a vector; whether all is good on all ranks."""
        said = self.meeting.exchange(self.rank, (numbers, good))
        for start, stop in self.parts:
            for rank, (theirs, _) in enumerate(said):
                own = self._share(stop - start, rank)
                if rank != self.rank:
                    numbers[start:stop][own] = theirs[start:stop][own]
        self.meeting.barrier.wait()
        return all(each for _, each in said)

    def _share(self, size: int, rank: int) -> slice:
        counts, starts = shares(size, self.meeting.count)
        return slice(starts[rank], starts[rank] + counts[rank])


def together(make: Callable[[Processes], Steps], count: int) -> Steps:
    """The function that takes steps as so many ranks; `make` gives that of one of them."""
    meeting = Meeting(count)
    ranks = [make(Processes(rank, count, meeting)) for rank in range(count)]

    def steps(position: Position, batches: Batches) -> Iterator[StepRecord]:
        for k in range(len(batches)):
            record = _step_of_all(ranks, meeting, position, batches.cut(k, k + 1))
            yield record
            position = record.after

    return steps


def _step_of_all(ranks: Sequence[Steps], meeting: Meeting, position: Position, batch: Batches) -> StepRecord:
    """A step of all ranks, each in a thread; raises the error that ended the others."""

    def step(steps: Steps) -> StepRecord:
        try:
            return next(steps(position, batch))
        except BaseException:
            meeting.barrier.abort()
            raise

    meeting.barrier.reset()
    with ThreadPoolExecutor(len(ranks)) as pool:
        taken = [pool.submit(step, steps) for steps in ranks]
    errors = [error for each in taken if (error := each.exception()) is not None]
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return taken[0].result()


MOST = 64
"""Of more ranks, steps are repeated by one, within rounding: each takes memory of its own."""


@dataclass(frozen=True)
class Repeated:
    """Repeats the steps of a training on several ranks, with threads in their place; predicts and
    continues texts as one process.

    Attributes:
        alone: the engine of one process
        count: how many ranks there were
        make: the engine of a rank
    """

    alone: Engine
    count: int
    make: Callable[[Processes], Engine] = field(repr=False)

    @cached_property
    def _steps(self) -> Steps:
        return together(lambda world: self.make(world).steps, self.count)

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch and record its gradient and update."""
        return self._steps(position, batches)

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch, one in each chunk."""
        for k, record in enumerate(self.steps(position, batches)):
            losses, batch = np.array([record.loss]), batches.cut(k, k + 1)
            yield Chunk(record.before, record.after, batch, losses, is_finite(record), self.steps)

    def watch(self, position: Position, batches: Batches, place: int) -> Watched | None:
        """None: what each sample adds is known of whole steps only."""
        return None

    def predict(self, parameters: Vector, x: Array | Deferred, statistics: Vector) -> Array:
        """Predict x in evaluation mode."""
        return self.alone.predict(parameters, x, statistics)

    def predictor(self, parameters: Vector, statistics: Vector) -> Predictor:
        """Predicts with these parameters and statistics."""
        return self.alone.predictor(parameters, statistics)

    def continuation(self, parameters: Vector, statistics: Vector, texts: int = 1) -> Continuation | None:
        """Reads so many texts at the same time."""
        return self.alone.continuation(parameters, statistics, texts)

    def leaves_a_core(self, batches: Batches) -> bool:
        """No: each rank has a thread."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of one process."""
        return self.alone.notes
