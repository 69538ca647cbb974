"""The positions of named arrays in a flat vector.

A network's parameters, their gradient and most optimizer state are flat vectors of the same
length; a layout names the arrays within them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np

from chainrule.arrays import Array, Shape, Vector
from chainrule.errors import SettingError, nearest


@dataclass(frozen=True)
class Entry:
    """A named array within a flat vector.

    Attributes:
        name: the layer's name and the array's, such as "dense_1.W"
        shape: its shape
        start: the index of its first element in the vector
        regularized: whether penalties and weight decay apply to it by default
    """

    name: str
    shape: Shape
    start: int
    regularized: bool = True

    @cached_property
    def owner(self) -> str:
        """The name of its layer: `residual_1.dense_1` for `residual_1.dense_1.W`."""
        return self.name.rpartition(".")[0]

    @cached_property
    def own_name(self) -> str:
        """Its name within the layer: `W` for `dense_1.W`."""
        return self.name.rpartition(".")[2]

    @cached_property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def place(self) -> slice:
        """Its slice of the vector."""
        return slice(self.start, self.start + self.size)

    @property
    def range(self) -> tuple[int, int]:
        """Where it starts and stops in the vector."""
        return self.start, self.start + self.size


@dataclass(frozen=True)
class Layout:
    """The named arrays within a flat vector.

    Attributes:
        entries: the arrays, in the order of the vector

    Examples:
        >>> layout = Layout.of({"dense_1.W": (4, 3), "dense_1.b": (3,)})
        >>> layout.size, layout.find("dense_1.W[2, 1]"), layout.name_of(7)
        (15, 7, 'dense_1.W[2, 1]')
    """

    entries: tuple[Entry, ...]

    @staticmethod
    def of(shapes: Mapping[str, Shape], regularized: Collection[str] | None = None) -> Layout:
        """The layout of arrays one after another.

        Args:
            shapes: the shape of each array by name, in order
            regularized: the names of the arrays to which penalties and weight decay apply; by
                default all
        """
        entries, start = [], 0
        for name, shape in shapes.items():
            entries.append(Entry(name, shape, start, regularized is None or name in regularized))
            start += math.prod(shape)
        return Layout(tuple(entries))

    @cached_property
    def size(self) -> int:
        """The length of the vector."""
        return sum(entry.size for entry in self.entries)

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        near = nearest(name, [entry.name for entry in self.entries])
        hint = f"did you mean {near!r}? " if near else ""
        raise SettingError(f"there is no parameter {name!r}; {hint}there are {self.ranges}")

    @property
    def ranges(self) -> str:
        """The arrays' names with the ranges of their indices, as in `dense_1.W[0-3, 0-5]`."""
        return ", ".join(f"{e.name}[{', '.join(f'0-{n - 1}' for n in e.shape)}]" for e in self.entries)

    def view(self, vector: Vector, name: str) -> Array:
        """The named array, as a view into the vector."""
        entry = self[name]
        return vector[entry.place].reshape(entry.shape)

    def views(self, vector: Vector) -> Iterator[tuple[str, Array]]:
        """The arrays with their names, as views into the vector."""
        for entry in self.entries:
            yield entry.name, vector[entry.place].reshape(entry.shape)

    def matching(self, on: str | None) -> list[Entry]:
        """The arrays whose names match this glob; if it is None, those that are regularized.

        Raises SettingError if a glob matches none.
        """
        chosen = [e for e in self.entries if (e.regularized if on is None else fnmatchcase(e.name, on))]
        if on is not None and not chosen:
            names = ", ".join(e.name for e in self.entries)
            raise SettingError(f"no parameter's name matches {on!r}; there are {names}")
        return chosen

    def find(self, weight: str) -> int:
        """The index in the vector of a weight such as `dense_1.W[3, 2]`; raises SettingError if
        there is none.
        """
        # A layer's second use, layer@2, has the weights of the first.
        match = re.fullmatch(r"\s*([\w.\-]+)\s*(?:\[([\d\s,]*)\])?\s*", re.sub(r"@\d+", "", weight))
        if match is None:
            raise SettingError(f"{weight!r} is no weight's name; write it like dense_1.W[3, 2]")
        entry = self[match[1]]
        index = tuple(int(text) for text in (match[2] or "").split(",") if text.strip())
        if len(index) != len(entry.shape) or any(k >= n for k, n in zip(index, entry.shape, strict=True)):
            ranges = ", ".join(f"0 to {n - 1}" for n in entry.shape)
            raise SettingError(f"{weight!r}: {entry.name} has the shape {entry.shape}, so its indices are [{ranges}]")
        return entry.start + int(np.ravel_multi_index(index, entry.shape)) if index else entry.start

    def entry_at(self, place: int) -> Entry:
        """The array that contains this index of the vector."""
        return next(entry for entry in self.entries if entry.start <= place < entry.start + entry.size)

    def name_of(self, place: int) -> str:
        """The name of the weight at this index of the vector."""
        entry = self.entry_at(place)
        index = np.unravel_index(place - entry.start, entry.shape)
        return f"{entry.name}[{', '.join(str(int(k)) for k in index)}]"
