"""ONNX: a file is read as data, its graph node by node.

The file is protocol buffers, in which nothing is executed. Its size is bounded, its tensors must be
in it, and what its nodes compute from constants alone (shapes, mostly) is computed here by NumPy,
within a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.errors import DataError, require_package
from chainrule.interchange.onnx_constants import folded
from chainrule.interchange.torch_graph import only_value, unsupported
from chainrule.interchange.values import Constant, UnsupportedError, Value, axis_of, permuted, reshaped
from chainrule.interchange.wiring import Wiring

MOST_BYTES = 2**31
"""The largest file, which is that of the format."""
MOST_NODES = 200_000
ADDITION, ENLARGEMENT = "Add", "Upsample"
"""Operators whose names are those of layers here, too."""
Read = Callable[..., Any]
TABLE: dict[str, Read] = {}
"""What reads a node, by its operator: a function of the wiring, its inputs and its attributes."""
CHANNELS_FIRST = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization",
    "InstanceNormalization", "GroupNormalization", "Resize", "Upsample", "DepthToSpace",
)  # fmt: skip
"""Operators whose input has its channels before its positions."""
PASSED = (
    "Add", "Sub", "Mul", "Div", "Relu", "Identity", "Cast", "Dropout", "Pad", "Concat", "Slice", "Split", "Clip",
    "Sigmoid", "Gather", "Unsqueeze",
)  # fmt: skip
"""Operators that keep the order of axes."""


def _op(*names: str) -> Callable[[Read], Read]:
    def add(function: Read) -> Read:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return add


def read_file(path: Path) -> Any:
    """The model of a file; raises DataError for what is none."""
    require_package("onnx", "onnx", "reading ONNX files")
    import onnx

    try:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: it is larger than {MOST_BYTES:,} bytes, as no ONNX file is")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: it can't be read ({error.strerror})") from None
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protocol buffers
        raise DataError(f"{path}: it is no ONNX file, or was cut ({type(error).__name__})") from None
    if not model.graph.node or not model.graph.output:
        raise DataError(f"{path}: it is no ONNX file: it has no nodes")
    if len(model.graph.node) > MOST_NODES:
        raise DataError(f"{path}: it has {len(model.graph.node):,} nodes; at most {MOST_NODES:,} are read")
    beside = [t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if beside:
        if all(_is_beside(path, t) for t in model.graph.initializer if t.name in {*beside}):
            onnx.load_external_data_for_model(model, str(path.parent))
        else:
            raise DataError(f"{path}: its tensor {beside[0]} is in a file that is not beside it")
    return model


def _is_beside(path: Path, tensor: Any) -> bool:
    """Whether the data of a tensor is in a regular file of the same folder, of a size that fits."""
    about = {entry.key: entry.value for entry in tensor.external_data}
    name = about.get("location", "")
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        return False
    place = path.parent / name
    if place.is_symlink() or not place.is_file() or place.stat().st_size > 4 * MOST_BYTES:
        return False
    offset, length = about.get("offset", "0"), about.get("length", "0")
    return offset.isdigit() and length.isdigit() and int(offset) + int(length) <= place.stat().st_size


class Graph:
    """A graph that is being read.

    Attributes:
        wiring: where its layers go
        values: each value by its name
        problems: the nodes that no layer computes
        readers, made: the nodes that read a value, and the one that makes it, by its name
    """

    def __init__(self, model: Any, path: Path, shapes: Sequence[Sequence[int]] | None = None) -> None:
        from onnx import numpy_helper

        self.model, self.graph, self.path = model, model.graph, path
        self.wiring, self.problems = Wiring(), list[str]()
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.values: dict[str, Any] = {"": None}
        for tensor in self.graph.initializer:
            try:
                array = numpy_helper.to_array(tensor)
            except Exception as error:
                raise DataError(f"{path}: its tensor {tensor.name!r} can't be read ({error})") from None
            self.values[tensor.name] = Constant(_plain(array), tensor.name, array.dtype.kind == "f" and array.ndim > 0)
        self.readers: dict[str, list[Any]] = {}
        self.made = {name: node for node in self.graph.node for name in node.output}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self._inputs(shapes)

    def _inputs(self, shapes: Sequence[Sequence[int]] | None) -> None:
        given = [x for x in self.graph.input if x.name not in self.values]
        if shapes is not None and len(shapes) != len(given):
            raise DataError(f"{self.path}: it has {len(given)} inputs, but {len(shapes)} shapes are given")
        for k, x in enumerate(given):
            shape = self._shape(x) if shapes is None else (1, *shapes[k])
            try:
                self.values[x.name] = self.wiring.input(shape, self._channels_first(x.name))
            except UnsupportedError as error:
                raise DataError(f"{self.path}: its input {x.name!r}: {error}") from None

    def _shape(self, x: Any) -> tuple[int, ...]:
        dims = x.type.tensor_type.shape.dim
        sizes = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims]
        if not sizes:
            raise DataError(f"{self.path}: the shape of its input {x.name!r} is not known; pass it (--shape)")
        open_ = [k for k, n in enumerate(sizes[1:], start=1) if n is None]
        if open_:
            raise DataError(
                f"{self.path}: its input {x.name!r} has no fixed size along axis {open_[0]}; pass the shape of a sample"
                " (--shape)"
            )
        return (1, *(int(n) for n in sizes[1:] if n is not None))

    def _channels_first(self, name: str) -> bool:
        pending, seen = [name], set[str]()
        while pending:
            own = pending.pop(0)
            if own in seen:
                continue
            seen.add(own)
            for node in self.readers.get(own, ()):
                if node.op_type in CHANNELS_FIRST and node.input[0] == own:
                    return True
                if node.op_type in PASSED:
                    pending += node.output
        return False

    def read(self, output: str) -> Any:
        """The value of an output, for which the nodes before it are read; raises DataError, with
        all nodes that no layer computes.
        """
        wanted, needed = {output}, list[Any]()
        for node in reversed(self.graph.node):
            if wanted & {*node.output}:
                wanted |= {*node.input}
                needed.append(node)
                if any(a.type in (5, 10) for a in node.attribute):  # a graph within it reads names from outside
                    self.problem(node, "with a graph of its own")
        for node in reversed(needed):
            self._read(node)
        if self.problems:
            raise unsupported(self.problems)
        return only_value(self.values.get(output, FAILED))

    def _read(self, node: Any) -> None:
        from onnx import helper

        name = node.op_type
        xs = [self.values.get(k, FAILED) for k in node.input]
        if any(x is FAILED for x in xs):
            if name not in TABLE and name != "Shape":
                self.problem(node)
            self._keep(node, FAILED)
            return
        try:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if name == "Shape" and isinstance(xs[0], Value):
                first, last = attributes.get("start", 0), attributes.get("end", len(xs[0].shape))
                result: Any = Constant(np.array(xs[0].shape[first:last], np.int64))
            elif not any(isinstance(x, Value | Partial | Root | Size) for x in xs):
                result = folded(node, xs, attributes)
            elif name not in TABLE:
                raise UnsupportedError("")
            else:
                result = TABLE[name](self, node, *xs, **attributes)
        except UnsupportedError as error:
            self.problem(node, str(error))
            result = FAILED
        except Exception as error:  # whatever inputs and attributes that don't fit lead to
            self.problem(node, f"with these inputs and attributes: {error}")
            result = FAILED
        self._keep(node, result)

    def problem(self, node: Any, reason: str = "") -> None:
        """Keep that no layer computes this node."""
        called = node.name or next(iter(node.output), "?")
        self.problems.append(f"{called} ({node.op_type}{': ' if reason else ''}{reason})")

    def _keep(self, node: Any, result: Any) -> None:
        results = result if isinstance(result, list) else [result]
        for k, name in enumerate(node.output):
            if name:
                self.values[name] = results[k] if k < len(results) else FAILED

    def fused(self, node: Any, operator: str, units: int) -> Constant | None:
        """The weights that the only reader of a node's output adds to it, or multiplies it by, with
        one for each unit. That reader then does nothing more.
        """
        readers = self.readers.get(node.output[0], [])
        if len(readers) != 1 or readers[0].op_type != operator or node.output[0] in (o.name for o in self.graph.output):
            return None
        other = [k for k in readers[0].input if k != node.output[0]]
        found = self.values.get(other[0]) if len(other) == 1 else None
        if not isinstance(found, Constant) or found.array.size != units or found.shape[-1:] != (units,):
            return None
        readers[0].input[list(readers[0].input).index(other[0])] = ""
        return Constant(found.array.ravel(), found.name, True)


class Partial:
    """factor * (ones + erf(x / sqrt 2)), a part of the GELU of x."""

    def __init__(self, x: Value, ones: int = 0, factor: float = 1.0) -> None:
        self.x, self.ones, self.factor = x, ones, factor


class Failed:
    """The result of a node that could not be read."""


FAILED: Any = Failed()


def _plain(array: Any) -> Any:
    """Half precision as float32, which holds it exactly."""
    small = array.dtype.kind == "f" and array.dtype.itemsize < 4
    return array.astype(np.float32) if small or array.dtype.name == "bfloat16" else array


# What each operator becomes

for _operator, _layer in {
    "Relu": layers.ReLU, "Tanh": layers.Tanh, "Sigmoid": layers.Sigmoid, "Mish": layers.Mish,
    "HardSwish": layers.HardSwish, "Softplus": layers.Softplus, "Softsign": layers.Softsign,
}.items():  # fmt: skip
    TABLE[_operator] = lambda g, node, x, _layer=_layer: g.wiring.each(x, _layer())


@_op("Identity", "Cast")
def _identity(g: Graph, node: Any, x: Value, **_: Any) -> Value:
    return x


@_op("Dropout")
def _dropout(
    g: Graph, node: Any, x: Value, rate: Any = None, training: Any = None, *, ratio: float = 0.5, **_: Any
) -> Value:
    p = float(rate.array) if isinstance(rate, Constant) else ratio
    return g.wiring.each(x, layers.Dropout(round(p, 7))) if 0 < p < 1 else x


@_op("Elu")
def _elu(g: Graph, node: Any, x: Value, alpha: float = 1.0) -> Value:
    return g.wiring.each(x, layers.ELU(alpha))


@_op("Selu")
def _selu(g: Graph, node: Any, x: Value, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Value:
    if not (math.isclose(alpha, 1.6732632, rel_tol=1e-5) and math.isclose(gamma, 1.050701, rel_tol=1e-5)):
        raise UnsupportedError("with other constants")
    return g.wiring.each(x, layers.SELU())


@_op("LeakyRelu")
def _leaky(g: Graph, node: Any, x: Value, alpha: float = 0.01) -> Value:
    return g.wiring.each(x, layers.LeakyReLU(round(alpha, 7)))


@_op("PRelu")
def _prelu(g: Graph, node: Any, x: Value, slope: Constant) -> Value:
    axis = next((len(x.shape) - slope.array.ndim + a for a, n in enumerate(slope.shape) if n > 1), 1)
    axes = (*(a for a in x.axes if a != axis), axis)
    alpha = np.broadcast_to(slope.array.ravel(), (x.shape[axis],)).copy()
    layer = g.wiring.layer(lambda name: layers.PReLU(name=name), {"alpha": alpha}, slope.name)
    return Value(x.shape, layer(x.arranged(axes)), axes)


@_op("HardSigmoid")
def _hard_sigmoid(g: Graph, node: Any, x: Value, alpha: float = 0.2, beta: float = 0.5) -> Value:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return g.wiring.each(x, layers.HardSigmoid())
    line = g.wiring.add(g.wiring.multiply(x, Constant(np.array(alpha))), Constant(np.array(beta, np.float32)))
    return g.wiring.each(line, layers.Clip(0.0, 1.0))


@_op("Gelu")
def _gelu(g: Graph, node: Any, x: Value, approximate: bytes = b"none") -> Value:
    return g.wiring.each(x, layers.GELU(tanh=approximate == b"tanh"))


@_op("Clip")
def _clip(
    g: Graph, node: Any, x: Value, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None
) -> Value:
    if isinstance(x, Size) and low is not None and high is None:
        return Size(x.of, float(low.array))  # type: ignore[return-value]
    a = float(low.array) if low is not None else min
    b = float(high.array) if high is not None else max
    if a == 0 and (b is None or b > 1e30):
        return g.wiring.each(x, layers.ReLU())
    if a is None or b is None:
        raise UnsupportedError("with one bound")
    return g.wiring.each(x, layers.Clip(float(a), float(b)))


@_op("Add")
def _add(g: Graph, node: Any, a: Any, b: Any) -> Value:
    for x, one in ((a, b), (b, a)):
        if isinstance(x, Partial):
            if not isinstance(one, Constant) or one.array.size != 1 or one.array.item() != 1 or x.factor != 1:
                raise UnsupportedError("of erf, but as a part of GELU")
            return Partial(x.x, 1)  # type: ignore[return-value]
    if a is None or b is None:  # the bias is in the layer before it
        return a if b is None else b
    return g.wiring.add(a, b)


@_op("Erf")
def _erf(g: Graph, node: Any, x: Value) -> Partial:
    of, factor = g.wiring.scaled.get(id(x), (x, 1.0))
    if not math.isclose(factor, math.sqrt(0.5), rel_tol=1e-5):
        raise UnsupportedError("but as a part of GELU")
    return Partial(of)


@_op("Sum")
def _sum_of(g: Graph, node: Any, *xs: Any) -> Value:
    total = xs[0]
    for x in xs[1:]:
        total = g.wiring.add(total, x)
    return total


@_op("Sub")
def _sub(g: Graph, node: Any, a: Any, b: Any) -> Value:
    return g.wiring.subtract(a, fixed(b))


def fixed(x: Any) -> Any:
    """A constant that is not learned: what is subtracted, or divided by, prepares an input."""
    return Constant(x.array, x.name) if isinstance(x, Constant) else x


@_op("Scaler")
def _scaler(g: Graph, node: Any, x: Value, *, offset: Any, scale: Any) -> Value:
    centred = g.wiring.subtract(x, Constant(np.array(offset, np.float32)))
    return g.wiring.multiply(centred, Constant(np.array(scale, np.float32)))


@_op("Mul")
def _mul(g: Graph, node: Any, a: Any, b: Any) -> Any:
    if a is None or b is None:  # the scale is in the layer before it
        return a if b is None else b
    for x, other in ((a, b), (b, a)):
        if isinstance(x, Partial):
            if isinstance(other, Constant) and other.array.size == 1:
                return Partial(x.x, x.ones, x.factor * other.array.item())
            of, factor = g.wiring.scaled.get(id(other), (other, 1.0))
            if of is not x.x or not x.ones:
                raise UnsupportedError("of erf, but as a part of GELU")
            return g.wiring.multiply(g.wiring.each(of, layers.GELU()), Constant(np.array(2 * factor * x.factor)))
    return g.wiring.multiply(a, b)


@_op("Div")
def _div(g: Graph, node: Any, a: Any, b: Any) -> Any:
    if isinstance(b, Root):
        return _normalized(g, node, a, b)
    if isinstance(b, Size):
        if b.of is not a or not b.least:
            raise UnsupportedError("by the length of another value")
        y, own = a.last(len(a.shape) - 1)
        return Value(a.shape, layers.UnitNorm(_short(b.least))(y), own)
    return g.wiring.divide(a, fixed(b))


@_op("Sqrt")
def _sqrt(g: Graph, node: Any, x: Value) -> Root:
    """A root that something is divided by to normalize it: of the mean of its squares, and a
    little more.
    """
    added = g.made.get(node.input[0])
    parts = [] if added is None or added.op_type != ADDITION else [g.made.get(k) for k in added.input]
    constants = [] if added is None else [g.values.get(k) for k in added.input]
    epsilon = [c.array.item() for c in constants if isinstance(c, Constant) and c.array.size == 1]
    means = [n for n in parts if n is not None and n.op_type == "ReduceMean"]
    squares = g.made.get(means[0].input[0]) if len(means) == 1 else None
    if len(epsilon) != 1 or squares is None or squares.op_type not in ("Mul", "Pow"):
        raise UnsupportedError("but as a part of a normalization")
    of = g.values[means[0].input[0]]
    over = [k for k, n in enumerate(of.shape) if g.values[means[0].output[0]].shape[k : k + 1] != (n,)]
    if over != [len(of.shape) - 1] or (squares.op_type == "Mul" and squares.input[0] != squares.input[1]):
        raise UnsupportedError("but as a part of a normalization over the last axis")
    return Root(squares.input[0], epsilon[0])


class Root:
    """The root of the mean of a value's squares, and of epsilon."""

    def __init__(self, of: str, epsilon: float) -> None:
        self.of, self.epsilon = of, epsilon


