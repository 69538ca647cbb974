"""A network as a list of operations: what the native engine runs, and what says how much work it
is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chainrule.arrays import Shape

Place = tuple[int, int]
"""Where an array starts and stops in its flat vector."""


@dataclass(frozen=True)
class Value:
    """What an operation computes.

    Attributes:
        shape: its shape, of one sample
        learns: whether it depends on any parameter
    """

    shape: Shape
    learns: bool

    @property
    def rows(self) -> int:
        """The number of positions."""
        return math.prod(self.shape[:-1])

    @property
    def width(self) -> int:
        """The number of features."""
        return self.shape[-1] if self.shape else 1


@dataclass(frozen=True)
class Op:
    """An operation.

    Attributes:
        name: the name of its file in native/ops; "python" for a layer without a kernel, whose
            setting "call" is a function (see python_layer.py); "graph" is these layers, and
            "parameters" and "statistics" say where their arrays start
        inputs, outputs: the values that it reads and writes
        parameters, statistics: the place of each of its arrays
        settings: numbers, texts and lists of numbers
        cost: about how many multiply-adds a sample takes, forward and backward
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: Mapping[str, Place] = field(default_factory=dict)
    statistics: Mapping[str, Place] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: float = 0.0


@dataclass(frozen=True)
class Program:
    """A network's operations, in the order of execution.

    Attributes:
        values: the values; number 0 is the input, the others are written by one operation each
        ops: the operations
        prediction: the value that the loss reads
    """

    values: tuple[Value, ...]
    ops: tuple[Op, ...]
    prediction: int

    @cached_property
    def work(self) -> float:
        """About how many multiply-adds a sample takes, forward and backward."""
        return sum(op.cost for op in self.ops)

    @cached_property
    def readers(self) -> Mapping[int, int]:
        """How often each value is read; the loss reads the prediction."""
        read = [*(k for op in self.ops for k in op.inputs), self.prediction]
        return {k: read.count(k) for k in set(read)}
