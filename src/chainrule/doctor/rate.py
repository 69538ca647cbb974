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

ONE, MULTIPLES = (0.0, 1.0), (0.0, 1.0, 8.0, 32.0, 128.0, 512.0)
"""The multiples of an update at which the loss of its mini-batch, and of all, is measured."""
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
    if (rises.mean() >= RISING and reached > LEFT * case.naive_loss) or not reached < RISEN * max(
        lowest, case.naive_loss
    ):
        yield _too_large(case, rises, later, ends, lowest)
        return
    if reached > STILL * case.naive_loss:
        far = [looked[k] for k in np.unique(np.linspace(0, len(looked) - 1, FAR).astype(int))]
        curves = np.array([beyond(case, record) for record in far])
        best = np.array(MULTIPLES)[np.argmin(np.where(np.isfinite(curves), curves, np.inf), axis=1)]
        if np.median(best) >= TOO_SHORT:
            yield _too_small(case, best, tuple(record.before.step for record in far), reached)


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


def beyond(case: Case, record: StepRecord) -> Array:
    """(multiples,) the loss of training samples at multiples of a step's update."""
    at = record.before
    moved = [(at.parameters - multiple * record.update).astype(at.parameters.dtype) for multiple in MULTIPLES]
    return np.array([case.loss_at(parameters, at.statistics) for parameters in moved])


def _faster(words: str, factor: float) -> Remedy:
    return Remedy(words, slower(factor), {"learning_rate": factor})


def _too_large(case: Case, rises: Array, looked: list[StepRecord], ends: Array, lowest: float) -> Finding:
    count = int(rises.sum())
    words = (
        f"The learning rate is too large: {share(count, len(rises))} of the steps looked at raised the loss of the very"
        f" mini-batch that they were computed from. The training loss is {number(case.loss(case.end))} at the end, and"
        f" was {number(lowest)} at the lowest; the best constant prediction has {number(case.naive_loss)}."
    )
    evidence = {
        "rising": float(rises.mean()), "before": ends[:, 0].tolist(), "after": ends[:, 1].tolist(),
        "learning_rate": case.rate(case.records[-1]), "loss": case.loss(case.end), "lowest": lowest,
    }  # fmt: skip
    severity = "serious" if case.loss(case.end) > 0.9 * case.naive_loss else "warning"
    remedy = _faster("train with a tenth of the learning rate", 0.1)
    steps = tuple(record.before.step for record in looked)
    return Finding("learning rate too large", words, "the training", severity, evidence, steps, remedy)


def _too_small(case: Case, best: Array, steps: tuple[int, ...], reached: float) -> Finding:
    factor = float(2 ** np.floor(np.log2(min(np.median(best) / 4, 256))))
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
    remedy = _faster(f"train with {factor:g} times the learning rate", factor)
    return Finding("learning rate too small", words, "the training", "serious", evidence, steps, remedy)


def _diverged(case: Case) -> Finding:
    words = f"The training diverged: in step {case.steps:,} a number was no longer finite."
    evidence = {"learning_rate": case.rate(case.records[-1]) if case.records else None}
    remedy = _faster("train with a hundredth of the learning rate", 0.01)
    return Finding("learning rate too large", words, "the training", "serious", evidence, (case.steps,), remedy)
