"""Classes and rows of the training set that are never learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, listed, share
from chainrule.doctor.labels import suspects
from chainrule.doctor.remedies import planned

MISSED = 0.05
"""The share of a class's training samples that are right at most if it is never learned."""
FEWEST = 3
"""The fewest training samples of a class to judge it by."""
NEVER = 0.12
"""The share of training rows that are wrong at every step looked at, from which it is a finding."""
KNOWN = 0.4
"""How much of what can be learned must be learned before single rows are pointed out."""


def find(case: Case) -> Iterator[Finding]:
    """Classes, then rows, that are never learned."""
    if not case.labels or case.status == "diverged" or not case.records:
        return
    right = np.array([case.right(point) for point in (*case.points[1:], case.final)])
    y = np.asarray(case.training.y).reshape(-1).astype(int)
    missed = []
    for number_of_class, label in enumerate(case.data.target.classes):
        of_class = y == number_of_class
        late = right[len(right) // 2 :, of_class]
        if late.shape[1] >= FEWEST and max(late.mean(), right[-1][of_class].mean()) <= MISSED:
            missed.append((number_of_class, label, int(of_class.sum()), float(right[-1][of_class].mean())))
    if missed:
        yield _classes(case, missed, right, y)
    never = ~right[len(right) // 4 :].any(axis=0)
    never &= ~np.isin(y, [one[0] for one in missed])
    if case.learned < KNOWN:
        return
    never &= ~np.isin(case.rows, suspects(case).rows)  # which labels.py reports
    if never.mean() >= NEVER:
        yield _rows(case, never, right)


def _classes(case: Case, missed: Sequence[tuple[int, object, int, float]], right: Array, y: Array) -> Finding:
    names = [str(label) for _, label, _, _ in missed]
    first, count = missed[0][0], len(missed)
    by_step = right[:, y == first].mean(axis=1)
    late = by_step[len(by_step) // 2 :]
    predicted = np.asarray(case.plan.loss.classes(case.outputs(case.final)))[y == first]
    instead = case.data.target.classes[int(np.bincount(predicted.astype(int)).argmax())]
    what = f"The class {names[0]} is" if count == 1 else f"The classes {listed(names)} are"
    words = (
        f"{what} never learned: of {missed[0][2]:,} training samples of {names[0]},"
        f" {100 * missed[0][3]:.0f} % are predicted right (most often {instead} is predicted instead), and in the"
        f" second half of the training {100 * float(late.mean()):.0f} % on average."
    )
    evidence = {
        "classes": names, "samples": [one[2] for one in missed], "right": [one[3] for one in missed],
        "by_step": by_step.tolist(), "predicted_instead": str(instead),
    }  # fmt: skip
    severity = "serious"
    return Finding(
        "classes never learned", words, f"class {names[0]}", severity, evidence, (case.steps,), _balanced(case, y)
    )


def _balanced(case: Case, y: Array) -> Remedy:
    counts = np.bincount(y, minlength=case.data.target.width)
    rare = counts.min() < counts.max() / 3
    weights = [float(len(y) / (len(counts) * max(count, 1))) for count in counts]
    words = "weigh the classes in the loss (class_weight=balanced), or collect more samples of it"
    if not rare or not hasattr(case.plan.loss, "class_weights"):
        words = "look at the rows of the class: its inputs may not tell it from the others; a larger network may"
        return Remedy(words)
    loss = replace(case.plan.loss, class_weights=tuple(weights))  # type: ignore[call-arg]
    return Remedy(words, planned(loss=loss))


def _rows(case: Case, never: Array, right: Array) -> Finding:
    rows = [case.source_row(int(case.rows[k])) for k in np.flatnonzero(never)]
    words = (
        f"{share(len(rows), len(never))} training samples are never learned: they are predicted wrong at every step"
        f" looked at, while {100 * right[-1].mean():.1f} % of all are right at the end. Rows {listed(rows)}."
    )
    remedy = Remedy(
        "look at these rows: are their labels right, and do the inputs say what tells them apart? A larger network may"
        " learn them"
    )
    evidence = {"rows": rows, "share": float(never.mean()), "right": float(right[-1].mean())}
    return Finding("rows never learned", words, f"row {rows[0]}", "note", evidence, (case.steps,), remedy)
