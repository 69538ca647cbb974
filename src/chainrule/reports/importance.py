"""The section on what matters: the permutation importance of each column."""

from __future__ import annotations

import numpy as np

from chainrule.attribution import importance as measured
from chainrule.reports.charts import bars
from chainrule.reports.section import Section, paragraph
from chainrule.reports.subject import Subject
from chainrule.training import history

MOST_COLUMNS, MOST_REPEATS = 20, 10
"""The most columns that are drawn, and how often the values of each are exchanged."""
AFFORDED, MOST_ROWS = 1e10, 2000
"""About how many multiply-adds all predictions may take, and the most rows that are predicted."""
FEWEST_ROWS = 40


def importance(subject: Subject) -> Section | None:
    """How much worse the first metric gets when the values of a column are exchanged."""
    trained = subject.trained
    if subject.data is None or trained.target.tokens or trained.target.positions:
        return None
    cost = sum(node.layer.cost(node.built) for node in trained.plan.network.nodes) or 1
    columns = max(int(np.prod(trained.plan.network.input_shape)), 1)
    rows = int(min(len(subject.samples.x), MOST_ROWS))
    repeats = int(np.clip(AFFORDED / (cost * columns * rows), 1, MOST_REPEATS))
    rows = int(np.clip(AFFORDED / (cost * columns * repeats), min(FEWEST_ROWS, rows), rows))

    def tell(done: int, of: int) -> None:
        subject.tell(f"exchanging the values of columns: {done:,} of {of:,}")

    found = measured(trained, subject.samples.thinned(rows), repeats=repeats, progress=tell)
    ((name, value),) = found.metrics.items()
    own = found.of(name)
    shown = own[:MOST_COLUMNS]
    label = history.label(name, trained.target)
    written = {one.column: history.number(name, one.mean) for one in shown}
    deviations = {one.column: one.deviation for one in shown if one.deviation is not None}
    title = f"How much worse the {label} gets, from {history.number(name, value)}"
    html = paragraph(f"{title}:") + bars(title, {one.column: one.mean for one in shown}, written, deviations)
    if len(own) > len(shown):
        html += paragraph(f"and {len(own) - len(shown):,} less important ones", "more")
    html += paragraph(
        f"Measured on {len(subject.samples.thinned(rows).x):,} rows of the {subject.part} set, {repeats}"
        f" time{'s' * (repeats > 1)} each; a whisker is one standard deviation."
    )
    about = (
        "Which inputs the predictions depend on: the values of one column are exchanged between the samples at random,"
        " so that they say nothing any more, and the metric is measured again. Of columns that say the same, each may"
        " look unimportant, as the other remains."
    )
    return Section("importance", "What matters", about, html, {**found.as_json(), "data": subject.part})
