"""How long a training step takes on several ranks: a model of pure functions.

A message of n bytes takes latency + n / bandwidth (Hockney, "The communication challenge for MPP:
Intel Paragon and Meiko CS-2", Parallel Computing 20, 1994). What summing a buffer over all ranks
takes follows from the messages that an algorithm sends one after another (Thakur, Rabenseifner &
Gropp, "Optimization of collective communication operations in MPICH", International Journal of High
Performance Computing Applications 19, 2005). All ranks take equally long for their share of a
mini-batch; parts of the gradient are summed one after another while the rest is computed.

"in order" is what chainrule does over messages (engine/ranks.py): an all-to-all of each part during
the backward pass, after it an all-gather of each, and two all-gathers of a few numbers. Messages of
one rank are counted one after another, so its latency grows with the number of ranks. Ranks that
share memory send nothing (native/shared_ranks.h): they meet, and read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

FORWARD = 1 / 3
"""The share of a step's products that the forward pass has: one of three for each weight."""


@dataclass(frozen=True)
class Link:
    """What connects the ranks.

    Attributes:
        latency: seconds that a message takes however short it is; in shared memory, a meeting
        bandwidth: bytes per second that a rank sends and receives at the same time; in shared
            memory, that it copies
        addition: seconds to add up two numbers, per byte of one of them
        is_memory: whether it is memory that all ranks share
    """

    latency: float
    bandwidth: float
    addition: float = 0.0
    is_memory: bool = False


def recursive_doubling(count: float, ranks: int, link: Link) -> float:
    """Seconds to sum so many bytes over the ranks, exchanging all of them log2(ranks) times."""
    rounds = math.ceil(math.log2(ranks))
    return rounds * (link.latency + count / link.bandwidth + count * link.addition)


def rabenseifner(count: float, ranks: int, link: Link) -> float:
    """The same by recursive halving and doubling: each rank sums a part, which all then gather."""
    rounds, share = math.ceil(math.log2(ranks)), (ranks - 1) / ranks
    return 2 * rounds * link.latency + 2 * share * count / link.bandwidth + share * count * link.addition


def in_order(count: float, ranks: int, link: Link) -> float:
    """The same where each rank gets its part from every other one and adds them in their order, and
    then sends it to every other one.
    """
    share = (ranks - 1) / ranks
    return 2 * (ranks - 1) * link.latency + 2 * share * count / link.bandwidth + share * count * link.addition


def exchange(count: float, ranks: int, link: Link) -> float:
    """Seconds in which every rank sends each other one its share of so many bytes."""
    return (ranks - 1) * link.latency + (ranks - 1) / ranks * count / link.bandwidth


def agreement(ranks: int, link: Link) -> float:
    """Seconds of the two all-gathers of a few numbers in a step, by recursive doubling."""
    return 2 * math.ceil(math.log2(ranks)) * link.latency


SMALL = 4 * 2**16
"""Bytes of gradient, times ranks, up to which ranks that share memory each add up all of it."""


def in_memory(count: float, ranks: int, link: Link) -> tuple[int, float]:
    """The meetings of ranks that share memory, and the seconds in which each adds up its share of so
    many bytes, and copies the weights: its own for the others to read, and those of the others.
    """
    if count * ranks <= SMALL:
        return 1, count * (ranks - 1) * link.addition
    return 2, (ranks - 1) / ranks * count * link.addition + count / link.bandwidth


Algorithm = Callable[[float, int, Link], float]

ALGORITHMS: dict[str, Algorithm] = {
    "doubling": recursive_doubling, "halving": rabenseifner, "in order": in_order,
}  # fmt: skip


def sum_seconds(count: float, ranks: int, link: Link, algorithm: str = "in order") -> float:
    """Seconds to sum so many bytes over the ranks, all of which get the result.

    Args:
        count: bytes of the buffer
        ranks: how many there are; nothing is sent with one
        link: what connects them
        algorithm: one of ALGORITHMS, or "fastest"
    """
    if ranks == 1 or not count:
        return 0.0
    if algorithm == "fastest":
        return min(seconds(count, ranks, link) for seconds in ALGORITHMS.values())
    return ALGORITHMS[algorithm](count, ranks, link)


@dataclass(frozen=True)
class Work:
    """What a rank computes in a step.

    Attributes:
        samples: numbers of samples, ascending, for which the seconds of a step were measured
        seconds: those
        parts: (bytes, share) of each part of the gradient, in the order in which the backward pass
            finishes them: its size, and its share of the products of the network
    """

    samples: Sequence[int]
    seconds: Sequence[float]
    parts: Sequence[tuple[float, float]]

    @property
    def bytes(self) -> float:
        """Bytes of the whole gradient."""
        return sum(count for count, _ in self.parts)

    def step(self, samples: float) -> float:
        """Seconds of a step with so many samples, without sums: between measured numbers on the
        line between them, beyond the last proportional, below the first as with the first.
        """
        known = [*zip(self.samples, self.seconds, strict=True)]
        if samples >= known[-1][0]:
            return known[-1][1] * samples / known[-1][0]
        for (few, short), (many, long) in pairwise(known):
            if few <= samples <= many:
                return short + (long - short) * (samples - few) / (many - few)
        return known[0][1]


