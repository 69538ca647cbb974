"""PyTorch's modules: what `torch.export` records of one, read operation by operation.

torch.export runs the module on symbols and gives a graph of PyTorch's own operations (ATen), in
which Python has left no trace. PyTorch is imported only here, when a module is read.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.errors import SettingError
from chainrule.interchange.values import Constant, UnsupportedError, Value, axis_of, permuted, reshaped
from chainrule.interchange.wiring import Wiring

Read = Callable[..., Any]
TABLE: dict[str, Read] = {}
"""What reads an operation, by its name in ATen: a function of the wiring and its arguments."""


def _named(*names: str) -> Callable[[Read], Read]:
    def add(function: Read) -> Read:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return add


def exported(module: Any, examples: Sequence[Any]) -> Any:
    """The graph of a module in its evaluation mode, for one sample."""
    import torch

    with warnings.catch_warnings(), _plain_attention(torch), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module, tuple(examples), strict=False)
            return program.run_decompositions({})
        except Exception as error:  # whatever a module's own code raises
            first = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {first[0]}"
            raise SettingError(f"PyTorch can't export this module as a graph for this input ({reason})") from error


@contextmanager
def _plain_attention(torch: Any) -> Iterator[None]:
    """Attention as separate operations, not as the one that serves inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def read_graph(program: Any, wiring: Wiring, batch_axis: int = 0, output: int = 0) -> Value:
    """One of the outputs of an exported graph. Raises SettingError, with all operations that no
    layer here computes.
    """
    kept, signature = _Kept(program), program.graph_signature
    values: dict[Any, Any] = {}
    problems: list[str] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = node.name
            if name in kept.names:
                values[node] = kept.constant(name)
            else:
                values[node] = _input(node, wiring, batch_axis)
        elif node.op == "call_function":
            values[node] = _call(node, values, wiring, problems)
        elif node.op == "output":
            outputs = [values[y] for y in node.args[0] if y is not None]
    if problems:
        raise unsupported(problems)
    results = outputs[-len(signature.user_outputs) :]
    if not 0 <= output < len(results):
        raise SettingError(f"there is no output {output}: the module has {len(results)}, counted from 0")
    return only_value(results[output])


def unsupported(problems: Sequence[str]) -> SettingError:
    """The error for everything that has no layer here."""
    count = len(problems)
    return SettingError(f"{count} operation{'s have' if count > 1 else ' has'} no layer here: {'; '.join(problems)}")


def only_value(y: Any) -> Value:
    """An output; raises SettingError for one that is no value of the network."""
    y = y() if isinstance(y, Later) else y
    if not isinstance(y, Value):
        raise SettingError("this output of the network does not depend on its input, or can't be read")
    return y


class Later:
    """A result that is computed only if it is used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __call__(self) -> Any:
        return self.make()


@dataclass(frozen=True)
class Unread:
    """A result that can't be read, which may be unused: why not."""

    reason: str


class Absolute:
    """|x| and, where it is `plus_one`, 1 + |x|, by which x is to be divided: its softsign."""

    def __init__(self, of: Value, plus_one: bool = False) -> None:
        self.of, self.plus_one = of, plus_one


class Length:
    """The length of a value along its last axis, by which it is to be divided."""

    def __init__(self, of: Value, least: float = 0.0) -> None:
        self.of, self.least = of, least


class _Kept:
    """The weights and buffers of an exported module, by the names of the graph's inputs."""

    def __init__(self, program: Any) -> None:
        signature = program.graph_signature
        self.names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.names |= dict(signature.inputs_to_lifted_tensor_constants)
        self.learned = set(signature.inputs_to_parameters)
        self.program, self.made = program, dict[str, Constant]()

    def constant(self, name: str) -> Constant:
        own = self.names[name]
        if own not in self.made:
            held = self.program.state_dict.get(own)
            held = self.program.constants[own] if held is None else held
            self.made[own] = Constant(_array(held), own, name in self.learned)
        return self.made[own]


