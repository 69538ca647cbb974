"""The scheme: a picture of backpropagation and gradient descent for one weight, as SVG that may be printed and pinned
to a wall.

Left to right the network runs forward from the weight to the loss; every arrow carries its local derivative. Along a
path one multiplies, where paths meet one adds, and so each unit gets its derivative from right to left. Under it,
apart, gradient descent. What is said in colour is said in shape too: a positive contribution has a full line, a
negative one a dashed one. A network too deep for one row goes on in the next.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape

from chainrule.explain.explanation import Explanation
from chainrule.explain.picture import Column, Picture, delta_worked, factor, letter, picture_of, short
from chainrule.explain.update import words
from chainrule.tape import Unit

_INK, _PALE, _PLUS, _MINUS, _DESCENT = "#1b1b1b", "#f4f4f2", "#1d5fa6", "#b4530a", "#2b6e43"
_BOX, _HIGH, _ROW, _EDGE = 138, 58, 112, 24
_WIDEST = 1500
"""Wider than this no row of the picture gets."""
_BESIDE, _FAN, _CROSSING = 84, 132, 236
"""Gaps between columns: one arrow a unit, several arrows from one unit, several from each of several."""

Place = tuple[float, float]


def draw(e: Explanation) -> str:
    """The scheme of an explanation, for the sample that its chain is about."""
    if e.chain is None:
        words = "No sample of this batch uses this weight: its gradient is 0."
        return _document(620, 60, [_text(_EDGE, 34, words, 15)])
    drawn = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    rows = _rows(drawn)
    width = max(max(row.width for row in rows), 940)
    parts, top = _heading(e, width)
    for row in rows:
        made, top = _network_row(e, drawn, row, top)
        parts += made
    made, top = _banner_back(width, top)
    parts += made
    made, top = _descent(e, top, width)
    return _document(width, top, parts + made)


@dataclass
class _Row:
    """Columns that stand side by side, each with its left edge; the first may be the last of the row before."""

    columns: list[tuple[float, Column]]
    begins: bool
    loss: float | None = None
    width: float = 0.0

    @property
    def units(self) -> float:
        """How many units are above each other, a line about those left out counting half."""
        return max(len(column.units) + 0.5 * bool(column.others) for _, column in self.columns)


def _rows(drawn: Picture) -> list[_Row]:
    """The columns in rows that are not too wide."""
    rows = [_Row([], True)]
    x = float(_EDGE + _BOX + _FAN)
    for k, column in enumerate(drawn.columns):
        if x + _BOX + _EDGE > _WIDEST:
            before = rows[-1].columns[-1][1]
            rows.append(_Row([(float(_EDGE), before)], False))
            x = _EDGE + _BOX + _gap(drawn, before)
        rows[-1].columns.append((x, column))
        x += _BOX + (_gap(drawn, column) if k + 1 < len(drawn.columns) else 160)
    if x + _BOX + _EDGE > _WIDEST + _BOX:
        before = rows[-1].columns[-1][1]
        rows.append(_Row([(float(_EDGE), before)], False))
        x = _EDGE + _BOX + 160.0
    rows[-1].loss = x
    for row in rows:
        row.width = max(row.columns[-1][0], row.loss or 0) + _BOX + _EDGE
    return rows


def _gap(drawn: Picture, column: Column) -> float:
    """How much room the arrows behind a column need."""
    ways = [arrow for arrow in drawn.arrows if arrow.source in column.units]
    sources, targets = len({arrow.source for arrow in ways}), len({arrow.target for arrow in ways})
    if len(ways) == sources == targets:
        return _BESIDE
    return _FAN if 1 in (sources, targets) else _CROSSING


def _heading(e: Explanation, width: float) -> tuple[list[str], float]:
    """The title, the legend, and the banner of the forward pass."""
    term = e.chain
    assert term is not None
    samples = len({t.row for t in e.samples})
    which = f"Step {e.step}, sample {term.row}" + (f", one of {samples} in the batch" if samples > 1 else "")
    x = width - 420
    parts = [
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
    return parts, 134


def _banner(width: float, y: float, words: str, back: bool) -> str:
    """A long arrow with words on it."""
    x1, x2, high = float(_EDGE), width - _EDGE, 30
    if back:
        outline = f"M{x1} {y + high / 2}L{x1 + 16} {y}H{x2}V{y + high}H{x1 + 16}Z"
    else:
        outline = f"M{x1} {y}H{x2 - 16}L{x2} {y + high / 2}L{x2 - 16} {y + high}H{x1}Z"
    fill, ink = ("#e3ecf6", _PLUS) if back else (_PALE, _INK)
    label = _text(
        width - 40 if back else x1 + 14, y + 20, words, 14, bold=True, fill=ink, anchor="end" if back else "start"
    )
    return f'<path d="{outline}" fill="{fill}" stroke="{ink}" stroke-width="1"/>{label}'


def _banner_back(width: float, top: float) -> tuple[list[str], float]:
    words = (
        "2  Backpropagation, right to left: every unit gets its derivative of the loss."
        " Along a path multiply, where paths meet add"
    )
    return [_banner(width, top, words, back=True)], top + 52


def _network_row(e: Explanation, drawn: Picture, row: _Row, top: float) -> tuple[list[str], float]:
    """One row of the network, and where the next thing may begin."""
    term = e.chain
    assert term is not None
    high = max(row.units, 1.0)
    places = _places(drawn, row, top, high)
    middle = top + (high - 1) / 2 * _ROW
    own = term.delta * term.local_derivative
    most = max([abs(own), *(abs(arrow.flow) for arrow in drawn.arrows), *(abs(flow) for _, flow in drawn.ends)]) or 1.0
    lines, boxes = [], []
    if row.begins:
        start = (float(_EDGE), places[term.unit][1])
        lines.append(_Line(start, places[term.unit], f"\u2202z/\u2202w = {short(term.local_derivative)}", own, 0.5))
        boxes.append(_weight_box(e, start, own))
    for k, (x, column) in enumerate(row.columns):
        lines += _column_lines(drawn, column, places)
        repeated = k == 0 and not row.begins
        boxes += [_unit_box(e, unit, places[unit], repeated) for unit in column.units]
        if column.others and not repeated:
            y = places[column.units[-1]][1] + _ROW
            boxes.append(_text(x + _BOX / 2, y + 6, f"and {column.others} more units,", 12, anchor="middle"))
            boxes.append(_text(x + _BOX / 2, y + 21, f"through them {column.rest:+.3g}", 12, anchor="middle"))
    if row.loss is not None:
        loss = (row.loss, middle)
        for unit, flow in drawn.ends:
            name = f"\u2202L/\u2202{letter(e.trace, unit)}"
            lines.append(_Line(places[unit], loss, f"{name} = {short(e.trace.tape.delta(unit))}", flow, 0.5))
        boxes.append(_box(loss, "loss L", f"{e.proof.loss_before:.6g}", "\u2202L/\u2202L = 1", _INK))
    parts = [line.drawn(most) for line in lines] + [line.labelled() for line in lines] + boxes
    return parts, top + high * _ROW + 12


def _places(drawn: Picture, row: _Row, top: float, high: float) -> dict[Unit, Place]:
    """Where each unit's box stands: a column in the middle of the row, or each unit beside the one that feeds it."""
    places: dict[Unit, Place] = {}
    for x, column in row.columns:
        feeding = [[a.source for a in drawn.arrows if a.target == unit and a.source in places] for unit in column.units]
        first = [sources[0] for sources in feeding if len(sources) == 1]
        if len(set(first)) == len(column.units):
            places |= {unit: (x, places[source][1]) for unit, source in zip(column.units, first, strict=True)}
            continue
        above = (high - len(column.units) - 0.5 * bool(column.others)) / 2
        places |= {unit: (x, top + (k + above) * _ROW) for k, unit in enumerate(column.units)}
    return places


