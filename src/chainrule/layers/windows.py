"""Windows along the axes of positions: which inputs each output of a convolution or a pooling
reads.

A sample has the shape (positions..., channels): (length, channels) of a signal, (height, width,
channels) of a picture, (depth, height, width, channels) of a volume. A window has a size, the
kernel, along each axis of positions. With k the place in the kernel, output o reads the input

    o * stride + k * dilation - before

where `before` and `after` count the places beside the input, its padding:

- "valid": none, so that every window lies within the input;
- "same": as many as give ceil(inputs / stride) outputs. That is max(0, (outputs - 1) * stride +
  extent - inputs) in all, half of them before the input, and the odd one after it; the extent
  of a kernel is (kernel - 1) * dilation + 1;
- "causal": extent - 1 before the input, so that no output reads an input after its own place
  (van den Oord et al., 2016, "WaveNet"), and ceil(inputs / stride) outputs;
- a number: so many on either side.

There are floor((inputs + before + after - extent) / stride) + 1 outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from chainrule.arrays import Array, Shape, Sizes
from chainrule.errors import is_integer, require
from chainrule.layers.base import Layer

VALID, SAME, CAUSAL = "valid", "same", "causal"
IN_CACHE = 1 << 18
"""How many numbers stay in the cache of a core."""
Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Window:
    """The windows along one axis.

    Attributes:
        inputs: the number of inputs
        kernel: the places of a window
        stride: the inputs from one window to the next
        dilation: the inputs from one place of a window to the next
        before, after: the places of padding on either side

    Examples:
        >>> Window(5, 3, before=1).places.tolist()  # -1 is padding
        [[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    """

    inputs: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        """The inputs from the first place of a window to its last, with both."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def outputs(self) -> int:
        """The number of windows; less than 1 if none fits."""
        return (self.inputs + self.before + self.after - self.extent) // self.stride + 1

    @cached_property
    def places(self) -> Array:
        """(outputs, kernel) the input at every place of every window; -1 is padding."""
        at = np.arange(self.outputs)[:, None] * self.stride + np.arange(self.kernel) * self.dilation - self.before
        return np.where((at >= 0) & (at < self.inputs), at, -1)

    def meeting(self, k: int) -> tuple[slice, slice]:
        """The outputs that have an input at place k of their window, and these inputs."""
        shift = k * self.dilation - self.before
        first = max(0, -(shift // self.stride))
        stop = max(first, min(self.outputs, (self.inputs - 1 - shift) // self.stride + 1))
        start = first * self.stride + shift
        return slice(first, stop), slice(start, start + (stop - first) * self.stride, self.stride)

    def readers(self, i: int) -> tuple[Array, Array]:
        """The outputs whose windows hold input i, and its place in each."""
        outputs, places = np.nonzero(self.places == i)
        return outputs, places


def windows(inputs: Shape, kernel: Sizes, stride: Sizes, dilation: Sizes, padding: str | Sizes) -> list[Window]:
    """The windows along each axis of positions, of which there are `inputs`."""
    made = []
    sides: Any = 0 if isinstance(padding, str) else padding
    for n, k, step, apart, side in zip(inputs, *(along(s, len(inputs)) for s in (kernel, stride, dilation, sides)),
                                       strict=True):  # fmt: skip
        before = after = side
        if padding == SAME:
            missing = max(0, (-(-n // step) - 1) * step + (k - 1) * apart + 1 - n)
            before, after = missing // 2, missing - missing // 2
        elif padding == CAUSAL:
            before = (k - 1) * apart
        made.append(Window(n, k, step, apart, before, after))
    return made


def meetings(axes: Sequence[Window]) -> Iterator[tuple[Shape, Slices, Slices]]:
    """Every place of the kernel, in row-major order, with the outputs that have an input there and
    these inputs, both for all samples and channels.
    """
    every = slice(None)
    for place in itertools.product(*(range(axis.kernel) for axis in axes)):
        met = [axis.meeting(k) for axis, k in zip(axes, place, strict=True)]
        if all(out.stop > out.start for out, _ in met):  # some places only ever lie on padding
            yield place, (every, *(out for out, _ in met)), (every, *(inn for _, inn in met))


def portions(x: Array, y: Array) -> Iterator[slice]:
    """The samples of a layer's input and output, as many at a time as stay in the cache from one
    place of the kernel to the next.
    """
    numbers = math.prod(x.shape[1:]) + math.prod(y.shape[1:])
    count = max(1, IN_CACHE // max(1, numbers))
    return (slice(k, k + count) for k in range(0, len(x), count))


def crossed(parts: Sequence[Array]) -> Array:
    """(K, d): every combination of an entry of each of these, in row-major order."""
    return np.stack(np.meshgrid(*parts, indexing="ij"), axis=-1).reshape(-1, len(parts))


# Settings


def along(sizes: Sizes, axes: int) -> tuple[int, ...]:
    """The size along each of so many axes."""
    return (sizes,) * axes if isinstance(sizes, int) else sizes


def checked(what: str, value: Any, least: int = 1) -> Sizes:
    """A setting of sizes; raises SettingError unless it is an integer, or one for each axis."""
    several = isinstance(value, list | tuple) and len(value) > 0
    fits = all(is_integer(size) and size >= least for size in (value if several else (value,)))
    wanted = f"it takes an integer of at least {least}, or one for each axis of positions, such as (3, 3)"
    require(fits, f"{what} is {value!r}; {wanted}")
    return tuple(map(int, value)) if several else int(value)


def checked_padding(what: str, value: Any) -> str | Sizes:
    """A setting of padding."""
    if isinstance(value, str):
        known = f"{what} is {value!r}; it is valid, same, causal, or a number of places on either side"
        require(value in (VALID, SAME, CAUSAL), known)
        return value
    return checked(what, value, least=0)


def written(sizes: Sequence[int]) -> str:
    """Sizes as in a text: 3x3."""
    return "x".join(map(str, sizes))


@dataclass(frozen=True)
class Windowed(Layer, register=False):
    """A layer on samples of the shape (positions..., channels)."""

    accepts_images = True
    passes_scale = True
    reads_neighbours = True

    axes: ClassVar[int | None] = None
    """The number of axes of positions that it takes; None for any."""
    whole: ClassVar[bool] = False
    """Whether all of its input is one window, so that no axes of positions are left."""

    @property
    def dimensions(self) -> int | None:
        """The number of axes of positions that its settings imply; None if they fit any."""
        settings = (getattr(self, setting.name) for setting in fields(self))
        implied = {len(sizes) for sizes in settings if isinstance(sizes, tuple)}
        implied |= set() if self.axes is None else {self.axes}
        several = " and ".join(map(str, sorted(implied)))
        agree = f"{self.called}: its settings are for {several} axes of positions; they must agree"
        require(len(implied) < 2, agree)
        return next(iter(implied), None)

    def lacks_channels(self, input_shape: Shape) -> bool:
        wanted = self.dimensions
        return len(input_shape) == wanted if wanted is not None else 1 <= len(input_shape) <= 2

    def positions(self, input_shape: Shape) -> Shape:
        """The sizes of the axes of positions; raises ShapeError unless the settings fit them."""
        axes, wanted = len(input_shape) - 1, self.dimensions
        if axes < 1 or (wanted is not None and axes != wanted):
            named = {1: "(length, channels)", 2: "(height, width, channels)", 3: "(depth, height, width, channels)"}
            takes = named.get(wanted or 0, f"{wanted or 'one or more'} axes of positions, and one of channels")
            hint = f"; add the channels with reshape {' '.join(map(str, input_shape))} 1"
            raise self.misfit(input_shape, takes, hint if len(input_shape) == (wanted or 1) else "")
        return input_shape[:-1]

    def why_unused(self, saved: Any, index: Shape) -> str:
        return f"no window of {self.called} holds it"
