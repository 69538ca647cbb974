"""ONNX: a graph, read node by node.

What its nodes compute from constants alone (shapes, mostly) is computed by NumPy, within a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import DataError
from chainrule.interchange import onnx_arrangements  # noqa: F401, adds to the table
from chainrule.interchange.onnx_constants import folded
from chainrule.interchange.onnx_formulas import Partial, Root
from chainrule.interchange.onnx_operators import FAILED, TABLE
from chainrule.interchange.values import Constant, Length, UnsupportedError, Value, only_value, unsupported
from chainrule.interchange.wiring import Wiring

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
            if min(tensor.dims, default=0) < 0:
                raise DataError(f"{path}: its tensor {tensor.name!r} has the shape {[*tensor.dims]}")
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
            elif not any(isinstance(x, Value | Partial | Root | Length) for x in xs):
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


def _plain(array: Any) -> Any:
    """Half precision as float32, which holds it exactly."""
    small = array.dtype.kind == "f" and array.dtype.itemsize < 4
    return array.astype(np.float32) if small or array.dtype.name == "bfloat16" else array
