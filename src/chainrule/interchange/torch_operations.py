"""What each of PyTorch's operations (ATen) becomes here, by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.interchange import arranged, attention, normalized, windowed
from chainrule.interchange.values import (
    Constant,
    Length,
    UnsupportedError,
    Value,
    length_of,
)
from chainrule.interchange.wiring import Wiring

Read = Callable[..., Any]
TABLE: dict[str, Read] = {}
"""What reads an operation, by its name in ATen: a function of the wiring and its arguments."""


def named(*names: str) -> Callable[[Read], Read]:
    """Add a function to the table under these names."""

    def add(function: Read) -> Read:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return add


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


# What each operation becomes


def _constant(x: Any) -> Any:
    return Constant(np.asarray(x)) if isinstance(x, int | float | bool) else x


for _function, _layer in {
    "relu": layers.ReLU(), "tanh": layers.Tanh(), "sigmoid": layers.Sigmoid(), "selu": layers.SELU(),
    "silu": layers.SiLU(), "mish": layers.Mish(), "hardswish": layers.HardSwish(),
    "hardsigmoid": layers.HardSigmoid(), "relu6": layers.Clip(0.0, 6.0),
}.items():  # fmt: skip
    TABLE[_function] = lambda w, x, _layer=_layer: w.each(x, replace(_layer))


@named("clone", "contiguous", "alias", "detach", "_to_copy", "to", "type_as", "lift_fresh_copy", "detach_")
def _same(w: Wiring, x: Value, *_: Any, **__: Any) -> Value:
    return x


@named("dropout", "native_dropout", "feature_dropout")
def _dropout(w: Wiring, x: Value, p: float = 0.5, train: bool = False) -> Value:
    return w.each(x, layers.Dropout(p)) if 0 < p < 1 else x


@named("gelu")
def _gelu(w: Wiring, x: Value, approximate: str = "none") -> Value:
    return w.each(x, layers.GELU(tanh=approximate == "tanh"))


@named("leaky_relu")
def _leaky(w: Wiring, x: Value, slope: float = 0.01) -> Value:
    return w.each(x, layers.LeakyReLU(slope))


@named("elu")
def _elu(w: Wiring, x: Value, alpha: float = 1.0, scale: float = 1, input_scale: float = 1) -> Value:
    if (scale, input_scale) != (1, 1):
        raise UnsupportedError("with scales")
    return w.each(x, layers.ELU(alpha))


@named("prelu")
def _prelu(w: Wiring, x: Value, slope: Constant) -> Value:
    return w.prelu(x, slope, 1 if len(x.shape) > 1 else 0)


@named("rrelu")
def _rrelu(w: Wiring, x: Value, low: float = 1 / 8, high: float = 1 / 3, *_: Any) -> Value:
    return w.each(x, layers.LeakyReLU((low + high) / 2))


@named("celu")
def _celu(w: Wiring, x: Value, alpha: float = 1.0) -> Value:
    y = w.each(w.multiply(x, _constant(1 / alpha)), layers.ELU(1.0))
    return w.multiply(y, _constant(float(alpha)))


@named("log_sigmoid", "log_sigmoid_forward")
def _log_sigmoid(w: Wiring, x: Value) -> Value:
    return w.each(w.each(w.each(x, layers.Scale(-1.0)), layers.Softplus()), layers.Scale(-1.0))


@named("glu")
def _glu(w: Wiring, x: Value, axis: int = -1) -> Value:
    half = x.shape[axis] // 2
    kept, gate = (arranged.cut(x, axis, k * half, (k + 1) * half) for k in (0, 1))
    return w.multiply(kept, w.each(gate, layers.Sigmoid()))


@named("threshold")
def _threshold(w: Wiring, x: Value, threshold: float, value: float) -> Value:
    if threshold != value:
        raise UnsupportedError("with another value than the threshold")
    return w.clip(x, threshold, None)


@named("softplus")
def _softplus(w: Wiring, x: Value, beta: float = 1, threshold: float = 20) -> Value:
    y = w.each(x if beta == 1 else w.multiply(x, _constant(float(beta))), layers.Softplus())
    return y if beta == 1 else w.multiply(y, _constant(1 / beta))


@named("hardtanh", "clamp")
def _clip(w: Wiring, x: Value, low: float | None = -1.0, high: float | None = 1.0) -> Value:
    return w.clip(x, low, high)


@named("clamp_min")
def _clip_below(w: Wiring, x: Any, low: float) -> Any:
    return Length(x.of, float(low)) if isinstance(x, Length) else w.clip(x, low, None)


@named("linalg_vector_norm")
def _length(w: Wiring, x: Value, order: float = 2, over: Any = None, keep: bool = False, *_: Any) -> Length:
    if order != 2 or over is None:
        raise UnsupportedError("but for dividing by the length along the last axis")
    return length_of(x, over, keep)


@named("add")
def _add(w: Wiring, a: Any, b: Any, alpha: float = 1) -> Any:
    if isinstance(a, Absolute):
        if b != 1 or alpha != 1 or a.plus_one:
            raise UnsupportedError("of an absolute value, but in softsign")
        return Absolute(a.of, True)
    a, b = _constant(a), _constant(b)
    return w.add(a, b if alpha == 1 else w.multiply(b, _constant(float(alpha))))


@named("sub")
def _sub(w: Wiring, a: Any, b: Any, alpha: float = 1) -> Value:
    return _add(w, a, w.negative(_constant(b)), alpha)


@named("rsub")
def _rsub(w: Wiring, a: Any, b: Any, alpha: float = 1) -> Value:
    return _sub(w, b, a, alpha)


@named("mul")
def _mul(w: Wiring, a: Any, b: Any) -> Value:
    return w.multiply(_constant(a), _constant(b))


@named("div")
def _div(w: Wiring, a: Any, b: Any) -> Value:
    if isinstance(b, Absolute):
        if b.of is not a or not b.plus_one:
            raise UnsupportedError("by an absolute value, but in softsign")
        return w.each(a, layers.Softsign())
    if isinstance(b, Length):
        return b.dividing(a)
    return w.divide(a, _constant(b))


@named("neg")
def _neg(w: Wiring, x: Value) -> Any:
    return w.negative(x)


@named("pow")
def _pow(w: Wiring, x: Value, exponent: Any) -> Value:
    if exponent != 2:
        raise UnsupportedError(f"with the exponent {exponent}")
    return w.multiply(x, x)


@named("masked_fill")
def _masked_fill(w: Wiring, x: Value, mask: Constant, number: float) -> Value:
    if not isinstance(mask, Constant) or number > -1e4:
        raise UnsupportedError("with a mask that depends on the input, or a number that is no mask")
    return w.add(x, Constant(np.where(mask.array, -1e30, 0.0)))


@named("abs")
def _abs(w: Wiring, x: Value) -> Absolute:
    return Absolute(x)


@named("linear")
def _linear(w: Wiring, x: Value, weight: Constant, bias: Constant | None = None) -> Value:
    if not isinstance(weight, Constant):
        raise UnsupportedError("with weights that depend on the input")
    return w.linear(x, Constant(weight.array.T, weight.name, True), bias, weight.name)


@named("addmm")
def _addmm(w: Wiring, bias: Constant, x: Value, weight: Constant) -> Value:
    return w.linear(x, weight, bias, weight.name)


@named("matmul", "mm", "bmm", "_unsafe_matmul")
def _matmul(w: Wiring, a: Any, b: Any) -> Value:
    return w.matmul(a, b)


@named("einsum")
def _einsum(w: Wiring, equation: str, xs: Any) -> Value:
    return arranged.einsum(w, equation, xs)


@named("embedding")
def _embedding(w: Wiring, weight: Constant, x: Value, *_: Any) -> Value:
    return w.embedding(x, weight)


def along(sizes: Any, d: int) -> list[int]:
    """A number for each of d axes, from one or several."""
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    return sizes * d if len(sizes) == 1 else sizes


@named("conv1d", "conv2d", "conv3d")
def _conv(w: Wiring, x: Value, weight: Constant, bias: Any = None, stride: Any = 1, padding: Any = 0,
          dilation: Any = 1, groups: int = 1) -> Value:  # fmt: skip
    d = weight.array.ndim - 2
    pads = padding if isinstance(padding, str) else [*along(padding, d)] * 2
    return windowed.conv(w, x, weight, bias, along(stride, d), pads, along(dilation, d), groups, weight.name)


@named("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(w: Wiring, x: Value, weight: Constant, bias: Any = None, stride: Any = 1, padding: Any = 0,
                    output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Value:  # fmt: skip
    d = weight.array.ndim - 2
    pads = [*along(padding, d)] * 2
    return windowed.conv_transpose(
        w, x, weight, bias, along(stride, d), pads, along(dilation, d), groups, along(output_padding, d)
    )


@named("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(w: Wiring, x: Value, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
              ceil: bool = False) -> Value:  # fmt: skip
    d = len(x.shape) - 2
    if set(along(dilation, d)) != {1}:
        raise UnsupportedError("with dilation")
    size = along(size, d)
    return windowed.pool(x, "max", size, along(stride, d) if stride else size, along(padding, d) * 2, ceil)


@named("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _mean_pool(w: Wiring, x: Value, size: Any, stride: Any = (), padding: Any = 0, ceil: bool = False,
               counts: bool = True, divisor: Any = None) -> Value:  # fmt: skip
    if divisor is not None:
        raise UnsupportedError("with another divisor")
    d = len(x.shape) - 2
    size = along(size, d)
    return windowed.pool(x, "mean", size, along(stride, d) if stride else size, along(padding, d) * 2, ceil, counts)


@named("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _adaptive_mean(w: Wiring, x: Value, size: Any) -> Value:
    return windowed.adaptive(x, "mean", along(size, len(x.shape) - 2))


@named("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max(w: Wiring, x: Value, size: Any) -> Any:
    return [windowed.adaptive(x, "max", along(size, len(x.shape) - 2)), Unread("where the largest are")]


@named("mean")
def _mean(w: Wiring, x: Value, over: Any = None, keep: bool = False, dtype: Any = None) -> Value:
    return windowed.reduce(x, "mean", range(1, len(x.shape)) if over is None else along(over, 1), keep)


@named("sum")
def _sum(w: Wiring, x: Value, over: Any, keep: bool = False, dtype: Any = None) -> Value:
    return windowed.reduce(x, "sum", along(over, 1), keep)


@named("amax")
def _amax(w: Wiring, x: Value, over: Any, keep: bool = False) -> Value:
    return windowed.reduce(x, "max", along(over, 1), keep)


@named("max")
def _max(w: Wiring, x: Value, axis: int, keep: bool = False) -> Any:
    return [windowed.reduce(x, "max", [axis], keep), Unread("where the largest are")]


@named("_native_batch_norm_legit_no_training")
def _batch_norm(w: Wiring, x: Value, scale: Any, offset: Any, mean: Any, variance: Any, momentum: float,
                epsilon: float) -> Any:  # fmt: skip
    return [normalized.batch_norm(w, x, scale, offset, mean, variance, epsilon, 1 - momentum), None, None]


@named("batch_norm")
def _batch_norm_whole(w: Wiring, x: Value, scale: Any, offset: Any, mean: Any, variance: Any, training: bool,
                      momentum: float, epsilon: float, *_: Any) -> Value:  # fmt: skip
    return normalized.batch_norm(w, x, scale, offset, mean, variance, epsilon, 1 - momentum)


@named("layer_norm")
def _layer_norm(w: Wiring, x: Value, shape: Any, scale: Any = None, offset: Any = None, epsilon: float = 1e-5,
                *_: Any) -> Value:  # fmt: skip
    rank = len(x.shape)
    return normalized.layer_norm(w, x, range(rank - len(shape), rank), scale, offset, epsilon)


@named("rms_norm")
def _rms_norm(w: Wiring, x: Value, shape: Any, scale: Any = None, epsilon: float | None = None) -> Value:
    rank = len(x.shape)
    eps = float(np.finfo(np.float32).eps) if epsilon is None else epsilon
    return normalized.layer_norm(w, x, range(rank - len(shape), rank), scale, None, eps, centred=False)


@named("group_norm")
def _group_norm(w: Wiring, x: Value, groups: int, scale: Any = None, offset: Any = None, epsilon: float = 1e-5,
                *_: Any) -> Value:  # fmt: skip
    return normalized.group_norm(w, x, groups, scale, offset, epsilon)


@named("instance_norm")
def _instance_norm(w: Wiring, x: Value, scale: Any, offset: Any, mean: Any, variance: Any, use: bool, momentum: float,
                   epsilon: float, *_: Any) -> Value:  # fmt: skip
    if not use:
        raise UnsupportedError("with running statistics")
    return normalized.group_norm(w, x, x.shape[1], scale, offset, epsilon)


@named("softmax", "_softmax")
def _softmax(w: Wiring, x: Value, axis: int, *_: Any) -> Value:
    return w.softmax(x, axis)


@named("log_softmax", "_log_softmax")
def _log_softmax(w: Wiring, x: Value, axis: int, *_: Any) -> Value:
    return w.softmax(x, axis, True)


@named("scaled_dot_product_attention")
def _attention(w: Wiring, q: Value, k: Value, v: Value, mask: Any = None, dropout: float = 0.0, causal: bool = False,
               scale: float | None = None, enable_gqa: bool = False) -> Value:  # fmt: skip
    return attention.attention(w, q, k, v, mask, causal, scale)
