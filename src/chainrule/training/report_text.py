"""A report as text, at most 80 columns wide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.training.catalog import average, has_unit
from chainrule.training.report import ClassScores, QuantityScores, Report
from chainrule.training.scores import BINS, Reliability

WIDTH = 80
LONGEST = 24
"""Longer labels are cut."""
MOST_CLASSES = 20
"""Of more classes, those with the lowest F1 are shown."""
MOST_STEPS = 12
"""The steps of a forecast that are shown."""
OF_STEPS = ("mae", "rmse", "naive_mae", "skill", "coverage_0.9")
MOST_CONFUSIONS = 10
WORDS = {"f1": "F1", "roc": "ROC", "auc": "AUC", "r2": "R2", "d2": "D2", "neg": "negative"}
NAMES = {
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "calibration_error": "expected calibration error (10 bins)",
    "rank_mae": "mean absolute error in ranks",
    "quadratic_kappa": "quadratic weighted kappa",
    "pinball": "pinball loss",
    "negative_log_likelihood": "negative log-likelihood",
    "naive_mae": "naive mean absolute error",
    "skill": "skill against the naive forecast",
}
SHORT = {"mae": "MAE", "rmse": "RMSE", "negative_log_likelihood": "NLL", "naive_mae": "naive MAE", "skill": "skill"}
"""In the heads of tables."""
PERCENTAGES = ("accuracy", "balanced_accuracy")


def label(metric: str, target: Target | None = None) -> str:
    """A metric's name in words; with a target also whose it is, or of what it is the mean: such as
    "F1 (malignant)", "F1 (macro)" or "R2 (mean of 3)".
    """
    name = NAMES.get(metric, " ".join(WORDS.get(word, word) for word in metric.split("_")))
    how = average(metric, target) if target is not None else None
    if target is None or how is None:
        return name
    if how == "uniform_average":
        return f"{name} (mean of {target.width}{', in mixed units' if has_unit(metric) else ''})"
    return f"{name} ({shortened(target.classes[1], LONGEST) if how == 'binary' else how})"


def number(metric: str, value: float) -> str:
    """A metric's value: accuracies and coverage in percent, NaN as a dash, errors in a large unit
    without a power of ten.
    """
    if math.isnan(value):
        return "-"
    is_share = metric in (*PERCENTAGES, "skill") or metric.startswith("coverage")
    if is_share:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def facts(report: Report) -> dict[str, str]:
    """The threshold between two classes, if there is one, and the metrics, in words."""
    found = {}
    if report.threshold is not None:
        found["threshold"] = f"{report.threshold:.4g} or more: {shortened(report.target.classes[1], LONGEST)}"
    return found | {label(name, report.target): number(name, value) for name, value in report.metrics.items()}


def samples(report: Report) -> str:
    """The number of samples, with the sum of their weights if they have some."""
    return f"{report.samples:,}" + ("" if report.weight is None else f", with weights that sum to {report.weight:,.6g}")


def counted(report: Report) -> str:
    """What the numbers of a class, a confusion or a bin are: samples, or sums of weights."""
    return "samples" if report.weight is None else "weight"


def text(report: Report) -> str:
    """The report on a page: its metrics; the scores of each class, label or quantity; what was
    confused with what; and how reliable the probabilities are.
    """
    parts = [_table([["samples", samples(report)], *map(list, facts(report).items())], "ll")]
    if report.quantities:
        parts.append(_of_quantities(report))
    if report.classes:
        parts.append(_of_classes("class", report.classes, counted(report)))
    if report.labels:
        parts.append(_of_classes("label", report.labels, counted(report)))
    if report.confusion is not None:
        parts.append((_confusion_of_labels if report.labels else _confusion)(report, report.confusion))
    if report.reliability is not None:
        parts.append(_reliability(report, report.reliability))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _of_quantities(report: Report) -> list[str]:
    """The metrics of each quantity, in as many tables as it takes; of many the worst ones, of many
    steps some, evenly apart.
    """
    shown = list(report.quantities)
    if report.target.season:
        return _of_steps(shown)
    left_out = len(shown) - MOST_CLASSES
    if left_out > 0:
        shown = sorted(shown, key=lambda one: -math.inf if math.isnan(r := one.metrics.get("r2", 0)) else r)[
            :MOST_CLASSES
        ]
    names = [shortened(one.name, LONGEST) for one in shown]
    lines, waiting = ["each in its own unit"], list(shown[0].metrics)
    while waiting:
        fitting = len(waiting)
        while columns((table := _quantity_table(names, shown, waiting[:fitting]))[0]) > WIDTH and fitting > 1:
            fitting -= 1
        lines, waiting = lines + table, waiting[fitting:]
    return lines + ([f"and {left_out} more, with a higher R2" if "r2" in shown[0].metrics else f"and {left_out} more"]
                    if left_out > 0 else [])  # fmt: skip


def _of_steps(steps: Sequence[QuantityScores]) -> list[str]:
    """The metrics of the steps of a forecast."""
    numbers = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_STEPS)).round().astype(int)).tolist()
    names = [f"{k + 1}" for k in numbers]
    shown = [QuantityScores(one.name, {name: value for name, value in one.metrics.items() if name in OF_STEPS})
             for one in (steps[k] for k in numbers)]  # fmt: skip
    head, *rows = _quantity_table(names, shown, list(shown[0].metrics), "steps ahead")
    return [head, *rows]


def _quantity_table(
    names: Sequence[str], shown: Sequence[QuantityScores], metrics: Sequence[str], what: str = "target"
) -> list[str]:
    heading = [what, *(SHORT.get(metric, label(metric)) for metric in metrics)]
    values = ([number(metric, one.metrics[metric]) for metric in metrics] for one in shown)
    return _table([heading, *([name, *row] for name, row in zip(names, values, strict=True))])


def _of_classes(what: str, scores: Sequence[ClassScores], count: str) -> list[str]:
    heading = [what, "precision", "recall", "F1", "avg. precision", count]
    shown, left_out = worst(scores)
    rows = [
        [shortened(c.label, LONGEST), *(share(v) for v in (c.precision, c.recall, c.f1, c.average_precision)),
         f"{c.support:,.6g}"]
        for c in shown
    ]  # fmt: skip
    plural = "classes" if what == "class" else "labels"
    lines = _table([heading, *rows], "lrrrrr")
    return lines + ([f"and {left_out} {plural} with a higher F1"] if left_out else [])


def worst(scores: Sequence[ClassScores]) -> tuple[list[ClassScores], int]:
    """Of more than MOST_CLASSES those with the lowest F1, and how many others there are."""
    left_out = max(len(scores) - MOST_CLASSES, 0)
    return (sorted(scores, key=lambda one: one.f1)[:MOST_CLASSES] if left_out else list(scores)), left_out


def _confusion_of_labels(report: Report, confusion: Array) -> list[str]:
    """For each label the number of decisions of each kind, or the sums of their weights."""
    cells = {one.label: counts for one, counts in zip(report.labels, confusion.tolist(), strict=True)}
    rows = [[shortened(one.label, LONGEST), *decisions(cells[one.label])] for one in worst(report.labels)[0]]
    return [*_of_weights(report), *_table([["label", *DECISIONS], *rows])]


def _of_weights(report: Report) -> list[str]:
    """A line that says what the numbers of the table below it are, unless they count samples."""
    return [] if report.weight is None else ["sums of weights"]


DECISIONS = ("true pos.", "false pos.", "false neg.", "true neg.")
"""The four kinds of decisions about a label."""


def decisions(confusion: Sequence[Sequence[float]]) -> list[str]:
    """How many there are of each kind, from a label's confusion matrix."""
    (true_negative, false_positive), (false_negative, true_positive) = confusion
    return [f"{n:,.6g}" for n in (true_positive, false_positive, false_negative, true_negative)]


