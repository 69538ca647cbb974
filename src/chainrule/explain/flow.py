"""The lines of the scheme that flow like text: the chain rule factor by factor, and the arithmetic
of gradient descent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from chainrule.explain import svg
from chainrule.explain.cards import term_of, use_named, weight_symbol
from chainrule.explain.chain import ChainLink
from chainrule.explain.paths import Path
from chainrule.explain.picture import Picture, factor, short, strongest_paths
from chainrule.explain.update import words
from chainrule.tape import Unit

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation

_PATHS = 2
"""The number of paths that the chain rule is written out for."""
_LEFT = 12


class _Piece(Protocol):
    """A piece of a line, with the sign before it."""

    @property
    def width(self) -> float: ...

    def drawn(self, x: float, y: float) -> str: ...


@dataclass(frozen=True)
class _Factor:
    """A derivative as a fraction, with its value below."""

    sign: str
    above: str
    below: str
    value: float

    @property
    def _wide(self) -> float:
        return max(svg.wide(self.above, 13), svg.wide(self.below, 13), svg.wide(short(self.value), 12)) + 10

    @property
    def width(self) -> float:
        return self._wide + 16 * bool(self.sign)

    def drawn(self, x: float, y: float) -> str:
        x += 16 * bool(self.sign)
        middle = x + self._wide / 2
        parts = svg.text(x - 7, y + 24, self.sign, 14, anchor="middle") if self.sign else ""
        parts += svg.fraction(middle, y + 19, self.above, self.below, 13)
        parts += svg.text(middle, y + 51, short(self.value), 12, anchor="middle", colour="plus")
        return f'<g class="factor" data-symbol="{self.above}/{self.below}">{parts}</g>'


@dataclass(frozen=True)
class _Number:
    """A box with a name and a number."""

    sign: str
    name: str
    value: str

    @property
    def number(self) -> str:
        """The value, in parentheses if a minus sign follows an operator."""
        follows = self.sign in ("+", "\u2212", "\u00d7") and self.value.startswith("\u2212")
        return f"({self.value})" if follows else self.value

    @property
    def _wide(self) -> float:
        return max(svg.wide(self.name, 12), svg.wide(self.number, 13, bold=True)) + 16

    @property
    def width(self) -> float:
        return self._wide + 24 * bool(self.sign) + 4

    def drawn(self, x: float, y: float) -> str:
        sign = svg.text(x + 11, y + 29, self.sign, 17, anchor="middle", colour="descent", bold=True)
        x += 24 * bool(self.sign)
        middle = x + self._wide / 2
        return f'<g class="number">{sign if self.sign else ""}' + (
            svg.box(x, y, self._wide, 46, "paper", "descent")
            + svg.text(middle, y + 19, self.name, 12, anchor="middle")
            + svg.text(middle, y + 37, self.number, 13, anchor="middle", bold=True)
            + "</g>"
        )


def _flow(pieces: Sequence[_Piece], y: float, right: float, step: float, left: float = 2 * _LEFT) -> tuple[str, float]:
    """The pieces one after the other, in as many lines as they need; and the bottom edge."""
    x, parts = left, []
    for piece in pieces:
        if x + piece.width > right and x > left:
            x, y = left, y + step
        parts.append(piece.drawn(x, y))
        x += piece.width
    return "".join(parts), y + step


def chain_rule(
    e: Explanation, chain: ChainLink, picture: Picture, names: Mapping[Unit, str], width: float
) -> tuple[str, float]:
    """The chain rule of the weight for one sample, along its strongest paths; and its height."""
    weight = weight_symbol(e)
    shown, count = strongest_paths(e.trace, picture, chain.local_derivative, _PATHS)
    pieces = [_Factor("", "\u2202L", f"\u2202{weight}", chain.product)]
    content, y = "", 0.0
    for k, path in enumerate(shown):
        factors = _factors(path, names, weight, "+" if k else "=")
        drawn, y = _flow([*([] if k else pieces), *factors], y, _LEFT + width, 62, _LEFT)
        content += drawn
    if not shown:
        content, y = _flow(pieces, y, _LEFT + width, 62, _LEFT)
    for line in svg.wrapped(_sum(chain, shown, count), width, 12, bold=True):
        y += 18
        content += svg.text(_LEFT, y - 4, line, 12, bold=True, colour="plus")
    return content, y


def use_rule(e: Explanation, chain: ChainLink, width: float) -> tuple[str, float]:
    """The chain rule of one use of the weight, and what its uses add up to; and its height."""
    weight, term = weight_symbol(e), term_of(e, chain)
    pieces = [
        _Factor("", "\u2202L", f"\u2202{weight}", chain.product),
        _Factor("=", "\u2202u", f"\u2202{weight}", chain.local_derivative),
        _Factor("\u00b7", "\u2202L", "\u2202u", chain.delta),
    ]
    content, y = _flow(pieces, 0.0, _LEFT + width, 62, _LEFT)
    place = e.named_place(chain.unit)
    said = f"u is {chain.unit.label}{f' ({place})' if place else ''}, which the weight feeds."
    if term.count > 1:
        said += f" The weight has {term.count:,} uses for this sample: together {short(term.product)}."
    beside = _LEFT + sum(piece.width for piece in pieces) + 16
    is_beside = _LEFT + width - beside > 260
    x, at, room = (beside, 22.0, _LEFT + width - beside) if is_beside else (_LEFT, y + 14, width)
    for line in svg.wrapped(said, room, 13):
        content += svg.text(x, at, line, 13)
        at += 18
    return content, max(y, at - 6)


def _factors(path: Path, names: Mapping[Unit, str], weight: str, sign: str) -> list[_Factor]:
    """The local derivatives along a path."""
    symbols = [weight, *(names[unit] for unit in path.units), "L"]
    return [
        _Factor(sign if k == 0 else "\u00b7", f"\u2202{symbols[k + 1]}", f"\u2202{symbols[k]}", value)
        for k, value in enumerate(path.factors)
    ]


def _sum(chain: ChainLink, shown: list[Path], count: int | None) -> str:
    """The products of the paths, and their sum."""
    if not shown and not chain.product:
        return "= 0: every path contains a local derivative of 0"
    products = [factor(path.product) for path in shown]
    if count is None or count > len(shown):
        others = "all other paths" if count is None else f"{count - len(shown)} other paths"
        products.append(f"{factor(chain.product - sum(path.product for path in shown))} ({others})")
    total = f" = {short(chain.product)}" if len(products) > 1 else ""
    return f"= {' + '.join(products)}{total}"


def descent(e: Explanation, chain: ChainLink, width: float) -> tuple[str, float]:
    """Gradient descent: the gradient, the output of each stage, the weight before and after; and
    the height.
    """
    weight, right = weight_symbol(e), width - _LEFT + 6
    parts, y = [], 12.0
    for line in svg.wrapped("3. Gradient descent uses the gradient: a step against it", width - 30, 15, bold=True):
        y += 20
        parts.append(svg.text(2 * _LEFT, y, line, 15, bold=True, colour="descent"))
    y += 12
    moved = [  # nine significant figures, as published examples print
        _Number("", f"{weight} before", short(e.value_before, 9)),
        _Number("\u2212", "the step", short(e.update, 9)),
        _Number("=", f"{weight} after", short(e.value_after, 9)),
    ]
    for pieces in ([*_gradient(e, chain, weight, right - 2 * _LEFT), *_stages(e)], moved):
        drawn, y = _flow(pieces, y, right, 58)
        parts.append(drawn)
    for stage in e.stages:
        line = f"{words(stage.stage)}:  {stage.formula}".replace(" x ", " \u00d7 ").replace("-", "\u2212")
        for part in svg.wrapped(line, width - 30, 12):
            y += 17
            parts.append(svg.text(2 * _LEFT, y - 6, part, 12))
    y += 8
    return svg.box(_LEFT, 0, width, y, "ground", "descent") + "".join(parts), y


def _gradient(e: Explanation, chain: ChainLink, weight: str, room: float) -> list[_Number]:
    """The gradient, as a sum over the batch if it has other terms; no box is wider than `room`."""
    gradient = _Number("=", f"gradient \u2202L/\u2202{weight}", short(e.training_gradient))
    own, others = term_of(e, chain), len({term.row for term in e.samples}) - 1
    terms = [_Number("", use_named(e, chain), short(chain.product))]
    if terms[0].width > room:
        terms = [replace(terms[0], name=f"sample {chain.row}, this use")]
    if own.count > 1:
        uses = "its other use" if own.count == 2 else f"its {own.count - 1:,} other uses"
        terms.append(_Number("+", uses, short(own.product - chain.product)))
    if others or e.penalties:
        whose = [f"{others} other sample{'' if others == 1 else 's'}"] if others else []
        whose += ["penalties"] if e.penalties else []
        terms.append(_Number("+", ", ".join(whose), short(e.gradient - own.product)))
    return [*terms, gradient] if len(terms) > 1 else [replace(gradient, sign="")]


def _stages(e: Explanation) -> list[_Number]:
    """What each stage makes of the gradient; a factor and its result are shown separately."""
    numbers = []
    for k, stage in enumerate(e.stages):
        result = "wait" if stage.output is None else short(stage.output)
        if stage.factor is None:
            numbers.append(_Number("\u2192", words(stage.stage), result))
        else:
            numbers.append(_Number("\u00d7", words(stage.stage), short(stage.factor)))
            numbers.append(_Number("=", "the step" if k == len(e.stages) - 1 else "result", result))
    return numbers
