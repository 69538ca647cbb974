"""The commands check and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, OptionalRun, leave_out
from chainrule.errors import require

TOLERANCE = 1e-6
"""The largest relative difference between the two derivatives that passes."""


def check(
    context: typer.Context,
    run: OptionalRun = None,
    network: Annotated[str | None, typer.Option(help="Or all layers of a network, such as '8 tanh, 3'.")] = None,
    inputs: Annotated[int, typer.Option(help="The network's number of inputs.")] = 4,
    loss: Annotated[str | None, typer.Option(help="The network's loss; by default mse.")] = None,
    entries: Annotated[int, typer.Option(help="The number of weights to check in each array; 0 for all.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the random weights, samples and choice of entries.")] = 0,
    json: AsJson = False,
) -> None:
    """Check gradients: compare backpropagation with central differences, in float64.

    Exits with 1 if they differ by more than one part in a million.

    Examples:

      chainrule check runs/digits-1

      chainrule check --network "8 tanh, batchnorm, 3" --inputs 5
    """
    from chainrule.gradient_check import check_gradient

    require(entries >= 0 and inputs >= 1, "--entries takes 0 or more, --inputs 1 or more")
    require((run is None) != (network is None), "check: pass either a RUN or a --network")
    if run is not None:
        leave_out(context, "a RUN has its own network and loss", "run", "entries", "seed", "json")
    arguments = _recorded(run) if run is not None else _random(str(network), inputs, loss, seed)
    result = check_gradient(**arguments, seed=seed, entries=entries or None)
    passed = result.error <= TOLERANCE
    if json:
        display.print_json({**vars(result), "passed": passed})
    else:
        out = display.out
        size, samples = arguments["network"].parameters.size, len(arguments["x"])
        out.print(f"{result.checked:,} of {size:,} weights checked, on {samples} samples")
        out.print(f"largest difference: {result.worst}")
        out.print(f"  backpropagation      {result.analytic:+.12g}")
        out.print(f"  central differences  {result.numeric:+.12g}")
        out.print(f"  relative difference  {result.error:.2g}: {'passed' if passed else 'FAILED'}")
        if not passed:
            out.print("a kink close by, such as ReLU at 0, can cause this; try another --seed")
    raise typer.Exit(0 if passed else 1)


def _recorded(folder: Path) -> dict[str, Any]:
    """Arguments of `check_gradient`: a run's network, final weights and first training samples."""
    from chainrule.runs import Run

    run = Run.open(folder)
    samples, trained = run.load_data().training, run.trained
    plan, statistics = trained.plan, trained.statistics
    return {
        "network": plan.network, "loss": plan.loss, "x": samples.x[:16].astype("float64"), "y": samples.y[:16],
        "parameters": trained.parameters, "penalties": plan.penalties, "training": False,
        **({"statistics": statistics.astype("float64")} if statistics.size else {}),
    }  # fmt: skip


def _random(text: str, inputs: int, loss: str | None, seed: int) -> dict[str, Any]:
    """Arguments of `check_gradient`: a network, with random samples and targets."""
    from chainrule.generators import generator
    from chainrule.losses import loss as named_loss
    from chainrule.network import Network

    network, chosen = Network(text, inputs), named_loss("mse" if loss is None else loss)
    require(network.parameters.size > 0, f"--network {text!r} has no weights to check; add a layer such as '8 tanh'")
    random = generator(seed, "check")
    x = random.normal(size=(8, inputs))
    width = chosen.width(network.output_shape[-1])
    shape = (8, *network.output_shape[:-1], width)
    y = random.normal(size=shape) if chosen.task == "regression" else random.integers(0, max(width, 2), shape[:-1])
    return {"network": network, "loss": chosen, "x": x, "y": y}


def data(json: AsJson = False) -> None:
    """List the built-in data sets.

    Example:

      chainrule train spirals
    """
    from chainrule.data import BUILTIN

    if json:
        display.print_json({name: builtin.about for name, builtin in BUILTIN.items()})
        return
    for name, builtin in BUILTIN.items():
        display.out.print(display.bold(f"{name:<16}") + builtin.about)
