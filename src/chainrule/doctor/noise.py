"""Gradients of mini-batches that are more noise than signal, where that keeps the loss up.

The simple noise scale (McCandlish et al., 2018) is tr(S) / |G|^2: G is the gradient of the whole
training set, S the covariance of the gradients of single samples. Mini-batches of fewer samples
have gradients of which the larger part is noise. That alone is no fault: near a minimum it is
always so. It is one if the weights wander around a point with a lower loss, which their mean shows
(Polyak and Juditsky, 1992).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, number
from chainrule.doctor.remedies import planned
from chainrule.engine import Position
from chainrule.generators import generator

LOUD = 4.0
"""How many times the mini-batch the noise scale must be."""
BELOW = 0.8
"""The training loss of the mean of the weights, as a share of that of the weights themselves, below
which they wander.
"""
LAST = 0.25
"""The last part of the steps, of which the weights are averaged."""
BATCHES, MEAN_OF, FEWEST = 24, 12, 4
"""The mini-batches that the noise is estimated from, the positions that are averaged, and the saved
ones that are enough.
"""


@dataclass(frozen=True)
class Noise:
    """The noise of gradients before a step.

    Attributes:
        scale: tr(S) / |G|^2, in samples; infinite if no signal is found
        signal: |G|^2, the square of the norm of the whole gradient
        noise: tr(S), the variance of a single sample's gradient
    """

    scale: float
    signal: float
    noise: float


def find(case: Case) -> Iterator[Finding]:
    """Whether the noise of mini-batches keeps the loss up."""
    whole = case.whole
    size = case.plan.batch_size
    if size >= whole or case.status == "diverged" or len(case.records) < 3:
        return
    if case.rate_share(case.records[-1].before.step) < 0.25:
        return  # a schedule has ended the wandering already
    own, averaged = case.loss(case.end), case.loss(mean_of_last(case))
    if not averaged < BELOW * own:
        return
    noise = noise_at(case, case.end)
    if noise.scale < LOUD * size:
        return
    words = (
        f"The gradients of mini-batches are mostly noise: the noise scale is {number(noise.scale)} samples, but a"
        f" mini-batch has {size:,}. The weights wander: the mean of those of the last {100 * LAST:.0f} % of the steps"
        f" has a training loss of {number(averaged)} instead of {number(own)}."
    )
    evidence = {
        "noise_scale": noise.scale, "batch_size": size, "signal": noise.signal, "noise": noise.noise,
        "loss": own, "loss_of_mean": averaged,
    }  # fmt: skip
    larger = int(min(whole, size * 8))
    remedy = Remedy(
        f"train with mini-batches of {larger:,} samples, or let the learning rate fall (schedule=cosine)",
        planned(batch_size=larger), {"batch_size": min(larger, 4096)},
    )  # fmt: skip
    yield Finding("noisy gradients", words, "the training", "warning", evidence, (case.steps,), remedy)


def noise_at(case: Case, at: Position) -> Noise:
    """The noise scale, from the gradients of mini-batches and of all of them together: of a
    mini-batch of b samples, the squared norm is |G|^2 + tr(S) / b in expectation.
    """
    training, size, network = case.data.training, case.plan.batch_size, case.network
    count = int(min(BATCHES, len(training.x) // size))
    rows = generator(case.plan.seed, "noise").permutation(len(training.x))[: count * size].reshape(count, size)
    problem = replace(case.problem, penalties=())
    total = np.zeros(network.parameters.size)
    squares = 0.0
    with np.errstate(all="ignore"):
        for k, of_batch in enumerate(rows):
            batch = problem.gather(training, of_batch, at.step + k)
            gradient = problem.differentiate(at.parameters, batch, at.statistics, at.step + k).gradient
            gradient = gradient.astype(np.float64)
            total += gradient
            squares += float(gradient @ gradient) / count
    together, big = float(total @ total) / count**2, count * size
    if count < 2:
        return Noise(float("nan"), together, float("nan"))
    signal = (big * together - size * squares) / (big - size)
    noise = (squares - together) / (1 / size - 1 / big)
    return Noise(noise / signal if signal > 0 else np.inf, max(signal, 0.0), noise)


def mean_of_last(case: Case) -> Position:
    """The mean of the weights over the last steps."""
    first = int(case.steps * (1 - LAST))
    steps = [step for step in case.saved if first <= step < case.steps]
    if len(steps) < FEWEST:  # a short training, or replaying would take long
        steps = np.linspace(first, case.steps - 1, MEAN_OF).astype(int).tolist()
    steps = spread_evenly(steps)
    positions = [*(record.before for record in case.timeline.each(steps)), case.end]
    parameters = np.mean([one.parameters for one in positions], axis=0, dtype=np.float64)
    statistics = np.mean([one.statistics for one in positions], axis=0, dtype=np.float64)
    return replace(
        case.end, parameters=parameters.astype(case.network.dtype), statistics=statistics.astype(case.network.dtype)
    )


def spread_evenly(steps: list[int]) -> list[int]:
    """At most MEAN_OF of the steps, in order."""
    return [steps[k] for k in np.unique(np.linspace(0, len(steps) - 1, MEAN_OF).astype(int))] if steps else []
