"""All checks, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.data import Data, Dataset
from chainrule.doctor import (
    duplicates,
    fit,
    gradients,
    inputs,
    labels,
    leakage,
    learned,
    noise,
    penalty,
    rate,
    rounding,
    shift,
    stability,
    units,
)
from chainrule.doctor.case import Case
from chainrule.doctor.causes import explained
from chainrule.doctor.finding import Finding
from chainrule.runs import Run
from chainrule.summary import Shown, Summary, Table


@dataclass(frozen=True)
class Check:
    """A family of findings.

    Attributes:
        name: what is looked for
        find: gives the findings of a case
        kinds: the kinds of findings that it gives
        of_data: whether it looks at the data alone, so that training changes nothing
        is_patient: whether it says something only of a training of many epochs
        of_steps: whether it looks at steps, which an imported network has not
    """

    name: str
    find: Callable[[Case], Iterator[Finding]]
    kinds: tuple[str, ...]
    of_data: bool = False
    is_patient: bool = False
    of_steps: bool = True


CHECKS = (
    Check(
        "dead, saturated or duplicate units",
        units.find,
        ("dead units", "saturated units", "duplicate units"),
        of_steps=False,
    ),
    Check("vanishing or exploding gradients", gradients.find, ("vanishing gradients", "exploding gradients")),
    Check("the learning rate", rate.find, ("learning rate too small", "learning rate too large")),
    Check("the edge of stability", stability.find, ("edge of stability",)),
    Check("noisy gradients", noise.find, ("noisy gradients",)),
    Check("over- and underfitting", fit.find, ("overfitting", "underfitting"), is_patient=True, of_steps=False),
    Check(
        "classes and rows never learned", learned.find, ("classes never learned", "rows never learned"), is_patient=True
    ),
    Check("label errors", labels.find, ("probable label errors",), is_patient=True),
    Check("leakage", leakage.find, ("leakage",), of_data=True, of_steps=False),
    Check("duplicates across splits", duplicates.find, ("duplicates across splits",), of_data=True, of_steps=False),
    Check("shift between splits", shift.find, ("shift between splits",), of_data=True, of_steps=False),
    Check("unscaled inputs", inputs.find, ("unscaled inputs",), of_data=True, of_steps=False),
    Check("updates below rounding", rounding.find, ("updates below rounding",)),
    Check("penalties", penalty.find, ("penalty larger than the loss",)),
)
"""The checks, in the order in which they are made."""
KINDS = tuple(kind for check in CHECKS for kind in check.kinds)
"""The kinds of findings."""


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """What the doctor found.

    Attributes:
        name: of the run
        findings: the findings, the worst first, and consequences after their cause
        checks: the names of what was looked for
        steps: the steps that were looked at
        left_out: the names of what needs steps, where there are none: of an imported network
    """

    name: str
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    steps: tuple[int, ...]
    left_out: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """The findings as a table."""
        count = len(self.findings)
        about = f"{count} finding{'s' * (count != 1)}" if count else "nothing found"
        rows = [[one.severity, one.kind, one.place, one.words, one.remedy.words] for one in self.findings]
        table = Table("findings", ("severity", "kind", "place", "finding", "remedy"), rows) if rows else None
        return Summary(self.name, f"{about} in {len(self.checks)} checks", {}, table)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        findings = [one.as_json() for one in self.findings]
        return {
            "run": self.name, "findings": findings, "checks": list(self.checks), "steps": list(self.steps),
            "left_out": list(self.left_out),
        }  # fmt: skip


def diagnose(
    run: Run | str | Path,
    data: Data | Dataset | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Diagnosis:
    """What goes wrong in a recorded run.

    Args:
        run: the run, or its folder
        data: what it was trained on, in a form of `Run.own_data`, if no file holds it; of an
            imported network any data with targets
        progress: called before each check with its number, the number of checks, and its name

    Raises RunError for a run that can't be read, DataError if its data is missing.

    Examples:
        >>> import chainrule, tempfile
        >>> trained = chainrule.train("8 relu", "iris", epochs=20, optimizer="adam 1e-7")
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     trained.save(f"{parent}/iris")
        ...     found = diagnose(f"{parent}/iris").findings
        >>> "learning rate too small" in [finding.kind for finding in found]
        True
    """
    run = run if isinstance(run, Run) else Run.open(run)
    case = Case.of(run, run.own_data(data))
    return examined(case, str(run.folder), progress)


def examined(
    case: Case, name: str = "", progress: Callable[[int, int, str], None] | None = None, only: str | None = None
) -> Diagnosis:
    """What the checks find in a case; with `only` findings of this kind alone."""
    wanted = [check for check in CHECKS if only is None or only in check.kinds]
    checks = [check for check in wanted if case.steps or not check.of_steps]
    left_out = tuple(check.name for check in wanted if check not in checks)
    findings: list[Finding] = []
    for number, check in enumerate(checks):
        if progress is not None:
            progress(number, len(checks), check.name)
        findings += [one for one in check.find(case) if only is None or one.kind == only]
    return Diagnosis(name, explained(findings), tuple(check.name for check in checks), case.looked, left_out)
