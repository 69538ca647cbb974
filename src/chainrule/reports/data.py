"""The section on the data: how it was read, what becomes of its columns, and how it was split."""

from __future__ import annotations

import math

import numpy as np

from chainrule.data import Dataset
from chainrule.data.columns import ColumnUse
from chainrule.data.preparation import Preparation
from chainrule.reports.charts import bars, histogram
from chainrule.reports.overview import is_imported
from chainrule.reports.section import Section, cut, facts, paragraph, side_by_side, table
from chainrule.reports.subject import MOST_IN_MEMORY, Subject

MOST_CLASSES = 20
"""The most classes whose frequencies are drawn."""
LONGEST_NOTE = 400
"""The most characters of a note, which may list columns."""
MOST_QUANTITIES = 3
"""The most quantities whose values are drawn."""


def data(subject: Subject) -> Section | None:
    """Its parts, the columns of a table with what they became, the target, and what was noticed."""
    run, trained = subject.run, subject.trained
    if is_imported(subject) and subject.data is None:  # it came without data
        return None
    preparation, rows = trained.preparation, run.data["rows"]
    details: dict[str, object] = {
        "name": run.data["name"], "training set": f"{rows['training']:,} samples, which the network learned from",
        "validation set": f"{rows['validation']:,} samples, watched in training" if rows["validation"] else "none",
        "test set": f"{rows['test']:,} samples, kept until the end" if rows["test"] else "none",
        "fingerprint": run.data["fingerprint"][:16],
    }  # fmt: skip
    if preparation is not None and preparation.weight:
        details["weights"] = f"the column {cut(preparation.weight)} says how much each row counts; it is no input"
    uses = [] if preparation is None else preparation.uses or _numbers(preparation)
    notes = subject.data.notes if subject.data is not None else [] if preparation is None else preparation.notes
    if subject.data is not None and subject.data.on_disk:
        most = f"what is shown of single samples is of at most {MOST_IN_MEMORY:,} of each set, evenly spaced"
        notes = [*notes, f"the samples are on a disk: metrics are of all of them, and {most}"]
    html = facts(details) + "".join(paragraph(cut(note, LONGEST_NOTE)) for note in notes)
    if uses:
        listed = [[cut(use.name), use.type or "-", use.role, use.use] for use in uses]
        html += table(("column", "in the data", "read as", "becomes"), listed, caption="How each column was read")
    if subject.data is not None:
        html += _of_target(subject.looked_at)
    else:
        html += paragraph(f"The data itself is missing, so that sections that need it are left out: {subject.missing}.")
    content = {
        "name": run.data["name"], "rows": dict(rows), "fingerprint": run.data["fingerprint"], "notes": list(notes),
        "columns": [
            {"name": use.name, "type": use.type, "read_as": use.role, "use": use.use, "inputs": use.inputs}
            for use in uses
        ],
        "missing": subject.missing,
    }  # fmt: skip
    about = "The samples that the network was trained and tested on, and how they were read."
    return Section("data", "The data", about, html, content)


def _numbers(preparation: Preparation) -> list[ColumnUse]:
    """The columns of an array of numbers that have names."""
    if preparation.kind != "numbers" or len(preparation.features) != math.prod(preparation.shape):
        return []
    use = "1 input" if preparation.mean is None else "1 input, scaled to mean 0 and standard deviation 1"
    return [ColumnUse(name, "number", use, 1, "number") for name in preparation.features]


def _of_target(data: Dataset) -> str:
    """How often each class or label occurs in the training set, or how the quantities spread."""
    target, y = data.target, np.asarray(data.training.y)
    if target.tokens or target.positions or target.season:
        return ""
    if target.task == "regression":
        values = target.decode(y.reshape(len(y), -1)).reshape(len(y), -1)[:, :MOST_QUANTITIES]
        drawn = [
            histogram(f"{name} in the training set", values[:, k], cut(name))
            for k, name in enumerate(target.names[:MOST_QUANTITIES])
        ]
        return side_by_side(*drawn)
    if target.task == "multilabel":
        names, counts = list(target.columns), y.reshape(len(y), -1).sum(axis=0)
    else:
        names, numbers = [str(label) for label in target.classes], y if y.ndim == 1 else y.argmax(axis=-1)
        counts = np.bincount(numbers.astype(np.int64).ravel(), minlength=len(names))
    shown = sorted(zip(names, counts.tolist(), strict=True), key=lambda one: -one[1])[:MOST_CLASSES]
    title = f"How often each {'label' if target.task == 'multilabel' else 'class'} occurs in the training set"
    more = paragraph(f"and {len(names) - len(shown):,} that are rarer") if len(names) > len(shown) else ""
    return paragraph(f"{title}:") + bars(title, dict(shown), {name: f"{count:,.0f}" for name, count in shown}) + more
