"""The scheme: backpropagation and gradient descent for one weight, drawn as an SVG to print.

The forward pass runs from left to right, from the weight to the loss; every arrow is labelled with
its local derivative. The backward pass runs from right to left: derivatives multiply along a path
and add where paths meet. Gradient descent stands below. Colour is never the only sign: a positive
contribution has a solid line, a negative one a dashed line. A network too deep for one row
continues in the next.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from chainrule.explain.chain import ChainLink
from chainrule.explain.picture import Column, Picture, delta_worked, factor, letter, picture_of, short
from chainrule.explain.update import words
from chainrule.tape import Unit

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation

_INK, _PALE, _PLUS, _MINUS, _DESCENT = "#1b1b1b", "#f4f4f2", "#1d5fa6", "#b4530a", "#2b6e43"
_BOX, _HIGH, _ROW, _EDGE = 138, 58, 112, 24
_WIDEST = 1500
"""The maximum width of a row."""
_BESIDE, _FAN, _CROSSING = 84, 132, 236
"""Gaps between columns: for one arrow per unit, for arrows that fan, for arrows that cross."""

Place = tuple[float, float]


def draw(e: Explanation) -> str:
    """The scheme of an explanation, for the sample of its chain, as SVG."""
    if e.chain is None:
        message = "No sample of this batch uses this weight: its gradient is 0."
        return _document(620, 60, [_text(_EDGE, 34, message, 15)])
    picture = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    rows = _rows(picture)
    width = max(*(row.width for row in rows), 940)
    parts, top = _heading(e, e.chain, width), 134.0
    for row in rows:
        parts += _network_row(e, e.chain, picture, row, top)
        top += row.units * _ROW + 12
    backward = (
        "2  Backpropagation, right to left: every unit gets its derivative of the loss."
        " Along a path multiply, where paths meet add"
    )
    parts.append(_banner(width, top, backward, back=True))
    descent, bottom = _descent(e, top + 52, width)
    return _document(width, bottom, parts + descent)


@dataclass
class _Row:
    """Columns side by side.

    Attributes:
        columns: each column with its left edge
        begins: whether this is the first row; others repeat the last column before them
        loss: the left edge of the loss's box, in the last row
        width: the row's width
    """

    columns: list[tuple[float, Column]]
    begins: bool
    loss: float | None = None
    width: float = 0.0

    @property
    def units(self) -> float:
        """The height in units; the note on units left out takes half of one."""
        return max(_units(column) for _, column in self.columns)


def _units(column: Column) -> float:
    """The height of a column in units."""
    return len(column.units) + 0.5 * bool(column.others)


def _rows(picture: Picture) -> list[_Row]:
    """Break the columns, and the loss after them, into rows of limited width."""
    rows = [_Row([], True)]
    x, gap = float(_EDGE + _BOX + _FAN), 0.0  # the left edge of the next column, and the gap before it
    for column in (*picture.columns, None):  # None stands for the loss
        if x + _BOX + _EDGE > _WIDEST + (_BOX if column is None else 0):
            rows.append(_Row([(float(_EDGE), rows[-1].columns[-1][1])], False))
            x = _EDGE + _BOX + gap
        if column is None:
            rows[-1].loss = x
        else:
            rows[-1].columns.append((x, column))
            gap = 160.0 if column is picture.columns[-1] else _gap(picture, column)
            x += _BOX + gap
    for row in rows:
        row.width = max(row.columns[-1][0], row.loss or 0) + _BOX + _EDGE
    return rows


def _gap(picture: Picture, column: Column) -> float:
    """The width that the arrows from a column need."""
    arrows = [arrow for arrow in picture.arrows if arrow.source in column.units]
    sources, targets = len({arrow.source for arrow in arrows}), len({arrow.target for arrow in arrows})
    if len(arrows) == sources == targets:
        return _BESIDE
    return _FAN if 1 in (sources, targets) else _CROSSING


def _heading(e: Explanation, chain: ChainLink, width: float) -> list[str]:
    """The title, the legend, and the banner of the forward pass."""
    samples = len({term.row for term in e.samples})
    which = f"Step {e.step}, sample {chain.row}" + (f", one of {samples} in the batch" if samples > 1 else "")
    x = width - 420
    return [
        _text(_EDGE, 36, f"The chain rule, applied to the weight {e.weight}", 21, bold=True),
        _text(_EDGE, 58, which, 13),
        f'<line x1="{x}" y1="40" x2="{x + 170}" y2="40" stroke="{_PLUS}" stroke-width="4"/>',
        _text(x, 30, "path that adds to the gradient", 12),
        f'<line x1="{x + 210}" y1="40" x2="{x + 380}" y2="40" stroke="{_MINUS}" stroke-width="4"'
        ' stroke-dasharray="9 5"/>',
        _text(x + 210, 30, "path that takes from it", 12),
        _text(x, 58, "The thicker a line, the larger its share.", 12),
        _banner(width, 78, "1  Forward, left to right: every unit gets its value, up to the loss", back=False),
    ]


def _banner(width: float, y: float, label: str, back: bool) -> str:
    """A wide labelled arrow, to the left if `back`."""
    x1, x2, high = float(_EDGE), width - _EDGE, 30
    if back:
        outline = f"M{x1} {y + high / 2}L{x1 + 16} {y}H{x2}V{y + high}H{x1 + 16}Z"
    else:
        outline = f"M{x1} {y}H{x2 - 16}L{x2} {y + high / 2}L{x2 - 16} {y + high}H{x1}Z"
    fill, ink, x, anchor = ("#e3ecf6", _PLUS, width - 40, "end") if back else (_PALE, _INK, x1 + 14, "start")
    text = _text(x, y + 20, label, 14, bold=True, fill=ink, anchor=anchor)
    return f'<path d="{outline}" fill="{fill}" stroke="{ink}" stroke-width="1"/>{text}'


def _network_row(e: Explanation, chain: ChainLink, picture: Picture, row: _Row, top: float) -> list[str]:
    """One row of the network: its lines, then their labels, then the boxes."""
    places = _places(picture, row, top)
    flows = [chain.product, *(arrow.flow for arrow in picture.arrows), *(flow for _, flow in picture.ends)]
    most = max(map(abs, flows)) or 1.0
    lines, boxes = [], []
    if row.begins:
        weight = (float(_EDGE), places[chain.unit][1])
        label = f"\u2202z/\u2202w = {short(chain.local_derivative)}"
        lines.append(_Line(weight, places[chain.unit], label, chain.product, 0.5))
        boxes.append(_weight_box(e, chain, weight))
    for k, (x, column) in enumerate(row.columns):
        lines += _column_lines(picture, column, places)
        repeated = k == 0 and not row.begins
        boxes += [_unit_box(e, unit, places[unit], repeated) for unit in column.units]
        if column.others and not repeated:
            y = places[column.units[-1]][1] + _ROW
            boxes.append(_text(x + _BOX / 2, y + 6, f"and {column.others} more units,", 12, anchor="middle"))
            boxes.append(_text(x + _BOX / 2, y + 21, f"through them {column.rest:+.3g}", 12, anchor="middle"))
    if row.loss is not None:
        loss = (row.loss, top + (row.units - 1) / 2 * _ROW)
        for unit, flow in picture.ends:
            name = f"\u2202L/\u2202{letter(e.trace, unit)}"
            lines.append(_Line(places[unit], loss, f"{name} = {short(e.trace.tape.delta(unit))}", flow, 0.5))
        boxes.append(_box(loss, "loss L", f"{e.proof.loss_before:.6g}", "\u2202L/\u2202L = 1", _INK))
    return [line.drawn(most) for line in lines] + [line.labelled() for line in lines] + boxes


def _places(picture: Picture, row: _Row, top: float) -> dict[Unit, Place]:
    """Where each unit's box stands: level with its only source, or in a centred column."""
    places: dict[Unit, Place] = {}
    for x, column in row.columns:
        sources = [[a.source for a in picture.arrows if a.target == u and a.source in places] for u in column.units]
        only = [units[0] for units in sources if len(units) == 1]
        if len(set(only)) == len(column.units):
            places |= {unit: (x, places[source][1]) for unit, source in zip(column.units, only, strict=True)}
        else:
            above = (row.units - _units(column)) / 2
            places |= {unit: (x, top + (k + above) * _ROW) for k, unit in enumerate(column.units)}
    return places


