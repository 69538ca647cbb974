"""What an engine is: it takes training steps, and nothing else in the project knows which engine took them.

An engine is given the network, the loss, the optimizer and the penalties once, then runs over mini-batches. It yields
spans: some steps in a row, as many as suit it, of which only the losses and where they led are kept. Whoever wants to
see a single step, with its gradient and update, has it taken again from the span's beginning, to the bit. Whatever it
takes to go on from a step is in a Position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import Derivatives, differentiate, total_loss
from chainrule.descent import Optimizer, State
from chainrule.layers.base import Context
from chainrule.losses import Loss, Penalty
from chainrule.network import Network


@dataclass(frozen=True)
class Problem:
    """What is trained, and how: the same for every step."""

    network: Network
    loss: Loss
    optimizer: Optimizer
    penalties: Sequence[Penalty] = ()
    seed: int = 0

    def context(self, step: int) -> Context:
        """What the forward pass of a training step is for."""
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
        """The loss of samples with the penalties; by default as after training."""
        return total_loss(
            self.network, self.loss, parameters, samples.x, samples.y, statistics=statistics,
            sample_weight=samples.weight, penalties=self.penalties, context=context,
        )  # fmt: skip


@dataclass(frozen=True)
class Position:
    """Where training stands before step number `step`."""

    step: int
    parameters: Vector
    statistics: Vector
    states: tuple[State, ...]


@dataclass(frozen=True)
class Batches:
    """Samples, and which of them each step takes: `order` has the numbers of the rows of one mini-batch after another,
    of `size` rows each; the last may be smaller.
    """

    x: Array
    y: Array
    weight: Array | None
    order: Array
    size: int

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def rows(self, k: int) -> Array:
        """The rows of mini-batch k."""
        return self.order[k * self.size : (k + 1) * self.size]

    def cut(self, start: int, stop: int) -> Batches:
        """Mini-batches from start up to stop."""
        return Batches(self.x, self.y, self.weight, self.order[start * self.size : stop * self.size], self.size)

    def samples(self, k: int) -> Samples:
        """The samples of mini-batch k."""
        return Samples(self.x, self.y, self.weight).take(self.rows(k))


@dataclass(frozen=True)
class StepRecord:
    """A step that was taken: where it led, and what it was made of.

    `loss` is that of the batch before the step, with the penalties; `rows` are the batch's samples.
    """

    before: Position
    after: Position
    rows: Array
    loss: float
    gradient: Vector
    update: Vector


@dataclass(frozen=True)
class Chunk:
    """Steps that were taken in a row.

    Attributes:
        before, after: where they began and where they led
        batches: the mini-batch of each
        losses: (steps,) the loss of each batch before its step, with the penalties
        sound: whether everything that they computed was finite; if not, the span is one step
        again: takes them again, one by one
    """

    before: Position
    after: Position
    batches: Batches
    losses: Array
    sound: bool
    again: Callable[[Position, Batches], Iterator[StepRecord]] = field(repr=False)

    def steps(self) -> Iterator[StepRecord]:
        """Each step with its gradient and update, to the bit as it was."""
        return self.again(self.before, self.batches)

    @property
    def last(self) -> StepRecord:
        """The last step."""
        return deque(self.steps(), maxlen=1)[0]  # the others are let go one by one


class Engine(Protocol):
    """Takes training steps."""

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch, as fast as they come."""
        ...

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch, and show each."""
        ...

    def predict(self, parameters: Vector, x: Array, statistics: Vector) -> Array:
        """The prediction for x, of shape (samples, *input_shape), as after training: no dropout, running statistics."""
        ...

    def leaves_a_core(self, batches: Batches) -> bool:
        """Whether something else can be done at the same time without slowing these steps down."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What does not run as fast as it might, and why, for people."""
        ...


def is_finite(record: StepRecord) -> bool:
    """Whether everything that a step computed is finite, as far as sums show: one may overflow."""
    return bool(
        np.isfinite(record.loss) and np.isfinite(record.gradient.sum()) and np.isfinite(record.after.parameters.sum())
    )
