"""How good predictions are, in detail: what `Trained.report` returns and `chainrule evaluate`
shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, as_read
from chainrule.data import Target
from chainrule.data.targets import Label
from chainrule.losses import Loss
from chainrule.rows import Rows
from chainrule.summary import Shown, Summary
from chainrule.training import metrics as measures
from chainrule.training import scores
from chainrule.training.catalog import average
from chainrule.training.label_scores import Labelled
from chainrule.training.metrics import Chosen
from chainrule.training.naive import naive_forecast, skill
from chainrule.training.scores import Areas, Classified, Reliability


@dataclass(frozen=True)
class ClassScores:
    """How well one class, or one label, is told from the others.

    Attributes:
        label: the class, or the name of the label
        precision: of the samples that are predicted as this class, the share that are of it
        recall: of the samples of this class, the share that are predicted as it
        f1: the harmonic mean of both
        average_precision: the area under the precision-recall curve of its probability; NaN if the
            class does not occur, or there are no probabilities
        support: the number of samples of this class, or the sum of their weights
    """

    label: Label
    precision: float
    recall: float
    f1: float
    average_precision: float
    support: float


@dataclass(frozen=True)
class QuantityScores:
    """How well one of several quantities is predicted.

    Attributes:
        name: the quantity
        metrics: its metrics, in its own unit
    """

    name: str
    metrics: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The name and the metrics."""
        return {"name": self.name, **self.metrics}


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """How good the predictions of some samples are. Printed it is a page of text, in a notebook it
    has tables and a reliability diagram.

    Attributes:
        target: what is predicted
        samples: the number of samples
        metrics: the loss and the metrics, as `Trained.evaluate` returns them
        threshold: from which probability on the second of two classes is predicted; None for the
            more probable class
        classes: the scores of each class; empty for other targets
        labels: the scores of each label; empty for other targets
        quantities: the scores of each of several quantities; empty for other targets
        confusion: (classes, classes) the samples of each class (rows) that were predicted as each
            class (columns), or the sum of their weights; of labels (labels, 2, 2), the samples to
            which each does not apply and applies (rows), and for which it was not predicted and
            was (columns); None for quantities
        reliability: predicted probabilities compared with how often they came true: of two
            classes that of the second, of more the largest, of labels those of all labels; None
            for quantities, and for losses without probabilities
        weight: the sum of the samples' weights; None if all count alike
    """

    target: Target
    samples: int
    metrics: dict[str, float]
    threshold: float | None = None
    classes: tuple[ClassScores, ...] = ()
    labels: tuple[ClassScores, ...] = ()
    quantities: tuple[QuantityScores, ...] = ()
    confusion: Array | None = field(default=None, compare=False)
    reliability: Reliability | None = field(default=None, compare=False)
    weight: float | None = None

    @property
    def averages(self) -> dict[str, str]:
        """How the metrics of several classes, labels or quantities are averages, in scikit-learn's
        words: "macro" or "uniform_average"; "binary" if they are those of the second of two
        classes.
        """
        found = {name: average(name, self.target) for name in self.metrics}
        return {name: how for name, how in found.items() if how}

    def as_json(self) -> dict[str, Any]:
        """The report as values that JSON can represent, except for NaN and infinity."""
        fields: dict[str, Any] = {"samples": self.samples, "metrics": self.metrics}
        fields |= {} if self.weight is None else {"weight": self.weight}
        fields |= {"averages": self.averages} if self.averages else {}
        if self.quantities:
            fields["targets"] = [one.as_json() for one in self.quantities]
        if self.confusion is None:
            return fields
        of_each = "labels" if self.labels else "classes"
        fields |= {"threshold": self.threshold, of_each: [asdict(one) for one in self.labels or self.classes]}
        fields["confusion"] = self.confusion.tolist()
        if self.reliability is not None:
            bins = np.arange(scores.BINS + 1) / scores.BINS
            columns = {"from": bins[:-1], "to": bins[1:], **self.reliability._asdict()}
            fields["reliability"] = {name: column.tolist() for name, column in columns.items()}
        return fields

    def summary(self) -> Summary:
        """The number of samples, and the metrics."""
        from chainrule.training.report_text import facts

        return Summary("Report", f"on {self.samples:,} samples; print it for more", facts(self))

    def __str__(self) -> str:
        from chainrule.training.report_text import text

        return text(self)

    def _repr_html_(self) -> str:
        from chainrule.training.report_html import html

        return html(self)


