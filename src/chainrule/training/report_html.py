"""A report in a notebook: tables, the confusion matrix and a reliability diagram.

Like every summary it takes the colours of the page around it, light or dark, and needs neither a
script nor a network. What is drawn is in a table as well, and what colour says is a number, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from chainrule.arrays import Array
from chainrule.summary import fragment, one_line
from chainrule.training import report_text as words
from chainrule.training.report import ClassScores, Report
from chainrule.training.scores import Reliability

MOST_CONFUSED = 30
"""Confusion matrices of more classes are listed by what is confused most."""
BLUE, ORANGE = "59 125 216", "207 106 15"
"""Of what is right, and of what is wrong."""
SIDE, LEFT, BOTTOM = 200, 38, 34
"""The size of the diagram, and the room for the numbers at its edges."""


def html(report: Report) -> str:
    """A self-contained fragment of a page."""
    facts = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in words.facts(report).items())
    parts = [f"<p><b>Report</b> on {_about(report)}</p>", f'<div class="row"><dl>{facts}</dl></div>']
    if report.quantities:
        parts.append(_of_quantities(report))
    if report.classes:
        parts.append(_of_classes("class", report.classes, words.counted(report)))
    if report.labels:
        parts.append(_of_classes("label", report.labels, words.counted(report)))
    if report.confusion is not None:
        parts.append((_confusion_of_labels if report.labels else _confusion)(report, report.confusion))
    if report.reliability is not None:
        parts.append(_reliability(report, report.reliability))
    return fragment("".join(parts))


def _about(report: Report) -> str:
    number, comma, weights = words.samples(report).partition(", ")
    return f"{number} samples{comma}{weights}"


def _of_quantities(report: Report) -> str:
    metrics = list(report.quantities[0].metrics)
    rows = [[one.name, *(words.number(metric, one.metrics[metric]) for metric in metrics)] for one in report.quantities]
    return _table("Each target in its own unit", ["target", *map(words.label, metrics)], rows)


def _of_classes(what: str, scores: Sequence[ClassScores], count: str) -> str:
    shown, left_out = words.worst(scores)
    rows = [
        [one.label, *map(words.share, (one.precision, one.recall, one.f1, one.average_precision)),
         f"{one.support:,.6g}"]
        for one in shown
    ]  # fmt: skip
    caption = f"Each {what}" + (f"; {left_out} more have a higher F1" if left_out else "")
    return _table(caption, [what, "precision", "recall", "F1", "average precision", count], rows)


def _confusion(report: Report, confusion: Array) -> str:
    """The matrix, shaded by the share of each true class; of many classes a list."""
    labels = [words.shortened(one.label, words.LONGEST) for one in report.classes]
    if len(labels) > MOST_CONFUSED:
        head, *rows = words.most_confused(labels, confusion, words.counted(report)) or [[]]
        return _table("Most often confused", head, rows) if rows else ""
    sums = confusion.sum(axis=1).tolist()
    body = []
    for k, row in enumerate(confusion.tolist()):
        cells = [
            f'<td class="r" style="background:rgb({BLUE if j == k else ORANGE} / {0.4 * cell / (sums[k] or 1):.2f})">'
            f"{cell:,.6g}</td>"
            for j, cell in enumerate(row)
        ]
        body.append(f'<tr><th scope="row">{_text(labels[k])}</th>{"".join(cells)}</tr>')
    names = "".join(f'<th scope="col" class="r">{_text(label)}</th>' for label in labels)
    caption = _caption(f"Confusion matrix{_of(report)}: a row for each true class, a column for each predicted one")
    corner = '<th scope="col">true \\ predicted</th>'
    return (
        f'<div style="overflow-x:auto"><table>{caption}<thead><tr>{corner}{names}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _confusion_of_labels(report: Report, confusion: Array) -> str:
    cells = {one.label: counts for one, counts in zip(report.labels, confusion.tolist(), strict=True)}
    rows = [[one.label, *words.decisions(cells[one.label])] for one in words.worst(report.labels)[0]]
    heads = [head.replace("pos.", "positive").replace("neg.", "negative") for head in words.DECISIONS]
    return _table(f"Decisions about each label{_of(report)}", ["label", *heads], rows)


def _of(report: Report) -> str:
    """What the numbers of a matrix are, unless they count samples."""
    return "" if report.weight is None else ", sums of weights"


def _reliability(report: Report, reliability: Reliability) -> str:
    before, after = (_text(" ".join(lines)) for lines in (words.explained(report), words.error(reliability)))
    head, *rows = words.bins(reliability, words.counted(report))
    table = _table("The same as numbers", head, rows)
    diagram = f'<div class="row">{_diagram(reliability)}{table}</div>'
    return f"<p>{before}</p>{diagram}<p>{after}</p>"


def _diagram(reliability: Reliability) -> str:
    """How often predictions came true over their probability, beside the diagonal: of each bin a
    circle whose area shows its samples, and the distance to the diagonal.
    """

    def x(value: float) -> float:
        return LEFT + value * SIDE

    def y(value: float) -> float:
        return 6 + (1 - value) * SIDE

    filled = [row for row in zip(*(column.tolist() for column in reliability), strict=True) if row[0] > 0]
    most = max(weight for weight, _, _ in filled)
    parts = [f'<path d="M{LEFT} {y(0)}L{x(1)} {y(1)}" stroke="currentColor" stroke-dasharray="4 3" opacity=".6"/>',
             f'<path d="M{LEFT} {y(1)}V{y(0)}H{x(1)}" fill="none" stroke="currentColor" opacity=".35"/>']  # fmt: skip
    for weight, confidence, frequency in filled:
        at, radius = f"{x(confidence):.1f}", 3 + 6 * (weight / most) ** 0.5
        parts.append(
            f'<path d="M{at} {y(confidence):.1f}V{y(frequency):.1f}" stroke="rgb({ORANGE})" stroke-width="2"/>'
            f'<circle cx="{at}" cy="{y(frequency):.1f}" r="{radius:.1f}" fill="rgb({BLUE} / .75)"/>'
        )
    for value in (0, 0.5, 1):
        parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4:.0f}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text x="{x(value):.0f}" y="{y(0) + 14:.0f}" text-anchor="middle">{value:g}</text>')
    width, height = SIDE + LEFT + 12, SIDE + BOTTOM + 6
    middle = f'transform="translate(11 {y(0.5):.0f}) rotate(-90)"'
    names = (
        f'<text x="{x(0.5):.0f}" y="{y(0) + 29:.0f}" text-anchor="middle">predicted probability</text>'
        f'<text {middle} text-anchor="middle">came true</text>'
    )
    title = "<title>How often predictions came true, over their probability; on the diagonal both agree</title>"
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" font-size="11"'
        f' fill="currentColor" style="max-width:100%;height:auto">{title}{"".join(parts)}{names}</svg>'
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose first column names its rows; the others are numbers."""
    side = ["", *(' class="r"' for _ in head[1:])]
    top = "".join(f'<th scope="col"{s}>{_text(name)}</th>' for name, s in zip(head, side, strict=True))
    body = "".join(
        f'<tr><th scope="row">{_label(row[0])}</th>' + "".join(f'<td class="r">{_text(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )  # fmt: skip
    content = f"<table>{_caption(caption)}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x:auto">{content}</div>'


def _label(name: object) -> str:
    return _text(words.shortened(name, words.LONGEST))


def _caption(text: str) -> str:
    return f'<caption style="text-align:left;color:inherit;opacity:.75;caption-side:top">{_text(text)}</caption>'


def _text(value: object) -> str:
    return escape(one_line(value))
