"""Digits of printed arithmetic: as many that what is printed adds up as printed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Context, Decimal

_EXACT = Context(prec=800)
_OF_UPDATE, _OF_WEIGHT = 4, 6
"""How many significant digits an update and a weight have, if they add up then."""


def difference(before: float, update: float, after: float) -> str:
    """before - update = after, rounded to the same place.

    Floating-point numbers are not exact: after may be rounded in a digit that update still has. So
    there are about as many digits as `_OF_UPDATE` and `_OF_WEIGHT` say, but such that the numbers
    add up; if none are, because update is below the precision of before, the line says so.

    Examples:
        >>> difference(0.15, 0.000219284, 0.149780716)
        '0.15 - 0.0002193 = 0.1497807'
        >>> difference(1.5, -2e-9, 1.5)
        '1.5 + 2e-9 = 1.5, rounded'
    """
    sign = "-" if update >= 0 else "+"
    numbers = [before, abs(update), after]
    if not all(map(math.isfinite, numbers)):
        return f"{before:.6g} {sign} {abs(update):.6g} = {after:.6g}"
    for places in _places(*numbers):
        b, u, a = (_rounded(x, places) for x in numbers)
        if (b - u if sign == "-" else b + u) == a and (u or not update):
            return f"{_written(b)} {sign} {_written(u)} = {_written(a)}"
    return f"{before:.6g} {sign} {_written(_rounded(abs(update), _place(update, 4)))} = {after:.6g}, rounded"


def _places(before: float, update: float, after: float) -> Iterator[int]:
    """The decimal places to try: first those wanted, then some more, then fewer."""
    wanted = max(_place(max(abs(before), abs(after)), _OF_WEIGHT), _place(update, _OF_UPDATE))
    yield from range(wanted, wanted + 3)
    yield from range(wanted - 1, _place(update, 1) - 1, -1)


def _place(number: float, digits: int) -> int:
    """The decimal place of the last of so many significant digits."""
    return digits - 1 - math.floor(math.log10(abs(number))) if number else 0


def _rounded(number: float, places: int) -> Decimal:
    return Decimal(number).quantize(Decimal(1).scaleb(-places), context=_EXACT)


def _written(number: Decimal) -> str:
    """Without zeros at the end; as a power of ten where that is shorter to read."""
    number = number.normalize(_EXACT)
    return f"{number:f}" if not number or 1e-6 <= abs(number) < 1e9 else f"{number:e}"
