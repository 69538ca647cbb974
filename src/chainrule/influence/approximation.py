"""The usual approximation of the effects, from a few checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import SettingError, setting
from chainrule.influence.subject import Subject
from chainrule.influence.walk import passed
from chainrule.layers.base import Context
from chainrule.training import Timeline

PART = 512
"""The training samples whose products are computed at a time."""
MOST = 10
"""How many of the most helpful and of the most harmful are compared."""


@dataclass(frozen=True, eq=False)
class Approximation:
    """The effects by TracInCP (Pruthi et al., 2020): at each checkpoint the product of a training
    sample's gradient and the subject's, times the learning rate and how often the sample is used
    until the next one. It takes every optimizer for plain gradient descent.

    Attributes:
        steps: the steps before which the weights were taken: the middle of each of as many equal
            stretches of the training
        effects: (training samples,) the approximate effects
        error: the root mean square of the differences from the exact effects, over that of the
            exact ones
        scale: the factor by which the approximate effects come closest to the exact ones (least
            squares)
        scaled_error: the error after multiplication by it
        correlation: Pearson's, with the exact effects
        rank_correlation: Spearman's: how far both sort the rows in the same order
        most: how many of the most helpful and of the most harmful rows were compared
        shared: how many of these are the same
    """

    steps: tuple[int, ...]
    effects: Array
    error: float
    scale: float
    scaled_error: float
    correlation: float
    rank_correlation: float
    most: int
    shared: int


def approximate(timeline: Timeline, subject: Subject, stop: int, checkpoints: int, exact: Array) -> Approximation:
    """The approximation from so many checkpoints, beside the exact effects.

    Raises SettingError for an optimizer without a learning rate that is the same for all weights.
    """
    count = len(timeline.samples.y)
    checkpoints = min(checkpoints, stop)
    steps = sorted({int((k + 0.5) * stop / checkpoints) for k in range(checkpoints)})
    effects = np.zeros(count)
    for record in timeline.each(steps):
        at, problem = record.before, replace(timeline.problem_at(record.before.step), augment=())
        rate = problem.optimizer.rate(at.states)
        if rate is None:
            lacks = "the run's optimizer has no learning rate that is the same for all weights"
            raise SettingError(f"{lacks}, by which the approximation multiplies; leave out {setting('checkpoints')}")
        along = subject.exact.params(subject.at(problem.optimizer, at).slope)
        for start in range(0, count, PART):
            rows = np.arange(start, min(start + PART, count))
            batch = problem.gather(timeline.samples, rows, at.step)
            own = passed(subject.exact, problem, at, batch, Context()).sample_products(along)
            # `own` is of the mean over these rows. With mini-batches of size b, a row is in one of
            # count / b steps, with the factor 1 / b: so for each step 1 / count of its own product.
            effects[rows] -= rate * own * len(rows) / count * stop / len(steps)
    return _compared(tuple(steps), effects, exact)


def _compared(steps: tuple[int, ...], effects: Array, exact: Array) -> Approximation:
    """The approximate effects, beside the exact ones; NaN where one of both has no spread."""
    size, own = float(exact @ exact), float(effects @ effects)
    scale = float(effects @ exact) / own if own else math.nan

    def error(approximate: Array) -> float:
        return math.sqrt(float(((approximate - exact) ** 2).sum()) / size) if size else math.nan

    most = min(MOST, len(exact) // 2)
    one, other = np.argsort(effects, kind="stable"), np.argsort(exact, kind="stable")
    ends = (slice(most), slice(len(exact) - most, None))
    shared = sum(len({*one[end].tolist()} & {*other[end].tolist()}) for end in ends)
    return Approximation(
        steps, effects, error(effects), scale, error(scale * effects), _correlation(effects, exact),
        _correlation(_ranks(effects), _ranks(exact)), most, shared,
    )  # fmt: skip


def _correlation(one: Array, other: Array) -> float:
    spread = float(np.std(one) * np.std(other))
    return float(np.mean((one - one.mean()) * (other - other.mean()))) / spread if spread else math.nan


def _ranks(values: Array) -> Array:
    """Each value's place in ascending order; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