def _column_lines(drawn: Picture, column: Column, places: dict[Unit, Place]) -> list[_Line]:
    """The arrows behind a column. Where many cross, all labels stand near the arrows' beginnings, where they are still
    apart.
    """
    lines = []
    for unit in column.units:
        arrows = [arrow for arrow in drawn.arrows if arrow.source == unit and arrow.target in places]
        at = 0.21 if len(arrows) > 1 < len(column.units) else 0.5
        for arrow in arrows:
            label = f"{arrow.symbol} = {short(arrow.local)}"
            if places[arrow.target][0] > places[unit][0]:
                lines.append(_Line(places[unit], places[arrow.target], label, arrow.flow, at))
    return lines


@dataclass(frozen=True)
class _Line:
    """An arrow between two boxes, with its label at a share of its length."""

    source: Place
    target: Place
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
        half = _HIGH / 2
        return self.source[0] + _BOX, self.source[1] + half, self.target[0] - 7, self.target[1] + half

    def drawn(self, most: float) -> str:
        """The line, as thick as what flows through it; dashed if it takes away, dotted if nothing flows."""
        x1, y1, x2, y2 = self._ends()
        dash = {"none": ' stroke-dasharray="2 5"', "plus": "", "minus": ' stroke-dasharray="9 5"'}[self.kind]
        return (
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{self.colour}" '
            f'stroke-width="{1.2 + 5 * abs(self.flow) / most:.1f}"{dash} marker-end="url(#{self.kind})"/>'
        )

    def labelled(self) -> str:
        """The label: above a level line that it fits, else on the line."""
        x1, y1, x2, y2 = self._ends()
        x, y, half = x1 + (x2 - x1) * self.at, y1 + (y2 - y1) * self.at, 3.1 * len(self.label) + 3
        if abs(y2 - y1) < 1 and self.at == 0.5:
            y -= 13
        back = f'<rect x="{x - half:.1f}" y="{y - 8:.1f}" width="{2 * half:.1f}" height="16" rx="4" fill="white"/>'
        return back + _text(x, y + 4, self.label, 12, anchor="middle", fill=self.colour)


