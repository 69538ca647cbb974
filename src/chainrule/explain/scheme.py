"""The scheme: backpropagation and gradient descent for one weight, drawn for a given width.

At the top stands the chain rule of the weight, factor by factor. Below it the same factors label
the arrows of the network: the forward pass runs from left to right, from the weight to the loss,
and backpropagation from right to left. A box has the symbol that stands for it in the formula.
Gradient descent stands at the bottom. Colour is never the only sign: a positive contribution has a
solid line, a negative one a dashed line. A network too long for one row continues in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chainrule.explain import head, patch, stations, svg, unrolled
from chainrule.explain.arrows import Arrow, Key, Spot
from chainrule.explain.cards import (
    Card,
    loss_card,
    term_of,
    unit_card,
    use_named,
    weight_card,
    weight_symbol,
)
from chainrule.explain.chain import ChainLink
from chainrule.explain.flow import chain_rule, descent, use_rule
from chainrule.explain.head import Head, head_of
from chainrule.explain.picture import MOST, Column, Picture, picture_of, short, symbols
from chainrule.explain.time_steps import scan_of
from chainrule.explain.unrolled import Unrolled, unrolled_of
from chainrule.layers.graph import Graph
from chainrule.tape import Unit

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation

WIDTH = 830
"""The width of a picture, unless another is given: that of a page of text."""
NARROWEST = 340
"""The least width: two boxes and an arrow between them."""
FITTING = {"narrow": 356, "medium": 776, "wide": 1216}
"""The widths that `fitting` draws for: a phone, a page of text, and a screen."""
EDGE = 12
_CARD, _GAP = 140, 68
"""The least width of a box, and of the gap between two."""
_SLOT = 128
"""The least height for a box, which leaves room for the labels of arrows that fan out."""
_LANE = 20
"""The height of the lane below a row for an arrow that passes over boxes."""


def draw(e: Explanation, width: float = WIDTH) -> str:
    """The scheme of an explanation, for the sample of its chain, as SVG.

    Args:
        e: the explanation
        width: the width of the picture in CSS pixels, at least NARROWEST
    """
    width = max(width, NARROWEST)
    title = f"The chain rule, applied to the weight {e.weight}"
    if e.chain is None:
        lines = svg.wrapped("No sample of this batch uses this weight: its gradient is 0.", width - 2 * EDGE, 15)
        parts = [svg.text(EDGE, 34 + 22 * k, line, 15) for k, line in enumerate(lines)]
        return svg.document(title, width, 44 + 22 * len(lines), parts)
    sequence = _sequence(e, e.chain, width)
    parts, y = _heading(e, e.chain, title, width, not sequence)
    between = sequence or _units(e, e.chain, width)
    backpropagation = _banner(
        "2. Backpropagation, right to left: every unit gets its derivative of the loss. Multiply along a path,"
        " add where paths meet.", width, "plus", "back",
    )  # fmt: skip
    for content, height in (*between, backpropagation, descent(e, e.chain, width - 2 * EDGE)):
        parts.append(f'<g transform="translate(0 {y:.1f})">{content}</g>')
        y += height + 14
    return svg.document(title, width, y, parts)


Section = tuple[str, float]
"""A part of the scheme, and its height."""
FORWARD = "1. Forward, left to right: every unit gets its value, up to the loss."


def _units(e: Explanation, chain: ChainLink, width: float, most: int = MOST) -> list[Section]:
    """The units between the weight and the loss."""
    picture = picture_of(e.trace, chain.unit, chain.local_derivative, most)
    names = symbols(e.trace, picture)
    return [
        chain_rule(e, chain, picture, names, width - 2 * EDGE),
        _banner(FORWARD, width, "ink", "card"),
        *_convolution(e, chain, names, width),
        _network(e, chain, picture, names, width),
    ]


def _sequence(e: Explanation, chain: ChainLink, width: float) -> list[Section]:
    """Of a network of attention or recurrence, its layers, and one head or one cell over time;
    empty for other networks.
    """
    if not is_sequential(e.trace.network.graph):
        return []
    room, is_recurrent = width - 2 * EDGE, scan_of(e.trace.network.graph, owner_of(e)) is not None
    shown: Head | Unrolled | None = unrolled_of(e) if is_recurrent else head_of(e) or unrolled_of(e)
    row = stations.drawn(e, None if shown is None else shown.call, room, EDGE)
    if shown is None:  # the weight comes after all of them
        rule, banner, *units = _units(e, chain, width, 1)
        return [rule, banner, row, *units]
    figure = head.drawn(e, shown, room, EDGE) if isinstance(shown, Head) else unrolled.drawn(e, shown, room, EDGE)
    return [use_rule(e, chain, room), _banner(FORWARD, width, "ink", "card"), row, figure]


def owner_of(e: Explanation) -> str:
    """The layer that the weight belongs to."""
    return e.trace.network.parameters.entry_at(e.place).owner


def is_sequential(graph: Graph) -> bool:
    """Whether a network has attention or time steps."""
    mixes = any(call.layer.mixing(graph.nodes[call.start : call.stop]) is not None for call in graph.calls)
    return mixes or any(node.time is not None for node in graph.nodes)


def fitting(e: Explanation) -> str:
    """The scheme for each width in FITTING, as HTML; with FITTING_STYLE, the one that fits its
    container is shown.
    """
    return "".join(f'<div class="fits-{name}">{draw(e, width)}</div>' for name, width in FITTING.items())


FITTING_STYLE = f"""
.fitting {{ container-type: inline-size; }}
.fitting svg {{ display: block; width: 100%; height: auto; margin: 0 auto; }}
.fits-narrow {{ max-width: 30rem; margin: 0 auto; }}
.fits-medium, .fits-wide {{ display: none; }}
@container (min-width: {FITTING["medium"]}px) {{
  .fits-medium {{ display: block; }}
  .fits-narrow {{ display: none; }}
}}
@container (min-width: {FITTING["wide"]}px) {{
  .fits-wide {{ display: block; }}
  .fits-medium {{ display: none; }}
}}
@media print {{
  .fits-medium {{ display: block; }}
  .fits-narrow, .fits-wide {{ display: none; }}
}}
"""
"""Rules for an element of the class "fitting" that contains what `fitting` returns."""


def _heading(e: Explanation, chain: ChainLink, title: str, width: float, legend: bool) -> tuple[list[str], float]:
    """The title, which sample is shown, and, if wanted, the legend of paths; and their bottom
    edge.
    """
    samples, uses = len({term.row for term in e.samples}), term_of(e, chain).count
    which = f"Step {e.step}, {use_named(e, chain)}"
    which += f", one of the {uses:,} uses of the weight for this sample" if uses > 1 else ""
    which += f"{';' if uses > 1 else ','} one of {samples} in the batch: the loss is their mean" if samples > 1 else ""
    beside = legend and width >= 700  # the legend stands to the right of the title
    parts, y, room = [], 14.0, width - 2 * EDGE - 270 * beside
    for line in svg.wrapped(title, room, 19, bold=True):
        y += 22
        parts.append(svg.text(EDGE, y, line, 19, bold=True))
    y += 3
    for line in svg.wrapped(which, room, 13):
        y += 17
        parts.append(svg.text(EDGE, y, line, 13))
    if not legend:
        return parts, y + 16
    x, low = (width - EDGE - 260, 10.0) if beside else (EDGE, y + 6)
    for colour, dash, meaning in (
        ("plus", "", "a path that adds to the gradient"),
        ("minus", ' stroke-dasharray="9 5"', "a path that takes from it"),
        ("", "", "The thicker a line, the larger its share."),
    ):
        low += 17
        if colour:
            stroke = f'class="s-{colour}" stroke-width="4"{dash}'
            parts.append(f'<line x1="{x}" y1="{low - 4}" x2="{x + 46}" y2="{low - 4}" {stroke}/>')
        parts.append(svg.text(x + 54 * bool(colour), low, meaning, 12))
    return parts, max(y, low) + 16


def _convolution(e: Explanation, chain: ChainLink, names: dict[Unit, str], width: float) -> list[tuple[str, float]]:
    """The weight's convolution, as patch times kernel; nothing for other weights."""
    found = patch.patch_of(e.trace, chain.unit, e.weight_index)
    return [] if found is None else [patch.drawn(found, names[chain.unit], width - 2 * EDGE, EDGE)]


