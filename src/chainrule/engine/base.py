"""What an engine is: it takes training steps, and nothing else in the project knows which engine took them.

An engine is given the network, the loss, the optimizer and the penalties once, then runs over mini-batches and yields
after each step (or, if nobody looks at single steps, may yield more rarely). Whatever it takes to go on from a step
is in a Position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from chainrule.arrays import Array, Vector
from chainrule.descent import Optimizer, State
from chainrule.losses import Loss, Penalty
from chainrule.network import Network


@dataclass(frozen=True)
class Work:
    """What is trained, and how: the same for every step."""

    network: Network
    loss: Loss
    optimizer: Optimizer
    penalties: Sequence[Penalty] = ()
    seed: int = 0


@dataclass(frozen=True)
class Position:
    """Where training stands before step number `step`."""

    step: int
    parameters: Vector
    statistics: Vector
    states: tuple[State, ...]


@dataclass(frozen=True)
class Done:
    """A step that was taken: where it led, and what it was made of.

    `loss` is that of the batch before the step, with the penalties; `rows` are the batch's samples.
    """

    before: Position
    after: Position
    rows: Array
    loss: float
    gradient: Vector
    update: Vector


class Engine(Protocol):
    """Takes training steps."""

    def steps(
        self, position: Position, x: Array, y: Array, weight: Array | None, batches: Sequence[Array]
    ) -> Iterator[Done]:
        """Take a step for each batch, a batch being the numbers of its rows in x and y."""
        ...
