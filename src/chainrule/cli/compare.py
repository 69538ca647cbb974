"""The command compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, output_suffix
from chainrule.cli.report import bar
from chainrule.summary import Table, one_line, short

LONGEST, FEWEST = 60, 16
"""The most characters of a setting in the terminal, and how many are shown however many runs there
are; the page has them whole.
"""


DEVIATIONS = (
    "after ± stands the standard deviation over bootstrap samples of the test set; in parentheses the difference from"
    " the first run, with its own deviation, as both are measured on the same samples"
)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", show_default=False, help="The folders of the runs.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The HTML file to write.")] = None,
    json: AsJson = False,
) -> None:
    """Compare runs side by side: metrics with standard deviations, the settings that differ, sizes
    and times; in a page also the learning curves over one another.

    Runs on other data or with another target are shown as well, and it is said what can't be
    compared. In parentheses stands the difference from the first run, with its own deviation.

    Examples:

      chainrule compare runs/houses-1 runs/houses-2

      chainrule compare runs/houses-1 runs/houses-2 runs/houses-3 -o compared.html

      chainrule compare runs/houses-1 runs/houses-2 --json
    """
    from chainrule.reports import compare as compared
    from chainrule.reports.comparison_page import metric_rows, setting_rows, size_rows

    if output is not None:
        output_suffix(output, "a comparison is", ".html")
    with bar() as tell:
        found = compared(*runs, progress=tell)
    if output is not None:
        display.write(output, found.html.encode(), f"a comparison of {len(found.runs)} runs")
    if json:
        display.print_json(found.as_json())
        return
    if output is not None:
        return
    for group in found.groups:
        measured = [run for run in group if run.metrics]
        if measured:
            head, rows = metric_rows(found, measured)
            title = f"{measured[0].data}: the {measured[0].part} set"
            _print(title, head, rows, "l" + "r" * len(measured))
    names = [run.name for run in found.runs]
    differing = [row for row in setting_rows(found) if row[0] in found.differing]
    if differing:
        _print("settings that differ", ["setting", *names], differing, "l" * (len(names) + 1))
    _print("sizes and times", ["", *names], size_rows(found), "l" + "r" * len(names))
    if any(run.deviations for run in found.runs):
        display.out.print(f"note: {DEVIATIONS}")
    for note in found.notes:
        display.out.print(f"note: {note}")


def _print(title: str, head: list[str], rows: list[list[str]], aligned: str) -> None:
    """A table with its title."""
    room = (display.out.width - LONGEST // 3) // max(len(head) - 1, 1) - 2
    most = min(LONGEST, max(FEWEST, room)) if display.out.is_terminal else LONGEST
    cut = [[row[0], *(short(one_line(cell), most) for cell in row[1:])] for row in rows]
    display.out.print(display.bold(title))
    for line in Table(title, head, cut, aligned).lines(len(cut) + 1):
        display.out.print(f"  {line}")
    display.out.print()