def _banner(label: str, width: float, ink: str, fill: str) -> tuple[str, float]:
    """A wide labelled arrow, to the left for backpropagation."""
    lines = svg.wrapped(label, width - 2 * EDGE - 40, 13, bold=True)
    x1, x2, high = EDGE, width - EDGE, 18 * len(lines) + 12
    if fill == "back":
        outline = f"M{x1} {high / 2}L{x1 + 14} 0H{x2}V{high}H{x1 + 14}Z"
    else:
        outline = f"M{x1} 0H{x2 - 14}L{x2} {high / 2}L{x2 - 14} {high}H{x1}Z"
    texts = [svg.text(x1 + 22, 19 + 18 * k, line, 13, bold=True, colour=ink) for k, line in enumerate(lines)]
    return f'<path d="{outline}" class="f-{fill} s-{ink}"/>{"".join(texts)}', high


@dataclass
class _Row:
    """Some of the stops between the weight and the loss, side by side.

    Attributes:
        first, last: the numbers of its stops; every row but the first starts with the last stop of
            the row before
        card, gap: the width of its boxes, and of the gaps between them
    """

    first: int
    last: int
    card: float
    gap: float

    def x(self, stop: int) -> float:
        """The left edge of a stop's boxes."""
        return EDGE + (stop - self.first) * (self.card + self.gap)


