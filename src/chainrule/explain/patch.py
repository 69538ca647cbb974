"""A convolution at one position, drawn: the patch that it reads times its kernel gives the unit.

A unit of a convolution is a weighted sum over the places of its kernel and over the channels that
it reads. The drawing shows one of these channels in full, two grids of numbers; the products of the
others are added up.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.explain import svg
from chainrule.explain.picture import short
from chainrule.explain.trace import Trace
from chainrule.layers.windows import crossed
from chainrule.tape import Unit

_CELL, _ROW, _SIGN = 40, 24, 26
"""The width and height of a number in a grid, and the width of a sign between two parts."""
_FEWEST = 27
"""The least width of a cell that has room for its number."""


@dataclass(frozen=True)
class Sum:
    """The products that a unit of a convolution adds up.

    Attributes:
        taps: (K, axes) the position of each input that it reads, -1 where that is padding
        places: (K, axes) the place in the kernel that it meets
        inputs, weights: (K, channels) the input there, 0 for padding, and the weight
        channels: (channels,) the numbers of the channels that it reads
        bias: the constant; None without one
    """

    taps: Array
    places: Array
    inputs: Array
    weights: Array
    channels: Array
    bias: float | None

    @property
    def products(self) -> Array:
        """(K, channels) weight times input."""
        return self.inputs * self.weights

    def place(self, index: Shape) -> tuple[int, int] | None:
        """Where the kernel's weight at (place..., channel in) stands; None if it meets no input."""
        if len(index) <= self.places.shape[1]:
            return None  # a bias
        same: Array = np.equal(self.places, index[:-1])
        found = np.flatnonzero(same.all(axis=1))
        return (int(found[0]), index[-1]) if len(found) else None


def sum_of(trace: Trace, unit: Unit) -> Sum | None:
    """What a unit adds up, if it is one of a convolution."""
    node = trace.node(unit)
    x, params = trace.tape.values[node.inputs[0]][unit.sample], trace.tape.params[node.owner]
    *at, j = unit.index[1:]
    axes = node.layer.taps(x.shape[:-1], tuple(at))
    if axes is None:
        return None
    inputs, places = zip(*axes, strict=True)
    taps, channels = crossed(inputs), node.layer.channels_read(j, x.shape[-1])
    read = x[tuple(taps.T)][:, channels]
    read[(taps < 0).any(axis=1)] = 0
    weights = params["W"][(*crossed(places).T, slice(None), j)]
    return Sum(taps, crossed(places), read, weights, channels, float(params["b"][j]) if "b" in params else None)


@dataclass(frozen=True)
class Patch:
    """One channel of a sum, as two grids of the same shape.

    Attributes:
        name: the unit's name
        is_flat: whether there are rows; a signal has only columns
        channel, channels: the number of the channel, and how many the unit reads
        rows, columns: the positions that the grids' rows and columns read, -1 for padding
        inputs, weights: (rows, columns) the numbers
        own: the row and column of the explained weight, if it is among them
        rest, others: the sum of all other products, and their number
        bias: the constant; None without one
        value: the unit's value
    """

    name: str
    is_flat: bool
    channel: int
    channels: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    inputs: Array
    weights: Array
    own: tuple[int, int] | None
    rest: float
    others: int
    bias: float | None
    value: float

    @property
    def sum(self) -> float:
        """The sum of the products of the two grids."""
        return float(np.sum(self.inputs * self.weights))


