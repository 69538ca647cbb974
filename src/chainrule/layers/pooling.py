"""Pooling: the largest or the mean input of each window, for each channel on its own.

Samples have the shape (positions..., channels). Where the windows lie distinguishes the kinds:
they have a fixed size and step (MaxPool, AveragePool), they divide the input into a given number of
parts (AdaptiveMaxPool, AdaptiveAveragePool), or one is the whole input (GlobalMaxPool,
GlobalAveragePool).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.arrays import Array, Params, Shape, Sizes
from chainrule.errors import SettingError, ShapeError
from chainrule.layers.base import Backward, Built, Formulas, Terms
from chainrule.layers.lengths import ValidMax, ValidMean
from chainrule.layers.resizing import Weighted
from chainrule.layers.symbols import Symbol
from chainrule.layers.windows import Window, Windowed, along, checked, checked_padding, windows, written


@dataclass(frozen=True)
class Pooling(Windowed, register=False):
    """A layer that takes each channel's inputs in a window together."""

    takes_largest: ClassVar[bool] = False

    def axes_of(self, positions: Shape) -> list[Window | Array]:
        """For each axis of positions its windows; where they are not at even distances, the inputs
        of each, as `places` has them.
        """
        raise NotImplementedError

    def places(self, positions: Shape) -> list[Array]:
        """For each axis of positions, (outputs, most) the inputs of each window; -1 is padding."""
        return [axis.places if isinstance(axis, Window) else axis for axis in self.axes_of(positions)]

    def reads(self, positions: Shape) -> list[list[Array]]:
        return [[row[row >= 0] for row in places] for places in self.places(positions)]


@dataclass(frozen=True)
class Sized(Pooling, register=False):
    """Windows of a fixed size."""

    size: Sizes = 2
    stride: Sizes | None = None
    padding: str | Sizes = "valid"

    def __post_init__(self) -> None:
        word = self.word
        object.__setattr__(self, "size", checked(f"{word}: size", self.size))
        if self.stride is not None:
            object.__setattr__(self, "stride", checked(f"{word}: stride", self.stride))
        object.__setattr__(self, "padding", checked_padding(f"{word}: padding", self.padding))
        axes = self.dimensions or 1
        if not isinstance(self.padding, str):
            sides = zip(along(self.padding, axes), along(self.size, axes), strict=True)
            if any(side >= size for side, size in sides):
                raise SettingError(f"{word}: the padding {self.padding} isn't below the size {self.size}: take less")

    def axes_of(self, positions: Shape) -> list[Window | Array]:
        axes = windows(positions, self.size, self.size if self.stride is None else self.stride, 1, self.padding)
        if min(axis.outputs for axis in axes) < 1:
            raise ShapeError(
                f"layer {self.called}: its window of {written(along(self.size, len(axes)))} is larger than its input"
                f" of {written(positions)} positions; take a smaller one, or padding=same"
            )
        return [*axes]