def _array(tensor: Any) -> Any:
    """A tensor as an array: half precision as float32, which holds it exactly."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    return tensor.numpy().copy()


def _input(node: Any, wiring: Wiring, batch_axis: int) -> Value:
    shape = tuple(node.meta["val"].shape)
    if batch_axis:
        order = (batch_axis, *(k for k in range(len(shape)) if k != batch_axis))
        value = wiring.input(tuple(shape[k] for k in order), False)
        return permuted(value, [order.index(k) for k in range(len(shape))])
    return wiring.input(shape, _wants_channels_last(node))


WINDOWED = (
    "conv1d", "conv2d", "conv3d", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "_native_batch_norm_legit_no_training", "batch_norm",
    "group_norm", "conv_transpose2d", "adaptive_max_pool2d", "instance_norm",
)  # fmt: skip
"""Operations whose input has its channels before its positions."""


def _wants_channels_last(node: Any) -> bool:
    """Whether what first reads an input takes it for positions and channels."""
    pending, seen = [*node.users], set()
    while pending:
        user = pending.pop(0)
        if user in seen or user.op != "call_function":
            continue
        seen.add(user)
        name = _name(user)
        if name in WINDOWED:
            return True
        if name in ("add", "mul", "sub", "div", "pad", "clone", "relu", "to", "_to_copy", "dropout", "cat", "select",
                    "unsqueeze"):  # fmt: skip
            pending += [*user.users]
    return False


def _name(node: Any) -> str:
    """The operation's name without its overload: conv2d."""
    if node.target is operator.getitem:
        return "getitem"
    return str(node.target).removeprefix("aten.").rpartition(".")[0]


def _call(node: Any, values: dict[Any, Any], wiring: Wiring, problems: list[str]) -> Any:
    """The result of an operation; what can't be read is named among the problems."""
    args = _given(node.args, values)
    kwargs = {name: _given(value, values) for name, value in node.kwargs.items()}
    name = _name(node)
    everything = _flat([*args, *kwargs.values()])
    try:
        if name != "getitem" and any(x is FAILED for x in everything):
            if name not in TABLE:
                raise UnsupportedError("")
            return FAILED
        if name != "getitem" and (unread := [x.reason for x in everything if isinstance(x, Unread)]):
            raise UnsupportedError(unread[0])
        if name in FILLED or not any(isinstance(x, Value | Later | Length | Absolute) for x in everything):
            return _computed(node, args, kwargs)
        if name not in TABLE:
            raise UnsupportedError("")
        return TABLE[name](wiring, *args, **kwargs)
    except UnsupportedError as error:
        reason = f": {error}" if str(error) else ""
        problems.append(f"{node.name} ({name}{reason})")
    except (TypeError, ValueError, IndexError, AssertionError, AttributeError, KeyError) as error:
        problems.append(f"{node.name} ({name}: with these arguments: {error})")
    return FAILED


