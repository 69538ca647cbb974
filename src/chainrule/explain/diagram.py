"""The network of a worksheet, drawn with its weights, and with its values to fill in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chainrule.arrays import Array
from chainrule.explain import svg
from chainrule.explain.trace import Trace

_BOX, _GAP, _EDGE, _SIDE = 84, 64, 4, 6
_MOST = 3
"""Up to this number of units in the next column, arrows have room for their weights."""


@dataclass
class _Column:
    """Boxes below each other.

    Attributes:
        boxes: the lines of each box
        weights: the weight of each arrow from the column before, of shape (before, here); None for
            an activation, which reads one unit
    """

    boxes: list[list[str]] = field(default_factory=list)
    weights: Array | None = None


def diagram(trace: Trace, number: Callable[[float], str], shown: Callable[[float], str]) -> str:
    """The network as SVG.

    Args:
        trace: a forward pass of one sample through a chain of layers
        number: writes the numbers that are given: inputs, weights, biases and targets
        shown: writes the numbers to find out
    """
    columns = _columns(trace, number, shown)
    lines = [
        [[part for line in box for part in svg.wrapped(line, _BOX - 2 * _SIDE)] for box in c.boxes] for c in columns
    ]
    slot = max(svg.LINE * max(len(box) for column in lines for box in column) + 24, 64)
    high = max(map(len, lines)) * slot
    width = 2 * _EDGE + len(columns) * _BOX + (len(columns) - 1) * _GAP

    def middle(k: int, unit: int) -> float:
        return high / 2 + (unit - (len(lines[k]) - 1) / 2) * slot

    arrows, labels, boxes = [], [], []
    for k, column in enumerate(columns):
        x = _EDGE + k * (_BOX + _GAP)
        boxes += [_box(box, x, middle(k, unit)) for unit, box in enumerate(lines[k])]
        if column.weights is None:
            ends = [(unit, unit, "") for unit in range(len(lines[k]))] if k else []
        else:
            ends = [(i, j, number(float(w))) for (i, j), w in np.ndenumerate(column.weights)]
        share = min(0.3, 0.95 / (len(lines[k]) + 1))  # where on an arrow no two labels meet
        for i, j, label in ends:
            y1, y2 = middle(k - 1, i), middle(k, j)
            arrows.append(f'<path d="M{x - _GAP} {y1:.1f}L{x} {y2:.1f}" class="s-soft" stroke-width="1.3"/>')
            if label and len(lines[k]) <= _MOST:
                labels.append(_label(label, x - _GAP * (1 - share), y1 + (y2 - y1) * share))
    return svg.document("The network", width, high, arrows + labels + boxes)


def _columns(trace: Trace, number: Callable[[float], str], shown: Callable[[float], str]) -> list[_Column]:
    """The inputs, then every layer; activations stand in the boxes of the units before them."""
    tape = trace.tape
    columns = [_Column([[f"x[{i}] = {number(x)}"] for i, x in enumerate(tape.inputs[0][0].tolist())])]
    for node, values in zip(tape.graph.nodes, tape.values[1:], strict=True):
        lines = [
            [f"{node.name}[{j}]", f"{node.layer.output_symbol} = {shown(y)}"] for j, y in enumerate(values[0].tolist())
        ]
        linear = [found for j in range(len(lines)) if (found := node.layer.linear(tape.params[node.owner], j))]
        if linear:
            for box, (_, bias) in zip(lines, linear, strict=True):
                box[1:1] = [f"b = {number(bias)}"] * ("b" in node.built.parameters)
            columns.append(_Column(lines, np.stack([weights for weights, _ in linear], axis=1)))
        elif len(columns) > 1:
            columns[-1].boxes = [before + box for before, box in zip(columns[-1].boxes, lines, strict=True)]
        else:
            columns.append(_Column(lines))
    if trace.batch.y.size == len(columns[-1].boxes):
        for box, target in zip(columns[-1].boxes, trace.batch.y.ravel().tolist(), strict=True):
            box.append(f"target {number(target)}")
    return columns


def _box(lines: list[str], x: float, middle: float) -> str:
    high = svg.LINE * len(lines) + 12
    y = middle - high / 2
    texts = [svg.text(x + _SIDE, y + 17 + svg.LINE * k, line) for k, line in enumerate(lines)]
    return f'<g class="card">{svg.box(x, y, _BOX, high, "card", "ink")}{"".join(texts)}</g>'


def _label(label: str, x: float, y: float) -> str:
    half = svg.wide(label) / 2 + 2
    back = svg.box(x - half, y - 7, 2 * half, 14, "paper", radius=4)
    return f'<g class="label">{back}{svg.text(x, y + 4, label, anchor="middle")}</g>'
