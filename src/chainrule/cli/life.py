"""The command life."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, output_suffix
from chainrule.errors import require
from chainrule.summary import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from chainrule.influence import Life


def life(
    run: RunFolder,
    weight: Annotated[
        str, typer.Argument(metavar="WEIGHT", show_default=False, help='A weight, such as "dense_1.W[3, 2]".')
    ],
    most: Annotated[int, typer.Option(help="How many samples to list, strongest first.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An SVG or HTML file to draw it in; default: text to stdout.")
    ] = None,
    json: AsJson = False,
) -> None:
    """The life of a weight: from its draw through every update to the end, and which samples moved
    it, by epoch, by class and one by one.

    Rows are those of the data as it was read, counted from 1, as for 'chainrule teachers' and
    'explain RUN DATA --row'; epochs are counted from 1, steps from 0. In JSON the updates add up to
    end minus draw, and so do the shares of all samples with what belongs to none.

    The run's steps are replayed, so this takes about as long as its training.

    Examples:

      chainrule life runs/digits-1 "dense_1.W[20, 3]"

      chainrule life runs/digits-1 "dense_2.b[4]" -o life.svg

      chainrule life runs/digits-1 "dense_1.W[20, 3]" --most 100 --json
    """
    require(most >= 1, f"--most {most}: it takes at least 1")
    require(not (json and output), "--json prints, and --output draws; choose one of them")
    suffix = output_suffix(output, "a life is", ".svg", ".html") if output is not None else None
    from chainrule.influence import life as life_of

    with display.progress_bar("replaying steps") as progress:
        found = life_of(run, weight, progress=progress)
    if output is not None:
        display.write(output, _drawn(found, suffix).encode(), f"the life of {found.weight}")
    elif json:
        display.print_json(found.as_json(most))
    else:
        from chainrule.influence.life_text import lines

        print(visible("\n".join(lines(found, most, _can_show()))))


def _drawn(found: Life, suffix: str | None) -> str:
    from chainrule.explain.html import document
    from chainrule.influence.life_picture import draw

    picture = draw(found)
    return picture if suffix == ".svg" else document(f"The life of {found.weight}", picture)


def _can_show() -> Callable[[str], bool]:
    """Whether the standard output has these characters."""

    def can_show(text: str) -> bool:
        try:
            text.encode(display.out.encoding)
        except (UnicodeError, LookupError):
            return False
        return True

    return can_show
