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


def text(value: object) -> str:
    """A value as text of a page: escaped, in one line, with control characters shown."""
    return escape(one_line(value))


def paragraph(words: object, kind: str = "") -> Html:
    """A paragraph of text."""
    return Html(f"<p{f' class={kind!r}' if kind else ''}>{text(words)}</p>")


def facts(values: Mapping[str, object]) -> Html:
    """Names with what they are."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{_cell(value)}</dd>" for name, value in values.items())
    return Html(f"<dl>{rows}</dl>")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], aligned: str = "", caption: str = "") -> Html:
    """A table; cells are text or `Html`.

    Args:
        head: the headings of the columns
        rows: the cells of each row
        aligned: for each column "l" or "r"; by default all are left-aligned
        caption: what the rows are
    """
    sides = [' class="r"' if side == "r" else "" for side in aligned or "l" * len(head)]
    top = "".join(f'<th scope="col"{side}>{text(name)}</th>' for name, side in zip(head, sides, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{side}>{_cell(cell)}</td>" for cell, side in zip(row, sides, strict=True)) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = paragraph(f"and {len(rows) - MOST_ROWS:,} more", "more") if len(rows) > MOST_ROWS else ""
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    drawn = f"<table>{named}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return Html(f'<div class="table">{drawn}</div>{more}')


def _cell(value: object) -> str:
    return value if isinstance(value, Html) else text(value)


def side_by_side(*parts: str) -> Html:
    """Parts beside one another, as far as there is room."""
    return Html(f'<div class="row">{"".join(parts)}</div>')
