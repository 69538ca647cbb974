"""The command teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, output_suffix
from chainrule.errors import require
from chainrule.summary import visible


def teachers(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", show_default=False, help="Samples with targets; by default those the run was trained on."
        ),
    ] = None,
    row: Annotated[
        int | None, typer.Option(help="The row of DATA whose loss it is, counted from 1; by default the mean over all.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="Without DATA, the set whose mean loss it is: validation, test or training; by default the rows of"
            " validation and training set that are predicted right.",
        ),
    ] = None,
    checkpoints: Annotated[
        int | None,
        typer.Option(
            help="Approximate it from so many checkpoints, too (TracInCP), and show the approximation's error."
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="Which slope of the loss splits a step: trapezoid (the mean of those before and after it) or"
            " first-order (the one before it)."
        ),
    ] = "trapezoid",
    most: Annotated[
        int | None,
        typer.Option(help="How many helpful rows, and how many harmful ones; by default 10, in JSON all rows."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The JSON file to write; default: stdout.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Which training rows lowered the loss of a sample over the whole training, and which raised
    it. Without a row, of a whole set; without DATA, the most harmful rows are probable label
    errors.

    Ctrl-C shows what is known so far: the effects of the last steps.

    Examples:

      chainrule teachers runs/digits-1 digits --row 5

      chainrule teachers runs/houses-1 sold.csv --row 5 --checkpoints 20

      chainrule teachers runs/digits-1

      chainrule teachers runs/digits-1 --part test --json
    """
    from chainrule.influence import teachers as found_by
    from chainrule.influence.text import MOST, lines

    require(most is None or most >= 1, f"--most {most}: it takes at least 1")
    if output is not None:
        output_suffix(output, "the effects are", ".json")
    with display.progress_bar("replaying steps") as progress:
        found = found_by(
            run, data, row, part=part, rule=rule, checkpoints=checkpoints, progress=None if json else progress
        )
    if output is not None:
        import json as jsonlib

        text = jsonlib.dumps(display.finite(found.as_json(most)), indent=1) + "\n"
        display.write(output, text.encode(), f"effects of {len(found.effects):,} rows")
    elif json:
        display.print_json(found.as_json(most))
    else:
        print(visible("\n".join(lines(found, most or MOST))))
