"""Arithmetic in ONNX, and the formulas that older files write with it: GELU, the normalizations.

A part of such a formula is no value: what it is a part of is known when the formula is complete.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import layers
from chainrule.interchange import normalized
from chainrule.interchange.onnx_operators import op, short
from chainrule.interchange.values import (
    Constant,
    Length,
    UnsupportedError,
    Value,
    length_of,
)

if TYPE_CHECKING:
    from chainrule.interchange.onnx_graph import Graph

ADDITION = "Add"
"""An operator whose name is that of a layer here, too."""


class Partial:
    """factor * (ones + erf(x / sqrt 2)), a part of the GELU of x."""

    def __init__(self, x: Value, ones: int = 0, factor: float = 1.0) -> None:
        self.x, self.ones, self.factor = x, ones, factor


@op("Clip")
def _clip(g: Graph, node: Any, x: Any, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> Any:
    a = float(low.array) if low is not None else min
    b = float(high.array) if high is not None else max
    return Length(x.of, a) if isinstance(x, Length) and b is None else g.wiring.clip(x, a, b)


@op("Add")
def _add(g: Graph, node: Any, a: Any, b: Any) -> Value:
    for x, one in ((a, b), (b, a)):
        if isinstance(x, Partial):
            if not isinstance(one, Constant) or one.array.size != 1 or one.array.item() != 1 or x.factor != 1:
                raise UnsupportedError("of erf, but as a part of GELU")
            return Partial(x.x, 1)  # type: ignore[return-value]
    if a is None or b is None:  # the bias is in the layer before it
        return a if b is None else b
    return g.wiring.add(a, b)


@op("Erf")
def _erf(g: Graph, node: Any, x: Value) -> Partial:
    of, factor = g.wiring.scaled.get(id(x), (x, 1.0))
    if not math.isclose(factor, math.sqrt(0.5), rel_tol=1e-5):
        raise UnsupportedError("but as a part of GELU")
    return Partial(of)


@op("Sum")
def _sum_of(g: Graph, node: Any, *xs: Any) -> Value:
    total = xs[0]
    for x in xs[1:]:
        total = g.wiring.add(total, x)
    return total


@op("Sub")
def _sub(g: Graph, node: Any, a: Any, b: Any) -> Value:
    return g.wiring.subtract(a, fixed(b))


def fixed(x: Any) -> Any:
    """A constant that is not learned: what is subtracted, or divided by, prepares an input."""
    return Constant(x.array, x.name) if isinstance(x, Constant) else x


@op("Scaler")
def _scaler(g: Graph, node: Any, x: Value, *, offset: Any, scale: Any) -> Value:
    centred = g.wiring.subtract(x, Constant(np.array(offset, np.float32)))
    return g.wiring.multiply(centred, Constant(np.array(scale, np.float32)))


@op("Mul")
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


@op("Div")
def _div(g: Graph, node: Any, a: Any, b: Any) -> Any:
    if isinstance(b, Root):
        return _normalized(g, node, a, b)
    if isinstance(b, Length):
        return b.dividing(a)
    return g.wiring.divide(a, fixed(b))


@op("Sqrt")
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
    return normalized.layer_norm(g.wiring, x, [len(x.shape) - 1], scale, offset, short(root.epsilon), centred)


@op("ReduceL2")
def _length(
    g: Graph, node: Any, x: Value, over: Any = None, *, axes: Any = None, keepdims: int = 1, **_: Any
) -> Length:
    return length_of(x, over.array.ravel().tolist() if over is not None else list(axes or ()), bool(keepdims))


@op("Max")
def _largest(g: Graph, node: Any, *xs: Any) -> Length:
    sizes = [x for x in xs if isinstance(x, Length)]
    numbers = [x for x in xs if isinstance(x, Constant) and x.array.size == 1]
    if len(sizes) != 1 or len(numbers) != 1 or len(xs) != 2:
        raise UnsupportedError("but of a length and the smallest that is divided by")
    return Length(sizes[0].of, short(numbers[0].array.item()))


@op("Neg")
def _neg(g: Graph, node: Any, x: Value) -> Any:
    return g.wiring.negative(x)


@op("Pow")
def _pow(g: Graph, node: Any, x: Value, exponent: Constant) -> Value:
    if exponent.array.size != 1 or exponent.array.item() != 2:
        raise UnsupportedError("with an exponent other than 2")
    return g.wiring.multiply(x, x)
