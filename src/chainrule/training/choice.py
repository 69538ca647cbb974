"""What no single constant serves: validation chooses between networks and linear models, and how
strongly their weights are shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Unpack

import numpy as np

from chainrule.arrays import Array, as_read
from chainrule.data import Dataset, Samples
from chainrule.engine import Batches
from chainrule.generators import generator
from chainrule.rows import Rows
from chainrule.threads import most_threads
from chainrule.training import defaults, loop
from chainrule.training.networks import Layers
from chainrule.training.plan import Plan
from chainrule.training.planning import Choices, make_plan
from chainrule.training.selection import Selection

FOLDS = 3
FEWEST_ROWS = 30
"""With fewer training rows than this, what is held out says too little."""
ENOUGH = 250
"""With so many rows held out, one fold is enough."""
MOST_ROWS = 6000
"""The rows that the choice is made on, at most. With the epochs, at most the default, this bounds
its time.
"""
CLEARLY = 1.0
"""After a fold, the candidates that are worse than the best by more than so many standard errors
are not tried on the others.
"""
OUTLIERS = 0.005
"""The share of the held-out rows, those with the greatest losses, that the choice does not look at:
a single typing error can outweigh all others where a loss grows with the square.
"""
STRETCH, GAIN = 4, 1e-3
"""L-BFGS is near enough to the minimum of a linear model for a comparison when STRETCH steps gain
less than this share of the loss.
"""

Candidate = Callable[[int], Plan]
"""What may be chosen: the plan of a training on so many rows."""

Named = dict[str, Candidate]
"""Candidates by their names."""


def plan_for(network: Layers | None, data: Dataset, *, threads: int | None = None, **settings: Unpack[Choices]) -> Plan:
    """The plan, chosen among candidates if neither network nor optimizer is given, except for
    pictures, sequences and texts, where a training takes longer.

    The other arguments are those of `make_plan`; the choice takes at most so many threads.
    """
    plan = make_plan(network, data, **settings)
    is_open = network is None and settings.get("optimizer") is None and not defaults.takes_long(data)
    most_threads(threads)
    rows = len(data.training.x)
    if not is_open or rows < FEWEST_ROWS:
        return plan
    candidates: Named = {f"network with decay {decay:g}": partial(_network, plan, decay) for decay in defaults.DECAYS}
    if data.training.on_disk:  # where the optimizer of linear models, which takes all rows at once, can't be used
        data = replace(data, training=_sample(data.training, plan.seed))
    elif settings.get("batch_size") is None and len(data.input_shape) == 1:
        linear = make_plan("", data, **settings)
        shrunk: Named = {
            f"linear model with penalty {strength:g}": partial(_linear, linear, strength)
            for strength in defaults.STRENGTHS
        }
        # With fewer rows than inputs there is not even enough to determine a line.
        candidates = shrunk if rows < data.input_shape[0] else candidates | shrunk
    selection = select(candidates, data, plan.seed, threads)
    return replace(candidates[selection.name](rows), selection=selection)


def _network(plan: Plan, decay: float, rows: int) -> Plan:
    """This plan of a network, with such a decay."""
    size = min(plan.batch_size, rows)
    plan = plan if size == plan.batch_size else replace(plan, batch_size=size, blocks=None)
    return replace(plan, optimizer=defaults.optimizer(plan.epochs * plan.steps_per_epoch(rows), decay))


def _linear(plan: Plan, strength: float, rows: int) -> Plan:
    """This plan of a linear model, with such a penalty, trained on all samples at once."""
    penalties = (*plan.penalties, defaults.penalty(strength, rows))
    return replace(plan, batch_size=rows, optimizer=defaults.linear_optimizer(), penalties=penalties)


def select(candidates: Named, data: Dataset, seed: int, threads: int | None = None) -> Selection:
    """The candidate with the least loss on rows held out of the training set: by cross-validation,
    or on one fold if the training set is large. Those that are clearly worse than the best after a
    fold are not tried on the others (a race: Maron and Moore, 1993).
    """
    losses = dict.fromkeys(candidates, np.empty(0))
    means: dict[str, float | None] = dict.fromkeys(candidates)
    trainings, racing = dict.fromkeys(candidates, 0), list(candidates)
    for fold in folds(data, seed):
        for name in racing:
            losses[name] = np.append(losses[name], held_out_losses(candidates[name], fold, threads))
            trainings[name] += 1
        usual = _usual({name: losses[name] for name in racing})
        means |= {name: float(usual[name].mean()) if name in usual else None for name in racing}
        racing = _still_racing(usual) or racing
        if len(racing) == 1:
            break
    best, rows = list(candidates).index(racing[0]), min(len(data.training.x), MOST_ROWS)
    return Selection("model", tuple(candidates), tuple(means.values()), best, tuple(trainings.values()), rows)


def _usual(losses: Mapping[str, Array]) -> dict[str, Array]:
    """The losses of all candidates on the same rows, those but for OUTLIERS; without the candidates
    that diverged.
    """
    finite = {name: each for name, each in losses.items() if np.isfinite(each).all()}
    if not finite:
        return {}
    worst = np.max(list(finite.values()), axis=0)
    rows = np.argsort(worst, kind="stable")[: len(worst) - int(OUTLIERS * len(worst))]
    return {name: each[rows] for name, each in finite.items()}


def _still_racing(losses: Mapping[str, Array]) -> list[str]:
    """Those that are not clearly worse than the best on the same rows, the best first."""
    ranked = sorted(losses, key=lambda name: losses[name].mean())
    excess = {name: losses[name] - losses[ranked[0]] for name in ranked}
    return [name for name in ranked if excess[name].mean() <= CLEARLY * excess[name].std() / len(excess[name]) ** 0.5]


def folds(data: Dataset, seed: int) -> Iterator[Dataset]:
    """The training set, in parts: most of it to train on, the rest to validate on."""
    samples = data.training
    order = generator(seed, "folds").permutation(len(samples.x))[:MOST_ROWS]
    held_out = np.array_split(order, FOLDS)
    for part in held_out[: 1 if len(held_out[0]) >= ENOUGH else FOLDS]:
        rest = np.setdiff1d(order, part)
        yield replace(data, training=_rows(samples, rest), validation=_rows(samples, part), test=None)


def _sample(samples: Rows, seed: int) -> Samples:
    """As many of the samples as the choice is made on, at random."""
    count = len(samples.x)
    return samples.take(np.sort(generator(seed, "sample").choice(count, min(count, MOST_ROWS), replace=False)))


def _rows(samples: Samples, rows: Array) -> Samples:
    weight = None if samples.weight is None else samples.weight[rows]
    return Samples(samples.x[rows], samples.y[rows], weight)


def held_out_losses(candidate: Candidate, fold: Dataset, threads: int | None = None) -> Array:
    """(rows,) the validation loss of each row after a training; if that stops early, after the
    epoch with the least loss. Infinite if the training diverges.

    The steps are those of `loop.run`, but nothing is measured that nobody looks at.
    """
    held_out, rows = fold.validation, len(fold.training.x)
    assert held_out is not None
    plan = candidate(rows)
    plan = replace(plan, epochs=min(plan.epochs, defaults.EPOCHS))
    batches = _batches(plan, fold.training)
    problem = replace(plan.problem(rows), optimizer=plan.optimizer.over(len(batches)))
    engine, position = plan.make_engine(problem, threads), loop.start(plan).position
    x, y, whole = as_read(held_out.x), np.asarray(held_out.y), plan.optimizer.whole_batch
    patience = plan.epochs if whole or plan.patience is None else plan.patience
    best, waited, before = np.full(len(x), np.inf), 0, np.inf
    with np.errstate(all="ignore"):
        for start, end in pairwise(_ends(plan, len(batches))):
            for chunk in engine.chunks(position, batches.cut(start, end)):
                if not chunk.finite:
                    return best
                position, loss = chunk.after, float(chunk.losses[-1])
            losses = plan.loss.samples(engine.predict(position.parameters, x, position.statistics), y)
            losses = losses if held_out.weight is None else losses * held_out.weight
            is_better = whole or losses.mean() < best.mean()
            best, waited = (losses, 0) if is_better else (best, waited + 1)
            if waited >= patience or (whole and loss > (1 - GAIN) * before):
                break
            before = loss
    return best


def _batches(plan: Plan, training: Samples) -> Batches:
    """The mini-batches of all epochs, one after another."""
    rows = len(training.x)
    orders = np.tile(np.arange(rows), (plan.epochs, 1))
    if plan.batch_size < rows:
        orders = generator(plan.seed, "orders").permuted(orders, axis=1)
    return Batches(as_read(training.x), np.asarray(training.y), training.weight, orders.ravel(), plan.batch_size)


def _ends(plan: Plan, steps: int) -> list[int]:
    """The steps after which the validation loss is computed: with early stopping after each
    epoch.
    """
    stretches = 1 if plan.patience is None else plan.epochs
    if plan.optimizer.whole_batch:
        stretches = max(plan.epochs // STRETCH, 1)
    return np.linspace(0, steps, min(stretches, steps) + 1).round().astype(int).tolist()
