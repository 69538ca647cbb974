"""The order of the samples in each epoch; where they don't fit into memory, in blocks.

The training set is cut into pieces of consecutive rows, of which in each epoch every block gets
others: of as many consecutive pieces as there are blocks, each gets one at random. So a block has
rows from all over the set, about as many from each part of it, also if the rows are sorted, and a
disk is read in pieces. Each block is read into memory and shuffled on its own. A block that is the
whole set is shuffled as a set in memory is, to the same bits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chainrule.arrays import Array, Samples, Scaled, as_read, row_bytes
from chainrule.data.memory import most_memory
from chainrule.engine import Batches, Engine
from chainrule.errors import require, setting
from chainrule.generators import generator
from chainrule.kinds import Kind
from chainrule.rows import Rows
from chainrule.threads import Coming

if TYPE_CHECKING:
    from chainrule.training.plan import Plan

SHARE, MOST_BYTES = 8, 64_000_000
"""A block takes at most one part in SHARE of the memory that samples may take, and MOST_BYTES:
there are two, the one to train on and the next one.
"""
PIECE_BYTES, FEWEST_PIECES = 250_000, 64
"""The bytes of a piece, which a disk reads nearly as fast as larger ones; less where a block would
have fewer pieces than FEWEST_PIECES.
"""
OF_ORDER = 24
"""The bytes that are needed for the order of a row in a block."""
FEW = 8
"""Of a block of which one part in FEW is needed, or less, its rows are read one by one."""


@dataclass(frozen=True)
class Blocks(Kind):
    """How samples that don't fit into memory are shuffled.

    Attributes:
        rows: the most rows of a block, a multiple of the batch size
        piece: the consecutive rows of a piece; the set's last piece may have fewer
    """

    rows: int
    piece: int

    def __post_init__(self) -> None:
        allowed = type(self.rows) is int and type(self.piece) is int and self.rows >= 1 and self.piece >= 1
        require(allowed, f"blocks of {self.rows} rows in pieces of {self.piece}: both are at least 1")


def blocks_for(rows: Rows, batch_size: int, memory: int | None = None) -> Blocks | None:
    """The blocks for a training set on a disk, of which so many bytes may be in memory, by default
    half of what is free; None for a training set in memory.

    Raises SettingError if there is not even memory for two mini-batches.
    """
    if not rows.on_disk:
        return None
    each, count = row_bytes(rows) + OF_ORDER, len(rows.x)
    most = min((most_memory() if memory is None else memory) // SHARE, MOST_BYTES)
    whole = -(-count // batch_size) * batch_size
    block = min(most // each // batch_size * batch_size, whole)
    needed = f"a mini-batch of {batch_size:,} samples takes {batch_size * each / 1e3:,.1f} kB"
    remedy = f"choose a smaller {setting('batch_size')}, or allow more {setting('memory')}"
    require(block > 0, f"{needed}, of at most {most / 1e3:,.1f} kB; {remedy}")
    return Blocks(block, max(1, min(PIECE_BYTES // each, block // FEWEST_PIECES)))


class Rearranged(NamedTuple):
    """A block of an epoch.

    Attributes:
        numbers: (rows,) the rows of the training set in the block, in ascending order
        order: (rows,) the places in it, in the order of training
    """

    numbers: Array
    order: Array


@dataclass(frozen=True)
class Order:
    """The order in which an epoch takes the rows of a training set; it depends on nothing else than
    these and the number of the epoch.

    Attributes:
        seed: of the random numbers
        samples: the number of rows
        size: the rows of a mini-batch
        blocks: how they are divided; None for one block, of all of them
    """

    seed: int
    samples: int
    size: int
    blocks: Blocks | None = None

    @property
    def count(self) -> int:
        """The number of blocks."""
        return 1 if self.blocks is None else max(1, -(-self.samples // self.blocks.rows))

    @property
    def most(self) -> int:
        """The most rows of a block."""
        return min(-(-self.length // self.count) * self.size, self.samples)

    @property
    def length(self) -> int:
        """The mini-batches of an epoch."""
        return -(-self.samples // self.size)

    def first(self, k: int) -> int:
        """The first mini-batch of a block: their numbers differ by 1 at most. A short last block,
        which can't have rows of every part of the set, would leave its mark on what is learned.
        """
        return k * self.length // self.count

    def block_of(self, step: int) -> int:
        """The block that a mini-batch of an epoch is in."""
        return ((step + 1) * self.count - 1) // self.length

    def block(self, epoch: int, k: int) -> Rearranged:
        """A block of an epoch."""
        parts = [np.arange(start, stop) for start, stop in self.parts(epoch, k)]
        numbers = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return Rearranged(numbers, self.shuffled(epoch, k, len(numbers)))

    def shuffled(self, epoch: int, k: int, rows: int) -> Array:
        """The order of so many rows of a block; one mini-batch alone is not shuffled."""
        if self.size >= self.samples:
            return np.arange(self.samples)
        key = (self.seed, "order", epoch, k) if k else (self.seed, "order", epoch)  # of one block, as in memory
        return generator(*key).permutation(rows)

    def parts(self, epoch: int, k: int) -> list[tuple[int, int]]:
        """The rows of a block of an epoch, in ascending order: (start, stop) of each part of the
        training set.
        """
        if self.blocks is None or self.count == 1:
            return [(0, self.samples)]
        pieces, ends = self._pieces(epoch)
        first, last = self.first(k) * self.size, min(self.first(k + 1) * self.size, self.samples)
        begin, end = np.searchsorted(ends, [first, last - 1], side="right")
        own = pieces[begin : end + 1]
        starts, stops = own * self.blocks.piece, np.minimum((own + 1) * self.blocks.piece, self.samples)
        stops[-1] -= ends[end] - last
        starts[0] += first - (ends[begin] - (min((own[0] + 1) * self.blocks.piece, self.samples) - starts[0]))
        return _joined(sorted(zip(starts.tolist(), stops.tolist(), strict=True)))

    def _pieces(self, epoch: int) -> tuple[Array, Array]:
        """The pieces in their order in an epoch, and where each ends in it."""
        known = self._last.get("epoch")
        if known is None or known[0] != epoch:
            assert self.blocks is not None
            piece, count = self.blocks.piece, -(-self.samples // self.blocks.piece)
            each = np.full(-(-count // self.count) * self.count, -1)
            each[:count] = np.arange(count)
            random = generator(self.seed, "pieces", epoch)
            # Pieces that follow each other, as in a block, are of different parts of the set.
            of_blocks = random.permutation(random.permuted(each.reshape(-1, self.count), axis=1), axis=0).T.ravel()
            pieces = of_blocks[of_blocks >= 0]
            lengths = np.minimum((pieces + 1) * piece, self.samples) - pieces * piece
            known = self._last["epoch"] = epoch, pieces, lengths.cumsum()
        return known[1:]

    @cached_property
    def _last(self) -> dict[str, tuple[int, Array, Array]]:
        """The pieces of the last epoch that was asked for."""
        return {}

    def numbers(self, epoch: int, step: int) -> Array:
        """The rows of a mini-batch of an epoch."""
        k = self.block_of(step)
        place = step - self.first(k)
        numbers, order = self.block(epoch, k)
        return numbers[order[place * self.size : (place + 1) * self.size]]


def _joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending parts, those as one that follow each other."""
    joined = parts[:1]
    for start, stop in parts[1:]:
        if start == joined[-1][1]:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    return joined


