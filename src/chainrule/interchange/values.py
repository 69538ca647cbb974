"""Values of a foreign network, in whatever order of axes a layer here needs.

A foreign network is read for one sample, with its samples as the first axis, of size 1. A value has
the axes of the foreign network; the symbol that stands for it has those that are larger than 1, in
an order of its own, which `axes` tells. So what only moves axes (from channels first to channels
last, say) needs no layer until one needs another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.errors import ChainruleError
from chainrule.layers import Reshape, Transpose
from chainrule.layers.symbols import Symbol


class UnsupportedError(ChainruleError):
    """An operation of a foreign network that no layer here computes."""


@dataclass(frozen=True)
class Constant:
    """An array that depends on no input.

    Attributes:
        array: its numbers
        name: the name of the weights that it is, if it is some
        learned: whether it is, or was computed from, weights that are learned
    """

    array: Array
    name: str = ""
    learned: bool = False

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return self.array.shape


@dataclass(frozen=True, eq=False)
class Value:
    """A value that depends on an input.

    Attributes:
        shape: the shape in the foreign network
        symbol: what stands for it here
        axes: which axis of `shape` each of the symbol's axes is; the others have the size 1
    """

    shape: Shape
    symbol: Symbol
    axes: tuple[int, ...]

    def arranged(self, order: Sequence[int]) -> Symbol:
        """The symbol with exactly these axes, in this order."""
        order = tuple(order)
        if order == self.axes:
            return self.symbol
        missing = [a for a, n in enumerate(self.shape) if n > 1 and a not in order]
        if missing:
            raise UnsupportedError(f"it mixes axis {missing[0]} of the shape {self.shape} with samples")
        y = self.symbol
        moved = (*(a for a in self.axes if a not in order), *(a for a in order if a in self.axes))
        if [a for a in moved if self.shape[a] > 1] != [a for a in self.axes if self.shape[a] > 1]:
            y = Transpose(tuple(self.axes.index(a) for a in moved))(y)
        wanted = tuple(self.shape[a] for a in order)
        return y if y.shape == wanted else Reshape(wanted)(y)

    def same(self, symbol: Symbol) -> Value:
        """A value of the same shape, whose symbol has the same axes."""
        return Value(self.shape, symbol, self.axes)

    def last(self, axis: int) -> tuple[Symbol, tuple[int, ...]]:
        """The symbol with this axis as its last one, and the axes that it then has."""
        axes = (*(a for a in self.axes if a != axis), axis)
        return self.arranged(axes), axes

    @property
    def natural(self) -> tuple[int, ...]:
        """All axes but the samples', in the foreign order."""
        return tuple(a for a in range(len(self.shape)) if a > 0 or self.shape[0] > 1)


def permuted(x: Value, order: Sequence[int]) -> Value:
    """numpy.transpose."""
    places = [order.index(a) for a in x.axes]
    return Value(tuple(x.shape[a] for a in order), x.symbol, tuple(places))


def reshaped(x: Value, shape: Sequence[int]) -> Value:
    """numpy.reshape. Axes that are split or merged stay where they are in the symbol, if they can;
    if not, it is transposed first.
    """
    shape = tuple(shape)
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        shape = tuple(math.prod(x.shape) // max(known, 1) if n == -1 else n for n in shape)
    if math.prod(shape) != math.prod(x.shape):
        raise UnsupportedError(f"it reshapes {x.shape} to {shape}, which mixes samples")
    groups = _groups(x.shape, shape)
    core = [a for a in x.axes if x.shape[a] > 1]
    group_of = {a: k for k, (before, _) in enumerate(groups) for a in before}
    order = list(dict.fromkeys(group_of[a] for a in core))
    sorted_core = [a for k in order for a in groups[k][0]]
    y = x.symbol if sorted_core == core and _fits(x, core) else x.arranged(sorted_core)
    axes = tuple(a for k in order for a in groups[k][1])
    sizes = tuple(shape[a] for a in axes)
    return Value(shape, y if y.shape == sizes else Reshape(sizes)(y), axes)


def _fits(x: Value, core: Sequence[int]) -> bool:
    """Whether the symbol has these axes, besides some of the size 1."""
    return [a for a in x.axes if x.shape[a] > 1] == list(core)


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The axes larger than 1 before and after a reshaping, in groups of the same size."""
    ins, outs = ([a for a, n in enumerate(shape) if n > 1] for shape in (before, after))
    groups: list[tuple[list[int], list[int]]] = []
    while ins or outs:
        group: tuple[list[int], list[int]] = ([ins.pop(0)], [outs.pop(0)])
        sizes = [before[group[0][0]], after[group[1][0]]]
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                group[0].append(a := ins.pop(0))
                sizes[0] *= before[a]
            else:
                group[1].append(a := outs.pop(0))
                sizes[1] *= after[a]
        groups.append(group)
    return groups


def broadcast(*shapes: Shape) -> Shape:
    """numpy.broadcast_shapes; raises UnsupportedError for shapes that don't fit."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise UnsupportedError(f"it combines the shapes {', '.join(map(str, shapes))}") from None


def widened(x: Value, rank: int) -> Value:
    """The value with so many axes, the new ones first and of size 1."""
    new = rank - len(x.shape)
    return x if new == 0 else Value((1,) * new + x.shape, x.symbol, tuple(a + new for a in x.axes))


def axis_of(axis: Any, rank: int) -> int:
    """An axis counted from 0; a negative one counts from the end."""
    return int(axis) + (rank if axis < 0 else 0)
