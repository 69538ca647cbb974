"""The same operations for an engine that has windows of its own: it takes sizes, strides and axes
where the native engine takes lists of positions.
"""

from __future__ import annotations

from typing import Any

from chainrule import layers
from chainrule.engine.base import Problem
from chainrule.engine.lowering.network import ACTIVATIONS, LAYERS, Target, named
from chainrule.engine.lowering.windows import Settings, input_shape
from chainrule.layers.windows import along


def _convolution(node: Any, problem: Problem) -> Settings:
    """The windows along each axis of positions of the input."""
    return {"axes": node.layer.window_axes(input_shape(node, problem)[:-1]), "groups": node.layer.groups}


def _transposed(node: Any, problem: Problem) -> Settings:
    """The windows along each axis of positions of the output."""
    return {"axes": node.layer.output_axes(input_shape(node, problem)[:-1]), "groups": node.layer.groups}


def _pooled(node: Any, problem: Problem) -> Settings:
    return {"axes": node.layer.axes_of(input_shape(node, problem)[:-1])}


def _resized(node: Any, problem: Problem) -> tuple[str, Settings]:
    layer, positions = node.layer, input_shape(node, problem)[:-1]
    if layer.method == "nearest":
        return "repeat", {"factors": along(layer.factor, len(positions))}
    return "weighted", {"matrices": layer.matrices(positions)}


def _padded(node: Any, problem: Problem) -> Settings:
    return {"sides": node.layer.sides(len(input_shape(node, problem)) - 1)}


def _transpose(node: Any, problem: Problem) -> Settings:
    """The order of a sample's axes."""
    order = [*range(len(input_shape(node, problem)))]
    return {"axes": node.layer.axes or (*order[:-2], order[-1], order[-2])}


def _slice(node: Any, problem: Problem) -> Settings:
    axis = node.layer.axis % len(input_shape(node, problem))
    return {"start": node.layer.start, "stop": node.layer.stop, "axis": axis}


DECLARED = Target(
    {
        **LAYERS,
        **dict.fromkeys((layers.Conv, layers.Conv1d, layers.Conv2d, layers.Conv3d), named("conv", _convolution)),
        **dict.fromkeys((layers.ConvTranspose, layers.ConvTranspose2d), named("conv_transpose", _transposed)),
        **dict.fromkeys((layers.MaxPool, layers.AdaptiveMaxPool, layers.GlobalMaxPool), named("max_pool", _pooled)),
        **dict.fromkeys(
            (layers.AveragePool, layers.AdaptiveAveragePool, layers.GlobalAveragePool), named("mean_pool", _pooled)
        ),
        layers.Upsample: _resized,
        layers.ZeroPad: named("zero_pad", _padded),
        layers.Transpose: named("transpose", _transpose),
        layers.Slice: named("slice", _slice),
        # operands that have other shapes than the result are repeated, as in NumPy
        layers.Add: named("sum"),
        layers.Multiply: named("multiply"),
        # what the native engine leaves to the definitions
        layers.Clip: named("clip", lambda node, problem: {"low": node.layer.low, "high": node.layer.high}),
        layers.UnitNorm: named("unit_norm", lambda node, problem: {"epsilon": node.layer.epsilon}),
        layers.Learned: named("learned"),
        layers.Fixed: named("fixed"),
    },
    shares=True,
    recurrent=ACTIVATIONS.keys(),
)
"""An engine of arrays, which operations of its own take apart."""