def _confusion(report: Report, confusion: Array) -> list[str]:
    """The matrix where it fits; otherwise the confusions that occur most often."""
    labels = [shortened(scores.label, LONGEST) for scores in report.classes]
    cells = [[f"{cell:,.6g}" for cell in row] for row in confusion.tolist()]
    for longest in (12, 6):
        above = [shortened(scores.label, longest) for scores in report.classes]
        lines = _table(
            [["true \\ predicted", *above], *([name, *row] for name, row in zip(labels, cells, strict=True))]
        )
        if len(lines) <= MOST_CLASSES + 1 and max(map(columns, lines)) <= WIDTH and len(set(above)) == len(above):
            return [*_of_weights(report), *lines]
    rows = most_confused(labels, confusion, counted(report))
    if not rows:
        return []
    several = int((confusion * (1 - np.eye(len(labels))) > 0).sum()) > len(rows) - 1
    return ["most often confused" if several else "confused", *_table(rows, "llr")]


def most_confused(labels: Sequence[str], confusion: Array, count: str) -> list[list[str]]:
    """What is confused most often, below a head; empty if nothing is confused."""
    wrong = confusion * (1 - np.eye(len(labels)))
    most = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    places = [(int(place) // len(labels), int(place) % len(labels)) for place in most]
    rows = [[labels[k], labels[j], f"{confusion[k, j]:,.6g}"] for k, j in places if wrong[k, j] > 0]
    return [["true class", "predicted", count], *rows] if rows else []


def explained(report: Report) -> tuple[str, str]:
    """What it means that probabilities are reliable, in two lines."""
    if report.labels:
        return "Calibration: where a label has the probability 0.8,", "it should apply to 80 % of the samples."
    if len(report.classes) == 2:
        second = shortened(report.classes[1].label, LONGEST)
        return f"Calibration: where {second} has the probability 0.8,", f"80 % of the samples should be {second}."
    return "Calibration: where the predicted class has the probability 0.8,", "80 % of the predictions should be right."


def error(reliability: Reliability) -> tuple[str, str]:
    """The expected calibration error and what it is, in two lines."""
    return (
        f"Expected calibration error: {share(reliability.error)}, the mean size of the difference over",
        f"all samples, in {BINS} bins of equal width.",
    )


def bins(reliability: Reliability, count: str) -> list[list[str]]:
    """A head and, for each bin with samples: its range, the mean prediction, the share that came
    true, the difference, and the number of samples, or the sum of their weights.
    """
    head = ["probability", "mean", "came true", "difference", count]
    rows = [
        [f"{k / BINS:.1f} to {(k + 1) / BINS:.1f}", f"{confidence:.3f}", f"{frequency:.3f}",
         f"{frequency - confidence:+.3f}", f"{weight:,.6g}"]
        for k, (weight, confidence, frequency) in enumerate(zip(*reliability, strict=True))
        if weight > 0
    ]  # fmt: skip
    return [head, *rows]


def _reliability(report: Report, reliability: Reliability) -> list[str]:
    return [*explained(report), *_table(bins(reliability, counted(report))), *error(reliability)]


def share(value: float) -> str:
    """A number from 0 to 1; NaN as a dash."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def shortened(label: object, longest: int) -> str:
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
