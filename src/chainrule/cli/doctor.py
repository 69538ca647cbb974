"""The command doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, Target, Threads, leave_out
from chainrule.errors import require, unknown

if TYPE_CHECKING:
    from chainrule.doctor import Diagnosis, Trial

FAILED = 1
"""The exit code for findings of the severity to --fail-on, as of a check that did not pass."""


def doctor(
    context: typer.Context,
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="What a run was trained on that has no file of its own: a CSV file of its frame, or an NPZ file with"
            " arrays x and y; of an imported network data of your own, with targets.",
        ),
    ] = None,
    target: Target = None,
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

    Exits with 0, also with findings, unless --fail-on says otherwise. An imported network has no
    steps, so only its units, its fit and the data can be looked at.

    Examples:

      chainrule doctor runs/digits-1

      chainrule doctor runs/digits-1 --try

      chainrule doctor runs/digits-1 --json --fail-on serious

      chainrule doctor runs/arrays-1 arrays.npz

      chainrule doctor imported houses.csv --target price
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
        leave_out(context, "only --try trains", "run", "data", "target", "only", "fail_on", "json")
    opened = Run.open(run)
    require(not target or opened.is_imported, "--target is for an imported network; a run has its target")
    require(
        not (try_remedies and opened.is_imported),
        "--try repeats a training, and this network was imported; train it further (chainrule train DATA --from RUN)",
    )
    own = opened.other_data(data, target=target or None) if opened.is_imported and data else opened.own_data(data)
    case = Case.of(opened, own)
    if try_remedies:
        require(case.held is not None, "--try compares on a validation or a test set, and the run has neither")
    with display.progress_bar("checks", json) as advance:
        found = examined(case, str(opened.folder), advance, only)
    if not json:
        _show(found, only)
        if own.on_disk:
            rows = f"{len(case.data.training.x):,} of {case.whole:,} training rows"
            display.out.print(f"\nThe samples are on a disk: of each set some were looked at, evenly spaced ({rows}).")
    trials = _tried(case, found, threads, quiet=json) if try_remedies else []
    if json:
        tried = {"trials": [trial.as_json() for trial in trials]} if try_remedies else {}
        display.print_json({**found.as_json(), **tried})
    worst = max((SEVERITIES.index(one.severity) for one in found.findings), default=-1)
    raise typer.Exit(FAILED if fail_on is not None and worst >= SEVERITIES.index(fail_on) else 0)


def _show(found: Diagnosis, only: str | None) -> None:
    count, out = len(found.findings), display.out
    about = f"{count} finding{'s' * (count != 1)}" if count else "nothing found"
    looked = f"{len(found.checks)} check{'s' * (len(found.checks) != 1)}" if only is None else f"the check for {only}"
    where = "" if found.left_out else f", at {len(found.steps)} steps up to {found.steps[-1]:,}"
    out.print(display.bold(found.name) + f": {about} in {looked}{where}")
    if found.left_out:
        out.print(f"It was imported, without the steps that these need: {'; '.join(found.left_out)}.")
    numbers = {one.kind: number for number, one in reversed([*enumerate(found.findings, start=1)])}
    for number, one in enumerate(found.findings, start=1):
        out.print()
        out.print(display.bold(f"{number}. {one.severity}: {one.kind}") + f", {one.place}")
        out.print(f"   {one.words}")
        if one.consequence_of:
            out.print(f"   Probably a consequence of {numbers[one.consequence_of]}, {one.consequence_of}: mend that.")
        else:
            out.print(f"   Remedy: {one.remedy.words}.")


def _tried(case: Any, found: Diagnosis, threads: int | None, quiet: bool) -> list[Trial]:
    """The trials of the remedies that a training can try; a consequence has its cause's."""
    from chainrule.doctor import try_remedy
    from chainrule.training import ProgressBar

    trials = []
    for number, one in enumerate(found.findings, start=1):
        if one.consequence_of:
            continue
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
