"""chainrule worksheet"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.errors import SettingError

if TYPE_CHECKING:
    from chainrule.network import Network


def worksheet(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", show_default=False, help="The folder of a run of a small network.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Or all the layers of a network; by default '2 relu, 1'.", show_default=False)
    ] = None,
    inputs: Annotated[int, typer.Option(help="How many inputs that network has.")] = 2,
    loss: Annotated[str | None, typer.Option(help="Its loss; by default half the sum of squares.")] = None,
    optimizer: Annotated[str, typer.Option(help="How the weights are changed.")] = "sgd 0.1",
    step: Annotated[int | None, typer.Option(help="Of a run: at which step; by default the last.")] = None,
    seed: Annotated[int, typer.Option(help="Of the numbers that are drawn.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("worksheet.html"),
) -> None:
    """Write a worksheet to print: one step of a small network by hand, with blanks and an answer key.

    Of a run it takes weights and a sample, rounded to two decimals; else short numbers are drawn.

    Examples:

      chainrule worksheet

      chainrule worksheet --network "2 sigmoid, 2 sigmoid" --seed 3 -o homework.html

      chainrule worksheet runs/moons-1 --step 0
    """
    from chainrule.descent import optimizer as named_optimizer
    from chainrule.explain.worksheet import make_worksheet
    from chainrule.losses import loss as named_loss
    from chainrule.network import Network
    from chainrule.runs.folder import write_whole

    if run is not None and (network is not None or loss is not None):
        raise SettingError("worksheet: give either a RUN or a --network with its --loss")
    if inputs < 1:
        raise SettingError("--inputs takes 1 or more")
    if output.suffix.lower() != ".html":
        raise SettingError(f"-o {output}: a worksheet is written as HTML; give the file the ending .html")
    chosen = named_optimizer(optimizer)
    if run is not None:
        its, its_loss, also = _of_run(run, step)
        sheet = make_worksheet(its, its_loss, chosen, **also)
    else:
        text = "2 relu, 1" if network is None else network
        sheet = make_worksheet(Network(text, inputs), named_loss(loss or "half_squares"), chosen, seed=seed)
    write_whole(output, sheet.page().encode())
    display.err.print(f"written to {output}", markup=False)


def _of_run(folder: Path, step: int | None) -> tuple[Network, Any, dict[str, Any]]:
    """A run's network and loss, and its weights and first sample at a step."""
    from chainrule.runs import Run

    run = Run.open(folder)
    data, plan = run.load_data(), run.trained.plan
    record = run.at(run.manifest["steps"] - 1 if step is None else step, data)
    row = record.rows[:1]
    sample = (data.training.x[row], data.training.y[row])
    return plan.network, plan.loss, {"weights": record.before.parameters, "sample": sample}
