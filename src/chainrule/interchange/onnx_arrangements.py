"""ONNX's operators that move values: reshapes, slices, padding; and cells over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.interchange import arranged, attention, recurrence, windowed
from chainrule.interchange.onnx_operators import FAILED, TABLE, Read, op
from chainrule.interchange.values import (
    Constant,
    Length,
    UnsupportedError,
    Value,
    axis_of,
    permuted,
    reshaped,
)

if TYPE_CHECKING:
    from chainrule.interchange.onnx_graph import Graph

ENLARGEMENT = "Upsample"
"""An operator whose name is that of a layer here, too."""


@op("Reshape")
def _reshape(g: Graph, node: Any, x: Value, shape: Constant, *, allowzero: int = 0) -> Value:
    sizes = shape.array.ravel().tolist()
    return reshaped(x, [x.shape[k] if n == 0 and not allowzero else int(n) for k, n in enumerate(sizes)])


@op("Flatten")
def _flatten(g: Graph, node: Any, x: Value, *, axis: int = 1) -> Value:
    axis = axis_of(axis, len(x.shape))
    return reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@op("Transpose")
def _transpose(g: Graph, node: Any, x: Value, *, perm: Any = None) -> Value:
    return permuted(x, list(perm) if perm else [*range(len(x.shape))][::-1])


@op("Unsqueeze")
def _unsqueeze(g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None) -> Value:
    return arranged.unsqueezed(x, over.array.ravel().tolist() if over is not None else list(axes))


@op("Squeeze")
def _squeeze(g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None) -> Value:
    chosen = over.array.ravel().tolist() if over is not None else axes
    if chosen is None:
        raise UnsupportedError("of all axes, among which are the samples")
    return arranged.squeezed(x, chosen)


@op("Expand")
def _expand(g: Graph, node: Any, x: Any, shape: Constant) -> Any:
    if isinstance(x, Length):
        return x
    return g.wiring.expand(x, tuple(int(n) for n in shape.array.ravel()))


@op("Concat")
def _concat(g: Graph, node: Any, *xs: Any, axis: int) -> Value:
    return arranged.concatenate(g.wiring, xs, axis)


@op("Split")
def _split(g: Graph, node: Any, x: Value, sizes: Any = None, *, axis: int = 0, split: Any = None,
           num_outputs: int | None = None) -> list[Value]:  # fmt: skip
    n, count = x.shape[axis], num_outputs or len(node.output)
    each = -(-n // count)
    parts = sizes.array.ravel().tolist() if sizes is not None else split
    parts = list(parts) if parts else [min(each, n - k * each) for k in range(count)]
    ends = np.cumsum(parts).tolist()
    return [arranged.cut(x, axis, end - size, end) for end, size in zip(ends, parts, strict=True)]


@op("Slice")
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
        x = arranged.cut(x, axis_of(a, len(x.shape)), start, stop, step)
    return x


@op("Gather")
def _gather(g: Graph, node: Any, x: Any, at: Any, *, axis: int = 0) -> Value:
    if isinstance(x, Constant) and isinstance(at, Value):
        if axis != 0 or x.array.ndim != 2:
            raise UnsupportedError("of something other than rows of a matrix")
        return g.wiring.embedding(at, x)
    if not isinstance(at, Constant) or at.array.ndim > 0:
        raise UnsupportedError("of several entries")
    return arranged.entry(x, axis, int(at.array))


@op("Pad")
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
    return windowed.pad(x, [b for _, b, _ in chosen], [c for *_, c in chosen], [a for a, *_ in chosen])


@op("Resize", "Upsample")
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
    return windowed.resize(x, factors[2:], "bilinear" if mode == b"linear" else "nearest")


USUAL = {"lstm": ["sigmoid", "tanh", "tanh"], "gru": ["sigmoid", "tanh"], "rnn": ["tanh"]}
"""The activations of the cells here, in ONNX's order."""


def _activation(cell: str, names: Any) -> str:
    """The activation of a cell that may have several; raises UnsupportedError for others."""
    usual = USUAL[cell]
    given = [a.decode().lower() for a in names or ()][: len(usual)] or usual
    if given != usual and not (cell == "rnn" and given == ["relu"]):
        raise UnsupportedError("with other activations")
    return given[-1]


def _recurrent(cell: str, gates: Sequence[int]) -> Read:
    """A reader of recurrence: `gates` are ONNX's numbers of the gates here, in order."""

    def read(g: Graph, node: Any, x: Value, W: Constant, R: Constant, B: Any = None, lengths: Any = None,
             first: Any = None, cells: Any = None, peepholes: Any = None, *, hidden_size: int,
             direction: bytes = b"forward", layout: int = 0, activations: Any = None, linear_before_reset: int = 0,
             **other: Any) -> list[Any]:  # fmt: skip
        if peepholes is not None or other.get("clip") or other.get("input_forget"):
            raise UnsupportedError("with peepholes or clipping")
        recurrence.require_zeros([s for s in (first, cells) if s is not None])
        steps = x.shape[1 if layout else 0]
        if isinstance(lengths, Value) or (lengths is not None and {*lengths.array.ravel().tolist()} != {steps}):
            raise UnsupportedError("with lengths")
        if cell == "gru" and not linear_before_reset:
            raise UnsupportedError("with the reset gate before the product (linear_before_reset=0)")
        u, half, is_reverse = hidden_size, len(gates) * hidden_size, direction == b"reverse"

        def ordered(array: Any) -> Any:
            return np.concatenate([array[k * u : (k + 1) * u] for k in gates])

        b = np.zeros((W.shape[0], 2 * half), W.array.dtype) if B is None else B.array
        sides = [[ordered(a) for a in (W.array[d], R.array[d], b[d][:half], b[d][half:])] for d in range(W.shape[0])]
        x = x if layout else permuted(x, [1, 0, 2])
        y = recurrence.recurrent(g.wiring, x, cell, sides, u, W.name, activation=_activation(cell, activations),
                                 reverse=is_reverse)  # fmt: skip
        backwards = [is_reverse, True][: len(sides)]
        last = recurrence.last_states(g.wiring, [y], u, backwards) if _used(g, node, 1) else FAILED
        apart = reshaped(y, (1, steps, len(sides), u))
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


@op("Attention")
def _attention(g: Graph, node: Any, q: Value, k: Value, v: Value, mask: Any = None, *rest: Any, is_causal: int = 0,
               scale: float | None = None, **other: Any) -> Value:  # fmt: skip
    if len(q.shape) != 4 or any(x is not None for x in rest) or any(other.values()):
        raise UnsupportedError("but for queries, keys and values of four axes")
    return attention.attention(g.wiring, q, k, v, mask, bool(is_causal), scale)


@op("DepthToSpace")
def _depth_to_space(g: Graph, node: Any, x: Value, *, blocksize: int, mode: bytes = b"DCR") -> Value:
    return arranged.blocks_apart(x, blocksize, channels_before=mode == b"CRD")


@op("SpaceToDepth")
def _space_to_depth(g: Graph, node: Any, x: Value, *, blocksize: int) -> Value:
    return arranged.blocks_together(x, blocksize, channels_before=False)