def whole_epoch(order: Order, epoch: int, samples: Rows) -> Batches:
    """The mini-batches of an epoch, of samples in memory."""
    if order.count == 1:
        rows = order.shuffled(epoch, 0, order.samples)
    else:
        each = (order.block(epoch, k) for k in range(order.count))
        rows = np.concatenate([numbers[places] for numbers, places in each])
    return Batches(as_read(samples.x), np.asarray(samples.y), samples.weight, rows, order.size)


class Rooms:
    """Memory for blocks, which is used again for the next ones: new memory, whose pages the system
    clears one by one, costs nearly as much as reading. A block that anybody still holds, or a part
    of it, is not written over, as the references to its arrays tell.
    """

    def __init__(self, samples: Rows) -> None:
        self._samples, self._rooms = samples, list[tuple[Samples, list[int]]]()

    def take(self, rows: int, most: int) -> Samples:
        """Room for so many samples, of which a block has at most `most`."""
        for room, references in self._rooms:
            if _references(room) == references:
                return room.part(0, rows)
        room = self._samples.empty(most)
        self._rooms = [*self._rooms[-1:], (room, _references(room))]  # of two blocks, one is trained on
        return room.part(0, rows)


def _references(room: Samples) -> list[int]:
    """How many references there are to the memory of each array: more if there is a view of it, of
    which one of these two is the base.
    """
    arrays = [part.raw if isinstance(part, Scaled) else part for part in room if part is not None]
    return [sys.getrefcount(one) for array in arrays for one in (array, array.base) if one is not None]


