"""The command doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, Threads, leave_out
from chainrule.errors import require, unknown

if TYPE_CHECKING:
    from chainrule.doctor import Diagnosis, Trial

FAILED = 1
"""The exit code for findings of the severity to --fail-on, as of a check that did not pass."""


def doctor(
    context: typer.Context,
    run: RunFolder,
    try_remedies: Annotated[
        bool, typer.Option("--try", help="Train with each remedy, from the same seed, and say whether it helped.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only findings of this kind, such as 'dead units'.")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="SEVERITY", help="Exit with 1 for a finding of this severity or worse: note, warning or serious."
        ),
    ] = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Say what goes wrong in a run: findings, each with evidence, place, steps and a remedy.

    Exits with 0, also with findings, unless --fail-on says otherwise.

    Examples:

      chainrule doctor runs/digits-1

      chainrule doctor runs/digits-1 --try

      chainrule doctor runs/digits-1 --json --fail-on serious
    """
    from chainrule.doctor import SEVERITIES
    from chainrule.doctor.case import Case
    from chainrule.doctor.diagnosis import KINDS, examined
    from chainrule.runs import Run

    if fail_on is not None and fail_on not in SEVERITIES:
        raise unknown("severity", fail_on, SEVERITIES)
    if only is not None and only not in KINDS:
        raise unknown("kind of finding", only, KINDS)
    if not try_remedies and threads is not None:
        leave_out(context, "only --try trains", "run", "only", "fail_on", "json")
    opened = Run.open(run)
    case = Case.of(opened, opened.load_data())
    if try_remedies:
        require(case.held is not None, "--try compares on a validation or a test set, and the run has neither")
    with display.progress_bar("checks", json) as advance:
        found = examined(case, str(opened.folder), advance, only)
    if not json:
        _show(found, only)
    trials = _tried(case, found, threads, quiet=json) if try_remedies else []
    if json:
        tried = {"trials": [trial.as_json() for trial in trials]} if try_remedies else {}
        display.print_json({**found.as_json(), **tried})
    worst = max((SEVERITIES.index(one.severity) for one in found.findings), default=-1)
    raise typer.Exit(FAILED if fail_on is not None and worst >= SEVERITIES.index(fail_on) else 0)


def _show(found: Diagnosis, only: str | None) -> None:
    count, out = len(found.findings), display.out
    about = f"{count} finding{'s' * (count != 1)}" if count else "nothing found"
    looked = f"{len(found.checks)} checks" if only is None else f"the check for {only}"
    out.print(
        display.bold(found.name) + f": {about} in {looked}, at {len(found.steps)} steps up to {found.steps[-1]:,}"
    )
    for number, one in enumerate(found.findings, start=1):
        out.print()
        out.print(display.bold(f"{number}. {one.severity}: {one.kind}") + f", {one.place}")
        out.print(f"   {one.words}")
        out.print(f"   Remedy: {one.remedy.words}.")


def _tried(case: Any, found: Diagnosis, threads: int | None, quiet: bool) -> list[Trial]:
    """The trials of all remedies that a training can try; the same one once."""
    from chainrule.doctor import try_remedy
    from chainrule.training import ProgressBar

    trials = []
    for number, one in enumerate(found.findings, start=1):
        if one.remedy.change is None:
            if not quiet:
                display.out.print(f"\n{number}. {one.kind}: no training can try this remedy")
            continue
        bar = [] if quiet or not display.err.is_terminal else [ProgressBar(display.err)]
        trial = try_remedy(case, one, bar, threads)
        trials.append(trial)
        if not quiet:
            display.out.print()
            display.out.print(display.bold(f"{number}. {one.kind}, tried") + f": {one.remedy.words}")
            display.out.print(f"   {trial.words}")
    return trials