def _normalized(g: Graph, node: Any, x: Any, root: Root) -> Value:
    """RMSNorm of x, or LayerNorm where x is what is left after its mean is subtracted."""
    if g.values.get(root.of) is not x:
        raise UnsupportedError("by the size of another value")
    made, centred = g.made.get(root.of), False
    if made is not None and made.op_type == "Sub":
        mean = g.made.get(made.input[1])
        centred = mean is not None and mean.op_type == "ReduceMean" and mean.input[0] == made.input[0]
    x = g.values[made.input[0]] if centred and made is not None else x
    scale = g.fused(node, "Mul", x.shape[-1])
    offset = None
    if centred and scale is not None:
        offset = g.fused(g.readers[node.output[0]][0], "Add", x.shape[-1])
    return g.wiring.layer_norm(x, [len(x.shape) - 1], scale, offset, _short(root.epsilon), centred)


class Size:
    """The length of a value along its last axis, by which it is to be divided."""

    def __init__(self, of: Value, least: float = 0.0) -> None:
        self.of, self.least = of, least


@_op("ReduceL2")
def _length(g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None, keepdims: int = 1, **_: Any) -> Size:
    chosen = over.array.ravel().tolist() if over is not None else list(axes or ())
    if not keepdims or [axis_of(a, len(x.shape)) for a in chosen] != [len(x.shape) - 1]:
        raise UnsupportedError("but for dividing by the length along the last axis")
    return Size(x)


