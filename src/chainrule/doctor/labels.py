"""Training rows whose label is probably wrong, by the area under the margin.

The margin of a row is how much the output of its own class is above the largest of the others. Its
mean along the training is the area under the margin (Pleiss et al., 2020): a network learns what is
regular first, so a row with a wrong label has a negative one, even if the network remembers it in
the end. Two more witnesses are asked: the network is confident of the other class at some time, and
so are the row's nearest neighbours in the training set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, listed, share
from chainrule.doctor.remedies import without_rows

NEIGHBOURS, AGREEING = 10, 8
"""Of the nearest training rows, how many must have the class that the network predicts."""
FEWEST, PART = 3, 0.015
"""The fewest rows, and the smallest share of the training rows, that are a finding."""
KNOWN = 0.7
"""How much of what there is to learn about the classes the network must have learned, to be asked.
"""
CONFIDENT = 0.7
"""The probability of another class that the network must reach at some step looked at."""


@dataclass(frozen=True)
class Suspects:
    """Rows whose label is probably wrong, the most suspicious first.

    Attributes:
        rows: their numbers in the training set
        margins: (rows,) the area under the margin of each
        instead: (rows,) the number of the class that the network learned for it
    """

    rows: Array
    margins: Array
    instead: Array


def find(case: Case) -> Iterator[Finding]:
    """Whether some labels are probably wrong."""
    if not case.labels or case.status == "diverged" or len(case.records) < 3 or len(case.training.x) < 50:
        return
    if case.learned < KNOWN:
        return
    found = suspects(case)
    count, whole = len(found.rows), len(case.training.x)
    if count < max(FEWEST, PART * whole):
        return
    classes = case.data.target.classes
    y = np.asarray(case.data.training.y).reshape(-1)
    named = [
        f"{case.source_row(int(row))} ({classes[int(y[row])]}, rather {classes[int(k)]})"
        for row, k in zip(found.rows[:4], found.instead[:4], strict=True)
    ]
    words = (
        f"{share(count, whole)} training labels are probably wrong: along the training the network, and the nearest"
        f" other rows, take them for another class. Rows {listed(named, 4)}" + (", and more." if count > 4 else ".")
    )
    evidence = {
        "rows": [case.source_row(int(row)) for row in found.rows], "margins": found.margins.tolist(),
        "labels": [str(classes[int(y[row])]) for row in found.rows],
        "instead": [str(classes[int(k)]) for k in found.instead], "share": count / whole,
    }  # fmt: skip
    remedy = Remedy(
        "look at these rows and correct their labels; tried here: they are left out", without_rows(found.rows)
    )
    steps = tuple(point.step for point in case.points)
    yield Finding(
        "probable label errors", words, f"row {evidence['rows'][0]}", "serious" if count / whole > 0.1 else "warning",
        evidence, steps, remedy,
    )  # fmt: skip


def suspects(case: Case) -> Suspects:
    """The training rows with a negative area under the margin, of which the network is confident
    that they are of another class, as their neighbours are.
    """
    y = np.asarray(case.training.y).reshape(-1).astype(int)
    everyone = np.arange(len(y))
    scores = [_scores(case.outputs(point), case) for point in case.points[1:]]
    own = np.array([one[everyone, y] for one in scores])
    others = [one.copy() for one in scores]
    for one in others:
        one[everyone, y] = -np.inf
    margin = (own - np.array([one.max(axis=1) for one in others])).mean(axis=0)
    mean = np.mean([_probabilities(one) for one in scores], axis=0)
    most = np.max([_probabilities(one) for one in scores], axis=0)
    mean[everyone, y] = most[everyone, y] = -1
    instead = mean.argmax(axis=1)
    suspected = (margin < 0) & (most[everyone, instead] >= CONFIDENT)
    suspected &= agreeing(case, y, instead) >= AGREEING
    order = np.flatnonzero(suspected)[np.argsort(margin[suspected], kind="stable")]
    return Suspects(case.rows[order], margin[order], instead[order])


def _scores(outputs: Array, case: Case) -> Array:
    """(samples, classes) the logarithms of the probabilities, whatever the loss."""
    probabilities = case.plan.loss.probabilities(outputs)
    if probabilities is None:
        return np.asarray(outputs, np.float64)
    with np.errstate(all="ignore"):
        return np.log(np.clip(np.asarray(probabilities, np.float64), 1e-6, 1))


def _probabilities(scores: Array) -> Array:
    spread = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(spread / spread.sum(axis=1, keepdims=True))


def agreeing(case: Case, y: Array, instead: Array) -> Array:
    """(samples,) how many of the nearest other training rows have the class that the network
    learned for a row.
    """
    x = case.flat("training").astype(np.float32)
    squares = (x * x).sum(axis=1)
    votes = np.zeros(len(x), int)
    for first in range(0, len(x), 500):
        part = slice(first, first + 500)
        distances = squares[None] - 2 * x[part] @ x.T
        distances[np.arange(len(distances)), np.arange(first, first + len(distances))] = np.inf
        nearest = np.argpartition(distances, min(NEIGHBOURS, len(x) - 1), axis=1)[:, :NEIGHBOURS]
        votes[part] = (y[nearest] == instead[part, None]).sum(axis=1)
    return votes
