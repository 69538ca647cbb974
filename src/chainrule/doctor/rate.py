"""A learning rate that is too small or too large, seen along single steps.

A step that is too long makes the loss of the very samples rise that it was computed from. For one
that is too short, the loss of the training set goes on falling far beyond: it is measured at
multiples of the update.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, number, share
from chainrule.doctor.remedies import slower
from chainrule.engine import StepRecord

ONE, MULTIPLES = (0.0, 1.0), (0.0, 1.0, 8.0, 32.0, 128.0, 512.0, *(float(4**k) for k in range(6, 13)))
"""The multiples of an update at which the loss of its mini-batch, and of all, is measured."""
PARTS = (0.1, 0.01, 0.001, 1e-4, 1e-5)
"""The parts of the first update of which the one with the lowest loss is looked for, where the rate
is too large: later updates begin where those before have thrown the weights.
"""
FAR_ABOVE = 3.0
"""How many times the best constant prediction's loss is that of a mini-batch after the first step,
if that step threw the weights so far that training never came back.
"""
LOOKED, FAR = 8, 4
"""The steps of which the loss is measured before and after, and at all multiples."""
TOO_SHORT = 128.0
"""The least multiple at which the loss is lowest, in the median, if the learning rate is too small.
"""
RISING = 0.6
"""The share of steps that raise the loss of their own mini-batch, if it is too large."""
RISEN = 1.1
"""How many times its lowest value, and the best constant prediction's, the training loss is at the
end, if it is too large.
"""
LEFT = 0.05
"""The share of the best constant prediction's loss that must be left if steps raise the loss: near
a minimum, a constant learning rate raises it as often as not.
"""
STILL = 0.5
"""The share of the best constant prediction's loss that must be left if the rate is too small."""
SAMPLES = 256
"""The most samples of a mini-batch, or of the training set, that are measured."""


