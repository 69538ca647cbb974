"""One head of attention, drawn: one position, those that it attends to, and what of a weight's
gradient comes through each.

A row of the drawing is a position that is attended to: its key, how well it fits the query, how
much is taken, what is taken; below each number, in blue, its derivative of the loss. The last
columns are the two ways in which the weight reaches the loss there: by how much is taken, and by
what is taken. They add up to what of its gradient comes through this head and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chainrule.arrays import Array
from chainrule.explain import svg
from chainrule.explain.attention import layers_of, pairs_of
from chainrule.explain.cards import weight_symbol
from chainrule.explain.picture import short
from chainrule.layers.graph import CompositeCall, Graph, Mixing

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation

SHOWN = 6
"""The number of positions attended to that are drawn; the others are added up."""
_ROW, _STRIP = 34, 14
"""The height of a row, and of a row of coloured numbers."""
_NUMBERS = 64
"""The number of entries of a vector that are drawn."""
_WIDEST, _LEGIBLE = 52, 42
"""The largest width of an entry, and the least that has room for its number."""
_WIDE = 700
"""From this width on there is room for keys and values."""


@dataclass(frozen=True)
class Head:
    """What one head of attention does for one position of a sample.

    Attributes:
        call: the attention
        row: the sample's row in the training set
        head, query: the head, and the position that takes
        own: the feature of what is taken that the weight multiplies, for a weight that reads the
            result of attention; None for those before it
        marked: of "queries", "keys" and "values", the features that the weight changes, if these
            are one or two
        keys: the positions drawn, in order
        q, y: (width,), (features,) the query, and what is taken
        k, v: (keys, width), (keys, features) keys and values of all positions
        scores, weights: (keys,) how well each fits, and how much is taken of it, after dropout
        dq, ds, da, dy: derivatives of the loss with respect to these
        by_weight, by_value: (keys,) what of the gradient comes through how much is taken of each,
            and through what is taken
        changes: what the weight changes: "queries", "keys", "values"
        whole: what of the gradient comes from this sample
        is_dropped: whether weights are dropped
    """

    call: CompositeCall
    row: int
    head: int
    query: int
    own: int | None
    marked: dict[str, list[int]]
    keys: tuple[int, ...]
    q: Array
    y: Array
    k: Array
    v: Array
    scores: Array
    weights: Array
    dq: Array
    ds: Array
    da: Array
    dy: Array
    by_weight: Array
    by_value: Array
    changes: tuple[str, ...]
    whole: float
    is_dropped: bool

    @property
    def parts(self) -> Array:
        """(keys,) what of the gradient comes through each position."""
        return self.by_weight + self.by_value

    @property
    def product(self) -> float:
        """What of the gradient comes through this head and position."""
        return float(self.parts.sum())


def head_of(e: Explanation) -> Head | None:
    """The head of attention and the position through which most of the gradient of the sample of
    the chain comes: of the attention that the weight belongs to or, for other weights, of that with
    the largest part. None if the weight reaches none.
    """
    assert e.chain is not None
    graph, sample, best = e.trace.network.graph, e.chain.unit.sample, None
    owner = graph.numbers[e.trace.network.parameters.entry_at(e.place).owner] - len(graph.input_shapes)
    for call, mixing in layers_of(e.slopes):
        around = surrounding(graph, call)
        is_own = around is not None and around.start <= owner < around.stop
        if is_own and owner >= call.stop:
            return _head(e, call, mixing, *_read(e, call, mixing))
        _, how_much, what = pairs_of(e.slopes, call, mixing)
        parts = np.stack([how_much[sample], what[sample]])
        size = float(abs(parts.sum()))
        if np.any(parts) and (best is None or is_own or (size > best[0] and not best[1])):
            best = size, is_own, call, mixing, parts
    return None if best is None else _head(e, best[2], best[3], best[4], None)


def surrounding(graph: Graph, call: CompositeCall) -> CompositeCall | None:
    """The smallest call around another, such as that of all heads of attention."""
    around = [c for c in graph.calls if c is not call and c.start <= call.start and call.stop <= c.stop]
    return min(around, key=lambda c: c.stop - c.start, default=None)


def _read(e: Explanation, call: CompositeCall, mixing: Mixing) -> tuple[Array, int | None]:
    """For a weight that reads what attention returned: by head, query and key, what of the gradient
    comes from there, in the unit that the chain starts at; and the feature that the weight reads.
    """
    assert e.chain is not None
    trace, graph, sample = e.trace, e.trace.network.graph, e.chain.unit.sample
    heads, queries, features = graph.shapes[call.output]
    a, v = _by_head(e, mixing.mix.inputs[0], heads, queries), _values(e, mixing, heads)
    parts = np.zeros((2, *a.shape))
    node = graph.node(e.chain.unit.node)
    *at, _ = e.chain.unit.index[1:]
    if len(e.weight_index) > 1:
        number, index = graph.source(node.inputs[0], (*at, e.weight_index[0]))
        inner = graph.node(mixing.mix.name).built.output_shape
        if number == graph.numbers[mixing.mix.name]:
            place = int(np.ravel_multi_index(index, inner))
            head, query, feature = (int(k) for k in np.unravel_index(place, (heads, queries, features)))
            parts[1, head, query] = a[head, query] * v[head, :, feature] * e.chain.delta
            return parts, feature
    # A bias reads none of it: the head that gives most to the unit's position is shown.
    flows = (trace.tape.values[call.output] * trace.tape.arrived(mixing.mix.name).reshape(len(trace.rows), heads,
             queries, features))[sample, :, at[0]].sum(axis=-1)  # fmt: skip
    head = int(np.argmax(np.abs(flows)))
    parts[1, head, at[0]] = a[head, at[0]] * e.chain.product
    return parts, None


def _by_head(e: Explanation, number: int, heads: int, queries: int) -> Array:
    """(heads, queries, keys) a value of attention of the chain's sample, whose heads may lie side
    by side.
    """
    assert e.chain is not None
    value = e.trace.tape.values[number][e.chain.unit.sample]
    return value.reshape(heads, queries, value.shape[-1])


def _values(e: Explanation, mixing: Mixing, heads: int) -> Array:
    """(heads, keys, features) the values of the chain's sample, repeated for heads that share
    them.
    """
    assert e.chain is not None
    v = e.trace.tape.values[mixing.mix.inputs[1]][e.chain.unit.sample]
    return np.repeat(v, heads // len(v), axis=0)


def _head(e: Explanation, call: CompositeCall, mixing: Mixing, parts: Array, own: int | None) -> Head:
    """Of the position with the largest part the head with the largest part."""
    assert e.chain is not None
    trace, graph, sample = e.trace, e.trace.network.graph, e.chain.unit.sample
    tape = trace.tape
    heads, queries, _ = graph.shapes[call.output]
    sums = parts.sum(axis=(0, 3))
    query = int(np.argmax(np.abs(sums.sum(axis=0))))
    head = int(np.argmax(np.abs(sums[:, query])))
    q, k, v = call.inputs[:3]
    group = head * len(tape.values[k][sample]) // heads

    def of_query(number: int) -> Array:
        return np.asarray(tape.values[number][sample].reshape(heads, queries, -1)[head, query])

    def arrived(number: int) -> Array:
        arriving = tape.arriving[number]
        shape = tape.values[number][sample].shape
        return np.zeros(shape) if arriving is None else arriving[sample]

    def derivative(number: int) -> Array:
        return np.asarray(arrived(number).reshape(heads, queries, -1)[head, query])

    strongest = np.argsort(-np.abs(parts[:, head, query]).sum(axis=0), kind="stable")
    seen = [int(j) for j in strongest if of_query(graph.numbers[mixing.softmax.name])[j] > 0]
    moved = {name: e.slopes.of(number)[sample] for name, number in (("queries", q), ("keys", k), ("values", v))}
    changes = tuple(name for name, slopes in moved.items() if own is None and slopes.any())
    features = {name: np.flatnonzero(moved[name].any(axis=(0, 1))).tolist() for name in changes}
    scores, softmax = graph.numbers[mixing.scores.name], mixing.mix.inputs[0]
    return Head(
        call=call, row=int(trace.rows[sample]), head=head, query=query, own=own,
        marked={name: found for name, found in features.items() if len(found) <= 2},
        keys=tuple(sorted(seen[:SHOWN])), q=of_query(q), y=of_query(call.output),
        k=tape.values[k][sample, group], v=tape.values[v][sample, group], scores=of_query(scores),
        weights=of_query(softmax), dq=derivative(q), ds=derivative(scores), da=derivative(softmax),
        dy=derivative(graph.numbers[mixing.mix.name]), by_weight=parts[0, head, query] + 0.0,
        by_value=parts[1, head, query] + 0.0, changes=changes if own is None else (),
        whole=next(term.product for term in e.samples if term.row == e.chain.row),
        is_dropped=not np.array_equal(of_query(softmax), of_query(graph.numbers[mixing.softmax.name])),
    )  # fmt: skip


# The drawing


def drawn(e: Explanation, head: Head, width: float, left: float) -> tuple[str, float]:
    """The head, and the height.

    Args:
        e: the explanation
        head: what to draw
        width: the width there is, in CSS pixels
        left: where it begins
    """
    parts, y = [], 0.0
    for line in svg.wrapped(words(e, head), width, 13):
        y += 17
        parts.append(svg.text(left, y, line, 13))
    y += 12
    table = _Table(e, head, width, left)
    top, y = table.vector(y, "query q", head.q, head.dq, head.marked.get("queries", []))
    parts.append(top)
    content, y = table.rows(y + 8)
    parts.append(content)
    bottom, y = table.vector(y + 8, "takes y = \u03a3 a v", head.y, head.dy, [] if head.own is None else [head.own])
    return f'<g class="head">{"".join([*parts, bottom])}</g>', y + 4


def words(e: Explanation, head: Head) -> str:
    """What is drawn, and what of the gradient comes through it."""
    attends = f"Head {head.head} of {head.call.name}, sample {head.row}: {e.position(head.row, head.query)} attends to"
    attends += f" {np.count_nonzero(head.weights):,} positions."
    if head.changes:
        *some, last = head.changes
        changed = f"{', '.join(some)} and {last}" if some else last
        attends += f" The weight changes {changed}."
    elif head.own is not None:
        attends += f" The weight reads number {head.own} of what is taken, outlined."
    else:
        attends += " The weight is added to what is made of it."
    of = f" of the {short(head.whole)} from this sample" if head.product != head.whole else ""
    return f"{attends} Through here comes {short(head.product)}{of}."


@dataclass
class _Table:
    """Where the columns of the drawing stand."""

    e: Explanation
    head: Head
    width: float
    left: float

    @property
    def is_wide(self) -> bool:
        """Whether there is room for keys and values."""
        return self.width >= _WIDE

    def _columns(self) -> list[tuple[str, tuple[str, str], float]]:
        """The columns: a title, the formulas of the number and of its derivative, and the share of
        the width.
        """
        head, wide, d = self.head, self.is_wide, len(self.head.q)
        w = weight_symbol(self.e)
        if head.own is not None:
            parts = [("part of", (f"\u2202L/\u2202{w}", "= a v \u03b4"), 1.0)]
        elif wide and head.changes:
            parts = [
                ("by how much", (f"\u2202a/\u2202{w} \u00d7 \u2202L/\u2202a", ""), 1.1),
                ("by what", (f"a \u00d7 \u2202v/\u2202{w} \u00b7 \u03b4", ""), 1.0),
                ("together", (f"part of \u2202L/\u2202{w}", ""), 1.0),
            ]
        else:
            parts = [("part of", (f"\u2202L/\u2202{w}", ""), 1.0)]
        vectors = [("key k", ("", ""), 1.5)] if wide else []
        values = [("value v", ("", ""), 1.5)] if wide else []
        score = ("score s", (f"= q\u00b7k / \u221a{d}", "\u2202L/\u2202s"), 1.0)
        softmax = "softmax, dropout" if head.is_dropped else "= softmax(s)"
        weight = ("weight a", (softmax, "\u2202L/\u2202a = \u03b4\u00b7v" if wide else "\u2202L/\u2202a"), 1.2)
        return [("attends to", ("", ""), 1.2), *vectors, score, weight, *values, *parts]

    def _places(self) -> list[float]:
        """The left edge of each column."""
        shares = [share for _, _, share in self._columns()]
        edges = self.left + self.width * np.cumsum([0.0, *shares]) / sum(shares)
        return [float(edge) for edge in edges]

    def vector(self, y: float, name: str, numbers: Array, derivative: Array, marked: list[int]) -> tuple[str, float]:
        """A vector and its derivative, as rows of colours; and the bottom edge."""
        places = self._places()
        x = places[1]
        room = (places[-1] if not self.is_wide else places[4]) - x
        half = (room - 12) / 2 if self.is_wide else room
        parts = [svg.text(self.left, y + 12, name, 12, bold=True), strip(numbers, x, y, half, "ink", marked)]
        if self.is_wide:
            at, down = x + half + 12, y
        else:
            at, down = x, y + _STRIP + 16
        parts.append(strip(derivative, at, down, half, "plus", marked))
        letter = name.split(" ")[1]
        low = down + _STRIP + 12
        parts.append(svg.text(x, y + _STRIP + 11, f"{letter}: {_ends(numbers)}", 10, colour="soft"))
        parts.append(
            svg.text(at, down + _STRIP + 11, f"\u2202L/\u2202{letter}: {_ends(derivative)}", 10, colour="plus")
        )
        return "".join(parts), low

    def rows(self, y: float) -> tuple[str, float]:
        """The header, a row for each position, and the sums."""
        head, places, columns = self.head, self._places(), self._columns()
        parts = [svg.box(self.left, y, self.width, 48, "card", radius=4)]
        for x, (title, (formula, below), _) in zip(places, columns, strict=False):
            parts.append(svg.text(x + 4, y + 14, title, 12, bold=True))
            parts.append(svg.text(x + 4, y + 28, formula, 10.5) if formula else "")
            parts.append(svg.text(x + 4, y + 42, below, 10.5, colour="plus") if below else "")
        y += 48
        most = float(np.abs(head.parts).max(initial=0.0)) or 1.0
        for j in head.keys:
            parts.append(self._row(j, y, places, most))
            y += _ROW
        hidden = [j for j in range(len(head.weights)) if j not in head.keys and head.weights[j]]
        if hidden:
            parts.append(self._sums(f"{len(hidden):,} more", hidden, y, places))
            y += 22
        parts.append(self._sums("all", [*range(len(head.weights))], y, places, bold=True))
        return f'<g class="rows">{"".join(parts)}</g>', y + 22

    def _row(self, j: int, y: float, places: list[float], most: float) -> str:
        """A position that is attended to."""
        head, e = self.head, self.e
        names = e.names_of(head.row)
        name = names[j] if j < len(names) else ""
        where = svg.wrapped(f"position {j} {name}".strip(), places[1] - places[0] - 6, 12)
        line = f'<line x1="{self.left}" y1="{y + _ROW}" x2="{self.left + self.width}" y2="{y + _ROW}" class="s-soft"'
        parts = [f'{line} stroke-width="0.5"/>', *(
            svg.text(places[0] + 4, y + 14 + 14 * k, words, 12, bold=True) for k, words in enumerate(where[:2])
        )]  # fmt: skip
        at = 1
        if self.is_wide:
            parts.append(
                strip(
                    head.k[j],
                    places[at] + 4,
                    y + 10,
                    places[at + 1] - places[at] - 12,
                    marked=head.marked.get("keys", []),
                )
            )
            at += 1
        parts += self._number(places[at], y, short(float(head.scores[j])), float(head.ds[j]))
        at += 1
        parts += self._number(places[at], y, short(float(head.weights[j])), float(head.da[j]))
        room = places[at + 1] - places[at] - 64
        if room > 20:
            length = room * min(float(head.weights[j]), 1.0)
            parts.append(svg.box(places[at] + 58, y + 5, max(length, 1), 10, "soft", radius=2))
        at += 1
        if self.is_wide:
            marked = head.marked.get("values", []) if head.own is None else [head.own]
            parts.append(strip(head.v[j], places[at] + 4, y + 10, places[at + 1] - places[at] - 12, marked=marked))
            at += 1
        shown = [head.by_weight[j], head.by_value[j], head.parts[j]] if len(places) - 1 - at == 3 else [head.parts[j]]
        for k, part in enumerate(map(float, shown)):
            last = k == len(shown) - 1
            parts.append(_part(places[at + k] + 4, y + 15, part, last))
            if last:
                room = places[at + k + 1] - places[at + k] - 10
                fill = "plus" if part > 0 else "minus"
                parts.append(svg.box(places[at + k] + 4, y + 21, max(room * abs(part) / most, 1), 7, fill, radius=2))
        return "".join(parts)

    def _number(self, x: float, y: float, value: str, derivative: float) -> list[str]:
        """A number, and below it its derivative."""
        return [
            svg.text(x + 4, y + 14, value, 12),
            svg.text(x + 4, y + 29, short(derivative, 3), 11, colour="plus"),
        ]

    def _sums(self, name: str, among: list[int], y: float, places: list[float], bold: bool = False) -> str:
        """What several positions add up to."""
        head = self.head
        at = 3 if self.is_wide else 2
        parts = [svg.text(places[0] + 4, y + 15, name, 12, bold=bold)]
        parts.append(svg.text(places[at] + 4, y + 15, short(float(head.weights[among].sum())), 12))
        at += 2 if self.is_wide else 1
        sums = [head.by_weight[among].sum(), head.by_value[among].sum(), head.parts[among].sum()]
        shown = sums if len(places) - 1 - at == 3 else sums[-1:]
        for k, total in enumerate(map(float, shown)):
            parts.append(_part(places[at + k] + 4, y + 15, total, bold and k == len(shown) - 1))
        return "".join(parts)


def _part(x: float, y: float, number: float, bold: bool) -> str:
    colour = "soft" if number == 0 else "plus" if number > 0 else "minus"
    return svg.text(x, y, short(number, 3), 12, colour=colour, bold=bold)


def _ends(numbers: Array, most: int = 3) -> str:
    """The first numbers of a vector."""
    shown = ", ".join(short(float(number), 3) for number in numbers[:most])
    return f"{shown}, \u2026" if len(numbers) > most else shown


def strip(numbers: Array, x: float, y: float, width: float, outline: str = "soft", marked: Sequence[int] = ()) -> str:
    """Numbers as a row of colours, blue above 0 and orange below: the stronger, the larger. Of
    many, some in a row, `marked` ones among them.
    """
    first = min(marked, default=0) // _NUMBERS * _NUMBERS
    numbers = numbers[first : first + _NUMBERS]
    most, cell = float(np.abs(numbers).max(initial=0.0)) or 1.0, min(width / max(len(numbers), 1), _WIDEST)
    parts = []
    for k, number in enumerate(numbers.tolist()):
        shade = f' fill-opacity="{(0.4 if cell >= _LEGIBLE else 0.9) * abs(number) / most:.2f}"'
        parts.append(svg.box(x + k * cell, y, cell, _STRIP, "minus" if number < 0 else "plus", None, shade, 0))
        if cell >= _LEGIBLE:
            parts.append(svg.text(x + (k + 0.5) * cell, y + _STRIP - 3, short(number, 2), 9.5, anchor="middle"))
    frame = f'fill="none" class="s-{outline}"'
    parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell * len(numbers):.1f}" height="{_STRIP}" {frame}/>')
    for k in marked:
        parts.append(
            f'<rect x="{x + (k - first) * cell:.1f}" y="{y - 1:.1f}" width="{cell:.1f}" height="{_STRIP + 2}"'
            ' fill="none" class="s-ink" stroke-width="2.5"/>'
        )
    return f'<g class="strip">{"".join(parts)}</g>'
