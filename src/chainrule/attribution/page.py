"""Why a prediction is as it is, as one HTML file that works offline."""

from __future__ import annotations

from html import escape

import numpy as np

from chainrule.attribution import text
from chainrule.attribution.changes import Changes
from chainrule.attribution.heat import LESS, MORE, bar, heat_map, is_picture
from chainrule.attribution.reasons import Why
from chainrule.explain.html import PRINT_ALL, Html, document, paragraph, table

MOST = 60
"""The parts that a table lists; the others are added up."""

_STYLE = """
.short { background: var(--soft); border-radius: .5rem; padding: .6rem .9rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; margin: .8rem 0; }
figure { margin: 0; } figcaption { font-size: .9rem; max-width: 264px; }
.token { display: inline-block; border-radius: .25rem; padding: .05rem .3rem; margin: .12rem .06rem; }
.bar { vertical-align: middle; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
"""


def page(w: Why, most: int = text.SHOWN) -> str:
    """The whole file, with so many units of each layer and paths."""
    title, _, line = text.head(w)
    body = f'<h1>{escape(title)}</h1><p class="short">{escape(line)}</p>{content(w, most)}'
    return document(f"Why {w.predicted}", body, _STYLE, PRINT_ALL)


def content(w: Why, most: int = text.SHOWN) -> str:
    """What each part adds, the sums, paths and changes."""
    levels = [
        ("What each part adds", "".join(map(paragraph, text.sums(w))) + attributions(w)),
        *([("Every output", _each(w))] if w.explained > 1 else []),
        ("What would change it", "".join(_changes(w, one) for one in w.changes)),
        ("Derivatives: the chain rule from the inputs that add most", _derivatives(w, most)),
    ]
    return "".join(
        f"<details{' open' if k < 3 else ''}><summary>{escape(title)}</summary>{inner}</details>"
        for k, (title, inner) in enumerate(levels)
        if inner
    )


def attributions(w: Why) -> str:
    """What each part adds: over the picture, over the text, and as a table with bars."""
    shown = ""
    if is_picture(w.sample.x.shape):
        shown = _pictures(w)
    elif any(part.kind in ("token", "tokens") for part in w.sample.parts):
        shown = "".join(tokens(w, k) for k in range(len(w.sample.parts)) if w.sample.parts[k].kind == "tokens")
        shown = shown or tokens(w)
    return shown + _table(w)


def _pictures(w: Why) -> str:
    """A heat map for each explained output."""
    figures = []
    for k in range(w.explained):
        own = w.integral.attributions[k]
        name = w.outputs.names[k]
        drawn = heat_map(own, w.sample.x, f"attributions to {name}")
        words = f"{name}: {w.integral.start[k]:.4g} at the baseline, {w.integral.end[k]:.4g} here"
        figures.append(f"<figure>{drawn}<figcaption>{escape(words)}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>{paragraph(LEGEND)}'


LEGEND = "Blue adds to the output, orange takes away; the stronger the colour, the more."


def tokens(w: Why, part: int | None = None, output: int = 0) -> str:
    """The tokens of a column of text, or of a text, coloured by what each adds."""
    flat = w.integral.attributions[output].ravel()
    if part is None:
        each = [(p.value, float(flat[p.entries].sum())) for p in w.sample.parts if p.kind == "token"]
        title = ""
    else:
        own = w.sample.parts[part]
        length = int(w.sample.x.ravel()[own.entries[-1]])
        title = f"{own.name}: "
        each = [(label, float(flat[e])) for label, e in zip(own.labels[:length], own.entries[:length], strict=True)]
    largest = max((abs(value) for _, value in each), default=0.0) or 1.0
    shown = "".join(
        f'<span class="token" title="{value:+.4g}" style="background:{_tint(value, largest)}">{escape(label)}</span>'
        for label, value in each
    )
    return f"<p>{escape(title)}{shown}</p>{paragraph(LEGEND)}"


def _tint(value: float, largest: float) -> str:
    share = round(70 * abs(value) / largest)
    return f"color-mix(in srgb, {MORE if value > 0 else LESS} {share}%, transparent)"


def _table(w: Why) -> str:
    own, order = w.of_parts(), w.strongest
    largest = float(np.abs(own).max(initial=0.0))
    rows = []
    for k in order[:MOST]:
        part, slope = w.sample.parts[k], w.slope_of(w.sample.parts[k])
        rows.append([
            part.name, part.value, w.baseline.values[k], f"{own[k]:+.6g}", "" if slope is None else f"{slope:+.4g}",
            Html(bar(float(own[k]), largest)),
        ])  # fmt: skip
    rest = own[order[MOST:]]
    if len(rest):
        rows.append([f"{len(rest):,} more", "", "", f"{rest.sum():+.6g}", "", ""])
    total = ["sum", "", "", f"{w.integral.attributions[0].sum():+.6g}", "", ""]
    return table(["", "value", "baseline", "adds", "derivative, by its unit", " "], rows, total)


def _each(w: Why) -> str:
    names = w.outputs.names[: w.explained]
    each = [w.of_parts(k) for k in range(w.explained)]
    rows = [[w.sample.parts[k].name, *(f"{own[k]:+.4g}" for own in each)] for k in w.strongest[:MOST]]
    rest = w.strongest[MOST:]
    if rest:
        rows.append([f"{len(rest):,} more", *(f"{own[rest].sum():+.4g}" for own in each)])
    rows.append(["baseline", *(f"{value:.4g}" for value in w.integral.start)])
    return table(["adds to", *names], rows, ["sum", *(f"{value:.4g}" for value in w.integral.end)])


def _derivatives(w: Why, most: int) -> str:
    found = paragraph(text.derivatives_title(w))
    for one in w.paths:
        tables = "".join(table(*text.cut_table(w, one, cut, most)) for cut in text.listed_cuts(one))
        title, *lines = text.path_lines(w, one, most)
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        found += f"{paragraph(text.derivative_line(w, one))}{tables}{paragraph(title)}<ul>{items}</ul>"
    return found


def _changes(w: Why, found: Changes) -> str:
    title, *lines = text.changes(found)
    before = ""
    if found.along is not None and is_picture(w.sample.x.shape):
        step = found.along.x.astype(np.float64) - w.sample.x
        words = f"the smallest step along the gradient: {found.along.before} becomes {found.along.after}"
        before = f"<figure>{heat_map(step, w.sample.x, words)}<figcaption>{escape(words)}</figcaption></figure>"
    listed = "".join(f"<li>{escape(line.strip())}</li>" for line in lines)
    searched = paragraph(f"Searched: {'; '.join(found.searched)}.")
    return f"{paragraph(title)}{before}<ul>{listed}</ul>{searched}"