def patch_of(trace: Trace, unit: Unit, weight: Shape | None = None) -> Patch | None:
    """The patch that a unit of a convolution reads; None for other units.

    Args:
        trace: the step
        unit: the unit
        weight: the index of a weight of the kernel, whose channel is shown; by default the channel
            whose products are largest
    """
    adds = sum_of(trace, unit)
    if adds is None or not len(adds.taps):
        return None
    own = None if weight is None or weight[-1] != unit.index[-1] else adds.place(weight[:-1])
    strongest = np.unravel_index(np.argmax(np.abs(adds.products)), adds.products.shape)
    k, c = own or (int(strongest[0]), int(np.argmax(np.abs(adds.products).sum(axis=0))))
    # Of a volume, the slice of depth that the weight, or the largest product, lies in.
    same: Array = np.equal(adds.places[:, :-2], adds.places[k, :-2])
    slice_ = same.all(axis=1)
    taps, at = adds.taps[slice_], np.flatnonzero(slice_)
    columns = len(np.unique(adds.places[slice_, -1]))
    shape = (len(at) // columns, columns)
    inputs, weights = adds.inputs[at, c].reshape(shape), adds.weights[at, c].reshape(shape)
    down = taps[::columns, -2].tolist() if taps.shape[1] > 1 else [0]
    place = divmod(int(np.flatnonzero(at == own[0])[0]), columns) if own else None
    return Patch(
        name=str(unit), is_flat=taps.shape[1] > 1, channel=int(adds.channels[c]), channels=len(adds.channels),
        rows=tuple(down), columns=tuple(taps[:columns, -1].tolist()), inputs=inputs, weights=weights, own=place,
        rest=float(adds.products.sum() - np.sum(inputs * weights)), others=adds.products.size - inputs.size,
        bias=adds.bias, value=trace.tape.value(unit),
    )  # fmt: skip


# The drawing


def drawn(patch: Patch, symbol: str, width: float, left: float = 0.0) -> tuple[str, float]:
    """Patch times kernel gives the unit, and the height.

    Args:
        patch: the patch
        symbol: the unit's symbol
        width: the width there is, in CSS pixels
        left: where it begins
    """
    parts, y = [], 0.0
    for line in svg.wrapped(words(patch), width, 13):
        y += 17
        parts.append(svg.text(left, y, line, 13))
    y += 26
    across, own = len(patch.columns), patch.own
    beside = 2 * across * _FEWEST + _SIGN <= width
    cell = max(min((width - beside * _SIGN) / across / (1 + beside), _CELL), 4.0)
    high, wide = min(_ROW, cell) * len(patch.rows), across * cell
    parts.append(_grid(patch.inputs, "the patch", left, y, cell, own, _padding(patch)))
    x, middle = (left + wide + _SIGN, y + high / 2) if beside else (left, y + 1.5 * high + 36)
    parts.append(_sign("\u00d7", *((x - _SIGN / 2, middle) if beside else (left + wide / 2, y + high + 14))))
    parts.append(_grid(patch.weights, "the kernel", x, middle - high / 2, cell, own))
    low, terms = middle + high / 2, _terms(patch, symbol)
    if x + wide + _SIGN / 2 + max(svg.wide(line, 12, bold) for line, bold in terms) <= left + width:
        sums, end = _sums(terms, x + wide + _SIGN / 2, middle)
    else:
        sums, end = _sums(terms, left, low + 12 + 9 * len(terms))
    return "".join([*parts, sums]), max(low, end) + 6


def words(patch: Patch) -> str:
    """Which window the unit reads."""
    where = f"columns {_range(patch.columns)}"
    where = f"rows {_range(patch.rows)} and {where}" if patch.is_flat else where.replace("columns", "positions")
    of = f" of channel {patch.channel}" if patch.channels > 1 else ""
    marked = " Outlined: the weight, and the input that it multiplies here." if patch.own else ""
    return f"{patch.name} reads {where}{of}: each input times its weight of the kernel, added up.{marked}"


def _range(places: tuple[int, ...]) -> str:
    inside = [place for place in places if place >= 0]
    if not inside:
        return "of padding"
    apart = {b - a for a, b in itertools.pairwise(inside)}
    listed = f"{inside[0]}\u2013{inside[-1]}" if apart == {1} else ", ".join(map(str, inside))
    return listed + (" and padding" if len(inside) < len(places) else "")


def _padding(patch: Patch) -> Array:
    """Which cells lie on padding."""
    return (np.array(patch.rows) < 0)[:, None] | (np.array(patch.columns) < 0)


def _power(numbers: Array) -> int:
    """By which power of ten to divide, so that two decimals say something."""
    most = float(np.abs(numbers).max(initial=0.0))
    return 0 if most == 0 or 0.1 <= most < 100 else math.floor(math.log10(most))


def _grid(
    numbers: Array,
    name: str,
    x: float,
    y: float,
    cell: float,
    own: tuple[int, int] | None,
    padding: Array | None = None,
) -> str:
    """Numbers in a grid: blue above 0, orange below; padding is dashed."""
    power, high = _power(numbers), min(_ROW, cell)
    most = float(np.abs(numbers).max(initial=0.0)) or 1.0
    scale = f", in units of 1e{power}".replace("-", "\u2212") if power else ""
    parts = [svg.text(x, y - 4, name + scale, 11, colour="soft")]
    for (row, column), number in np.ndenumerate(numbers):
        at = x + column * cell, y + row * high
        shade = f' fill-opacity="{0.45 * abs(number) / most:.2f}"'
        dash = ' stroke-dasharray="3 3"' if padding is not None and padding[row, column] else ""
        place = f' data-cell="{name.removeprefix("the ")} {row} {column}"'
        parts.append(svg.box(*at, cell, high, "minus" if number < 0 else "plus", None, shade, 0))
        parts.append(
            f'<rect x="{at[0]:.1f}" y="{at[1]:.1f}" width="{cell:.1f}" height="{high:.1f}" fill="none" class="s-soft"'
            f"{dash}{place}/>"
        )
        if cell >= _FEWEST:
            size = 11 if cell >= 36 else 9
            shown = f"{number / 10.0**power:.2f}".replace("-", "\u2212") if number else "0"
            parts.append(svg.text(at[0] + cell / 2, at[1] + high / 2 + 4, shown, size, anchor="middle"))
    if own is not None:
        at = x + own[1] * cell, y + own[0] * high
        parts.append(
            f'<rect x="{at[0]:.1f}" y="{at[1]:.1f}" width="{cell:.1f}" height="{high:.1f}" fill="none" class="s-ink"'
            ' stroke-width="2.5"/>'
        )
    return f'<g class="{name.removeprefix("the ")}">{"".join(parts)}</g>'


def _sign(sign: str, x: float, y: float) -> str:
    return svg.text(x, y + 6, sign, 17, anchor="middle", bold=True)


def _terms(patch: Patch, symbol: str) -> list[tuple[str, bool]]:
    """What the products of the grids, all others and the bias add up to."""
    terms = [(f"= {short(patch.sum)}", False)]
    if patch.others:
        others = f"{patch.channels - 1} more channels" if patch.channels > 1 else f"{patch.others} more"
        terms += [(f"+ {_enclosed(patch.rest)} ({others})", False)]
    if patch.bias is not None:
        terms += [(f"+ {_enclosed(patch.bias)} (bias)", False)]
    return (
        [*terms, (f"= {short(patch.value)} = {symbol}", True)]
        if len(terms) > 1
        else [(f"{terms[0][0]} = {symbol}", True)]
    )


def _enclosed(number: float) -> str:
    return f"({short(number)})" if number < 0 else short(number)


def _sums(terms: list[tuple[str, bool]], x: float, middle: float) -> tuple[str, float]:
    """The sums, level with `middle`, and their bottom edge."""
    y = middle - 9 * (len(terms) - 1) + 4
    parts = [svg.text(x, y + 18 * k, line, 12, bold=bold) for k, (line, bold) in enumerate(terms)]
    return f'<g class="sums">{"".join(parts)}</g>', y + 18 * (len(terms) - 1)
