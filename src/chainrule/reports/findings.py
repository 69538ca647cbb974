"""The section on what the doctor found."""

from __future__ import annotations

from chainrule.doctor import Finding, diagnose
from chainrule.reports.section import Section, facts, paragraph, text
from chainrule.reports.subject import Subject


def findings(subject: Subject) -> Section | None:
    """What goes wrong in the training, the worst first; and what was looked for."""
    if subject.data is None or not subject.run.manifest["steps"]:
        return None

    def tell(number: int, of: int, name: str) -> None:
        subject.tell(f"the doctor: {name} ({number + 1} of {of})")

    found = diagnose(subject.run, subject.data, progress=tell)
    html = "".join(map(_finding, found.findings))
    if not found.findings:
        html = paragraph("Nothing was found.")
    html += paragraph(f"Looked for: {'; '.join(found.checks)}.", "more")
    about = (
        "What goes wrong in a training can be measured. Each finding has its evidence, and what to do about it; the"
        " worst come first."
    )
    return Section("findings", "What the doctor found", about, html, found.as_json())


def _finding(one: Finding) -> str:
    evidence = {name: _shown(value) for name, value in one.evidence.items()}
    steps = f", step {one.steps[-1]:,}" if one.steps else ""
    where = paragraph(f"{one.severity}, at {one.place}{steps}", "more")
    cause = f"Probably a consequence of: {one.consequence_of}. Mend that."
    remedy = paragraph(cause if one.consequence_of else f"What to do: {one.remedy.words}.")
    return f'<div class="finding"><h3>{text(one.kind)}</h3>{paragraph(one.words)}{where}{facts(evidence)}{remedy}</div>'


MOST_SHOWN = 12
"""The most entries of a list that are shown."""


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        more = f", and {len(value) - MOST_SHOWN:,} more" if len(value) > MOST_SHOWN else ""
        return ", ".join(map(_shown, value[:MOST_SHOWN])) + more
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_shown(one)}" for name, one in list(value.items())[:MOST_SHOWN])
    return str(value)
