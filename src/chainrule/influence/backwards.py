"""The steps of a training from the last to the first, each replayed bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.engine import Position, StepRecord
from chainrule.training import Timeline

MEMORY = 256_000_000
"""The bytes that replayed steps may take at a time."""


def backwards(timeline: Timeline, first: int, stop: int, memory: int = MEMORY) -> Iterator[StepRecord]:
    """The steps from `stop` - 1 down to `first`.

    A step can only be replayed from those before it. So the stretches between checkpoints are
    replayed, the last one first, and as many steps are kept as fit into the memory; of a longer
    stretch, the later half comes first. Each step is then replayed once for every time that its
    stretch is halved, and the memory holds a position for each halving (Griewank, 1992).
    """
    starts = sorted({first, *(step for step in timeline.checkpoints if first < step < stop)})
    for start, end in reversed([*zip(starts, [*starts[1:], stop], strict=True)]):
        if start < end:
            yield from _from(timeline, timeline.position(start), end, memory)


def _from(timeline: Timeline, position: Position, stop: int, memory: int) -> Iterator[StepRecord]:
    count = stop - position.step
    if count <= max(memory // _size(position), 1):
        records = list(timeline.records(position, count))
        while records:
            yield records.pop()
        return
    middle = position.step + count // 2
    yield from _from(timeline, timeline.onward(position, middle), stop, memory)
    yield from _from(timeline, position, middle, memory)


def _size(position: Position) -> int:
    """About how many bytes a step's record takes: its gradient, update and next position."""
    states = sum(array.nbytes for state in position.states for array in state.values())
    return 3 * position.parameters.nbytes + position.statistics.nbytes + states + 2000
