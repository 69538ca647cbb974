"""Every step of a training, read for one weight: what it was, and what it was made of.

Where no stage mixes entries, everything about a weight is a few numbers of each step, and the
stretches between checkpoints are replayed in threads. Otherwise (Muon, L-BFGS) the weight's update
depends on the gradients of other weights, so vectors are carried backward, and the steps are
replayed in blocks, last block first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from threading import Event, Lock

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent import Point
from chainrule.descent.linear import ALL, Backward, Linear, linear_forms
from chainrule.engine import Position, Problem, StepRecord, Watched
from chainrule.engine.numpy import NumpyEngine
from chainrule.influence.terms import SampleTerms
from chainrule.layout import Entry, Layout
from chainrule.losses import Penalty
from chainrule.threads import most_threads, undivided
from chainrule.training import Timeline

Progress = Callable[[int, int], None]
"""Called with how many steps are done, and of how many."""

PIECE = 250
"""Steps that a thread takes at a time, at most, if there are checkpoints enough."""
MOST_NUMBERS = 16_000_000
"""About how many numbers of a block of steps are kept."""


@dataclass(frozen=True)
class Step:
    """A step, read for one weight.

    Attributes:
        step: its number
        before, after: the weight before and after it
        gradient: its gradient, penalties included
        subtracted: what the optimizer subtracted
        rows: the rows of the mini-batch
        terms: (rows,) each sample's part of the gradient; or, once `spread`, of all that it led to
        penalties: the same of each penalty
        forms: what the optimizer's stages did
    """

    step: int
    before: float
    after: float
    gradient: float
    subtracted: float
    rows: Array
    terms: Array
    penalties: dict[str, float]
    forms: Sequence[Linear] = ()


@dataclass(frozen=True)
class Spread:
    """A step, and what came of it.

    Attributes:
        step: the step
        shares: (rows,) how far each sample's part of its gradient moved the weight, in this step
            and in later ones
        others: the same of what belongs to no sample: penalties and weight decay, by name
    """

    step: Step
    shares: Array
    others: dict[str, float]


def read(timeline: Timeline, place: int, steps: int, progress: Progress | None = None) -> list[Spread]:
    """The first `steps` steps of a training, with what came of each for the weight at this place.

    Ctrl-C ends it at the next step.
    """
    problem = timeline.problem_at(0)
    if any(stage.mixes_entries for stage in problem.optimizer.stages):
        return [*_read_mixed(timeline, place, steps, progress)][::-1]
    found = _in_threads(timeline, place, steps, progress)
    back = Backward()
    spread = []
    for step in reversed(found):
        effect = back.step(step.forms, 1.0)  # type: ignore[arg-type]
        weight = float(effect.gradient)
        others = {name: -weight * value for name, value in step.penalties.items()}
        others |= {name: -value for name, value in effect.offsets.items()}
        spread.append(Spread(replace(step, forms=()), -weight * step.terms, others))
    return spread[::-1]


def _in_threads(timeline: Timeline, place: int, steps: int, progress: Progress | None) -> list[Step]:
    """The steps, read in pieces between checkpoints by as many threads as there are cores."""
    pieces, stopping, done, lock = _pieces(timeline, steps), Event(), 0, Lock()

    def tick() -> None:
        nonlocal done
        if stopping.is_set():
            raise KeyboardInterrupt
        if progress is not None:
            with lock:
                done += 1
                progress(done, steps)

    threads = min(most_threads(), len(pieces))
    own = replace(timeline, threads=1, _engines={}) if threads > 1 else timeline

    def piece(bounds: tuple[int, int]) -> list[Step]:
        return _read_piece(replace(own, _engines={}), place, *bounds, tick)

    with undivided(), np.errstate(all="ignore"):
        if threads <= 1:
            return [step for bounds in pieces for step in piece(bounds)]
        with ThreadPoolExecutor(threads) as pool:
            try:
                coming = [pool.submit(piece, bounds) for bounds in pieces]
                wait(coming, return_when=FIRST_EXCEPTION)
                return [step for part in coming for step in part.result()]
            except BaseException:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _pieces(timeline: Timeline, steps: int) -> list[tuple[int, int]]:
    """Stretches of steps, each of which begins with a checkpoint."""
    starts = [0]
    for step in sorted(timeline.checkpoints):
        if step < steps and step - starts[-1] >= min(PIECE, steps // (2 * most_threads())):
            starts.append(step)
    return list(zip(starts, [*starts[1:], steps], strict=True))


def _read_piece(timeline: Timeline, place: int, start: int, stop: int, tick: Callable[[], None]) -> list[Step]:
    """The steps of a stretch; where a checkpoint holds other weights than the step before led to,
    as after an edit, those of the checkpoint count.
    """
    found: list[Step] = []
    edges = [start, *(step for step in sorted(timeline.checkpoints) if start < step < stop), stop]
    for first, last in itertools.pairwise(edges):
        position = timeline.position(first)
        for step in _watched(timeline, position, last, place):
            found.append(step)
            tick()
        if (next_step := found[-1].step + 1 if found else start) < last:  # the engine can't tell
            position = timeline.position(max(next_step, first))
            for step in _recorded(timeline, position, last, place):
                found.append(step)
                tick()
    return found


def _watched(timeline: Timeline, position: Position, stop: int, place: int) -> Iterator[Step]:
    """The steps from a position, as far as the engine watches them."""
    while position.step < stop:
        problem = timeline.problem_at(position.step)
        if problem.optimizer.whole_batch:
            return
        watched = timeline.watch(position, stop, place)
        if watched is None:
            return
        yield from _steps_of(watched, problem, place)
        position = watched.after


def _steps_of(watched: Watched, problem: Problem, place: int) -> Iterator[Step]:
    layout = LayoutOfOne.at(place, problem.network.parameters)
    for k, (rows, parts) in enumerate(zip(watched.rows, watched.parts, strict=True)):
        w, g, u = watched.weights[k : k + 1], watched.gradients[k : k + 1], watched.updates[k : k + 1]
        before, after = watched.states[k], watched.states[k + 1]
        point = Point(w, layout, float(watched.losses[k]), g)
        factors = {stage: float(each[k]) for stage, each in watched.factors.items()}
        forms = [form.single() for form in linear_forms(problem.optimizer, g, before, after, point, ALL, u, factors)]
        yield Step(
            watched.before.step + k, float(w[0]), float(watched.weights[k + 1]), float(g[0]), float(u[0]), rows, parts,
            _penalties(problem, place, float(w[0])), forms,
        )  # fmt: skip


class LayoutOfOne(Layout):
    """The layout of a single weight, where a glob may match nothing."""

    @staticmethod
    def at(place: int, layout: Layout) -> LayoutOfOne:
        """That of the weight at this place of a layout."""
        entry = layout.entry_at(place)
        return LayoutOfOne((replace(entry, shape=(1,) * len(entry.shape), start=0),))

    def matching(self, on: str | None) -> list[Entry]:
        """The weight's array, or nothing."""
        return [e for e in self.entries if (e.regularized if on is None else fnmatchcase(e.name, on))]


