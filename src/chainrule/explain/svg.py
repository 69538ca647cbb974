"""Building blocks of the SVG pictures: text whose width is known, colours for light and dark, and
the document around them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from html import escape

from chainrule.summary import one_line

PALETTE = {
    "ink": ("#1b1b1b", "#ececea"),
    "soft": ("#555553", "#b8b8b4"),
    "paper": ("#ffffff", "#191918"),
    "card": ("#f4f4f2", "#2a2a28"),
    "plus": ("#1d5fa6", "#8fc1f5"),
    "minus": ("#a04a08", "#f2a766"),
    "back": ("#e3ecf6", "#1d2c3e"),
    "descent": ("#2b6e43", "#7cc498"),
    "ground": ("#eef5f0", "#1a2a20"),
}
"""Each colour on a light and on a dark background."""

_WIDTHS = defaultdict(
    lambda: 0.64,
    dict.fromkeys(" .,:;|[]()/\u2032il", 0.4)
    | dict.fromkeys("=+\u2212\u00d7\u2192", 0.84)
    | dict.fromkeys("mMW", 0.98),
)
"""The widths of characters in em; those not listed are narrower than 0.64."""
LINE = 15
"""The distance between lines of text."""


def wide(text: str, size: float = 11, bold: bool = False) -> float:
    """An upper bound on the width of a text: the pictures stay clear in every font that may be
    used. The widest of them is DejaVu Sans.
    """
    return size * sum(map(_WIDTHS.__getitem__, text)) * (1.1 if bold else 1.0)


@lru_cache(maxsize=4096)  # a box asks for its height before it is drawn, and a scheme for several layouts
def wrapped(text: str, room: float, size: float = 11, bold: bool = False) -> tuple[str, ...]:
    """The lines of a text, broken at spaces, except at one in quotes, which is a token; a name that
    is too long is broken at a dot or an underscore.
    """
    lines = [""]
    for word in re.split(" (?!')|(?<!') ", text):
        longer = f"{lines[-1]} {word}".strip()
        if wide(longer, size, bold) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        while wide(word, size, bold) > room:
            fits = max(k for k in range(1, len(word)) if wide(word[:k], size, bold) <= room)
            fits = word.rfind(".", 0, fits) + 1 or word.rfind("_", 0, fits) + 1 or fits
            lines[-1:] = [word[:fits], ""]
            word = word[fits:]
        lines[-1] = word
    return tuple(lines)


def text(
    x: float, y: float, words: str, size: float = 11, *, colour: str = "ink", bold: bool = False, anchor: str = "start"
) -> str:
    """A line of text with its baseline at y."""
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" class="f-{colour}"{weight}>'
        f"{escape(one_line(words))}</text>"
    )


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    fill: str,
    line: str | None = None,
    extra: str = "",
    radius: int = 8,
) -> str:
    """A rectangle with rounded corners."""
    stroke = f' s-{line}" stroke-width="1.5' if line else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"'
        f' class="f-{fill}{stroke}"{extra}/>'
    )


def fraction(x: float, y: float, above: str, below: str, size: float = 11, colour: str = "ink") -> str:
    """A fraction around a bar that is centred at x, y."""
    half = max(wide(above, size), wide(below, size)) / 2
    return (
        text(x, y - 4, above, size, anchor="middle", colour=colour)
        + f'<line x1="{x - half:.1f}" y1="{y:.1f}" x2="{x + half:.1f}" y2="{y:.1f}" class="s-{colour}"/>'
        + text(x, y + size + 1, below, size, anchor="middle", colour=colour)
    )


def document(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    """A picture of this size. As part of a page it is as light or dark as the page, on its own as
    the reader's system.
    """
    rules = "".join(
        f".chainrule .{kind}-{name}{{{prop}:{light};{prop}:light-dark({light},{dark})}}"
        for name, (light, dark) in PALETTE.items()
        for kind, prop in (("f", "fill"), ("s", "stroke"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chainrule" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" style="max-width:100%;height:auto" role="img"'
        ' font-family="Helvetica, Arial, DejaVu Sans, sans-serif">'
        f"<title>{escape(title)}</title><style>svg.chainrule:root{{color-scheme:light dark}}{rules}</style>"
        '<rect width="100%" height="100%" class="f-paper"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
