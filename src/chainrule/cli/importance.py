"""The command importance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, Metrics, RunFolder, Seed, Threads, metric_names
from chainrule.summary import Table

if TYPE_CHECKING:
    from chainrule.attribution import Importances

MOST = 40
"""The columns that are listed."""
BAR = 30
"""The characters of the longest bar."""


def importance(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="What to measure on, with targets; by default the run's own test set.",
        ),
    ] = None,
    metrics: Metrics = None,
    repeats: Annotated[int, typer.Option(help="How often the values of each column are exchanged.")] = 10,
    seed: Seed = 0,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Measure by how much a metric gets worse when the values of a column are exchanged between
    rows: permutation importance, of each column of a table, feature, or block of a picture.

    Examples:

      chainrule importance runs/houses-1

      chainrule importance runs/houses-1 sold.csv --metrics mae,r2 --repeats 30

      chainrule importance runs/digits-1 digits --json
    """
    from chainrule.attribution import importance as measured
    from chainrule.runs import Run

    opened = Run.open(run)
    with display.progress_bar("permutations", json) as shown:
        found = measured(opened, data, metric_names(metrics), repeats, seed, threads=threads, progress=shown)
    if json:
        display.print_json(found.as_json())
        return
    for metric in found.metrics:
        for line in lines(found, metric):
            display.out.print(line)


def lines(found: Importances, metric: str) -> list[str]:
    """The columns by one metric, the largest first."""
    own = found.of(metric)
    value = display.number(metric, found.metrics[metric])
    title = f"{found.name}, {found.samples:,} rows: {display.label(metric)} {value}; worse by, over {found.over}:"
    largest = max((one.mean for one in own), default=0.0)
    rows = [
        [one.column, f"{one.mean:.4g}", one.spread,
         "+" * round(BAR * max(one.mean, 0.0) / largest) if largest > 0 else ""]
        for one in own
    ]  # fmt: skip
    return [title, *Table("columns", ("column", "mean", "deviation", ""), rows, "lrrl").lines(MOST + 1)]
