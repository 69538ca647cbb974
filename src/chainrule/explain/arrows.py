"""The scheme's arrows: their lines, and the labels with the local derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chainrule.explain import svg
from chainrule.explain.picture import short
from chainrule.tape import Unit

Key = Unit | str
"""A box of the scheme: a unit, "weight" or "loss"."""
_TIP = 9


@dataclass(frozen=True)
class Spot:
    """Where a box stands: its left edge, its middle, and its width."""

    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Arrow:
    """An arrow between two boxes.

    Attributes:
        source, target: the boxes
        above, below: the local derivative as a fraction
        value: its value
        flow: the contribution to the gradient of all paths through this arrow, which sets colour,
            dash and width
    """

    source: Key
    target: Key
    above: str
    below: str
    value: float
    flow: float

    @property
    def colour(self) -> str:
        """The colour of the sign."""
        return "soft" if self.flow == 0 else "plus" if self.flow > 0 else "minus"

    def _line(self, path: str, most: float) -> str:
        """A line whose width is proportional to the flow, of which `most` is the largest."""
        dash = {"plus": "", "minus": ' stroke-dasharray="9 5"', "soft": ' stroke-dasharray="2 5"'}[self.colour]
        width = 1.2 + 5 * abs(self.flow) / most
        return f'<path d="{path}" fill="none" class="s-{self.colour}" stroke-width="{width:.1f}"{dash}/>'

    def _head(self, x: float, y: float, dx: float, dy: float) -> str:
        """An arrowhead at x, y in this direction; a marker would need a name unique in the page."""
        size = _TIP / math.hypot(dx, dy)
        dx, dy = dx * size, dy * size
        points = (
            f"{x:.1f},{y:.1f} {x - dx - dy / 2:.1f},{y - dy + dx / 2:.1f} {x - dx + dy / 2:.1f},{y - dy - dx / 2:.1f}"
        )
        return f'<polygon points="{points}" class="f-{self.colour}"/>'

    def straight(self, source: Spot, target: Spot, most: float) -> str:
        """The line from one box to the next."""
        x1, y1, x2, y2 = source.x + source.width, source.y, target.x - 1, target.y
        dx, dy = x2 - x1, y2 - y1
        short_of = 1 - 0.7 * _TIP / math.hypot(dx, dy)
        line = self._line(f"M{x1:.1f} {y1:.1f}L{x1 + dx * short_of:.1f} {y1 + dy * short_of:.1f}", most)
        return line + self._head(x2, y2, dx, dy)

    def label(self, source: Spot, target: Spot) -> str:
        """The fraction and its value: above and below a level line, on the middle of any other."""
        x1, x2 = source.x + source.width, target.x
        x, y, level = (x1 + x2) / 2, (source.y + target.y) / 2, abs(source.y - target.y) < 1
        size, number = (
            11,
            next(filter(lambda t: svg.wide(t) < x2 - x1 - 2, map(self._value, (4, 3, 2))), self._value(1)),
        )
        widest = max(self.above, self.below, key=svg.wide)
        while svg.wide(widest, size) > x2 - x1 - 2 and size > 8:
            size -= 1
        half = max(svg.wide(widest, size), svg.wide(number)) / 2 + 1
        y -= 21 if level else 10  # the fraction's bar
        under = 38 if level else 27  # the value's baseline
        back = svg.box(x - half, y - 16, 2 * half, 32, "paper", radius=4)
        back += svg.box(x - half, y + (under - 12 if level else 0), 2 * half, 16 if level else 31, "paper", radius=4)
        above = svg.fraction(x, y, self.above, self.below, size, self.colour)
        value = svg.text(x, y + under, number, anchor="middle", colour=self.colour)
        return f'<g class="label" data-symbol="{self.above}/{self.below}">{back}{above}{value}</g>'

    def _value(self, figures: int) -> str:
        return short(self.value, figures)

    def around(
        self, source: Spot | None, target: Spot | None, lane: float, edges: tuple[float, float], n: int, most: float
    ) -> tuple[str, str]:
        """The n-th line that passes over boxes, in a lane below them, and its label. Without a
        source or a target it starts or ends at the edge of the picture.
        """
        aside = 8 + 5 * (n % 4)
        if source:
            start, x = f"M{source.x + source.width:.1f} {source.y + 12:.1f}h{aside}V{lane:.1f}", source.x + source.width
        else:
            start, x = f"M{edges[0]} {lane:.1f}", edges[0]
        end = f"H{target.x - aside - 6:.1f}V{target.y + 12:.1f}h{aside}" if target else f"H{edges[1] - 6:.1f}"
        head = self._head(target.x - 1, target.y + 12, 1, 0) if target else self._head(edges[1], lane, 1, 0)
        label = f"{self.above}/{self.below} = {self._value(4)}"
        wide = svg.wide(label) + 8
        x += aside + 8
        texts = svg.text(x + 4, lane + 4, label, colour=self.colour)
        return self._line(start + end, most) + head, svg.box(x, lane - 8, wide, 16, "paper", radius=4) + texts
