"""What the scheme's boxes say: of every unit, how the forward pass made its value and
backpropagation its derivative, in symbols and in numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from chainrule.explain import svg
from chainrule.explain.chain import ChainLink
from chainrule.explain.patch import sum_of
from chainrule.explain.picture import factor, letter, short
from chainrule.explain.trace import Trace, strongest
from chainrule.layers.base import Terms
from chainrule.losses.base import rows_of
from chainrule.tape import Unit

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation, SampleTerm

SHOWN = 3
"""The number of products of a sum that are written out; the others are added up."""
_SIDE = 8

Line = tuple[str, str, bool]
"""A text, its colour, and whether it is bold."""


@dataclass
class Card:
    """A box of the scheme.

    Attributes:
        symbol: its symbol in the formula
        name: what it stands for
        lines: what it says
        outline: the colour of its outline
        dashed: whether it repeats a box of the row above
    """

    symbol: str
    name: str
    lines: list[Line] = field(default_factory=list)
    outline: str = "ink"
    dashed: bool = False

    def say(self, *lines: str, colour: str = "ink", bold: bool = False) -> None:
        """Add lines of text."""
        self.lines += [(line, colour, bold) for line in lines]

    def repeated(self) -> Card:
        """The same box where the next row begins."""
        return Card(self.symbol, self.name, [("the same as above", "soft", False)], dashed=True)

    def _set(self, width: float) -> list[Line]:
        """The lines as they are broken at this width."""
        room = width - 2 * _SIDE
        return [
            (part, colour, bold)
            for line, colour, bold in [(self.name, "soft", False), *self.lines]
            for part in svg.wrapped(line, room, bold=bold)
        ]

    def height(self, width: float) -> float:
        """The height at this width."""
        return 27 + svg.LINE * len(self._set(width)) + 5

    def drawn(self, x: float, middle: float, width: float) -> str:
        """The box, level with `middle`."""
        high = self.height(width)
        y = middle - high / 2
        dash = ' stroke-dasharray="3 3"' if self.dashed else ""
        parts = [
            svg.box(x, y, width, high, "card", self.outline, dash),
            svg.text(x + _SIDE, y + 19, self.symbol, 14, bold=True),
        ]
        for k, (line, colour, bold) in enumerate(self._set(width)):
            parts.append(svg.text(x + _SIDE, y + 34 + svg.LINE * k, line, colour=colour, bold=bold))
        names = f'data-symbol="{escape(self.symbol)}" data-name="{escape(self.name)}"'
        return f'<g class="card" {names}>{"".join(parts)}</g>'


def weight_symbol(e: Explanation) -> str:
    """b for a bias, w for any other weight."""
    return "b" if e.weight.partition("[")[0].endswith(".b") else "w"


def weight_card(e: Explanation, chain: ChainLink) -> Card:
    """The weight: its value, and what this use of it gives to its gradient."""
    symbol = weight_symbol(e)
    card = Card(symbol, e.weight, outline="plus")
    card.say(f"{symbol} = {e.value_before:.6g}".replace("-", "\u2212"))
    whole = len(e.samples) == 1 and e.samples[0].count == 1 and not e.penalties
    name = f"\u2202L/\u2202{symbol}"
    card.say(name if whole else f"{name}, the part of {use_named(e, chain)}", colour="plus", bold=True)
    card.say(f"= {factor(chain.local_derivative)} \u00d7 {factor(chain.delta)}", colour="plus")
    card.say(f"= {short(chain.product)}", colour="plus", bold=True)
    return card


def term_of(e: Explanation, chain: ChainLink) -> SampleTerm:
    """The term of the sample whose delta is opened."""
    return next(term for term in e.samples if term.row == chain.row)


def use_named(e: Explanation, chain: ChainLink) -> str:
    """The sample, and the unit through which it uses the weight if there are several."""
    return f"sample {chain.row}" + ("" if term_of(e, chain).count == 1 else f" at {chain.unit.label}")


def unit_card(e: Explanation, unit: Unit, names: Mapping[Unit, str]) -> Card:
    """A unit: its value, at an output the target and the error, and its derivative."""
    other = "" if e.chain is None or unit.sample == e.chain.unit.sample else f" of sample {e.trace.rows[unit.sample]}"
    card = Card(names[unit], f"{unit.label}{other}")
    if place := e.named_place(unit):
        card.say(place)
    _say_value(card, e, unit)
    groups = e.trace.tape.feeds(unit)
    if not groups:
        _say_target(card, e.trace, unit)
    delta = "\u03b4 = " if letter(e.trace, unit) == "z" else ""
    card.say(f"{delta}\u2202L/\u2202{card.symbol}", colour="plus", bold=True)
    if groups:
        _say_sum(card, e.trace, groups, names)
    else:
        term = e.trace.loss_term(unit)
        weight = "" if term.sample_weight == 1 else f"{short(term.sample_weight)} \u00d7 "
        mean = "" if term.samples == 1 else f" / {term.samples} samples"
        mean = (f" / {short(1 / term.share)} positions" if 0 < term.share < 1 else "") + mean
        card.say("from the loss", *([f"= {weight}{short(term.slope)}{mean}"] if weight or mean else []), colour="plus")
    card.say(f"= {short(e.trace.tape.delta(unit))}", colour="plus", bold=True)
    return card


def _say_value(card: Card, e: Explanation, unit: Unit) -> None:
    """The unit's value: the sum of a dense layer, or the function of one number."""
    trace, node = e.trace, e.trace.node(unit)
    value = short(trace.tape.value(unit))
    products = _products(trace, unit)
    if products is not None:
        terms = _chosen(products, _own_input(e, unit))
        hidden = len(products) - len(terms)
        lines = [f"{factor(w)} \u00d7 {factor(x)}" for w, x in (products[k] for k in terms)]
        if hidden:
            rest = sum(w * x for w, x in products) - sum(products[k][0] * products[k][1] for k in terms)
            lines.append(f"{factor(rest)} ({hidden} more)")
        if "b" in node.built.parameters:
            lines.append(f"{factor(float(trace.tape.params[node.owner]['b'].flat[unit.index[-1]]))} (bias)")
        card.say(f"{letter(trace, unit)} = {lines[0]}", *(f"+ {line}" for line in lines[1:]))
        card.say(f"= {value}", bold=True)
    elif node.layer.elementwise:
        inputs = trace.tape.values[node.inputs[0]]
        card.say(f"{letter(trace, unit)} = f({short(float(inputs[unit.index]))})")
        card.say(f"= {value}", bold=True)
    else:
        card.say(f"{letter(trace, unit)} = {value}", bold=True)


