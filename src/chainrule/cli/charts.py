"""The commands descend and gradients: charts of a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import RunFolder, output_suffix
from chainrule.errors import require_package

if TYPE_CHECKING:
    from collections.abc import Callable

Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write: HTML, or PNG (which needs Chrome).")]


def descend(
    run: RunFolder,
    weights: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two weights as the axes; by default the plane that fits the run's path best."),
    ] = None,
    grid: Annotated[int, typer.Option(help="The number of grid points along each axis.")] = 31,
    output: Output = Path("descend.html"),
) -> None:
    """Draw the loss surface of a run, and the path of gradient descent on it.

    Examples:

      chainrule descend runs/digits-1

      chainrule descend runs/digits-1 --weights "dense_1.W[20, 3]" "dense_2.W[3, 5]" -o surface.png
    """
    from chainrule.explain.surface import loss_surface

    def draw() -> tuple[Any, str]:
        from chainrule.explain.charts import surface_chart, surface_words

        surface = loss_surface(str(run), weights, grid=grid)
        return surface_chart(surface), surface_words(surface)

    _write("descend", output, draw)


def gradients(run: RunFolder, output: Output = Path("gradients.html")) -> None:
    """Draw the size of each layer's gradients and updates over a run.

    Examples:

      chainrule gradients runs/digits-1

      chainrule gradients runs/digits-1 -o sizes.png
    """
    from chainrule.explain.sizes import gradient_sizes

    def draw() -> tuple[Any, str]:
        from chainrule.explain.charts import sizes_chart, sizes_words

        sizes = gradient_sizes(str(run))
        return sizes_chart(sizes), sizes_words(sizes)

    _write("gradients", output, draw)


def _write(command: str, output: Path, draw: Callable[[], tuple[Any, str]]) -> None:
    """Draw and write a chart, after checking the file's extension and the packages it needs."""
    from chainrule.explain.charts import chart_file

    suffix = output_suffix(output, "a chart is", ".html", ".png")
    require_package("plotly", "charts", command)
    if suffix == ".png":
        require_package("kaleido", "png", f"{command} -o {output}")
    figure, caption = draw()
    display.write(output, chart_file(suffix, figure, caption))
    display.out.print(caption)