@_op("Max")
def _largest(g: Graph, node: Any, *xs: Any) -> Size:
    sizes = [x for x in xs if isinstance(x, Size)]
    numbers = [x for x in xs if isinstance(x, Constant) and x.array.size == 1]
    if len(sizes) != 1 or len(numbers) != 1 or len(xs) != 2:
        raise UnsupportedError("but of a length and the smallest that is divided by")
    return Size(sizes[0].of, numbers[0].array.item())


@_op("Neg")
def _neg(g: Graph, node: Any, x: Value) -> Any:
    return g.wiring.negative(x)


@_op("Pow")
def _pow(g: Graph, node: Any, x: Value, exponent: Constant) -> Value:
    if exponent.array.size != 1 or exponent.array.item() != 2:
        raise UnsupportedError("with an exponent other than 2")
    return g.wiring.multiply(x, x)


@_op("Gemm")
def _gemm(g: Graph, node: Any, x: Value, W: Constant, b: Any = None, *, alpha: float = 1.0, beta: float = 1.0,
          transA: int = 0, transB: int = 0) -> Value:  # fmt: skip
    if transA or alpha != 1 or (b is not None and beta != 1) or not isinstance(W, Constant):
        raise UnsupportedError("with factors, or weights that depend on the input")
    array = W.array.T if transB else W.array
    if b is not None and b.array.size != array.shape[1]:
        b = Constant(np.broadcast_to(b.array, (1, array.shape[1])).ravel().copy(), b.name, True)
    return g.wiring.linear(x, Constant(array, W.name, True), b, W.name)


