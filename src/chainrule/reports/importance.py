"""The section on what matters: the permutation importance of each column."""

from __future__ import annotations

from chainrule.attribution import importance as measured
from chainrule.attribution.permutation import affordable
from chainrule.reports.charts import bars
from chainrule.reports.section import Section, numbered, paragraph
from chainrule.reports.subject import Subject
from chainrule.training import history

MOST_COLUMNS = 20
"""The most columns that are drawn."""


def importance(subject: Subject) -> Section | None:
    """How much worse the first metric gets when the values of a column are exchanged."""
    trained = subject.trained
    if subject.data is None or trained.target.tokens or trained.target.positions:
        return None
    samples, repeats = affordable(trained, subject.samples)

    def tell(done: int, of: int) -> None:
        subject.tell(f"exchanging the values of columns: {done:,} of {of:,}")

    found = measured(trained, samples, repeats=repeats, progress=tell)
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
    whisker = "; a whisker is one standard deviation" if deviations else ""
    measured_on = f"{numbered(len(samples.x), 'row')} of the {subject.part} set, {numbered(repeats, 'time')} each"
    html += paragraph(f"Measured on {measured_on}{whisker}.")
    about = (
        "Which inputs the predictions depend on: the values of one column are exchanged between the samples at random,"
        " so that they say nothing any more, and the metric is measured again. Of columns that say the same, each may"
        " look unimportant, as the other remains."
    )
    return Section("importance", "What matters", about, html, {**found.as_json(), "data": subject.part})
