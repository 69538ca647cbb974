"""Windows as the native engine reads them: lists of positions, numbered in row-major order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.engine.base import Problem
from chainrule.layers.windows import Window, crossed

Settings = dict[str, Any]


def convolution(node: Any, problem: Problem) -> tuple[str, Settings]:
    """The operation of a convolution, and its settings."""
    layer, shape = node.layer, input_shape(node, problem)
    axes, channels, units = layer.window_axes(shape[:-1]), shape[-1], layer.channels
    if layer.groups == channels == units > 1:
        return "depthwise", {"relu": False} | read_windows(axes)
    numbers = channels * units // layer.groups
    if layer.groups == 1 and is_pointwise(axes) and numbers <= MOST_SLICED:
        return "pointwise", {"relu": False}
    if layer.groups == 1 and suits_winograd(axes, channels, units):
        return "winograd", {"relu": False, "sliced": 16 * numbers <= MOST_SLICED} | picture(axes)
    weights = numbers * math.prod(axis.kernel for axis in axes)
    settings = {"relu": False, "groups": layer.groups, "sliced": weights <= MOST_SLICED} | read_windows(axes)
    return "lane_conv" if layer.groups == 1 and suits_lanes(axes, channels, units) else "conv", settings


MOST_SLICED = 64 * 1024
"""How many numbers a gradient may have of which each slice of a mini-batch has its own."""


def transposed(node: Any, problem: Problem) -> Settings:
    """The settings of a transposed convolution: those of the convolution from its output to its
    input.
    """
    axes = node.layer.output_axes(input_shape(node, problem)[:-1])
    return {"relu": False, "groups": node.layer.groups} | read_windows(axes)


def pooled(node: Any, problem: Problem) -> Settings:
    """The inputs of each output's window, in row-major order: those of output o are `inputs` from
    `first[o]` to `first[o + 1]`. And whether each input is in one window.
    """
    positions = input_shape(node, problem)[:-1]
    pitches = [math.prod(positions[k + 1 :]) for k in range(len(positions))]
    first, inputs = [0], []
    for window in itertools.product(*node.layer.places(positions)):
        held = [along[along >= 0] * pitch for along, pitch in zip(window, pitches, strict=True)]
        inputs += crossed(held).sum(axis=1).tolist()
        first.append(len(inputs))
    return {"first": first, "inputs": inputs, "partition": sorted(inputs) == [*range(math.prod(positions))]}


def weighted(node: Any, problem: Problem) -> Settings:
    """The inputs of each output and their weights."""
    return _sums(node.layer.matrices(input_shape(node, problem)[:-1]))


def zero_padded(node: Any, problem: Problem) -> Settings:
    """The input of each output; none of those that are 0."""
    positions = input_shape(node, problem)[:-1]
    sides = node.layer.sides(len(positions))
    return _sums([np.eye(b + n + a, n, -b) for n, (b, a) in zip(positions, sides, strict=True)])


def _sums(matrices: Sequence[Array]) -> Settings:
    """The sums that the product of a matrix for each axis stands for."""
    whole = reduce(np.kron, matrices)
    outputs, inputs = np.nonzero(whole)
    first = np.searchsorted(outputs, np.arange(len(whole) + 1))
    return {"first": first.tolist(), "inputs": inputs.tolist(), "weights": whole[outputs, inputs].tolist()}


def input_shape(node: Any, problem: Problem) -> Shape:
    """The shape of a sample of what a node reads."""
    shape: Shape = problem.network.graph.shapes[node.inputs[0]]
    return shape


# Convolutions


def read_windows(axes: Sequence[Window]) -> Settings:
    """What a convolution over these axes reads, and what its gradient does.

    Forward, output o has a window of the padded input, which begins at position `windows[o]`;
    place k of the kernel is `places[k]` further. Backward, an input is the sum over the windows
    that read it. With a stride, inputs are read by the places of the kernel in turns: those with
    the same remainder along each axis are a phase. Each has inputs, for which its windows of the
    padded output begin at `back_windows`, and places, of which `back_kernel` are the places in
    the kernel; `back_counts` has their numbers.
    """
    padded = [(axis.outputs - 1) * axis.stride + axis.extent for axis in axes]
    copied = [min(axis.inputs, size - axis.before) for axis, size in zip(axes, padded, strict=True)]
    settings = _padding(
        "x", [axis.inputs for axis in axes], copied, [axis.before for axis in axes], padded,
        needed=any(axis.before or size > axis.inputs for axis, size in zip(axes, padded, strict=True)),
    )  # fmt: skip
    shape = settings.pop("shape")
    settings["windows"] = _flat([np.arange(axis.outputs) * axis.stride for axis in axes], shape)
    settings["places"] = _flat([np.arange(axis.kernel) * axis.dilation for axis in axes], shape)
    return settings | _backward(axes)


@dataclass(frozen=True)
class Phase:
    """The inputs with the same remainder along an axis, and the places of the kernel that read
    them.

    Attributes:
        inputs: (n,) their positions
        kernel: (k,) the places
        windows: (n,) the output that the first place of a kernel with no padding would have
        shifts: (k,) how far each place is from it
    """

    inputs: Array
    kernel: Array
    windows: Array
    shifts: Array


def phases(axis: Window) -> list[Phase]:
    """The phases of an axis: one for each remainder that inputs or places of the kernel have."""
    of_inputs = (np.arange(axis.inputs) + axis.before) % axis.stride
    of_kernel = np.arange(axis.kernel) * axis.dilation % axis.stride
    made = []
    for phase in np.union1d(of_inputs, of_kernel):
        inputs, kernel = np.flatnonzero(of_inputs == phase), np.flatnonzero(of_kernel == phase)
        windows = (inputs + axis.before - phase) // axis.stride
        made.append(Phase(inputs, kernel, windows, -((kernel * axis.dilation - phase) // axis.stride)))
    return made


def _backward(axes: Sequence[Window]) -> Settings:
    of_axes = [phases(axis) for axis in axes]
    # how far windows reach beside the outputs
    read = [np.concatenate([np.add.outer(p.windows, p.shifts).ravel() for p in own]) for own in of_axes]
    below = [max(0, -int(at.min(initial=0))) for at in read]
    above = [max(0, int(at.max(initial=0)) - axis.outputs + 1) for axis, at in zip(axes, read, strict=True)]
    outputs = [axis.outputs for axis in axes]
    padded = [low + size + high for low, size, high in zip(below, outputs, above, strict=True)]
    settings = _padding("y", outputs, outputs, below, padded, needed=padded != outputs)
    shape = settings.pop("shape")
    kernel, positions = [axis.kernel for axis in axes], [axis.inputs for axis in axes]
    lists: dict[str, list[int]] = {name: [] for name in ("counts", "inputs", "windows", "places", "kernel")}
    for own in itertools.product(*of_axes):
        inputs, places = _flat([p.inputs for p in own], positions), _flat([p.kernel for p in own], kernel)
        lists["counts"] += [len(inputs), len(places)]
        lists["inputs"] += inputs
        lists["windows"] += _flat([p.windows + low for p, low in zip(own, below, strict=True)], shape)
        lists["places"] += _flat([p.shifts for p in own], shape)
        lists["kernel"] += places
    return settings | {f"back_{name}": values for name, values in lists.items()}


def _padding(
    name: str, inside: Sequence[int], copied: Sequence[int], before: Sequence[int], padded: Sequence[int], needed: bool
) -> Settings:
    """Runs of positions that are copied from a sample into one with padding; none without."""
    if not needed:
        return {"shape": inside, f"{name}_positions": math.prod(inside), f"{name}_run": 0, f"{name}_from": [],
                f"{name}_to": []}  # fmt: skip
    *rows, run = copied
    if min(copied) <= 0:  # windows see nothing but padding: there are no runs, of one position each
        rows, run = [0 for _ in rows], 1
    starts = [*(np.arange(row) for row in rows), np.zeros(int(min(copied) > 0), dtype=int)]
    into = [start + b for start, b in zip(starts, before, strict=True)]
    return {"shape": padded, f"{name}_positions": math.prod(padded), f"{name}_run": run,
            f"{name}_from": _flat(starts, inside), f"{name}_to": _flat(into, padded)}  # fmt: skip


def _flat(parts: Sequence[Array], shape: Sequence[int]) -> list[int]:
    """The numbers of every combination of positions along axes of this shape."""
    pitches = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    return (crossed(parts) @ np.array(pitches, dtype=np.int64)).astype(np.int64).tolist()


def is_pointwise(axes: Sequence[Window]) -> bool:
    """Whether a convolution is a product of each of several positions with one matrix."""
    alone = all((axis.kernel, axis.stride, axis.before, axis.after) == (1, 1, 0, 0) for axis in axes)
    return alone and math.prod(axis.inputs for axis in axes) > 1


def suits_winograd(axes: Sequence[Window], channels: int, units: int) -> bool:
    """Whether F(2 x 2, 3 x 3) computes such a convolution faster."""
    fits = all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) and max(axis.before, axis.after) < 3 for axis in axes
    )
    return len(axes) == 2 and fits and min(channels, units) >= LEAST_CHANNELS


LEAST_CHANNELS = 16
"""Below this, finding the places of tiles takes longer than the multiplications that it saves."""


def suits_lanes(axes: Sequence[Window], channels: int, units: int) -> bool:
    """Whether such a convolution is faster with a sample in each lane of a vector."""
    inputs, outputs = (math.prod(sizes) for sizes in zip(*((axis.inputs, axis.outputs) for axis in axes), strict=True))
    return max(channels, units) <= MOST_CHANNELS and inputs * channels + outputs * units <= MOST_IN_LANES


MOST_CHANNELS, MOST_IN_LANES = 16, 1024
"""The channels, which would not fill a vector with more than one to spare, and the numbers of a
sample and its output: beyond them, lanes do not stay in a core's cache.
"""


def picture(axes: Sequence[Window]) -> Settings:
    """The sizes of the input and the output of a convolution of pictures."""
    down, across = axes
    return {"height": down.inputs, "width": across.inputs, "above": down.before, "left": across.before,
            "rows": down.outputs, "columns": across.outputs}  # fmt: skip