def read_block(order: Order, epoch: int, k: int, samples: Rows, rooms: Rooms | None = None) -> Batches:
    """The mini-batches of a block of an epoch, of samples on a disk."""
    numbers, places = order.block(epoch, k)
    block, end = samples.empty(len(numbers)) if rooms is None else rooms.take(len(numbers), order.most), 0
    for start, stop in order.parts(epoch, k):
        begin, end = end, end + stop - start
        samples.read(start, stop, block.part(begin, end))
    x, y, weight = block
    return Batches(as_read(x), np.asarray(y), weight, places, order.size, numbers)


def some_batches(order: Order, epoch: int, first: int, last: int, samples: Rows) -> Batches:
    """Consecutive mini-batches of an epoch, from `first` on and before `last`, at most those of a
    block. Only what is needed is read.
    """
    if order.count == 1 and not samples.on_disk:
        return whole_epoch(order, epoch, samples).cut(first, last)
    k = order.block_of(first)
    begin, end = order.first(k), order.first(k + 1)
    first, last = first - begin, min(last, end) - begin
    if samples.on_disk and (last - first) * FEW > end - begin:
        return read_block(order, epoch, k, samples).cut(first, last)
    numbers, places = order.block(epoch, k)
    numbers = numbers[places[first * order.size : last * order.size]]
    if not samples.on_disk:
        return Batches(as_read(samples.x), np.asarray(samples.y), samples.weight, numbers, order.size)
    x, y, weight = samples.take(numbers)
    return Batches(as_read(x), np.asarray(y), weight, np.arange(len(numbers)), order.size, numbers)


class Shuffled:
    """The mini-batches of a training, of which the next are shuffled, or read from a disk, in
    another thread.
    """

    def __init__(self, plan: Plan, samples: Rows, engine: Engine) -> None:
        self._order, self._samples, self._engine = plan.order(len(samples.x)), samples, engine
        self._epochs, self._coming = plan.epochs, dict[tuple[int, int], Coming[tuple[int, int], Batches]]()
        self._blocks, self._rooms = self._order.count if samples.on_disk else 1, Rooms(samples)

    def epoch(self, epoch: int, first: int) -> Iterator[Batches]:
        """The mini-batches of an epoch from this one on, a block at a time. Whoever lets go of a
        block before asking for the next one has at most two in memory.
        """
        begin = self._order.block_of(first) if self._samples.on_disk else 0
        skipped = first - self._order.first(begin)
        for k in range(begin, self._blocks):
            yield self._take(epoch, k).cut(skipped if k == begin else 0, self._order.length)  # and keep no reference

    def _take(self, epoch: int, k: int) -> Batches:
        """A block of an epoch; the next one begins to come."""
        known = self._coming.pop((epoch, k), None)
        found = self._load((epoch, k)) if known is None else known.result()
        following = (epoch, k + 1) if k + 1 < self._blocks else (epoch + 1, 0)
        if following[0] < self._epochs and (self._samples.on_disk or self._engine.leaves_a_core(found)):
            self._coming[following] = Coming(self._load, following)
        return found

    def _load(self, place: tuple[int, int]) -> Batches:
        epoch, k = place
        if not self._samples.on_disk:
            return whole_epoch(self._order, epoch, self._samples)
        if k == 0:
            self._samples.verify()
        return read_block(self._order, epoch, k, self._samples, self._rooms)
