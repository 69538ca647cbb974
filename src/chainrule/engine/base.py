"""What an engine is: it takes the training steps; nothing else depends on which engine does.

An engine is constructed once, for a Problem: a network, a loss, an optimizer and penalties. It
runs over mini-batches and yields chunks: any number of consecutive steps, of which only the losses
and the position afterwards are stored. For a step's gradient and update, the steps are replayed
from the beginning of the chunk, bit for bit. A Position is all that is needed to resume.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from chainrule.arrays import Array, Deferred, Samples, Shape, Vector
from chainrule.augmentation import Augmentation, augment
from chainrule.backprop import Derivatives, differentiate, total_loss
from chainrule.descent import Optimizer, State
from chainrule.engine.continuation import Continuation
from chainrule.layers.base import Context
from chainrule.losses import Loss, Penalty, soft_targets
from chainrule.network import Network
from chainrule.rows import Rows


@dataclass(frozen=True)
class Problem:
    """What is trained and how; the same for every step.

    Attributes:
        network: the network
        loss: its loss
        optimizer: what turns a gradient into an update
        penalties: what is added to the loss
        seed: seed of all random numbers, such as dropout masks
        augment: how samples are changed in each step
    """

    network: Network
    loss: Loss
    optimizer: Optimizer
    penalties: Sequence[Penalty] = ()
    seed: int = 0
    augment: Sequence[Augmentation] = ()

    def gather(self, data: Rows, rows: Array, step: int) -> Samples:
        """The mini-batch of a step: these rows of the training set, augmented."""
        samples = data.take(rows)
        if self._mixes_targets:
            samples = samples._replace(y=soft_targets(samples.y, self.network.output_shape, self.network.dtype))
        return augment(samples, self.augment, self.seed, step) if self.augment else samples

    def target_shape(self, y: Array) -> Shape:
        """The shape of a sample's target in a step."""
        return soft_targets(y[:1], self.network.output_shape, "f4").shape[1:] if self._mixes_targets else y.shape[1:]

    @property
    def _mixes_targets(self) -> bool:
        return any(one.mixes_targets for one in self.augment)

    def context(self, step: int) -> Context:
        """The context of a training step's forward pass."""
        return Context(training=True, seed=self.seed, step=step)

    def differentiate(
        self, parameters: Vector, samples: Samples, statistics: Vector, step: int, wants_input: bool = False
    ) -> Derivatives:
        """The loss and the gradient of a training step at these parameters."""
        return differentiate(
            self.network, self.loss, parameters, samples.x, samples.y, statistics=statistics,
            sample_weight=samples.weight, penalties=self.penalties, context=self.context(step), wants_input=wants_input,
        )  # fmt: skip

    def total_loss(
        self, parameters: Vector, samples: Samples, statistics: Vector | None = None, context: Context | None = None
    ) -> float:
        """The loss of these samples with the penalties; without a context in evaluation mode."""
        return total_loss(
            self.network, self.loss, parameters, np.asarray(samples.x), samples.y, statistics=statistics,
            sample_weight=samples.weight, penalties=self.penalties, context=context,
        )  # fmt: skip


@dataclass(frozen=True)
class Position:
    """The state of training before a step.

    Attributes:
        step: the number of that step
        parameters: all parameters
        statistics: all running statistics
        states: the state of each stage of the optimizer
    """

    step: int
    parameters: Vector
    statistics: Vector
    states: tuple[State, ...]


@dataclass(frozen=True)
class Batches:
    """Samples, divided into mini-batches.

    Attributes:
        x: (samples, *input_shape) the inputs; of pictures, bytes that stand for them
        y: (samples, ...) the targets
        weight: (samples,) the weight of each sample in the loss; None if all are equal
        order: the rows of the mini-batches, one mini-batch after another
        size: rows in a mini-batch; the last one may be smaller
        numbers: (samples,) which rows of the training set they are; None if they are all of it
    """

    x: Array | Deferred
    y: Array
    weight: Array | None
    order: Array
    size: int
    numbers: Array | None = None

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def rows(self, k: int) -> Array:
        """The rows of mini-batch k, here."""
        return self.order[k * self.size : (k + 1) * self.size]

    def numbers_of(self, k: int) -> Array:
        """The rows of mini-batch k, in the training set."""
        return self.rows(k) if self.numbers is None else self.numbers[self.rows(k)]

    def cut(self, start: int, stop: int) -> Batches:
        """Mini-batches [start, stop)."""
        if start == 0 and stop * self.size >= len(self.order):
            return self
        order = self.order[start * self.size : stop * self.size]
        return Batches(self.x, self.y, self.weight, order, self.size, self.numbers)  # faster than `replace`

    @property
    def on_disk(self) -> bool:
        """Whether the samples are read from a disk."""
        return isinstance(self.x, Deferred) and bool(self.x.on_disk)

    @property
    def data(self) -> Samples:
        """All the samples that the mini-batches are taken from."""
        return Samples(self.x, self.y, self.weight)


