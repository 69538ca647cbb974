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
from chainrule.errors import ChainruleError, SettingError
from chainrule.layers import Reshape, Transpose, UnitNorm
from chainrule.layers.symbols import Symbol


class UnsupportedError(ChainruleError):
    """An operation of a foreign network that no layer here computes."""


def unsupported(problems: Sequence[str]) -> SettingError:
    """The error for everything that has no layer here."""
    count = len(problems)
    return SettingError(f"{count} operation{'s have' if count > 1 else ' has'} no layer here: {'; '.join(problems)}")


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


def only_value(y: Any) -> Value:
    """An output; raises SettingError for one that is no value of the network."""
    if not isinstance(y, Value):
        raise SettingError("this output of the network does not depend on its input, or can't be read")
    return y


class Length:
    """The length of a value along its last axis, and the least number that something is divided by
    if the length is smaller: a part of a formula, which is a layer only as a whole.
    """

    def __init__(self, of: Value, least: float = 0.0) -> None:
        self.of, self.least = of, least

    def dividing(self, x: Any) -> Value:
        """x by this length."""
        if self.of is not x or not self.least:
            raise UnsupportedError("by the length of another value")
        y, axes = x.last(len(x.shape) - 1)
        return Value(x.shape, UnitNorm(self.least)(y), axes)


def length_of(x: Value, over: Sequence[int], keep: bool) -> Length:
    """The length along these axes; raises UnsupportedError unless it is that of vectors."""
    if not keep or [axis_of(a, len(x.shape)) for a in over] != [len(x.shape) - 1]:
        raise UnsupportedError("but for dividing by the length along the last axis")
    return Length(x)


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
