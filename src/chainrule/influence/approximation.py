"""The usual approximation of the effects, from a few checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import SettingError, setting
from chainrule.influence.subject import Subject
from chainrule.influence.walk import shares
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
        correlation: Pearson's, with the exact effects
        error: the root mean square of the differences from the exact effects, over that of the
            exact ones
        most: how many of the most helpful and of the most harmful rows were compared
        shared: how many of these are the same
    """

    steps: tuple[int, ...]
    effects: Array
    correlation: float
    error: float
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
        slope = subject.at(problem.optimizer, at).slope
        for start in range(0, count, PART):
            rows = np.arange(start, min(start + PART, count))
            own = shares(subject.exact, problem, at, problem.gather(timeline.samples, rows, at.step), slope, Context())
            # `own` is of the mean over these rows. With mini-batches of size b, a row is in one of
            # count / b steps, with the factor 1 / b: so for each step 1 / count of its own product.
            effects[rows] -= rate * own * len(rows) / count * stop / len(steps)
    return Approximation(tuple(steps), effects, *_compared(effects, exact))


def _compared(effects: Array, exact: Array) -> tuple[float, float, int, int]:
    """The correlation, the relative error, how many extreme rows were compared, and how many of
    them are the same.
    """
    spread, size = float(np.std(effects) * np.std(exact)), float(np.sqrt(np.mean(exact**2)))
    covariance = float(np.mean((effects - effects.mean()) * (exact - exact.mean())))
    error = float(np.sqrt(np.mean((effects - exact) ** 2)))
    most = min(MOST, len(exact) // 2)
    one, other = np.argsort(effects, kind="stable"), np.argsort(exact, kind="stable")
    ends = (slice(most), slice(len(exact) - most, None))
    shared = sum(len({*one[end].tolist()} & {*other[end].tolist()}) for end in ends)
    return covariance / spread if spread else math.nan, error / size if size else math.nan, most, shared
