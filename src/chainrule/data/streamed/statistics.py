"""Statistics of a column that are computed block by block, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Array


@dataclass
class Moments:
    """Mean and standard deviation, exact but for the rounding of sums (Chan, Golub and LeVeque,
    1983: the sums of squares around the means of two parts give that around their common mean).

    Attributes:
        count: how many numbers there are
        weight: the sum of their weights
        mean: their mean
        squares: the weighted sum of the squares of their differences from it
        low, high: the least and the greatest

    Examples:
        >>> moments = Moments()
        >>> for part in ([1.0, 2.0], [6.0]):
        ...     moments.add(np.array(part))
        >>> moments.mean, moments.squares
        (3.0, 14.0)
    """

    count: int = 0
    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: Array, weight: Array | None = None) -> None:
        """Take these numbers into account, all of which are known."""
        if not len(values):
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        total = float(len(values)) if weight is None else float(weight.sum())
        self.count += len(values)
        if not total:
            return
        mean = float(values.mean()) if weight is None else float(weight @ values) / total
        apart = values - mean
        apart *= apart
        squares = float(apart.sum()) if weight is None else float(weight @ apart)
        distance, together = mean - self.mean, self.weight + total
        self.squares += squares + distance**2 * (self.weight * total / together)
        self.mean += distance * (total / together)
        self.weight = together

    def deviation(self, weight: float) -> float:
        """The standard deviation among samples of this weight in all, of which the others are the
        mean.
        """
        return math.sqrt(self.squares / weight) if weight else 0.0


@dataclass
class Counts:
    """How often each value occurs, until there are too many of them.

    Attributes:
        most: the most values that are counted
        of: the number and the weight of each value
        too_many: whether there are more
    """

    most: int
    of: dict[Any, list[float]] = field(default_factory=dict)
    too_many: bool = False

    def add(self, values: list[Any], counts: list[float], weights: list[float]) -> None:
        """Take values into account that occur so often, and have these weights in all."""
        if self.too_many:
            return
        for value, count, weight in zip(values, counts, weights, strict=True):
            found = self.of.setdefault(value, [0, 0.0])
            found[0] += count
            found[1] += weight
        if len(self.of) > self.most:
            self.too_many = True
            self.of.clear()


@dataclass
class Drawn:
    """A sample of rows, drawn without replacement: each row has a random number, and those with the
    least are kept.

    Attributes:
        most: how many are kept, at most; fewer where they would have more than `bytes` in all
        bytes: how many bytes they may have
        keys: their random numbers
        lengths: how many bytes each has
        weights: their weights
        values: their values, in the order of the rows
    """

    most: int
    bytes: int = 64_000_000
    keys: Array = field(default_factory=lambda: np.zeros(0))
    lengths: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: Array = field(default_factory=lambda: np.zeros(0))
    values: list[Any] = field(default_factory=list)

    def add(self, random: np.random.Generator, values: Any, weights: Array) -> None:
        """Take rows into account, with their texts, a column of polars, and their weights."""
        keys = random.random(len(values))
        if len(self.keys) >= self.most:
            fits = np.flatnonzero(keys < self.keys.max())
            keys, weights, values = keys[fits], weights[fits], values[fits]
        if not len(keys):
            return
        lengths = np.concatenate([self.lengths, values.str.len_bytes().fill_null(0).to_numpy()])
        keys, weights = np.concatenate([self.keys, keys]), np.concatenate([self.weights, weights])
        values = [*self.values, *values.to_list()]
        if len(keys) > self.most or lengths.sum() > self.bytes:
            order = np.argsort(keys)[: self.most]
            self.most = min(self.most, max(1, int(np.searchsorted(lengths[order].cumsum(), self.bytes, side="right"))))
            kept = np.sort(order[: self.most])
            keys, weights, lengths, values = (
                keys[kept],
                weights[kept],
                lengths[kept],
                [values[k] for k in kept.tolist()],
            )
        self.keys, self.weights, self.lengths, self.values = keys, weights, lengths, values
