"""A section of a report, and the HTML that sections share. Everything from a user is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from chainrule.explain.html import Html
from chainrule.summary import one_line

MOST_ROWS = 60
"""The most rows of a table; how many more there are is said below it."""
FEW_ROWS = 30
"""Tables of at most so many rows are not divided between two pages of paper."""
LONGEST, LONGEST_FACT, LONGEST_CELL, LONGEST_NAME = 1200, 600, 240, 48
"""The most characters of a paragraph, of a fact, of a cell of a table, and of a name from a user's
file; of longer ones the beginning is shown.
"""
UNBROKEN = 16
"""Cells of at most so many characters, such as dates, stay on one line."""


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        key: its name in JSON and in links
        title: its heading
        about: what it shows, in a sentence or two, for a reader who knows nothing about chainrule
        html: its content
        data: its content as values that JSON can represent
        missing: why there is no content; empty if there is some
        scripts: the sources of scripts that the page must allow for it
    """

    key: str
    title: str
    about: str
    html: str = field(repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    missing: str = ""
    scripts: tuple[str, ...] = ()


def cut(value: object, most: int = LONGEST_NAME) -> str:
    """A value in one line, with control characters shown, of at most so many characters."""
    shown = one_line(str(value)[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def text(value: object, most: int = LONGEST) -> str:
    """A value as text of a page: escaped, in one line, with control characters shown."""
    return escape(cut(value, most))


def number(value: float) -> str:
    """A quantity in a user's unit, with four significant figures, or more where it is large:
    without a power of ten, unless it is very large or very small.

    Examples:
        >>> number(435800.0), number(0.25), number(1.5e12), number(float("nan"))
        ('435,800', '0.25', '1.5e+12', 'nan')
    """
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def numbered(count: int, noun: str) -> str:
    """A count with its noun: 1 layer, 2 layers."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def paragraph(words: object, kind: str = "") -> Html:
    """A paragraph of text."""
    return Html(f"<p{f' class={kind!r}' if kind else ''}>{text(words)}</p>")


def facts(values: Mapping[str, object]) -> Html:
    """Names with what they are."""
    rows = "".join(
        f"<dt>{text(name, LONGEST_NAME)}</dt><dd>{_cell(value, LONGEST_FACT)}</dd>" for name, value in values.items()
    )
    return Html(f"<dl>{rows}</dl>")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], aligned: str = "", caption: str = "") -> Html:
    """A table; cells are text or `Html`.

    Args:
        head: the headings of the columns
        rows: the cells of each row
        aligned: for each column "l" or "r"; by default all are left-aligned
        caption: what the rows are
    """
    sides = ["r" if side == "r" else "" for side in aligned or "l" * len(head)]
    top = "".join(
        f'<th scope="col"{_classes(side)}>{text(name, LONGEST_NAME)}</th>'
        for name, side in zip(head, sides, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_data_cell(cell, side) for cell, side in zip(row, sides, strict=True)) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = paragraph(f"and {len(rows) - MOST_ROWS:,} more", "more") if len(rows) > MOST_ROWS else ""
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    drawn = f"<table>{named}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    kinds = "table whole" if len(rows) <= FEW_ROWS else "table"
    return Html(f'<div class="{kinds}">{drawn}</div>{more}')


def _data_cell(value: object, side: str) -> str:
    unbroken = "u" if not isinstance(value, Html) and len(str(value)) <= UNBROKEN else ""
    return f"<td{_classes(side, unbroken)}>{_cell(value)}</td>"


def _classes(*names: str) -> str:
    present = " ".join(filter(None, names))
    return f' class="{present}"' if present else ""


def _cell(value: object, most: int = LONGEST_CELL) -> str:
    return value if isinstance(value, Html) else text(value, most)


def side_by_side(*parts: str) -> Html:
    """Parts beside one another, as far as there is room."""
    return Html(f'<div class="row">{"".join(parts)}</div>')