def _column_lines(picture: Picture, column: Column, places: dict[Unit, Place]) -> list[_Line]:
    """The arrows from a column; where they cross, labels stand near the start."""
    lines = []
    for unit in column.units:
        arrows = [arrow for arrow in picture.arrows if arrow.source == unit and arrow.target in places]
        at = 0.21 if len(arrows) > 1 < len(column.units) else 0.5
        for arrow in arrows:
            label = f"{arrow.symbol} = {short(arrow.local)}"
            if places[arrow.target][0] > places[unit][0]:
                lines.append(_Line(places[unit], places[arrow.target], label, arrow.flow, at))
    return lines


@dataclass(frozen=True)
class _Line:
    """An arrow between two boxes.

    Attributes:
        source, target: the top left corners of the boxes
        label: its label, the local derivative
        flow: its contribution to the gradient, which sets colour, dash and width
        at: where the label stands, as a fraction of the length
    """

    source: Place
    target: Place
    label: str
    flow: float
    at: float

    @property
    def style(self) -> tuple[str, str, str]:
        """The name of the arrowhead, the colour, and the dash attribute."""
        if self.flow == 0:
            return "none", "#777", ' stroke-dasharray="2 5"'
        return ("plus", _PLUS, "") if self.flow > 0 else ("minus", _MINUS, ' stroke-dasharray="9 5"')

    @property
    def ends(self) -> tuple[float, float, float, float]:
        """x and y of both ends."""
        half = _HIGH / 2
        return self.source[0] + _BOX, self.source[1] + half, self.target[0] - 7, self.target[1] + half

    def drawn(self, most: float) -> str:
        """The line; its width is proportional to the flow, of which `most` is the largest."""
        (x1, y1, x2, y2), (head, colour, dash) = self.ends, self.style
        return (
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{1.2 + 5 * abs(self.flow) / most:.1f}"{dash} marker-end="url(#{head})"/>'
        )

    def labelled(self) -> str:
        """The label: above the middle of a horizontal line, on any other."""
        x1, y1, x2, y2 = self.ends
        x, y, half = x1 + (x2 - x1) * self.at, y1 + (y2 - y1) * self.at, 3.1 * len(self.label) + 3
        if abs(y2 - y1) < 1 and self.at == 0.5:
            y -= 13
        back = f'<rect x="{x - half:.1f}" y="{y - 8:.1f}" width="{2 * half:.1f}" height="16" rx="4" fill="white"/>'
        return back + _text(x, y + 4, self.label, 12, anchor="middle", fill=self.style[1])


def _weight_box(e: Explanation, chain: ChainLink, place: Place) -> str:
    whole = len(e.samples) == 1 and len(e.samples[0].uses) == 1 and not e.penalties
    gradient = f"dL/dw = {short(chain.product)}" if whole else f"{chain.product:+.4g} of dL/dw"
    worked = f"= {factor(chain.local_derivative)} \u00d7 {factor(chain.delta)}"
    return _box(place, e.weight, f"w = {e.value_before:.6g}", gradient, _PLUS, worked)


def _unit_box(e: Explanation, unit: Unit, place: Place, repeated: bool) -> str:
    trace, name = e.trace, letter(e.trace, unit)
    second = f"{name} = {short(trace.tape.value(unit))}"
    third = ("\u03b4 = " if name == "z" else "") + f"\u2202L/\u2202{name} = {short(trace.tape.delta(unit))}"
    below = "(the same as above)" if repeated else delta_worked(trace, unit)
    return _box(place, str(unit), second, third, _INK, below, repeated)


def _box(place: Place, name: str, second: str, third: str, colour: str, below: str = "", dashed: bool = False) -> str:
    x, y = place
    dash = ' stroke-dasharray="3 3"' if dashed else ""
    lines = [
        _text(x + _BOX / 2, y + 17, name, 12, bold=True, anchor="middle"),
        _text(x + _BOX / 2, y + 34, second, 12, anchor="middle"),
        _text(x + _BOX / 2, y + 50, third, 12, anchor="middle", fill=_PLUS),
        _text(x + _BOX / 2, y + _HIGH + 14, below, 11, anchor="middle"),
    ]
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_BOX}" height="{_HIGH}" rx="8" fill="{_PALE}" stroke="{colour}"'
        f' stroke-width="1.5"{dash}/>{"".join(lines)}'
    )


