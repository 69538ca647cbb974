"""Nodes of ONNX that depend on no input: shapes, indices and masks, computed by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.interchange.values import Constant, UnsupportedError

SAME_NUMBERS = ("Identity", "Transpose", "Cast")
"""Operators that keep all numbers, and so whose they are."""
MOST = 2**26
"""The most numbers that a constant may have, where it has more than what it is made of."""


def folded(node: Any, xs: Sequence[Constant | None], attributes: Mapping[str, Any]) -> Any:
    """The constants that a node computes from constants; raises UnsupportedError for an operator
    that is not known.
    """
    if node.op_type == "Constant":
        return _constant(attributes)
    function = FOLDED.get(node.op_type)
    if function is None:
        raise UnsupportedError("")
    arrays = [None if x is None else x.array for x in xs]
    with np.errstate(all="ignore"):
        result = function(attributes, *arrays)
    names = [x.name for x in xs if x is not None and x.name]
    learned = any(x is not None and x.learned for x in xs)
    if node.op_type in SAME_NUMBERS and xs[0] is not None:
        names, learned = [xs[0].name], xs[0].learned
    made = [
        Constant(np.asarray(y), names[0] if names else "", learned and np.asarray(y).dtype.kind == "f")
        for y in (result if isinstance(result, list) else [result])
    ]
    return made if isinstance(result, list) else made[0]


def _constant(a: Mapping[str, Any]) -> Constant:
    from onnx import numpy_helper

    if "value" in a:
        return Constant(numpy_helper.to_array(a["value"]))
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                        ("value_ints", np.int64)):  # fmt: skip
        if name in a:
            return Constant(np.array(a[name], dtype))
    raise UnsupportedError("a constant that is no array of numbers")


def _bounded(shape: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in shape)
    if math.prod(sizes) > MOST or min(sizes, default=0) < 0:
        raise UnsupportedError(f"a constant of the shape {sizes}")
    return sizes


def _cast(a: Any, x: Any) -> Any:
    from onnx import helper

    return x.astype(helper.tensor_dtype_to_np_dtype(a["to"]))


def _filled(a: Any, shape: Any) -> Any:
    from onnx import numpy_helper

    value = numpy_helper.to_array(a["value"]).ravel()[0] if "value" in a else np.float32(0)
    return np.full(_bounded(shape), value)


def _range(a: Any, start: Any, stop: Any, step: Any) -> Any:
    _bounded([max(0, math.ceil((stop.item() - start.item()) / step.item()))])
    return np.arange(start.item(), stop.item(), step.item()).astype(start.dtype)


def _expand(a: Any, x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, _bounded(np.broadcast_shapes(x.shape, tuple(int(n) for n in shape)))).copy()


def _reshape(a: Any, x: Any, shape: Any) -> Any:
    return x.reshape([x.shape[k] if n == 0 and not a.get("allowzero") else int(n) for k, n in enumerate(shape.ravel())])


def _axes(a: Any, over: Any) -> tuple[int, ...] | None:
    chosen = over if over is not None else a.get("axes")
    return None if chosen is None else tuple(int(k) for k in np.ravel(chosen))


def _unsqueeze(a: Any, x: Any, over: Any = None) -> Any:
    return np.expand_dims(x, _axes(a, over) or ())


def _squeeze(a: Any, x: Any, over: Any = None) -> Any:
    return np.squeeze(x, _axes(a, over))


def _slice(a: Any, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    starts, ends = (a[name] if c is None else c for c, name in ((starts, "starts"), (ends, "ends")))
    axes = a.get("axes", range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    where = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(np.ravel(axes), starts, ends, steps, strict=True):
        start, stop = (int(np.clip(k, -(2**62), 2**62)) for k in (start, stop))
        where[int(axis)] = slice(start, stop, int(step))
    return x[tuple(where)]


def _gather(a: Any, x: Any, at: Any) -> Any:
    axis = a.get("axis", 0)
    _bounded([*np.delete(x.shape, axis), at.size])
    return np.take(x, at, axis=axis)


def _where(a: Any, condition: Any, x: Any, y: Any) -> Any:
    _bounded(np.broadcast_shapes(condition.shape, x.shape, y.shape))
    return np.where(condition, x, y)


def _div(x: Any, y: Any) -> Any:
    return np.trunc(x / y).astype(x.dtype) if x.dtype.kind in "iu" else x / y


def _split(a: Any, x: Any, sizes: Any = None) -> Any:
    axis = a.get("axis", 0)
    parts = a.get("split") if sizes is None else sizes
    return np.split(x, np.cumsum(parts)[:-1].tolist() if parts is not None else a.get("num_outputs", 2), axis)


def _tile(a: Any, x: Any, times: Any) -> Any:
    _bounded([n * int(t) for n, t in zip(x.shape, times, strict=True)])
    return np.tile(x, [int(t) for t in times])


def _concatenated(a: Any, *xs: Any) -> Any:
    repeated = len(xs) - len({id(x) for x in xs})
    _bounded([sum(x.size for x in xs)] if repeated else [])
    return np.concatenate(xs, axis=a["axis"])


def _binary(f: Callable[..., Any]) -> Callable[..., Any]:
    def both(a: Any, x: Any, y: Any) -> Any:
        _bounded(np.broadcast_shapes(x.shape, y.shape))
        return f(x, y)

    return both


def _reduced(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, x, over=None: f(x, axis=_axes(a, over), keepdims=bool(a.get("keepdims", 1)))


FOLDED: dict[str, Callable[..., Any]] = {
    "Shape": lambda a, x: np.array(x.shape[a.get("start", 0) : a.get("end", x.ndim)], np.int64),
    "Size": lambda a, x: np.array(x.size, np.int64),
    "Identity": lambda a, x: x, "Cast": _cast, "ConstantOfShape": _filled, "Range": _range, "Expand": _expand,
    "Reshape": _reshape, "Transpose": lambda a, x: x.transpose(a.get("perm")), "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze, "Slice": _slice, "Split": _split, "Tile": _tile,
    "Concat": _concatenated,
    "Gather": _gather,
    "Add": _binary(np.add), "Sub": _binary(np.subtract), "Mul": _binary(np.multiply), "Div": _binary(_div),
    "Pow": _binary(lambda x, y: np.power(x, y.astype(x.dtype))), "Mod": _binary(np.mod),
    "Equal": _binary(np.equal), "Less": _binary(np.less), "Greater": _binary(np.greater),
    "LessOrEqual": _binary(np.less_equal), "GreaterOrEqual": _binary(np.greater_equal),
    "And": _binary(np.logical_and), "Or": _binary(np.logical_or), "Not": lambda a, x: ~x,
    "Where": _where, "Neg": lambda a, x: -x, "Sqrt": lambda a, x: np.sqrt(x),
    "Reciprocal": lambda a, x: 1 / x, "Exp": lambda a, x: np.exp(x), "Abs": lambda a, x: np.abs(x),
    "Floor": lambda a, x: np.floor(x), "Ceil": lambda a, x: np.ceil(x), "Max": _binary(np.maximum),
    "Min": _binary(np.minimum), "Trilu": lambda a, x, k=None: (np.triu if a.get("upper", 1) else np.tril)(
        x, 0 if k is None else int(k)),
    "ReduceProd": _reduced(np.prod), "ReduceSum": _reduced(np.sum), "ReduceMean": _reduced(np.mean),
    "ReduceMax": _reduced(np.max), "ScatterND": lambda a, x, at, new: _scattered(x, at, new),
}  # fmt: skip


def _scattered(x: Any, at: Any, new: Any) -> Any:
    y = x.copy()
    y[tuple(np.moveaxis(at, -1, 0))] = new
    return y
