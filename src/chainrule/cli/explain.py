"""chainrule explain"""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson
from chainrule.errors import SettingError, unknown

if TYPE_CHECKING:
    from chainrule.explain import Explanation

FORMATS = ("text", "json", "latex", "html", "svg")


def explain(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", show_default=False, help="The folder of a run.")] = None,
    weight: Annotated[
        str | None,
        typer.Argument(metavar="[WEIGHT]", show_default=False, help='A weight, such as "dense_1.W[3, 2]".'),
    ] = None,
    step: Annotated[int | None, typer.Option(help="Which step, counted from 0; by default the last.")] = None,
    sample: Annotated[int | None, typer.Option(help="Which sample's delta to open, by its row.")] = None,
    depth: Annotated[int, typer.Option(help="How many sums to open on the way to the loss.")] = 3,
    kind: Annotated[str, typer.Option("--format", help="text, json, latex, html or svg.")] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; by default the terminal.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Explain the published worked example, without a run.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Explain one weight in one step: the chain rule that made its gradient, and the arithmetic that made its update.

    Examples:

      chainrule explain --example

      chainrule explain runs/digits-1 "dense_1.W[20, 3]" --step 39

      chainrule explain runs/digits-1 "dense_2.b[4]" --format html -o why.html
    """
    kind = "json" if json else kind
    if kind not in FORMATS:
        raise unknown("format", kind, FORMATS)
    found = _example(run, weight) if example else _of_run(run, weight, step, sample, depth)
    text = _rendered(found, kind)
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    from chainrule.runs.folder import write_whole

    write_whole(output, text.encode())
    display.err.print(f"written to {output}", markup=False)


def _example(run: str | None, weight: str | None) -> Explanation:
    """With --example a single argument is the weight."""
    from chainrule.explain import worked_example

    if weight is not None:
        raise SettingError(
            "explain --example: it takes no run, only a weight of the example, such as 'dense_2.W[0, 0]'"
        )
    return worked_example(run or "dense_1.W[0, 0]")


def _of_run(run: str | None, weight: str | None, step: int | None, sample: int | None, depth: int) -> Explanation:
    from chainrule.explain import explain as explained
    from chainrule.runs import Run

    if run is None:
        raise SettingError("explain: of which run? Give its folder and a weight; or try --example")
    opened = Run.open(run)
    if weight is None:
        raise SettingError(f"explain: which weight? There are {opened.trained.plan.network.parameters.ranges}")
    return explained(opened, weight, step, sample=sample, depth=depth)


def _rendered(found: Explanation, kind: str) -> str:
    if kind == "json":
        return jsonlib.dumps(display.finite(found.as_json()), indent=1)
    if kind == "latex":
        return found.latex
    if kind == "svg":
        from chainrule.explain.scheme import draw

        return draw(found)
    if kind == "html":
        from chainrule.explain.page import page

        return page(found)
    from chainrule.explain import lines

    return "\n".join(lines(found))