@dataclass(frozen=True)
class Adaptive(Pooling, register=False):
    """Windows that divide the input into a given number of parts along each axis: window o of m
    starts at floor(o * inputs / m) and ends before ceil((o + 1) * inputs / m).
    """

    size: Sizes = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", checked(f"{self.word}: size", self.size))

    def axes_of(self, positions: Shape) -> list[Window | Array]:
        sizes = zip(positions, along(self.size, len(positions)), strict=True)
        return [Window(n, n // m, n // m) if n % m == 0 else _parts(n, m) for n, m in sizes]


@dataclass(frozen=True)
class Global(Pooling, register=False):
    """One window, which is the whole input."""

    whole = True

    def axes_of(self, positions: Shape) -> list[Window | Array]:
        return [Window(n, n) for n in positions]


def _parts(inputs: int, outputs: int) -> Array:
    """(outputs, most) the inputs of each part; -1 where it has fewer than others."""
    o = np.arange(outputs)
    starts, stops = o * inputs // outputs, -(-(o + 1) * inputs // outputs)
    at = starts[:, None] + np.arange((stops - starts).max())
    return np.where(at < stops[:, None], at, -1)


@dataclass(frozen=True)
class MaxPooling(Pooling, register=False):
    """The largest input of each window; of equal ones the first, in row-major order."""

    takes_largest = True
    local_symbol = "1"
    formulas = Formulas(
        forward=r"y_{npj} = \max_{r \in w(p)} x_{nrj}",
        input=r"\frac{\partial L}{\partial x_{nrj}} = \sum_{p:\; r = \operatorname{argmax}\, w(p)}"
        r" \frac{\partial L}{\partial y_{npj}}",
    )

    def build(self, input_shape: Shape) -> Built:
        outputs = tuple(len(places) for places in self.places(self.positions(input_shape)))
        return Built((*(() if self.whole else outputs), input_shape[-1]))

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Any]:
        axes = self.places(x.shape[1:-1])
        inside = _with_lowest(x, axes) if any((places < 0).any() for places in axes) else x
        places: list[Any] = _crossing(axes)
        windows = inside[(slice(None), *places)]  # (samples, outputs..., places..., channels)
        d, kernel = len(axes), windows.shape[1 + len(axes) : -1]
        windows = windows.reshape(*windows.shape[: 1 + d], math.prod(kernel), x.shape[-1])
        best = windows.argmax(axis=-2)
        y = np.take_along_axis(windows, best[..., None, :], axis=-2)[..., 0, :]
        won = np.zeros(best.shape, dtype=np.intp)  # the number of the winner's position, in row-major order
        for k, (inputs, place) in enumerate(zip(axes, np.unravel_index(best, kernel), strict=True)):
            outputs = np.arange(len(inputs)).reshape(-1, *(1,) * (d - k))
            won = won * x.shape[1 + k] + inputs[outputs, place]
        return (y.reshape(len(x), -1) if self.whole else y), (won, x.shape)

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        won, shape = saved
        positions, channels = math.prod(shape[1:-1]), shape[-1]
        flat = (np.arange(shape[0]).reshape(-1, *(1,) * (won.ndim - 1)) * positions + won) * channels + np.arange(
            channels
        )
        dx = np.zeros(math.prod(shape), dtype=dy.dtype)
        np.add.at(dx, flat.ravel(), dy.ravel())
        return dx.reshape(shape), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        won, shape = saved
        sample, *position, channel = index
        at = np.argwhere(won[sample, ..., channel] == np.ravel_multi_index(position, shape[1:-1]))
        if self.whole:
            at = at[:, :0]
        at = np.column_stack([np.full(len(at), sample), at, np.full(len(at), channel)]).astype(np.intp)
        upstream = dy[tuple(at.T)]
        return Terms(upstream, np.ones_like(upstream), at)

    def winners(self, saved: Any) -> Array | None:
        return saved[0]

    def jumps(self, x: Array, saved: Any) -> Array:
        won = saved[0].reshape(len(x), -1, x.shape[-1])
        k, _, channel = at = np.nonzero(won[:-1] != won[1:])
        flat = x.reshape(len(x), -1, x.shape[-1])
        first, second = won[at], won[1:][at]  # the winners before and after
        before = flat[k, first, channel] - flat[k, second, channel]
        return k + before / (before - flat[k + 1, first, channel] + flat[k + 1, second, channel])

    def why_unused(self, saved: Any, index: Shape) -> str:
        won, shape = saved
        sample, *position, channel = index
        held = [
            np.flatnonzero((places == i).any(axis=1))
            for places, i in zip(self.places(shape[1:-1]), position, strict=True)
        ]
        if not all(map(len, held)):
            return super().why_unused(saved, index)
        first = won[(sample, *(where[0] for where in held), channel)]
        winner = ", ".join(str(int(k)) for k in (*np.unravel_index(first, shape[1:-1]), channel))
        return f"{self.called} takes the largest of its window, which is [{winner}]"

    def note(self, local: float, outputs: Array) -> str:
        return "the largest of its window"

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.zeros_like(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        (x,), (dx, _) = inputs, self.backward(params, saved, np.abs(dy))
        readers = math.prod(int(np.bincount(p[p >= 0]).max(initial=1)) for p in self.places(x.shape[1:-1]))
        return [(readers - 1) * dx]


def _crossing(axes: Sequence[Array]) -> list[Array]:
    """Places along each axis of positions, as indices of windows: (outputs..., places...)."""
    d, crossing = len(axes), []
    for k, places in enumerate(axes):
        before, after = (1,) * k, (1,) * (d - 1 - k)
        crossing.append(places.reshape(*before, len(places), *after, *before, places.shape[1], *after))
    return crossing


def _with_lowest(x: Array, axes: Sequence[Array]) -> Array:
    """x with one more place at the end of each axis of positions, which the index -1 reads: lower
    than any number.
    """
    return np.pad(x, [(0, 0), *((0, 1) for _ in axes), (0, 0)], constant_values=-np.inf)


@dataclass(frozen=True)
class MeanPooling(Weighted, Pooling, register=False):
    """The mean input of each window. Padding does not count."""

    formulas = Formulas(
        forward=r"y_{npj} = \frac{1}{|w(p)|} \sum_{r \in w(p)} x_{nrj}",
        input=r"\frac{\partial L}{\partial x_{nrj}} = \sum_{p:\; r \in w(p)} \frac{1}{|w(p)|}"
        r" \frac{\partial L}{\partial y_{npj}}",
    )

    def matrices(self, positions: Shape) -> list[Array]:
        means = []
        for inputs, places in zip(positions, self.places(positions), strict=True):
            held = (places[:, :, None] == np.arange(inputs)).any(axis=1)
            means.append(held / held.sum(axis=1, keepdims=True))
        return means


@dataclass(frozen=True)
class MaxPool(MaxPooling, Sized):
    """The largest input of each window of a fixed size; of equal ones the first.

    x of shape (samples, positions..., channels) becomes (samples, positions out..., channels).
    Padding is never the largest. The derivative goes to the input that won.

    Attributes:
        size: the size of a window along each axis of positions, or one number for all
        stride: the step from one window to the next; by default the size
        padding: "valid", "same", "causal", or a number of places on either side, as for Conv

    Examples:
        >>> MaxPool(2).build((28, 28, 32)).output_shape
        (14, 14, 32)
    """


@dataclass(frozen=True)
class AveragePool(MeanPooling, Sized):
    """The mean input of each window of a fixed size.

    x of shape (samples, positions..., channels) becomes (samples, positions out..., channels).
    Where a window reaches into padding, the mean is that of the inputs in it.

    Attributes:
        size: the size of a window along each axis of positions, or one number for all
        stride: the step from one window to the next; by default the size
        padding: "valid", "same", "causal", or a number of places on either side, as for Conv
    """


@dataclass(frozen=True)
class AdaptiveMaxPool(MaxPooling, Adaptive):
    """The largest input of each of `size` parts of the input, along each axis of positions.

    x of shape (samples, positions..., channels) becomes (samples, size..., channels). Along an
    axis, part o of m starts at floor(o * inputs / m) and ends before ceil((o + 1) * inputs / m).

    Examples:
        >>> AdaptiveMaxPool(3).build((10, 8, 5)).output_shape
        (3, 3, 5)
    """


@dataclass(frozen=True)
class AdaptiveAveragePool(MeanPooling, Adaptive):
    """The mean input of each of `size` parts of the input, along each axis of positions.

    x of shape (samples, positions..., channels) becomes (samples, size..., channels). Along an
    axis, part o of m starts at floor(o * inputs / m) and ends before ceil((o + 1) * inputs / m).
    """


@dataclass(frozen=True)
class GlobalMaxPool(MaxPooling, Global):
    """The largest input of each channel: (samples, positions..., channels) becomes (samples,
    channels). Called on a sequence and its lengths, it is that of the valid positions (ValidMax).
    """

    takes_lengths = True

    def __call__(self, *inputs: Symbol) -> Symbol:
        return ValidMax(name=self.name)(*inputs) if len(inputs) > 1 else super().__call__(*inputs)


@dataclass(frozen=True)
class GlobalAveragePool(MeanPooling, Global):
    """The mean input of each channel: (samples, positions..., channels) becomes (samples,
    channels) (Lin et al., 2014). Called on a sequence and its lengths, it is that of the valid
    positions (ValidMean).
    """

    takes_lengths = True

    def __call__(self, *inputs: Symbol) -> Symbol:
        return ValidMean(name=self.name)(*inputs) if len(inputs) > 1 else super().__call__(*inputs)
