"""What to train, and how, with every choice made: the output layer, the loss and the rest follow
from the data unless they are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import Any, TypedDict

import numpy as np

from chainrule import generators
from chainrule.arrays import Array, Deferred, Shape, Vector
from chainrule.augmentation import Augmentation, augmentations
from chainrule.data import Dataset, Samples, Target
from chainrule.descent import Optimizer
from chainrule.descent import optimizer as named_optimizer
from chainrule.engine import Batches, Engine, Problem, make_engine, precision, require_engine
from chainrule.errors import DataError, SettingError, ShapeError, at_least, is_number, require, setting
from chainrule.kinds import Kind, described
from chainrule.layers import Dense, Flatten, Input, Layer
from chainrule.layers.combinators import separate
from chainrule.layers.notation import parse
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, Loss, MeanSquaredError, Ordinal, Penalty
from chainrule.losses import loss as named_loss
from chainrule.losses import penalty as named_penalty
from chainrule.network import Network, of_sequences, of_texts
from chainrule.processes import ALONE, Processes
from chainrule.summary import Shown, Summary
from chainrule.training import defaults, history
from chainrule.training import metrics as measures
from chainrule.training.blocks import Blocks, Order, blocks_for, whole_epoch
from chainrule.training.causality import require_causal
from chainrule.training.class_weights import ClassWeight, weighted
from chainrule.training.metrics import Choice, Chosen, Metric
from chainrule.training.selection import Selection
from chainrule.training.threshold import require_two_classes

Layers = str | Layer | Sequence[Layer] | Network
"""What `train` takes for a network: its hidden layers as text, all its layers, or a network."""


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


MOST_EPOCHS = 10**12
"""No training takes as many; files name steps with at most 18 digits."""


MOST_TRIED = 10_000
"""The validation rows on a disk that metrics are tried on before training."""

AUTO = "auto"
"""The default patience, which depends on the number of validation rows."""


@dataclass(frozen=True, repr=False)
class Plan(Kind, Shown):
    """A training with every choice made; with the data it determines the result bit for bit.

    Attributes:
        network: what is trained
        loss: what is minimized
        optimizer: the rules of an update, with the learning-rate schedule
        epochs: the number of passes over the training set, at most
        batch_size: the samples of a mini-batch; at most the number of training rows
        seed: of the initial weights, the order of the samples and dropout
        penalties: what is added to the loss
        patience: the number of epochs without a better value of the watched metric after which
            training stops; None to never stop early
        metrics: what is measured on the validation set after each epoch, besides the loss
        engine: the name of the engine; None for the fastest
        monitor: the name of the watched metric: "loss", or one of the metrics
        min_delta: by how much it must be better
        threshold: from which probability on the second of two classes is predicted, or the name of
            the metric by which that is chosen on the validation set; None for the more probable
            class
        selection: what validation chose for the plan; None if everything was given or is fixed
        augment: how the samples of a mini-batch are changed at random
        devices: the kind and number of the devices that the JAX engine computes on
        compute: the dtype of its products, "bfloat16"; None for that of the weights
        blocks: how the training set is shuffled if it does not fit into memory; None for as a whole
        ranks: on how many processes steps are taken, each of which has its share of a mini-batch
    """

    network: Network
    loss: Loss
    optimizer: Optimizer
    epochs: int
    batch_size: int
    seed: int = 0
    penalties: tuple[Penalty, ...] = ()
    patience: int | None = None
    metrics: tuple[str | Metric, ...] = ()
    engine: str | None = None
    monitor: str = "loss"
    min_delta: float = 0.0
    threshold: str | float | None = None
    selection: Selection | None = None
    augment: tuple[Augmentation, ...] = ()
    devices: tuple[str, int] | None = None
    compute: str | None = None
    blocks: Blocks | None = None
    ranks: int = 1

    def __post_init__(self) -> None:
        epochs, patience, size = self.epochs, self.patience, self.batch_size
        require(type(epochs) is int and epochs >= 1, f"{epochs} epochs: training takes at least 1")
        require(epochs <= MOST_EPOCHS, f"{epochs} epochs: training takes at most {MOST_EPOCHS:,}")
        require(type(size) is int and size >= 1, f"the batch size is {size}; it must be at least 1")
        patient = patience is None or (type(patience) is int and 1 <= patience <= MOST_EPOCHS)
        allowed = f"a number of epochs, at least 1 and at most {MOST_EPOCHS:,}; {_never()}"
        require(patient, f"the patience is {patience!r}; it must be {allowed}")
        is_measured = self.monitor == "loss" or self.monitor in map(measures.name_of, self.metrics)
        require(is_measured, f"the watched metric {self.monitor} is not measured; add it to the metrics")
        delta, threshold = self.min_delta, self.threshold
        require(
            is_number(delta, 0, below=math.inf), f"{setting('min_delta')} is {delta!r}; it must be a number, at least 0"
        )
        is_share = isinstance(threshold, str) or threshold is None or (is_number(threshold, 0) and threshold <= 1)
        rule = "it must be a probability from 0 to 1, or the metric by which it is chosen"
        require(is_share, f"the threshold is {threshold!r}; {rule}")
        block = size if self.blocks is None else self.blocks.rows
        require(block % size == 0, f"blocks of {block} rows can't be divided into mini-batches of {size}")

    def metric(self, name: str) -> str | Metric:
        """The metric of this name."""
        return next((metric for metric in self.metrics if measures.name_of(metric) == name), name)

    @property
    def monitors_greater(self) -> bool:
        """Whether more of the watched metric is better."""
        return measures.greater_is_better(self.metric(self.monitor))

    @property
    def fixed_threshold(self) -> float | None:
        """The threshold, if it is not chosen by a metric."""
        return None if isinstance(self.threshold, str) else self.threshold

    def summary(self) -> Summary:
        """Its choices, and the layers of the network."""
        about = f"at most {self.epochs:,} epochs of mini-batches of {self.batch_size:,}"
        return Summary("Plan", about, self.facts, self.network.table)

    @property
    def facts(self) -> dict[str, str]:
        """Its choices in words, without the layers of the network."""
        penalties = "".join(f" + {described(penalty)}" for penalty in self.penalties)
        facts = {
            "loss": described(self.loss) + penalties,
            "optimizer": " > ".join(map(described, self.optimizer.stages)),
            "batches": f"of {self.batch_size:,} samples, seed {self.seed}",
        }
        if self.blocks is not None:
            facts["shuffled"] = f"in blocks of {self.blocks.rows:,} rows, of pieces of {self.blocks.piece:,}"
        if self.selection is not None:
            facts[self.selection.what] = str(self.selection)
        if self.augment:
            facts["augmentation"] = ", ".join(one.text for one in self.augment)
        if self.patience is not None:
            delta = f" by more than {self.min_delta:g}" if self.min_delta else ""
            watched = history.label(f"validation_{self.monitor}")
            facts["stopping"] = f"after {self.patience:,} epochs in which the {watched} did not improve{delta}"
        return facts

    @property
    def computes_on(self) -> str:
        """Its engine in words, with the devices and the precision of products if it says them."""
        if self.devices is None:
            return self.engine or "the fastest engine"
        kind, count = self.devices
        products = f" in {self.compute}" if self.compute else ""
        return f"{self.engine} on {count:,} {kind} device{'s' * (count > 1)}{products}"

    @property
    def outputs(self) -> int:
        """The numbers that the network puts out for a sample."""
        return math.prod(self.network.output_shape)

    def problem(self, samples: int) -> Problem:
        """What an engine solves, with the schedules spread over the whole training."""
        total = self.epochs * self.steps_per_epoch(samples)
        return Problem(self.network, self.loss, self.optimizer.over(total), self.penalties, self.seed, self.augment)

    def make_engine(self, problem: Problem, threads: int | None = None, world: Processes = ALONE) -> Engine:
        """The engine of the plan for its problem, with at most so many threads, which takes steps
        together with the other processes of `world`.
        """
        return make_engine(self.engine, problem, threads, self.devices, self.compute, world, self.ranks)

    def steps_per_epoch(self, samples: int) -> int:
        """The number of mini-batches; the last one may be smaller."""
        return -(-samples // self.batch_size)

    def try_out(self, parameters: Vector, x: Array | Deferred, y: Array) -> None:
        """Compute the loss of these samples; raises an error if choices don't fit together."""
        with np.errstate(all="ignore"):
            self.loss.value(self.network.predict(parameters, x), y)
            for penalty in self.penalties:
                penalty.value(parameters, self.network.parameters)

    def order(self, samples: int) -> Order:
        """The order in which epochs take so many samples."""
        return Order(self.seed, samples, self.batch_size, self.blocks)

    def batches(self, epoch: int, data: Samples) -> Batches:
        """The mini-batches of an epoch, shuffled by (seed, epoch); one alone is not."""
        return whole_epoch(self.order(len(data.x)), epoch, data)


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
    rule = f"it must be a number of epochs, at least 1; {_never()}"
    patience = at_least(f"the patience is {patience!r}; {rule}", patience, 1)
    _require_validation(data, "early stopping watches", f", or leave {setting('patience')} out")
    return patience


