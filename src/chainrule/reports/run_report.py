"""`report`: the sections of a run, one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainrule.data import Data, Dataset
from chainrule.errors import ChainruleError, unknown
from chainrule.reports import data, examples, findings, importance, learning, lived, overview, quality, session
from chainrule.reports.page import page
from chainrule.reports.section import Section
from chainrule.reports.subject import Subject
from chainrule.runs import Run
from chainrule.runs.folder import write_whole
from chainrule.summary import Shown, Summary
from chainrule.threads import undivided

Make = Callable[[Subject], Section | None]
SECTIONS: dict[str, tuple[str, Make]] = {
    "card": ("The model", overview.card),
    "data": ("The data", data.data),
    "quality": ("How good it is", quality.quality),
    "residuals": ("Residuals", quality.residuals),
    "forecasts": ("Forecasts", quality.forecasts),
    "language": ("What it writes", quality.language),
    "curves": ("Learning curves", overview.curves),
    "examples": ("Examples, and the worst mistakes", examples.examples),
    "importance": ("What matters", importance.importance),
    "findings": ("What the doctor found", findings.findings),
    "surface": ("The way downhill", learning.surface),
    "weights": ("Three weights, explained", learning.weights),
    "life": ("The life of a weight", lived.lived),
    "session": ("Step by step", session.session),
}
"""By its key, each section's title, and what makes it; None where it does not apply."""
PROGRESS = Callable[[str, float], None]
"""Called with what is being done, and which share of the sections is done."""


@dataclass(frozen=True, repr=False)
class RunReport(Shown):
    """A report on a run.

    Attributes:
        title: its heading
        sections: what it consists of, in order
    """

    title: str
    about: str
    sections: tuple[Section, ...] = field(repr=False)

    @property
    def html(self) -> str:
        """The report as one page that needs no network."""
        return page(self.title, self.about, self.sections, _scripts(self.sections))

    def as_json(self) -> dict[str, Any]:
        """The content of each section, by its key, as values that JSON can represent, except for
        NaN and infinity; and why sections are left out.
        """
        present = {section.key: dict(section.data) for section in self.sections if not section.missing}
        return {**present, "left_out": {section.key: section.missing for section in self.sections if section.missing}}

    def save(self, path: str | Path) -> None:
        """Write the page to this file, whole or not at all. Raises RunError if it can't be."""
        write_whole(Path(path), self.html.encode())

    def summary(self) -> Summary:
        """Its sections."""
        lines = {section.key: section.missing or section.title for section in self.sections}
        return Summary(self.title, f"{len(lines)} sections; save it as a page with save", lines)


def report(
    run: Run | str | Path,
    data: Data | Dataset | None = None,
    *,
    leave_out: tuple[str, ...] = (),
    progress: PROGRESS | None = None,
) -> RunReport:
    """A report on a run, to read or to send to someone: what was trained on what, how good it is,
    how it learned, and what was found.

    Sections that do not apply are left out. If the run's data is missing, those that need it are
    too, and the report says so.

    Args:
        run: the run, or its folder
        data: the run's data, in a form of `Run.own_data`, if no file holds it or it is loaded
        leave_out: the keys of sections to leave out, such as "session"
        progress: called with what is being done, and the share of the sections that is done

    Raises:
        RunError: for a folder that is no run
        DataError: for data that is passed and is not the run's own
        SettingError: for an unknown section

    Examples:
        >>> import chainrule, tempfile
        >>> trained = chainrule.train("4 tanh", "iris", epochs=2)
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     trained.save(f"{parent}/iris")
        ...     report = chainrule.report(f"{parent}/iris", leave_out=("surface", "weights"))
        >>> report.as_json()["quality"]["part"], report.html.startswith("<!doctype html>")
        ('test', True)
    """
    for key in leave_out:
        if key not in SECTIONS:
            raise unknown("section", key, SECTIONS)
    run = run if isinstance(run, Run) else Run.open(run)
    wanted = {key: made for key, made in SECTIONS.items() if key not in leave_out}
    now, done = "", 0

    def tell(words: str) -> None:
        if progress is not None:
            progress(": ".join(filter(None, (now, words))), done / len(wanted))

    subject = Subject.of(run, data, tell)
    sections = []
    with undivided():  # most products are small; whole computations run in threads where there are several
        for key, (title, make) in wanted.items():
            now = title.lower()
            tell("")
            section = _made(key, title, make, subject)
            sections += [] if section is None else [section]
            done += 1
    origin = "imported from" if overview.is_imported(subject) else "trained on"
    about = (
        f"A report on a neural network that predicts {subject.trained.target.described}, {origin} {run.data['name']}."
    )
    return RunReport(run.folder.name or str(run.folder), about, tuple(sections))


def _made(key: str, title: str, make: Make, subject: Subject) -> Section | None:
    """A section; where it can't be made, why."""
    try:
        return make(subject)
    except ChainruleError as error:
        return Section(key, title, "", "", missing=str(error))


def _scripts(sections: tuple[Section, ...]) -> list[str]:
    """The sources of scripts that the sections need."""
    return [source for section in sections for source in section.scripts]
