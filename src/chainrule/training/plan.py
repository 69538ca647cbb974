"""What to train, and how, with every choice made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Deferred, Vector
from chainrule.augmentation import Augmentation
from chainrule.data import Samples
from chainrule.descent import Optimizer
from chainrule.engine import Batches, Engine, Problem, make_engine
from chainrule.errors import is_number, require, setting
from chainrule.kinds import Kind, described
from chainrule.losses import Loss, Penalty
from chainrule.network import Network
from chainrule.processes import ALONE, Processes
from chainrule.summary import Shown, Summary
from chainrule.training import history
from chainrule.training import metrics as measures
from chainrule.training.blocks import Blocks, Order, whole_epoch
from chainrule.training.metrics import Metric
from chainrule.training.selection import Selection

MOST_EPOCHS = 10**12
"""No training takes as many; files name steps with at most 18 digits."""


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
        allowed = f"a number of epochs, at least 1 and at most {MOST_EPOCHS:,}; {never()}"
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


def never() -> str:
    """How to never stop early, as a remedy in messages."""
    return f"to never stop early, set {setting('patience', None)}"
