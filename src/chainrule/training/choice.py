"""What no single constant serves: validation chooses among a few values of the weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset, Samples
from chainrule.engine.threads import most_threads
from chainrule.errors import NonFiniteError
from chainrule.generators import generator
from chainrule.training import defaults, loop
from chainrule.training.plan import Plan, make_plan

FOLDS = 3
FEWEST_ROWS = 60
"""With fewer training rows than this, what is held out says too little."""
ENOUGH = 250
"""With so many rows held out, one fold is enough."""
MOST_ROWS = 6000
"""The rows that the choice is made on, at most. With the epochs, at most the default, this bounds
its time.
"""


def plan_for(network: Any, data: Dataset, *, threads: int | None = None, **settings: Any) -> Plan:
    """The plan, with the weight decay chosen if neither network nor optimizer is given, except for
    pictures, where a training takes longer.

    The other arguments are those of `make_plan`; the choice takes at most so many threads.
    """
    plan = make_plan(network, data, **settings)
    is_open = network is None and settings.get("optimizer") is None and not defaults.are_pictures(data)
    most_threads(threads)
    return with_chosen_decay(plan, data, threads) if is_open and len(data.training.x) >= FEWEST_ROWS else plan


def with_chosen_decay(plan: Plan, data: Dataset, threads: int | None = None) -> Plan:
    """The plan with that of the default decays which has the least loss on rows held out of the
    training set: by cross-validation, or on one fold if the training set is large.
    """
    each = [*folds(data, plan.seed)]
    losses = [np.mean([_loss(plan, fold, decay, threads) for fold in each]) for decay in defaults.DECAYS]
    best = defaults.DECAYS[int(np.argmin(losses))]
    return replace(plan, optimizer=_optimizer(plan, best, len(data.training.x)))


def folds(data: Dataset, seed: int) -> Iterator[Dataset]:
    """The training set, in parts: most of it to train on, the rest to validate on."""
    samples = data.training
    order = generator(seed, "folds").permutation(len(samples.x))[:MOST_ROWS]
    held_out = np.array_split(order, FOLDS)
    for part in held_out[: 1 if len(held_out[0]) >= ENOUGH else FOLDS]:
        rest = np.setdiff1d(order, part)
        yield replace(data, training=_rows(samples, rest), validation=_rows(samples, part), test=None)


def _rows(samples: Samples, rows: Array) -> Samples:
    weight = None if samples.weight is None else samples.weight[rows]
    return Samples(samples.x[rows], samples.y[rows], weight)


def _loss(plan: Plan, fold: Dataset, decay: float, threads: int | None) -> float:
    """The validation loss of a training with this decay: the least, if training stops early."""
    samples = len(fold.training.x)
    plan = replace(plan, epochs=min(plan.epochs, defaults.EPOCHS), batch_size=min(plan.batch_size, samples))
    plan = replace(plan, metrics=(), monitor="loss", min_delta=0.0, threshold=None)
    plan = replace(plan, optimizer=_optimizer(plan, decay, samples))
    try:
        end = loop.run(plan, fold, loop.start(plan), threads=threads)
    except NonFiniteError:
        return float("inf")
    if end.reason == "interrupted":
        raise KeyboardInterrupt
    losses = [epoch["validation_loss"] for epoch in end.progress.history]
    return losses[-1] if plan.patience is None else min(losses)


def _optimizer(plan: Plan, decay: float, samples: int) -> Any:
    return defaults.optimizer(plan.epochs * plan.steps_per_epoch(samples), decay)
