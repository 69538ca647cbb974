"""The scheme: a picture of backpropagation and gradient descent for one weight, as SVG that may be printed and pinned
to a wall.

Left to right the network runs forward from the weight to the loss; every arrow carries its local derivative. Along a
path one multiplies, where paths meet one adds, and so each unit gets its delta from right to left. Under it, apart,
gradient descent. What is said in colour is said in shape too: a positive contribution has a full line, a negative one
a dashed one.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from html import escape

from chainrule.explain.explanation import Explanation
from chainrule.explain.trace import Trace, Unit
from chainrule.layers import Container, Dense, Dropout
from chainrule.layers.activations import Activation

MOST = 4
"""Units that a column shows; what flows through the others is added up."""

_WIDTH, _GAP, _LABEL, _HEIGHT, _STEP, _LEFT, _TOP = 164, 118, 84, 58, 96, 24, 128
_INK, _PALE, _PLUS, _MINUS, _DESCENT = "#1b1b1b", "#f4f4f2", "#1d5fa6", "#b4530a", "#2b6e43"


@dataclass
class Column:
    """The units of one layer that the picture shows, and what flows through those that it leaves out."""

    layer: str
    units: list[Unit]
    others: int = 0
    rest: float = 0.0


@dataclass
class Graph:
    """What is drawn for one sample: columns of units, and arrows (from, to, local derivative, flow)."""

    columns: list[Column] = field(default_factory=list)
    arrows: list[tuple[Unit, Unit, float, float]] = field(default_factory=list)
    last: list[tuple[Unit, float]] = field(default_factory=list)


def graph(trace: Trace, first: Unit, given: float) -> Graph:
    """The units on the strongest ways from the unit that a weight feeds to the loss; `given` is what the weight
    multiplies.
    """
    through: dict[Unit, float] = {first: given}
    drawn = Graph()
    for layer in _order(trace):
        here = [unit for unit in through if unit.layer == layer]
        if not here:
            continue
        ranked = sorted(here, key=lambda unit: -abs(through[unit] * trace.delta(unit)))
        shown, hidden = ranked[:MOST], ranked[MOST:]
        rest = sum(through[unit] * trace.delta(unit) for unit in hidden)
        drawn.columns.append(Column(layer, sorted(shown, key=lambda unit: unit.index), len(hidden), rest))
        for unit in shown:
            links = trace.fed_by(unit)
            for link in links:
                partial = through[unit] * link.local
                through[link.unit] = through.get(link.unit, 0.0) + partial
                drawn.arrows.append((unit, link.unit, link.local, partial * trace.delta(link.unit)))
            if not links:
                drawn.last.append((unit, through[unit] * trace.delta(unit)))
    visible = {unit for column in drawn.columns for unit in column.units}
    drawn.arrows = [arrow for arrow in drawn.arrows if arrow[1] in visible]
    return drawn


def _order(trace: Trace) -> list[str]:
    """The layers in the order in which they run; a Residual, whose output is a sum, after the layers inside it."""
    order: list[str] = []

    def visit(place: str) -> None:
        layer = trace.nodes[place].layer
        if isinstance(layer, Container):
            for name in layer.children:
                visit(f"{place}.{name}" if place else name)
        if place:
            order.append(place)

    visit("")
    return order


def draw(e: Explanation) -> str:
    """The scheme of an explanation, for the sample that its chain is about."""
    if e.chain is None:
        return _document(
            620, 60, [_text(24, 34, "No sample of this batch uses this weight: its gradient is 0.", size=15)]
        )
    drawn = graph(e.trace, e.chain.unit, e.chain.local_derivative)
    rows = max(max(len(column.units) + bool(column.others) for column in drawn.columns), 2)
    edges = _edges(drawn)
    width = max(edges[-1] + _WIDTH + _LEFT, 900)
    middle = _TOP + (rows - 1) * _STEP / 2
    places: Places = {}
    for x, column in zip(edges, drawn.columns, strict=False):
        count = len(column.units) + bool(column.others)
        for k, unit in enumerate(column.units):
            places[unit] = (x, _TOP + (k + (rows - count) / 2) * _STEP)
    loss = (edges[-1], middle)
    parts = [*_heading(e, width), *_arrows(e, drawn, places, middle, loss), *_boxes(e, drawn, places, middle, loss)]
    descent, height = _descent(e, _TOP + rows * _STEP + 20, width)
    return _document(width, height, parts + descent)


Places = dict[Unit, tuple[float, float]]


def _edges(drawn: Graph) -> list[float]:
    """Where each column begins, and the loss: further apart where many arrows need room for their labels."""
    x, edges = float(_LEFT + _WIDTH + _GAP), []
    for column in drawn.columns:
        edges.append(x)
        fan = max((sum(arrow[0] == unit for arrow in drawn.arrows) for unit in column.units), default=0)
        x += _WIDTH + (_GAP if fan <= 1 else _GAP / 2 + _LABEL * len(column.units))
    return [*edges, x]


def _heading(e: Explanation, width: float) -> list[str]:
    term = e.chain
    assert term is not None
    return [
        _text(_LEFT, 32, f"Backpropagation computes dL/d {e.weight} (step {e.step}, sample {term.row})", 19, bold=True),
        _text(
            _LEFT,
            56,
            "Forward, left to right, each unit gets its value. Backward, right to left, each unit gets its delta = dL/d"
            " unit:",
            14,
        ),
        _text(
            _LEFT, 76, "along a path one multiplies; where paths meet one adds. At the weight stands the gradient.", 14
        ),
        f'<line x1="{width - 420}" y1="92" x2="{width - 250}" y2="92" stroke="{_PLUS}" stroke-width="4"/>',
        _text(width - 420, 84, "adds to the gradient", 12),
        (
            f'<line x1="{width - 210}" y1="92" x2="{width - 40}" y2="92" stroke="{_MINUS}" stroke-width="4"'
            ' stroke-dasharray="9 5"/>'
        ),
        _text(width - 210, 84, "takes from the gradient", 12),
    ]


def _arrows(e: Explanation, drawn: Graph, places: Places, middle: float, loss: tuple[float, float]) -> list[str]:
    term = e.chain
    assert term is not None
    total = term.delta * term.local_derivative
    flows = [total, *(arrow[3] for arrow in drawn.arrows), *(flow for _, flow in drawn.last)]
    most = max(map(abs, flows)) or 1.0
    label = f"\u2202z/\u2202w = {term.local_derivative:.4g}"
    lines = [_Arrow((_LEFT, middle), places[term.unit], label, total, 0.5)]
    for column in drawn.columns:
        for k, unit in enumerate(column.units):
            links = [arrow for arrow in drawn.arrows if arrow[0] == unit]
            at = 0.25 + 0.55 * k / (len(column.units) - 1) if len(links) > 1 < len(column.units) else 0.5
            for _, target, local, flow in links:
                text = f"{_symbol(e.trace, target)} = {local:.4g}"
                lines.append(_Arrow(places[unit], places[target], text, flow, at))
    for unit, flow in drawn.last:
        lines.append(_Arrow(places[unit], loss, f"\u2202L/\u2202y = {e.trace.delta(unit):.4g}", flow, 0.42))
    return [line.drawn(most) for line in lines] + [line.labelled() for line in lines]


@dataclass(frozen=True)
class _Arrow:
    """An arrow between two boxes, with its label at a share of its length."""

    source: tuple[float, float]
    target: tuple[float, float]
    label: str
    flow: float
    at: float

    @property
    def kind(self) -> str:
        return "none" if self.flow == 0 else "plus" if self.flow > 0 else "minus"

    @property
    def colour(self) -> str:
        return {"none": "#777", "plus": _PLUS, "minus": _MINUS}[self.kind]

    def _ends(self) -> tuple[float, float, float, float]:
        half = _HEIGHT / 2
        return self.source[0] + _WIDTH, self.source[1] + half, self.target[0] - 7, self.target[1] + half

    def drawn(self, most: float) -> str:
        """The line, as thick as what flows through it; dashed if it takes away, dotted if nothing flows."""
        x1, y1, x2, y2 = self._ends()
        dash = {"none": ' stroke-dasharray="2 5"', "plus": "", "minus": ' stroke-dasharray="9 5"'}[self.kind]
        return (
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{self.colour}" '
            f'stroke-width="{1.2 + 5 * abs(self.flow) / most:.1f}"{dash} marker-end="url(#{self.kind})"/>'
        )

    def labelled(self) -> str:
        """The label: above a level line, else on it."""
        x1, y1, x2, y2 = self._ends()
        x, y, half = x1 + (x2 - x1) * self.at, y1 + (y2 - y1) * self.at, 3.2 * len(self.label) + 3
        if abs(y2 - y1) < 1:
            y -= 13
        back = f'<rect x="{x - half:.1f}" y="{y - 8:.1f}" width="{2 * half:.1f}" height="16" rx="4" fill="white"/>'
        return back + _text(x, y + 4, self.label, 12, anchor="middle", fill=self.colour)


def _symbol(trace: Trace, target: Unit) -> str:
    """What a local derivative is called, by the layer that it leads into."""
    layer = trace.nodes[target.layer].layer
    if isinstance(layer, Dense):
        return "w"
    if isinstance(layer, Activation):
        return "f\u2032(z)"
    return "mask" if isinstance(layer, Dropout) else "\u2202y/\u2202x"


def _boxes(e: Explanation, drawn: Graph, places: Places, middle: float, loss: tuple[float, float]) -> list[str]:
    term = e.chain
    assert term is not None
    own = term.delta * term.local_derivative
    what = f"dL/dw = {own:.4g}" if len(e.samples) == 1 else f"{own:+.4g} of dL/dw"
    parts = [_box((_LEFT, middle), e.weight, f"w = {e.value_before:.6g}", what, _PLUS)]
    for column in drawn.columns:
        for unit in column.units:
            value = e.trace.value(unit)
            parts.append(
                _box(
                    places[unit],
                    str(unit),
                    "" if value is None else f"value {value:.5g}",
                    f"\u03b4 = {e.trace.delta(unit):.5g}",
                    _INK,
                )
            )
        if column.others:
            x, y = places[column.units[0]][0], places[column.units[-1]][1] + _STEP
            parts.append(_text(x + _WIDTH / 2, y + 18, f"and {column.others} more,", 12, anchor="middle"))
            parts.append(_text(x + _WIDTH / 2, y + 34, f"through them {column.rest:+.3g}", 12, anchor="middle"))
    parts.append(_box(loss, "loss L", f"{e.proof.loss_before:.6g}", "\u2202L/\u2202L = 1", _INK))
    return parts


def _box(place: tuple[float, float], name: str, second: str, third: str, colour: str) -> str:
    x, y = place
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="{_PALE}" stroke="{colour}"'
        ' stroke-width="1.6"/>'
        + _text(x + _WIDTH / 2, y + 17, name if len(name) <= 24 else f"..{name[-22:]}", 12, bold=True, anchor="middle")
        + _text(x + _WIDTH / 2, y + 34, second, 12, anchor="middle")
        + _text(x + _WIDTH / 2, y + 50, third, 12, anchor="middle")
    )


def _descent(e: Explanation, top: float, width: float) -> tuple[list[str], float]:
    """The lower part: from the gradient to the weight's next value."""
    parts = [_text(_LEFT + 14, top + 30, "Gradient descent uses it", 19, bold=True, fill=_DESCENT)]
    samples = len({term.row for term in e.samples})
    y = top + 54
    summed = (
        f"All {samples} samples of the batch together: dL/dw = {e.training_gradient:.6g}"
        if samples > 1
        else f"dL/dw = {e.training_gradient:.6g}"
    )
    for line in (summed, *(f"{stage.stage}:  {stage.formula}" for stage in e.stages)):
        for k, piece in enumerate(textwrap.wrap(line, int((width - 90) / 7.2))):
            parts.append(_text(_LEFT + 14 + 24 * bool(k), y, piece, 13))
            y += 19
    sign = "-" if e.update >= 0 else "+"
    result = f"{e.weight}:  {e.value_before:.9g} {sign} {abs(e.update):.6g} = {e.value_after:.9g}"
    parts.append(_text(_LEFT + 14, y + 10, result, 17, bold=True, fill=_DESCENT))
    height = y + 32 - top
    frame = (
        f'<rect x="{_LEFT}" y="{top}" width="{width - 2 * _LEFT}" height="{height}" rx="10" fill="#eef5f0"'
        f' stroke="{_DESCENT}" stroke-width="2"/>'
    )
    return [frame, *parts], top + height + 20


def _text(
    x: float, y: float, text: str, size: int = 13, *, bold: bool = False, anchor: str = "start", fill: str = _INK
) -> str:
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' fill="{fill}"{weight}>{escape(text)}</text>'
    )


def _document(width: float, height: float, parts: list[str]) -> str:
    marker = (
        '<marker id="{name}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="11" markerHeight="11"'
        ' markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )
    markers = "".join(
        marker.format(name=n, colour=c) for n, c in (("plus", _PLUS), ("minus", _MINUS), ("none", "#999"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img"'
        ' font-family="Helvetica, Arial, DejaVu Sans, sans-serif"><title>The chain rule of one'
        f' weight</title><defs>{markers}</defs><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
