"""chainrule check and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson
from chainrule.errors import SettingError

if TYPE_CHECKING:
    from chainrule.arrays import Array
    from chainrule.losses import Loss
    from chainrule.network import Network

ALLOWED = 1e-6
"""How far the two derivatives may be apart, relative to their size."""


def check(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", show_default=False, help="The folder of a run.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Or all the layers of a network, such as '8 tanh, 3'.")] = None,
    inputs: Annotated[int, typer.Option(help="How many inputs that network has.")] = 4,
    loss: Annotated[
        str | None, typer.Option(help="Its loss; by default 'mse', or 'cross_entropy' after a softmax.")
    ] = None,
    entries: Annotated[int, typer.Option(help="How many weights of each array to check; 0 for all.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the weights and samples that are drawn.")] = 0,
    json: AsJson = False,
) -> None:
    """Check the chain rule: compare weights' gradients with ones that are measured by nudging the weight, in float64.

    Ends with 1 if they differ by more than a millionth.

    Examples:

      chainrule check runs/digits-1

      chainrule check --network "8 tanh, batchnorm, 3" --inputs 5
    """
    from chainrule.gradient_check import check_gradient

    if entries < 0 or inputs < 1:
        raise SettingError("--entries takes 0 or more, --inputs 1 or more")
    if (run is None) == (network is None):
        raise SettingError("check: give either a RUN or a --network")
    if run is not None:
        checked, its_loss, x, y, also = _of_run(run)
    else:
        checked, its_loss, x, y = _drawn(str(network), inputs, loss, seed)
        also = {}
    found = check_gradient(checked, its_loss, x, y, seed=seed, entries=entries or None, **also)
    good = found.error <= ALLOWED
    if json:
        display.print_json({**vars(found), "passed": good})
    else:
        out = display.out
        out.print(f"{found.checked:,} of {checked.parameters.size:,} weights checked, {len(x)} samples")
        out.print(f"worst  {found.worst}", markup=False)
        out.print(f"  by the chain rule  {found.analytic:+.12g}")
        out.print(f"  measured           {found.numeric:+.12g}")
        out.print(f"  apart by           {found.error:.2g} of their size: {'good' if good else 'NOT GOOD'}")
        if not good:
            out.print("a kink (ReLU at 0, say) within reach of the nudge can do that; try another --seed")
    raise typer.Exit(0 if good else 1)


def _of_run(folder: Path) -> tuple[Network, Loss, Array, Array, dict[str, Any]]:
    """A run's network with its own weights, and its first training samples."""
    from chainrule.runs import Run

    run = Run.open(folder)
    part, trained = run.load_data().training, run.trained
    also = {"parameters": trained.parameters, "penalties": trained.plan.penalties, "training": False}
    if trained.statistics.size:
        also["statistics"] = trained.statistics.astype("float64")
    return trained.plan.network, trained.plan.loss, part.x[:16].astype("float64"), part.y[:16], also


def _drawn(text: str, inputs: int, loss: str | None, seed: int) -> tuple[Network, Loss, Array, Array]:
    """A network with drawn weights, and samples and targets drawn for it."""
    from chainrule.generators import generator
    from chainrule.losses import loss as named
    from chainrule.network import Network

    network = Network(text, inputs)
    if not network.parameters.size:
        raise SettingError(f"--network {text!r}: it has no weights to check; add a Dense layer, such as '8 tanh, 3'")
    chosen = named(loss or "mse")
    random = generator(seed, "check")
    x, outputs = random.normal(size=(8, inputs)), network.output_shape[-1]
    if chosen.tasks == ("classification",):
        return network, chosen, x, random.integers(0, max(outputs, 2), 8)
    return network, chosen, x, random.normal(size=(8, *network.output_shape))


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
        display.out.print(f"[bold]{name:<15}[/]{builtin.about}", markup=True)
