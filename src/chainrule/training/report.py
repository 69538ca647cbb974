"""How good predictions are, in detail: what `Trained.report` returns and `chainrule evaluate`
shows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.data.targets import Label
from chainrule.training import scores
from chainrule.training.scores import Classified, Reliability


@dataclass(frozen=True)
class ClassScores:
    """How well one class is told from the others.

    Attributes:
        label: the class
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
class Report:
    """How good the predictions of some samples are.

    Attributes:
        samples: the number of samples
        metrics: the loss and the metrics, as `Trained.evaluate` returns them
        threshold: from which probability on the second of two classes is predicted; None for the
            more probable class
        classes: the scores of each class; empty for quantities
        confusion: (classes, classes) the samples of each class (rows) that were predicted as each
            class (columns), or the sum of their weights; None for quantities
        reliability: predicted probabilities compared with how often they came true: of two
            classes that of the second, of more the largest; None for quantities, and for losses
            without probabilities
    """

    samples: int
    metrics: dict[str, float]
    threshold: float | None = None
    classes: tuple[ClassScores, ...] = ()
    confusion: Array | None = None
    reliability: Reliability | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as values that JSON can represent, except for NaN and infinity."""
        fields: dict[str, Any] = {"samples": self.samples, "metrics": self.metrics}
        if self.confusion is None:
            return fields
        fields |= {"threshold": self.threshold, "classes": [asdict(scores) for scores in self.classes]}
        fields["confusion"] = self.confusion.tolist()
        if self.reliability is not None:
            bins = np.arange(scores.BINS + 1) / scores.BINS
            columns = {"from": bins[:-1], "to": bins[1:], **self.reliability._asdict()}
            fields["reliability"] = {name: column.tolist() for name, column in columns.items()}
        return fields

    def __str__(self) -> str:
        from chainrule.training.report_text import text

        return text(self)


def report_on(
    target: Target, classified: Classified, metrics: dict[str, float], threshold: float | None, weighted: bool
) -> Report:
    """The report on these predictions of classes, of which the metrics were measured.

    Samples are counted, unless they are weighted.
    """
    columns = [classified.per_class(name).tolist() for name in ("precision", "recall", "f1")]
    columns.append([classified.areas(k).precision for k in range(classified.width)])
    confusion = classified.confusion if weighted else classified.confusion.astype(np.int64)
    columns.append(confusion.sum(axis=1).tolist())
    of_classes = tuple(ClassScores(*row) for row in zip(target.classes, *columns, strict=True))
    return Report(len(classified.truth), metrics, threshold, of_classes, confusion, classified.reliability())
