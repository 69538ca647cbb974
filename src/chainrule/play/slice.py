"""The step that the page shows, and the loss of its mini-batch as only one weight changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import Derivatives, differentiate
from chainrule.data import Samples
from chainrule.engine import Position
from chainrule.engine.numpy import NumpyEngine
from chainrule.play.lines import short
from chainrule.play.trainer import Trainer

POINTS, FEWEST, AFFORDED = 61, 13, 1e10
"""Points of the loss along one weight, how many of a large network, and about how many
multiply-adds all of them may take.
"""
OWN = np.array([-1])
"""Stands for the rows of the user's own sample, which is in no data set."""


def batch_shown(trainer: Trainer, position: Position, rows: Array) -> Samples:
    """The mini-batch of the step after this position; the user's own sample, if it is shown."""
    if trainer.own is not None and rows is OWN:
        own = trainer.own
        return own.samples(None if own.is_known else int(trainer.plan.loss.classes(trainer.predict(own.x))[0]))
    return trainer.timeline.problem_at(position.step).gather(trainer.data.training, rows, position.step)


def step_shown(trainer: Trainer) -> tuple[Position, Array, Derivatives]:
    """The position before the step that the stage shows, its rows, and its derivatives; those of
    the user's own sample at the present weights, if it is shown.
    """
    if trainer.own is None:
        return step_of_batch(trainer)
    position, plan = trainer.position, trainer.plan
    samples = batch_shown(trainer, position, OWN)
    with np.errstate(all="ignore"):  # no step is taken with it: without dropout
        derivatives = differentiate(
            plan.network, plan.loss, position.parameters, samples.x, samples.y,
            statistics=position.statistics, penalties=plan.penalties, wants_input=True,
        )  # fmt: skip
    return position, OWN, derivatives


def step_of_batch(trainer: Trainer) -> tuple[Position, Array, Derivatives]:
    """The position before the step that the page shows, the rows of its mini-batch, and its
    derivatives.
    """
    if trainer.pending is not None:
        return trainer.position, trainer.pending.rows, trainer.pending.derivatives
    if trainer.last is not None and trainer.phase == "update":
        position, rows = trainer.last.before, trainer.last.rows
    else:
        position, rows = trainer.position, trainer.next_rows()
    batch = batch_shown(trainer, position, rows)
    with np.errstate(all="ignore"):
        problem = trainer.timeline.problem_at(position.step)
        derivatives, _ = NumpyEngine(problem).look(position, batch, wants_input=True)
    return position, rows, derivatives


def next_parameters(trainer: Trainer, position: Position, rows: Array) -> Array:
    """The parameters after the step; unchanged by the user's own sample."""
    if rows is OWN:
        return position.parameters
    if trainer.last is not None and trainer.last.before is position:
        return trainer.last.after.parameters
    with np.errstate(all="ignore"):
        batch = batch_shown(trainer, position, rows)
        return NumpyEngine(trainer.timeline.problem_at(position.step)).step(position, batch, rows).after.parameters


def samples_shown(trainer: Trainer, rows: Array, sample: int) -> dict[str, Any]:
    """The part of a message that says which samples the stage can show: their rows in the training
    set, their numbers in the data as it was read, and which of them is shown; -1 for a sample that
    is not in the mini-batch, with its row if it is in the training set.
    """
    own = trainer.own
    batch = [int(row) for row in (rows if own is None else trainer.next_rows())]
    numbers = [trainer.number_of(row) for row in batch]
    shown = {"rows": batch, "numbers": numbers, "sample": sample if own is None else -1}
    if own is not None and own.row is not None:
        shown |= {"chosen": own.row, "chosen_row": trainer.number_of(own.row)}
    return shown


def slice_of(trainer: Trainer, weight: str) -> dict[str, Any]:
    """The loss of the step's mini-batch as only one weight changes: a curve, its tangent at the
    weight's value, and where the step goes.
    """
    position, rows, derivatives = step_of_batch(trainer)
    after = next_parameters(trainer, position, rows)
    place, batch = trainer.plan.network.parameters.find(weight), batch_shown(trainer, position, rows)
    value, gradient, then = float(position.parameters[place]), float(derivatives.gradient[place]), float(after[place])
    reach = min(max(0.5, 10 * abs(then - value)), 1e3)
    problem = trainer.timeline.problem_at(position.step)

    def loss(w: float) -> float:
        parameters = position.parameters.copy()
        parameters[place] = w
        with np.errstate(all="ignore"):
            return problem.total_loss(parameters, batch, position.statistics, problem.context(position.step))

    nodes = trainer.plan.network.nodes
    cost = len(rows) * sum(node.layer.cost(node.built) for node in nodes)
    values = np.linspace(value - reach, value + reach, POINTS if POINTS * cost <= AFFORDED else FEWEST)
    now, next_loss = loss(value), loss(then)
    against = ", against the slope" if (then - value) * gradient < 0 else ""
    uphill = (
        f"uphill lies {'a larger' if gradient > 0 else 'a smaller'} weight" if gradient else "the curve is level here"
    )
    return {
        "type": "slice", "weight": weight, "step": position.step, "value": value, "loss": now,
        "gradient": gradient, "next": then, "next_loss": next_loss,
        "values": values.tolist(), "losses": [loss(float(w)) for w in values],
        "words": f"The loss of this mini-batch, L = {now:.4f}, as only this weight changes. Its slope is the"
        f" derivative: {uphill}.",
        "step_words": f"The step moves this weight from {short(value)} to {short(then)}{against}. By it alone the loss"
        f" of the mini-batch goes from {now:.5f} to {next_loss:.5f}.",
    }  # fmt: skip
