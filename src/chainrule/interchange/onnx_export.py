"""A network as nodes of ONNX.

Values keep the order of axes in which ONNX has them: a convolution gives its channels first, and
what follows takes them so where it can. So there is a Transpose only where an order really changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape, Vector
from chainrule.errors import SettingError
from chainrule.interchange.regular import regular_windows
from chainrule.layers import Context
from chainrule.layers.graph import Node
from chainrule.network import Network

OPSET = 20
"""The first with Gelu; ONNX Runtime has it from 1.17 on."""
IR = 9
Params = Mapping[str, Any]


@dataclass(frozen=True)
class Tensor:
    """A value in ONNX.

    Attributes:
        name: its name
        shape: the shape of a sample, in the order of axes here
        order: which axis here each of its axes is; 0 is that of the samples
    """

    name: str
    shape: Shape
    order: tuple[int, ...]


class Writer:
    """The nodes and tensors of a graph that is being written."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self.helper, self.numpy = helper, numpy_helper
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self._names: set[str] = set()

    def array(self, name: str, array: Array) -> str:
        """A tensor of this name, or another if the name is taken; the name."""
        array = np.array(array, order="C")
        known = self.initializers.get(name)
        if (
            known is not None
            and self.numpy.to_array(known).shape == array.shape
            and (self.numpy.to_array(known).tobytes() == array.tobytes())
        ):
            return name
        name = self.fresh(name) if name in self.initializers else name
        self.initializers[name] = self.numpy.from_array(array, name)
        return name

    def fixed(self, name: str, array: Array) -> str:
        """A node that gives this array, which is not learned: a mask, say."""
        return self.node("Constant", [], name, value=self.numpy.from_array(np.array(array, order="C"), name))

    def integers(self, *values: int) -> str:
        """A tensor of integers."""
        return self.array("int_" + "_".join(str(v).replace("-", "m") for v in values), np.array(values, np.int64))

    def fresh(self, stem: str) -> str:
        """A name that is not taken."""
        name, k = stem, 1
        while name in self._names or name in self.initializers:
            k += 1
            name = f"{stem}_{k}"
        self._names.add(name)
        return name

    def node(self, operator: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any) -> str:
        """A node; the name of its output."""
        own = self.fresh(name)
        self.nodes.append(self.helper.make_node(operator, list(inputs), [own], name=own, domain=domain, **attributes))
        return own

    def arranged(self, x: Tensor, order: Sequence[int]) -> str:
        """The name of the value with its axes in this order."""
        if tuple(order) == x.order:
            return x.name
        return self.node("Transpose", [x.name], f"{x.name}_turned", perm=[x.order.index(a) for a in order])

    def natural(self, x: Tensor) -> str:
        """The name of the value with its axes as they are here."""
        return self.arranged(x, range(len(x.shape) + 1))


def write_network(writer: Writer, network: Network, parameters: Vector, statistics: Vector, x: str) -> Tensor:
    """The nodes of a network whose input is the value of this name. Raises SettingError, with all
    layers that can't be expressed.
    """
    params = network.params(parameters, statistics)
    values, problems = [Tensor(x, network.input_shape, tuple(range(len(network.input_shape) + 1)))], list[str]()
    scans = {call.start: call for call in network.graph.calls if is_recurrence(call)}
    skipped = 0
    for k, node in enumerate(network.nodes):
        if k in scans:
            skipped, call = scans[k].stop, scans[k]
            recurrence = write_recurrence(writer, call, network.nodes[call.start : call.stop], params, values)
        if k < skipped:
            shape = node.built.output_shape
            values.append(Tensor("", shape, tuple(range(len(shape) + 1))))
            if len(values) - 1 == call.output:
                values[-1] = recurrence
            continue
        inputs = [values[k] for k in node.inputs]
        write = LAYERS.get(node.layer.kind)
        try:
            if write is None:
                raise SettingError("")
            values.append(write(writer, node, params[node.owner], *inputs))
        except SettingError as error:
            problems.append(f"{node.name} ({node.layer.kind}{': ' if str(error) else ''}{error})")
            shape = node.built.output_shape
            values.append(Tensor("", shape, tuple(range(len(shape) + 1))))
    if problems:
        count = len(problems)
        raise SettingError(
            f"{count} layer{'s' * (count > 1)} can't be expressed in ONNX: {'; '.join(problems[:20])}"
            + (f"; and {count - 20} more" if count > 20 else "")
        )
    return values[-1]


GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "SimpleRNN": (0,)}
"""Cells that ONNX has, with the order in which it has their gates."""

CELLS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "LSTM": lambda cell: {}, "GRU": lambda cell: {"linear_before_reset": 1},
    "SimpleRNN": lambda cell: {"activations": ["Relu" if cell.activation == "relu" else "Tanh"]},
}  # fmt: skip
"""The attributes of each besides its size and direction."""


def is_recurrence(call: Any) -> bool:
    """Whether this call is a scan of a cell that ONNX has, on samples of the same length."""
    cell = getattr(call.layer, "cell", None)
    if cell is None or len(call.inputs) != 1 or cell.kind not in GATES:
        return False
    return getattr(cell, "activation", "tanh") in ("tanh", "relu")


def write_recurrence(
    w: Writer, call: Any, nodes: Sequence[Node], params: Mapping[str, Params], values: Sequence[Tensor]
) -> Tensor:
    """A scan as one operator."""
    scan, cell, x = call.layer, call.layer.cell, values[call.inputs[0]]
    inputs = params[next(n.owner for n in nodes if n.name.endswith("input"))]
    state = params[next(n.owner for n in nodes if "U" in n.built.parameters)]
    u, gates, name = cell.units, GATES[cell.kind], call.name

    def ordered(array: Array) -> Array:
        """Gates in the order of ONNX, and along the first axis."""
        return np.concatenate([array.T[k * u : (k + 1) * u] for k in gates])

    W, U = ordered(inputs["W"])[None], ordered(state["U"])[None]
    second = ordered(state["b"]) if "b" in state else np.zeros(len(gates) * u, W.dtype)
    b = np.concatenate([ordered(inputs["b"]), second])[None]
    given = [w.arranged(x, (1, 0, 2)), w.array(f"{name}.W", W), w.array(f"{name}.U", U), w.array(f"{name}.b", b)]
    settings: dict[str, Any] = {"hidden_size": u, "direction": "reverse" if scan.reversed else "forward"}
    settings |= CELLS[cell.kind](cell)
    outputs = [w.fresh(f"{name}_states"), w.fresh(f"{name}_last")]
    operator = {"SimpleRNN": "RNN"}.get(cell.kind, cell.kind)
    w.nodes.append(w.helper.make_node(operator, given, outputs, name=name, **settings))
    if scan.all:
        return Tensor(w.node("Squeeze", [outputs[0], w.integers(1)], f"{name}_all"), (x.shape[0], u), (1, 0, 2))
    return Tensor(w.node("Squeeze", [outputs[1], w.integers(0)], f"{name}_end"), (u,), (0, 1))


def _plain(node: Node, name: str) -> Tensor:
    shape = node.built.output_shape
    return Tensor(name, shape, tuple(range(len(shape) + 1)))


