"""One gradient through several optimizers: what each would make of the same weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.descent import Optimizer, State
from chainrule.descent.optimizers import NAMED
from chainrule.descent.quasi_newton import StrongWolfe
from chainrule.descent.stages import LearningRate, Point
from chainrule.engine import StepRecord
from chainrule.errors import require
from chainrule.explain import telling_weight
from chainrule.explain.update import stage_results
from chainrule.play.settings import NO_RATE, Settings
from chainrule.play.trainer import Trainer

USUAL = ("sgd", "momentum", "rmsprop", "adam")
"""The optimizers that are compared unless others are chosen."""
CHOICES = tuple(name for name in NAMED if name not in ("gradient_descent", "lbfgs"))
"""The optimizers that can be compared: their step needs no loss but its own."""
MOST_STEPS, MOST_NUMBERS = 100, 2_000_000
"""The maximum number of gradients that go through each optimizer, and of their entries in all."""


def compared(trainer: Trainer, weight: str = "", names: Sequence[str] = USUAL) -> dict[str, Any]:
    """The message that compares optimizers.

    The gradients are those of the last steps that were taken, or of the next one if there is none.
    Each optimizer starts without a past, gets all of them in turn, and is shown in the last step.
    The first row is the training's own optimizer, with the state that it really had.

    Args:
        trainer: the training
        weight: the name of the weight; one with a large gradient in that step if empty
        names: the optimizers to compare, from CHOICES

    Raises:
        SettingError: for an unknown weight or optimizer
    """
    for name in names:
        require(name in CHOICES, f"{name}: choose from {', '.join(CHOICES)}")
    records = _last_steps(trainer)
    last, layout = records[-1], trainer.plan.network.parameters
    weight = weight or telling_weight(last, layout)
    place, rate = layout.find(weight), _learning_rate(trainer, last)
    actual = trainer.timeline.problem_at(last.before.step).optimizer
    rows = [_row(_own_name(trainer), actual, last.before.states, last, place, trainer)]
    rows[0] |= {"update": float(last.update[place]), "next": float(last.after.parameters[place])}
    for name in names:
        if trainer.run is None and name == trainer.settings.optimizer:
            continue
        settings = Settings(optimizer=name, learning_rate=rate)
        optimizer = settings.make_optimizer()
        states = _states_before(optimizer, records, trainer)
        title = name if name in NO_RATE else f"{name} {rate:.4g}"
        rows.append(_row(title, optimizer, states, last, place, trainer))
    largest = max(abs(row["update"]) for row in rows) or 1.0
    for row in rows:
        row["share"] = -row["update"] / largest
    return {
        "type": "optimizers", "weight": layout.name_of(place), "step": last.before.step,
        "value": float(last.before.parameters[place]), "gradient": float(last.gradient[place]),
        "words": _words(records, trainer, rate), "rows": rows,
    }  # fmt: skip


def _last_steps(trainer: Trainer) -> list[StepRecord]:
    """The last steps, from the last edit of a weight by hand on; the next one if there is none."""
    most = max(5, min(MOST_STEPS, MOST_NUMBERS // trainer.plan.network.parameters.size))
    edited = max((step for step, _, _ in trainer.edits), default=0)
    steps = range(max(trainer.step - most, edited, 0), trainer.step)
    with np.errstate(all="ignore"):
        return list(trainer.timeline.each(steps)) or [trainer.next_record()]


def _learning_rate(trainer: Trainer, record: StepRecord) -> float:
    """The learning rate of a step; that of the settings if the optimizer has none."""
    stages = trainer.timeline.problem_at(record.before.step).optimizer.stages
    rates = [
        stage.multiplier(state)
        for stage, state in zip(stages, record.before.states, strict=True)
        if isinstance(stage, LearningRate)
    ]
    return rates[-1] if rates else trainer.settings.learning_rate


def _own_name(trainer: Trainer) -> str:
    """What the training's own optimizer is called."""
    return "this run" if trainer.run is not None else f"this training: {trainer.settings.optimizer_text}"


def _states_before(optimizer: Optimizer, records: Iterable[StepRecord], trainer: Trainer) -> Sequence[State]:
    """An optimizer's states after the gradients of all steps but the last."""
    *before, last = records
    layout = trainer.plan.network.parameters
    states: Sequence[State] = optimizer.start((before or [last])[0].before.parameters, layout)
    for record in before:
        states = optimizer.step(record.gradient, states, _point(record, trainer)).states
    return states


def _point(record: StepRecord, trainer: Trainer) -> Point:
    layout = trainer.plan.network.parameters
    return Point(record.before.parameters, layout, record.loss, record.gradient)


def _row(
    name: str, optimizer: Optimizer, states: Sequence[State], record: StepRecord, place: int, trainer: Trainer
) -> dict[str, Any]:
    """What an optimizer in these states makes of a weight's gradient."""
    point = _point(record, trainer)
    update, state, lines = 0.0, [], []
    if not any(
        isinstance(stage, StrongWolfe) for stage in optimizer.stages
    ):  # which needs other losses than the step's
        after = optimizer.step(record.gradient, states, point)
        update = float(after.update[place])
        state = _entries(states, after.states, place, record)
        lines = [work.formula for work in stage_results(optimizer.stages, record.gradient, states, point, place)]
    return {
        "name": name, "state": state, "update": update, "lines": lines,
        "next": float(record.before.parameters[place]) - update,
    }  # fmt: skip


def _entries(before: Sequence[State], after: Sequence[State], place: int, record: StepRecord) -> list[dict[str, Any]]:
    """The weight's entries of all state arrays, before and after the step."""
    shape = record.before.parameters.shape
    return [
        {"name": name.rpartition(".")[2], "before": float(array[place]), "after": float(now[name][place])}
        for then, now in zip(before, after, strict=True) for name, array in then.items() if array.shape == shape
    ]  # fmt: skip


def _words(records: Sequence[StepRecord], trainer: Trainer, rate: float) -> str:
    first, last = records[0].before.step + 1, records[-1].before.step + 1
    if trainer.step == 0:
        which = "The gradient of the next step goes"
    elif len(records) == 1:
        which = f"The gradient of step {last:,} goes"
    else:
        which = f"The gradients of steps {first:,} to {last:,} go, one after another,"
    return (
        f"{which} through each optimizer, which starts without a past, with the learning rate {rate:.4g}; the first row"
        " is what the training's own optimizer, with its whole past, really did. g is the"
        f" weight's gradient in step {last:,}; m and v are what an optimizer remembers, before and after it; u is the"
        " update, which is subtracted from the weight."
    )


def described(settings: Settings) -> str:
    """Settings in a line, such as "sgd 0.5; 3 tanh; moons; batch size 4; seed 0"."""
    layers = ", ".join(
        f"{layer.units} {layer.activation}" + (f" ({layer.weights})" if layer.weights else "")
        + (f", dropout {layer.dropout:g}" if layer.dropout else "")
        for layer in settings.layers
    )  # fmt: skip
    layers = settings.network or layers
    data = "my own points" if settings.data.kind == "drawn" else settings.data.name
    parts = [settings.optimizer_text, layers or "no hidden layer", data, f"batch size {settings.batch_size}"]
    parts += [f"{name} {value:g}" for name, value in (("L1", settings.l1), ("L2", settings.l2)) if value]
    return "; ".join([*parts, f"seed {settings.seed}"])
