"""Ranks that are threads of one process: the steps of several processes, to the same bits.

So a run is replayed and explained on any machine, and the first process of a training repeats a
step while the others wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Deferred, Vector
from chainrule.engine.base import Batches, Chunk, Engine, Position, Predictor, StepRecord, Watched, is_finite
from chainrule.engine.buffers import zeros
from chainrule.engine.continuation import Continuation
from chainrule.processes import NAP, Processes

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


@dataclass(frozen=True)
class ThreadMemory:
    """What `SharedMemory` is, among threads.

    Attributes:
        rank: the number of this one
        meeting: where it meets the others
    """

    rank: int
    meeting: Meeting

    def of_ranks(self, size: int) -> list[Vector]:
        """So many float64 numbers of each rank, 0 at first."""
        return self.meeting.exchange(self.rank, zeros(size, np.float64))

    def pause(self) -> None:
        """Wait a moment for the others. Raises BrokenBarrierError if one of them has failed."""
        if self.meeting.barrier.broken:
            raise threading.BrokenBarrierError
        time.sleep(NAP)


def together(make: Callable[[Processes], Steps], count: int) -> Steps:
    """The function that takes steps as so many ranks; `make` gives that of one of them."""
    meeting = Meeting(count)
    ranks: list[Steps] = []

    def steps(position: Position, batches: Batches) -> Iterator[StepRecord]:
        for k in range(len(batches)):
            if not ranks:
                ranks.extend(make(Processes(rank, count, meeting)) for rank in range(count))
            try:
                record = _step_of_all(ranks, meeting, position, batches.cut(k, k + 1))
            except BaseException:
                ranks.clear()  # they are no longer at the same place
                raise
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