@_op("MatMul")
def _matmul(g: Graph, node: Any, a: Any, b: Any) -> Value:
    if isinstance(b, Constant) and b.array.ndim == 2:
        bias = g.fused(node, "Add", b.shape[1])
        name = b.name if not b.name.startswith(("onnx::", "val_")) else ("" if bias is None else bias.name)
        return g.wiring.linear(a, b, bias, name)
    return g.wiring.matmul(a, b)


@_op("Einsum")
def _einsum(g: Graph, node: Any, *xs: Any, equation: bytes) -> Value:
    from chainrule.interchange.torch_graph import TABLE as ATEN

    return ATEN["einsum"](g.wiring, equation.decode(), list(xs))


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


@_op("Conv")
def _conv(g: Graph, node: Any, x: Value, W: Constant, b: Any = None, *, group: int = 1, **a: Any) -> Value:
    strides, pads, dilations = _windows(a, x, W.shape[2:])
    return g.wiring.conv(x, W, b, strides, pads, dilations, group, W.name)


@_op("ConvTranspose")
def _conv_transpose(g: Graph, node: Any, x: Value, W: Constant, b: Any = None, *, group: int = 1, **a: Any) -> Value:
    strides, pads, dilations = _windows(a, x, W.shape[2:])
    if isinstance(pads, str) or a.get("output_shape"):
        raise UnsupportedError("with auto_pad or output_shape")
    return g.wiring.conv_transpose(
        x, W, b, strides, pads, dilations, group, a.get("output_padding") or [0] * (W.array.ndim - 2)
    )