def _never() -> str:
    return f"to never stop early, set {setting('patience', None)}"


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


def default_loss(data: Dataset) -> Loss:
    """Cross-entropy for classes and labels, the ordinal loss for classes in order, the mean squared
    error for quantities, quantiles for forecasts.
    """
    if data.target.season:
        return defaults.loss_of_series()
    if data.task == "ordinal":
        return Ordinal()
    if data.task == "regression":
        return MeanSquaredError()
    return BinaryCrossEntropy() if data.task == "multilabel" or data.target.width == 2 else CategoricalCrossEntropy()


def outputs_for(loss: Loss, target: Target) -> int:
    """The number of outputs that the network needs; for labels one each."""
    return target.width if target.task == "multilabel" else loss.outputs(target.width)


def build_network(network: Layers | None, data: Dataset, loss: Loss, dtype: str = "float32") -> Network:
    """The network for this data.

    Text gives the hidden layers; images are flattened before them unless a layer takes images, such
    as conv, tokens are embedded unless the first layer takes them, and the output layer follows
    from the target unless it is given after an arrow: "64 relu -> 10". A list of all layers, or a
    Network, is used as it is. Raises ShapeError for a network that does not fit the samples or the
    loss, and SettingError for one without parameters, or one for texts that is not causal.
    """
    if data.texts_as_tokens and not isinstance(network, Network):
        network = _of_texts(network, data, loss, dtype)
    elif network is None or isinstance(network, str):
        hidden, arrow, output = (network or "").partition("->")
        layers = defaults.hidden_layers(data) if network is None else parse(hidden.strip())
        is_whole = len(data.input_shape) > 1 and not data.target.positions and data.sequence is None
        if is_whole and not any(layer.accepts_images for layer in layers):
            layers = [Flatten(), *layers]
        if data.target.tokens and not (layers and layers[0].takes_tokens):
            layers = [defaults.embedding(data), *layers]
        end = parse(output.strip()) if arrow else [defaults.output(data, outputs_for(loss, data.target))]
        network = [*layers, *end]
        if data.target.season:
            network = defaults.forecast(network, data, loss)
    if isinstance(network, Network):
        pass
    elif data.has_lengths:
        assert data.sequence is not None
        network = of_sequences(separate(network), data.sequence, dtype)
    else:
        network = Network(network, data.input_shape, dtype)
    shape, outputs = network.input_shape, (*data.target.positions, outputs_for(loss, data.target))
    if shape != data.input_shape:
        raise ShapeError(
            f"the network takes samples of shape {shape}, but those of {data.name} have shape {data.input_shape}"
        )
    require(network.parameters.size > 0, "the network has nothing to learn: no layer has parameters; add a Dense layer")
    if network.output_shape != outputs:
        has_positions = len(network.output_shape) > 1 and len(outputs) == 1 and network.output_shape[-1:] == outputs
        remedy = "put flatten, or global_average_pool, before" if has_positions else "change"
        raise ShapeError(
            f"layer {network.nodes[-1].name}: the network's output has the shape {network.output_shape}, but the loss"
            f" {type(loss).__name__} takes {outputs} for the target of {data.name}; {remedy} the last layer"
        )
    if data.target.tokens:
        require_causal(network, data.target)
    return network