def _rows(stops: int, width: float) -> list[_Row]:
    """Break the stops into rows of about the same length."""
    room = width - 2 * EDGE
    most = max(int((room + _GAP) / (_CARD + _GAP)), 2)
    count = -(-(stops - 1) // (most - 1))
    each = -(-(stops - 1) // count) + 1
    gap = min(max((room - each * _CARD) / (each - 1) * 0.62, _GAP), 110)
    card = min((room - (each - 1) * gap) / each, 200)
    firsts = range(0, stops - 1, each - 1)
    return [_Row(first, min(first + each - 1, stops - 1), card, gap) for first in firsts]


@dataclass
class _Drawing:
    """The network: what stands at each stop, and the arrows between the boxes.

    Attributes:
        stops: the boxes at each stop between the weight and the loss
        cards: what each box says
        arrows: the arrows between them
        notes: what is left out at a stop
        numbers: the stop of each box
    """

    stops: list[list[Key]] = field(default_factory=list)
    cards: dict[Key, Card] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    notes: dict[int, str] = field(default_factory=dict)
    numbers: dict[Key, int] = field(default_factory=dict)

    def add(self, cards: dict[Key, Card], note: str = "") -> None:
        """Add a stop with these boxes."""
        if note:
            self.notes[len(self.stops)] = note
        self.numbers |= dict.fromkeys(cards, len(self.stops))
        self.stops.append(list(cards))
        self.cards |= cards

    def between(self, stop: int) -> list[Arrow]:
        """The arrows from this stop to the next."""
        numbers = self.numbers
        return [a for a in self.arrows if numbers[a.source] == stop and numbers[a.target] == stop + 1]

    def passing(self, row: _Row) -> list[tuple[Arrow, bool, bool]]:
        """The arrows over boxes that leave or enter a box of this row, and which of the two."""
        found = []
        for arrow in self.arrows:
            source, target = self.numbers[arrow.source], self.numbers[arrow.target]
            leaves, enters = row.first <= source < row.last, row.first < target <= row.last
            if target > source + 1 and (leaves or enters):
                found.append((arrow, leaves, enters))
        return found


def _drawing(e: Explanation, chain: ChainLink, picture: Picture, names: dict[Unit, str]) -> _Drawing:
    """What there is to draw between the weight and the loss."""
    drawing, weight = _Drawing(), weight_symbol(e)
    drawing.add({"weight": weight_card(e, chain)})
    first = names[chain.unit]
    drawing.arrows.append(
        Arrow("weight", chain.unit, f"\u2202{first}", f"\u2202{weight}", chain.local_derivative, chain.product)
    )
    for columns in _stops(picture):
        notes = [
            f"and {column.others} more units, through them {short(column.rest)}" for column in columns if column.others
        ]
        units = [unit for column in columns for unit in column.units]
        drawing.add({unit: unit_card(e, unit, names) for unit in units}, "; ".join(notes))
    for a in picture.arrows:
        above, below = f"\u2202{names[a.target]}", f"\u2202{names[a.source]}"
        drawing.arrows.append(Arrow(a.source, a.target, above, below, a.local, a.flow))
    for unit, flow in picture.ends:
        drawing.arrows.append(Arrow(unit, "loss", "\u2202L", f"\u2202{names[unit]}", e.trace.tape.delta(unit), flow))
    drawing.add({"loss": loss_card(e)})
    return drawing


def _stops(picture: Picture) -> list[list[Column]]:
    """The columns, those of parallel branches together: each as far from the weight as the longest
    way to it.
    """
    depths: dict[Unit, int] = {}
    stops: dict[int, list[Column]] = {}
    for column in picture.columns:
        before = [depths[arrow.source] for arrow in picture.arrows if arrow.target in column.units]
        depth = 1 + max(before, default=max(stops, default=-1))
        depths |= dict.fromkeys(column.units, depth)
        stops.setdefault(depth, []).append(column)
    return [stops[depth] for depth in sorted(stops)]


def _network(
    e: Explanation, chain: ChainLink, picture: Picture, names: dict[Unit, str], width: float
) -> tuple[str, float]:
    """The network, row by row; and its height."""
    drawing = _drawing(e, chain, picture, names)
    most = max(abs(arrow.flow) for arrow in drawing.arrows) or 1.0
    parts, y = [], 0.0
    for row in _rows(len(drawing.stops), width):
        content, height = _network_row(drawing, row, y, width, most)
        parts += content
        y += height + 10
    return "".join(parts), y


def _network_row(drawing: _Drawing, row: _Row, top: float, width: float, most: float) -> tuple[list[str], float]:
    """One row: its arrows, then their labels, then the boxes."""
    stops = range(row.first, row.last + 1)
    shown = {key: drawing.cards[key] for k in stops for key in drawing.stops[k]}
    if row.first:
        shown |= {key: drawing.cards[key].repeated() for key in drawing.stops[row.first]}
    slot = max(max(card.height(row.card) for card in shown.values()) + 16, _SLOT)
    high = max(len(drawing.stops[k]) for k in stops) * slot
    spots = {
        key: Spot(row.x(k), top + high / 2 + (n - (len(drawing.stops[k]) - 1) / 2) * slot, row.card)
        for k in stops for n, key in enumerate(drawing.stops[k])
    }  # fmt: skip
    boxes = [card.drawn(spots[key].x, spots[key].y, row.card) for key, card in shown.items()]
    high += _notes(drawing, row, shown, spots, boxes)
    lines, labels = [], []
    for k in stops[:-1]:
        arrows = drawing.between(k)
        sources, targets = {a.source for a in arrows}, {a.target for a in arrows}
        # Where arrows cross there is no room for labels; the boxes list the products.
        labelled = len(arrows) == len(sources) == len(targets) or 1 in (len(sources), len(targets))
        for arrow in arrows:
            lines.append(arrow.straight(spots[arrow.source], spots[arrow.target], most))
            labels += [arrow.label(spots[arrow.source], spots[arrow.target])] * labelled
    for n, (arrow, leaves, enters) in enumerate(drawing.passing(row)):
        source, target = spots[arrow.source] if leaves else None, spots[arrow.target] if enters else None
        line, label = arrow.around(source, target, top + high + 10, (EDGE, width - EDGE), n, most)
        lines.append(line)
        labels.append(label)
        high += _LANE
    return lines + labels + boxes, high


def _notes(drawing: _Drawing, row: _Row, shown: dict[Key, Card], spots: dict[Key, Spot], boxes: list[str]) -> float:
    """Write below the last box of a stop what is left out there; returns the height it takes."""
    most = 0
    for k in range(row.first + bool(row.first), row.last + 1):
        if k in drawing.notes:
            last = drawing.stops[k][-1]
            spot, high = spots[last], shown[last].height(row.card)
            lines = svg.wrapped(drawing.notes[k], row.card)
            most = max(most, len(lines))
            boxes += [svg.text(spot.x, spot.y + high / 2 + 15 + svg.LINE * n, line) for n, line in enumerate(lines)]
    return most * svg.LINE + 6.0 * bool(most)