def _pooled(kind: str) -> Read:
    def read(g: Graph, node: Any, x: Value, *, kernel_shape: Any, ceil_mode: int = 0, count_include_pad: int = 0,
             storage_order: int = 0, **a: Any) -> Value:  # fmt: skip
        strides, pads, dilations = _windows(a, x, kernel_shape)
        if set(dilations) != {1}:
            raise UnsupportedError("with dilations")
        if isinstance(pads, str):
            make: Any = layers.MaxPool if kind == "max" else layers.AveragePool
            y, axes = g.wiring.spatial(x)
            return g.wiring.positions(x, make(tuple(kernel_shape), tuple(strides), "same")(y), axes)
        return g.wiring.pool(x, kind, kernel_shape, strides, pads, bool(ceil_mode), bool(count_include_pad))

    return read


TABLE |= {"MaxPool": _pooled("max"), "AveragePool": _pooled("mean")}


@_op("GlobalAveragePool")
def _global_mean(g: Graph, node: Any, x: Value) -> Value:
    return g.wiring.reduce(x, "mean", range(2, len(x.shape)), True)


@_op("GlobalMaxPool")
def _global_max(g: Graph, node: Any, x: Value) -> Value:
    return g.wiring.reduce(x, "max", range(2, len(x.shape)), True)