def _of_texts(network: str | Layer | Sequence[Layer] | None, data: Dataset, loss: Loss, dtype: str) -> Network:
    """The network for a table with columns of text as tokens. The layers up to the one that leaves
    one row of numbers of a sequence read each text; if none takes sequences, the default ones do.
    Those after them get everything side by side.
    """
    texts = defaults.embeddings(data)
    others = data.input_shape[0] - sum(length + 1 for length, _ in texts)
    output: list[Layer] = [Dense(outputs_for(loss, data.target))]
    of_others = defaults.of_numbers(data) if network is None and others else []
    if network is None:
        layers = [*defaults.after_numbers(data), *output]
    elif isinstance(network, str):
        hidden, arrow, last = network.partition("->")
        layers = [*parse(hidden.strip()), *(parse(last.strip()) if arrow else output)]
    else:
        layers = [*separate(network)]
    if layers[0].takes_tokens:
        texts, layers = [(length, layers[0]) for length, _ in texts], layers[1:]
    reader = defaults.reader()
    if any(layer.accepts_images for layer in layers):
        count = _until_one_row(layers, texts[0])
        reader, layers = layers[:count], layers[count:]
    return of_texts(layers, texts, reader, others, of_others, dtype)


def _until_one_row(layers: Sequence[Layer], text: tuple[int, Layer]) -> int:
    """How many of these layers, the first, leave one row of numbers of an embedded text."""
    length, embedding = text
    x = embedding(Input(length))
    for count, layer in enumerate(separate(layers), start=1):
        x = layer(x)
        if len(x.shape) == 1:
            return count
    remedy = "end them with one that leaves one row of numbers, such as gru 64 or global_max_pool"
    raise ShapeError(f"the layers that read a text leave the shape {x.shape}; {remedy}")
