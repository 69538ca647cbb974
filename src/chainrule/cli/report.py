"""The command report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, output_suffix
from chainrule.summary import one_line

if TYPE_CHECKING:
    from chainrule.reports.run_report import PROGRESS


def report(
    run: RunFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("report.html"),
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="SECTION", help="A section to leave out, such as surface or session; can be repeated."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Write a report on a run: one file to send to someone, which needs no network, and prints.

    It holds the model card, the data and how its columns were read, how good predictions are, the
    learning curves, examples with the worst mistakes, the loss surface with the path of gradient
    descent, and three weights explained. What does not apply to the run is left out. With --json
    the content is printed as data, and no file is written.

    Examples:

      chainrule report runs/digits-1 -o report.html

      chainrule report runs/houses-1 --leave-out session --leave-out surface

      chainrule report runs/houses-1 --json
    """
    from chainrule.reports import report as reported
    from chainrule.runs import Run

    if not json:
        output_suffix(output, "a report is", ".html")
    opened = Run.open(run)
    with bar() as tell:
        made = reported(opened, leave_out=tuple(leave_out or ()), progress=tell)
    for section in made.sections:
        if section.missing:
            display.err.print(f"left out: {section.title.lower()}: {section.missing}")
    if json:
        display.print_json(made.as_json())
        return
    content = made.html.encode()
    display.write(output, content, f"a report of {len(content) / 1e6:.2f} MB")


@contextmanager
def bar() -> Iterator[PROGRESS]:
    """A bar on stderr, which vanishes at the end; none where that is no terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=display.err, transient=True, disable=not display.err.is_terminal) as shown:
        task = shown.add_task("", total=1.0)
        yield lambda words, share: shown.update(task, description=one_line(words), completed=share)