def _reduced(kind: str) -> Read:
    def read(
        g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None, keepdims: int = 1, **_: Any
    ) -> Value:
        chosen = over.array.ravel().tolist() if over is not None else axes
        return g.wiring.reduce(x, kind, range(1, len(x.shape)) if chosen is None else chosen, bool(keepdims))

    return read


TABLE |= {"ReduceMean": _reduced("mean"), "ReduceMax": _reduced("max"), "ReduceSum": _reduced("sum")}


@_op("BatchNormalization")
def _batch_norm(g: Graph, node: Any, x: Value, scale: Constant, offset: Constant, mean: Constant, variance: Constant, *,
                epsilon: float = 1e-5, momentum: float = 0.9, **_: Any) -> Value:  # fmt: skip
    return g.wiring.batch_norm(x, scale, offset, mean, variance, _short(epsilon), _short(momentum))


def _short(number: float) -> float:
    """A float32 as the shortest decimal number that is the same float32."""
    return float(str(np.float32(number)))


@_op("LayerNormalization")
def _layer_norm(g: Graph, node: Any, x: Value, scale: Any, offset: Any = None, *, axis: int = -1,
                epsilon: float = 1e-5, **_: Any) -> Value:  # fmt: skip
    return g.wiring.layer_norm(x, range(axis_of(axis, len(x.shape)), len(x.shape)), scale, offset, _short(epsilon))


@_op("RMSNormalization", "SimplifiedLayerNormalization")
def _rms_norm(g: Graph, node: Any, x: Value, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, **_: Any) -> Value:
    over = range(axis_of(axis, len(x.shape)), len(x.shape))
    return g.wiring.layer_norm(x, over, scale, None, _short(epsilon), centred=False)