@dataclass(frozen=True)
class StepRecord:
    """A single training step.

    Attributes:
        before, after: the positions before and after it
        rows: the rows of its mini-batch in the training set
        loss: the mini-batch's loss before the step, with the penalties
        gradient: the gradient of that loss
        update: what was subtracted from the parameters
        compute: the dtype of products; None for that of the weights
    """

    before: Position
    after: Position
    rows: Array
    loss: float
    gradient: Vector
    update: Vector
    compute: str | None = None


@dataclass(frozen=True)
class Watched:
    """Consecutive training steps, as one weight sees them.

    Attributes:
        before, after: the positions before the first and after the last step
        rows: the rows of each step's mini-batch in the training set
        parts: of each step, what each sample adds to the weight's gradient
        losses: (steps,) the loss of each mini-batch before its step, with the penalties
        weights: (steps + 1,) the weight before each step, and after the last
        gradients: (steps,) its gradient in each, with the penalties
        updates: (steps,) what was subtracted from it
        states: (steps + 1) the optimizer's states at this weight, as long as `weights`
        factors: (steps,) by what a stage multiplied the weight's array, as a clip does, by its
            place in the optimizer's chain
    """

    before: Position
    after: Position
    rows: Sequence[Array]
    parts: Sequence[Array]
    losses: Array
    weights: Vector
    gradients: Vector
    updates: Vector
    states: Sequence[tuple[State, ...]]
    factors: Mapping[int, Vector]


@dataclass(frozen=True)
class Chunk:
    """Consecutive training steps.

    Attributes:
        before, after: the positions before the first and after the last step
        batches: the mini-batch of each step
        losses: (steps,) the loss of each mini-batch before its step, with the penalties
        finite: whether all results were finite; if not, the chunk is a single step
        replay: replays the steps
    """

    before: Position
    after: Position
    batches: Batches
    losses: Array
    finite: bool
    replay: Callable[[Position, Batches], Iterator[StepRecord]] = field(repr=False)

    def steps(self) -> Iterator[StepRecord]:
        """Replay the steps bit for bit, each with its gradient and update."""
        return self.replay(self.before, self.batches)

    @property
    def last(self) -> StepRecord:
        """The last step."""
        return deque(self.steps(), maxlen=1)[0]  # frees each of the others before the next one


Predictor = Callable[[Array | Deferred], Array]
"""Predicts samples, (samples, *input_shape)."""


class Engine(Protocol):
    """Takes training steps and predicts."""

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch, as fast as possible."""

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch and record its gradient and update."""

    def watch(self, position: Position, batches: Batches, place: int) -> Watched | None:
        """Take some of the steps, as the weight at this place sees them; None if the engine can't
        tell. The optimizer's states are those of this weight alone, so no stage may mix entries.
        """

    def predict(self, parameters: Vector, x: Array | Deferred, statistics: Vector) -> Array:
        """Predict x, (samples, *input_shape), in evaluation mode (no dropout, running
        statistics).
        """

    def predictor(self, parameters: Vector, statistics: Vector) -> Predictor:
        """The same for one network and any x: copies the vectors once. Threads may call it at the
        same time.
        """

    def continuation(self, parameters: Vector, statistics: Vector, texts: int = 1) -> Continuation | None:
        """Reads so many texts at the same time, and computes only what is new in them; None for a
        network that has to see all positions again.
        """

    def leaves_a_core(self, batches: Batches) -> bool:
        """Whether another task can run at the same time without slowing these steps down."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user: what runs slower than it could, and why."""


def is_finite(record: StepRecord) -> bool:
    """Whether all results of a step are finite; judged by sums, so finite numbers may overflow."""
    return bool(
        np.isfinite(record.loss) and np.isfinite(record.gradient.sum()) and np.isfinite(record.after.parameters.sum())
    )