def _weight_box(e: Explanation, place: Place, own: float) -> str:
    term = e.chain
    assert term is not None
    whole = len(e.samples) == 1 and len(e.samples[0].uses) == 1 and not e.penalties
    what = f"dL/dw = {short(own)}" if whole else f"{own:+.4g} of dL/dw"
    return _box(
        place, e.weight, f"w = {e.value_before:.6g}", what, _PLUS,
        f"= {factor(term.local_derivative)} \u00d7 {factor(term.delta)}",
    )  # fmt: skip


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
    """Gradient descent: the gradient, what each stage makes of it, and the weight before and after."""
    samples = len({term.row for term in e.samples})
    parts = [
        _text(
            _EDGE + 14,
            top + 28,
            "3  Gradient descent uses the gradient: a step against it",
            16,
            bold=True,
            fill=_DESCENT,
        )
    ]
    begin = "dL/dw" if samples == 1 else f"dL/dw, all {samples} samples"
    chain = [(begin, short(e.training_gradient))]
    chain += [(words(stage.stage), "wait" if stage.output is None else short(stage.output)) for stage in e.stages]
    weight = [
        ("weight before", _exact(e.value_before)),
        ("the step", _exact(e.update)),
        ("weight after", _exact(e.value_after)),
    ]
    made, y = _boxes_in_line([("\u2192", *box) for box in chain], top + 46, width)
    parts += made
    made, y = _boxes_in_line([(sign, *box) for sign, box in zip(("", "\u2212", "="), weight, strict=True)], y, width)
    parts += made
    y += 14
    for line in (f"{words(stage.stage)}:  {stage.formula}" for stage in e.stages):
        for k, piece in enumerate(textwrap.wrap(line, int((width - 90) / 6.6))):
            parts.append(_text(_EDGE + 14 + 24 * bool(k), y, piece, 13))
            y += 19
    height = y - top
    frame = (
        f'<rect x="{_EDGE}" y="{top}" width="{width - 2 * _EDGE}" height="{height}" rx="10" fill="#eef5f0"'
        f' stroke="{_DESCENT}" stroke-width="2"/>'
    )
    return [frame, *parts], top + height + 20


def _boxes_in_line(boxes: list[tuple[str, str, str]], y: float, width: float) -> tuple[list[str], float]:
    """Boxes of a name and a number, each with the sign that stands before it; the first has none."""
    parts, x = [], _EDGE + 14.0
    for k, (sign, name, number) in enumerate(boxes):
        wide = max(6.8 * max(len(name), len(number)) + 20, 84)
        if x + wide + 28 > width - _EDGE - 14:
            x, y = _EDGE + 14.0, y + 58
        if k:
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


def _exact(number: float) -> str:
    """Nine significant figures: what published examples give."""
    return f"{number:.9g}".replace("-", "\u2212")


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
