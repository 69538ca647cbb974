"""The way from a weight to the loss through a network of attention or recurrence, drawn as one row
of its layers: how much of the gradient comes through each, and how much around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainrule.explain import svg
from chainrule.layers.graph import CompositeCall, Graph

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation

_BOX, _GAP = 74, 12
"""The least width of a box, and the gap between two."""
_HIGH, _ARC = 56, 22
"""The height of a box, and of the way around others."""


@dataclass(frozen=True)
class Station:
    """A layer, or a composite with all that is in it.

    Attributes:
        name: its name
        start, stop: the numbers of its nodes are those from `start` up to `stop`
        output: the number of the value that it returns
        share: how much of the gradient of the chain's sample comes through that value; None where
            the weight comes later
        follows: whether it takes the output of the station before
        earlier: the number of an earlier station whose output it takes; None if there is none
    """

    name: str
    start: int
    stop: int
    output: int
    share: float | None
    follows: bool
    earlier: int | None


def stations(e: Explanation, shown: CompositeCall | None) -> list[Station]:
    """The layers of a network in order. Of composites those around the call that is drawn, and
    around the weight, are opened; others are one station each.
    """
    assert e.chain is not None
    graph, sample = e.trace.network.graph, e.chain.unit.sample
    first = len(graph.input_shapes)
    whole = next(term.product for term in e.samples if term.row == e.chain.row)
    owner = graph.numbers[e.trace.network.parameters.entry_at(e.place).owner]
    found: list[Station] = []
    station_of: dict[int, int] = {}  # by the number of a value
    for name, start, stop, output in _spans(graph, shown, owner - first):
        nodes = graph.nodes[start:stop]
        read = {station_of[k] for node in nodes for k in node.inputs if k in station_of}
        if name is None:  # a node that only moves numbers is part of the station before it
            if read:
                station_of[output] = max(read)
            continue
        share = float(e.slopes.through(output)[sample]) / whole if whole and stop + first > owner else None
        before = len(found) - 1
        found.append(Station(name, start, stop, output, share, before in read, max(read - {before}, default=None)))
        station_of[output] = before + 1
    return found


def _spans(graph: Graph, shown: CompositeCall | None, owner: int) -> Iterator[tuple[str | None, int, int, int]]:
    """The name of each station, which nodes it has, and the number of its output; without a name,
    nodes between stations.
    """
    k, first = 0, len(graph.input_shapes)
    while k < len(graph.nodes):
        calls = [c for c in graph.calls if c.start == k and c.stop > k and not _is_opened(graph, c, shown, owner)]
        call = max(calls, key=lambda c: c.stop, default=None)
        node = graph.nodes[k]
        if call is not None:
            yield call.name, k, call.stop, call.output
            k = call.stop
        else:
            is_station = graph.learns[first + k] and not _only_moves(graph, k)
            yield node.name if is_station else None, k, k + 1, first + k
            k += 1


def _only_moves(graph: Graph, k: int) -> bool:
    """Whether a node only rearranges its input."""
    node = graph.nodes[k]
    if node.built.parameters or len(node.inputs) != 1:
        return False
    shapes = [graph.shapes[number] for number in node.inputs]
    return node.layer.source((0,) * len(node.built.output_shape), *shapes) is not None


def _is_opened(graph: Graph, call: CompositeCall, shown: CompositeCall | None, owner: int) -> bool:
    """Whether the layers of a composite are stations of their own: those around what is drawn are,
    but for the one right around a head of attention; without a drawing, those around the weight.
    """
    within = [c for c in graph.calls if c is not call and call.start <= c.start and c.stop <= call.stop]
    if shown is None:
        return call.start <= owner < call.stop and bool(within)
    if call is shown or not (call.start <= shown.start and shown.stop <= call.stop):
        return False
    is_scan = any(node.time is not None for node in graph.nodes[shown.start : shown.stop])
    return is_scan or any(c is not shown and c.start <= shown.start and shown.stop <= c.stop for c in within)


# The drawing


def drawn(e: Explanation, shown: CompositeCall | None, width: float, left: float) -> tuple[str, float]:
    """The row of stations, and the height; at small widths, several rows."""
    found = stations(e, shown)
    owner = e.trace.network.graph.numbers[e.trace.network.parameters.entry_at(e.place).owner]
    owner -= len(e.trace.network.graph.input_shapes)
    most = max(int((width + _GAP) / (_BOX + _GAP)), 2)
    rows = -(-(len(found) + 1) // most)
    each = -(-(len(found) + 1) // rows)
    box = min((width - (each - 1) * _GAP) / each, 150)
    parts, y = [], 0.0
    for first in range(0, len(found) + 1, each):
        here = found[first : first + each]
        y += _ARC if any(one.earlier is not None and one.earlier >= first for one in here) else 4
        for k in range(first, min(first + each, len(found) + 1)):
            x = left + (k - first) * (box + _GAP)
            if k == len(found):
                parts.append(_box("loss", "", x, y, box, "ink", ""))
            else:
                station = found[k]
                has_weight = station.start <= owner < station.stop
                is_shown = shown is not None and station.start <= shown.start and shown.stop <= station.stop
                fill = "back" if is_shown else "card"
                share = "" if station.share is None else _percent(station.share)
                mark = "the weight" if has_weight else "drawn below" if is_shown else ""
                parts.append(_box(station.name, share, x, y, box, "plus" if has_weight else "ink", mark, fill))
                parts.append(_around(found, k, first, x, y, box))
            if k > first and (k == len(found) or found[k].follows):
                parts.append(
                    f'<path d="M{x - _GAP:.1f} {y + _HIGH / 2}h{_GAP - 3}" class="s-soft" stroke-width="1.5"/>'
                    f'<polygon points="{x - 1:.1f},{y + _HIGH / 2} {x - 6:.1f},{y + _HIGH / 2 - 4}'
                    f' {x - 6:.1f},{y + _HIGH / 2 + 4}" class="f-soft"/>'
                )
        y += _HIGH + 4
    return f'<g class="stations">{"".join(parts)}</g>', y


def _percent(share: float) -> str:
    return f"{share + 0.0:.0%}".replace("-0%", "0%").replace("-", "\u2212")


def _box(name: str, share: str, x: float, y: float, width: float, line: str, mark: str, fill: str = "card") -> str:
    """A station: the end of its name, and how much comes through it."""
    words = svg.wrapped(name.rpartition(".")[2].replace("_", " "), width - 8, 10, bold=True)[:2]
    parts = [svg.box(x, y, width, _HIGH, fill, line, radius=5)]
    parts += [svg.text(x + 5, y + 14 + 13 * k, word, 10, bold=True) for k, word in enumerate(words)]
    if share:
        parts.append(svg.text(x + 5, y + _HIGH - 5, share, 12, colour="plus", bold=True))
    if mark and svg.wide(share, 12, True) + svg.wide(mark, 9) + 14 < width:
        parts.append(svg.text(x + width - 5, y + _HIGH - 5, mark, 9, anchor="end"))
    return f'<g class="station" data-name="{name}">{"".join(parts)}</g>'


def _around(found: list[Station], k: int, first: int, x: float, y: float, box: float) -> str:
    """The way to a station around those in between, with what comes along it."""
    source, share = found[k].earlier, found[k].share
    if source is None or source < first:
        return ""
    before = found[k - 1].share if found[k].follows else 0.0
    colour, label = "soft", ""
    if share is not None and before is not None and found[k].follows:
        around = share - before
        colour = "soft" if abs(around) < 0.005 else "minus" if around < 0 else "plus"
        label = f"around: {_percent(around)}"
    start, end = x - (k - source) * (box + _GAP) + box - 10, x + 12
    middle = (start + end) / 2
    return (
        f'<path d="M{start:.1f} {y}v-10H{end:.1f}v6" fill="none" class="s-{colour}" stroke-width="1.5"/>'
        f'<polygon points="{end:.1f},{y - 1} {end - 4:.1f},{y - 7} {end + 4:.1f},{y - 7}" class="f-{colour}"/>'
        + (svg.text(middle, y - 12, label, 10, anchor="middle", colour=colour) if label else "")
    )
