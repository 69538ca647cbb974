"""A report as text, at most 80 columns wide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

import numpy as np

from chainrule.arrays import Array
from chainrule.training.report import Report
from chainrule.training.scores import BINS, Reliability

WIDTH = 80
LONGEST = 24
"""Longer labels are cut."""
MOST_CLASSES = 20
"""Of more classes, those with the lowest F1 are shown."""
MOST_CONFUSIONS = 10
WORDS = {"f1": "F1", "roc": "ROC", "auc": "AUC", "r2": "R2", "d2": "D2", "neg": "negative"}
NAMES = {
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "calibration_error": "calibration error (ECE)",
    "rank_mae": "mean absolute error in ranks",
    "quadratic_kappa": "quadratic weighted kappa",
    "pinball": "pinball loss",
    "negative_log_likelihood": "negative log-likelihood",
}
OF_ONE_CLASS = ("precision", "recall", "f1", "jaccard", "average_precision")
PERCENTAGES = ("accuracy", "balanced_accuracy")


def label(metric: str) -> str:
    """A metric's name in words."""
    return NAMES.get(metric, " ".join(WORDS.get(word, word) for word in metric.split("_")))


def number(metric: str, value: float) -> str:
    """A metric's value: accuracies and coverage in percent, NaN as a dash."""
    if math.isnan(value):
        return "-"
    is_share = metric in PERCENTAGES or metric.startswith("coverage")
    return f"{100 * value:.1f} %" if is_share else f"{value:.4g}"


def text(report: Report) -> str:
    """The report on a page: its metrics and, for classes, the scores of each, what was confused
    with what, and the reliability of the probabilities.
    """
    rows = [["samples", f"{report.samples:,}"]]
    if report.threshold is not None:
        second = _shortened(report.classes[1].label, LONGEST)
        rows.append(["threshold", f"{report.threshold:.4g} or more: {second}"])
    rows += [[label(name) + _average(name, report), number(name, value)] for name, value in report.metrics.items()]
    parts = [_table(rows, "ll")]
    if report.confusion is not None:
        parts += [_of_classes(report), _confusion(report, report.confusion)]
    if report.reliability is not None:
        parts.append(_reliability(report, report.reliability))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _average(metric: str, report: Report) -> str:
    """Of which class a metric of one class is."""
    if metric not in OF_ONE_CLASS or not report.classes:
        return ""
    return f" ({_shortened(report.classes[1].label, LONGEST)})" if len(report.classes) == 2 else " (macro)"


def _of_classes(report: Report) -> list[str]:
    heading = ["class", "precision", "recall", "F1", "avg. precision", "samples"]
    shown = sorted(report.classes, key=lambda scores: scores.f1)[:MOST_CLASSES]
    left_out = len(report.classes) - len(shown)
    shown = shown if left_out else list(report.classes)
    rows = [
        [_shortened(c.label, LONGEST), *(_share(v) for v in (c.precision, c.recall, c.f1, c.average_precision)),
         f"{c.support:,.6g}"]
        for c in shown
    ]  # fmt: skip
    lines = _table([heading, *rows], "lrrrrr")
    return lines + ([f"and {left_out} classes with a higher F1"] if left_out else [])


def _confusion(report: Report, confusion: Array) -> list[str]:
    """The matrix where it fits; otherwise the confusions that occur most often."""
    labels = [_shortened(scores.label, LONGEST) for scores in report.classes]
    cells = [[f"{cell:,.6g}" for cell in row] for row in confusion.tolist()]
    for longest in (12, 6):
        above = [_shortened(scores.label, longest) for scores in report.classes]
        lines = _table(
            [["true \\ predicted", *above], *([name, *row] for name, row in zip(labels, cells, strict=True))]
        )
        if len(lines) <= MOST_CLASSES + 1 and max(map(columns, lines)) <= WIDTH and len(set(above)) == len(above):
            return lines
    wrong = confusion * (1 - np.eye(len(labels)))
    most = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    places = [(int(place) // len(labels), int(place) % len(labels)) for place in most]
    rows = [[labels[k], labels[j], cells[k][j]] for k, j in places if wrong[k, j] > 0]
    if not rows:
        return []
    several = len(np.flatnonzero(wrong)) > len(rows)
    title = "most often confused" if several else "confused"
    return [title, *_table([["true class", "predicted", "samples"], *rows], "llr")]


def _reliability(report: Report, reliability: Reliability) -> list[str]:
    is_binary = len(report.classes) == 2
    what = f"probability of {_shortened(report.classes[1].label, LONGEST)}" if is_binary else "largest probability"
    rows = [
        [f"{k / BINS:.1f} to {(k + 1) / BINS:.1f}", f"{confidence:.3f}", f"{frequency:.3f}", f"{weight:,.6g}"]
        for k, (weight, confidence, frequency) in enumerate(zip(*reliability, strict=True))
        if weight > 0
    ]
    heading = [what, "mean", "came true" if is_binary else "accuracy", "samples"]
    return _table([heading, *rows], "lrrr")


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _shortened(label: object, longest: int) -> str:
    """A label in one line, at most so many columns wide."""
    text = "".join(character if character.isprintable() else "?" for character in str(label))
    if columns(text) <= longest:
        return text
    text = text[:longest]
    while columns(text) > longest - 3:
        text = text[:-1]
    return text + "..."


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for each wide character, none for an accent
    that is combined with the letter before it.
    """
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _table(rows: Sequence[Sequence[str]], sides: str = "") -> list[str]:
    """Rows of cells as aligned lines; each column to the left or right ("l" or "r")."""

    def aligned() -> Iterator[list[str]]:
        for k, column in enumerate(zip(*rows, strict=True)):
            width, side = max(map(columns, column)), sides[k : k + 1] or ("r" if k else "l")
            padding = [" " * (width - columns(cell)) for cell in column]
            yield [cell + pad if side == "l" else pad + cell for cell, pad in zip(column, padding, strict=True)]

    return ["  ".join(cells).rstrip() for cells in zip(*aligned(), strict=True)]
