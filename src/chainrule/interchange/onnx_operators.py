"""What each operator of ONNX becomes here, by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import layers
from chainrule.interchange import arranged, normalized, windowed
from chainrule.interchange.values import (
    Constant,
    UnsupportedError,
    Value,
    axis_of,
)

if TYPE_CHECKING:
    from chainrule.interchange.onnx_graph import Graph

Read = Callable[..., Any]
TABLE: dict[str, Read] = {}
"""What reads a node, by its operator: a function of the wiring, its inputs and its attributes."""


def op(*names: str) -> Callable[[Read], Read]:
    """Add a function to the table under these names."""

    def add(function: Read) -> Read:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return add


class Failed:
    """The result of a node that could not be read."""


FAILED: Any = Failed()


for _operator, _layer in {
    "Relu": layers.ReLU, "Tanh": layers.Tanh, "Sigmoid": layers.Sigmoid, "Mish": layers.Mish,
    "HardSwish": layers.HardSwish, "Softplus": layers.Softplus, "Softsign": layers.Softsign,
}.items():  # fmt: skip
    TABLE[_operator] = lambda g, node, x, _layer=_layer: g.wiring.each(x, _layer())


@op("Identity", "Cast")
def _identity(g: Graph, node: Any, x: Value, **_: Any) -> Value:
    return x


@op("Dropout")
def _dropout(
    g: Graph, node: Any, x: Value, rate: Any = None, training: Any = None, *, ratio: float = 0.5, **_: Any
) -> Value:
    p = float(rate.array) if isinstance(rate, Constant) else ratio
    return g.wiring.each(x, layers.Dropout(round(p, 7))) if 0 < p < 1 else x


@op("Elu")
def _elu(g: Graph, node: Any, x: Value, alpha: float = 1.0) -> Value:
    return g.wiring.each(x, layers.ELU(alpha))


@op("Selu")
def _selu(g: Graph, node: Any, x: Value, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Value:
    if not (math.isclose(alpha, 1.6732632, rel_tol=1e-5) and math.isclose(gamma, 1.050701, rel_tol=1e-5)):
        raise UnsupportedError("with other constants")
    return g.wiring.each(x, layers.SELU())


@op("LeakyRelu")
def _leaky(g: Graph, node: Any, x: Value, alpha: float = 0.01) -> Value:
    return g.wiring.each(x, layers.LeakyReLU(round(alpha, 7)))


@op("PRelu")
def _prelu(g: Graph, node: Any, x: Value, slope: Constant) -> Value:
    axis = next((len(x.shape) - slope.array.ndim + a for a, n in enumerate(slope.shape) if n > 1), 1)
    return g.wiring.prelu(x, slope, axis)


@op("HardSigmoid")
def _hard_sigmoid(g: Graph, node: Any, x: Value, alpha: float = 0.2, beta: float = 0.5) -> Value:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return g.wiring.each(x, layers.HardSigmoid())
    line = g.wiring.add(g.wiring.multiply(x, Constant(np.array(alpha))), Constant(np.array(beta, np.float32)))
    return g.wiring.each(line, layers.Clip(0.0, 1.0))


@op("Gelu")
def _gelu(g: Graph, node: Any, x: Value, approximate: bytes = b"none") -> Value:
    return g.wiring.each(x, layers.GELU(tanh=approximate == b"tanh"))


@op("Gemm")
def _gemm(g: Graph, node: Any, x: Value, W: Constant, b: Any = None, *, alpha: float = 1.0, beta: float = 1.0,
          transA: int = 0, transB: int = 0) -> Value:  # fmt: skip
    if transA or alpha != 1 or (b is not None and beta != 1) or not isinstance(W, Constant):
        raise UnsupportedError("with factors, or weights that depend on the input")
    array = W.array.T if transB else W.array
    if b is not None and b.array.size != array.shape[1]:
        b = Constant(np.broadcast_to(b.array, (1, array.shape[1])).ravel().copy(), b.name, True)
    return g.wiring.linear(x, Constant(array, W.name, True), b, W.name)


@op("MatMul")
def _matmul(g: Graph, node: Any, a: Any, b: Any) -> Value:
    if isinstance(b, Constant) and b.array.ndim == 2:
        bias = g.fused(node, "Add", b.shape[1])
        name = b.name if not b.name.startswith(("onnx::", "val_")) else ("" if bias is None else bias.name)
        return g.wiring.linear(a, b, bias, name)
    return g.wiring.matmul(a, b)


@op("Einsum")
def _einsum(g: Graph, node: Any, *xs: Any, equation: bytes) -> Value:
    return arranged.einsum(g.wiring, equation.decode(), xs)


def _windows(node_attributes: dict[str, Any], x: Value, kernel: Sequence[int]) -> tuple[Any, Any, Any]:
    """Strides, padding (a list or "same") and dilations."""
    d = len(kernel)
    strides = node_attributes.get("strides") or [1] * d
    dilations = node_attributes.get("dilations") or [1] * d
    auto = node_attributes.get("auto_pad", b"NOTSET")
    pads: Any = list(node_attributes.get("pads") or [0] * 2 * d)
    if auto == b"SAME_UPPER":
        pads = "same"
    elif auto == b"SAME_LOWER":
        raise UnsupportedError("with auto_pad=SAME_LOWER")
    return strides, pads, dilations


@op("Conv")
def _conv(g: Graph, node: Any, x: Value, W: Constant, b: Any = None, *, group: int = 1, **a: Any) -> Value:
    strides, pads, dilations = _windows(a, x, W.shape[2:])
    return windowed.conv(g.wiring, x, W, b, strides, pads, dilations, group, W.name)


@op("ConvTranspose")
def _conv_transpose(g: Graph, node: Any, x: Value, W: Constant, b: Any = None, *, group: int = 1, **a: Any) -> Value:
    strides, pads, dilations = _windows(a, x, W.shape[2:])
    if isinstance(pads, str) or a.get("output_shape"):
        raise UnsupportedError("with auto_pad or output_shape")
    return windowed.conv_transpose(
        g.wiring, x, W, b, strides, pads, dilations, group, a.get("output_padding") or [0] * (W.array.ndim - 2)
    )


def _pooled(kind: str) -> Read:
    def read(g: Graph, node: Any, x: Value, *, kernel_shape: Any, ceil_mode: int = 0, count_include_pad: int = 0,
             storage_order: int = 0, **a: Any) -> Value:  # fmt: skip
        strides, pads, dilations = _windows(a, x, kernel_shape)
        if set(dilations) != {1}:
            raise UnsupportedError("with dilations")
        if isinstance(pads, str):
            make: Any = layers.MaxPool if kind == "max" else layers.AveragePool
            y, axes = windowed.spatial(x)
            return windowed.positions(x, make(tuple(kernel_shape), tuple(strides), "same")(y), axes)
        return windowed.pool(x, kind, kernel_shape, strides, pads, bool(ceil_mode), bool(count_include_pad))

    return read


TABLE |= {"MaxPool": _pooled("max"), "AveragePool": _pooled("mean")}


@op("GlobalAveragePool")
def _global_mean(g: Graph, node: Any, x: Value) -> Value:
    return windowed.reduce(x, "mean", range(2, len(x.shape)), True)


@op("GlobalMaxPool")
def _global_max(g: Graph, node: Any, x: Value) -> Value:
    return windowed.reduce(x, "max", range(2, len(x.shape)), True)


def _reduced(kind: str) -> Read:
    def read(
        g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None, keepdims: int = 1, **_: Any
    ) -> Value:
        chosen = over.array.ravel().tolist() if over is not None else axes
        return windowed.reduce(x, kind, range(1, len(x.shape)) if chosen is None else chosen, bool(keepdims))

    return read


TABLE |= {"ReduceMean": _reduced("mean"), "ReduceMax": _reduced("max"), "ReduceSum": _reduced("sum")}


@op("BatchNormalization")
def _batch_norm(g: Graph, node: Any, x: Value, scale: Constant, offset: Constant, mean: Constant, variance: Constant, *,
                epsilon: float = 1e-5, momentum: float = 0.9, **_: Any) -> Value:  # fmt: skip
    return normalized.batch_norm(g.wiring, x, scale, offset, mean, variance, short(epsilon), short(momentum))


def short(number: float) -> float:
    """A float32 as the shortest decimal number that is the same float32."""
    return float(str(np.float32(number)))


@op("LayerNormalization")
def _layer_norm(g: Graph, node: Any, x: Value, scale: Any, offset: Any = None, *, axis: int = -1,
                epsilon: float = 1e-5, **_: Any) -> Value:  # fmt: skip
    return normalized.layer_norm(
        g.wiring, x, range(axis_of(axis, len(x.shape)), len(x.shape)), scale, offset, short(epsilon)
    )


@op("RMSNormalization", "SimplifiedLayerNormalization")
def _rms_norm(g: Graph, node: Any, x: Value, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, **_: Any) -> Value:
    over = range(axis_of(axis, len(x.shape)), len(x.shape))
    return normalized.layer_norm(g.wiring, x, over, scale, None, short(epsilon), centred=False)


@op("GroupNormalization")
def _group_norm(g: Graph, node: Any, x: Value, scale: Constant, offset: Constant, *, num_groups: int,
                epsilon: float = 1e-5, **_: Any) -> Value:  # fmt: skip
    n = x.shape[1]
    scale, offset = (
        c if c.shape == (n,) else Constant(np.repeat(c.array, n // num_groups), c.name, True) for c in (scale, offset)
    )
    return normalized.group_norm(g.wiring, x, num_groups, scale, offset, short(epsilon))


@op("InstanceNormalization")
def _instance_norm(g: Graph, node: Any, x: Value, scale: Constant, offset: Constant, *, epsilon: float = 1e-5) -> Value:
    return normalized.group_norm(g.wiring, x, x.shape[1], scale, offset, short(epsilon))


@op("Softmax")
def _softmax(g: Graph, node: Any, x: Value, *, axis: int | None = None) -> Value:
    return g.wiring.softmax(x, _softmax_axis(g, x, axis))


@op("LogSoftmax")
def _log_softmax(g: Graph, node: Any, x: Value, *, axis: int | None = None) -> Value:
    return g.wiring.softmax(x, _softmax_axis(g, x, axis), True)


def _softmax_axis(g: Graph, x: Value, axis: int | None) -> int:
    if g.opset < 13 and axis_of(1 if axis is None else axis, len(x.shape)) != len(x.shape) - 1:
        raise UnsupportedError(f"over several axes, as in opset {g.opset}")
    return -1 if axis is None else axis