def _products(trace: Trace, unit: Unit) -> list[tuple[float, float]] | None:
    """The weights and inputs whose products a unit adds up; None for other units."""
    node = trace.node(unit)
    linear = node.layer.linear(trace.tape.params[node.owner], unit.index[-1])
    if linear is not None:
        inputs = trace.tape.values[node.inputs[0]][unit.index[:-1]]
        return list(zip(linear[0].tolist(), inputs.tolist(), strict=True))
    adds = sum_of(trace, unit)
    return None if adds is None else list(zip(adds.weights.ravel().tolist(), adds.inputs.ravel().tolist(), strict=True))


def _chosen(products: list[tuple[float, float]], own: int | None) -> list[int]:
    """The numbers of the products to write out, in order: the weight's own, and the largest."""
    ranked = sorted(range(len(products)), key=lambda k: (k != own, -abs(products[k][0] * products[k][1])))
    return sorted(ranked if len(products) <= SHOWN else ranked[: SHOWN - 1])


def _own_input(e: Explanation, unit: Unit) -> int | None:
    """The number of the product with the explained weight; None in other units' sums."""
    entry = e.trace.network.parameters.entry_at(e.place)
    *index, j = e.weight_index
    if e.trace.node(unit).owner != entry.owner or not index or j != unit.index[-1]:
        return None
    adds = sum_of(e.trace, unit)
    if adds is None:
        return index[0] if len(index) == 1 else None
    place = adds.place(tuple(index))
    return None if place is None else place[0] * len(adds.channels) + place[1]


def _say_target(card: Card, trace: Trace, unit: Unit) -> None:
    """The target of an output and the error: of a class its probability minus 1 or 0. A loss that
    makes something else of its outputs, such as quantiles, has no error of one output.
    """
    targets, output, loss, row = np.asarray(trace.batch.y), trace.tape.output, trace.problem.loss, unit.sample
    if output.ndim > 2:
        row = int(np.ravel_multi_index(unit.index[:-1], output.shape[:-1]))
        output, targets = rows_of(output, targets)
    probabilities = loss.probabilities(output)
    one_per_sample = targets.size == len(targets)
    if probabilities is not None and output.shape[1] in (1, probabilities.shape[1]):
        column = unit.index[-1] if output.shape[1] > 1 else probabilities.shape[1] - 1
        hit = targets.ravel()[row] == column if one_per_sample else targets[row, column]
        symbol, value, target = "p", float(probabilities[row, column]), float(hit)
        card.say(f"probability p = {short(value)}", f"target t = {short(target)}")
    elif targets.size == output.size and "regression" in loss.tasks:
        symbol, value = letter(trace, unit), trace.tape.value(unit)
        target = float(targets.reshape(output.shape)[row, unit.index[-1]])
        card.say(f"target t = {short(target)}")
    else:
        if meaning := trace.meaning(unit):
            card.say(meaning.replace("-", "\u2212"))
        if one_per_sample:
            number = targets.ravel()[row]
            card.say(f"target t = {short(number)}" if loss.task == "regression" else f"target: class {int(number)}")
        return
    card.say(f"error = {symbol} \u2212 t")
    card.say(f"= {short(value - target)}", bold=True)


def _say_sum(card: Card, trace: Trace, groups: Sequence[Terms], names: Mapping[Unit, str]) -> None:
    """The derivative as a sum over the units that read this one: in symbols, then in numbers."""
    count = sum(len(group.local) for group in groups)
    shown, others, rest = strongest(groups, count if count <= SHOWN else SHOWN - 1)
    shown = sorted(shown, key=lambda link: (trace.network.graph.numbers[link.unit.node], link.unit.index))
    symbols = [trace.node(link.unit).layer.local_symbol for link in shown]
    if 0 < count <= 2 and all(link.unit in names for link in shown):
        rules = [
            f"{symbol} \u00d7 \u2202L/\u2202{names[link.unit]}" for symbol, link in zip(symbols, shown, strict=True)
        ]
        card.say(*_added(rules), colour="plus")
    numbers = [f"{factor(link.local)} \u00d7 {factor(link.delta)}" for link in shown]
    if rest:
        numbers.append(f"{factor(others)} ({rest} more)")
    card.say(*_added(numbers), colour="plus")


def _added(terms: list[str]) -> list[str]:
    return [f"{'+' if k else '='} {term}" for k, term in enumerate(terms)]


def loss_card(e: Explanation) -> Card:
    """The loss of the batch."""
    loss, count = e.trace.result, len(e.trace.rows)
    card = Card("L", "loss")
    card.say(f"L = {short(loss.loss, 6)}", bold=True)
    if count > 1:
        card.say(f"the mean over {count} samples")
    card.say("\u2202L/\u2202L = 1", colour="plus")
    return card