def find(case: Case) -> Iterator[Finding]:
    """Whether the learning rate is too small or too large."""
    if case.status == "diverged":
        yield _diverged(case)
        return
    brisk = [record for record in case.brisk if np.any(record.update)]
    if len(brisk) < 3:
        return
    looked = [brisk[k] for k in np.unique(np.linspace(0, len(brisk) - 1, LOOKED).astype(int))]
    later = looked[len(looked) // 3 :]  # the first steps may be large on purpose
    ends = np.array([along(case, record, ONE) for record in later])
    rises = ~(ends[:, 1] <= ends[:, 0])
    reached = case.loss(case.end)
    lowest = min(case.loss(point) for point in case.points)
    naive = case.naive_loss
    rose = rises.mean() >= RISING and reached > LEFT * naive
    first = along(case, looked[0], ONE)
    fled = reached > 0.9 * naive and not first[1] < FAR_ABOVE * naive
    if rose or fled or not reached < RISEN * max(lowest, naive):
        yield _too_large(case, rises, later, ends, lowest, (looked[0].before.step, *first) if fled else None)
        return
    if reached > STILL * naive:
        steps, best = best_multiples(case, looked)
        if np.median(best) >= TOO_SHORT:
            yield _too_small(case, best, steps, reached)


def along(case: Case, record: StepRecord, multiples: tuple[float, ...]) -> Array:
    """(multiples,) the loss of a step's own mini-batch, with its own dropout, along its update."""
    problem, batch = case.timeline.problem_at(record.before.step), case.batch(record)
    if len(batch.x) > SAMPLES:
        batch = batch.thinned(SAMPLES)
    context, at = problem.context(record.before.step), record.before
    with np.errstate(all="ignore"):
        return np.array([
            problem.total_loss(
                (at.parameters - multiple * record.update).astype(at.parameters.dtype), batch, at.statistics, context
            )
            for multiple in multiples
        ])  # fmt: skip


def best_multiples(case: Case, records: list[StepRecord]) -> tuple[tuple[int, ...], Array]:
    """A few of these steps, and the multiple of each one's update with the lowest training loss."""
    far = [records[k] for k in np.unique(np.linspace(0, len(records) - 1, FAR).astype(int))]
    curves = np.array([beyond(case, record) for record in far])
    best = np.array(MULTIPLES)[np.argmin(np.where(np.isfinite(curves), curves, np.inf), axis=1)]
    return tuple(record.before.step for record in far), best


def beyond(case: Case, record: StepRecord) -> Array:
    """(multiples,) the loss of training samples at multiples of a step's update."""
    at = record.before
    moved = [(at.parameters - multiple * record.update).astype(at.parameters.dtype) for multiple in MULTIPLES]
    return np.array([case.loss_at(parameters, at.statistics) for parameters in moved])


def longer(best: Array) -> float:
    """The factor for the learning rate that suits these best multiples: a quarter of the median, to
    one digit.
    """
    return float(f"{np.median(best) / 4:.0e}")


def with_rate(case: Case, factor: float) -> Remedy:
    """The remedy of this many times the learning rate, in words that name it."""
    rate = max((case.rate(record) for record in case.records), default=1.0)
    times = f"{factor:,.0f} times" if factor > 1 else f"{1 / factor:,.0f} times less than"
    words = f"train with a learning rate of {factor * rate:.2g}, {times} the present one"
    return Remedy(words, slower(factor), {"learning_rate": factor})


def part_that_helps(case: Case) -> float:
    """The part of the first update after which the loss of its mini-batch is lowest."""
    first = next((record for record in case.records if np.any(record.update)), None)
    if first is None:
        return PARTS[0]
    curve = along(case, first, PARTS)
    return PARTS[int(np.argmin(np.where(np.isfinite(curve), curve, np.inf)))]


def _too_large(
    case: Case, rises: Array, looked: list[StepRecord], ends: Array, lowest: float,
    thrown: tuple[int, float, float] | None,
) -> Finding:  # fmt: skip
    raised = f"{share(int(rises.sum()), len(rises))} of the steps looked at raised the loss of the very mini-batch"
    losses = (
        f"the training loss is {number(case.loss(case.end))} at the end, and was {number(lowest)} at the lowest; the"
        f" best constant prediction has {number(case.naive_loss)}"
    )
    if rises.mean() >= RISING:  # the stronger evidence first
        words = f"{raised} that they were computed from; {losses}."
    else:
        words = f"{losses}." + (f" {raised} that they were computed from." if rises.any() else "")
    if thrown is not None:
        step, before, after = thrown
        words = f"step {step:,} raised the loss of its mini-batch from {number(before)} to {number(after)}; {words}"
    words = f"The learning rate is too large: {words}"
    evidence = {
        "rising": float(rises.mean()), "before": ends[:, 0].tolist(), "after": ends[:, 1].tolist(),
        "learning_rate": case.rate(case.records[-1]), "loss": case.loss(case.end), "lowest": lowest,
    }  # fmt: skip
    severity = "serious" if case.loss(case.end) > 0.9 * case.naive_loss else "warning"
    remedy = with_rate(case, part_that_helps(case))
    steps = tuple(record.before.step for record in looked)
    return Finding("learning rate too large", words, "the training", severity, evidence, steps, remedy)


def _too_small(case: Case, best: Array, steps: tuple[int, ...], reached: float) -> Finding:
    left = reached / case.naive_loss
    words = (
        f"The learning rate is too small: along the direction of a step the training loss goes on falling up"
        f" to {number(float(np.median(best)))} times as far (in the median), and {100 * left:.0f} % of the loss of the"
        " best constant prediction is still left."
    )
    evidence = {
        "best_multiples": best.tolist(), "median": float(np.median(best)), "loss": reached, "constant": case.naive_loss,
        "learning_rate": case.rate(case.records[0]),
    }  # fmt: skip
    remedy = with_rate(case, longer(best))
    return Finding("learning rate too small", words, "the training", "serious", evidence, steps, remedy)


def _diverged(case: Case) -> Finding:
    words = f"The training diverged: in step {case.steps:,} a number was no longer finite."
    evidence = {"learning_rate": case.rate(case.records[-1]) if case.records else None}
    remedy = with_rate(case, min(0.01, part_that_helps(case)))
    return Finding("learning rate too large", words, "the training", "serious", evidence, (case.steps,), remedy)