@dataclass(frozen=True)
class Node:
    """The machine that ranks run on.

    Attributes:
        cores: its cores
        ranks: how many ranks run on it, each with one thread
        switch: seconds that each meeting takes longer for every rank more than there are cores,
            since ranks that wait keep the others from computing
    """

    cores: int = 1
    ranks: int = 1
    switch: float = 0.0

    @property
    def crowding(self) -> float:
        """By what computing takes longer because ranks share cores."""
        return max(1.0, self.ranks / self.cores)


def step_seconds(
    work: Work, samples: float, ranks: int, link: Link, node: Node = Node(), algorithm: str = "in order",
    overlap: bool = True,
) -> float:  # fmt: skip
    """Seconds of a step in which every rank takes so many samples.

    Args:
        work: what a rank computes
        samples: of the mini-batch, on one rank
        ranks: how many
        link: what connects them; the ranks of a node share its bandwidth
        node: where they run
        algorithm: by which a part of the gradient is summed
        overlap: whether parts are summed while the backward pass goes on
    """
    computing = work.step(samples) * node.crowding
    if ranks == 1:
        return computing
    if link.is_memory:
        meetings, seconds = in_memory(work.bytes, ranks, link)
        waiting = link.latency + node.switch * max(0, node.ranks - node.cores)
        return computing + meetings * waiting + seconds * node.crowding
    link = replace(link, bandwidth=link.bandwidth / node.ranks)
    backward, passed, sent, after = computing * (1 - FORWARD), 0.0, 0.0, 0.0
    whole = sum(share for _, share in work.parts)
    for count, share in work.parts:
        passed += backward * share / whole
        ready = passed if overlap else backward
        whole_sum = sum_seconds(count, ranks, link, algorithm)
        later = exchange(count, ranks, link) if algorithm == "in order" else 0.0
        sent, after = max(sent, ready) + whole_sum - later, after + later
    return computing + max(0.0, sent - backward) + after + agreement(ranks, link)


def strong(work: Work, batch: int, ranks: int, link: Link, **settings: object) -> float:
    """How many times faster than one rank the ranks are that divide a mini-batch."""
    node = settings.get("node", Node())
    alone = work.step(batch)
    assert isinstance(node, Node)
    return alone / step_seconds(work, math.ceil(batch / ranks), ranks, link, **settings)  # type: ignore[arg-type]


def weak(work: Work, samples: int, ranks: int, link: Link, **settings: object) -> float:
    """The efficiency of ranks that take so many samples each: the time of one rank for as many,
    divided by their time.
    """
    return work.step(samples) / step_seconds(work, samples, ranks, link, **settings)  # type: ignore[arg-type]


def least_samples(work: Work, ranks: int, link: Link, efficiency: float, most: int = 2**20) -> int | None:
    """From how many samples on each rank on this efficiency is reached: a power of 2; None if with
    no number up to `most`.
    """
    sizes = (2**k for k in range(most.bit_length()))
    return next((n for n in sizes if weak(work, n, ranks, link) >= efficiency), None)


def dense(width: int, rate: float, update: float, fixed: float, samples: Sequence[int]) -> Work:
    """The work of a dense network of 784 inputs, two hidden layers of this width and 10 outputs.

    Args:
        width: units of each hidden layer
        rate: multiplications and additions per second
        update: seconds for each weight's update
        fixed: seconds of a step that do not depend on the network
        samples: numbers of samples to give the seconds for
    """
    shapes = [(784, width), (width, width), (width, 10)]
    weights = [a * b + b for a, b in shapes]
    products = 2.0 * (3 * sum(weights) - weights[0])
    seconds = [fixed + n * products / rate + update * sum(weights) for n in samples]
    return Work(samples, seconds, [(4.0 * n, float(n)) for n in reversed(weights)])


def least_weights(
    samples: int, ranks: int, link: Link, efficiency: float, rate: float, update: float, fixed: float
) -> int | None:
    """The number of weights of the smallest dense network for which ranks with so many samples each
    reach this efficiency; None if no network with up to 16,384 units a layer does.
    """
    for k in range(2, 29):
        width = round(2 ** (k / 2))
        work = dense(width, rate, update, fixed, [samples])
        if weak(work, samples, ranks, link) >= efficiency:
            return round(work.bytes / 4)
    return None