def _each(operator: str, **attributes: Any) -> Callable[..., Tensor]:
    """An elementwise operator."""

    def write(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
        return Tensor(w.node(operator, [x.name], node.name, **attributes), x.shape, x.order)

    return write


def _number(w: Writer, x: float, dtype: Any = np.float32) -> str:
    return w.array(f"number_{x:g}".replace("-", "minus_"), np.array(x, dtype))


def _float_type(params: Params) -> Any:
    return next((a.dtype for a in params.values()), np.dtype(np.float32))


def _silu(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    gate = w.node("Sigmoid", [x.name], f"{node.name}_gate")
    return Tensor(w.node("Mul", [x.name, gate], node.name), x.shape, x.order)


def _clip(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    low, high = getattr(node.layer, "low", -1.0), getattr(node.layer, "high", 1.0)
    return Tensor(w.node("Clip", [x.name, _number(w, low), _number(w, high)], node.name), x.shape, x.order)


def _sine(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    scaled = w.node("Mul", [x.name, _number(w, node.layer.frequency)], f"{node.name}_z")  # type: ignore[attr-defined]
    return Tensor(w.node("Sin", [scaled], node.name), x.shape, x.order)


def _with(operator: str, attribute: str, setting: str) -> Callable[..., Tensor]:
    def write(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
        given: dict[str, Any] = {attribute: float(getattr(node.layer, setting))}
        return Tensor(w.node(operator, [x.name], node.name, **given), x.shape, x.order)

    return write


def _gelu(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    how = "tanh" if node.layer.tanh else "none"  # type: ignore[attr-defined]
    return Tensor(w.node("Gelu", [x.name], node.name, approximate=how), x.shape, x.order)


def _prelu(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    slope = w.array(f"{node.owner}.alpha", params["alpha"])
    return _plain(node, w.node("PRelu", [w.natural(x), slope], node.name))


def _dropout(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    rate = _number(w, node.layer.rate)  # type: ignore[attr-defined]
    return Tensor(w.node("Dropout", [x.name, rate], node.name), x.shape, x.order)


def _scale(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    factor = _number(w, node.layer.factor)  # type: ignore[attr-defined]
    return Tensor(w.node("Mul", [x.name, factor], node.name), x.shape, x.order)


def _dense(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    matrix = node.layer.matrix  # type: ignore[attr-defined]
    W = w.array(f"{node.owner}.{matrix}", params[matrix])
    bias = [w.array(f"{node.owner}.b", params["b"])] if "b" in params else []
    if len(x.shape) == 1:
        return _plain(node, w.node("Gemm", [w.natural(x), W, *bias], node.name))
    y = w.node("MatMul", [w.natural(x), W], f"{node.name}_product" if bias else node.name)
    return _plain(node, w.node("Add", [y, *bias], node.name) if bias else y)


def _tied(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    W = w.node("Transpose", [w.array(f"{node.owner}.W", params["W"])], f"{node.name}_W", perm=[1, 0])
    return _plain(node, w.node("MatMul", [w.natural(x), W], node.name))


def _expand(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    name, on = w.natural(x), node.layer.on  # type: ignore[attr-defined]
    if on is not None:
        name = w.node("Gather", [name, w.integers(*on)], f"{node.name}_chosen", axis=-1)
    apart = w.node("Unsqueeze", [name, w.integers(-1)], f"{node.name}_apart")
    y = w.node("Mul", [apart, w.array(f"{node.owner}.W", params["W"])], f"{node.name}_product")
    y = w.node("Add", [y, w.array(f"{node.owner}.b", params["b"])], f"{node.name}_sum")
    return _reshaped(w, node, y)


def _reshaped(w: Writer, node: Node, name: str) -> Tensor:
    shape = node.built.output_shape
    return _plain(node, w.node("Reshape", [name, w.integers(-1, *shape)], node.name))


def _regrouped(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    return _reshaped(w, node, w.natural(x))


def _transpose(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    d = len(x.shape)
    axes = node.layer.axes or (*range(d - 2), d - 1, d - 2)  # type: ignore[attr-defined]
    place = {0: 0} | {axis + 1: k + 1 for k, axis in enumerate(axes)}
    return Tensor(x.name, node.built.output_shape, tuple(place[a] for a in x.order))


def _slice(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    layer: Any = node.layer
    axis = layer.axis + 1 if layer.axis >= 0 else len(x.shape) + 1 + layer.axis
    at = [w.integers(n) for n in (layer.start, layer.stop, x.order.index(axis))]
    return Tensor(w.node("Slice", [x.name, *at], node.name), node.built.output_shape, x.order)


def _combined(operator: str) -> Callable[..., Tensor]:
    def write(w: Writer, node: Node, params: Params, *xs: Tensor) -> Tensor:
        shape = node.built.output_shape
        if all(x.shape == shape for x in xs):
            order = xs[0].order
            names = [w.arranged(x, order) for x in xs]
        else:
            order, names = tuple(range(len(shape) + 1)), []
            for x in xs:
                wide = (1,) * (len(shape) - len(x.shape)) + x.shape
                name = w.natural(x)
                if wide != x.shape:
                    name = w.node("Reshape", [name, w.integers(-1, *wide)], f"{x.name}_wide")
                names.append(name)
        total = names[0]
        for k, other in enumerate(names[1:], start=1):
            total = w.node(operator, [total, other], node.name if k == len(names) - 1 else f"{node.name}_part")
        return Tensor(total, shape, order)

    return write


def _matmul(w: Writer, node: Node, params: Params, a: Tensor, b: Tensor) -> Tensor:
    return _plain(node, w.node("MatMul", [w.natural(a), w.natural(b)], node.name))


def _concatenate(w: Writer, node: Node, params: Params, *xs: Tensor) -> Tensor:
    order = xs[0].order
    names = [w.arranged(x, order) for x in xs]
    return Tensor(
        w.node("Concat", names, node.name, axis=order.index(len(xs[0].shape))), node.built.output_shape, order
    )


def _channels_first(x: Tensor) -> tuple[int, ...]:
    d = len(x.shape)
    return (0, d, *range(1, d))


def _first(node: Node, name: str) -> Tensor:
    shape = node.built.output_shape
    return Tensor(name, shape, (0, len(shape), *range(1, len(shape))))


def _conv(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    layer: Any = node.layer
    if layer.transposed:
        return _conv_transpose(w, node, params, x)
    axes, d = layer.window_axes(x.shape[:-1]), len(x.shape) - 1
    W = w.array(f"{node.owner}.W", params["W"].transpose(d + 1, d, *range(d)))
    bias = [w.array(f"{node.owner}.b", params["b"])] if "b" in params else []
    settings = {
        "kernel_shape": [a.kernel for a in axes], "strides": [a.stride for a in axes],
        "dilations": [a.dilation for a in axes], "group": layer.groups,
        "pads": [*(a.before for a in axes), *(a.after for a in axes)],
    }  # fmt: skip
    return _first(node, w.node("Conv", [w.arranged(x, _channels_first(x)), W, *bias], node.name, **settings))


def _conv_transpose(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    layer: Any = node.layer
    d, outputs = len(x.shape) - 1, node.built.output_shape[:-1]
    axes = layer.window_axes(outputs)
    inputs, own = x.shape[-1], layer.channels // layer.groups
    array = params["W"].reshape(*params["W"].shape[:d], inputs // layer.groups, layer.groups, own)
    array = np.moveaxis(array, (d, d + 1, d + 2), (1, 0, 2)).reshape(inputs, own, *params["W"].shape[:d])
    W = w.array(f"{node.owner}.W", array)
    bias = [w.array(f"{node.owner}.b", params["b"])] if "b" in params else []
    settings = {
        "kernel_shape": [a.kernel for a in axes], "strides": [a.stride for a in axes],
        "dilations": [a.dilation for a in axes], "group": layer.groups,
        "pads": [*(a.before for a in axes), *(a.after for a in axes)],
        "output_padding": [
            n - ((m - 1) * a.stride + a.extent - a.before - a.after)
            for n, m, a in zip(outputs, x.shape[:-1], axes, strict=True)
        ],
    }  # fmt: skip
    if min(settings["output_padding"]) < 0:
        raise SettingError("with this padding")
    return _first(node, w.node("ConvTranspose", [w.arranged(x, _channels_first(x)), W, *bias], node.name, **settings))


def _pool(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    """Pooling, by the windows that the layer says."""
    layer: Any = node.layer
    name = w.arranged(x, _channels_first(x))
    if layer.whole:
        operator = "GlobalMaxPool" if layer.takes_largest else "GlobalAveragePool"
        return _reshaped(w, node, w.node(operator, [name], f"{node.name}_whole"))
    sizes, strides, before, after = regular_windows(layer, x.shape[:-1])
    settings: dict[str, Any] = {"kernel_shape": sizes, "strides": strides, "pads": [*before, *after]}
    if layer.takes_largest:
        return _first(node, w.node("MaxPool", [name], node.name, **settings))
    return _first(node, w.node("AveragePool", [name], node.name, count_include_pad=0, **settings))


def _upsample(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    layer: Any = node.layer
    factors = [n / m for n, m in zip(node.built.output_shape[:-1], x.shape[:-1], strict=True)]
    scales = w.array(f"{node.name}_scales", np.array([1, 1, *factors], np.float32))
    how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if layer.method == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return _first(node, w.node("Resize", [w.arranged(x, _channels_first(x)), "", scales], node.name, **how))


def _zero_pad(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    sides = node.layer.sides(len(x.shape) - 1)  # type: ignore[attr-defined]
    both = {0: (0, 0), len(x.shape): (0, 0)} | {k + 1: side for k, side in enumerate(sides)}
    pads = [*(both[a][0] for a in x.order), *(both[a][1] for a in x.order)]
    return Tensor(w.node("Pad", [x.name, w.integers(*pads)], node.name), node.built.output_shape, x.order)


def _batch_norm(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    order = _channels_first(x) if len(x.shape) > 1 else (0, 1)
    held = [w.array(f"{node.owner}.{name}", params[name]) for name in ("scale", "offset", "mean", "variance")]
    layer: Any = node.layer
    y = w.node("BatchNormalization", [w.arranged(x, order), *held], node.name, epsilon=layer.epsilon,
               momentum=float(layer.momentum))  # fmt: skip
    return Tensor(y, x.shape, order)


def _layer_norm(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    held = [w.array(f"{node.owner}.{name}", params[name]) for name in ("scale", "offset")]
    epsilon = node.layer.epsilon  # type: ignore[attr-defined]
    return _plain(node, w.node("LayerNormalization", [w.natural(x), *held], node.name, axis=-1, epsilon=epsilon))


def _rms_norm(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    name, epsilon = w.natural(x), node.layer.epsilon  # type: ignore[attr-defined]
    mean = w.node(
        "ReduceMean", [w.node("Mul", [name, name], f"{node.name}_squares"), w.integers(-1)], f"{node.name}_mean"
    )
    size = w.node("Sqrt", [w.node("Add", [mean, _number(w, epsilon, _float_type(params))], f"{node.name}_sum")],
                  f"{node.name}_size")  # fmt: skip
    unit = w.node("Div", [name, size], f"{node.name}_unit")
    return _plain(node, w.node("Mul", [unit, w.array(f"{node.owner}.scale", params["scale"])], node.name))


def _group_norm(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    layer: Any = node.layer
    order, g, c = _channels_first(x), layer.groups, x.shape[-1]
    flat = w.node("Reshape", [w.arranged(x, order), w.integers(0, g, -1)], f"{node.name}_groups")
    ones, zeros = (w.fixed(f"{node.name}_{k}", np.full(g, k, params["scale"].dtype)) for k in (1, 0))
    unit = w.node("InstanceNormalization", [flat, ones, zeros], f"{node.name}_unit", epsilon=layer.epsilon)
    back = w.node("Reshape", [unit, w.integers(-1, c, *x.shape[:-1])], f"{node.name}_back")
    wide = (c, *(1,) * (len(x.shape) - 1))
    scaled = w.node("Mul", [back, w.array(f"{node.owner}.scale", params["scale"].reshape(wide))], f"{node.name}_scaled")
    y = w.node("Add", [scaled, w.array(f"{node.owner}.offset", params["offset"].reshape(wide))], node.name)
    return Tensor(y, x.shape, order)


def _unit_norm(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    name, epsilon = w.natural(x), node.layer.epsilon  # type: ignore[attr-defined]
    length = w.node("ReduceL2", [name, w.integers(-1)], f"{node.name}_length")
    length = w.node("Max", [length, _number(w, epsilon)], f"{node.name}_least")
    return _plain(node, w.node("Div", [name, length], node.name))


def _softmax(operator: str) -> Callable[..., Tensor]:
    def write(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
        return _plain(node, w.node(operator, [w.natural(x)], node.name, axis=-1))

    return write


def _masked_softmax(w: Writer, node: Node, params: Params, *xs: Tensor) -> Tensor:
    if len(xs) > 1:
        raise SettingError("with lengths")
    name = w.natural(xs[0])
    if node.layer.causal:  # type: ignore[attr-defined]
        hidden = np.triu(np.full(xs[0].shape[-2:], -1e30, np.float32), 1)
        name = w.node("Add", [name, w.fixed(f"{node.name}_mask", hidden)], f"{node.name}_seen")
    return _plain(node, w.node("Softmax", [name], node.name, axis=-1))


def _embedding(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    rows = w.node("Cast", [w.natural(x)], f"{node.name}_rows", to=7)
    return _plain(node, w.node("Gather", [w.array(f"{node.owner}.W", params["W"]), rows], node.name, axis=0))


def _positions(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    """Learned or sinusoidal positions: what is added to a sequence of zeros."""
    table, _ = node.layer.forward(params, np.zeros((1, *x.shape), _float_type(params)), Context())
    held = w.array(f"{node.owner}.W", table[0]) if params else w.fixed(f"{node.name}_table", table[0])
    return _plain(node, w.node("Add", [w.natural(x), held], node.name))


def _unrelated(w: Writer, node: Node, params: Params, x: Tensor) -> Tensor:
    """What is the same for every sample."""
    value, _ = node.layer.forward(params, np.zeros((1, *x.shape), _float_type(params)), Context())
    is_learned = "W" in params
    held = w.array(f"{node.owner}.W", value) if is_learned else w.fixed(f"{node.name}_value", value)
    count = w.node("Shape", [x.name], f"{node.name}_count", start=x.order.index(0), end=x.order.index(0) + 1)
    shape = w.node("Concat", [count, w.integers(*node.built.output_shape)], f"{node.name}_shape", axis=0)
    return _plain(node, w.node("Expand", [held, shape], node.name))


LAYERS: dict[str, Callable[..., Tensor]] = {
    "ReLU": _each("Relu"), "Sigmoid": _each("Sigmoid"), "Tanh": _each("Tanh"), "Softplus": _each("Softplus"),
    "Softsign": _each("Softsign"), "HardSwish": _each("HardSwish"), "Mish": _each("Mish"), "SELU": _each("Selu"),
    "HardSigmoid": _each("HardSigmoid", alpha=1 / 6, beta=0.5), "SiLU": _silu, "GELU": _gelu, "Sine": _sine,
    "HardTanh": _clip, "Clip": _clip, "LeakyReLU": _with("LeakyRelu", "alpha", "slope"),
    "ELU": _with("Elu", "alpha", "alpha"), "PReLU": _prelu, "Dropout": _dropout, "ChannelDropout": _dropout,
    "Scale": _scale, "Dense": _dense, "GateSums": _dense, "StateSums": _dense, "TiedDense": _tied, "Expand": _expand,
    "Flatten": _regrouped, "Reshape": _regrouped, "Transpose": _transpose, "Slice": _slice, "Add": _combined("Add"),
    "Multiply": _combined("Mul"), "MatMul": _matmul, "Concatenate": _concatenate,
    **dict.fromkeys(("Conv", "Conv1d", "Conv2d", "Conv3d", "DepthwiseConv", "ConvTranspose", "ConvTranspose2d"), _conv),
    **dict.fromkeys(("MaxPool", "AveragePool", "AdaptiveMaxPool", "AdaptiveAveragePool", "GlobalMaxPool",
                     "GlobalAveragePool"), _pool),
    "Upsample": _upsample, "ZeroPad": _zero_pad, "BatchNorm": _batch_norm, "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm, "GroupNorm": _group_norm, "UnitNorm": _unit_norm, "Softmax": _softmax("Softmax"),
    "LogSoftmax": _softmax("LogSoftmax"), "MaskedSoftmax": _masked_softmax, "Embedding": _embedding,
    "LearnedPositions": _positions, "SinusoidalPositions": _positions,
    "Zeros": _unrelated, "Learned": _unrelated, "Fixed": _unrelated,
}  # fmt: skip
"""What writes a layer, by its kind."""