@_op("GroupNormalization")
def _group_norm(g: Graph, node: Any, x: Value, scale: Constant, offset: Constant, *, num_groups: int,
                epsilon: float = 1e-5, **_: Any) -> Value:  # fmt: skip
    n = x.shape[1]
    scale, offset = (
        c if c.shape == (n,) else Constant(np.repeat(c.array, n // num_groups), c.name, True) for c in (scale, offset)
    )
    return g.wiring.group_norm(x, num_groups, scale, offset, _short(epsilon))


@_op("InstanceNormalization")
def _instance_norm(g: Graph, node: Any, x: Value, scale: Constant, offset: Constant, *, epsilon: float = 1e-5) -> Value:
    return g.wiring.group_norm(x, x.shape[1], scale, offset, _short(epsilon))


@_op("Softmax")
def _softmax(g: Graph, node: Any, x: Value, *, axis: int | None = None) -> Value:
    return g.wiring.softmax(x, _softmax_axis(g, x, axis))


@_op("LogSoftmax")
def _log_softmax(g: Graph, node: Any, x: Value, *, axis: int | None = None) -> Value:
    return g.wiring.softmax(x, _softmax_axis(g, x, axis), True)


def _softmax_axis(g: Graph, x: Value, axis: int | None) -> int:
    if g.opset < 13 and axis_of(1 if axis is None else axis, len(x.shape)) != len(x.shape) - 1:
        raise UnsupportedError(f"over several axes, as in opset {g.opset}")
    return -1 if axis is None else axis


@_op("Reshape")
def _reshape(g: Graph, node: Any, x: Value, shape: Constant, *, allowzero: int = 0) -> Value:
    sizes = shape.array.ravel().tolist()
    return reshaped(x, [x.shape[k] if n == 0 and not allowzero else int(n) for k, n in enumerate(sizes)])


@_op("Flatten")
def _flatten(g: Graph, node: Any, x: Value, *, axis: int = 1) -> Value:
    axis = axis_of(axis, len(x.shape))
    return reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@_op("Transpose")
def _transpose(g: Graph, node: Any, x: Value, *, perm: Any = None) -> Value:
    return permuted(x, list(perm) if perm else [*range(len(x.shape))][::-1])


@_op("Unsqueeze")
def _unsqueeze(g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None) -> Value:
    chosen = over.array.ravel().tolist() if over is not None else list(axes)
    rank = len(x.shape) + len(chosen)
    new, sizes = {axis_of(a, rank) for a in chosen}, iter(x.shape)
    return reshaped(x, tuple(1 if a in new else next(sizes) for a in range(rank)))


@_op("Squeeze")
def _squeeze(g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None) -> Value:
    chosen = over.array.ravel().tolist() if over is not None else axes
    if chosen is None:
        raise UnsupportedError("of all axes, among which are the samples")
    drop = {axis_of(a, len(x.shape)) for a in chosen}
    return reshaped(x, tuple(n for a, n in enumerate(x.shape) if a not in drop))


@_op("Expand")
def _expand(g: Graph, node: Any, x: Any, shape: Constant) -> Any:
    if isinstance(x, Size):
        return x
    return g.wiring.expand(x, tuple(int(n) for n in shape.array.ravel()))


@_op("Concat")
def _concat(g: Graph, node: Any, *xs: Any, axis: int) -> Value:
    return g.wiring.concatenate(xs, axis)


@_op("Split")
def _split(g: Graph, node: Any, x: Value, sizes: Any = None, *, axis: int = 0, split: Any = None,
           num_outputs: int | None = None) -> list[Value]:  # fmt: skip
    n, count = x.shape[axis], num_outputs or len(node.output)
    each = -(-n // count)
    parts = sizes.array.ravel().tolist() if sizes is not None else split
    parts = list(parts) if parts else [min(each, n - k * each) for k in range(count)]
    ends = np.cumsum(parts).tolist()
    return [g.wiring.slice(x, axis, end - size, end) for end, size in zip(ends, parts, strict=True)]


@_op("Slice")
def _slice(g: Graph, node: Any, x: Value, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None,
           **old: Any) -> Value:  # fmt: skip
    given: list[Any] = [
        c.array.ravel().tolist() if c is not None else old.get(name) for c, name in ((starts, "starts"), (ends, "ends"),
                                                                                     (axes, "axes"))
    ]  # fmt: skip
    first, last, over = given
    over = list(range(len(first))) if over is None else over
    by = [1] * len(first) if steps is None else steps.array.ravel().tolist()
    for a, start, stop, step in zip(over, first, last, by, strict=True):
        x = g.wiring.slice(x, axis_of(a, len(x.shape)), start, stop, step)
    return x


@_op("Gather")
def _gather(g: Graph, node: Any, x: Any, at: Any, *, axis: int = 0) -> Value:
    if isinstance(x, Constant) and isinstance(at, Value):
        if axis != 0 or x.array.ndim != 2:
            raise UnsupportedError("of something other than rows of a matrix")
        return g.wiring.embedding(at, x)
    if not isinstance(at, Constant) or at.array.ndim > 0:
        raise UnsupportedError("of several entries")
    axis = axis_of(axis, len(x.shape))
    k = axis_of(int(at.array), x.shape[axis])
    one = g.wiring.slice(x, axis, k, k + 1)
    return reshaped(one, (*x.shape[:axis], *x.shape[axis + 1 :]))


@_op("Pad")
def _pad(g: Graph, node: Any, x: Value, pads: Any = None, value: Any = None, axes: Any = None, *,
         mode: bytes = b"constant", **old: Any) -> Value:  # fmt: skip
    sides = pads.array.ravel().tolist() if pads is not None else list(old.get("pads", ()))
    filled = float(value.array) if value is not None else old.get("value", 0.0)
    if mode != b"constant" or filled or min(sides) < 0:
        raise UnsupportedError("with anything but zeros")
    over = axes.array.ravel().tolist() if axes is not None else list(range(len(x.shape)))
    n = len(over)
    chosen = [
        (axis_of(a, len(x.shape)), sides[k], sides[n + k]) for k, a in enumerate(over) if sides[k] or sides[n + k]
    ]
    return g.wiring.pad(x, [b for _, b, _ in chosen], [c for *_, c in chosen], [a for a, *_ in chosen])


@_op("Resize", "Upsample")
def _resize(g: Graph, node: Any, x: Value, roi: Any = None, scales: Any = None, sizes: Any = None, *,
            mode: bytes = b"nearest", coordinate_transformation_mode: bytes = b"half_pixel",
            **_: Any) -> Value:  # fmt: skip
    scales = roi if node.op_type == ENLARGEMENT else scales
    has_scales = scales is not None and scales.array.size
    factors = (
        scales.array.tolist() if has_scales else [k / n for k, n in zip(sizes.array.tolist(), x.shape, strict=True)]
    )
    if mode == b"linear" and coordinate_transformation_mode not in (b"half_pixel", b"pytorch_half_pixel"):
        raise UnsupportedError(f"with the coordinates {coordinate_transformation_mode.decode()}")
    if mode not in (b"linear", b"nearest") or factors[:2] != [1, 1]:
        raise UnsupportedError(f"in the mode {mode.decode()}")
    return g.wiring.resize(x, factors[2:], "bilinear" if mode == b"linear" else "nearest")


def _recurrent(cell: str, gates: Sequence[int]) -> Read:
    """A reader of recurrence: `gates` are ONNX's numbers of the gates here, in order."""

    def read(g: Graph, node: Any, x: Value, W: Constant, R: Constant, B: Any = None, lengths: Any = None,
             first: Any = None, cells: Any = None, peepholes: Any = None, *, hidden_size: int,
             direction: bytes = b"forward", layout: int = 0, activations: Any = None, linear_before_reset: int = 0,
             **other: Any) -> list[Any]:  # fmt: skip
        states = [s for s in (first, cells) if s is not None]
        if peepholes is not None or other.get("clip") or other.get("input_forget"):
            raise UnsupportedError("with peepholes or clipping")
        if any(not isinstance(s, Constant) or s.array.any() for s in states):
            raise UnsupportedError("with a first state that is not 0")
        is_open = isinstance(lengths, Value)
        if is_open or (lengths is not None and {*lengths.array.ravel().tolist()} != {x.shape[0]}):
            raise UnsupportedError("with lengths")
        if cell == "gru" and not linear_before_reset:
            raise UnsupportedError("with the reset gate before the product (linear_before_reset=0)")
        names = [a.decode().lower() for a in activations or ()]
        usual = {"lstm": ["sigmoid", "tanh", "tanh"], "gru": ["sigmoid", "tanh"], "rnn": ["tanh"]}[cell]
        one = names[: len(usual)] or usual
        if one != usual and not (cell == "rnn" and one == ["relu"]):
            raise UnsupportedError("with other activations")
        u = hidden_size

        def ordered(array: Any) -> Any:
            return np.concatenate([array[k * u : (k + 1) * u] for k in gates])

        sides = []
        for d in range(len(W.shape) and W.shape[0]):
            b = np.zeros(2 * len(gates) * u, W.array.dtype) if B is None else B.array[d]
            half = len(gates) * u
            sides.append([ordered(W.array[d]), ordered(R.array[d]), ordered(b[:half]), ordered(b[half:])])
        x = x if layout else permuted(x, [1, 0, 2])
        y = g.wiring.recurrent(x, cell, sides, u, W.name, activation=one[0] if cell == "rnn" else "tanh",
                               reverse=direction == b"reverse")  # fmt: skip
        steps, count = y.shape[1], len(sides)
        ends = []
        for d in range(count):
            t = 0 if d or direction == b"reverse" else steps - 1
            end = g.wiring.slice(g.wiring.slice(y, 1, t, t + 1), 2, d * u, (d + 1) * u)
            ends.append(reshaped(end, (1, 1, u)))
        last = g.wiring.concatenate(ends, 0) if _used(g, node, 1) else FAILED
        apart = reshaped(y, (1, steps, count, u))
        return [apart if layout else permuted(apart, [1, 2, 0, 3]), last, FAILED]

    return read


def _used(g: Graph, node: Any, k: int) -> bool:
    """Whether anything reads this output of a node."""
    name = node.output[k] if len(node.output) > k else ""
    return bool(name) and (name in g.readers or any(o.name == name for o in g.graph.output))


TABLE |= {
    "LSTM": _recurrent("lstm", (0, 2, 3, 1)),  # i o f c -> i f g o
    "GRU": _recurrent("gru", (1, 0, 2)),  # z r h -> r z n
    "RNN": _recurrent("rnn", (0,)),
}


@_op("Attention")
def _attention(g: Graph, node: Any, q: Value, k: Value, v: Value, mask: Any = None, *rest: Any, is_causal: int = 0,
               scale: float | None = None, **other: Any) -> Value:  # fmt: skip
    if len(q.shape) != 4 or any(x is not None for x in rest) or any(other.values()):
        raise UnsupportedError("but for queries, keys and values of four axes")
    return g.wiring.attention(q, k, v, mask, bool(is_causal), scale)


@_op("DepthToSpace")
def _depth_to_space(g: Graph, node: Any, x: Value, *, blocksize: int, mode: bytes = b"DCR") -> Value:
    n, c, h, v = x.shape
    r = blocksize
    if mode == b"CRD":
        apart = permuted(reshaped(x, (n, c // r**2, r, r, h, v)), [0, 1, 4, 2, 5, 3])
    else:
        apart = permuted(reshaped(x, (n, r, r, c // r**2, h, v)), [0, 3, 4, 1, 5, 2])
    return reshaped(apart, (n, c // r**2, h * r, v * r))