def _recorded(timeline: Timeline, position: Position, stop: int, place: int) -> Iterator[Step]:
    """The steps from a position, from the whole record of each."""
    terms, changes = SampleTerms(timeline, place), {step for step, _ in timeline.plans}
    problem = timeline.problem_at(position.step)
    for record in timeline.records(position, stop - position.step):
        if record.before.step in changes:
            problem = timeline.problem_at(record.before.step)
        forms = [form.single() for form in _forms(problem, timeline, record, slice(place, place + 1))]
        yield _step(problem, record, place, terms.of_weight(problem, record), forms)


def _forms(problem: Problem, timeline: Timeline, record: StepRecord, places: slice) -> list[Linear]:
    before, samples = record.before, None
    if problem.optimizer.whole_batch:
        samples = problem.gather(timeline.samples, record.rows, before.step)
    point = (
        Point(before.parameters, problem.network.parameters, record.loss, record.gradient)
        if samples is None
        else NumpyEngine(problem).point(before, samples, record.loss, record.gradient)
    )
    return linear_forms(
        problem.optimizer, record.gradient, before.states, record.after.states, point, places, record.update
    )


def _step(problem: Problem, record: StepRecord, place: int, terms: Array, forms: Sequence[Linear]) -> Step:
    before, after = float(record.before.parameters[place]), float(record.after.parameters[place])
    return Step(
        record.before.step, before, after, float(record.gradient[place]), float(record.update[place]),
        record.rows, terms, _penalties(problem, place, before), forms,
    )  # fmt: skip


def _penalties(problem: Problem, place: int, weight: float) -> dict[str, float]:
    """The derivative of each penalty by the weight at a place."""
    penalties: dict[str, float] = {}
    for penalty in problem.penalties:
        own = penalty.terms(problem.network.parameters, place, weight)
        name = penalty_name(penalty)
        penalties[name] = penalties.get(name, 0.0) + sum(value for _, value in own)
    return penalties


def penalty_name(penalty: Penalty) -> str:
    """What the effects of a penalty are called."""
    if penalty.l1 and penalty.l2:
        return "elastic net"
    return "L1 penalty" if penalty.l1 else "L2 penalty"


def _read_mixed(timeline: Timeline, place: int, steps: int, progress: Progress | None) -> Iterator[Spread]:
    """The steps, last first, where an update depends on the gradients of other weights."""
    size = timeline.plans[0][1].network.parameters.size
    direction, back, done = np.zeros(size), Backward(), 0
    direction[place] = 1.0
    terms, length = SampleTerms(timeline, place), max(1, MOST_NUMBERS // (16 * size))
    edges = sorted({*range(0, steps, length), *(step for step in timeline.checkpoints if step < steps), steps})
    with np.errstate(all="ignore"):
        for start, stop in reversed(list(itertools.pairwise(edges))):
            records = list(timeline.records(timeline.position(start), stop - start))
            for record in reversed(records):
                problem = timeline.problem_at(record.before.step)
                forms = _forms(problem, timeline, record, ALL)
                yield _spread_mixed(problem, record, place, terms, back, forms, direction)
                done += 1
                if progress is not None:
                    progress(done, steps)


def _spread_mixed(
    problem: Problem, record: StepRecord, place: int, terms: SampleTerms, back: Backward, forms: Sequence[Linear],
    direction: Vector,
) -> Spread:  # fmt: skip
    effect = back.step(forms, direction)
    shares = -terms.along(problem, record, effect.gradient)
    step = _step(problem, record, place, shares, ())
    others = {name: -value for name, value in effect.offsets.items()}
    weights, layout = record.before.parameters.astype(np.float64), problem.network.parameters
    for penalty in problem.penalties:
        name, value = penalty_name(penalty), -float(penalty.gradient(weights, layout) @ effect.gradient)
        others[name] = others.get(name, 0.0) + value
    return Spread(step, shares, others)
