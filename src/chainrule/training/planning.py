"""From what the user has chosen to a plan: the rest follows from the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from reprlib import repr as brief
from typing import Any, TypedDict

import numpy as np

from chainrule import generators
from chainrule.arrays import Shape, Vector
from chainrule.augmentation import Augmentation, augmentations
from chainrule.data import Dataset
from chainrule.descent import Optimizer
from chainrule.descent import optimizer as named_optimizer
from chainrule.engine import precision, require_engine
from chainrule.errors import DataError, SettingError, at_least, is_number, require, setting
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.losses import penalty as named_penalty
from chainrule.training import defaults
from chainrule.training import metrics as measures
from chainrule.training.blocks import Blocks, blocks_for
from chainrule.training.class_weights import ClassWeight, weighted
from chainrule.training.metrics import Choice, Chosen, Metric
from chainrule.training.networks import Layers, build_network, default_loss
from chainrule.training.plan import Plan, never
from chainrule.training.threshold import require_two_classes


class Choices(TypedDict, total=False):
    """The choices that a plan is made of, but for the network; see `make_plan`."""

    loss: str | Loss | None
    class_weight: ClassWeight | None
    optimizer: str | Optimizer | None
    epochs: int | None
    batch_size: int | None
    seed: int
    penalties: str | Penalty | Sequence[str | Penalty]
    patience: int | str | None
    monitor: Choice
    min_delta: float
    threshold: Choice | float | None
    augment: str | Augmentation | Sequence[str | Augmentation] | None
    metrics: Choice | Sequence[Choice] | None
    dtype: str
    engine: str | None
    devices: int | None


MOST_TRIED = 10_000
"""The validation rows on a disk that metrics are tried on before training."""

AUTO = "auto"
"""The default patience, which depends on the number of validation rows."""


def make_plan(
    network: Layers | None,
    data: Dataset,
    *,
    loss: str | Loss | None = None,
    class_weight: ClassWeight | None = None,
    optimizer: str | Optimizer | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    penalties: str | Penalty | Sequence[str | Penalty] = (),
    patience: int | str | None = AUTO,
    monitor: Choice = "loss",
    min_delta: float = 0.0,
    threshold: Choice | float | None = None,
    augment: str | Augmentation | Sequence[str | Augmentation] | None = None,
    metrics: Choice | Sequence[Choice] | None = None,
    dtype: str = "float32",
    engine: str | None = None,
    devices: int | None = None,
) -> Plan:
    """Make the choices that were left open, and check the others against the data.

    The arguments are those of `train`. Raises DataError, ShapeError or SettingError for choices
    that don't fit together.
    """
    seed = generators.seed(seed)
    loss = default_loss(data) if loss is None else named_loss(loss)
    measured: tuple[Chosen, ...] = measures.default(data.target, loss)
    if metrics is not None:
        measured = measures.check(metrics, data.target)
    measured, monitor = _watched(measured, monitor, min_delta, data)
    measured, threshold = _threshold(measured, threshold, loss, data)
    _check_targets(loss, data)
    loss = weighted(loss, class_weight, data)
    is_open = network is None
    if augment is None and is_open and defaults.are_pictures(data):
        augment = defaults.augmentation(data)
    engine = require_engine(engine)
    computed = precision(engine, dtype, devices)
    network = build_network(network, data, loss, computed.pop("dtype"))
    samples = len(data.training.x)
    epochs = defaults.epochs(data, is_open) if epochs is None else epochs
    epochs = at_least(f"{epochs} epochs: training takes at least 1", epochs, 1)
    patience = _patience(patience, monitor != "loss" or min_delta > 0, data)
    chosen = None if optimizer is None else named_optimizer(optimizer)
    if batch_size is None:
        batch_size = samples if chosen and chosen.whole_batch else min(defaults.batch_size(data), samples)
    batch_size = at_least(f"the batch size is {batch_size}; it must be at least 1", batch_size, 1)
    if batch_size > samples:
        excess = f"a batch of {batch_size} is more than the {samples} rows to train on"
        raise DataError(f"{data.name}: {excess}; use {setting('batch_size', samples)} or less")
    plan = Plan(
        network, loss, chosen or defaults.optimizer(epochs * -(-samples // batch_size)), epochs, batch_size, seed,
        _penalties(penalties), patience, measured, engine, monitor, float(min_delta), threshold,
        augment=_augment(augment, data, loss), blocks=_blocks(data, batch_size, chosen), **computed,
    )  # fmt: skip
    # errors are raised before anything is written
    initial = network.draw(seed)
    plan.try_out(initial, data.training.x[:1], data.training.y[:1])
    _check_defined(plan, data, initial)
    return plan


def _blocks(data: Dataset, batch_size: int, optimizer: Optimizer | None) -> Blocks | None:
    """How the training set is shuffled; raises SettingError for an optimizer that needs all of it
    at once if it is on a disk.
    """
    if data.training.on_disk and optimizer is not None and optimizer.whole_batch and batch_size == len(data.training.x):
        needs = "the optimizer takes all samples in each step, but they don't fit into memory"
        raise SettingError(f"{data.name}: {needs}; choose another, such as {setting('optimizer', 'adamw')}")
    return blocks_for(data.training, batch_size, data.memory)


def _augment(chosen: Any, data: Dataset, loss: Loss) -> tuple[Augmentation, ...]:
    """The augmentations; raises SettingError for one that does not suit the samples or the loss."""
    found = augmentations(() if chosen is None else chosen)
    for one in found:
        check_augmentation(one, data.input_shape, loss)
    return found


def check_augmentation(one: Augmentation, shape: Shape, loss: Loss) -> None:
    """Raise SettingError if it suits not the samples, which have this shape, or not the loss."""
    one.check(shape)
    rule = f"augmentation {one.notation}: the loss {type(loss).__name__} can't take targets that are mixed"
    require(not one.mixes_targets or loss.takes_mixed, f"{rule}; choose cross-entropy, or leave it out")


def on_engine(plan: Plan, engine: str | None = None, devices: int | None = None) -> Plan:
    """The plan on another engine, or on so many of its devices; by default on its own.

    Raises SettingError if that engine is not installed, if there are not so many devices, or for a
    precision that it does not have.
    """
    if engine is None and devices is None:
        if plan.engine == "jax":
            require_engine(plan.engine)
        return plan
    chosen = require_engine(engine or plan.engine)
    own = precision(chosen, (chosen == "jax" and plan.compute) or plan.network.dtype, devices)
    return replace(plan, engine=chosen, devices=own["devices"], compute=own["compute"])


def with_patience(plan: Plan, patience: int | str | None, data: Dataset) -> Plan:
    """The plan with another patience; raises SettingError if there is nothing to watch."""
    return replace(plan, patience=_patience(patience, False, data))


def _patience(patience: int | str | None, is_asked_for: bool, data: Dataset) -> int | None:
    """After how many epochs without an improvement training stops."""
    if patience == AUTO:
        patience = defaults.PATIENCE if is_asked_for else defaults.patience(data)
    if patience is None:
        return None
    rule = f"it must be a number of epochs, at least 1; {never()}"
    patience = at_least(f"the patience is {patience!r}; {rule}", patience, 1)
    _require_validation(data, "early stopping watches", f", or leave {setting('patience')} out")
    return patience


def _check_defined(plan: Plan, data: Dataset, initial: Vector) -> None:
    """Try the functions that are metrics, and the watched metric, on the validation set; raises
    SettingError if that is undefined for its classes.
    """
    samples, watched = data.validation, plan.metric(plan.monitor)
    tried = [metric for metric in plan.metrics if isinstance(metric, Metric) or metric == watched]
    if samples is None or not tried:
        return
    if samples.on_disk:
        samples = samples.thinned(MOST_TRIED)
    with np.errstate(all="ignore"):
        prediction = plan.network.predict(initial, samples.x)
    measured = measures.measure(tried, data.target, plan.loss, prediction, samples.y, samples.weight)
    value = measured.get(plan.monitor, 0.0) if data.target.is_class else 0.0
    causes = f"a class is missing there, or the loss {type(plan.loss).__name__} has no probabilities"
    require(not math.isnan(value), f"the watched metric {plan.monitor} is undefined on the validation set: {causes}")


def _watched(
    measured: tuple[Chosen, ...], monitor: Choice, min_delta: Any, data: Dataset
) -> tuple[tuple[Chosen, ...], str]:
    """The metrics with the one to watch, and its name; raises SettingError if it can't be
    watched.
    """
    require(is_number(min_delta, 0), f"{setting('min_delta')} is {min_delta!r}; it must be a number, at least 0")
    if isinstance(monitor, str):
        monitor = monitor.removeprefix("validation_")  # as it is called in the history
    if monitor == "loss" and min_delta == 0:
        return measured, "loss"
    _require_validation(data, "early stopping watches")
    return (measured, "loss") if monitor == "loss" else _with(measured, monitor, data)


def _require_validation(data: Dataset, why: str, otherwise: str = "") -> None:
    remedy = f"set rows aside ({setting('validation', 0.1)}){otherwise}"
    require(data.validation is not None, f"{why} the validation set, of which there is none; {remedy}")


def _with(measured: tuple[Chosen, ...], metric: Choice, data: Dataset) -> tuple[tuple[Chosen, ...], str]:
    """The metrics with this one, and its name."""
    if isinstance(metric, str) and metric in map(measures.name_of, measured):
        return measured, metric
    (checked,) = measures.check((metric,), data.target)
    return tuple(dict.fromkeys((*measured, checked))), measures.name_of(checked)


def _threshold(
    measured: tuple[Chosen, ...], threshold: Any, loss: Loss, data: Dataset
) -> tuple[tuple[Chosen, ...], str | float | None]:
    """The metrics with the one by which the threshold is chosen, if it is a function, and its name
    or the threshold; raises SettingError for what does not decide between classes.
    """
    if threshold is None:
        return measured, None
    require_two_classes(data.target, loss)
    if is_number(threshold):
        return measured, float(threshold)
    _require_validation(data, "a threshold is chosen on")
    added, name = _with(measured, threshold, data)
    metric = next(metric for metric in added if measures.name_of(metric) == name)
    measures.check_threshold_metric(metric)
    return (measured if isinstance(metric, str) else added), name


def _penalties(chosen: str | Penalty | Sequence[str | Penalty]) -> tuple[Penalty, ...]:
    """These penalties, or this one; SettingError for what is none."""
    chosen = (chosen,) if isinstance(chosen, str | Penalty) else chosen
    require(isinstance(chosen, Iterable), f"the penalties are {brief(chosen)}; pass a list, such as ['l2 0.001']")
    return tuple(map(named_penalty, chosen))


def _check_targets(loss: Loss, data: Dataset) -> None:
    """Raise DataError if the loss is not defined for some target."""
    if data.task != "regression" or loss.least_target == -math.inf:
        return
    for part in (data.training, data.validation, data.test):
        smallest = min((chunk.y.min() for chunk in part.chunks() if chunk.y.size), default=0) if part is not None else 0
        if smallest < loss.least_target:
            allowed = f"the loss {type(loss).__name__} takes targets of {loss.least_target:g} or more"
            raise DataError(f"{data.name}: {data.target.name} has the value {smallest:g}; {allowed}")