def report_on(
    target: Target, classified: Classified, metrics: dict[str, float], threshold: float | None, weight: Array | None
) -> Report:
    """The report on these predictions of classes, of which the metrics were measured.

    Samples are counted, unless they are weighted.
    """
    confusion = _counted(classified.confusion, weight)
    columns = [classified.per_class(name) for name in ("precision", "recall", "f1")]
    areas = [classified.areas(k) for k in range(classified.width)]
    of_classes = _of_each(target.classes, columns, areas, confusion.sum(axis=1))
    return Report(
        target, len(classified.truth), metrics, threshold, classes=of_classes, confusion=confusion,
        reliability=classified.reliability(), weight=total_weight(weight),
    )  # fmt: skip


def report_on_labels(target: Target, labelled: Labelled, metrics: dict[str, float], weight: Array | None) -> Report:
    """The same of several labels."""
    confusion = _counted(labelled.confusion, weight)
    columns = [labelled.per_label(name) for name in ("precision", "recall", "f1")]
    of_labels = _of_each(target.columns, columns, labelled.areas, confusion[:, 1].sum(axis=1))
    return Report(
        target, len(labelled.truth), metrics, labels=of_labels, confusion=confusion,
        reliability=labelled.reliability(), weight=total_weight(weight),
    )  # fmt: skip


def report_on_quantities(
    target: Target,
    loss: Loss,
    prediction: Array,
    y: Array,
    metrics: dict[str, float],
    chosen: Sequence[Chosen],
    weight: Array | None,
    with_scores: bool,
) -> Report:
    """The same of quantities. Of several, each has its own scores: the chosen metrics other than
    functions, which may need all quantities at once; and the loss's own, if wanted.
    """
    if target.width == 1:
        return Report(target, len(prediction), metrics, weight=total_weight(weight))
    names, found = [metric for metric in chosen if isinstance(metric, str)], []
    # Where a loss takes several outputs for a quantity, the first of each quantity come first.
    outputs, y = prediction.reshape(len(prediction), -1, target.width), np.asarray(y).reshape(len(prediction), -1)
    for k, name in enumerate(target.names):
        own, of_own, truth = target.column(k), outputs[:, :, k], y[:, [k]]
        measured = measures.measure(names, own, loss, of_own, truth, weight)
        measured |= loss.scores(of_own, truth, np.array(own.deviation), weight) if with_scores else {}
        found.append(QuantityScores(name, measured))
    return Report(target, len(prediction), metrics, quantities=tuple(found), weight=total_weight(weight))


def with_naive(report: Report, samples: Rows) -> Report:
    """The report on a forecast, with the naive forecast of each step beside its own."""
    target, quantities = report.target, list[QuantityScores]()
    errors = np.abs(naive_forecast(as_read(samples.x), target) - np.asarray(samples.y)).mean(axis=0, dtype=np.float64)
    for one, error, unit in zip(report.quantities, errors.tolist(), target.deviation, strict=False):
        own = {"naive_mae": error * unit, "skill": skill(one.metrics["mae"], error * unit)}
        quantities.append(replace(one, metrics=one.metrics | own))
    return replace(report, quantities=tuple(quantities))


def _counted(confusion: Array, weight: Array | None) -> Array:
    return confusion.round().astype(np.int64) if weight is None else confusion


def total_weight(weight: Array | None) -> float | None:
    """The sum of the samples' weights, if they have any."""
    return None if weight is None else float(weight.sum())


def _of_each(
    names: tuple[Any, ...], columns: list[Array], areas: list[Areas], support: Array
) -> tuple[ClassScores, ...]:
    precision = [of_one.precision for of_one in areas]
    rows = zip(names, *(column.tolist() for column in columns), precision, support.tolist(), strict=True)
    return tuple(ClassScores(*row) for row in rows)
