"""Convolutions: a kernel of weights is laid on every window of the input.

One definition serves signals, pictures and volumes, which have 1, 2 and 3 axes of positions:
samples have the shape (positions..., channels), and windows.py says which inputs a window holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape, Sizes
from chainrule.errors import ShapeError, is_integer, require
from chainrule.layers.activated import Activated
from chainrule.layers.base import (
    Backward,
    Built,
    Context,
    Formulas,
    Layer,
    Parameter,
    Terms,
    by_sample,
    feature_indices,
)
from chainrule.layers.windows import (
    CAUSAL,
    SAME,
    Window,
    Windowed,
    along,
    checked,
    checked_padding,
    crossed,
    meetings,
    portions,
    windows,
    written,
)


@dataclass(frozen=True)
class Kernels(Activated, Windowed, register=False):
    """What convolutions and their transposes share: the settings, the parameters, and one kernel
    for each group of channels.
    """

    passes_scale = False

    channels: int
    kernel: Sizes
    activation: str | Layer | None = None
    weights: str | distributions.Drawn | None = None
    stride: Sizes = 1
    padding: str | Sizes = "valid"
    dilation: Sizes = 1
    groups: int = 1
    biases: str | distributions.Drawn = distributions.ZEROS
    bias: bool = True

    def __post_init__(self) -> None:
        word = self.word
        for name in ("channels", "groups"):
            value = getattr(self, name)
            require(is_integer(value) and value > 0, f"{word}: {name} is {value!r}; it takes an integer above 0")
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, checked(f"{word}: {name}", getattr(self, name)))
        object.__setattr__(self, "padding", checked_padding(f"{word}: padding", self.padding))
        fits = self.channels % self.groups == 0
        require(fits, f"{word}: {self.channels} channels can't be divided into {self.groups} groups of the same size")
        if self.weights is not None:
            object.__setattr__(self, "weights", distributions.of(self.weights))
        object.__setattr__(self, "biases", distributions.of(self.biases))
        _ = self.dimensions  # settings that don't agree should be known here

    def window_axes(self, positions: Shape) -> list[Window]:
        """The windows along each axis of so many positions."""
        return windows(positions, self.kernel, self.stride, self.dilation, self.padding)

    def built(self, input_shape: Shape, output_positions: Shape) -> Built:
        """The output shape and the parameters: W of shape (kernel..., channels in of a group,
        channels out), and b of shape (channels out,).
        """
        inputs = input_shape[-1]
        if inputs % self.groups:
            raise ShapeError(
                f"layer {self.called}: the {inputs} channels of its input, of shape {input_shape}, can't be divided"
                f" into {self.groups} groups of the same size"
            )
        kernel = along(self.kernel, len(output_positions))
        field, of_group, own = math.prod(kernel), inputs // self.groups, self.channels // self.groups
        fans = (field * of_group, field * own)
        weights = None if self.weights is None else distributions.of(self.weights)
        parameters = {"W": Parameter((*kernel, of_group, self.channels), weights, fans)}
        if self.bias:
            parameters["b"] = Parameter((self.channels,), distributions.of(self.biases), fans, regularized=False)
        return Built((*output_positions, self.channels), parameters)

    # The products of rows of channels and one place of the kernel, group by group

    def across(self, x: Array, W: Array) -> Array:
        """x @ W, for x of shape (..., channels in) and W of shape (channels in of a group, channels
        out).
        """
        return self._joined(self._rows(x) @ self._kernels(W), x)

    def back(self, dy: Array, W: Array) -> Array:
        """dL/dx of `across`."""
        return self._joined(self._rows(dy) @ self._kernels(W).swapaxes(1, 2), dy)

    def outer(self, x: Array, dy: Array) -> Array:
        """dL/dW of `across`."""
        dW = self._rows(x).swapaxes(1, 2) @ self._rows(dy)
        return dW.swapaxes(0, 1).reshape(dW.shape[1], -1)

    def _rows(self, x: Array) -> Array:
        """(groups, rows, channels of a group)"""
        return x.reshape(-1, self.groups, x.shape[-1] // self.groups).swapaxes(0, 1)

    def _kernels(self, W: Array) -> Array:
        """(groups, channels in of a group, channels out of a group)"""
        return W.reshape(len(W), self.groups, -1).swapaxes(0, 1)

    def _joined(self, y: Array, like: Array) -> Array:
        """Rows of all groups side by side, at the positions of `like`."""
        return y.swapaxes(0, 1).reshape(*like.shape[:-1], self.groups * y.shape[-1])

    def channels_of(self, group: int, count: int) -> Array:
        """The channels of a group, of `count` in all."""
        size = count // self.groups
        return np.arange(group * size, (group + 1) * size)

    def channels_read(self, channel: int, inputs: int) -> Array:
        return self.channels_of(channel // (self.channels // self.groups), inputs)

    # For explanations, cost models and rounding bounds

    def letters(self, parameter: str, dimensions: int) -> tuple[str, ...]:
        kernel = ("k",) if dimensions == 3 else tuple(f"k_{axis}" for axis in range(1, dimensions - 1))
        return (*kernel, "i", "j") if parameter == "W" else ("j",)

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        if parameter == "b":
            return f"the bias of channel {index[0]} of {self.called}"
        *kernel, i, j = index
        places = {1: ("place",), 2: ("row", "column")}.get(len(kernel), tuple(f"axis {k}" for k in range(len(kernel))))
        place = ", ".join(f"{name} {k}" for name, k in zip(places, kernel, strict=True))
        group = "" if self.groups == 1 else f" of group {j // (self.channels // self.groups)}"
        return f"the weight at {place} of the kernel from channel {i}{group} to channel {j} of {self.called}"

    def sample_products(self, params: Params, saved: Array, dy: Array, along: Params) -> Array:
        return by_sample(dy, self.forward(along, saved, Context())[0])

    def parameter_terms(self, params: Params, saved: Array, dy: Array, name: str, index: Shape) -> Terms:
        if name == "b":
            upstream = dy[..., index[0]].ravel()
            return Terms(upstream, np.ones_like(upstream), feature_indices(dy.shape, index[0]))
        *place, i, j = index
        of_group = params["W"].shape[-2]
        channel = j // (self.channels // self.groups) * of_group + i
        outputs, inputs = zip(*(self.meeting(saved.shape[1:-1], tuple(place)) or ()), strict=True)
        upstream = dy[..., j][(slice(None), *outputs)]
        local = saved[..., channel][(slice(None), *inputs)]
        at = crossed([np.arange(len(dy)), *(np.arange(dy.shape[k])[out] for k, out in enumerate(outputs, start=1))])
        return Terms(upstream.ravel(), local.ravel(), np.column_stack([at, np.full(len(at), j)]))

    def reached(self, dy: Array, params: Params, index: Shape, axes: Sequence[tuple[Array, Array]]) -> Terms:
        """The terms of dx at `index`, whose window places are given for each axis: the positions of
        the outputs, and the places in the kernel.
        """
        sample, *_, channel = index
        W = params["W"]
        group, i = divmod(channel, W.shape[-2])
        outputs = self.channels_of(group, self.channels)
        at = crossed([*(where for where, _ in axes), outputs])
        places = crossed([*(place for _, place in axes), outputs])
        local = W[(*places[:, :-1].T, i, places[:, -1])]
        at = np.column_stack([np.full(len(at), sample), at])
        return Terms(dy[tuple(at.T)], local, at)

    transposed = False

    def output_error(self, params: Params, saved: Array, inputs: Sequence[Array], y: Array) -> Array:
        W = params["W"]
        sizes, _ = self.forward({name: np.abs(array) for name, array in params.items()}, np.abs(inputs[0]), Context())
        return (W[..., 0].size + 1) * sizes

    def input_error(self, params: Params, saved: Array, inputs: Sequence[Array], dy: Array) -> list[Array]:
        W = np.abs(params["W"])
        sizes = self.input_derivative({**params, "W": W}, saved, np.abs(dy))
        return [(W[..., 0, :].size // self.groups + 1) * sizes]


@dataclass(frozen=True)
class Conv(Kernels):
    """Convolution: z = b + the sum over the places of a kernel and over channels of W times the
    input there.

    x of shape (samples, positions..., channels in) becomes (samples, positions out..., channels).
    With k the place in the kernel, which is laid on the input without being turned over,

        z[n, p, j] = sum over k, then i, of W[k, i, j] x[n, p * stride + k * dilation - before, i]
                     + b[j]

    The sum runs over the places of the kernel in row-major order, at each of them over the
    channels; b is added last. Padding counts as 0; `windows` says how much there is, and how many
    positions the output has. The parameters are W of shape (kernel..., channels in / groups,
    channels) and b of shape (channels,).

    The kernel says how many axes of positions there are (LeCun et al., 1989). If it is one number,
    they follow from the input, as in the text `conv 32 3`: a network's input of two axes is a
    picture, which gets an axis of channels. Conv1d, Conv2d and Conv3d are for 1, 2 and 3 axes.

    Attributes:
        channels: the number of channels out
        kernel: the size of the kernel along each axis of positions, or one number for all
        activation: the name of an activation, or a layer, that follows
        weights: the distribution of W; by default the one that suits the activation that follows
        stride: the step from one window to the next, one number or one for each axis
        padding: "valid" (none), "same" (ceil(inputs / stride) positions out), "causal" (the same
            number, and none reads an input after it), or the number of places on either side, one
            or one for each axis
        dilation: the step from one place of a window to the next
        groups: the parts into which channels in and out are divided; each part of the outputs
            reads only its own part of the inputs. With as many as channels in it is a depthwise
            convolution (see DepthwiseConv)
        biases: the distribution of b, by default 0
        bias: whether there is a b

    Raises:
        ShapeError: for an input without axes of positions, and for a kernel larger than its input

    Examples:
        >>> Conv(32, 3).build((28, 28, 1)).output_shape
        (26, 26, 32)
        >>> Conv(32, (5, 3), stride=2, padding="same").build((28, 28, 3)).parameters["W"].shape
        (5, 3, 3, 32)
    """

    @property
    def formulas(self) -> Formulas:
        at = r"x_{n,\,sp + dk - q,\,i}"
        bias = {"b": r"\frac{\partial L}{\partial b_j} = \sum_n \sum_p \delta_{npj}"} if self.bias else {}
        return Formulas(
            forward=rf"z_{{npj}} = \sum_k \sum_i W_{{kij}}\, {at}" + (" + b_j" if self.bias else ""),
            input=r"\frac{\partial L}{\partial x_{nri}} = \sum_{k,\,p:\; sp + dk - q = r} \sum_j"
            r" W_{kij}\, \delta_{npj}",
            parameters={"W": rf"\frac{{\partial L}}{{\partial W_{{kij}}}} = \sum_n \sum_p \delta_{{npj}}\, {at}"}
            | bias,
        )

    def build(self, input_shape: Shape) -> Built:
        positions = self.positions(input_shape)
        axes = self.window_axes(positions)
        outputs = tuple(axis.outputs for axis in axes)
        if min(outputs) < 1:
            kernel, extent = (along(self.kernel, len(axes)), tuple(axis.extent for axis in axes))
            spread = "" if extent == kernel else f", which its dilation spreads over {written(extent)},"
            padded = tuple(axis.inputs + axis.before + axis.after for axis in axes)
            around = "" if padded == positions else f", {written(padded)} with its padding"
            raise ShapeError(
                f"layer {self.called}: its kernel of {written(kernel)}{spread} is larger than its input of"
                f" {written(positions)} positions{around}; take a smaller kernel, or padding=same"
            )
        return self.built(input_shape, outputs)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        W, axes = params["W"], self.window_axes(x.shape[1:-1])
        z = np.zeros((len(x), *(axis.outputs for axis in axes), self.channels), dtype=np.result_type(x, W))
        for some in portions(x, z):
            for k, out, there in meetings(axes):
                z[some][out] += self.across(x[some][there], W[k])
        if self.bias:
            z += params["b"]
        return z, x

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        x, dW = saved, np.zeros(params["W"].shape, dtype=dy.dtype)
        for k, out, there in meetings(self.window_axes(x.shape[1:-1])):
            dW[k] = self.outer(x[there], dy[out])
        gradients = {"W": dW}
        if self.bias:
            gradients["b"] = dy.reshape(-1, self.channels).sum(axis=0)
        return self.input_derivative(params, saved, dy) if wants_input else None, gradients

    def input_derivative(self, params: Params, saved: Array, dy: Array) -> Array:
        W, axes, dx = params["W"], self.window_axes(saved.shape[1:-1]), np.zeros(saved.shape, dtype=dy.dtype)
        for some in portions(dx, dy):
            for k, out, there in meetings(axes):
                dx[some][there] += self.back(dy[some][out], W[k])
        return dx

    def looks_back(self, positions: Shape) -> int:
        axes = self.window_axes(positions)
        if all(axis.kernel == 1 for axis in axes):
            return 0
        alone = len(axes) == 1 and self.padding == CAUSAL and axes[0].stride == 1
        require(alone, f"layer {self.called}: its windows do not look back alone")
        return axes[0].extent - 1

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> Terms:
        axes = self.window_axes(saved.shape[1:-1])
        return self.reached(dy, params, index, [axis.readers(i) for axis, i in zip(axes, index[1:-1], strict=True)])

    def meeting(self, positions: Shape, place: Shape) -> list[tuple[slice, slice]]:
        return [axis.meeting(k) for axis, k in zip(self.window_axes(positions), place, strict=True)]

    def taps(self, positions: Shape, at: Shape) -> list[tuple[Array, Array]]:
        axes = self.window_axes(positions)
        return [(axis.places[o], np.arange(axis.kernel)) for axis, o in zip(axes, at, strict=True)]

    def reads(self, positions: Shape) -> list[list[Array]]:
        return [[row[row >= 0] for row in axis.places] for axis in self.window_axes(positions)]

    def cost(self, built: Built) -> float:
        return 6.0 * math.prod(built.output_shape[:-1]) * math.prod(built.parameters["W"].shape)


@dataclass(frozen=True)
class Conv1d(Conv):
    """Convolution of signals: (samples, length, channels in) becomes (samples, length out,
    channels). See Conv.
    """

    axes = 1


@dataclass(frozen=True)
class Conv2d(Conv):
    """Convolution of pictures: (samples, height, width, channels in) becomes (samples, height out,
    width out, channels). See Conv.
    """

    axes = 2


@dataclass(frozen=True)
class Conv3d(Conv):
    """Convolution of volumes: (samples, depth, height, width, channels in) becomes (samples, depth
    out, height out, width out, channels). See Conv.
    """

    axes = 3


@dataclass(frozen=True)
class ConvTranspose(Kernels):
    """The transpose of a convolution: each input lays its multiple of the kernel on the output,
    where they add up.

    x of shape (samples, positions..., channels in) becomes (samples, positions out..., channels).
    It is the transpose, as a linear map, of the convolution with this kernel, stride, padding and
    dilation from its output to its input, so that a stride of 2 doubles a picture (Zeiler et al.,
    2010, "deconvolution"):

        z[n, p * stride + k * dilation - before, j] gets W[k, i, j] x[n, p, i] for every k, p and i

    There are (inputs - 1) * stride + extent - before - after positions out, or inputs * stride
    with padding="same". The sum runs over the places of the kernel in row-major order, at each of
    them over the channels; b is added last. Settings and parameters are those of Conv, but for
    padding="causal": the transpose of a causal convolution is not causal.

    Examples:
        >>> ConvTranspose(8, 3, stride=2).build((5, 5, 4)).output_shape
        (11, 11, 8)
        >>> ConvTranspose(8, 3, stride=2, padding="same").build((5, 5, 4)).output_shape
        (10, 10, 8)
    """

    transposed = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.padding != CAUSAL, f"{self.word}: padding is 'causal', but a transposed convolution is not causal")

    @property
    def formulas(self) -> Formulas:
        bias = {"b": r"\frac{\partial L}{\partial b_j} = \sum_n \sum_r \delta_{nrj}"} if self.bias else {}
        at = r"\delta_{n,\,sp + dk - q,\,j}"
        W = rf"\frac{{\partial L}}{{\partial W_{{kij}}}} = \sum_n \sum_p {at}\, x_{{npi}}"
        return Formulas(
            forward=r"z_{nrj} = \sum_{k,\,p:\; sp + dk - q = r} \sum_i W_{kij}\, x_{npi}"
            + (" + b_j" if self.bias else ""),
            input=rf"\frac{{\partial L}}{{\partial x_{{npi}}}} = \sum_k \sum_j W_{{kij}}\, {at}",
            parameters={"W": W} | bias,
        )

    def output_axes(self, positions: Shape) -> list[Window]:
        """The windows on the output, one for each of so many positions."""
        outputs = []
        settings = (self.kernel, self.stride, self.dilation, 0 if isinstance(self.padding, str) else self.padding)
        for n, k, step, apart, side in zip(positions, *(along(s, len(positions)) for s in settings), strict=True):
            outputs.append(n * step if self.padding == SAME else (n - 1) * step + (k - 1) * apart + 1 - 2 * side)
        if min(outputs) < 1:
            raise ShapeError(
                f"layer {self.called}: its padding leaves no output of an input of {written(positions)} positions;"
                " take less padding"
            )
        return self.window_axes(tuple(outputs))

    def build(self, input_shape: Shape) -> Built:
        return self.built(input_shape, tuple(axis.inputs for axis in self.output_axes(self.positions(input_shape))))

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        W, axes = params["W"], self.output_axes(x.shape[1:-1])
        z = np.zeros((len(x), *(axis.inputs for axis in axes), self.channels), dtype=np.result_type(x, W))
        for some in portions(x, z):
            for k, here, out in meetings(axes):
                z[some][out] += self.across(x[some][here], W[k])
        if self.bias:
            z += params["b"]
        return z, x

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        x, dW = saved, np.zeros(params["W"].shape, dtype=dy.dtype)
        for k, here, out in meetings(self.output_axes(x.shape[1:-1])):
            dW[k] = self.outer(x[here], dy[out])
        gradients = {"W": dW}
        if self.bias:
            gradients["b"] = dy.reshape(-1, self.channels).sum(axis=0)
        return self.input_derivative(params, saved, dy) if wants_input else None, gradients

    def input_derivative(self, params: Params, saved: Array, dy: Array) -> Array:
        W, axes, dx = params["W"], self.output_axes(saved.shape[1:-1]), np.zeros(saved.shape, dtype=dy.dtype)
        for some in portions(dx, dy):
            for k, here, out in meetings(axes):
                dx[some][here] += self.back(dy[some][out], W[k])
        return dx

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> Terms:
        places = [axis.places[p] for axis, p in zip(self.output_axes(saved.shape[1:-1]), index[1:-1], strict=True)]
        return self.reached(dy, params, index, [(row[row >= 0], np.flatnonzero(row >= 0)) for row in places])

    def meeting(self, positions: Shape, place: Shape) -> list[tuple[slice, slice]]:
        met = [axis.meeting(k) for axis, k in zip(self.output_axes(positions), place, strict=True)]
        return [(outputs, inputs) for inputs, outputs in met]

    def taps(self, positions: Shape, at: Shape) -> list[tuple[Array, Array]]:
        return [axis.readers(r) for axis, r in zip(self.output_axes(positions), at, strict=True)]

    def reads(self, positions: Shape) -> list[list[Array]]:
        return [[axis.readers(r)[0] for r in range(axis.inputs)] for axis in self.output_axes(positions)]

    def cost(self, built: Built) -> float:
        W = built.parameters["W"].shape
        inputs = math.prod(built.output_shape[:-1]) / math.prod(along(self.stride, len(W) - 2))
        return 6.0 * inputs * math.prod(W)


@dataclass(frozen=True)
class ConvTranspose2d(ConvTranspose):
    """The transpose of a convolution of pictures: (samples, height, width, channels in) becomes
    (samples, height out, width out, channels). See ConvTranspose.
    """

    axes = 2
