"""chainrule descend and gradients: pictures of a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import RunFolder
from chainrule.errors import SettingError, require_package

if TYPE_CHECKING:
    from collections.abc import Callable

Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write: HTML, or PNG (which needs Chrome).")]


def descend(
    run: RunFolder,
    weights: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two weights to draw along; by default the plane that fits the run's path best."),
    ] = None,
    grid: Annotated[int, typer.Option(help="How many points the surface has a side.")] = 31,
    output: Output = Path("descend.html"),
) -> None:
    """Draw the loss surface of a run, and the path that gradient descent took down it.

    Examples:

      chainrule descend runs/digits-1

      chainrule descend runs/digits-1 --weights "dense_1.W[20, 3]" "dense_2.W[3, 5]" -o two-weights.png
    """
    from chainrule.explain.surface import loss_surface

    def drawn() -> tuple[Any, str]:
        from chainrule.explain.charts import surface_chart, surface_words

        found = loss_surface(str(run), weights, grid=grid)
        return surface_chart(found), surface_words(found)

    _write("descend", output, drawn)


def gradients(run: RunFolder, output: Output = Path("gradients.html")) -> None:
    """Draw how large each layer's gradients and updates were over a run.

    Examples:

      chainrule gradients runs/digits-1

      chainrule gradients runs/digits-1 -o sizes.png
    """
    from chainrule.explain.sizes import gradient_sizes

    def drawn() -> tuple[Any, str]:
        from chainrule.explain.charts import sizes_chart, sizes_words

        found = gradient_sizes(str(run))
        return sizes_chart(found), sizes_words(found)

    _write("gradients", output, drawn)


def _write(command: str, output: Path, drawn: Callable[[], tuple[Any, str]]) -> None:
    """Draw and write a chart; a missing package, or a name that can't be written, is known before any work is done."""
    from chainrule.explain.charts import chart_file
    from chainrule.runs.folder import write_whole

    kind = output.suffix.lower()
    if kind not in (".html", ".png"):
        raise SettingError(f"-o {output}: a chart is written as HTML or PNG; give the file one of these endings")
    require_package("plotly", "charts", command)
    if kind == ".png":
        require_package("kaleido", "png", f"{command} -o {output}")
    figure, words = drawn()
    write_whole(output, chart_file(kind, figure, words))
    display.out.print(words)
    display.err.print(f"written to {output}", markup=False)
