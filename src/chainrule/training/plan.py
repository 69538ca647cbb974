"""What is to be trained, and how, with every choice made: the loss, the output layer and the rest follow from the
data unless given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data import Dataset, Samples
from chainrule.descent import Optimizer, optimizer
from chainrule.engine import Batches, Problem, engine_name
from chainrule.errors import DataError, SettingError, ShapeError, require
from chainrule.generators import generator
from chainrule.kinds import Kind
from chainrule.layers import Dense, Flatten, Layer
from chainrule.layers.notation import parse
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, Loss, MeanSquaredError, Penalty
from chainrule.losses import loss as named_loss
from chainrule.network import Network
from chainrule.training import metrics as measures
from chainrule.training.class_weights import ClassWeight, weighted

EPOCHS = 100
BATCH_SIZE = 32


@dataclass(frozen=True)
class Defaults:
    """What is taken where nothing is said. The figures behind the two sets of them are in the documentation's page on
    accuracy.
    """

    hidden: str
    optimizer: str


FEW_ROWS = 500
FEW = Defaults("64 tanh, 32 tanh", "adamw 0.003 1 schedule=cosine")
"""For fewer training rows than that: a smooth function, held back firmly, errs less than one with kinks."""
MANY = Defaults("64 relu, 64 relu", "adamw 0.003 0.3 schedule=cosine")

PATIENCE = 25
FEWEST_TO_JUDGE = 50
"""With fewer validation rows than that their loss is chance, more than a sign of when to stop."""
AUTO = "auto"
"""The patience that says: PATIENCE, or none where there are too few validation rows to judge."""


def defaults(data: Dataset) -> Defaults:
    """What is taken for this data where nothing is said."""
    return FEW if len(data.training.x) < FEW_ROWS else MANY


def default_patience(data: Dataset) -> int | None:
    """After how many epochs without a better validation loss training ends, where nothing is said."""
    enough = data.validation is not None and len(data.validation.x) >= FEWEST_TO_JUDGE
    return PATIENCE if enough else None


@dataclass(frozen=True)
class Plan(Kind):
    """A training with every choice made; together with the data it says all that happens, to the bit.

    `patience` is after how many epochs without a better validation loss training ends; None means never. `batch_size`
    is at most the number of training rows.
    """

    network: Network
    loss: Loss
    optimizer: Optimizer
    epochs: int
    batch_size: int
    seed: int = 0
    penalties: tuple[Penalty, ...] = ()
    patience: int | None = None
    metrics: tuple[str, ...] = ()
    engine: str | None = None

    def problem(self, samples: int) -> Problem:
        """What an engine needs, schedules spread over the training."""
        total = self.epochs * self.steps_per_epoch(samples)
        return Problem(self.network, self.loss, self.optimizer.over(total), self.penalties, self.seed)

    def steps_per_epoch(self, samples: int) -> int:
        """How many mini-batches there are, the last of which may be smaller."""
        return -(-samples // self.batch_size)

    def batches(self, epoch: int, part: Samples) -> Batches:
        """The mini-batches of an epoch, shuffled by (seed, epoch); in their own order if there is one only."""
        samples = len(part.x)
        if self.batch_size >= samples:
            order = np.arange(samples)
        else:
            order = generator(self.seed, "order", epoch).permutation(samples)
        return Batches(np.asarray(part.x), np.asarray(part.y), part.weight, order, self.batch_size)


def make_plan(
    network: Any,
    data: Dataset,
    *,
    loss: str | Loss | None = None,
    class_weight: ClassWeight | None = None,
    optimizer: str | Optimizer | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    penalties: Sequence[Penalty] = (),
    patience: int | str | None = AUTO,
    metrics: Sequence[str] | None = None,
    dtype: str = "float32",
    engine: str | None = None,
) -> Plan:
    """Make every choice that was left open, and check the rest against the data."""
    chosen_loss = default_loss(data) if loss is None else named_loss(loss)
    shown = measures.usual(data.task, chosen_loss) if metrics is None else measures.check(metrics, data.task)
    measures.usual(data.task, chosen_loss)
    chosen_loss = weighted(chosen_loss, class_weight, data)
    made = build_network(network, data, chosen_loss, dtype)
    chosen_optimizer = _optimizer(defaults(data).optimizer if optimizer is None else optimizer)
    samples = len(data.training.x)
    epochs = EPOCHS if epochs is None else epochs
    require(isinstance(epochs, int) and epochs >= 1, f"{epochs} epochs: training takes at least 1")
    waits = default_patience(data) if patience == AUTO or data.validation is None else patience
    if waits is not None and (not isinstance(waits, int) or waits < 1):
        raise SettingError(f"the patience is {waits!r}; it is a number of epochs of at least 1, or none at all")
    if batch_size is None:
        batch_size = samples if chosen_optimizer.whole_batch else min(BATCH_SIZE, samples)
    require(isinstance(batch_size, int) and batch_size >= 1, f"the batch size is {batch_size}; it takes at least 1")
    if batch_size > samples:
        raise DataError(
            f"{data.name}: a batch of {batch_size} is more than the {samples} rows to train on; use --batch-size"
            f" {samples} or less"
        )
    result = Plan(
        made, chosen_loss, chosen_optimizer, epochs, batch_size, seed, tuple(penalties),
        waits, shown, _engine(engine),
    )  # fmt: skip
    _try_out(result, data)
    return result


def _optimizer(what: str | Optimizer) -> Optimizer:
    return optimizer(what)


def _engine(name: str | None) -> str:
    """The name of the engine, which goes into the recipe: a run is gone back through by the engine that took it."""
    taken = engine_name(name)
    if name is not None and taken != name:
        raise SettingError(
            f"the engine {name} was not built when chainrule was installed; install it again where there is a C++"
            " compiler (GCC or Clang), or leave the choice of engine out"
        )
    return taken


def default_loss(data: Dataset) -> Loss:
    """Cross-entropy for classes, the mean squared error for quantities."""
    if data.task == "regression":
        return MeanSquaredError()
    return BinaryCrossEntropy() if data.target.width == 2 else CategoricalCrossEntropy()


def build_network(network: Any, data: Dataset, loss: Loss, dtype: str = "float32") -> Network:
    """The network that is meant, for this data.

    A text gives the hidden layers; pictures are flattened before them, and the output layer follows from the target,
    unless it stands after an arrow: "64 relu -> 10". A list of layers, or a Network, is taken as it is.
    """
    if isinstance(network, Network):
        made = network
    elif network is None or isinstance(network, str):
        hidden, arrow, output = (defaults(data).hidden if network is None else network).partition("->")
        layers = parse(hidden.strip())
        if len(data.input_shape) > 1 and not (layers and layers[0].accepts_images):
            layers = [Flatten(), *layers]
        last: list[Layer] = parse(output.strip()) if arrow else [Dense(loss.outputs(data.target.width))]
        made = Network([*layers, *last], data.input_shape, dtype)
    else:
        made = Network(network, data.input_shape, dtype)
    if made.input_shape != data.input_shape:
        raise ShapeError(
            f"the network takes samples of shape {made.input_shape}, but those of {data.name} have the shape"
            f" {data.input_shape}"
        )
    if not made.parameters.size:
        raise SettingError("the network has nothing to learn: none of its layers has parameters; add a Dense layer")
    outputs = (loss.outputs(data.target.width),)
    if made.output_shape != outputs:
        raise ShapeError(
            f"layer {made.nodes[-1].name}: the network's output has the shape {made.output_shape}, but the loss"
            f" {type(loss).__name__} takes {outputs} for the target of {data.name}; change the last layer"
        )
    return made


def _try_out(plan: Plan, data: Dataset) -> None:
    """Compute the loss of one sample, so that what doesn't fit is known before anything is written."""
    network, part = plan.network, data.training
    with np.errstate(all="ignore"):
        prediction = network.predict(network.draw(plan.seed), part.x[:1])
        plan.loss.value(prediction, part.y[:1])
        for penalty in plan.penalties:
            penalty.value(network.draw(plan.seed), network.parameters)
