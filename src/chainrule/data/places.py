"""Where something is in a file, for messages, also where only some of its rows are looked at."""

from __future__ import annotations


class Place(str):
    """The name of a file of which some rows are looked at.

    Attributes:
        first: the number of its rows before these

    Examples:
        >>> at_row("sales.csv", 11), at_row(Place("sales.csv", 65_536), 11)
        ('sales.csv, row 12', 'sales.csv, row 65548')
    """

    first: int

    def __new__(cls, name: str, first: int = 0) -> Place:
        place = super().__new__(cls, name)
        place.first = first
        return place


def at_row(name: str, row: int) -> str:
    """A row, counted from 0, in words; of a `Place` the rows before it count, too."""
    return f"{name}, row {row + 1 + getattr(name, 'first', 0)}"
