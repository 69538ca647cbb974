"""The command worksheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import OptionalRun, leave_out, output_suffix
from chainrule.errors import require

if TYPE_CHECKING:
    from chainrule.losses import Loss
    from chainrule.network import Network


def worksheet(
    context: typer.Context,
    run: OptionalRun = None,
    network: Annotated[
        str | None, typer.Option(help="Or all layers of a network; by default '2, leakyrelu 0.5, 1'.")
    ] = None,
    inputs: Annotated[int, typer.Option(help="The network's number of inputs.")] = 2,
    loss: Annotated[str | None, typer.Option(help="The network's loss; by default half_squares.")] = None,
    optimizer: Annotated[str, typer.Option(help="The optimizer, such as 'momentum 0.1'.")] = "sgd 0.1",
    step: Annotated[int | None, typer.Option(help="The run's step; by default the last.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random weights and sample.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("worksheet.html"),
) -> None:
    """Write a printable worksheet: one training step by hand, with blanks and an answer key.

    Weights and sample are those of a run, rounded to two decimals, or short random numbers.

    Examples:

      chainrule worksheet

      chainrule worksheet --network "2 sigmoid, 2 sigmoid" --seed 3 -o homework.html

      chainrule worksheet runs/moons-1 --step 0
    """
    from chainrule.descent import optimizer as named_optimizer
    from chainrule.explain.worksheet import NETWORK, make_worksheet
    from chainrule.losses import loss as named_loss
    from chainrule.network import Network

    hint = "worksheet: pass either a RUN or a --network with its --loss"
    require(run is None or (network is None and loss is None), hint)
    if run is not None:
        leave_out(context, "a RUN has its own network and numbers", "run", "optimizer", "step", "output")
    require(inputs >= 1, "--inputs takes 1 or more")
    require(run is not None or step is None, "--step is a step of a run: pass the RUN, or leave it out")
    output_suffix(output, "a worksheet is", ".html")
    chosen = named_optimizer(optimizer)
    if run is not None:
        recorded, its_loss, numbers = _recorded(run, step)
        sheet = make_worksheet(recorded, its_loss, chosen, **numbers)
    else:
        text = NETWORK if network is None else network
        sheet = make_worksheet(
            Network(text, inputs), named_loss("half_squares" if loss is None else loss), chosen, seed=seed
        )
    display.write(output, sheet.page().encode())


def _recorded(folder: Path, step: int | None) -> tuple[Network, Loss, dict[str, Any]]:
    """A run's network and loss, with the weights and the first sample of a step."""
    from chainrule.runs import Run

    run = Run.open(folder)
    run.require_steps()
    data, plan = run.load_data(), run.trained.plan
    record = run.at(run.manifest["steps"] - 1 if step is None else step, data)
    row = record.rows[:1]
    sample = (data.training.x[row], data.training.y[row])
    return plan.network, plan.loss, {"weights": record.before.parameters, "sample": sample}
