"""What an object says of itself: as text in a terminal, as HTML in a notebook.

Names come from users' files, so nothing that they contain is markup: control characters, which
could command a terminal, are shown as escape sequences, and HTML is escaped. A picture takes the
colours of the page around it, which may be light or dark; it needs no script and no network.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
CONTROLS |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}  # of direction
LONGEST, WIDEST = 160, 80
"""Longer lines, and longer cells of a table, are cut in a terminal."""
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character (Unicode block 2800), by row and column."""
MOST_LINES = 19
MOST_ROWS = 60
"""The most rows of a table, in a terminal with everything else and in a notebook."""


def visible(text: str) -> str:
    """A text with control characters, other than line breaks and tabs, as escape sequences."""
    return text.translate(CONTROLS)


def one_line(name: object) -> str:
    """A name without control characters and line breaks."""
    return visible(str(name)).replace("\n", "\\n")


def short(text: str, most: int = WIDEST) -> str:
    """A text, cut if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


@dataclass(frozen=True)
class Table:
    """Rows of cells below a head.

    Attributes:
        title: what the rows are
        head: the columns' headings
        rows: the cells of each row
        aligned: for each column "l" or "r"; by default all are left-aligned
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    aligned: str = ""

    def lines(self, most: int) -> list[str]:
        """The table in at most this many lines of text, of which one is the head."""
        rows = [self.head, *_shortened(self.rows, most - 1, len(self.head))]
        cells = [[short(one_line(cell)) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        aligned = self.aligned or "l" * len(widths)
        lines = (
            "  ".join(
                cell.rjust(w) if side == "r" else cell.ljust(w)
                for cell, w, side in zip(row, widths, aligned, strict=True)
            )
            for row in cells
        )
        return [line.rstrip() for line in lines]

    def html(self) -> str:
        """The table, to open by click."""
        aligned = [' class="r"' if side == "r" else "" for side in self.aligned or "l" * len(self.head)]

        def row(cells: Sequence[str], tag: str) -> str:
            inner = (f"<{tag}{a}>{_escaped(cell)}</{tag}>" for cell, a in zip(cells, aligned, strict=True))
            return f"<tr>{''.join(inner)}</tr>"

        body = "".join(row(cells, "td") for cells in _shortened(self.rows, MOST_ROWS, len(self.head)))
        return (
            f"<details><summary>{_escaped(self.title)}</summary><table><thead>{row(self.head, 'th')}</thead>"
            f"<tbody>{body}</tbody></table></details>"
        )


def _shortened(rows: Sequence[Sequence[str]], most: int, width: int) -> list[Sequence[str]]:
    """The rows; of more than `most` the first and the last, with how many are between them."""
    if len(rows) <= most:
        return list(rows)
    first = most // 2
    last = max(most - first - 1, 0)
    gap = [f"... {len(rows) - first - last} more"] + [""] * (width - 1)
    return [*rows[:first], gap, *rows[len(rows) - last :]]


@dataclass(frozen=True)
class Summary:
    """The description of an object.

    Attributes:
        title: its name, or its kind
        about: what it is, in a few words
        facts: what is to be known about it, by name
        table: its parts, if it has some
        curves: numbers over the epochs, by name; drawn in a notebook only
        notes: sentences, one a line
    """

    title: str
    about: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def text(self) -> str:
        """At most MOST_LINES lines."""
        lines = [one_line(f"{self.title}: {self.about}" if self.about else self.title)]
        lines += [f"  {line}" for line in fact_lines(self.facts)]
        lines += [f"  {one_line(note)}" for note in self.notes]
        lines = lines[:MOST_LINES]
        if self.table is not None and self.table.rows and len(lines) < MOST_LINES - 3:
            lines += [f"  {line}" for line in self.table.lines(MOST_LINES - len(lines))]
        return "\n".join(short(line, LONGEST) for line in lines)

    def html(self) -> str:
        """A self-contained fragment of a page."""
        facts = "".join(f"<dt>{_escaped(k)}</dt><dd>{_escaped(v)}</dd>" for k, v in self.facts.items())
        notes = "".join(f"<p>{_escaped(note)}</p>" for note in self.notes)
        table = self.table.html() if self.table is not None and self.table.rows else ""
        listed = f"<dl>{facts}</dl>" if facts else ""
        return fragment(
            f"<p><b>{_escaped(self.title)}</b> {_escaped(self.about)}</p>"
            f'<div class="row">{listed}{curve(self.curves)}</div>{notes}{table}'
        )


def fragment(content: str) -> str:
    """HTML for a notebook, in the style of all summaries."""
    return f'<div class="chainrule-summary"><style>{_STYLE}</style>{content}</div>'


def fact_lines(facts: Mapping[str, str], most: int = 0) -> list[str]:
    """Facts as lines of text with their values below one another, each in lines of at most so many
    characters; 0 for one line each.
    """
    shown = {one_line(name): one_line(value) for name, value in facts.items()}
    width = max(map(len, shown), default=0)
    lines = []
    for name, value in shown.items():
        parts = _wrapped(value, most - width - 2) if most > width + 20 else [value]
        lines += [f"{name if k == 0 else '':<{width}}  {part}" for k, part in enumerate(parts or [""])]
    return lines


def _wrapped(text: str, most: int) -> list[str]:
    """A text in lines; words, such as paths, stay whole."""
    return textwrap.wrap(text, most, break_long_words=False, break_on_hyphens=False)


class Shown:
    """An object that describes itself by a summary, in a terminal and in a notebook."""

    def summary(self) -> Summary:
        """What it says of itself."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.summary().text()

    def _repr_html_(self) -> str:
        return self.summary().html()


def _escaped(text: object) -> str:
    return escape(one_line(text))


_STYLE = """
.chainrule-summary { color: inherit; font-size: .92em; line-height: 1.45; max-width: 60rem; }
.chainrule-summary p { margin: .2em 0; }
.chainrule-summary .row { display: flex; flex-wrap: wrap; gap: .2em 2em; align-items: flex-start; }
.chainrule-summary dl { display: grid; grid-template-columns: max-content auto; gap: .1em 1em; margin: .2em 0;
  flex: 1 1 20rem; min-width: 0; align-content: start; }
.chainrule-summary dt { opacity: .75; margin: 0; font-weight: normal; white-space: nowrap; width: auto; }
.chainrule-summary dd { margin: 0; overflow-wrap: anywhere; }
.chainrule-summary summary { cursor: pointer; }
.chainrule-summary table { border-collapse: collapse; margin: .3em 0; font-variant-numeric: tabular-nums; }
.chainrule-summary :is(td, th) { text-align: left; padding: .1em 1.2em .1em 0; background: none; color: inherit;
  border: 0; border-bottom: 1px solid rgb(128 128 128 / .3); white-space: normal; }
.chainrule-summary :is(td, th).r { text-align: right; }
.chainrule-summary progress { width: 12em; vertical-align: middle; accent-color: #3b7dd8; }
""".replace("\n", "")

_COLOURS = ("#3b7dd8", "#cf6a0f")
"""Of the first and the second curve: at least 3 to 1 against white and against #111."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 340, 130, 52, 18
"""The size of the picture, and the room for the numbers at its edges."""


def curve(lines: Mapping[str, Sequence[float]]) -> str:
    """Numbers over the epochs as SVG, on a logarithmic scale: the first curve is a solid line, the
    second is dashed. Empty if there are no two positive numbers to draw.
    """
    positive = [v for values in lines.values() for v in values if math.isfinite(v) and v > 0]
    length = max((len(values) for values in lines.values()), default=0)
    if length < 2 or not positive:
        return ""
    low, high = min(positive), max(positive)
    span = math.log(high) - math.log(low) or 1.0

    def place(k: int, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - 4) * k / (length - 1)
        y = 4 + (_HEIGHT - _BOTTOM - 8) * (math.log(high) - math.log(value)) / span
        return f"{x:.1f},{y:.1f}"

    parts = []
    for number, (name, values) in enumerate(lines.items()):
        dashes = ' stroke-dasharray="5 3"' * (number % 2)
        colour = _COLOURS[number % 2]
        drawn = " ".join(place(k, values[k]) for k in _thinned(values) if math.isfinite(values[k]) and values[k] > 0)
        right, y = _WIDTH - 6, 14 + 13 * number
        parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'
            f'<text x="{right - 26}" y="{y}" text-anchor="end">{_escaped(name)}</text>'
            f'<path d="M{right - 22} {y - 4}h22" stroke="{colour}" stroke-width="2"{dashes}/>'
        )
    bottom = _HEIGHT - _BOTTOM
    marks = (
        f'<path d="M{_LEFT} 2V{bottom}H{_WIDTH}" fill="none" stroke="currentColor" opacity=".35"/>'
        f'<text x="{_LEFT - 4}" y="12" text-anchor="end">{high:.3g}</text>'
        f'<text x="{_LEFT - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 4}">1</text>'
        f'<text x="{_WIDTH - 2}" y="{_HEIGHT - 4}" text-anchor="end">epoch {length}</text>'
    )
    title = f"<title>{_escaped(' and '.join(lines))} over {length} epochs</title>"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" font-size="11"'
        f' fill="currentColor" style="max-width:100%;height:auto">{title}{marks}{"".join(parts)}</svg>'
    )


def _thinned(values: Sequence[float], most: int = 200) -> Iterable[int]:
    """The numbers of at most this many of the values, evenly spaced, with the last."""
    step = max(-(-len(values) // most), 1)
    return sorted({*range(0, len(values), step), max(len(values) - 1, 0)} if values else ())
