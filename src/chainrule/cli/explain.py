"""The command explain."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.options import OUTPUT, AsJson, Target, elsewhere, leave_out
from chainrule.cli.why import explain_row, is_data
from chainrule.errors import SettingError, require, unknown
from chainrule.summary import visible

if TYPE_CHECKING:
    from chainrule.explain import Explanation

FORMATS = ("text", "json", "latex", "html", "svg")


def explain(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run.")] = None,
    weight: Annotated[
        str | None,
        typer.Argument(
            metavar="[WEIGHT|DATA]",
            show_default=False,
            help='A weight, such as "dense_1.W[3, 2]", by default one with a large gradient in the step; or data, of'
            " which the prediction for a row is explained.",
        ),
    ] = None,
    step: Annotated[int | None, typer.Option(help="The step, counted from 0; by default the last.")] = None,
    sample: Annotated[int | None, typer.Option(help="The sample whose delta is expanded, by its row.")] = None,
    depth: Annotated[int, typer.Option(help="How many sums to expand on the way to the loss.")] = 3,
    kind: Annotated[str, typer.Option("--format", help="text, json, latex, html or svg.")] = "text",
    width: Annotated[
        int | None, typer.Option(help="The width of the picture (svg), in pixels; by default 830.")
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            help="How many samples and paths JSON lists, strongest first, by default 20; and a fifth as many uses of"
            " the weight for each sample, and terms of each delta. Of a prediction, how many units of each layer and"
            " paths are listed, by default 3, in JSON 20. The others are added up."
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            help="Explain the prediction for this row of DATA, counted from 1, by default of the run's own data; of"
            " time series for the window that ends with this step, of a text for the window of this number."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="What the row is compared with: mean (of the training set), zero (a black picture), or another row's"
            " number; by default the mean, for pictures zero."
        ),
    ] = None,
    of: Annotated[
        list[str] | None,
        typer.Option(metavar="OUTPUT", help="The class, quantity or quantile to explain; can be repeated."),
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(help="Of a network that predicts at each position, which to explain, from 0; default: the last."),
    ] = None,
    change: Annotated[
        float | None,
        typer.Option(help="By how much a predicted quantity is to change; by default by its standard deviation."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; default: stdout.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Of an imported network: data of your own, with targets; its first step on it is explained."),
    ] = None,
    target: Target = None,
    loss: Annotated[str | None, typer.Option(help="Of an imported network: another loss than its own.")] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Of a weight: open every term of each sum, and write the rule in symbols."),
    ] = False,
    example: Annotated[bool, typer.Option("--example", help="Explain a published worked example, not a run.")] = False,
    json: AsJson = False,
) -> None:
    """Explain one weight in one step: the chain rule behind its gradient, and its update. With DATA
    or --row, explain the prediction for a row: what each column, pixel or token adds to it, the
    paths through the network, and what would change it.

    Examples:

      chainrule explain --example

      chainrule explain runs/digits-1

      chainrule explain runs/digits-1 "dense_1.W[20, 3]" --step 39

      chainrule explain runs/digits-1 "dense_2.b[4]" --format html -o why.html

      chainrule explain runs/digits-1 --format svg --width 1280 -o scheme.svg

      chainrule explain runs/houses-1 new.csv --row 5

      chainrule explain runs/digits-1 digits --row 5 --format html -o why.html

      chainrule explain imported "fc1.W[0, 3]" --data houses.csv --target price
    """
    kind = "json" if json else kind
    if kind not in FORMATS:
        raise unknown("format", kind, FORMATS)
    require(most is None or most >= 1, f"--most {most}: it takes at least 1")
    if run is not None and not example and _is_of_data(run, weight, row):
        explain_row(context, run, weight, row, baseline, of, position, change, kind, output, most)
        return
    if not example:
        reason = "they are for a prediction: pass data, or --row"
        given = {"--baseline": baseline, "--of": of or None, "--position": position, "--change": change}
        options = [name for name, value in given.items() if value is not None]
        require(not options, f"{' and '.join(options)}: {reason}")
    from chainrule.explain.scheme import NARROWEST, WIDTH
    from chainrule.runs.folder import check_file

    require(not every or kind == "text", f"--all is of the text; --format {kind} has everything")
    require(most is None or kind == "json", "--most is how many JSON lists: choose it with --json")
    require(width is None or kind == "svg", "--width is that of the picture: choose it with --format svg")
    width = WIDTH if width is None else width
    require(width >= NARROWEST, f"--width {width}: the picture takes at least {NARROWEST} pixels")
    if example:
        reason = "--example is one step of a network of its own"
        leave_out(context, reason, "run", "weight", "kind", "width", "most", "output", "every", "example", "json")
    if output is not None:
        check_file(output, elsewhere(*OUTPUT))
    explanation = _example(run, weight) if example else _recorded(run, weight, step, sample, depth, data, target, loss)
    text = _rendered(explanation, kind, width, most, every)
    if output is not None:
        display.write(output, text.encode())
    else:
        print(visible(text) if kind == "text" else text, end="" if text.endswith("\n") else "\n")


def _is_of_data(run: str, argument: str | None, row: int | None) -> bool:
    """Whether a prediction is to be explained."""
    if argument is None:
        return row is not None
    from chainrule.runs import Run

    return is_data(Run.open(run).trained.plan.network, argument, row)


def _example(run: str | None, weight: str | None) -> Explanation:
    """With --example, the only argument is a weight; it is parsed as `run`."""
    from chainrule.explain import worked_example

    require(weight is None, "explain --example takes no run, only a weight of the example, such as 'dense_2.W[0, 0]'")
    return worked_example(run or "dense_1.W[0, 0]")


def _recorded(
    run: str | None, weight: str | None, step: int | None, sample: int | None, depth: int, data: str | None,
    target: list[str] | None, loss: str | None,
) -> Explanation:  # fmt: skip
    from chainrule.explain import explain as explained
    from chainrule.runs import Run

    if run is None:
        raise SettingError("explain: which run? Pass its folder, and a weight if you like; or try --example")
    opened = Run.open(run)
    if not opened.is_imported:
        given = data is None and target is None and loss is None
        require(given, "--data, --target and --loss are for an imported network; a run is explained on its own data")
    others = None if data is None else opened.other_data(data, target=target)
    explanation = explained(opened, weight, step, data=others, loss=loss, sample=sample, depth=depth)
    if weight is None:
        display.err.print(
            f"explaining {explanation.weight}: of the first layer's weights it has the largest gradient in step"
            f" {explanation.step}; for another, pass its name: {opened.trained.plan.network.parameters.ranges}"
        )
    return explanation


def _rendered(explanation: Explanation, kind: str, width: int, most: int | None, every: bool) -> str:
    if kind == "json":
        fields = explanation.as_json() if most is None else explanation.as_json(most)
        return jsonlib.dumps(display.finite(fields), indent=1)
    if kind == "latex":
        return explanation.latex
    if kind == "svg":
        from chainrule.explain.scheme import draw

        return draw(explanation, width)
    if kind == "html":
        from chainrule.explain.page import page

        return page(explanation)
    from chainrule.explain import lines

    more = [] if every else ["", "All terms of the sums, and the rule in symbols: --all"]
    return "\n".join([*lines(explanation, every), *more])