def _descent(e: Explanation, top: float, width: float) -> tuple[list[str], float]:
    """Gradient descent: the gradient, the output of each stage, the weight before and after; and
    the bottom edge.
    """
    samples = len({term.row for term in e.samples})
    title = "3  Gradient descent uses the gradient: a step against it"
    begin = "dL/dw" if samples == 1 else f"dL/dw, all {samples} samples"
    stages = [("", begin, short(e.training_gradient))]
    for stage in e.stages:
        stages.append(("\u2192", words(stage.stage), "wait" if stage.output is None else short(stage.output)))
    weight = [  # nine significant figures, as published examples print
        ("", "weight before", short(e.value_before, 9)),
        ("\u2212", "the step", short(e.update, 9)),
        ("=", "weight after", short(e.value_after, 9)),
    ]
    upper, y = _boxes_in_line(stages, top + 46, width)
    lower, y = _boxes_in_line(weight, y, width)
    parts = [_text(_EDGE + 14, top + 28, title, 16, bold=True, fill=_DESCENT), *upper, *lower]
    y += 14
    for stage in e.stages:
        for k, line in enumerate(textwrap.wrap(f"{words(stage.stage)}:  {stage.formula}", int((width - 90) / 6.6))):
            parts.append(_text(_EDGE + 14 + 24 * bool(k), y, line, 13))
            y += 19
    frame = (
        f'<rect x="{_EDGE}" y="{top}" width="{width - 2 * _EDGE}" height="{y - top}" rx="10" fill="#eef5f0"'
        f' stroke="{_DESCENT}" stroke-width="2"/>'
    )
    return [frame, *parts], y + 20


