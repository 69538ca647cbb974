"""Remedies as functions: another plan, or other data, for the same training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data import Dataset
from chainrule.descent.schedules import Constant
from chainrule.descent.stages import ClipGlobalNorm, LearningRate
from chainrule.doctor.finding import Change
from chainrule.layers import Layer, activation
from chainrule.training import Plan


def slower(factor: float) -> Change:
    """The learning rate, and with it every update, times this factor."""

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        return replace(plan, optimizer=plan.optimizer.then(LearningRate(Constant(factor)))), data

    return change


def clipped(limit: float) -> Change:
    """Gradients clipped to this norm."""

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        return replace(plan, optimizer=plan.optimizer.first(ClipGlobalNorm(limit))), data

    return change


def planned(**settings: Any) -> Change:
    """Other settings of the plan, such as `epochs` or `penalties`."""

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        return replace(plan, **settings), data

    return change


def both(first: Change, second: Change) -> Change:
    """One after the other."""

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        return second(*first(plan, data))

    return change


def _with_layers(plan: Plan, of: Callable[[Layer], Layer]) -> Plan:
    return replace(plan, network=replace(plan.network, layers=tuple(of(layer) for layer in plan.network.layers)))


def _drawn_anew(layer: Layer) -> Layer:
    """The layer with the default distribution of its weights."""
    own = {field.name: field.default for field in fields(layer) if field.name in ("weights", "biases")}
    return replace(layer, **{name: value for name, value in own.items() if value is not MISSING})


def drawn_anew(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
    """Weights from the distributions that suit the activations, which are the default."""
    return _with_layers(plan, _drawn_anew), data


def smooth(name: str) -> Change:
    """The same, with another activation in place of each."""

    def of(layer: Layer) -> Layer:
        return activation(name) if layer.elementwise and layer.keeps_units else _drawn_anew(layer)

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        return _with_layers(plan, of), data

    return change


def without_rows(rows: Array) -> Change:
    """Training samples left out."""

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        kept = np.setdiff1d(np.arange(len(data.training.x)), rows)
        known = None if data.rows is None else data.rows[kept]
        plan = replace(plan, batch_size=min(plan.batch_size, len(kept)))
        return plan, replace(data, training=data.training.take(kept), rows=known)

    return change


def of_inputs(function: Callable[[Array], Array]) -> Change:
    """Every sample of every set with other inputs."""

    def of(samples: Samples | None) -> Samples | None:
        return None if samples is None else samples._replace(x=function(np.asarray(samples.x)))

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        training = of(data.training)
        assert training is not None
        return plan, replace(data, training=training, validation=of(data.validation), test=of(data.test))

    return change
