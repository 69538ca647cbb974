"""Updates that float32 rounds away, because they are smaller than half the distance between two
numbers near the weight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, number, share
from chainrule.doctor.rate import best_multiples, longer, with_rate
from chainrule.engine import StepRecord

LOST = 0.5
"""The share of updates that are lost, in the median of the steps looked at."""
LEAST = 100.0
"""The least factor for the learning rate."""


def find(case: Case) -> Iterator[Finding]:
    """Whether most updates are lost to rounding."""
    if case.network.dtype != "float32" or len(case.brisk) < 3:
        return
    lost = np.array([lost_in(record) for record in case.brisk])
    middle = float(np.median(lost))
    if middle < LOST:
        return
    layout, last = case.network.parameters, case.brisk[len(case.brisk) // 2]
    by_array = {entry.name: _lost(last, entry.place) for entry in layout.entries}
    worst = max(by_array, key=lambda name: by_array[name])
    moved = [np.abs(record.update).max() for record in case.brisk]
    count = round(middle * layout.size)
    words = (
        f"Updates are lost to rounding: {share(count, layout.size)} of the weights stay the same float32 in a step (in"
        f" the median), because their updates, of at most {number(float(np.median(moved)))}, are less than half the"
        f" distance to the next number. {worst} loses most."
    )
    remedy = with_rate(case, max(longer(best_multiples(case, case.brisk)[1]), LEAST))
    steps = tuple(record.before.step for record in case.brisk)
    evidence = {"lost": lost.tolist(), "median": middle, "by_array": by_array}
    yield Finding("updates below rounding", words, worst, "serious", evidence, steps, remedy, worst)


def lost_in(record: StepRecord) -> float:
    """The share of the updates that are not 0 after which the weight is the same."""
    return _lost(record, slice(None))


def _lost(record: StepRecord, place: slice) -> float:
    update = record.update[place] != 0
    same = record.after.parameters[place] == record.before.parameters[place]
    return float((update & same).sum() / max(update.sum(), 1))