FILLED = ("new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "sym_size")
"""Operations that use nothing of a value but its shape."""

FAILED = object()
"""The result of an operation that could not be read."""


def _given(what: Any, values: dict[Any, Any]) -> Any:
    if isinstance(what, list | tuple):
        return [_given(part, values) for part in what]
    return values[what] if hasattr(what, "op") and what in values else what


def _flat(what: Any) -> list[Any]:
    return [x for part in what for x in _flat(part)] if isinstance(what, list | tuple) else [what]


def _computed(node: Any, args: Any, kwargs: Any) -> Any:
    """What depends on no input is computed by PyTorch."""
    import torch

    learned = any(isinstance(x, Constant) and x.learned for x in _flat([*args, *kwargs.values()]))
    names = [x.name for x in _flat([*args, *kwargs.values()]) if isinstance(x, Constant) and x.name]

    def tensor(what: Any) -> Any:
        if isinstance(what, list):
            return [tensor(part) for part in what]
        if isinstance(what, Value):
            return torch.zeros(what.shape)
        return torch.from_numpy(what.array.copy()) if isinstance(what, Constant) else what

    with torch.no_grad():
        result = node.target(*tensor(list(args)), **{name: tensor(value) for name, value in kwargs.items()})

    def constant(what: Any) -> Any:
        if isinstance(what, list | tuple):
            return [constant(part) for part in what]
        return Constant(_array(what), names[0] if names else "", learned) if isinstance(what, torch.Tensor) else what

    return constant(result)


# What each operation becomes


def _constant(x: Any) -> Any:
    return Constant(np.asarray(x)) if isinstance(x, int | float | bool) else x


for _function, _layer in {
    "relu": layers.ReLU(), "tanh": layers.Tanh(), "sigmoid": layers.Sigmoid(), "selu": layers.SELU(),
    "silu": layers.SiLU(), "mish": layers.Mish(), "hardswish": layers.HardSwish(),
    "hardsigmoid": layers.HardSigmoid(), "relu6": layers.Clip(0.0, 6.0),
}.items():  # fmt: skip
    TABLE[_function] = lambda w, x, _layer=_layer: w.each(x, replace(_layer))


@_named("clone", "contiguous", "alias", "detach", "_to_copy", "to", "type_as", "lift_fresh_copy", "detach_")
def _same(w: Wiring, x: Value, *_: Any, **__: Any) -> Value:
    return x


@_named("dropout", "native_dropout", "feature_dropout")
def _dropout(w: Wiring, x: Value, p: float = 0.5, train: bool = False) -> Value:
    return w.each(x, layers.Dropout(p)) if 0 < p < 1 else x


@_named("gelu")
def _gelu(w: Wiring, x: Value, approximate: str = "none") -> Value:
    return w.each(x, layers.GELU(tanh=approximate == "tanh"))


@_named("leaky_relu")
def _leaky(w: Wiring, x: Value, slope: float = 0.01) -> Value:
    return w.each(x, layers.LeakyReLU(slope))


@_named("elu")
def _elu(w: Wiring, x: Value, alpha: float = 1.0, scale: float = 1, input_scale: float = 1) -> Value:
    if (scale, input_scale) != (1, 1):
        raise UnsupportedError("with scales")
    return w.each(x, layers.ELU(alpha))


@_named("prelu")
def _prelu(w: Wiring, x: Value, slope: Constant) -> Value:
    axis = 1 if len(x.shape) > 1 else 0
    axes = (*(a for a in x.axes if a != axis), axis)
    alpha = np.broadcast_to(slope.array, (x.shape[axis],)).copy()
    layer = w.layer(lambda name: layers.PReLU(name=name), {"alpha": alpha}, slope.name)
    return Value(x.shape, layer(x.arranged(axes)), axes)


@_named("softplus")
def _softplus(w: Wiring, x: Value, beta: float = 1, threshold: float = 20) -> Value:
    y = w.each(x if beta == 1 else w.multiply(x, _constant(float(beta))), layers.Softplus())
    return y if beta == 1 else w.multiply(y, _constant(1 / beta))


@_named("hardtanh", "clamp")
def _clip(w: Wiring, x: Value, low: float | None = -1.0, high: float | None = 1.0) -> Value:
    if low == 0 and high is None:
        return w.each(x, layers.ReLU())
    if low is None or high is None:
        raise UnsupportedError("with one bound")
    return w.each(x, layers.Clip(float(low), float(high)))


@_named("clamp_min")
def _clip_below(w: Wiring, x: Any, low: float) -> Any:
    return Length(x.of, low) if isinstance(x, Length) else _clip(w, x, low, None)


@_named("linalg_vector_norm")
def _length(w: Wiring, x: Value, order: float = 2, over: Any = None, keep: bool = False, *_: Any) -> Length:
    if order != 2 or not keep or over is None or [axis_of(a, len(x.shape)) for a in over] != [len(x.shape) - 1]:
        raise UnsupportedError("but for dividing by the length along the last axis")
    return Length(x)


@_named("add")
def _add(w: Wiring, a: Any, b: Any, alpha: float = 1) -> Any:
    if isinstance(a, Absolute):
        if b != 1 or alpha != 1 or a.plus_one:
            raise UnsupportedError("of an absolute value, but in softsign")
        return Absolute(a.of, True)
    a, b = _constant(a), _constant(b)
    return w.add(a, b if alpha == 1 else w.multiply(b, _constant(float(alpha))))


@_named("sub")
def _sub(w: Wiring, a: Any, b: Any, alpha: float = 1) -> Value:
    return _add(w, a, w.negative(_constant(b)), alpha)


@_named("rsub")
def _rsub(w: Wiring, a: Any, b: Any, alpha: float = 1) -> Value:
    return _sub(w, b, a, alpha)


@_named("mul")
def _mul(w: Wiring, a: Any, b: Any) -> Value:
    return w.multiply(_constant(a), _constant(b))


@_named("div")
def _div(w: Wiring, a: Any, b: Any) -> Value:
    if isinstance(b, Absolute):
        if b.of is not a or not b.plus_one:
            raise UnsupportedError("by an absolute value, but in softsign")
        return w.each(a, layers.Softsign())
    if isinstance(b, Length):
        if b.of is not a or not b.least:
            raise UnsupportedError("by the length of another value")
        y, axes = a.last(len(a.shape) - 1)
        return Value(a.shape, layers.UnitNorm(float(b.least))(y), axes)
    return w.divide(a, _constant(b))


@_named("neg")
def _neg(w: Wiring, x: Value) -> Any:
    return w.negative(x)


@_named("pow")
def _pow(w: Wiring, x: Value, exponent: Any) -> Value:
    if exponent != 2:
        raise UnsupportedError(f"with the exponent {exponent}")
    return w.multiply(x, x)


@_named("masked_fill")
def _masked_fill(w: Wiring, x: Value, mask: Constant, number: float) -> Value:
    if not isinstance(mask, Constant) or number > -1e4:
        raise UnsupportedError("with a mask that depends on the input, or a number that is no mask")
    return w.add(x, Constant(np.where(mask.array, -1e30, 0.0)))


@_named("abs")
def _abs(w: Wiring, x: Value) -> Absolute:
    return Absolute(x)


@_named("linear")
def _linear(w: Wiring, x: Value, weight: Constant, bias: Constant | None = None) -> Value:
    if not isinstance(weight, Constant):
        raise UnsupportedError("with weights that depend on the input")
    return w.linear(x, Constant(weight.array.T, weight.name, True), bias, weight.name)


@_named("addmm")
def _addmm(w: Wiring, bias: Constant, x: Value, weight: Constant) -> Value:
    return w.linear(x, weight, bias, weight.name)


@_named("matmul", "mm", "bmm", "_unsafe_matmul")
def _matmul(w: Wiring, a: Any, b: Any) -> Value:
    return w.matmul(a, b)


@_named("einsum")
def _einsum(w: Wiring, equation: str, xs: Any) -> Value:
    ins, _, out = equation.replace(" ", "").partition("->")
    a, b = ins.split(",") if ins.count(",") == 1 else ("", "")
    summed = [k for k in a if k in b and k not in out]
    both = [k for k in out if k in a and k in b]
    rows, columns = ([k for k in out if k in own and k not in other] for own, other in ((a, b), (b, a)))
    if len(summed) != 1 or len(rows) != 1 or len(columns) != 1 or len({*a}) != len(both) + 2 or "." in equation:
        raise UnsupportedError(f"with the equation {equation}")
    lead = next(x for x in xs if isinstance(x, Value))
    x, y = (w.value(v, lead) for v in xs)
    x, y = (
        permuted(x, [a.index(k) for k in both + rows + summed]),
        permuted(y, [b.index(k) for k in both + summed + columns]),
    )
    product = w.matmul(x, y)
    return permuted(product, [(both + rows + columns).index(k) for k in out])


@_named("embedding")
def _embedding(w: Wiring, weight: Constant, x: Value, *_: Any) -> Value:
    return w.embedding(x, weight)


def _along(sizes: Any, d: int) -> list[int]:
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    return sizes * d if len(sizes) == 1 else sizes


@_named("conv1d", "conv2d", "conv3d")
def _conv(w: Wiring, x: Value, weight: Constant, bias: Any = None, stride: Any = 1, padding: Any = 0,
          dilation: Any = 1, groups: int = 1) -> Value:  # fmt: skip
    d = weight.array.ndim - 2
    pads = padding if isinstance(padding, str) else [*_along(padding, d)] * 2
    return w.conv(x, weight, bias, _along(stride, d), pads, _along(dilation, d), groups, weight.name)


@_named("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(w: Wiring, x: Value, weight: Constant, bias: Any = None, stride: Any = 1, padding: Any = 0,
                    output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Value:  # fmt: skip
    d = weight.array.ndim - 2
    pads = [*_along(padding, d)] * 2
    return w.conv_transpose(
        x, weight, bias, _along(stride, d), pads, _along(dilation, d), groups, _along(output_padding, d)
    )


@_named("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(w: Wiring, x: Value, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
              ceil: bool = False) -> Value:  # fmt: skip
    d = len(x.shape) - 2
    if set(_along(dilation, d)) != {1}:
        raise UnsupportedError("with dilation")
    size = _along(size, d)
    return w.pool(x, "max", size, _along(stride, d) if stride else size, _along(padding, d) * 2, ceil)


@_named("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _mean_pool(w: Wiring, x: Value, size: Any, stride: Any = (), padding: Any = 0, ceil: bool = False,
               counts: bool = True, divisor: Any = None) -> Value:  # fmt: skip
    if divisor is not None:
        raise UnsupportedError("with another divisor")
    d = len(x.shape) - 2
    size = _along(size, d)
    return w.pool(x, "mean", size, _along(stride, d) if stride else size, _along(padding, d) * 2, ceil, counts)


@_named("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _adaptive_mean(w: Wiring, x: Value, size: Any) -> Value:
    return w.adaptive(x, "mean", _along(size, len(x.shape) - 2))


@_named("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max(w: Wiring, x: Value, size: Any) -> Any:
    return [w.adaptive(x, "max", _along(size, len(x.shape) - 2)), Unread("where the largest are")]


@_named("mean")
def _mean(w: Wiring, x: Value, over: Any = None, keep: bool = False, dtype: Any = None) -> Value:
    return w.reduce(x, "mean", range(1, len(x.shape)) if over is None else _along(over, 1), keep)


@_named("sum")
def _sum(w: Wiring, x: Value, over: Any, keep: bool = False, dtype: Any = None) -> Value:
    return w.reduce(x, "sum", _along(over, 1), keep)


@_named("amax")
def _amax(w: Wiring, x: Value, over: Any, keep: bool = False) -> Value:
    return w.reduce(x, "max", _along(over, 1), keep)


@_named("max")
def _max(w: Wiring, x: Value, axis: int, keep: bool = False) -> Any:
    return [w.reduce(x, "max", [axis], keep), Unread("where the largest are")]


@_named("_native_batch_norm_legit_no_training")
def _batch_norm(w: Wiring, x: Value, scale: Any, offset: Any, mean: Any, variance: Any, momentum: float,
                epsilon: float) -> Any:  # fmt: skip
    return [w.batch_norm(x, scale, offset, mean, variance, epsilon, 1 - momentum), None, None]


@_named("batch_norm")
def _batch_norm_whole(w: Wiring, x: Value, scale: Any, offset: Any, mean: Any, variance: Any, training: bool,
                      momentum: float, epsilon: float, *_: Any) -> Value:  # fmt: skip
    return w.batch_norm(x, scale, offset, mean, variance, epsilon, 1 - momentum)


@_named("layer_norm")
def _layer_norm(w: Wiring, x: Value, shape: Any, scale: Any = None, offset: Any = None, epsilon: float = 1e-5,
                *_: Any) -> Value:  # fmt: skip
    rank = len(x.shape)
    return w.layer_norm(x, range(rank - len(shape), rank), scale, offset, epsilon)


@_named("rms_norm")
def _rms_norm(w: Wiring, x: Value, shape: Any, scale: Any = None, epsilon: float | None = None) -> Value:
    rank = len(x.shape)
    eps = float(np.finfo(np.float32).eps) if epsilon is None else epsilon
    return w.layer_norm(x, range(rank - len(shape), rank), scale, None, eps, centred=False)


@_named("group_norm")
def _group_norm(w: Wiring, x: Value, groups: int, scale: Any = None, offset: Any = None, epsilon: float = 1e-5,
                *_: Any) -> Value:  # fmt: skip
    return w.group_norm(x, groups, scale, offset, epsilon)


@_named("instance_norm")
def _instance_norm(w: Wiring, x: Value, scale: Any, offset: Any, mean: Any, variance: Any, use: bool, momentum: float,
                   epsilon: float, *_: Any) -> Value:  # fmt: skip
    if not use:
        raise UnsupportedError("with running statistics")
    return w.group_norm(x, x.shape[1], scale, offset, epsilon)


@_named("softmax", "_softmax")
def _softmax(w: Wiring, x: Value, axis: int, *_: Any) -> Value:
    return w.softmax(x, axis)


@_named("log_softmax", "_log_softmax")
def _log_softmax(w: Wiring, x: Value, axis: int, *_: Any) -> Value:
    return w.softmax(x, axis, True)


@_named("scaled_dot_product_attention")
def _attention(w: Wiring, q: Value, k: Value, v: Value, mask: Any = None, dropout: float = 0.0, causal: bool = False,
               scale: float | None = None, enable_gqa: bool = False) -> Value:  # fmt: skip
    return w.attention(q, k, v, mask, causal, scale)


@_named("view", "_unsafe_view", "reshape")
def _view(w: Wiring, x: Value, shape: Any) -> Value:
    return reshaped(x, shape)


@_named("flatten")
def _flatten(w: Wiring, x: Value, start: int = 0, end: int = -1) -> Value:
    start, end = (axis_of(a, len(x.shape)) for a in (start, end))
    return reshaped(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@_named("unflatten")
def _unflatten(w: Wiring, x: Value, axis: int, sizes: Any) -> Value:
    axis = axis_of(axis, len(x.shape))
    return reshaped(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


@_named("permute")
def _permute(w: Wiring, x: Value, order: Any) -> Value:
    return permuted(x, [axis_of(a, len(x.shape)) for a in order])


@_named("transpose")
def _transpose(w: Wiring, x: Value, a: int, b: int) -> Value:
    order = [*range(len(x.shape))]
    order[a], order[b] = order[b], order[a]
    return permuted(x, order)


@_named("t", "numpy_T")
def _t(w: Wiring, x: Value) -> Value:
    return permuted(x, [*range(len(x.shape))][::-1])


@_named("unsqueeze")
def _unsqueeze(w: Wiring, x: Value, axis: int) -> Value:
    axis = axis_of(axis, len(x.shape) + 1)
    return reshaped(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@_named("squeeze")
def _squeeze(w: Wiring, x: Value, axes: Any = None) -> Value:
    chosen = range(len(x.shape)) if axes is None else [axis_of(a, len(x.shape)) for a in _along(axes, 1)]
    return reshaped(x, tuple(n for a, n in enumerate(x.shape) if a not in chosen or n != 1))


@_named("expand", "expand_as")
def _expand(w: Wiring, x: Any, shape: Any, **_: Any) -> Any:
    if isinstance(x, Length):
        return x
    own = (1,) * (len(shape) - len(x.shape)) + x.shape
    return w.expand(x, tuple(n if k == -1 else k for k, n in zip(shape, own, strict=True)))


@_named("cat")
def _cat(w: Wiring, xs: Any, axis: int = 0) -> Value:
    return w.concatenate(xs, axis)


@_named("stack")
def _stack(w: Wiring, xs: Any, axis: int = 0) -> Value:
    lead = next(x for x in xs if isinstance(x, Value))
    return w.concatenate([_unsqueeze(w, w.value(x, lead), axis) for x in xs], axis_of(axis, len(lead.shape) + 1))


@_named("split", "split_with_sizes")
def _split(w: Wiring, x: Value, sizes: Any, axis: int = 0) -> list[Any]:
    n = x.shape[axis]
    sizes = [min(sizes, n - k) for k in range(0, n, sizes)] if isinstance(sizes, int) else sizes
    ends = np.cumsum(sizes).tolist()
    return [Later(partial(w.slice, x, axis, end - size, end)) for end, size in zip(ends, sizes, strict=True)]


@_named("chunk")
def _chunk(w: Wiring, x: Value, count: int, axis: int = 0) -> list[Any]:
    return _split(w, x, -(-x.shape[axis] // count), axis)


@_named("getitem")
def _item(w: Wiring, xs: Any, k: int) -> Any:
    item = xs[k]
    if isinstance(item, Later):
        xs[k] = item = item()
    return item


@_named("select")
def _select(w: Wiring, x: Value, axis: int, index: int) -> Value:
    axis = axis_of(axis, len(x.shape))
    index = axis_of(index, x.shape[axis])
    return _squeeze(w, w.slice(x, axis, index, index + 1), axis)


@_named("slice")
def _slice(w: Wiring, x: Value, axis: int = 0, start: int | None = None, stop: int | None = None,
           step: int = 1) -> Value:  # fmt: skip
    n = x.shape[axis]
    return w.slice(x, axis, *slice(start, stop, step).indices(n))


@_named("roll")
def _roll(w: Wiring, x: Value, shifts: Any, axes: Any) -> Value:
    for shift, axis in zip(_along(shifts, 1), _along(axes, 1), strict=True):
        x = w.roll(x, shift, axis)
    return x


@_named("pad", "constant_pad_nd")
def _pad(w: Wiring, x: Value, pads: Any, mode: str = "constant", value: Any = None) -> Value:
    if not any(pads):
        return x
    if mode not in ("constant", 0) or value:
        raise UnsupportedError(f"padding in the mode {mode}")
    count, rank = len(pads) // 2, len(x.shape)
    sides = {rank - 1 - k: (pads[2 * k], pads[2 * k + 1]) for k in range(count) if pads[2 * k] or pads[2 * k + 1]}
    for axis, (before, after) in sides.items():
        if before < 0 or after < 0:
            x = w.slice(x, axis, max(0, -before), x.shape[axis] + min(0, after))
    sides = {axis: (max(0, before), max(0, after)) for axis, (before, after) in sides.items()}
    axes = sorted(axis for axis, both in sides.items() if any(both))
    return w.pad(x, [sides[a][0] for a in axes], [sides[a][1] for a in axes], axes)


@_named("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def _nearest(w: Wiring, x: Value, size: Any, *_: Any) -> Value:
    return w.resize(x, _factors(x, size, _), "nearest")


@_named("upsample_bilinear2d", "upsample_linear1d")
def _bilinear(w: Wiring, x: Value, size: Any, corners: bool = False, *_: Any) -> Value:
    if corners:
        raise UnsupportedError("with aligned corners")
    return w.resize(x, _factors(x, size, _), "bilinear")


def _factors(x: Value, size: Any, scales: Any) -> list[float]:
    if size is None:
        return list(next(s for s in scales if s is not None))
    return [k / n for k, n in zip(size, x.shape[2:], strict=True)]


@_named("pixel_shuffle")
def _pixel_shuffle(w: Wiring, x: Value, r: int) -> Value:
    n, c, h, v = x.shape
    apart = permuted(reshaped(x, (n, c // r**2, r, r, h, v)), [0, 1, 4, 2, 5, 3])
    return reshaped(apart, (n, c // r**2, h * r, v * r))


@_named("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(w: Wiring, x: Value, groups: int) -> Value:
    n, c, *rest = x.shape
    apart = reshaped(x, (n, groups, c // groups, *rest))
    return reshaped(permuted(apart, [0, 2, 1, *range(3, len(apart.shape))]), x.shape)


def _recurrent(cell: str, activation: str = "tanh") -> Read:
    def read(w: Wiring, x: Value, state: Any, weights: Any, has_biases: bool, count: int, dropout: float, train: bool,
             both: bool, batch_first: bool) -> Any:  # fmt: skip
        states = state if isinstance(state, list) else [state]
        if any(not isinstance(s, Constant) or s.array.any() for s in states):
            raise UnsupportedError("with a first state that is not 0")
        x = x if batch_first else permuted(x, [1, 0, 2])
        directions, per = 1 + both, 4 if has_biases else 2
        arrays = [c.array for c in weights]
        units, ends = arrays[1].shape[1], []
        if len(arrays) != per * directions * count:
            raise UnsupportedError("with projections")
        for k in range(count):
            some = []
            for d in range(directions):
                own = arrays[per * (k * directions + d) : per * (k * directions + d + 1)]
                some.append(own if has_biases else [*own, *[np.zeros(len(own[0]), own[0].dtype)] * 2])
            name = weights[0].name.rpartition("weight_ih")[0].rstrip(".") or cell
            x = w.recurrent(x, cell, some, units, f"{name}_l{k}" if count > 1 else name, activation=activation)
            if dropout and k + 1 < count:
                x = w.each(x, layers.Dropout(dropout))
            ends.append(x)

        def last() -> Value:
            states = []
            for y in ends:
                steps = y.shape[1]
                for d in range(directions):
                    t = 0 if d else steps - 1
                    one = w.slice(w.slice(y, 1, t, t + 1), 2, d * units, (d + 1) * units)
                    states.append(reshaped(one, (1, 1, units)))
            return w.concatenate(states, 0)

        return [x if batch_first else permuted(x, [1, 0, 2]), Later(last), Unread("the last state of the cells")]

    return read


TABLE |= {
    "lstm": _recurrent("lstm"), "gru": _recurrent("gru"), "rnn_tanh": _recurrent("rnn"),
    "rnn_relu": _recurrent("rnn", "relu"),
}  # fmt: skip