def _boxes_in_line(boxes: list[tuple[str, str, str]], y: float, width: float) -> tuple[list[str], float]:
    """Boxes of a sign, a name and a number, wrapped to the width; and the bottom edge."""
    parts, x = [], _EDGE + 14.0
    for sign, name, number in boxes:
        wide = max(6.8 * max(len(name), len(number)) + 20, 84)
        if x + wide + 28 > width - _EDGE - 14:
            x, y = _EDGE + 14.0, y + 58
        if sign:
            parts.append(_text(x + 13, y + 29, sign, 18, anchor="middle", fill=_DESCENT, bold=True))
            x += 28
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="46" rx="8" fill="white" stroke="{_DESCENT}"/>'
        )
        parts.append(_text(x + wide / 2, y + 19, name, 12, anchor="middle"))
        parts.append(_text(x + wide / 2, y + 37, number, 13, bold=True, anchor="middle"))
        x += wide + 2
    return parts, y + 58


def _text(
    x: float, y: float, text: str, size: int = 13, *, bold: bool = False, anchor: str = "start", fill: str = _INK
) -> str:
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' fill="{fill}"{weight}>{escape(text)}</text>'
    )


def _document(width: float, height: float, parts: list[str]) -> str:
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="11" markerHeight="11"'
        f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for name, colour in (("plus", _PLUS), ("minus", _MINUS), ("none", "#999"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img"'
        ' font-family="Helvetica, Arial, DejaVu Sans, sans-serif"><title>The chain rule of one'
        f' weight</title><defs>{markers}</defs><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
